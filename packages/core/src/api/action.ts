import { ProcessError } from '../errors.js'
import { type Deferred, makeDeferred, settlesWithin, startTimer } from '../util/async.js'
import { CompletedList } from './completed.js'
import type { Host } from './host.js'
import type { ExpectOptions, KillOptions, Process, WaitOptions } from './process.js'
import { processLogger } from './process-log.js'
import { type Duration, type LifecycleHandler, toMs } from './process-options.js'
import { type ExecutionStatistics, mergeStatistics } from './statistics.js'
import type { ExpectOutcome } from './stream-text.js'

export interface ActionOptions {
  readonly name?: string
  /** The whole action is killed after this time, and is then not `ok`. */
  readonly timeout?: Duration
  readonly lifecycleHandlers?: readonly LifecycleHandler<Action>[]
  /** Kills the action when aborted. */
  readonly signal?: AbortSignal
}

/**
 * Work that is started, waited for and killed together: processes, or copies of files (then `processes` is empty). A failure of one never
 * stops the others, and is data: see `ok`.
 *
 * @typeParam P - the class of its processes
 */
export abstract class Action<P extends Process = Process> implements AsyncDisposable {
  name: string
  readonly lifecycleHandlers: LifecycleHandler<Action>[]
  readonly #timeoutMs: number
  readonly #signal: AbortSignal | undefined
  #started = false
  #ended = false
  #stopping = false
  #timedOut = false
  #over: Deferred<void> = makeDeferred()

  constructor(name: string, options: ActionOptions) {
    this.name = options.name ?? name
    this.lifecycleHandlers = [...(options.lifecycleHandlers ?? [])]
    this.#timeoutMs = options.timeout === undefined ? 0 : toMs(options.timeout)
    this.#signal = options.signal
  }

  /** In the order of what the action was made from. Settings and handlers may be changed until the start. */
  abstract get processes(): readonly P[]
  /** Starts everything and resolves when everything has ended. Looks at `stopping` before each start. */
  protected abstract live(): Promise<void>
  /** Kills what runs. */
  protected abstract stop(signal: NodeJS.Signals, options: KillOptions): void
  protected abstract forget(): Promise<void>

  /** In words, for `toString`. */
  protected get size(): string {
    return `${this.processes.length} processes`
  }

  /** True once it was told to end: nothing more is started. */
  protected get stopping(): boolean {
    return this.#stopping
  }

  /** Starts it and returns at once. Does nothing when it was started before; see `reset`. */
  start(): this {
    if (this.#started) return this
    this.#started = true
    this.#tell('start')
    void this.#whole()
    return this
  }

  /**
   * Waits for the end, or for the time given; then look at `ended`.
   *
   * @throws ProcessError `E_PROCESS_STATE` when it was not started
   */
  async wait(options: WaitOptions = {}): Promise<this> {
    if (!this.#started) throw new ProcessError('E_PROCESS_STATE', `Cannot wait for an action that was not started: ${this.name}`)
    if (options.timeout === undefined) await this.#over.promise
    else await settlesWithin(this.#over.promise, toMs(options.timeout))
    return this
  }

  run(options: WaitOptions = {}): Promise<this> {
    return this.start().wait(options)
  }

  /** Kills what runs, and starts nothing more. */
  kill(signal: NodeJS.Signals = 'SIGTERM', options: KillOptions = {}): this {
    if (!this.#started || this.#ended) return this
    this.#stopping = true
    this.stop(signal, options)
    return this
  }

  /** Kills it if it runs, and forgets that it ran. Everything that was set on its processes stays. */
  async reset(): Promise<this> {
    if (this.#started) await this.kill().wait()
    this.#tell('reset')
    await this.forget()
    this.#started = false
    this.#ended = false
    this.#stopping = false
    this.#timedOut = false
    this.#over = makeDeferred()
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#started) await this.kill().wait()
  }

  get started(): boolean {
    return this.#started
  }
  get ended(): boolean {
    return this.#ended
  }
  get running(): boolean {
    return this.#started && !this.#ended
  }
  /** It was killed because its own time ended. */
  get timedOut(): boolean {
    return this.#timedOut
  }
  /** Hosts on which something has gone wrong so far, each as often as it did. */
  get badHosts(): readonly Host[] {
    return this.processes.flatMap(({ ok, host }) => (ok || host === undefined ? [] : [host]))
  }
  /** Nothing has gone wrong so far. */
  get ok(): boolean {
    return !this.#timedOut && this.processes.every((process) => process.ok)
  }
  /** All of it ran, ended, and nothing went wrong. */
  get finishedOk(): boolean {
    return this.#ended && !this.#timedOut && this.processes.every((process) => process.finishedOk)
  }

  /**
   * Waits on all processes at once; outcomes in the order of the processes. One that waits for its place is waited on when it has begun;
   * its outcome is `ended` when it never does.
   */
  expect(
    patterns: string | RegExp | readonly (string | RegExp)[],
    options: ExpectOptions = {},
  ): Promise<({ readonly process: P } & ExpectOutcome)[]> {
    return Promise.all(
      this.processes.map(async (process) => {
        if (!(await this.#begins(process))) return { process, index: -1 as const, match: undefined, why: 'ended' as const }
        return { process, ...(await process.expect(patterns, options)) }
      }),
    )
  }

  /** Writes to every process; one that waits for its place gets the text when it begins, and is not waited for. */
  async write(data: string | Uint8Array): Promise<this> {
    await Promise.all(
      this.processes.map(async (process) => {
        const begins = this.#begins(process)
        if (begins === true) await process.write(data)
        else void begins.then((begun) => (begun ? process.write(data) : undefined))
      }),
    )
    return this
  }

  /** False when the action ends before that. A process of an action that was not started is asked, and throws. */
  #begins(process: P): true | Promise<boolean> {
    const begin = this.#started ? process.whenBegun() : undefined
    if (begin === undefined) return true
    return Promise.race([begin, this.#over.promise]).then(() => process.whenBegun() === undefined)
  }

  stats(): ExecutionStatistics {
    return mergeStatistics(
      this.name,
      this.processes.map((process) => process.stats()),
    )
  }

  toString(): string {
    const state = this.#ended ? (this.ok ? 'ok' : 'failed') : this.#started ? 'running' : 'not started'
    return `${this.constructor.name}(${this.name}, ${this.size}, ${state})`
  }

  async #whole(): Promise<void> {
    const onAbort = (): void => void this.kill()
    const cancelTimer =
      this.#timeoutMs > 0
        ? startTimer(this.#timeoutMs, () => {
            this.#timedOut = true
            processLogger().warn({ action: this.name, timeoutMs: this.#timeoutMs }, 'action timed out')
            this.kill()
          })
        : undefined
    if (this.#signal?.aborted === true) onAbort()
    else this.#signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await this.live()
    } finally {
      cancelTimer?.()
      this.#signal?.removeEventListener('abort', onAbort)
      this.#ended = true
      this.#tell('end')
      this.#over.resolve()
    }
  }

  #tell(event: 'start' | 'end' | 'reset'): void {
    for (const handler of [...this.lifecycleHandlers]) {
      try {
        handler[event]?.(this)
      } catch (error) {
        processLogger().error({ action: this.name, event, error: (error as Error)?.message ?? String(error) }, 'lifecycle handler failed')
      }
    }
  }
}

/** An action over processes of its own, a bounded number of them at a time. */
export abstract class ProcessesAction<P extends Process = Process> extends Action<P> {
  readonly #processes: readonly P[]
  readonly #concurrency: number
  #completed = new CompletedList<P>()

  constructor(name: string, processes: readonly P[], concurrency: number, options: ActionOptions) {
    super(name, options)
    this.#processes = processes
    this.#concurrency = concurrency
  }

  get processes(): readonly P[] {
    return this.#processes
  }

  /**
   * The processes in the order in which they end, each as soon as it has; ends with the action. It may be read before the start, after
   * the end, and by several readers, each of which sees all. What never began, because the action was killed, does not come.
   */
  results(): AsyncGenerator<P, void, undefined> {
    return this.#completed[Symbol.asyncIterator]()
  }

  protected async live(): Promise<void> {
    const completed = this.#completed
    const waiting = this.#processes[Symbol.iterator]()
    const worker = async (): Promise<void> => {
      for (const process of waiting) {
        if (this.stopping) return
        await process.run()
        completed.push(process)
      }
    }
    try {
      await Promise.all(Array.from({ length: Math.min(this.#concurrency, this.#processes.length) }, worker))
    } finally {
      completed.close()
    }
  }

  protected stop(signal: NodeJS.Signals, options: KillOptions): void {
    for (const process of this.#processes) process.kill(signal, options)
  }

  protected async forget(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.reset()))
    this.#completed.close()
    this.#completed = new CompletedList()
  }
}
