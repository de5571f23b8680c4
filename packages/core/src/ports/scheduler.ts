import type { ExitRecord, JobHandle, JobObservation, JobPlace, JobSpec, SubmitOutcome } from '../model/job.js'
import type { ListedJob, PlannedSubmission, SchedulerFacts } from '../model/site-report.js'

/** What a scheduler can do; a conformance case asserts the opposite of what is not declared. */
export interface SchedulerSupports {
  readonly arrays: boolean
  readonly dependencies: boolean
  readonly accounting: boolean
  /** `changed` is implemented: observations need no polling. */
  readonly push: boolean
  /** Knows the jobs of the machine that it runs on only: elsewhere it can say nothing about them, not even that they are gone. */
  readonly thisMachineOnly?: boolean
  /** `order` is implemented: jobs can be held, released, and put back into the queue. */
  readonly hold?: boolean
}

/** How patient one has to be with a scheduler. */
export interface SchedulerTiming {
  /** Between two questions about jobs, at first and at most. One that pushes asks by itself. */
  readonly pollMs: number
  readonly pollMaxMs: number
  /** How long a job without a sign of life may stay without an exit record before it is given up. */
  readonly graceMs: number
  /** How long an uncertain submission is looked for before the answer "there is none" counts. */
  readonly settleGraceMs: number
}

export interface CancelOutcome {
  readonly handle: JobHandle
  /** `requested`: the scheduler took the order, the end will be observed. `ended`: it had ended before. `not-known`: the scheduler has no such job. */
  readonly outcome: 'requested' | 'ended' | 'not-known'
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** A job that an earlier program submitted. */
export interface AdoptedJob extends JobPlace {
  readonly handle: JobHandle
  /** Milliseconds since 1970, of this machine; absent: not known. */
  readonly submittedAt?: number | undefined
}

/**
 * A queueing system.
 *
 * @remarks For adapters: `submit` returns one outcome per job in order, and throws only when nothing at all was sent. A
 * submission has three bad ends: `invalid` (never works), `rejected` (nothing queued) and `uncertain` (settle it with
 * `find`, never by submitting again). `observe` returns one observation per handle in order; a job that the queue does not show
 * is `not-visible`, nothing more; a query that failed throws `E_SCHEDULER_SILENT` and changes nothing; a state word that is not known gives
 * `unknown` with the raw word kept. `cancel` only asks; the end is observed.
 */
export interface Scheduler extends AsyncDisposable {
  readonly name: string
  readonly supports: SchedulerSupports
  /** Absent: that of a program of this machine when it pushes, else of a queue that is asked every half minute. */
  readonly timing?: SchedulerTiming
  open(options?: CallOptions): Promise<void>
  submit(jobs: readonly JobSpec[], options?: CallOptions): Promise<readonly SubmitOutcome[]>
  /**
   * Looks jobs up by tag, in every state that the scheduler still shows, and by what was left in their directories when they were
   * submitted together with others. Throws when the question was not answered.
   */
  find(jobs: readonly JobPlace[], options?: CallOptions): Promise<ReadonlyMap<string, JobHandle>>
  observe(handles: readonly JobHandle[], options?: CallOptions): Promise<readonly JobObservation[]>
  cancel(handles: readonly JobHandle[], options?: CallOptions): Promise<readonly CancelOutcome[]>
  /** Resolves when at least one job of this user may have changed since the last `observe`. Only with `supports.push`. */
  changed?(options?: CallOptions): Promise<void>
  /** Reads the exit record through the backend that submitted; `undefined` when there is none (yet). */
  exitRecord(job: JobPlace, options?: CallOptions): Promise<ExitRecord | undefined>
  /**
   * Gives jobs up of which nothing is to be found: one that comes into the queue after all does nothing when it is started.
   *
   * @returns the tags of those that have begun: they go on, or have ended
   */
  giveUp?(jobs: readonly JobPlace[], options?: CallOptions): Promise<ReadonlySet<string>>
  /**
   * Tells of jobs that an earlier program submitted, before they are asked about: what they leave in their directories is then noticed
   * as that of our own. Asks nobody.
   */
  adopt?(jobs: readonly AdoptedJob[]): void
  /** How these jobs would be submitted: exact scripts and commands. Asks nobody, changes nothing. */
  preview?(jobs: readonly JobSpec[]): readonly PlannedSubmission[]
  /** What the scheduler said about itself when it was opened. */
  facts?(): SchedulerFacts
  /** All jobs of this user that the queue shows. */
  list?(options?: CallOptions): Promise<readonly ListedJob[]>
  /** Only with `supports.hold`. As `cancel`: it only asks. */
  order?(order: 'hold' | 'release' | 'requeue', nativeIds: readonly string[], options?: CallOptions): Promise<void>
}
