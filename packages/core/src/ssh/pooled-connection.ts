import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { isCampaignError, ProcessError } from '../errors.js'
import { isAborted } from '../util/async.js'
import type { SshChannel, SshConnection } from './connection.js'

export interface ExecOptions {
  readonly pty?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** The channel does not keep the program alive: who uses it says when it does, with `hold`. */
  readonly idle?: boolean | undefined
  /**
   * The session stands open for later use. Called when somebody waits for a session and only such ones are in the way: it should be
   * closed as soon as nothing uses it.
   */
  readonly onWanted?: (() => void) | undefined
  /** Does not stand in line: for what ends others. Rejects when the server gives no session for it. */
  readonly urgent?: boolean | undefined
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: ProcessError) => void
}

/** Pauses before a session is asked for again that was refused though we had none: the last one may not have been cleared away yet. */
const PAUSES_MS = [5, 20, 50, 100, 200, 400, 800, 1600]
/** The same on a connection that has not given a session yet. */
const FIRST_PAUSES_MS = [50, 200]

/** One login that many use: sessions are counted, and whoever finds none free waits. */
export class PooledConnection {
  /** Which host, user, port, way, key and connector; unique in its pool. */
  readonly key: string
  readonly connection: SshConnection
  /** The connection that this one leads over. */
  readonly via: PooledConnection | undefined
  #limit: number
  #open = 0
  #given = false
  readonly #standing = new Set<() => void>()
  #waiting: Waiting[] = []
  #holds = 0
  #lost: ProcessError | undefined

  constructor(key: string, connection: SshConnection, sessions: number, via: PooledConnection | undefined) {
    this.key = key
    this.connection = connection
    this.via = via
    this.#limit = sessions
    void connection.lost.then((error) => {
      this.#lost = error
      for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
    })
  }

  /** Sessions that it takes at a time; less than asked for once the server has refused one. */
  get sessions(): number {
    return this.#limit
  }

  get openSessions(): number {
    return this.#open
  }

  get lost(): boolean {
    return this.#lost !== undefined
  }

  /** Keeps the program alive until the returned function is called. */
  hold(): () => void {
    this.#holds += 1
    const releaseWay = this.via?.hold()
    if (this.#holds === 1) this.connection.ref()
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#holds -= 1
      if (this.#holds === 0 && this.#lost === undefined) this.connection.unref()
      releaseWay?.()
    }
  }

  /**
   * Runs a command in a session of its own, as soon as one is free. Never makes another login.
   *
   * @throws ProcessError `E_CONNECTION_LOST`, `E_ABORTED`, `E_HOST_DROPPED` when the server gives no session at all
   */
  exec(command: string, options: ExecOptions = {}): Promise<SshChannel> {
    return this.#session(() => this.connection.exec(command, execOptions(options)), options)
  }

  /** The same for a program that the server knows by this name. @throws ProcessError `E_NOT_SUPPORTED` besides */
  subsystem(name: string, { signal }: Pick<ExecOptions, 'signal'> = {}): Promise<SshChannel> {
    return this.#session(() => this.connection.subsystem(name, { signal }), { signal })
  }

  async #session(open: () => Promise<SshChannel>, options: ExecOptions): Promise<SshChannel> {
    const release = this.hold()
    let channel: SshChannel
    try {
      channel = options.urgent === true ? await this.#openUrgent(open) : await this.#openInTurn(open, options.signal)
    } catch (error) {
      release()
      throw error
    }
    this.#given = true
    if (options.idle === true) release()
    const { onWanted } = options
    if (onWanted !== undefined) this.#standing.add(onWanted)
    void channel.closed.then(() => {
      if (onWanted !== undefined) this.#standing.delete(onWanted)
      this.#leave()
      release()
    })
    return channel
  }

  /** A stream to `host:port` as seen from the other side; keeps the program alive until it is closed. */
  async forwardOut(host: string, port: number): Promise<Duplex> {
    const release = this.hold()
    try {
      const stream = await this.connection.forwardOut(host, port)
      stream.once('close', release)
      return stream
    } catch (error) {
      release()
      throw error
    }
  }

  async #openUrgent(open: () => Promise<SshChannel>): Promise<SshChannel> {
    this.#open += 1
    try {
      return await open()
    } catch (error) {
      this.#leave()
      throw error
    }
  }

  async #openInTurn(open: () => Promise<SshChannel>, signal: AbortSignal | undefined): Promise<SshChannel> {
    await this.#enter(signal)
    for (let refusedAlone = 0; ; ) {
      try {
        return await open()
      } catch (error) {
        const others = this.#open - 1
        const refused = isCampaignError(error) && error.code === 'E_HOST_DROPPED' && this.#lost === undefined
        const wait = (this.#given ? PAUSES_MS : FIRST_PAUSES_MS)[refusedAlone]
        if (refused && others > 0) {
          this.#limit = Math.min(this.#limit, others)
          this.#leave()
          await this.#enter(signal)
        } else if (refused && wait !== undefined) {
          // The place is kept meanwhile: who comes next would fare no better.
          refusedAlone += 1
          await pause(wait)
        } else {
          this.#leave()
          throw error
        }
      }
    }
  }

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost
    if (isAborted(signal)) throw givenUp(this.connection.target.name)
    if (this.#open < this.#limit && this.#waiting.length === 0) {
      this.#open += 1
      return
    }
    await new Promise<void>((resolve, reject) => {
      const done = (): void => signal?.removeEventListener('abort', onAbort)
      const waiting: Waiting = {
        resolve: () => {
          done()
          resolve()
        },
        reject: (error) => {
          done()
          reject(error)
        },
      }
      const onAbort = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting)
        reject(givenUp(this.connection.target.name))
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiting)
      if (this.#open <= this.#standing.size) for (const onWanted of this.#standing) onWanted()
    })
  }

  #leave(): void {
    this.#open -= 1
    while (this.#open < this.#limit) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#open += 1
      next.resolve()
    }
  }
}

function execOptions({ pty, signal }: ExecOptions): { readonly pty?: boolean; readonly signal?: AbortSignal | undefined } {
  return { ...(pty === undefined ? {} : { pty }), signal }
}

function givenUp(name: string): ProcessError {
  return new ProcessError('E_ABORTED', `The command on ${name} was given up before it had a session`)
}
