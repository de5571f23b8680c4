import type { DependencyKind, JobObservation, JobResources, JobState } from '../model/job.js'
import type { SchedulerFacts } from '../model/site-report.js'

/** A command of the scheduler, run on the site without a shell. */
export interface SiteCommand {
  readonly argv: readonly [string, ...string[]]
  /** Added to the environment; `undefined` removes a name, as in a `ProcessSpec`: users set defaults of schedulers there. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Text for its standard input. */
  readonly stdin?: string
}

/** What a command answered. That it could not be asked at all (no connection) is not among it: then no parser is called. */
export interface CommandAnswer {
  /** `undefined`: it was ended by a signal or by our time limit; what it printed before stands in the texts. */
  readonly exitCode: number | undefined
  readonly timedOut: boolean
  readonly stdout: string
  readonly stderr: string
}

/** One submission: a job, an array of jobs, a pack of short jobs in a row, or an array of packs. */
export interface Submission {
  /** Unique, `[A-Za-z0-9_-]{1,128}`: the tag of its job, or one of its own. It is what the submission is found again by. */
  readonly tag: string
  /** For humans; any text. */
  readonly name: string
  /** Absolute: where it starts. */
  readonly directory: string
  /** Absolute: the file with the text that {@link SchedulerDialect.head} begins. */
  readonly scriptFile: string
  /** Absolute: what the scheduler itself has to say about the job, its node daemons' words; appended to. */
  readonly logFile: string
  /** Of one element; a pack's walltime is the sum of its members'. */
  readonly resources: JobResources
  readonly queue?: string
  readonly account?: string
  /** Options of the site with those of the job over them, checked by {@link SchedulerDialect.jobOptions}. */
  readonly options: Readonly<Record<string, unknown>>
  /** Native ids, grouped by kind. */
  readonly dependencies: readonly { readonly kind: DependencyKind; readonly ids: readonly string[] }[]
  /** Elements 0 … size - 1. */
  readonly array?: { readonly size: number }
  /** Directive lines of the user's script, as they are: they win over what is derived from `resources`, `queue`, `account` and `options`. */
  readonly userLines: readonly string[]
  /** Between the request to end and the kill. */
  readonly graceMs: number
}

/** What the directive lines of a user's script say. */
export interface UserDirectives {
  /** In order, unchanged but for their line ends. */
  readonly lines: readonly string[]
  /** What of it we count with: core hours, the wrapper's walltime. */
  readonly resources: JobResources
  readonly queue?: string
  readonly account?: string
  /** Names of files for its output that the user wants, as a shell expression inside double quotes: `job_${SLURM_JOB_ID}.out`. Relative to the job's directory. */
  readonly stdout?: string
  readonly stderr?: string
  /** Why the script can never be submitted; one line. */
  readonly fault?: string
  /** Lines that are not obeyed here, and why, for the plan. */
  readonly ignored: readonly { readonly line: string; readonly why: string }[]
}

export type SubmitAnswer =
  | { readonly outcome: 'submitted'; readonly nativeId: string }
  /**
   * `invalid`: it will never be taken; `rejected`: nothing was queued, it may be taken later (a limit); `uncertain`: whether it was
   * queued is open, and whatever is not understood is that.
   */
  | {
      readonly outcome: 'invalid' | 'rejected' | 'uncertain'
      /** The scheduler's own words, one line. */
      readonly message: string
      readonly suggestions?: readonly string[]
      /** The limit that was hit, in the scheduler's word. An array may fit when it is smaller. */
      readonly limit?: string
    }

/** One line of an answer about jobs. */
export interface JobRow {
  /** Of one job or one element; with `elements`: of the array. */
  readonly nativeId: string
  /** The elements that this line speaks of, as ranges, both ends included: `[[5, 900]]`. */
  readonly elements?: readonly (readonly [number, number])[]
  /** The tag of the submission, when the line shows one. */
  readonly tag?: string
  readonly state: JobState
  readonly rawState: string
  readonly reason?: string
  /** It waits for somebody, not for its turn: see {@link JobObservation.advice}. */
  readonly advice?: string
  readonly end?: NonNullable<JobObservation['end']>
  readonly exitCode?: number
  readonly signal?: string
  /** Milliseconds since 1970. */
  readonly submittedAt?: number
  readonly startedAt?: number
  readonly endedAt?: number
  readonly host?: string
  /** How often the scheduler itself started it again. */
  readonly restarts?: number
  /** It waits and will never start: why, in one line, with what to try. */
  readonly never?: { readonly end: 'upstream-failed' | 'refused'; readonly message: string }
  /** For humans, in lists of jobs. */
  readonly name?: string
  readonly queue?: string
}

/** `silent`: the question was not answered, which says nothing about any job. */
export type RowsAnswer =
  | { readonly rows: readonly JobRow[] }
  | { readonly silent: string; readonly suggestions?: readonly string[] }
  /** This site has no such source (accounting that is switched off): it is not asked again. */
  | { readonly absent: string }

export type OrderAnswer =
  | { readonly ok: true }
  | { readonly silent: string }
  /** Refused for good: in the scheduler's words. */
  | { readonly refused: string }

/**
 * The language of one queueing system: records in, commands and texts out; texts in, records out. It touches nothing, so that everything in
 * it can be tested with recorded texts; `BatchScheduler` of core does the rest over any backend.
 */
export interface SchedulerDialect {
  readonly name: string
  readonly supports: {
    readonly arrays: boolean
    readonly dependencies: boolean
    readonly accounting: boolean
    /** `hold`, `release` and `requeue` are implemented. */
    readonly hold: boolean
  }
  /** A shell expression for the number of this start: `$((${SLURM_RESTART_COUNT:-0} + 1))`. */
  readonly startNumber?: string
  /** A shell expression for the element of an array, from 0: `$SLURM_ARRAY_TASK_ID`. */
  readonly arrayIndex?: string

  /** What is asked once, when the scheduler is opened, in one exchange; `parse` gets the answers in order. */
  readonly probe: {
    readonly commands: readonly SiteCommand[]
    parse(
      answers: readonly CommandAnswer[],
    ): { readonly facts: SchedulerFacts } | { readonly silent: string; readonly suggestions?: readonly string[] }
  }
  /** Facts to plan with where nothing was asked yet. */
  readonly assumed: SchedulerFacts

  /** The directive lines of a user's script that the scheduler would obey. */
  readDirectives(script: string): UserDirectives
  /** Checks the options of a job (campaign, then site): the complete set, or one line that says what is wrong with the nearest known name. */
  jobOptions(
    options: Readonly<Record<string, unknown>>,
  ): { readonly options: Readonly<Record<string, unknown>> } | { readonly fault: string; readonly suggestions?: readonly string[] }
  /** Finds what the site would never run, in one line that says what to try; `undefined`: nothing known against it. */
  check(submission: Submission, facts: SchedulerFacts): { readonly message: string; readonly suggestions?: readonly string[] } | undefined
  /** Directive lines for the top of the script. What identifies the submission is given in the command, where nothing overrides it. */
  head(submission: Submission): readonly string[]
  submit(submission: Submission): SiteCommand
  parseSubmit(answer: CommandAnswer, submission: Submission): SubmitAnswer
  /** The name of one element of an array that was submitted: `1234_7`. */
  elementId(nativeId: string, index: number): string

  /** All jobs of this user that the queue still shows, in every state, with the tags of their submissions. */
  queue(): SiteCommand
  parseQueue(answer: CommandAnswer): RowsAnswer
  /** What else can be said of jobs that the queue shows as ended without an exit code; at most a few ids. */
  details?(nativeIds: readonly string[]): SiteCommand
  parseDetails?(answer: CommandAnswer): RowsAnswer
  /** Jobs in the accounting, by id, submitted after this time (milliseconds since 1970, the site's clock). */
  accounting?(nativeIds: readonly string[], since: number): SiteCommand
  /** The same by tag of submission, for those that the queue has forgotten. */
  accountingByTag?(tags: readonly string[], since: number): SiteCommand
  parseAccounting?(answer: CommandAnswer): RowsAnswer

  /** Several ids at once. Asked again for a job that ended meanwhile it must not fail. */
  cancel(nativeIds: readonly string[]): SiteCommand
  parseCancel(answer: CommandAnswer): OrderAnswer
  order?(order: 'hold' | 'release' | 'requeue', nativeIds: readonly string[]): SiteCommand
  parseOrder?(answer: CommandAnswer): OrderAnswer
}
