import { messageOf, ProcessError, systemCodeOf } from '../errors.js'
import type { Command, ProcessResult, ProcessSpec } from '../model/process.js'
import type { OutputStream, ProcessBackend, RunningProcess } from '../ports/process-backend.js'
import { LocalBackend } from '../process/local-backend.js'
import { endedProcess } from '../process/supervised-process.js'
import { type Deferred, makeDeferred, settlesWithin } from '../util/async.js'
import { DEFAULT_KEEP_BYTES } from '../util/captured-text.js'
import type { Host } from './host.js'
import { OutputFan, type OutputHandler } from './output-handlers.js'
import { processLogger } from './process-log.js'
import { type Duration, type FailureKind, type LifecycleHandler, type ProcessOptions, toMs } from './process-options.js'
import type { ExecutionStatistics } from './statistics.js'
import { type ExpectOutcome, makePatterns, StreamText } from './stream-text.js'

const LONGEST_NAME = 60
/** Characters of each stream in a log line or a dump. */
const SHOWN = 4_096
const ENDING_SIGNALS = new Set<NodeJS.Signals>(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGKILL', 'SIGABRT'])

let shared: LocalBackend | undefined

export interface WaitOptions {
  /** Bounds the wait, not the process: test `ended` afterwards. */
  readonly timeout?: Duration
}

export interface KillOptions {
  /** Between the signal and SIGKILL; default: the grace of the process. `Infinity`: never. */
  readonly graceMs?: number
}

export interface ExpectOptions {
  readonly timeout?: Duration
  readonly stream?: OutputStream
  /** Characters searched again when more text comes; default 4,096. The longest match that may span two reads. */
  readonly backtrack?: number
  /** Looks only at what comes from now on. */
  readonly fromNow?: boolean
}

/**
 * A unix process: a string is a shell's, a list of words is executed as it is.
 *
 * Failures are data: nothing here throws because a command failed; see `ok`, `finishedOk` and what they are made of.
 *
 * ```ts
 * const ls = await new Process('ls -l /').run()
 * console.log(ls.ok, ls.exitCode, ls.stdout)
 * ```
 */
export class Process implements AsyncDisposable {
  readonly command: Command
  name: string
  /** Where it runs; `undefined` is this machine. */
  readonly host: Host | undefined = undefined
  /** May be changed until the start; `ignore` and `nolog` until the end. */
  readonly ignore: Set<FailureKind>
  readonly nolog: Set<FailureKind>
  readonly stdoutHandlers: OutputHandler<this>[]
  readonly stderrHandlers: OutputHandler<this>[]
  readonly lifecycleHandlers: LifecycleHandler<this>[]
  readonly options: ProcessOptions
  #state: RunState

  constructor(command: string | readonly string[], options: ProcessOptions = {}) {
    if (typeof command !== 'string' && command.length === 0)
      throw new ProcessError('E_PROCESS_STATE', 'A process was made from an empty list of words')
    this.command =
      typeof command === 'string'
        ? { script: command, ...(options.shell === undefined ? {} : { shell: options.shell }) }
        : ([...command] as [string, ...string[]])
    // A wrong unit is answered here, not when the process starts.
    for (const duration of [options.timeout, options.grace, options.expectTimeout]) if (duration !== undefined) toMs(duration)
    this.options = options
    this.name = options.name ?? nameOf(command)
    this.ignore = new Set(options.ignore)
    this.nolog = new Set(options.nolog)
    this.stdoutHandlers = [...(options.stdoutHandlers ?? [])] as OutputHandler<this>[]
    this.stderrHandlers = [...(options.stderrHandlers ?? [])] as OutputHandler<this>[]
    this.lifecycleHandlers = [...(options.lifecycleHandlers ?? [])]
    this.#state = new RunState(options.keepBytes ?? DEFAULT_KEEP_BYTES)
  }

  // Life.

  /** Starts it and returns at once. Does nothing when it was started before; see `reset`. */
  start(): this {
    const state = this.#state
    if (state.begun) return this
    state.begun = true
    state.beginning?.resolve()
    void this.#live(state)
    return this
  }

  /** Resolves when `start` is called; `undefined` when it was. */
  whenBegun(): Promise<void> | undefined {
    const state = this.#state
    if (state.begun) return undefined
    state.beginning ??= makeDeferred()
    return state.beginning.promise
  }

  /**
   * Waits for the end, or for the time given; then look at `ended`.
   *
   * @throws ProcessError `E_PROCESS_STATE` when it was not started
   */
  async wait(options: WaitOptions = {}): Promise<this> {
    const state = this.#state
    if (!state.begun) throw new ProcessError('E_PROCESS_STATE', `Cannot wait for a process that was not started: ${this.name}`)
    if (options.timeout === undefined) await state.over.promise
    else await settlesWithin(state.over.promise, toMs(options.timeout))
    return this
  }

  /** Starts it and waits for its end. The timeout bounds the wait only. */
  run(options: WaitOptions = {}): Promise<this> {
    return this.start().wait(options)
  }

  /**
   * Sends a signal to the process and all its descendants. One that asks for the end is followed by SIGKILL after the grace, and
   * the process counts as killed on purpose, hence `ok`. Does nothing when it does not run.
   */
  kill(signal: NodeJS.Signals = 'SIGTERM', options: KillOptions = {}): this {
    const state = this.#state
    if (!state.begun || state.result !== undefined) return this
    if (ENDING_SIGNALS.has(signal)) state.killed = true
    if (state.running !== undefined) state.running.kill({ signal, ...options })
    else if (ENDING_SIGNALS.has(signal)) state.abort.abort()
    else void state.launched.promise.then((running) => running.kill({ signal, ...options }))
    return this
  }

  /** Kills it if it runs, and forgets that it ran: it may be started again. Handlers and settings stay. */
  async reset(): Promise<this> {
    if (this.#state.begun) await this.kill().wait()
    this.#tell('reset')
    this.#state = new RunState(this.options.keepBytes ?? DEFAULT_KEEP_BYTES)
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state.begun) await this.kill().wait()
  }

  // Talk.

  /** Writes to its stdin, which wants the option `stdin: 'pipe'`. A failure is data: `writeError`. */
  async write(data: string | Uint8Array): Promise<this> {
    const state = this.#state
    if (!state.begun) throw new ProcessError('E_PROCESS_STATE', `Cannot write to a process that was not started: ${this.name}`)
    try {
      await (await state.launched.promise).write(data)
    } catch (error) {
      const first = !state.writeError
      state.writeError = true
      if (first) this.#warn('write', { error: (error as Error).message }, 'could not write to process')
    }
    return this
  }

  /** Ends its stdin, after what was written before. */
  closeStdin(): this {
    const state = this.#state
    if (state.running !== undefined) state.running.closeStdin()
    else void state.launched.promise.then((running) => running.closeStdin())
    return this
  }

  /**
   * Waits until one of the patterns is in the output: in what has come since the last match, or in what comes. A string is found
   * as it stands. The first pattern of the list that matches wins. Ends without match at the timeout and at the end of the
   * process; then `expectFailed` is true.
   */
  async expect(patterns: string | RegExp | readonly (string | RegExp)[], options: ExpectOptions = {}): Promise<ExpectOutcome> {
    const state = this.#state
    if (!state.begun) throw new ProcessError('E_PROCESS_STATE', `Cannot wait for output of a process that was not started: ${this.name}`)
    const timeout = options.timeout ?? this.options.expectTimeout
    const outcome = await state.texts[options.stream ?? 'stdout'].expect(makePatterns(patterns), {
      timeoutMs: timeout === undefined ? undefined : toMs(timeout),
      backtrack: options.backtrack,
      fromNow: options.fromNow,
    })
    if (outcome.index < 0) {
      state.expectFailed = true
      const expected = (Array.isArray(patterns) ? patterns : [patterns]).map(String)
      this.#warn('expect', { expected, why: 'why' in outcome ? outcome.why : undefined }, 'expected output did not come')
    }
    return outcome
  }

  // What is known.

  get started(): boolean {
    return this.#state.startDate !== undefined
  }
  get ended(): boolean {
    return this.#state.result !== undefined
  }
  get running(): boolean {
    return this.started && !this.ended
  }
  get startDate(): Date | undefined {
    return this.#state.startDate
  }
  get endDate(): Date | undefined {
    return this.#state.endDate
  }
  get pid(): number | undefined {
    return this.#state.running?.pid
  }
  /** The whole result, once ended. */
  get result(): ProcessResult | undefined {
    return this.#state.result
  }
  /** The text so far: whole, or its beginning and end when it is long. */
  get stdout(): string {
    return this.#state.result?.stdout.text ?? this.#state.texts.stdout.text
  }
  get stderr(): string {
    return this.#state.result?.stderr.text ?? this.#state.texts.stderr.text
  }
  /** 0 to 255; `undefined` while it runs, when it did not start, and when a signal ended it. */
  get exitCode(): number | undefined {
    return this.#state.result?.exitCode
  }
  /** The signal that ended it. */
  get signal(): NodeJS.Signals | undefined {
    return this.#state.result?.signal
  }
  /** It could not be started, or nobody knows how it ended. Never about the exit code. */
  get error(): boolean {
    return this.#state.result?.error !== undefined
  }
  get errorReason(): ProcessResult['error'] {
    return this.#state.result?.error
  }
  /** Its host was never reached, or was lost while it ran: `errorReason` says why, and nobody knows what became of the command. */
  get unreachable(): boolean {
    return this.#state.result?.outcome === 'unreachable'
  }
  get timedOut(): boolean {
    return this.#state.result?.outcome === 'timed-out'
  }
  /** It was told to end, through `kill` or the option `signal`. Its own timeout is `timedOut`, not this. */
  get killed(): boolean {
    return this.#state.killed
  }
  /** SIGKILL had to follow. */
  get forcedKill(): boolean {
    return this.#state.result?.forced === true
  }
  get expectFailed(): boolean {
    return this.#state.expectFailed
  }
  get writeError(): boolean {
    return this.#state.writeError
  }

  /** Nothing has gone wrong so far. True before the start, and for a process that was killed on purpose. */
  get ok(): boolean {
    return !this.#failures().some((kind) => !this.ignore.has(kind))
  }

  /** It ran, it ended, and nothing went wrong. */
  get finishedOk(): boolean {
    const result = this.#state.result
    if (result === undefined || !this.ok) return false
    // Killed before it was there: it did not run. A start error that is ignored is another matter: it counts as a run.
    return result.startedAt !== undefined || result.error !== undefined
  }

  stats(): ExecutionStatistics {
    const failures = new Set(this.#failures())
    const count = (condition: boolean): number => (condition ? 1 : 0)
    return {
      name: this.name,
      startDate: this.startDate,
      endDate: this.endDate,
      hosts: this.host === undefined ? [] : [String(this.host)],
      processes: 1,
      started: count(this.started),
      ended: count(this.ended),
      errors: count(failures.has('error')),
      unreachable: count(this.unreachable),
      timeouts: count(failures.has('timeout')),
      forcedKills: count(this.forcedKill),
      nonZeroExits: count(failures.has('exit-code')),
      expectFailures: count(failures.has('expect')),
      writeErrors: count(failures.has('write')),
      ok: count(this.ok),
      finishedOk: count(this.finishedOk),
      members: [],
    }
  }

  toString(): string {
    const state = this.ended ? (this.ok ? 'ok' : `failed (${this.#failures().join(', ')})`) : this.started ? 'running' : 'not started'
    const how = this.exitCode === undefined ? (this.signal ?? '') : `exit code ${this.exitCode}`
    const parts = [
      this.name,
      String(this.host ?? ''),
      this.pid === undefined ? '' : `pid ${this.pid}`,
      state,
      how,
      this.errorReason?.message ?? '',
    ]
    return `${this.constructor.name}(${parts.filter((part) => part !== '').join(', ')})`
  }

  /** Everything in a text for humans, long output shortened. */
  dump(): string {
    return `${this.toString()}\nstdout:\n${compact(this.stdout)}\nstderr:\n${compact(this.stderr)}`
  }

  // Inside.

  async #live(state: RunState): Promise<void> {
    const userSignal = this.options.signal
    const onAbort = (): void => void this.kill()
    if (userSignal?.aborted === true) onAbort()
    else userSignal?.addEventListener('abort', onAbort, { once: true })
    const fans = {
      stdout: this.stdoutHandlers.length > 0 ? new OutputFan(this.stdoutHandlers, 'stdout', this) : undefined,
      stderr: this.stderrHandlers.length > 0 ? new OutputFan(this.stderrHandlers, 'stderr', this) : undefined,
    }
    const running = await this.#launch(state, fans)
    state.running = running
    state.startDate = new Date()
    state.launched.resolve(running)
    this.#tell('start')
    const result = await running.result
    userSignal?.removeEventListener('abort', onAbort)
    for (const stream of ['stdout', 'stderr'] as const) {
      const rest = fans[stream]?.end()
      if (rest !== undefined) state.texts[stream].push(rest)
    }
    state.endDate = new Date()
    state.result = result
    state.texts.stdout.end()
    state.texts.stderr.end()
    this.#logEnd(result)
    this.#tell('end')
    state.over.resolve()
  }

  async #launch(state: RunState, fans: Record<OutputStream, OutputFan | undefined>): Promise<RunningProcess> {
    try {
      return await this.backend().start(this.spec(), {
        signal: state.abort.signal,
        onOutput: (stream, chunk) => {
          fans[stream] ??= new OutputFan([], stream, this)
          const { text, taken } = fans[stream].push(chunk as Buffer)
          state.texts[stream].push(text)
          return taken
        },
      })
    } catch (error) {
      const code = systemCodeOf(error) ?? 'E_PROCESS_STATE'
      return endedProcess('not-started', { code, message: `Cannot start ${this.name}: ${messageOf(error)}` })
    }
  }

  /** How it is started. */
  protected backend(): ProcessBackend {
    if (this.options.backend !== undefined) return this.options.backend
    shared ??= new LocalBackend()
    return shared
  }

  protected spec(): ProcessSpec {
    const { cwd, env, stdin, pty, timeout, grace, keepBytes, spillTo } = this.options
    return {
      command: this.command,
      ...(cwd === undefined ? {} : { cwd }),
      ...(env === undefined ? {} : { env }),
      ...(stdin === undefined ? {} : { stdin }),
      ...(pty === undefined ? {} : { pty }),
      ...(timeout === undefined ? {} : { timeoutMs: toMs(timeout) }),
      ...(grace === undefined ? {} : { graceMs: toMs(grace) }),
      ...(keepBytes === undefined ? {} : { keepBytes }),
      ...(spillTo === undefined ? {} : { spillTo }),
    }
  }

  #failures(): FailureKind[] {
    const { result, expectFailed, writeError, killed } = this.#state
    const failures: FailureKind[] = []
    if (expectFailed) failures.push('expect')
    if (writeError) failures.push('write')
    if (result === undefined) return failures
    if (result.error !== undefined) failures.push('error')
    else if (result.outcome === 'timed-out') failures.push('timeout')
    else if (result.exitCode !== 0 && !killed) failures.push('exit-code')
    return failures
  }

  #logEnd(result: ProcessResult): void {
    const logged = this.#failures().filter(
      (kind) => !this.ignore.has(kind) && !this.nolog.has(kind) && kind !== 'expect' && kind !== 'write',
    )
    if (logged.length === 0 && result.survivors.length === 0) {
      processLogger().debug(
        { process: this.name, outcome: result.outcome, exitCode: result.exitCode, ms: Math.round(result.durationMs) },
        'process ended',
      )
      return
    }
    const message = result.survivors.length > 0 ? 'process could not be stopped entirely' : 'process failed'
    processLogger().warn(this.#facts({ failures: logged }), message)
  }

  #warn(kind: FailureKind, fields: object, message: string): void {
    if (this.ignore.has(kind) || this.nolog.has(kind)) processLogger().debug({ process: this.name, ...fields }, message)
    else processLogger().warn(this.#facts(fields), message)
  }

  #facts(more: object): object {
    const result = this.#state.result
    return {
      process: this.name,
      command: this.command,
      ...(this.host === undefined ? {} : { host: String(this.host) }),
      pid: this.pid,
      ...(result === undefined
        ? {}
        : { outcome: result.outcome, exitCode: result.exitCode, signal: result.signal, error: result.error, survivors: result.survivors }),
      stdout: compact(this.stdout),
      stderr: compact(this.stderr),
      ...more,
    }
  }

  #tell(event: 'start' | 'end' | 'reset'): void {
    for (const handler of [...this.lifecycleHandlers]) {
      try {
        handler[event]?.(this)
      } catch (error) {
        processLogger().error({ process: this.name, event, error: (error as Error)?.message ?? String(error) }, 'lifecycle handler failed')
      }
    }
  }
}

/** What changes from one run of the same process to the next. */
class RunState {
  begun = false
  beginning: Deferred<void> | undefined
  running: RunningProcess | undefined
  result: ProcessResult | undefined
  startDate: Date | undefined
  endDate: Date | undefined
  killed = false
  expectFailed = false
  writeError = false
  readonly abort = new AbortController()
  readonly launched: Deferred<RunningProcess> = makeDeferred()
  readonly over: Deferred<void> = makeDeferred()
  readonly texts: Readonly<Record<OutputStream, StreamText>>

  constructor(keep: number) {
    this.texts = { stdout: new StreamText(keep), stderr: new StreamText(keep) }
  }
}

/** One line for a table: white space folded, the middle left out, so that commands that differ at their end stay apart. */
export function nameOf(command: string | readonly string[]): string {
  const text = (typeof command === 'string' ? command : command.join(' ')).trim().replace(/\s+/g, ' ')
  return text.length <= LONGEST_NAME ? text : `${text.slice(0, 38)}...${text.slice(-(LONGEST_NAME - 41))}`
}

/** Beginning and end, cut at line ends, when a text is long. */
function compact(text: string): string {
  if (text.length <= SHOWN) return text
  const head = text.slice(0, SHOWN / 2)
  const tail = text.slice(-SHOWN / 2)
  const headEnd = head.lastIndexOf('\n')
  const tailStart = tail.indexOf('\n')
  return `${headEnd > 0 ? head.slice(0, headEnd) : head}\n[...]\n${tailStart >= 0 && tailStart < tail.length - 1 ? tail.slice(tailStart + 1) : tail}`
}
