import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { ProcessError } from '../errors.js'
import type { CapturedText, ProcessOutcome, ProcessResult, ProcessSpec } from '../model/process.js'
import type { OutputStream, RunningProcess, StartOptions, StopOptions } from '../ports/process-backend.js'
import { makeDeferred, startTimer } from '../util/async.js'
import { NO_TEXT, TextCapture } from '../util/captured-text.js'
import { forget, keepTrackOf } from './live-processes.js'
import { spillFileFor } from './spill-file.js'

export const DEFAULT_GRACE_MS = 5_000
/** After the exit, silence on a pipe that somebody else holds open for so long ends the reading. */
const HELD_PIPE_MS = 100
/** More than a pipe can hold: what comes after the exit beyond this was written by somebody else. */
const PIPE_CAPACITY = 1 << 20
/** Once it was told to end, each piece of its output waits so long for its reader: its end may stand behind that output. */
const READER_AFTER_STOP_MS = 50
/** After SIGKILL, how long a process that cannot die (or is not ours to kill) is waited for. */
const AFTER_KILL_MS = 3_000
/** A host that has given no sign of life for so long, although it was asked, is no longer waited for. */
const NOBODY_MS = 5_000
const ASKS_FOR_THE_END = new Set<NodeJS.Signals>(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGKILL'])

/** What a backend knows how to do with one started process. */
export interface ProcessControls {
  readonly pid: number
  /** Where it runs, for the result; absent for this machine. */
  readonly host?: string | undefined
  /**
   * After the exit, silence on a stream that somebody else holds open for so long ends the reading; default 100. Longer where what the
   * process itself wrote may still be on its way then.
   */
  readonly silenceMs?: number | undefined
  /** Sends to the process group. Only called before the exit. */
  signalGroup(signal: NodeJS.Signals): void
  /**
   * Sends to the group and session, to what carries the marker, and to all their descendants.
   *
   * @param leaderEnded - its end was seen: its number may belong to somebody else
   * @param only - nobody else has to have it; who cannot send to single processes sends to all
   */
  signalTree(signal: NodeJS.Signals, leaderEnded: boolean, only?: readonly number[]): void | Promise<void>
  /** Who of the same lives; nobody, when nobody can say any more. */
  living(leaderEnded: boolean): Promise<readonly number[]>
  write(data: Uint8Array): Promise<void>
  closeStdin(): void
  /** Reads no more and lets go of the pipes. */
  drop(): void
  /** Reads no more of this stream until the promise resolves. */
  pauseUntil(stream: OutputStream, ready: Promise<void>): void
  /** Nothing comes now, because somebody's reader is slow or the link is cut: silence means nothing. */
  held(): boolean
  /** Asks its host for a sign of life; absent for this machine. */
  readonly probe?: () => void
  /** For how long a sign of life that was asked for has not come. */
  readonly silentMs?: () => number
}

type Why = 'timed-out' | 'canceled' | 'killed'

/**
 * One process from its start to its end, whoever started it: bounded capture, time limit, stopping of the whole tree, and
 * the end at `exit` even when a grandchild holds the pipes.
 */
export class SupervisedProcess implements RunningProcess {
  readonly pid: number
  readonly result: Promise<ProcessResult>
  readonly #spec: ProcessSpec
  readonly #marker: string
  readonly #controls: ProcessControls
  readonly #options: StartOptions
  readonly #done = makeDeferred<ProcessResult>()
  readonly #startedAt = Date.now()
  readonly #origin = performance.now()
  #captures: Partial<Record<OutputStream, TextCapture>> = {}
  #openStreams: number
  #bytesAfterExit = 0
  #exit: { code: number | undefined; signal: NodeJS.Signals | undefined } | undefined
  #endedAt = 0
  #durationMs = 0
  #why: Why | undefined
  #stopSignal: NodeJS.Signals = 'SIGTERM'
  #killAt = Number.POSITIVE_INFINITY
  /** When SIGKILL was first sent. */
  #killedAt = Number.POSITIVE_INFINITY
  #forced = false
  #survivors: readonly number[] = []
  #error: ProcessResult['error']
  #concluded = false
  /** Each lets go of output that waits for its reader. */
  readonly #holds = new Set<() => void>()
  #hurried = false
  #cancelTimeout: (() => void) | undefined
  #cancelKill: (() => void) | undefined
  readonly #onAbort = (): void => this.#stop('canceled', 'SIGTERM', undefined)

  /** @param streams - how many output streams will say that they ended */
  constructor(spec: ProcessSpec, marker: string, controls: ProcessControls, options: StartOptions, streams: number) {
    this.#spec = spec
    this.#marker = marker
    this.#controls = controls
    this.#options = options
    this.#openStreams = streams
    this.pid = controls.pid
    this.result = this.#done.promise
    if (spec.detach !== true && controls.host === undefined) keepTrackOf(this.pid)
    const timeoutMs = spec.timeoutMs ?? 0
    if (timeoutMs > 0) this.#cancelTimeout = startTimer(timeoutMs, () => this.#stop('timed-out', 'SIGTERM', undefined))
    if (options.signal?.aborted === true) this.#onAbort()
    else options.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  // What the backend reports.

  takeOutput(stream: OutputStream, chunk: Buffer): void {
    if (this.#concluded) return
    if (this.#exit !== undefined) this.#bytesAfterExit += chunk.length
    let capture = this.#captures[stream]
    if (capture === undefined) {
      capture = new TextCapture({ keepBytes: this.#spec.keepBytes, spillFile: spillFileFor(this.#spec.spillTo, this.#marker, stream) })
      this.#captures[stream] = capture
    }
    const written = capture.push(chunk)
    if (written !== undefined) this.#hold(stream, written)
    const taken = this.#options.onOutput?.(stream, chunk)
    // A listener may return what its last call does: only a promise means anything.
    if (taken instanceof Promise) this.#hold(stream, taken)
  }

  takeStreamEnd(): void {
    this.#openStreams -= 1
    if (this.#openStreams === 0 && this.#exit !== undefined && this.#why === undefined) void this.#conclude()
  }

  takeExit(code: number | undefined, signal: NodeJS.Signals | undefined): void {
    if (this.#exit !== undefined || this.#concluded) return
    this.#exit = { code, signal }
    this.#endedAt = Date.now()
    this.#durationMs = performance.now() - this.#origin
    this.#cancelTimeout?.()
    if (this.#why !== undefined) void this.#finishTree()
    else if (this.#openStreams <= 0) void this.#conclude()
    else void this.#awaitStreams()
  }

  /** The one who watched the process is gone: what can still be stopped is stopped, and the outcome says that nobody knows. */
  async takeLoss(error: NonNullable<ProcessResult['error']>): Promise<void> {
    if (this.#exit !== undefined || this.#concluded) return
    this.#error = error
    this.#exit = { code: undefined, signal: undefined }
    this.#endedAt = Date.now()
    this.#durationMs = performance.now() - this.#origin
    this.#cancelTimeout?.()
    this.#openStreams = 0
    if (this.#spec.detach === true) return this.#conclude()
    this.#killAt = Math.min(this.#killAt, performance.now() + (this.#spec.graceMs ?? DEFAULT_GRACE_MS))
    return this.#finishTree()
  }

  /** It never ran after all: the program could not be executed. */
  takeStartFailure(error: NonNullable<ProcessResult['error']>): void {
    if (this.#exit !== undefined || this.#concluded) return
    this.#error = error
    this.#exit = { code: undefined, signal: undefined }
    void this.#conclude('not-started')
  }

  // What the caller asks.

  async write(data: string | Uint8Array): Promise<void> {
    if (this.#spec.stdin !== 'pipe' || this.#exit !== undefined) {
      const why = this.#exit !== undefined ? 'it has ended' : "it was started without stdin: 'pipe'"
      throw new ProcessError('E_STDIN', `Cannot write to process ${this.pid}: ${why}`)
    }
    await this.#controls.write(typeof data === 'string' ? Buffer.from(data) : data)
  }

  closeStdin(): void {
    if (this.#spec.stdin === 'pipe' && this.#exit === undefined) this.#controls.closeStdin()
  }

  kill(options: StopOptions = {}): void {
    const signal = options.signal ?? 'SIGTERM'
    if (this.#concluded) return
    if (ASKS_FOR_THE_END.has(signal)) this.#stop('killed', signal, options.graceMs)
    else if (this.#exit === undefined) void this.#controls.signalTree(signal, false)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill()
    await this.result
  }

  /** Reads no more until this settles; an end that was asked for is not held up by a reader that takes nothing. */
  #hold(stream: OutputStream, ready: Promise<void>): void {
    const held = makeDeferred<void>()
    const release = (): void => {
      this.#holds.delete(release)
      held.resolve()
    }
    this.#holds.add(release)
    ready.then(release, release)
    if (this.#hurried) startTimer(READER_AFTER_STOP_MS, release)
    this.#controls.pauseUntil(stream, held.promise)
  }

  #letGo(): void {
    for (const release of [...this.#holds]) release()
  }

  // Stopping.

  #stop(why: Why, signal: NodeJS.Signals, graceMs: number | undefined): void {
    if (this.#concluded) return
    if (!this.#hurried) startTimer(READER_AFTER_STOP_MS, () => this.#letGo())
    this.#hurried = true
    if (this.#exit !== undefined && this.#why === undefined) return
    this.#why ??= why
    this.#stopSignal = signal
    const grace = signal === 'SIGKILL' ? 0 : (graceMs ?? this.#spec.graceMs ?? DEFAULT_GRACE_MS)
    const killAt = performance.now() + grace
    if (killAt < this.#killAt) {
      this.#killAt = killAt
      this.#cancelKill?.()
      if (signal !== 'SIGKILL') this.#cancelKill = startTimer(grace, () => this.#force(true))
    }
    if (this.#exit !== undefined) return
    this.#controls.probe?.()
    if (signal === 'SIGKILL') this.#force(false)
    else {
      void this.#controls.signalTree(signal, false)
      // A stopped process would sleep through the request.
      this.#controls.signalGroup('SIGCONT')
    }
  }

  #force(followed: boolean): void {
    if (this.#exit !== undefined) return
    const { held, silentMs } = this.#controls
    if (followed && held() && (silentMs?.() ?? 0) > 0) {
      this.#giveUp()
      return
    }
    this.#forced ||= followed
    this.#noteKill()
    void this.#controls.signalTree('SIGKILL', false)
    this.#cancelKill?.()
    this.#cancelKill = startTimer(AFTER_KILL_MS, () => void this.#afterKill())
  }

  #noteKill(): void {
    this.#killedAt = Math.min(this.#killedAt, performance.now())
  }

  /** Not reaped: it cannot die now, it is not ours to kill, or nobody is there. It is reported, and no longer waited for. */
  async #afterKill(): Promise<void> {
    // Two turns of the loop, so that a loop that was busy until now hears what has come.
    await nextTurn()
    await nextTurn()
    const silent = this.#controls.silentMs?.() ?? 0
    if (silent === 0) this.takeExit(undefined, undefined)
    else if (silent >= NOBODY_MS) this.#giveUp()
    else this.#cancelKill = startTimer(NOBODY_MS - silent + 1, () => void this.#afterKill())
  }

  /** It was to end, and its host does not answer: its way there is dead, and nobody knows more before the lease is over. */
  #giveUp(): void {
    if (this.#exit !== undefined || this.#concluded) return
    const { host } = this.#controls
    const when = this.#why === 'timed-out' ? 'when the time limit of its command had passed' : 'when its command was told to end'
    const fate = this.#spec.detach === true ? 'it was detached and may still run' : 'it ends when its lease has passed'
    const message = `${host} gave no sign of life ${when}, so nobody saw how process ${this.pid} ended; ${fate}`
    this.#error = { code: 'E_CONNECTION_LOST', message }
    this.#exit = { code: undefined, signal: undefined }
    this.#endedAt = Date.now()
    this.#durationMs = performance.now() - this.#origin
    void this.#conclude()
  }

  /** After the leader's end, waits for the rest of its tree, and kills what does not go. */
  async #finishTree(): Promise<void> {
    const signalled = new Set<number>()
    const leaderEnded = this.#exit?.code !== undefined || this.#exit?.signal !== undefined
    let emptyLooks = 0
    // Looks of one moment share what they see: the second is to be another one.
    for (let wait = 20; ; wait = Math.min(100, wait * 2)) {
      const rest = await this.#controls.living(leaderEnded)
      // One look may come between the end of a parent and the birth of its child.
      emptyLooks = rest.length === 0 ? emptyLooks + 1 : 0
      if (emptyLooks === 2) break
      const now = performance.now()
      // Counted from the kill: a program that stood still when the grace was over has killed nobody yet.
      if (rest.length > 0 && now >= this.#killedAt + AFTER_KILL_MS) {
        this.#survivors = rest
        break
      }
      if (rest.length > 0 && now >= this.#killAt) {
        this.#forced ||= this.#stopSignal !== 'SIGKILL'
        this.#noteKill()
        void this.#controls.signalTree('SIGKILL', leaderEnded, rest)
      } else {
        const others = rest.filter((pid) => !signalled.has(pid))
        for (const pid of others) signalled.add(pid)
        if (others.length > 0) void this.#controls.signalTree(this.#stopSignal, leaderEnded, others)
      }
      await pause(wait)
    }
    if (this.#openStreams <= 0) await this.#conclude()
    else await this.#awaitStreams()
  }

  // Ending.

  /** The leader is gone, the pipes are not: somebody else holds them. Reads what is there, and lets go. */
  async #awaitStreams(): Promise<void> {
    const { held } = this.#controls
    let seen = -1
    let wasHeld = false
    while (this.#openStreams > 0 && (wasHeld || held() || seen !== this.#bytesAfterExit) && this.#bytesAfterExit <= PIPE_CAPACITY) {
      seen = this.#bytesAfterExit
      wasHeld = held()
      await pause(this.#controls.silenceMs ?? HELD_PIPE_MS)
      // Two turns of the loop, so that a loop that was busy until now gets to read first.
      await nextTurn()
      await nextTurn()
    }
    await this.#conclude()
  }

  async #conclude(outcome?: ProcessOutcome): Promise<void> {
    if (this.#concluded) return
    this.#concluded = true
    this.#cancelTimeout?.()
    this.#cancelKill?.()
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    if (this.#controls.host === undefined) forget(this.pid)
    this.#letGo()
    this.#controls.drop()
    const { stdout, stderr } = this.#captures
    const needsWait = stdout?.spilling === true || stderr?.spilling === true
    const texts: [CapturedText, CapturedText] = needsWait
      ? await Promise.all([stdout?.finish() ?? NO_TEXT, stderr?.finish() ?? NO_TEXT])
      : [stdout?.peek() ?? NO_TEXT, stderr?.peek() ?? NO_TEXT]
    const ran = outcome !== 'not-started'
    this.#done.resolve({
      outcome: outcome ?? this.#outcome(),
      exitCode: this.#exit?.code,
      signal: this.#exit?.signal,
      stdout: texts[0],
      stderr: texts[1],
      startedAt: ran ? this.#startedAt : undefined,
      endedAt: ran ? this.#endedAt : undefined,
      durationMs: this.#durationMs,
      host: this.#controls.host,
      forced: this.#forced,
      survivors: this.#survivors,
      ...(this.#error === undefined ? {} : { error: this.#error }),
    })
  }

  #outcome(): ProcessOutcome {
    if (this.#error !== undefined) return 'unreachable'
    if (this.#why === 'timed-out' || this.#why === 'canceled') return this.#why
    return this.#exit?.code !== undefined ? 'exited' : 'signaled'
  }
}

/** A process that never was. @param durationMs - how long it was tried */
export function endedProcess(outcome: ProcessOutcome, error?: NonNullable<ProcessResult['error']>, durationMs = 0): RunningProcess {
  const result: ProcessResult = {
    outcome,
    exitCode: undefined,
    signal: undefined,
    stdout: NO_TEXT,
    stderr: NO_TEXT,
    startedAt: undefined,
    endedAt: undefined,
    durationMs,
    host: undefined,
    forced: false,
    survivors: [],
    ...(error === undefined ? {} : { error }),
  }
  return {
    pid: undefined,
    result: Promise.resolve(result),
    write: () => Promise.reject(new ProcessError('E_STDIN', `Cannot write to a process that did not start: ${error?.message ?? outcome}`)),
    closeStdin: () => {},
    kill: () => {},
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
