import { isCampaignError, messageOf, ProcessError } from '../errors.js'
import type { Connection } from '../model/connection.js'
import type { HostSpec } from '../model/host.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import { isAborted, startTimer } from '../util/async.js'
import { SharedTask } from '../util/shared-task.js'
import type { Connector, SshConnection, SshPrompts, SshTarget } from './connection.js'
import { keyOf } from './connection-keys.js'
import { givenUp, LoginTries } from './login-tries.js'
import { PooledConnection } from './pooled-connection.js'

export type ConnectorKind = Connector['kind']

/** A host with every default resolved, and what to reach it with. */
export interface ResolvedHost {
  readonly target: SshTarget
  readonly connector: ConnectorKind
  /** Why this connector. */
  readonly why: string
}

export interface PoolOptions {
  /** Asks the person who sits there. Absent: nobody can be asked. */
  readonly prompts?: SshPrompts | undefined
  /** Instead of the built-in ones. */
  readonly connectors?: Partial<Record<ConnectorKind, Connector>> | undefined
  readonly logger?: Logger | undefined
  readonly clock?: Clock | undefined
  /** At a time, default 64. */
  readonly handshakes?: number | undefined
  /** From 0 to below 1. */
  readonly random?: (() => number) | undefined
  /** Instead of asking the ssh configuration. */
  readonly resolve?:
    | ((host: HostSpec, connection: Connection, context: { readonly signal?: AbortSignal | undefined }) => Promise<ResolvedHost>)
    | undefined
}

export interface ConnectOptions {
  /** Ends the waiting of this caller; the login goes on when others wait for it. */
  readonly signal?: AbortSignal | undefined
  /** Somebody asks on purpose: a host that refused us a moment ago is asked again. */
  readonly anew?: boolean | undefined
}

interface Refusal {
  readonly error: ProcessError
  readonly until: number
}

/** So long a host that did not let us in is not asked again by itself: servers lock accounts and addresses out for less. */
const REST_AFTER_REFUSAL_MS = 60_000

/**
 * The connections of this program: one for each host, user, port, way, key and connector, shared by all who ask for it.
 *
 * Handshakes are paced, those that a busy server drops are made again, sessions of one connection are counted. A connection that was
 * lost is made anew when somebody asks again. An idle connection does not keep the program alive.
 */
export class ConnectionPool implements AsyncDisposable {
  readonly #options: PoolOptions
  readonly #clock: Clock
  readonly #connectors: Partial<Record<ConnectorKind, Connector | Promise<Connector>>>
  /** Those that are ours to close. */
  readonly #loaded: Promise<Connector & Partial<AsyncDisposable>>[] = []
  readonly #tries: LoginTries
  readonly #open = new Map<string, PooledConnection>()
  readonly #attempts = new Map<string, SharedTask<PooledConnection>>()
  readonly #refusals = new Map<string, Refusal>()
  readonly #closers = new Set<() => Promise<void>>()
  #closing: Promise<void> | undefined
  #logins = 0

  constructor(options: PoolOptions = {}) {
    this.#options = options
    this.#clock = options.clock ?? realClock
    this.#connectors = { ...options.connectors }
    const { logger, random = Math.random, handshakes = 64 } = options
    this.#tries = new LoginTries({ clock: this.#clock, random, logger, handshakes })
  }

  /** Logins made since the beginning, those on the way included. */
  get logins(): number {
    return this.#logins
  }

  /** Connections that are open now. */
  get size(): number {
    return this.#open.size
  }

  /**
   * The one connection of this host.
   *
   * @throws ProcessError `E_HOST_*`, `E_LOGIN_*`, `E_SSH_CONFIG`, `E_ABORTED`. A failure is given to all who wait and then forgotten;
   * only a host that did not let us in is not asked again for a minute, except `anew`
   */
  async connect(host: HostSpec, connection: Connection, options: ConnectOptions = {}): Promise<PooledConnection> {
    this.#checkOpen(host.address, options.signal)
    const resolve = this.#options.resolve ?? (await import('./resolve-target.js')).resolveTarget
    const resolving = resolve(host, connection, { signal: options.signal })
    // Loaded while ssh is asked: nearly all hosts are reached with it. Whoever takes it hears what is wrong.
    if (connection.connector !== 'openssh') Promise.resolve(this.#connector('ssh2')).catch(() => undefined)
    const resolved = await resolving
    this.#checkOpen(host.address, options.signal)
    return this.#share(resolved, connection.sessions, options)
  }

  /** Is called before the connections are closed. @returns what takes it back */
  beforeClose(close: () => Promise<void>): () => void {
    this.#closers.add(close)
    return () => void this.#closers.delete(close)
  }

  #checkOpen(name: string, signal: AbortSignal | undefined): void {
    if (this.#closing !== undefined) throw new ProcessError('E_ABORTED', `Cannot connect to ${name}: the connections were closed`)
    if (isAborted(signal)) throw givenUp(name)
  }

  async #share(host: ResolvedHost, sessions: number, { signal, anew = false }: ConnectOptions): Promise<PooledConnection> {
    const key = keyOf(host.target, host.connector)
    const open = this.#open.get(key)
    if (open !== undefined) return open
    const refusal = this.#refusals.get(key)
    if (refusal !== undefined && !anew && this.#clock.monotonic() < refusal.until) throw refusal.error
    let attempt = this.#attempts.get(key)
    if (attempt === undefined || attempt.aborted) {
      const begun: SharedTask<PooledConnection> = new SharedTask((ended) => this.#login(key, host, sessions, anew, ended))
      this.#attempts.set(key, begun)
      void begun.over().then(() => {
        if (this.#attempts.get(key) === begun) this.#attempts.delete(key)
      })
      attempt = begun
    }
    try {
      return await attempt.wait(signal)
    } catch (error) {
      throw isAborted(signal) ? givenUp(host.target.name) : error
    }
  }

  async #login(key: string, host: ResolvedHost, sessions: number, anew: boolean, signal: AbortSignal): Promise<PooledConnection> {
    const { target, connector: kind } = host
    this.#refusals.delete(key)
    try {
      const connector = await this.#connector(kind)
      const via = kind === 'ssh2' ? await this.#way(target, sessions, { signal, anew }) : undefined
      const { connection, tries } = await this.#tries.login(connector, target, via, { signal, anew })
      this.#logins += 1
      this.#options.logger?.debug(
        { host: target.name, user: target.user, connector: kind, why: host.why, tries, logins: this.#logins },
        'logged in',
      )
      return this.#keep(key, connection, via, sessions)
    } catch (error) {
      const known = isCampaignError(error)
        ? error
        : new ProcessError('E_HOST_PROTOCOL', `Cannot connect to ${target.name}: ${messageOf(error)}`, { cause: error })
      const told = known.code === 'E_LOGIN_NEEDED' ? paused(target, known) : known
      if (told.code === 'E_LOGIN_NEEDED' || told.code === 'E_LOGIN_REFUSED') {
        this.#refusals.set(key, { error: told, until: this.#clock.monotonic() + REST_AFTER_REFUSAL_MS })
      }
      throw told
    }
  }

  /** The connection to the last host on the way, which leads over those before it. */
  async #way(target: SshTarget, sessions: number, options: ConnectOptions): Promise<PooledConnection | undefined> {
    const last = target.jumps.at(-1)
    if (last === undefined) return undefined
    const jump = { ...last, jumps: target.jumps.slice(0, -1) }
    try {
      return await this.#share({ target: jump, connector: 'ssh2', why: `on the way to ${target.name}` }, sessions, options)
    } catch (error) {
      if (!isCampaignError(error) || error.code === 'E_ABORTED') throw error
      const { suggestions, data } = error
      throw new ProcessError(error.code, `No way to ${target.name}: ${error.message}`, { suggestions, data, cause: error })
    }
  }

  #keep(key: string, connection: SshConnection, via: PooledConnection | undefined, sessions: number): PooledConnection {
    const pooled = new PooledConnection(key, connection, sessions, via)
    if (this.#closing !== undefined) {
      void connection[Symbol.asyncDispose]()
      throw givenUp(connection.target.name)
    }
    this.#open.set(key, pooled)
    closeBeforeExit(this)
    connection.unref()
    void connection.lost.then((error) => {
      this.#options.logger?.debug({ host: connection.target.name, error }, 'connection lost')
      this.#forget(pooled)
    })
    return pooled
  }

  #forget(pooled: PooledConnection): void {
    if (this.#open.get(pooled.key) !== pooled) return
    this.#open.delete(pooled.key)
    if (this.#open.size === 0) poolsWithConnections.delete(this)
  }

  #connector(kind: ConnectorKind): Connector | Promise<Connector> {
    const known = this.#connectors[kind]
    if (known !== undefined) return known
    const loading = loadConnector(kind, this.#options.prompts)
    this.#connectors[kind] = loading
    this.#loaded.push(loading)
    return loading
  }

  /** Closes everything: nothing can be connected through this pool any more. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const attempts = [...this.#attempts.values()]
    for (const attempt of attempts) attempt.abort()
    await Promise.all(attempts.map((attempt) => attempt.over()))
    // Runners are told good-bye while there is a way to them.
    await Promise.allSettled([...this.#closers].map((close) => close()))
    // Those that lead over others first.
    const open = [...this.#open.values()].reverse()
    for (const pooled of open) this.#forget(pooled)
    const direct = open.filter((pooled) => pooled.via === undefined)
    const indirect = open.filter((pooled) => pooled.via !== undefined)
    await Promise.allSettled(indirect.map((pooled) => pooled.connection[Symbol.asyncDispose]()))
    await Promise.allSettled(direct.map((pooled) => pooled.connection[Symbol.asyncDispose]()))
    await Promise.allSettled(this.#loaded.map(async (connector) => (await connector)[Symbol.asyncDispose]?.()))
  }
}

const poolsWithConnections = new Set<ConnectionPool>()
let listening = false

/** Servers are told good-bye when the program has nothing left to do. */
function closeBeforeExit(pool: ConnectionPool): void {
  poolsWithConnections.add(pool)
  if (listening) return
  listening = true
  process.on('beforeExit', () => {
    for (const one of poolsWithConnections) void one[Symbol.asyncDispose]()
  })
}

function paused(target: SshTarget, error: ProcessError): ProcessError {
  return new ProcessError('E_LOGIN_NEEDED', `paused: login needed on ${target.name}: ${error.message}`, {
    suggestions: [
      ...error.suggestions,
      `Log in once by hand (ssh ${target.user}@${target.address}) or load the key into the agent (ssh-add), then ask again`,
    ],
    data: error.data,
    cause: error,
  })
}

/** Loaded when the first host wants it: ssh2 alone is as large as everything else. */
async function loadConnector(kind: ConnectorKind, prompts: SshPrompts | undefined): Promise<Connector & Partial<AsyncDisposable>> {
  const options = prompts === undefined ? {} : { prompts }
  if (kind === 'ssh2') return new (await import('./ssh2-connector.js')).Ssh2Connector(options)
  return new (await import('./openssh-connector.js')).OpensshConnector(options)
}

const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, { signal } = {}) =>
    new Promise((resolve, reject) => {
      const onAbort = (): void => {
        cancel()
        reject(signal?.reason)
      }
      const cancel = startTimer(ms, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    }),
}
