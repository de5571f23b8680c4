import type { SchedulerError } from '../../errors.js'
import { isCampaignError, messageOf } from '../../errors.js'
import type { ExitRecord, JobHandle, JobObservation } from '../../model/job.js'
import type { Clock } from '../../ports/clock.js'
import type { Logger } from '../../ports/logger.js'
import type { CallOptions } from '../../ports/scheduler.js'
import type { JobRow, SchedulerDialect } from '../../ports/scheduler-dialect.js'
import { makeDeferred } from '../../util/async.js'
import { SharedTask } from '../../util/shared-task.js'
import type { FollowUp } from './follow-up.js'
import { endsByRecord, observationOf } from './observation.js'
import { backOff, pollInterval, type Rhythm } from './poll-rhythm.js'
import { type SiteCommands, silence } from './site-commands.js'
import { makeSnapshot, rowOf, type Snapshot } from './snapshot.js'
import type { TrackedJob, TrackedJobs } from './tracked-jobs.js'

export interface StatusParts {
  readonly dialect: SchedulerDialect
  readonly commands: SiteCommands
  readonly jobs: TrackedJobs
  readonly followUp: FollowUp
  readonly clock: Clock
  readonly log: Logger
  readonly rhythm: Rhythm
}

interface Silence {
  readonly since: number
  tries: number
  nextAt: number
  error: SchedulerError
}

/**
 * What is known about all jobs: one question to the queue now and then, and between two of them what jobs announce themselves.
 */
export class Status {
  readonly #parts: StatusParts
  #moment = 0
  #snapshot: Snapshot | undefined
  #polling: SharedTask<Snapshot> | undefined
  #silence: Silence | undefined
  /** The next question may be asked before the interval is over. */
  #isDue = true
  #changedAt: number
  /** A record was announced since the last observation. */
  #hasNews = false
  #wake = makeDeferred<void>()
  #isClosed = false

  constructor(parts: StatusParts) {
    this.#parts = parts
    this.#changedAt = parts.clock.monotonic()
  }

  /** A number that grows: which of two things came first. */
  nextMoment(): number {
    this.#moment += 1
    return this.#moment
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot
  }

  /** Something was done that the queue will show: its answers are wanted as often as they may be. */
  noteChange(options: { readonly askSoon?: boolean } = {}): void {
    this.#changedAt = this.#parts.clock.monotonic()
    if (options.askSoon === true) this.#isDue = true
    this.#stir()
  }

  /** A job has left its exit record. */
  noteRecord(job: TrackedJob, record: ExitRecord): void {
    job.record = record
    this.#hasNews = true
    // What only the queue can say now is worth a question.
    if (!endsByRecord(job)) this.#changedAt = this.#parts.clock.monotonic()
    this.#stir()
  }

  async observe(handles: readonly JobHandle[], { signal }: CallOptions = {}): Promise<readonly JobObservation[]> {
    signal?.throwIfAborted()
    const { jobs } = this.#parts
    const asked = handles.map((handle) => this.#follow(handle))
    jobs.call(asked)
    if (asked.length === 0) return []
    this.#hasNews = false
    let failure: unknown
    if (asked.some((job) => !isOver(job)) && this.#dueInMs() === 0) {
      try {
        await this.ask({ signal })
      } catch (error) {
        if (signal?.aborted === true) throw error
        failure = error
      }
    } else failure = this.#silence?.error
    // Who ended by its own word has ended, whether the queue speaks or not; the others are as they were.
    const isNew = (job: TrackedJob): boolean => endsByRecord(job) && job.told === undefined
    if (failure !== undefined && asked.some((job) => !isOver(job)) && !asked.some(isNew)) throw failure as Error
    const observations = await this.#observations(asked, signal)
    jobs.prune(asked.length)
    return observations
  }

  /** What is known of these jobs from an answer that is at most so old; asks when there is none. */
  async see(handles: readonly JobHandle[], oldestMs: number, options: CallOptions = {}): Promise<readonly JobObservation[]> {
    const { jobs, clock } = this.#parts
    const asked = handles.map((handle) => jobs.track(handle))
    const now = clock.monotonic()
    const snapshot = this.#snapshot
    const isFresh = (job: TrackedJob): boolean =>
      isOver(job) ||
      (job.moment > 0 && now - job.since <= oldestMs) ||
      (snapshot !== undefined && job.moment < snapshot.moment && now - snapshot.at <= oldestMs)
    if (!asked.every(isFresh)) await this.askAnew(options)
    return this.#observations(asked, options.signal)
  }

  /** Jobs that came while the queue was asked, or whose directories could not be read then. */
  async identify(jobs: readonly TrackedJob[], signal: AbortSignal | undefined): Promise<void> {
    if (jobs.some((job) => !job.wasIdentified)) await this.#parts.followUp.identify(jobs, signal)
  }

  /** Milliseconds until the queue is to be asked; `undefined`: nobody waits for its answer. */
  dueInMs(): number | undefined {
    for (const job of this.#parts.jobs.followed()) if (!isOver(job)) return this.#dueInMs()
    return undefined
  }

  /** Resolves when an observation may say something new. */
  async changed({ signal }: CallOptions = {}): Promise<void> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#hasNews || this.#isClosed) return
      const dueInMs = this.dueInMs()
      if (dueInMs === 0) return
      const control = new AbortController()
      const isOver = AbortSignal.any(signal === undefined ? [control.signal] : [signal, control.signal])
      try {
        const waits = [this.#wake.promise, dueInMs === undefined ? aborted(isOver) : this.#parts.clock.sleep(dueInMs, { signal: isOver })]
        for (const wait of waits) wait.catch(() => undefined)
        await Promise.race(waits)
      } finally {
        control.abort()
      }
    }
  }

  /** Asks the queue about all jobs. Whoever asks meanwhile gets the same answer. Throws `E_SCHEDULER_SILENT`. */
  ask({ signal }: CallOptions = {}): Promise<Snapshot> {
    if (this.#polling === undefined || this.#polling.aborted) {
      const task = new SharedTask((own) => this.#poll(own))
      this.#polling = task
      void task.over().then(() => {
        if (this.#polling === task) this.#polling = undefined
      })
    }
    return this.#polling.wait(signal)
  }

  /** As {@link ask}, of a question that was not on its way already: the answer knows of everything that was done before. */
  async askAnew(options: CallOptions = {}): Promise<Snapshot> {
    const moment = this.nextMoment()
    for (;;) {
      const snapshot = await this.ask(options)
      if (snapshot.moment > moment) return snapshot
    }
  }

  /** Nobody waits any more. */
  close(): void {
    this.#isClosed = true
    this.#polling?.abort()
    this.#stir()
  }

  #follow(handle: JobHandle): TrackedJob {
    const { jobs } = this.#parts
    const known = jobs.get(handle.tag)
    const job = jobs.track(handle)
    // Of a job that is met here first the last answer may not speak.
    if (job !== known) this.#isDue = true
    return job
  }

  #dueInMs(): number {
    const now = this.#parts.clock.monotonic()
    if (this.#silence !== undefined) return Math.max(0, this.#silence.nextAt - now)
    if (this.#snapshot === undefined || this.#isDue) return 0
    return Math.max(0, this.#snapshot.at + pollInterval(this.#parts.rhythm, now - this.#changedAt) - now)
  }

  async #poll(signal: AbortSignal): Promise<Snapshot> {
    const { dialect, commands, clock, log, followUp } = this.#parts
    const moment = this.nextMoment()
    this.#isDue = false
    let rows: readonly JobRow[]
    try {
      const answer = dialect.parseQueue(await commands.ask(dialect.queue(), { signal }))
      if ('silent' in answer) throw silence(dialect.name, answer.silent, answer.suggestions)
      if ('absent' in answer) throw silence(dialect.name, answer.absent)
      rows = answer.rows
    } catch (error) {
      if (signal.aborted) this.#isDue = true
      else if (isCampaignError(error)) this.#noteSilence(error)
      throw error
    }
    await followUp.identify(this.#parts.jobs.followed(), signal)
    const now = clock.monotonic()
    if (this.#silence !== undefined) log.info({ silentMs: Math.round(now - this.#silence.since) }, 'the queue answers again')
    this.#silence = undefined
    const snapshot = makeSnapshot(rows, moment, now)
    this.#snapshot = snapshot
    if (this.#noteStates(snapshot)) this.#changedAt = now
    try {
      if (await followUp.run(snapshot, signal)) this.#changedAt = clock.monotonic()
    } catch (error) {
      // The queue has answered: what else could be found out waits for the next time.
      log.debug({ error: messageOf(error) }, 'not all of what the queue leaves open could be asked')
    }
    // The time that the questions took is not part of the pause between them.
    this.#snapshot = { ...snapshot, at: clock.monotonic() }
    return this.#snapshot
  }

  #noteSilence(error: SchedulerError): void {
    const { clock, log, rhythm } = this.#parts
    const now = clock.monotonic()
    if (this.#silence === undefined) log.warn({ error: error.message }, 'the queue does not answer: nothing changes')
    const tries = (this.#silence?.tries ?? 0) + 1
    this.#silence = { since: this.#silence?.since ?? now, tries, nextAt: now + backOff(rhythm, tries, Math.random()), error }
  }

  /** @returns true when a job is not as it was */
  #noteStates(snapshot: Snapshot): boolean {
    let isChanged = false
    for (const job of this.#parts.jobs.followed()) {
      if (isOver(job) || !job.wasIdentified) continue
      const row = rowOf(snapshot, job)
      const state = row?.state ?? 'not-visible'
      if (job.moment < snapshot.moment) job.absences = row === undefined ? job.absences + 1 : 0
      if (row !== undefined && state !== 'ended' && state !== 'unknown') {
        // It was put back into the queue: what was seen of its end was the end of one start.
        job.told = undefined
        job.closer = undefined
        job.wasLookedAt = false
        job.hasBegun = undefined
        // So was its record, which the next start moves aside; a job that is about to be gone has it in its file still.
        job.record = undefined
      }
      if (state !== job.state || state === 'not-visible') isChanged = true
      job.state = state
    }
    return isChanged
  }

  async #observations(asked: readonly TrackedJob[], signal: AbortSignal | undefined): Promise<readonly JobObservation[]> {
    await this.identify(asked, signal)
    const snapshot = this.#snapshot
    if (snapshot !== undefined) await this.#parts.followUp.look(asked, snapshot, signal)
    const { accountingSilent } = this.#parts.followUp
    const first = firstMembers(asked, this.#parts.jobs)
    return asked.map((job) => {
      const observation = observationOf(job, {
        row: snapshot === undefined ? undefined : rowOf(snapshot, job),
        isCovered: snapshot !== undefined && job.moment < snapshot.moment,
        accountingSilent,
        isBehind: job.member !== undefined && job.member > (first.get(job.rowId) ?? 0),
      })
      if (observation.state === 'ended') job.told = observation
      return observation
    })
  }

  #stir(): void {
    this.#wake.resolve()
    this.#wake = makeDeferred()
  }
}

/** True when nothing more is to be learnt from the queue. */
function isOver(job: TrackedJob): boolean {
  return endsByRecord(job) || (job.told !== undefined && job.record !== undefined)
}

/** Of each pack the first member without a record: it is the one that may run. */
function firstMembers(asked: readonly TrackedJob[], jobs: TrackedJobs): ReadonlyMap<string, number> {
  const first = new Map<string, number>()
  if (!asked.some((job) => job.member !== undefined)) return first
  for (const { member, rowId, record } of jobs.all()) {
    if (member !== undefined && record === undefined) first.set(rowId, Math.min(first.get(rowId) ?? member, member))
  }
  return first
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
