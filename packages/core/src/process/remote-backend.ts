import { setMaxListeners } from 'node:events'
import type { Connection } from '../model/connection.js'
import { formatHost, type HostSpec } from '../model/host.js'
import type { ProcessOutcome, ProcessResult, ProcessSpec } from '../model/process.js'
import type { ProcessBackend, RunningProcess, StartOptions, StopOptions } from '../ports/process-backend.js'
import type { ConnectionPool } from '../ssh/connection-pool.js'
import type { PooledConnection } from '../ssh/pooled-connection.js'
import { isAborted } from '../util/async.js'
import { checkSpec, type StartError, startErrorOf } from './command.js'
import { type HostRunner, shareRunner } from './host-runner.js'
import { startOnChannel } from './plain-channel.js'
import { checkRaw, startRaw } from './raw-channel.js'
import { endedProcess } from './supervised-process.js'

/**
 * Starts processes on one host.
 *
 * One login, shared through the pool, and one runner on the host, shared by all backends of the pool that reach it in the same way.
 * Commands that want a terminal, and hosts where no runner starts, have channels of their own on the same connection. A host that is
 * not reached is a result (`unreachable`, with `E_HOST_*`, `E_LOGIN_*` or `E_CONNECTION_LOST`), never an exception.
 */
export class RemoteBackend implements ProcessBackend {
  readonly host: HostSpec
  readonly #pool: ConnectionPool
  readonly #connection: Connection
  readonly #name: string
  readonly #processes = new Set<Promise<RunningProcess>>()
  readonly #end = new AbortController()
  #shared: { readonly runner: HostRunner; readonly leave: () => Promise<void> } | undefined

  constructor(pool: ConnectionPool, host: HostSpec, connection: Connection) {
    this.#pool = pool
    this.host = host
    this.#connection = connection
    this.#name = formatHost(host)
    // Every start that waits for the connection listens.
    setMaxListeners(0, this.#end.signal)
  }

  /**
   * Logs in, if that has not been done. Nothing needs it: the first start does the same.
   *
   * @param options.anew - somebody asks on purpose: a host that did not let us in a moment ago is asked again
   * @throws ProcessError as `ConnectionPool.connect` does
   */
  async connect(options: { readonly signal?: AbortSignal | undefined; readonly anew?: boolean } = {}): Promise<void> {
    await this.#pool.connect(this.host, this.#connection, options)
  }

  start(spec: ProcessSpec, options: StartOptions = {}): Promise<RunningProcess> {
    const started = this.#start(spec, options)
    this.#processes.add(started)
    void started.then(async ({ result }) => {
      await result
      this.#processes.delete(started)
    })
    // A detached one is not ours to end.
    if (spec.detach === true) void started.then(() => this.#processes.delete(started))
    return started
  }

  async #start(spec: ProcessSpec, options: StartOptions): Promise<RunningProcess> {
    const asked = performance.now()
    const named = (running: RunningProcess): RunningProcess => new NamedProcess(running, this.#name, asked)
    const ended = (outcome: ProcessOutcome, error?: StartError): RunningProcess => named(endedProcess(outcome, error))
    const raw = this.#connection.runner === 'raw'
    const wrong = checkSpec(spec) ?? (raw ? checkRaw(spec) : undefined)
    if (wrong !== undefined) return ended('not-started', wrong)
    if (isAborted(options.signal) || this.#end.signal.aborted) return ended('canceled')
    // The usual case, without anything that is made for each command.
    const ready = spec.pty === true ? undefined : this.#shared?.runner.client
    if (ready !== undefined) return named(await ready.start(spec, options))
    const signal = options.signal === undefined ? this.#end.signal : AbortSignal.any([options.signal, this.#end.signal])
    try {
      const pooled = await this.#pool.connect(this.host, this.#connection, { signal })
      if (raw) return named(await startRaw(pooled, spec, options, this.#name))
      const client = spec.pty === true || this.#connection.runner === 'none' ? undefined : await this.#runner(pooled).open(signal)
      if (client !== undefined) return named(await client.start(spec, options))
      const patienceMs = this.#connection.connectTimeout
      return named(await startOnChannel({ pooled, spec, options, host: this.#name, patienceMs }))
    } catch (error) {
      if (signal.aborted) return ended('canceled')
      return ended('unreachable', startErrorOf(error, 'E_CONNECTION_LOST'))
    }
  }

  #runner(pooled: PooledConnection): HostRunner {
    this.#shared ??= shareRunner(this.#pool, pooled.key, this.host, this.#connection)
    return this.#shared.runner
  }

  /** Ends what runs there through this backend and was not detached; the last backend of the host ends the runner. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort()
    await Promise.all([...this.#processes].map(async (started) => (await started)[Symbol.asyncDispose]()))
    await this.#shared?.leave()
  }
}

/** The result names the host as its user wrote it, and says of a command that never ran how long that was tried. */
class NamedProcess implements RunningProcess {
  readonly result: Promise<ProcessResult>
  readonly #running: RunningProcess

  constructor(running: RunningProcess, host: string, asked: number) {
    this.#running = running
    this.result = running.result.then((result) => {
      if (result.startedAt === undefined) return { ...result, host, durationMs: performance.now() - asked }
      return result.host === host ? result : { ...result, host }
    })
  }

  /** Undefined for what has no number that we know. */
  get pid(): number | undefined {
    return this.#running.pid === 0 ? undefined : this.#running.pid
  }

  write(data: string | Uint8Array): Promise<void> {
    return this.#running.write(data)
  }

  closeStdin(): void {
    this.#running.closeStdin()
  }

  kill(options?: StopOptions): void {
    this.#running.kill(options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running[Symbol.asyncDispose]()
  }
}
