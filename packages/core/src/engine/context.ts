import type { CampaignSpec } from '../model/campaign.js'
import type { Combination } from '../model/combination.js'
import type { JobHandle, JobSpec } from '../model/job.js'
import type { RunEvent } from '../model/run.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { Scheduler } from '../ports/scheduler.js'
import type { Store } from '../ports/store.js'
import type { InputFile } from './attempt-files.js'
import type { JobKey, RunJournalEvent } from './events.js'
import type { Planner } from './plan.js'
import type { RunState } from './run-state.js'

/** What was read from the files of an attempt whose job succeeded. */
export type Collected =
  | { readonly ok: true; readonly values: Readonly<Record<string, unknown>> }
  /** One line that says which field of which file did not fit. */
  | { readonly ok: false; readonly detail: string }

export type Collect = (job: {
  readonly directory: string
  readonly combination: Combination
  readonly repetition: number
}) => Collected | Promise<Collected>

export interface ControllerSettings {
  readonly maxInFlight: number
  /** Jobs claimed and submitted at a time. */
  readonly batch: number
  /** How long a job without a sign of life may stay without an exit record before it is given up. */
  readonly graceMs: number
  /** How long an uncertain submission is looked for before the answer "there is none" counts. */
  readonly settleGraceMs: number
  /** First and last interval between two questions to a scheduler that does not report changes by itself. */
  readonly pollMs: number
  readonly pollMaxMs: number
}

/** One job in flight, as the controller handles it. */
export interface Watch {
  readonly key: JobKey
  readonly attempt: number
  readonly tag: string
  /** Absolute. */
  readonly directory: string
  /** For humans. */
  readonly label: string
  handle: JobHandle | undefined
  /** Prepare stages that the job depends on. */
  readonly needs: readonly string[]
  /** It was given up as lost before: that it is not found now is no news, and it counts as an attempt. */
  readonly isSecondLook?: boolean
  /** Monotonic time of the first observation without a sign of life in a row. */
  silentSince: number | undefined
}

/** A job with a durable intent that the scheduler has not taken yet. */
export interface Unsent {
  readonly watch: Watch
  readonly spec: JobSpec
}

/** What the steps of the controller share. */
export interface RunContext {
  readonly spec: CampaignSpec
  readonly directory: string
  readonly planner: Planner
  readonly state: RunState
  readonly store: Store
  readonly scheduler: Scheduler
  readonly collect: Collect
  readonly files: readonly InputFile[]
  readonly site: { readonly account?: string | undefined; readonly queue?: string | undefined }
  readonly clock: Clock
  readonly log: Logger
  readonly settings: ControllerSettings
  readonly watches: Map<JobKey, Watch>
  readonly emit: (event: RunEvent) => void
  /** Appends, unless another controller has taken over: then StoreError `E_RUN_HELD`. */
  readonly write: (events: readonly RunJournalEvent[], options?: { readonly durable?: boolean }) => Promise<void>
}
