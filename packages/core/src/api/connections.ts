import { type Connection, type ConnectionOptions, connectionSchema } from '../model/connection.js'
import { formatHost, type HostSpec } from '../model/host.js'
import type { ProcessSpec } from '../model/process.js'
import type { Logger } from '../ports/logger.js'
import type { ProcessBackend, RunningProcess, StartOptions } from '../ports/process-backend.js'
import { beforeSignalledEnd } from '../process/live-processes.js'
import type { RemoteBackend } from '../process/remote-backend.js'
import { endedProcess } from '../process/supervised-process.js'
import type { SshPrompts } from '../ssh/connection.js'
import type { ConnectionPool } from '../ssh/connection-pool.js'
import { formatDuration } from '../units.js'
import { startTimer } from '../util/async.js'
import { checkOptions } from './check-options.js'
import { keyOf } from './host.js'
import { processLogger } from './process-log.js'
import { terminalPrompts } from './terminal-prompts.js'

let defaults: ConnectionOptions = {}
let prompts: SshPrompts = terminalPrompts()
let pool: Promise<ConnectionPool> | undefined
let backends = new Map<string, HostBackend>()
let unlisten: (() => void) | undefined

/**
 * How hosts are reached when a call does not say it. What is not given here comes from the ssh configuration.
 *
 * ```ts
 * setConnectionDefaults({ user: 'alice', connectTimeout: '5s' })
 * ```
 *
 * @throws ConfigError `E_ARGUMENT` with the nearest known name
 */
export function setConnectionDefaults(options: ConnectionOptions): void {
  parseConnection(options)
  defaults = { ...options }
  complete = new WeakMap()
}

/**
 * Who answers when a host asks for a password, a passphrase or a code. Default: the person at the terminal, when there is one.
 * `undefined`: nobody; such a host is then `E_LOGIN_NEEDED`.
 */
export function setPrompts(answers: SshPrompts | undefined): void {
  prompts = answers ?? {}
}

/** Each set of options is completed once. */
let complete = new WeakMap<ConnectionOptions, Connection>()
const NOTHING: ConnectionOptions = {}

/** The options of a call over the defaults of the program, complete. @throws ConfigError `E_ARGUMENT` */
export function connectionOf(options: ConnectionOptions = NOTHING): Connection {
  let connection = complete.get(options)
  if (connection === undefined) {
    connection = parseConnection(mergeConnections(defaults, options))
    complete.set(options, connection)
  }
  return connection
}

/** The later ones win; what is `undefined` is not said. */
export function mergeConnections(...layers: readonly (ConnectionOptions | undefined)[]): ConnectionOptions {
  return Object.assign(
    {},
    ...layers.map((layer) => Object.fromEntries(Object.entries(layer ?? {}).filter(([, value]) => value !== undefined))),
  ) as ConnectionOptions
}

function parseConnection(options: ConnectionOptions): Connection {
  return checkOptions(connectionSchema, options, 'the connection options')
}

/** Whatever `setLogger` was given last. */
export const PROGRAM_LOGGER: Logger = {
  debug: (fields, message) => processLogger().debug(fields, message),
  info: (fields, message) => processLogger().info(fields, message),
  warn: (fields, message) => processLogger().warn(fields, message),
  error: (fields, message) => processLogger().error(fields, message),
  child: (fields) => processLogger().child(fields),
}

/** The connections of this program; loaded and made when they are first asked for. */
export function connectionPool(): Promise<ConnectionPool> {
  if (pool === undefined) {
    pool = import('../ssh/connection-pool.js').then(
      (module) => new module.ConnectionPool({ prompts: { ask: async (question) => prompts.ask?.(question) }, logger: PROGRAM_LOGGER }),
    )
    // A signal that ends this program ends commands, which would live until their lease has passed, and the clients that hold logins.
    unlisten = beforeSignalledEnd(closeConnections)
  }
  return pool
}

/** What starts processes on a host: one for all processes that reach it in the same way. */
export function remoteBackend(host: HostSpec, connection: Connection): ProcessBackend {
  const key = `${keyOf(host)} ${textOf(connection)}`
  let backend = backends.get(key)
  if (backend === undefined) {
    backend = new HostBackend(host, connection)
    backends.set(key, backend)
  }
  return backend
}

/** Nothing of ssh is loaded before the first process starts. */
class HostBackend implements ProcessBackend {
  readonly #host: HostSpec
  readonly #connection: Connection
  #opened: Promise<RemoteBackend> | undefined

  constructor(host: HostSpec, connection: Connection) {
    this.#host = host
    this.#connection = connection
  }

  async start(spec: ProcessSpec, options: StartOptions = {}): Promise<RunningProcess> {
    this.#opened ??= this.#open()
    const backend = await this.#opened
    const limit = spec.timeoutMs ?? 0
    return limit > 0 ? startWithin(limit, backend, spec, options) : backend.start(spec, options)
  }

  async #open(): Promise<RemoteBackend> {
    const [module, connections] = await Promise.all([import('../process/remote-backend.js'), connectionPool()])
    return new module.RemoteBackend(connections, this.#host, this.#connection)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#opened)?.[Symbol.asyncDispose]()
  }
}

/**
 * The time limit of a process holds for the way to its host, too: a host that does not answer gives its place back then. The command has
 * all of its time once it runs.
 */
async function startWithin(limit: number, backend: RemoteBackend, spec: ProcessSpec, options: StartOptions): Promise<RunningProcess> {
  const asked = performance.now()
  const late = new AbortController()
  const cancel = startTimer(limit, () => late.abort())
  const signal = options.signal === undefined ? late.signal : AbortSignal.any([options.signal, late.signal])
  try {
    const running = await backend.start(spec, { ...options, signal })
    if (!late.signal.aborted || options.signal?.aborted === true) return running
    const { outcome, host } = await running.result
    if (outcome !== 'canceled') return running
    const message = `${host ?? formatHost(backend.host)} was not reached within ${formatDuration(limit)}, the time limit of the process`
    return endedProcess('unreachable', { code: 'E_HOST_TIMEOUT', message }, performance.now() - asked)
  } finally {
    cancel()
  }
}

const texts = new WeakMap<Connection, string>()
const functions = new WeakMap<object, number>()
let numbered = 0

/** The same for equal options; functions are told apart by identity. */
function textOf(connection: Connection): string {
  let text = texts.get(connection)
  if (text === undefined) {
    text = JSON.stringify(connection, (_, value: unknown) => {
      if (typeof value !== 'function') return value
      if (!functions.has(value)) functions.set(value, ++numbered)
      return `function ${functions.get(value)}`
    })
    texts.set(connection, text)
  }
  return text
}

/**
 * Ends what still runs on hosts and closes all connections. Not needed at the end of a program: idle connections do not keep it alive.
 * What is started afterwards connects anew.
 */
export async function closeConnections(): Promise<void> {
  const [closing, open] = [pool, [...backends.values()]]
  pool = undefined
  backends = new Map()
  unlisten?.()
  unlisten = undefined
  await Promise.allSettled(open.map((backend) => backend[Symbol.asyncDispose]()))
  await (await closing)?.[Symbol.asyncDispose]()
}
