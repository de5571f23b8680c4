import type { CampaignSpec } from './campaign.js'
import type { Combination } from './combination.js'
import type { JobOutcome, JobResources } from './job.js'
import type { PlannedSubmission } from './site-report.js'

/** A campaign file that was read and checked against the schema. */
export interface LoadedCampaign {
  readonly name: string
  /** Absolute; `undefined` for a campaign that a program defines. */
  readonly file: string | undefined
  /** Absolute; files and templates are named relative to it. */
  readonly directory: string
  readonly spec: CampaignSpec
}

/** Where a work item stands, as `status` counts it. */
export type ItemState = 'todo' | 'submitted' | 'running' | 'done' | 'failed' | 'invalid'

export interface RunCounts {
  readonly total: number
  readonly todo: number
  readonly submitted: number
  readonly running: number
  readonly done: number
  readonly failed: number
  readonly invalid: number
  /** Done work that the campaign no longer asks for. */
  readonly orphaned: number
}

/** Why a run stands still although work remains. */
export interface RunPause {
  readonly reason: 'breaker' | 'stopped' | 'disk-full' | 'scheduler-silent' | 'login-needed'
  readonly since: number
  readonly detail: string
  /** Only this site of the run stands still. */
  readonly site?: string
}

/** Where a run stands at one of its sites. */
export interface SiteStatus {
  readonly name: string
  readonly submitted: number
  readonly running: number
  readonly pause: RunPause | undefined
}

/** Jobs of one site that wait for the same thing to be done, not for their turn: they are held, or the site has a fault. */
export interface StuckJobs {
  /** Absent in journals of older versions. */
  readonly site?: string
  /** Of the first of them, in the scheduler's words. */
  readonly words: string
  /** What somebody has to do; absent: the scheduler's words have to do. */
  readonly advice?: string
  readonly jobs: number
  /** Of the first few. */
  readonly nativeIds: readonly string[]
  /** The first of them, as {@link ItemReport.id}. */
  readonly item: string
  /** When it was first seen of one of them. */
  readonly since: number
}

export interface RunHolder {
  readonly host: string
  readonly pid: number
  readonly since: number
}

/** A fold of the journal, for `cahier status`. */
export interface RunStatus {
  readonly campaign: string
  readonly directory: string
  readonly counts: RunCounts
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  /** `finished`: nothing remains to be done; `idle`: work remains and nobody drives it. */
  readonly state: 'running' | 'idle' | 'paused' | 'finished'
  readonly holder: RunHolder | undefined
  readonly pause: RunPause | undefined
  /** Jobs that will not start until somebody does something. */
  readonly stuck: readonly StuckJobs[]
  /** Stages that failed, then work items: the newest first, at most 10. */
  readonly failures: readonly ItemReport[]
  /** The sites that the newest controller used, and those with jobs in flight; absent in journals of older versions. */
  readonly sites?: readonly SiteStatus[]
}

/** What is known about one attempt, for `cahier why`. */
export interface AttemptReport {
  readonly attempt: number
  readonly tag: string
  readonly directory: string
  readonly outcome: JobOutcome | 'invalid' | undefined
  readonly detail: string
  readonly nativeId: string | undefined
  /** Where it was submitted; absent in journals of runs on one site that do not say it. */
  readonly site?: string
  /** Of one that has not started: why it waits, in the scheduler's words, and since when that is known. */
  readonly waiting?: { readonly words: string; readonly at: number; readonly advice?: string }
  readonly exitCode: number | undefined
  readonly submittedAt: number | undefined
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
}

export interface ItemReport {
  /** Short id of the combination and repetition, `1f3a9c/r2`; of a prepare stage its name, `prepare:compile`. */
  readonly id: string
  /** True for a prepare stage: its combination is empty then. */
  readonly isStage?: true
  readonly combination: Combination
  readonly repetition: number
  readonly state: ItemState
  readonly attempts: readonly AttemptReport[]
  /** One line: why it is in this state. */
  readonly detail: string
  /** Last lines of stderr (or stdout) of the last attempt. */
  readonly tail?: string
}

/** What a run would do, for `cahier plan`. Nothing was touched. */
export interface RunPlan {
  readonly campaign: string
  readonly directory: string | undefined
  /** The first of {@link sites}. */
  readonly site: string
  readonly scheduler: string
  /** All that share the work. */
  readonly sites: readonly { readonly name: string; readonly scheduler: string; readonly host?: string }[]
  readonly combinations: number
  readonly repetitions: number
  readonly items: number
  readonly alreadyDone: number
  readonly toDo: number
  /** Against what the run directory did before, when there is one. */
  readonly difference: { readonly added: number; readonly kept: number; readonly removed: number } | undefined
  /** Upper bound: cores × walltime of what is to do; `undefined` when a job has no walltime. */
  readonly coreHours: number | undefined
  readonly factors: readonly { readonly name: string; readonly levels: number }[]
  /** The first jobs, exactly as they would be submitted. */
  readonly samples: readonly PlannedJob[]
  /** The first submissions with their exact scripts and commands, where the scheduler can show them. */
  readonly submissions: readonly PlannedSubmission[]
  /** So many work items share one submission (an array, a pack); `undefined` where the scheduler cannot tell. */
  readonly jobsPerSubmission: number | undefined
  /** Limits of the site that will be hit, a sentence each. */
  readonly limits: readonly string[]
  readonly warnings: readonly string[]
}

export interface PlannedJob {
  readonly id: string
  readonly combination: Combination
  readonly repetition: number
  readonly directory: string
  readonly script: string
  /** What the campaign asks for; nothing: the defaults of site and script. */
  readonly resources: JobResources
}

/** What a controller tells while it drives a run; for progress displays. */
export type RunEvent =
  | { readonly type: 'started'; readonly directory: string; readonly counts: RunCounts; readonly resumed: boolean }
  | {
      readonly type: 'submitted'
      readonly item: string
      readonly label: string
      readonly nativeId: string
      readonly dependsOn: readonly string[]
    }
  | { readonly type: 'item'; readonly item: string; readonly label: string; readonly state: ItemState; readonly detail: string }
  | { readonly type: 'counts'; readonly counts: RunCounts }
  | { readonly type: 'paused'; readonly pause: RunPause }
  /** Once for each trouble; again when it comes back, or when many more jobs are in it. */
  | { readonly type: 'stuck'; readonly stuck: StuckJobs }
  | { readonly type: 'report'; readonly file: string }
  | { readonly type: 'finished'; readonly counts: RunCounts; readonly outcome: RunOutcome }

/** `detached`: stopped by its user, jobs go on. */
export type RunOutcome = 'complete' | 'incomplete' | 'paused' | 'detached'

export interface RunSummary {
  readonly directory: string
  readonly outcome: RunOutcome
  readonly counts: RunCounts
  readonly pause: RunPause | undefined
  /** `undefined` when there is neither a result nor a failure yet, and on a full disk. */
  readonly reportFile: string | undefined
  readonly findings: readonly { readonly title: string; readonly text: string; readonly ok?: boolean }[]
}
