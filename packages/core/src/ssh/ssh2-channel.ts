import type { ClientChannel } from 'ssh2'
import { ProcessError } from '../errors.js'
import type { OutputStream } from '../ports/process-backend.js'
import { makeDeferred } from '../util/async.js'
import type { ChannelEnd, SshChannel } from './connection.js'
import { hasAllOutput } from './ssh2-inside.js'

/** A command on a connection of ssh2. What is read ahead of a paused listener is bounded by the window of ssh: 2 MiB. */
export class Ssh2Channel implements SshChannel {
  readonly closed: Promise<ChannelEnd>
  readonly exited: Promise<Pick<ChannelEnd, 'exitCode' | 'signal'>>
  readonly #channel: ClientChannel
  readonly #place: string
  #onData: ((stream: OutputStream, chunk: Buffer) => void) | undefined
  #exitCode: number | undefined
  #signal: NodeJS.Signals | undefined
  #lost: ProcessError | undefined
  #over = false
  #ended = false
  #paused = false
  #isLetGo = false
  /** Of those who wait for room. */
  #room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined

  /** @param place - where, for messages */
  constructor(channel: ClientChannel, place: string) {
    this.#channel = channel
    this.#place = place
    const end = makeDeferred<ChannelEnd>()
    this.closed = end.promise
    const exit = makeDeferred<Pick<ChannelEnd, 'exitCode' | 'signal'>>()
    this.exited = exit.promise
    channel.on('exit', (code: number | null, signal?: string) => {
      this.#exitCode = code ?? undefined
      // names of signals that are no standard come as `USR1@openssh.com`
      this.#signal = code === null ? (signal?.replace(/@.*$/, '') as NodeJS.Signals | undefined) : undefined
      exit.resolve({ exitCode: this.#exitCode, signal: this.#signal })
    })
    // each of the two streams closes when it was read to its end, and what is written to one may not fail the other
    let open = 2
    const onClose = (): void => {
      open -= 1
      if (open > 0) return
      this.#over = true
      this.#room?.resolve()
      end.resolve({ exitCode: this.#exitCode, signal: this.#signal, lost: this.#lost })
    }
    channel.once('close', onClose)
    channel.stderr.once('close', onClose)
    channel.on('error', () => undefined)
    channel.stderr.on('error', () => undefined)
    channel.on('drain', () => {
      this.#room?.resolve()
      this.#room = undefined
    })
    // what came along with the answer waits for the listener, which is there when this turn ends
    this.#setFlowing(false)
    channel.on('data', (chunk: Buffer) => this.#onData?.('stdout', chunk))
    channel.stderr.on('data', (chunk: Buffer) => this.#onData?.('stderr', chunk))
    setImmediate(() => {
      if (!this.#paused) this.#setFlowing(true)
    })
  }

  listen(onData: (stream: OutputStream, chunk: Buffer) => void): void {
    this.#onData = onData
    if (!this.#paused) this.#setFlowing(true)
  }

  async write(data: Uint8Array): Promise<void> {
    if (this.#over || this.#ended || this.#isLetGo) throw this.#nobodyReads()
    const bytes = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    if (this.#channel.write(bytes)) return
    this.#room ??= makeDeferred<void>()
    await this.#room.promise
    if (this.#over || this.#isLetGo) throw this.#nobodyReads()
  }

  end(): void {
    if (this.#over || this.#ended) return
    this.#ended = true
    this.#channel.end()
  }

  pause(): void {
    this.#paused = true
    this.#setFlowing(false)
  }

  resume(): void {
    this.#paused = false
    this.#setFlowing(true)
  }

  close(): void {
    this.#isLetGo = true
    this.#onData = undefined
    // Who waits for room there would wait as long as the program hangs.
    this.#room?.resolve()
    this.resume()
    this.#channel.close()
  }

  /** The connection is gone: unless all was said before, nobody knows how the command ended. */
  lose(error: ProcessError): void {
    if (this.#over) return
    const known = this.#exitCode !== undefined || this.#signal !== undefined
    if (!known || !hasAllOutput(this.#channel)) this.#lost = error
  }

  #setFlowing(flowing: boolean): void {
    if (flowing) {
      this.#channel.resume()
      this.#channel.stderr.resume()
    } else {
      this.#channel.pause()
      this.#channel.stderr.pause()
    }
  }

  #nobodyReads(): ProcessError {
    return this.#lost ?? new ProcessError('E_STDIN', `Nobody reads the input of the command on ${this.#place} any more`)
  }
}
