import type { ExitRecord, JobHandle, JobObservation } from '../../model/job.js'
import type { Clock } from '../../ports/clock.js'
import type { JobRow } from '../../ports/scheduler-dialect.js'
import { parseNativeId, rowIdOf } from './native-id.js'

/** What is known about one job that is followed. Every field is always there: ten thousand of them are gone through at each answer. */
export interface TrackedJob {
  readonly handle: JobHandle
  /** What its native id is made of. */
  readonly base: string
  readonly element: number | undefined
  readonly member: number | undefined
  /** The scheduler's own name of the job, or of the pack that it is in. */
  readonly rowId: string
  /** Number of the moment at which we had submitted it; 0: an earlier program did. */
  readonly moment: number
  /** Monotonic time at which it became known. */
  readonly since: number
  /** Wall clock here; `undefined`: not known. */
  submittedAt: number | undefined
  directory: string | undefined
  runDirectory: string | undefined
  /** Tag of its submission; `undefined`: not known. */
  group: string | undefined
  /** Where it cannot be told which of several it was: the tags of all submissions that it may have come with. */
  groups: readonly string[]
  record: ExitRecord | undefined
  /** An `ended` that was told: it stays, also when the queue has forgotten the job, until the queue shows it alive again. */
  told: JobObservation | undefined
  /** How the accounting, or a closer look, says that it ended. */
  closer: JobRow | undefined
  wasLookedAt: boolean
  /** A start of it has left something in its directory; `undefined`: not looked for, or it cannot be read. */
  hasBegun: boolean | undefined
  /** It waited and would never have started, so we cancel it. */
  never: NonNullable<JobRow['never']> | undefined
  /** Monotonic time at which the end was last asked for. */
  cancelAskedAt: number | undefined
  /** The line of the last answer from which {@link shown} was made. */
  row: JobRow | undefined
  shown: JobObservation | undefined
  /** How many answers in a row did not show it. */
  absences: number
  /** State in the last answer. */
  state: JobObservation['state'] | undefined
  /** The last call of `observe` that named it; 0: none. */
  call: number
  /** It is known whether {@link group} can be found out: until then a line about one of several jobs may be about a stranger's. */
  wasIdentified: boolean
}

export interface TrackOptions {
  readonly moment?: number
  readonly submittedAt?: number | undefined
  readonly directory?: string | undefined
  readonly runDirectory?: string | undefined
  readonly group?: string | undefined
}

/** The jobs that are followed, by tag. */
export class TrackedJobs {
  readonly #byTag = new Map<string, TrackedJob>()
  readonly #clock: Pick<Clock, 'monotonic'>
  #call = 0
  #calledAt = Number.NEGATIVE_INFINITY

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  get size(): number {
    return this.#byTag.size
  }

  all(): Iterable<TrackedJob> {
    return this.#byTag.values()
  }

  /** Those that somebody waits for: the last `observe` named them, or they came after it. */
  *followed(): Iterable<TrackedJob> {
    for (const job of this.#byTag.values()) if (job.call === this.#call || (job.call === 0 && job.since >= this.#calledAt)) yield job
  }

  /** A call of `observe` begins, which names these jobs. */
  call(jobs: readonly TrackedJob[]): void {
    this.#call += 1
    this.#calledAt = this.#clock.monotonic()
    for (const job of jobs) job.call = this.#call
  }

  get(tag: string): TrackedJob | undefined {
    return this.#byTag.get(tag)
  }

  /** Follows a job, or adds to what is known about it. Another job of the same tag takes its place. */
  track(handle: JobHandle, { moment = 0, submittedAt, directory, runDirectory, group }: TrackOptions = {}): TrackedJob {
    const known = this.#byTag.get(handle.tag)
    if (known !== undefined && known.handle.nativeId === handle.nativeId) {
      known.submittedAt ??= submittedAt
      if (known.directory === undefined && directory !== undefined) {
        known.directory = directory
        known.wasIdentified = known.group !== undefined || (known.element === undefined && known.member === undefined)
      }
      known.runDirectory ??= runDirectory
      if (group !== undefined) {
        known.group ??= group
        known.wasIdentified = true
      }
      return known
    }
    const { base, element, member } = parseNativeId(handle.nativeId)
    const job: TrackedJob = {
      handle,
      base,
      element,
      member,
      rowId: rowIdOf(handle.nativeId),
      moment,
      since: this.#clock.monotonic(),
      submittedAt,
      directory,
      runDirectory,
      group,
      groups: [],
      record: undefined,
      told: undefined,
      closer: undefined,
      wasLookedAt: false,
      hasBegun: undefined,
      never: undefined,
      cancelAskedAt: undefined,
      row: undefined,
      shown: undefined,
      absences: 0,
      state: undefined,
      call: 0,
      wasIdentified: group !== undefined || directory === undefined || (element === undefined && member === undefined),
    }
    this.#byTag.set(handle.tag, job)
    return job
  }

  /** Behind all others in {@link all}. */
  moveToEnd(job: TrackedJob): void {
    if (this.#byTag.delete(job.handle.tag)) this.#byTag.set(job.handle.tag, job)
  }

  /** Forgets jobs whose end was told and that nobody asks about any more, when there are many. */
  prune(asked: number): void {
    if (this.#byTag.size < 2 * asked + 2_000) return
    for (const [tag, job] of this.#byTag) {
      if (job.call < this.#call && (job.told !== undefined || (job.call > 0 && job.directory === undefined))) this.#byTag.delete(tag)
    }
  }
}

/** True for a record that no requeue can undo: the script came to its own end. */
export function isFinalRecord(record: ExitRecord | undefined): record is ExitRecord & { readonly reason: 'exited' | 'not-started' } {
  return record !== undefined && (record.reason === 'exited' || record.reason === 'not-started')
}
