import { ProcessError } from '../../errors.js'
import type { Connection } from '../../model/connection.js'
import type { HostSpec } from '../../model/host.js'
import type { TransferResult } from '../../model/transfer.js'
import type { Fleet, FleetMember, FleetTool, HostWay } from '../../ports/fleet.js'
import type { Transfer, TransferCall, TransferEnd, TransferRequest, TransferSupports } from '../../ports/transfer.js'
import type { ConnectionPool } from '../../ssh/connection-pool.js'
import type { PooledConnection } from '../../ssh/pooled-connection.js'
import { resolveTarget } from '../../ssh/resolve-target.js'
import { pooledWay } from '../../ssh/way-connection.js'
import type { TransferContext } from '../context.js'
import { StarTransfer } from '../star/star.js'
import { FleetMover } from './fleet-mover.js'

/** A transfer through a tool that reaches many hosts at once: it brings the content, everything else is as with every other transfer. */
export class FleetTransfer implements Transfer {
  readonly name: string
  readonly supports: TransferSupports = { put: true, get: true, resume: true, limit: true }
  readonly #context: Omit<TransferContext, 'pool'>
  readonly #tool: FleetTool

  constructor(context: Omit<TransferContext, 'pool'>, tool: FleetTool) {
    this.#context = context
    this.#tool = tool
    this.name = tool.name
  }

  put(request: TransferRequest, call?: TransferCall): Promise<readonly TransferResult[]> {
    return this.#run('put', request, call)
  }

  get(request: TransferRequest, call?: TransferCall): Promise<readonly TransferResult[]> {
    return this.#run('get', request, call)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Each run has a fleet of its own.
  }

  async #run(verb: 'put' | 'get', request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    // Ends of one host have a member each, told apart by their objects.
    const ends = request.ends.map((end) => (end.host === undefined ? end : { ...end, host: { ...end.host } }))
    await using run = new FleetRun(this.#tool, ends)
    const star = new StarTransfer(
      { ...this.#context, pool: () => run.pool() },
      { name: this.name, mover: run.mover, concurrency: Math.max(1, ends.length), kinds: ['pl', 'py', 'sh'] },
    )
    const results = await star[verb](
      { ...request, ends },
      {
        signal: call.signal,
        onProgress: (progress) => {
          if (progress.phase === 'ended') run.leave(progress.index)
          call.onProgress?.(progress)
        },
      },
    )
    if (run.failure !== undefined) throw run.failure
    return results
  }
}

/** The hosts of one transfer, as a pool of connections. */
class FleetRun implements AsyncDisposable {
  readonly mover: FleetMover
  /** Why the tool could not be used at all. */
  failure: Error | undefined
  readonly #tool: FleetTool
  readonly #members: readonly (FleetMember & { readonly end: number })[]
  readonly #byConnection = new Map<PooledConnection, number>()
  readonly #connections = new Map<number, Promise<PooledConnection>>()
  #fleet: Promise<Fleet> | undefined

  constructor(tool: FleetTool, ends: readonly TransferEnd[]) {
    this.#tool = tool
    this.#members = ends.flatMap(({ host, connection }, end) => (host === undefined ? [] : [{ host, connection, end }]))
    this.mover = new FleetMover(tool.name, () => this.#launch(), this.#byConnection, this.#members.length)
  }

  /** The end needs nothing any more. */
  leave(end: number): void {
    const member = this.#members.findIndex((one) => one.end === end)
    if (member >= 0) this.mover.leave(member)
  }

  /** As much of a pool as a star asks for. */
  async pool(): Promise<ConnectionPool> {
    await this.#launch()
    const connect = (host: HostSpec, _connection: Connection, { signal }: { readonly signal?: AbortSignal | undefined } = {}) => {
      const member = this.#members.findIndex((one) => one.host === host)
      return givenUp(this.#connect(member), signal)
    }
    return { connect } as unknown as ConnectionPool
  }

  #connect(member: number): Promise<PooledConnection> {
    let connection = this.#connections.get(member)
    if (connection === undefined) {
      connection = this.#open(member)
      this.#connections.set(member, connection)
    }
    return connection
  }

  async #open(member: number): Promise<PooledConnection> {
    const { host, connection } = this.#members[member] as FleetMember
    const fleet = await this.#launch()
    const way = await (fleet.ways[member] as Promise<HostWay>)
    const pooled = pooledWay(way, (await resolveTarget(host, connection)).target)
    this.#byConnection.set(pooled, member)
    return pooled
  }

  #launch(): Promise<Fleet> {
    // Not ended by the caller's signal: what lies on the hosts is cleared away first.
    this.#fleet ??= this.#tool.launch(this.#members).catch((error: unknown) => {
      this.failure = error instanceof Error ? error : new Error(String(error))
      throw error
    })
    return this.#fleet
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const fleet = await this.#fleet?.catch(() => undefined)
    await fleet?.[Symbol.asyncDispose]()
  }
}

async function givenUp<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise
  let onAbort = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new ProcessError('E_ABORTED', 'The transfer was given up before the host was reached'))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
