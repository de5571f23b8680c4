import type { SshChannel } from '../../ssh/connection.js'
import type { RunnerTransport, TransportListener } from './transport.js'

/** What is kept of the standard error of the login shell and the runner, for messages. */
const STDERR_KEPT = 4_096

/** A runner at the other end of one channel of an ssh connection. */
export class ChannelTransport implements RunnerTransport {
  readonly #channel: SshChannel
  readonly #hold: { ref(): void; unref(): void } | undefined
  #stderr: Buffer[] = []
  #stderrBytes = 0
  #closed = false

  /**
   * @param channel - just opened: nobody has listened to it yet
   * @param hold - what keeps the program alive while commands run; usually the connection
   */
  constructor(channel: SshChannel, hold?: { ref(): void; unref(): void }) {
    this.#channel = channel
    this.#hold = hold
  }

  listen(listener: TransportListener): void {
    this.#channel.listen((stream, chunk) => {
      if (this.#closed) return
      if (stream === 'stdout') listener.onData(chunk)
      else if (this.#stderrBytes < STDERR_KEPT) {
        this.#stderr.push(Buffer.from(chunk.subarray(0, STDERR_KEPT - this.#stderrBytes)))
        this.#stderrBytes += chunk.length
      }
    })
    void this.#channel.closed.then(({ exitCode, signal, lost }) => {
      if (this.#closed) return
      this.#closed = true
      const stderr = Buffer.concat(this.#stderr).toString('utf8').trim()
      const reason =
        lost?.message ?? (signal === undefined ? `it ended with exit code ${exitCode ?? 'unknown'}` : `it was ended by ${signal}`)
      listener.onEnd({
        reason,
        stderr,
        exitCode,
        error: lost === undefined ? undefined : { code: lost.code, message: lost.message },
      })
    })
  }

  write(data: Uint8Array): void {
    // That nobody reads any more is seen as the end of the channel.
    if (!this.#closed) this.#channel.write(data).catch(() => {})
  }

  pause(): void {
    this.#channel.pause()
  }

  resume(): void {
    this.#channel.resume()
  }

  ref(): void {
    this.#hold?.ref()
  }

  unref(): void {
    this.#hold?.unref()
  }

  end(): void {
    if (!this.#closed) this.#channel.end()
  }

  close(): void {
    this.#closed = true
    this.#channel.close()
  }
}
