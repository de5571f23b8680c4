import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, uptime } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../errors.js'
import type { ExitRecord } from '../../model/job.js'
import { startTimer } from '../../util/async.js'
import { REFUSED_EXIT_CODE, renderWrapper } from '../job-wrapper.js'
import { isGivenUp, type RunningMark, readRecordNow, readRunning, writeScript } from './job-files.js'
import type { JobStarter, WrapperEnd } from './job-starter.js'
import type { Job } from './job-table.js'
import { bootId, carriesVariable, killSession, processIdentity, sendSignal } from './proc.js'
import type { JobEnd } from './protocol.js'

/** A wrapper as one argument of `sh -c`; longer ones go through a file, because Linux refuses an argument of 128 KiB. */
const LONGEST_ARGUMENT_BYTES = 100 * 1024
/** What the wrapper gets beyond the grace to write its record, before everything of the job is killed. */
const RECORD_MS = 2_000
const WATCH_MS = 100
/** A wrapper makes its file and writes into it at once; after this time it will not any more. */
const MARKER_MS = 5_000
const DEFAULT_GRACE_MS = 10_000

interface Run {
  readonly job: Job
  /** The wrapper, when it is too long for an argument. */
  file?: string
  cancelWalltime?: () => void
  cancelKill?: () => void
  /** Why it was told to end. */
  told?: 'canceled' | 'timed-out'
  /** Set for a process whose end nobody will tell us. */
  watch?: { readonly identity: string | undefined; readonly until: number }
}

export interface RunnerEvents {
  ended(job: Job, end: JobEnd): void
  /** It could not be started for a reason that may pass. */
  putBack(job: Job): void
  /** It was told to end. */
  ending(job: Job): void
}

/** The part of the daemon that plays the compute node: starts wrappers, enforces walltimes, knows how they ended. */
export class JobRunner {
  readonly #directory: string
  readonly #starter: JobStarter
  readonly #events: RunnerEvents
  readonly #host = hostname()
  readonly #runs = new Map<Job, Run>()
  readonly #watched = new Set<Run>()
  readonly #failures = new Map<Job, number>()
  #watcher: NodeJS.Timeout | undefined

  constructor(directory: string, starter: JobStarter, events: RunnerEvents) {
    this.#directory = directory
    this.#starter = starter
    this.#events = events
  }

  start(job: Job, base: Readonly<Record<string, string>>): void {
    const run: Run = { job }
    this.#runs.set(job, run)
    try {
      writeScript(job.spec)
    } catch (error) {
      this.#finish(run, { end: 'failed', reason: `it could not be started: ${messageOf(error)}`, endedAt: Date.now() })
      return
    }
    const extra = {
      CAHIER_TAG: job.spec.tag,
      CAHIER_HOST: this.#host,
      CAHIER_STARTED_AT: ((job.startedAt ?? Date.now()) / 1000).toFixed(2),
    }
    this.#starter.start(
      { job: job.spec, command: () => this.#command(run, renderWrapper(job.spec)), base, extra },
      {
        started: (pid) => {
          job.pid = pid
          this.#limit(run)
          if (run.told !== undefined) this.#tell(run)
        },
        ended: (end) => this.#ended(run, end),
        failed: (message) => this.#failed(run, message),
        lost: () => this.#adoptOrPutBack(run),
      },
    )
  }

  /**
   * Finds out what became of a job that another daemon had accepted.
   *
   * @returns how it ended, `running` when it is (and is watched from now on), `pending` when it never began
   */
  restore(job: Job): JobEnd | 'running' | 'pending' {
    let started: ReturnType<typeof readRunning>
    try {
      started = readRunning(job.spec)
    } catch {
      // One job's directory must not keep the queue of all closed: it counts as running until it can be read.
      const run: Run = { job }
      this.#runs.set(job, run)
      this.#watch(run)
      return 'running'
    }
    let record: ExitRecord | undefined
    try {
      record = readRecordNow(job.spec)
    } catch (error) {
      if (started === undefined) return { reason: `its exit record cannot be read: ${messageOf(error)}`, endedAt: Date.now() }
    }
    if (record !== undefined) return endOf(record)
    if (started === undefined) {
      return isGivenUp(job.spec) ? { reason: 'it was given up before it had begun', endedAt: Date.now() } : 'pending'
    }
    if (started.startedAt !== undefined) job.startedAt = started.startedAt
    if (started.pid !== undefined && !isWrapper(started.pid, started, job)) {
      // It may have written its record and ended between our two looks.
      const late = recordOf(job)
      return late === undefined ? goneWithoutRecord(started.startedAt) : endOf(late)
    }
    const run: Run = { job }
    this.#runs.set(job, run)
    if (started.pid !== undefined) {
      job.pid = started.pid
      this.#limit(run)
    }
    this.#watch(run)
    return 'running'
  }

  cancel(job: Job): void {
    const run = this.#runs.get(job)
    if (run !== undefined) this.#end(run, 'canceled')
  }

  /** Kills everything that runs, at once. */
  killAll(): void {
    for (const { job } of this.#runs.values()) if (job.pid !== undefined) killSession(job.pid, variableOf(job))
  }

  /** Lets go: what runs goes on. */
  close(): void {
    clearInterval(this.#watcher)
    for (const run of this.#runs.values()) {
      run.cancelWalltime?.()
      run.cancelKill?.()
    }
    this.#runs.clear()
    this.#watched.clear()
  }

  #command(run: Run, wrapper: string): [string, ...string[]] {
    if (Buffer.byteLength(wrapper) <= LONGEST_ARGUMENT_BYTES) return ['/bin/sh', '-c', wrapper]
    const folder = join(this.#directory, 'wrappers')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    run.file = join(folder, run.job.id)
    writeFileSync(run.file, wrapper, { mode: 0o600 })
    return ['/bin/sh', run.file]
  }

  #limit(run: Run): void {
    const { walltimeMs, startedAt = Date.now() } = run.job
    if (walltimeMs === Number.POSITIVE_INFINITY) return
    run.cancelWalltime = startTimer(startedAt + walltimeMs - Date.now(), () => this.#end(run, 'timed-out'))
  }

  #end(run: Run, why: 'canceled' | 'timed-out'): void {
    if (run.told !== undefined) return
    run.told = why
    this.#events.ending(run.job)
    this.#tell(run)
  }

  /** Only the wrapper is told: it notes the reason, and passes one TERM to all the others. */
  #tell(run: Run): void {
    const { pid, spec } = run.job
    if (pid === undefined) return
    sendSignal(pid, run.told === 'timed-out' ? 'SIGUSR1' : 'SIGTERM')
    const graceMs = Math.max(1_000, spec.graceMs ?? DEFAULT_GRACE_MS)
    run.cancelKill = startTimer(graceMs + RECORD_MS, () => killSession(pid, variableOf(run.job)))
  }

  #failed(run: Run, message: string): void {
    const count = (this.#failures.get(run.job) ?? 0) + 1
    if (count >= 20 || run.told !== undefined) {
      this.#finish(run, { end: run.told ?? 'failed', reason: `it could not be started: ${message}`, endedAt: Date.now() })
      return
    }
    this.#failures.set(run.job, count)
    this.#clear(run)
    delete run.job.pid
    // Processes or memory are short on this machine: later, and meanwhile other jobs may end.
    setTimeout(() => this.#events.putBack(run.job), Math.min(5_000, 100 * 2 ** count))
  }

  #ended(run: Run, { exitCode, signal }: WrapperEnd): void {
    const { job } = run
    // Like a batch system's node: when the job is over, so is everything that it left behind in its process group.
    if (job.pid !== undefined && sendSignal(-job.pid, 0)) sendSignal(-job.pid, 'SIGKILL')
    if (exitCode !== undefined && exitCode !== REFUSED_EXIT_CODE && run.told === undefined) {
      this.#finish(run, { end: exitCode === 0 ? 'completed' : 'failed', exitCode, endedAt: Date.now() })
      return
    }
    if (exitCode === REFUSED_EXIT_CODE && recordOf(job) === undefined) {
      // The start that a former daemon ordered came first after all.
      delete job.pid
      this.#adoptOrPutBack(run)
      return
    }
    this.#conclude(run, { exitCode, signal })
  }

  #conclude(run: Run, { exitCode, signal }: WrapperEnd): void {
    const record = recordOf(run.job)
    if (record !== undefined) {
      this.#finish(run, endOf(record))
    } else if (run.told !== undefined) {
      this.#finish(run, { end: run.told, ...(signal === undefined ? {} : { signal }), endedAt: Date.now() })
    } else if (signal !== undefined) {
      this.#finish(run, { end: 'failed', signal, reason: `its wrapper was ended by ${signal}`, endedAt: Date.now() })
    } else if (exitCode !== undefined && exitCode !== REFUSED_EXIT_CODE) {
      this.#finish(run, { end: 'failed', exitCode, endedAt: Date.now() })
    } else {
      this.#finish(run, goneWithoutRecord(run.job.startedAt))
    }
  }

  /** Nobody will tell how the job ends: look at it, or at what it left. */
  #adoptOrPutBack(run: Run): void {
    this.#clear(run)
    const found = this.restore(run.job)
    if (found === 'pending') this.#events.putBack(run.job)
    else if (found !== 'running') this.#finish(run, found)
    else if (run.told !== undefined) this.#end(this.#runs.get(run.job) ?? run, run.told)
  }

  #watch(run: Run): void {
    const { pid } = run.job
    run.watch = { identity: pid === undefined ? undefined : processIdentity(pid), until: Date.now() + MARKER_MS }
    this.#watched.add(run)
    this.#watcher ??= setInterval(() => this.#look(), WATCH_MS)
  }

  #look(): void {
    for (const run of this.#watched) {
      const { job, watch } = run
      if (job.pid === undefined) {
        let running: ReturnType<typeof readRunning>
        try {
          running = readRunning(job.spec)
        } catch (error) {
          if (run.told !== undefined) this.#finish(run, { end: run.told, reason: messageOf(error), endedAt: Date.now() })
          continue
        }
        if (running !== undefined && running.pid === undefined && Date.now() < (watch?.until ?? 0)) continue
        this.#watched.delete(run)
        this.#runs.delete(job)
        const found = this.restore(job)
        if (found === 'running' && job.pid !== undefined) {
          if (run.told !== undefined) this.cancel(job)
          continue
        }
        this.#finish(run, typeof found === 'object' ? found : goneWithoutRecord(job.startedAt))
      } else if (watch?.identity === undefined || processIdentity(job.pid) !== watch.identity) {
        if (sendSignal(-job.pid, 0)) killSession(job.pid, variableOf(job))
        this.#conclude(run, {})
      }
    }
  }

  #finish(run: Run, end: JobEnd): void {
    const { job } = run
    this.#clear(run)
    this.#failures.delete(job)
    if (run.file !== undefined) rmSync(run.file, { force: true })
    this.#events.ended(job, end)
  }

  #clear(run: Run): void {
    run.cancelWalltime?.()
    run.cancelKill?.()
    this.#runs.delete(run.job)
    this.#watched.delete(run)
    if (this.#watched.size === 0) {
      clearInterval(this.#watcher)
      this.#watcher = undefined
    }
  }
}

/** `undefined` also when it cannot be read: a job may do what it likes with the names in its directory. */
function recordOf({ spec }: Job): ExitRecord | undefined {
  try {
    return readRecordNow(spec)
  } catch {
    return undefined
  }
}

/** True when the process that took the job is still the one of that number. */
function isWrapper(pid: number, { birth }: RunningMark, job: Job): boolean {
  if (birth === undefined) return carriesVariable(pid, variableOf(job))
  return birth.boot === bootId() && birth.ticks === processIdentity(pid)
}

function variableOf({ spec }: Job): string {
  return `CAHIER_TAG=${spec.tag}`
}

function endOf(record: ExitRecord): JobEnd {
  const times = { startedAt: Math.round(record.startedAt * 1000), endedAt: Math.round(record.endedAt * 1000) }
  const { exitCode } = record
  switch (record.reason) {
    case 'canceled':
      return { end: 'canceled', exitCode, ...times }
    case 'timeout':
      return { end: 'timed-out', exitCode, ...times }
    case 'not-started':
      return { end: 'failed', exitCode, reason: 'the script could not be started', ...times }
    case 'exited':
      return { end: exitCode === 0 ? 'completed' : 'failed', exitCode, ...times }
  }
}

/** Nothing says how it ended, so nothing is said, except that the machine went down under it. */
function goneWithoutRecord(startedAt: number | undefined): JobEnd {
  const endedAt = Date.now()
  if (startedAt !== undefined && startedAt < endedAt - uptime() * 1000) {
    return { end: 'node-failed', reason: 'this machine was started anew while it ran', endedAt }
  }
  return { reason: 'its processes are gone and it left no exit record', endedAt }
}
