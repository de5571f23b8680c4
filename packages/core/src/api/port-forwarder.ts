import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ConfigError, messageOf, ProcessError, systemCodeOf } from '../errors.js'
import type { Connection, ConnectionOptions } from '../model/connection.js'
import type { HostSpec } from '../model/host.js'
import { connectionOf, connectionPool } from './connections.js'
import { Host } from './host.js'
import { processLogger } from './process-log.js'

/** What gives connections to hosts, from which streams go on. */
export interface ForwardingPool {
  connect(
    host: HostSpec,
    connection: Connection,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<{ forwardOut(host: string, port: number): Promise<Duplex> }>
}

export interface PortForwarderOptions {
  /** Default 0: a free port that the system chooses; see `localPort`. */
  readonly localPort?: number
  /** Who may connect: default `127.0.0.1`, programs of this machine. */
  readonly bindAddress?: string
  /** Before `start` resolves, one connection is made to the far side and closed, to see that somebody answers there. Default true. */
  readonly check?: boolean
  readonly connection?: ConnectionOptions
  /** Default: the connections of this program. */
  readonly pool?: ForwardingPool
}

/**
 * A port of this machine that leads to `remoteHost:remotePort` as the host sees it.
 *
 * ```ts
 * {
 *   await using database = await new PortForwarder('gateway', 'db.inside', 5432).start()
 *   console.log(`connect to 127.0.0.1:${database.localPort}`)
 * }
 * ```
 */
export class PortForwarder implements AsyncDisposable {
  readonly host: Host
  readonly remoteHost: string
  readonly remotePort: number
  readonly #options: PortForwarderOptions
  readonly #connection: Connection
  readonly #streams = new Set<Duplex>()
  #server: Server | undefined
  #starting: Promise<this> | undefined
  #closing: Promise<void> | undefined
  #accepted = 0
  #refused = 0
  #active = 0

  /** @throws ConfigError `E_ARGUMENT` for what is no host or no port */
  constructor(host: string | HostSpec, remoteHost: string, remotePort: number, options: PortForwarderOptions = {}) {
    this.host = host instanceof Host ? host : new Host(host)
    this.remoteHost = new Host({ address: remoteHost }).address
    this.remotePort = checkPort(remotePort, 1)
    checkPort(options.localPort ?? 0, 0)
    this.#options = options
    this.#connection = connectionOf(options.connection)
  }

  /** The port here; `undefined` before `start` has resolved. */
  get localPort(): number | undefined {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address.port : undefined
  }
  /** Connections that came so far, those included for which there was no way. */
  get accepted(): number {
    return this.#accepted
  }
  /** Of these, those for which there was no way: nobody answered at the far side, or the host was not reached. */
  get refused(): number {
    return this.#refused
  }
  /** Connections that are open now. */
  get active(): number {
    return this.#active
  }

  /**
   * Resolves when connections are taken.
   *
   * @throws ProcessError `E_FORWARD` when the port here is taken or nobody answers at the far side; `E_HOST_*`, `E_LOGIN_*`
   */
  start(options: { readonly signal?: AbortSignal } = {}): Promise<this> {
    this.#starting ??= this.#start(options.signal)
    return this.#starting
  }

  async #start(signal: AbortSignal | undefined): Promise<this> {
    try {
      signal?.throwIfAborted()
      await this.#listen()
      if (this.#options.check !== false) drop(await this.#forward(signal))
      return this
    } catch (error) {
      await this.close()
      if (signal?.aborted === true) throw new ProcessError('E_ABORTED', `${this} was given up`, { cause: error })
      throw error
    }
  }

  #listen(): Promise<void> {
    const { bindAddress = '127.0.0.1', localPort = 0 } = this.#options
    // The two directions of a connection end apart from each other.
    const server = createServer({ allowHalfOpen: true }, (socket) => void this.#serve(socket))
    this.#server = server
    return new Promise((resolve, reject) => {
      // Also later, when the system takes a connection and cannot give it: then it says nothing to anybody any more.
      server.on('error', (error) => {
        const why = systemCodeOf(error) === 'EADDRINUSE' ? 'another program has the port' : messageOf(error)
        const suggestions = ['Leave localPort out: the system then chooses a free port']
        reject(
          new ProcessError('E_FORWARD', `Cannot listen on ${bindAddress}:${localPort} for ${this}: ${why}`, { suggestions, cause: error }),
        )
      })
      server.listen(localPort, bindAddress, () => resolve())
    })
  }

  async #forward(signal?: AbortSignal): Promise<Duplex> {
    const pool = this.#options.pool ?? (await connectionPool())
    const connection = await pool.connect(this.host, this.#connection, { signal })
    return connection.forwardOut(this.remoteHost, this.remotePort)
  }

  async #serve(socket: Socket): Promise<void> {
    this.#accepted += 1
    this.#active += 1
    this.#keep(socket)
    socket.once('close', () => {
      this.#active -= 1
    })
    try {
      join(socket, this.#keep(await this.#forward()))
    } catch (error) {
      this.#refused += 1
      processLogger().warn({ forwarder: String(this), error: messageOf(error) }, 'connection could not be forwarded')
      drop(socket)
    }
  }

  #keep<T extends Duplex>(stream: T): T {
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    // An end that is not clean is the end all the same; who reads there sees it.
    stream.on('error', () => drop(stream))
    if (this.#closing !== undefined) drop(stream)
    return stream
  }

  /** Takes no more connections and cuts those that are open. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const stream of [...this.#streams]) drop(stream)
    const server = this.#server
    if (server?.listening === true) await new Promise<void>((resolve) => void server.close(() => resolve()))
    this.#server = undefined
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  toString(): string {
    return `PortForwarder(${this.localPort ?? this.#options.localPort ?? 0} to ${this.remoteHost}:${this.remotePort} through ${this.host})`
  }
}

/** Both directions, each with its own end; when one side is gone, so is the other. */
function join(one: Duplex, other: Duplex): void {
  one.pipe(other)
  other.pipe(one)
  one.once('close', () => drop(other))
  other.once('close', () => drop(one))
  if (one.destroyed) drop(other)
}

/** What comes is thrown away: an ssh channel closes only when everything was read. */
function drop(stream: Duplex): void {
  stream.unpipe()
  stream.resume()
  stream.destroy()
}

function checkPort(port: number, least: number): number {
  if (Number.isInteger(port) && port >= least && port <= 65_535) return port
  throw new ConfigError('E_ARGUMENT', `${port} is not a port: a whole number from ${least} to 65535`)
}
