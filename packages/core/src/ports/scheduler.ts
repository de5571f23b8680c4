import type { ExitRecord, JobHandle, JobObservation, JobSpec, SubmitOutcome } from '../model/job.js'

/** What a scheduler can do; a conformance case asserts the opposite of what is not declared. */
export interface SchedulerSupports {
  readonly arrays: boolean
  readonly dependencies: boolean
  readonly accounting: boolean
  /** `changed` is implemented: observations need no polling. */
  readonly push: boolean
  /** Knows the jobs of the machine that it runs on only: elsewhere it can say nothing about them, not even that they are gone. */
  readonly thisMachineOnly?: boolean
}

export interface CancelOutcome {
  readonly handle: JobHandle
  /** `requested`: the scheduler took the order, the end will be observed. `ended`: it had ended before. `not-known`: the scheduler has no such job. */
  readonly outcome: 'requested' | 'ended' | 'not-known'
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
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
  open(options?: CallOptions): Promise<void>
  submit(jobs: readonly JobSpec[], options?: CallOptions): Promise<readonly SubmitOutcome[]>
  /** Looks jobs up by tag, in every state that the scheduler still shows. Throws when the question was not answered. */
  find(tags: readonly string[], options?: CallOptions): Promise<ReadonlyMap<string, JobHandle>>
  observe(handles: readonly JobHandle[], options?: CallOptions): Promise<readonly JobObservation[]>
  cancel(handles: readonly JobHandle[], options?: CallOptions): Promise<readonly CancelOutcome[]>
  /** Resolves when at least one job of this user may have changed since the last `observe`. Only with `supports.push`. */
  changed?(options?: CallOptions): Promise<void>
  /** Reads the exit record through the backend that submitted; `undefined` when there is none (yet). */
  exitRecord(job: Pick<JobSpec, 'directory' | 'tag'>, options?: CallOptions): Promise<ExitRecord | undefined>
}
