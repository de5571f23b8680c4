import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Client, ClientChannel } from 'ssh2'
import { messageOf, ProcessError } from '../errors.js'
import { isAborted, makeDeferred, settlesWithin } from '../util/async.js'
import { explainLost, hintsForForward, placeOf, printable } from './connect-errors.js'
import type { SshChannel, SshConnection, SshTarget } from './connection.js'
import { Heartbeat } from './heartbeat.js'
import { Ssh2Channel } from './ssh2-channel.js'

/** How long a server may take to let go before the connection is dropped. */
const FAREWELL_MS = 500

type Request = (done: (error: Error | undefined, stream: ClientChannel) => void) => void

/** A connection of ssh2 whose login went well. */
export class Ssh2Connection implements SshConnection {
  readonly target: SshTarget
  readonly connector = 'ssh2'
  readonly lost: Promise<ProcessError>
  readonly #client: Client
  readonly #stream: Duplex
  readonly #channels = new Set<Ssh2Channel>()
  readonly #gone = makeDeferred<void>()
  /** Of requests that have no answer yet. */
  readonly #pending = new Set<(error: ProcessError) => void>()
  readonly #stopHeartbeat: () => void
  readonly #onGone: () => void
  readonly #via: AsyncDisposable | undefined
  #lostError: ProcessError | undefined
  #cause: unknown
  #closing = false

  /**
   * @param stream - what it goes over
   * @param via - belongs to this connection alone, and ends with it
   */
  constructor(target: SshTarget, client: Client, stream: Duplex, via: AsyncDisposable | undefined) {
    this.target = target
    this.#client = client
    this.#stream = stream
    this.#via = via
    const lost = makeDeferred<ProcessError>()
    this.lost = lost.promise
    client.on('error', (error) => {
      this.#cause ??= error
    })
    this.#onGone = (): void => {
      if (this.#lostError !== undefined) return
      const why = this.#closing ? 'we closed the connection' : reasonOf(this.#cause)
      this.#lostError = explainLost(target, why, this.#cause)
      this.#stopHeartbeat()
      for (const channel of this.#channels) channel.lose(this.#lostError)
      for (const fail of this.#pending) fail(this.#lostError)
      if (!this.#closing) lost.resolve(this.#lostError)
      // nothing can be sent any more, and ssh2 tells the channels only when the stream is closed on both sides
      stream.destroy()
      void via?.[Symbol.asyncDispose]()
      this.#gone.resolve()
    }
    client.once('end', this.#onGone)
    client.once('close', this.#onGone)
    this.#stopHeartbeat = Heartbeat.every(target.keepAliveMs).add({
      bytes: () => (stream instanceof Socket ? stream.bytesRead : undefined),
      // any server answers a request that it does not know; that there was nothing to cancel is answer enough
      ping: (answered) => this.#ping(answered),
      dead: () => {
        this.#cause = new Error(`no sign of life for ${(3 * target.keepAliveMs) / 1000} s`)
        this.#onGone()
      },
    })
  }

  exec(command: string, options: { readonly pty?: boolean; readonly signal?: AbortSignal | undefined } = {}): Promise<SshChannel> {
    const { pty = false, signal } = options
    const request: Request = (done) => this.#client.exec(command, pty ? { pty: true } : {}, done)
    return this.#session(request, signal, (error) => this.#explainExec(error))
  }

  subsystem(name: string, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<SshChannel> {
    return this.#session(
      (done) => this.#client.subsys(name, done),
      signal,
      (error) => this.#explainSubsystem(name, error),
    )
  }

  #session(request: Request, signal: AbortSignal | undefined, explain: (error: unknown) => ProcessError): Promise<SshChannel> {
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(new ProcessError('E_ABORTED', `The command on ${this.target.name} was given up`))
      if (isAborted(signal)) {
        abort()
        return
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#open(
        request,
        (error) => {
          signal?.removeEventListener('abort', abort)
          reject(explain(error))
        },
        (stream) => {
          signal?.removeEventListener('abort', abort)
          const channel = new Ssh2Channel(stream, this.target.name)
          this.#channels.add(channel)
          void channel.closed.then(() => this.#channels.delete(channel))
          if (isAborted(signal)) channel.close()
          else resolve(channel)
        },
      )
    })
  }

  forwardOut(host: string, port: number): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      this.#open(
        (done) => this.#client.forwardOut('127.0.0.1', 0, host, port, done),
        (error) => {
          const reason = printable(messageOf(error).replace(/^\(SSH\) Channel open failure: /, ''))
          const data = { host: this.target.name, reason }
          const message = `${placeOf(this.target)} does not forward to ${host}:${port}: ${reason}`
          const suggestions = hintsForForward(reason, `${host}:${port}`)
          reject(this.#lostError ?? new ProcessError('E_FORWARD', message, { data, suggestions, cause: error }))
        },
        (stream) => {
          stream.on('error', () => undefined)
          // its other output has nothing to say, and would hold up its end
          stream.stderr.resume()
          resolve(closingWhenDestroyed(stream))
        },
      )
    })
  }

  ref(): void {
    if (this.#stream instanceof Socket) this.#stream.ref()
  }

  unref(): void {
    if (this.#stream instanceof Socket) this.#stream.unref()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#lostError !== undefined) return
    this.#closing = true
    this.ref()
    this.#client.end()
    // a stream over a host on the way closes only when that host says so
    if (!(await settlesWithin(this.#gone.promise, FAREWELL_MS))) this.#onGone()
    await this.#via?.[Symbol.asyncDispose]()
  }

  /** Exactly one of the two is called; ssh2 also throws, and a stream that nobody waits for any more is let go. */
  #open(request: Request, onError: (error: unknown) => void, onStream: (stream: ClientChannel) => void): void {
    if (this.#lostError !== undefined) {
      onError(this.#lostError)
      return
    }
    const fail = (error: unknown): void => {
      if (this.#pending.delete(fail)) onError(error)
    }
    this.#pending.add(fail)
    try {
      request((error, stream) => {
        if (error !== undefined && error !== null) fail(error)
        else if (this.#pending.delete(fail)) onStream(stream)
      })
    } catch (error) {
      fail(error)
    }
  }

  #explainExec(error: unknown): ProcessError {
    const text = printable(messageOf(error))
    const message = `${placeOf(this.target)} does not run commands for ${this.target.user}: ${text}`
    return this.#explainSession(error) ?? new ProcessError('E_HOST_PROTOCOL', message, { cause: error })
  }

  #explainSubsystem(name: string, error: unknown): ProcessError {
    const message = `${placeOf(this.target)} does not offer ${name}: ${printable(messageOf(error))}`
    return this.#explainSession(error) ?? new ProcessError('E_NOT_SUPPORTED', message, { cause: error })
  }

  /** Why there is no session at all, if that is so. */
  #explainSession(error: unknown): ProcessError | undefined {
    if (this.#lostError !== undefined) return this.#lostError
    const text = printable(messageOf(error))
    const place = placeOf(this.target)
    if (text.startsWith('(SSH) Channel open failure')) {
      return new ProcessError('E_HOST_DROPPED', `${place} gives no more sessions on this connection`, {
        data: { host: this.target.name, sessions: this.#channels.size },
        suggestions: ['Ask for fewer sessions at a time with connection.sessions, or raise MaxSessions of sshd there'],
        cause: error,
      })
    }
    if (text === 'Not connected' || text === 'No response from server') return explainLost(this.target, 'it does not answer', error)
    return undefined
  }

  #ping(answered: () => void): void {
    try {
      this.#client.unforwardIn('', 0, answered)
    } catch {
      // the end of the stream was seen: its close is under way
    }
  }
}

/** ssh2 closes a stream only when everything was read, which nobody does any more once it is destroyed. */
function closingWhenDestroyed(stream: ClientChannel): ClientChannel {
  const destroy = stream.destroy.bind(stream)
  stream.destroy = () => {
    stream.unpipe()
    stream.removeAllListeners('data').removeAllListeners('readable')
    // without a listener it would stop when Node sees, a moment later, that the others are gone
    stream.on('data', () => undefined).resume()
    return destroy()
  }
  return stream
}

function reasonOf(cause: unknown): string {
  const text = cause === undefined ? '' : messageOf(cause)
  if (text === '') return 'the host closed the connection'
  if (/ECONNRESET|EPIPE/.test(text)) return 'the connection was reset'
  if (/ETIMEDOUT/.test(text)) return 'the network gave up'
  return text
}
