import { setTimeout as pause } from 'node:timers/promises'
import { isCampaignError, messageOf, ProcessError } from '../errors.js'
import type { Connection } from '../model/connection.js'
import { formatHost, type HostSpec } from '../model/host.js'
import type { ConnectionPool } from '../ssh/connection-pool.js'
import type { PooledConnection } from '../ssh/pooled-connection.js'
import { settlesWithin } from '../util/async.js'
import { SharedTask } from '../util/shared-task.js'
import { sweepHost } from './plain-channel.js'
import { bootstrapRelay, bootstrapRunner, makeToken } from './runner/bootstrap.js'
import { ChannelTransport } from './runner/channel-transport.js'
import { RunnerClient, type RunnerLoss } from './runner/runner-client.js'
import type { RunnerKind } from './runner/runner-program.js'
import { type Drive, drivesToTry, isFinalFailure, pauseBeforeReconnect } from './runner-choice.js'

/** What commands have between SIGTERM and SIGKILL when the runner ends without us. */
const LAST_GRACE_SECONDS = 5
/** While somebody waits for the session of a runner that has work. */
const IDLE_LOOK_MS = 50

/**
 * The runner of one host, shared by all backends that reach the host in the same way: brought there when it is first needed, taken
 * up again when its connection was lost, brought anew when it is gone.
 */
export class HostRunner {
  readonly #pool: ConnectionPool
  readonly #host: HostSpec
  readonly #connection: Connection
  readonly #name: string
  #client: RunnerClient | undefined
  #opening: SharedTask<RunnerClient | undefined> | undefined
  #worked: Drive | undefined
  #closed = false
  #givingWay = false

  constructor(pool: ConnectionPool, host: HostSpec, connection: Connection) {
    this.#pool = pool
    this.#host = host
    this.#connection = connection
    this.#name = formatHost(host)
  }

  /** The one that runs, if there is one now. */
  get client(): RunnerClient | undefined {
    return this.#client?.lost === false ? this.#client : undefined
  }

  /**
   * Brings a runner to the host, unless there is one.
   *
   * @returns undefined where no runner can be had: commands go over channels of their own
   * @throws ProcessError as `ConnectionPool.connect` does, and `E_RUNNER` when the one that was asked for by name cannot be started
   */
  open(signal?: AbortSignal): Promise<RunnerClient | undefined> {
    if (this.client !== undefined) return Promise.resolve(this.client)
    if (this.#opening === undefined || this.#opening.aborted) {
      const opening: SharedTask<RunnerClient | undefined> = new SharedTask((ended) => this.#open(ended))
      this.#opening = opening
      void opening.over().then(() => {
        if (this.#opening === opening) this.#opening = undefined
      })
    }
    return this.#opening.wait(signal)
  }

  async #open(signal: AbortSignal): Promise<RunnerClient | undefined> {
    for (let tries = 1; ; tries += 1) {
      const pooled = await this.#pool.connect(this.#host, this.#connection, { signal })
      const release = pooled.hold()
      try {
        return await this.#bringAny(pooled, signal)
      } catch (error) {
        // A connection that was dead for long shows it now. Nothing was started there yet.
        if (!pooled.lost || tries > 1) throw error
      } finally {
        release()
      }
    }
  }

  async #bringAny(pooled: PooledConnection, signal: AbortSignal): Promise<RunnerClient | undefined> {
    const failures: string[] = []
    for (const drive of drivesToTry(this.#connection.runner, this.#worked)) {
      this.#worked = drive
      if (drive === 'none') return undefined
      const client = await this.#bring(pooled, drive, signal, failures)
      if (client === undefined) continue
      this.#client = client
      return client
    }
    this.#worked = undefined
    throw new ProcessError('E_RUNNER', `The runner could not be started on ${this.#name}: ${failures.join('; ')}`, {
      suggestions: ["Use runner: 'auto', or runner: 'raw' for a device without a POSIX shell"],
    })
  }

  /** @returns undefined when this kind cannot be had there */
  async #bring(pooled: PooledConnection, kind: RunnerKind, signal: AbortSignal, failures: string[]): Promise<RunnerClient | undefined> {
    const { lease, connectTimeout } = this.#connection
    const token = makeToken()
    const { command, input } = bootstrapRunner(kind, token, Math.ceil(lease / 1000), LAST_GRACE_SECONDS)
    const channel = await pooled.exec(command, { idle: true, signal, onWanted: () => void this.#giveWay() })
    const transport = new ChannelTransport(channel, holderOf(pooled))
    const client: RunnerClient = new RunnerClient({
      transport,
      kind,
      token,
      leaseMs: lease,
      host: this.#name,
      onLost: (loss) => this.#onLost(client, kind, loss),
    })
    transport.write(input)
    if (!(await settlesWithin(client.ready, connectTimeout))) {
      client.lose({ code: 'E_RUNNER', message: 'no answer' })
      throw new ProcessError(
        'E_RUNNER',
        `Logged in on ${this.#name}, but nothing was started there within ${connectTimeout / 1000} s: its shell start-up files may wait for something`,
      )
    }
    try {
      await client.ready
      return client
    } catch (error) {
      if (pooled.lost) throw await pooled.connection.lost
      failures.push(`${kind}: ${messageOf(error)}`)
      return undefined
    }
  }

  #onLost(client: RunnerClient, kind: RunnerKind, loss: RunnerLoss): void {
    if (this.#client !== client) return
    const error = { code: 'E_RUNNER', message: `The runner on ${this.#name} is gone: ${loss.reason}${loss.stderr && ` (${loss.stderr})`}` }
    if (client.lost) this.#client = undefined
    else if (loss.what === 'runner' || client.idle || this.#connection.lease === 0 || this.#closed) this.#lose(client, loss.error ?? error)
    else void this.#takeUp(client, kind, loss.error ?? error)
  }

  /** Looks for the runner again until its lease has passed. */
  async #takeUp(client: RunnerClient, kind: RunnerKind, loss: { readonly code: string; readonly message: string }): Promise<void> {
    const { lease } = this.#connection
    const until = performance.now() + lease
    const signal = AbortSignal.timeout(lease)
    let last = loss.message
    for (let tries = 1; performance.now() < until; tries += 1) {
      try {
        const pooled = await this.#pool.connect(this.#host, this.#connection, { signal })
        const found = await this.#relay(client, kind, pooled, signal)
        if (found === true) return
        last = found
        if (!pooled.lost && tries > 1) {
          const left = await this.#sweep(client, pooled)
          this.#lose(client, {
            code: 'E_RUNNER',
            message: `The runner on ${this.#name} is gone, so nobody saw how its commands ended: ${last}; ${left}`,
          })
          return
        }
      } catch (error) {
        if (!signal.aborted) last = messageOf(error)
        if (isCampaignError(error) && isFinalFailure(error.code)) break
      }
      await pause(Math.min(pauseBeforeReconnect(tries, Math.random()), Math.max(0, until - performance.now())))
    }
    const message = `The connection to ${this.#name} was cut while commands ran there, and could not be taken up again within ${lease / 1000} s: ${last}`
    this.#lose(client, { code: 'E_CONNECTION_LOST', message })
  }

  /** What was killed cannot end its commands. Ends them, and says so. */
  async #sweep(client: RunnerClient, pooled: PooledConnection): Promise<string> {
    const swept = client.markers.length === 0 ? { found: 0, left: [] } : await sweepHost(pooled, client.markers, LAST_GRACE_SECONDS)
    if (swept === undefined) return 'what they left there could not be looked for, and may still run'
    if (swept.left.length > 0) return `these processes of theirs could not be ended: ${swept.left.join(' ')}`
    return swept.found === 0 ? 'nothing of them runs there any more' : 'what still ran of them was ended'
  }

  /** @returns true, or why not */
  async #relay(client: RunnerClient, kind: RunnerKind, pooled: PooledConnection, signal: AbortSignal): Promise<true | string> {
    const { pid, directory } = await client.ready
    const channel = await pooled.exec(bootstrapRelay(kind, pid, directory), { idle: true, signal, onWanted: () => void this.#giveWay() })
    try {
      await client.resume(new ChannelTransport(channel, holderOf(pooled)))
      return true
    } catch (error) {
      channel.close()
      return messageOf(error)
    }
  }

  /** Somebody needs a session, and ours is the only one that the server gives: ends the runner when it has nothing to do. */
  async #giveWay(): Promise<void> {
    const client = this.#client
    if (this.#givingWay || client === undefined) return
    this.#givingWay = true
    while (!client.idle && !client.lost) await pause(IDLE_LOOK_MS)
    this.#givingWay = false
    if (this.#client !== client || client.lost) return
    this.#client = undefined
    await client.close()
  }

  #lose(client: RunnerClient, error: { readonly code: string; readonly message: string }): void {
    if (this.#client === client) this.#client = undefined
    client.lose(error)
  }

  /** Ends what runs there and was not detached, and the runner. */
  async close(): Promise<void> {
    this.#closed = true
    this.#opening?.abort()
    await this.#opening?.over()
    const client = this.#client
    this.#client = undefined
    if (client !== undefined && !client.lost) await client.close()
  }
}

/** For a transport, which begins without holding the program. */
function holderOf(pooled: PooledConnection): { ref(): void; unref(): void } {
  let release: (() => void) | undefined
  return {
    ref: () => {
      release ??= pooled.hold()
    },
    unref: () => {
      release?.()
      release = undefined
    },
  }
}

interface Shared {
  readonly runner: HostRunner
  users: number
  takeBack: () => void
}

const shared = new WeakMap<ConnectionPool, Map<string, Shared>>()

/**
 * The runner that all backends of one pool share which reach this host in the same way.
 *
 * @param key - of the connection in its pool
 * @returns the runner, and what must be called when it is no longer used: the last user ends it
 */
export function shareRunner(
  pool: ConnectionPool,
  key: string,
  host: HostSpec,
  connection: Connection,
): { readonly runner: HostRunner; readonly leave: () => Promise<void> } {
  const name = `${connection.runner} ${connection.lease} ${key}`
  let ofPool = shared.get(pool)
  if (ofPool === undefined) {
    ofPool = new Map()
    shared.set(pool, ofPool)
  }
  let entry = ofPool.get(name)
  if (entry === undefined) {
    const runner = new HostRunner(pool, host, connection)
    entry = { runner, users: 0, takeBack: pool.beforeClose(() => runner.close()) }
    ofPool.set(name, entry)
  }
  entry.users += 1
  const { runner } = entry
  let left = false
  return {
    runner,
    leave: async () => {
      if (left) return
      left = true
      entry.users -= 1
      if (entry.users > 0) return
      ofPool.delete(name)
      entry.takeBack()
      await runner.close()
    },
  }
}
