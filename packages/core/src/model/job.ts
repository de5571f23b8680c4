import { z } from 'zod'

/** What a job asks for. Absent: the site's default. */
export interface JobResources {
  /** Of one node. */
  readonly cores?: number
  /** Processes that the job starts on all its nodes together (MPI ranks); absent: one program that uses the cores by itself. */
  readonly tasks?: number
  readonly memoryMiB?: number
  readonly walltimeMs?: number
  readonly nodes?: number
  readonly gpus?: number
}

/**
 * What a job waits for: `after` the start of others, `afterok` their good end, `afterany` any end, `afternotok` a bad one, `aftercorr` the
 * good end of the element with its own number.
 */
export type DependencyKind = 'after' | 'afterok' | 'afterany' | 'afternotok' | 'aftercorr'

export interface JobDependency {
  readonly kind: DependencyKind
  readonly on: JobHandle
}

/** A job as it is given to a scheduler. Everything is decided: no template, no unit text. */
export interface JobSpec {
  /** Ours, unique, `[A-Za-z0-9_-]+`; written into the job's name and comment. */
  readonly tag: string
  /** For humans. */
  readonly name: string
  /** The user's script: whole text, LF line ends, shebang in its first line. */
  readonly script: string
  /** Absolute; exists; the job starts there and its files stay there. */
  readonly directory: string
  readonly environment?: Readonly<Record<string, string>>
  readonly resources: JobResources
  readonly dependencies?: readonly JobDependency[]
  readonly account?: string
  readonly queue?: string
  /** Time between TERM and KILL at the end of the walltime or at a cancel; default 10,000. */
  readonly graceMs?: number
  /** Absolute, on the site: what the jobs of one run have in common, for files that belong to several of them. Default: the job's own directory. */
  readonly runDirectory?: string
  /** What only this kind of scheduler knows (`qos`, `constraint`): checked by its adapter. */
  readonly options?: Readonly<Record<string, unknown>>
  /** At most so many jobs of this kind may share one place in the queue, one after the other. Default 1. */
  readonly pack?: number
  /** The job leaves a list of its files with their sizes and hashes, without these names: it is to be fetched from another machine. */
  readonly manifest?: { readonly exclude: readonly string[] }
}

/** How a job is recognised by what it leaves: its directory on the site, its tag, and the directory of its run where it has one. */
export type JobPlace = Pick<JobSpec, 'directory' | 'tag' | 'runDirectory'>

/** The scheduler's name of a job, and ours. */
export interface JobHandle {
  readonly scheduler: string
  readonly nativeId: string
  readonly tag: string
}

export type SubmitOutcome =
  | { readonly outcome: 'submitted'; readonly handle: JobHandle }
  | { readonly outcome: 'invalid' | 'rejected' | 'uncertain'; readonly tag: string; readonly code: string; readonly message: string }

export type JobState = 'pending' | 'held' | 'running' | 'ending' | 'ended' | 'not-visible' | 'unknown'

/** What one query said about one job. Nothing is concluded here. */
export interface JobObservation {
  readonly handle: JobHandle
  readonly state: JobState
  /** The scheduler's own word. */
  readonly rawState: string
  /** Why it waits, or why it ended, in the scheduler's words. */
  readonly reason?: string
  /**
   * It waits for somebody, not for its turn (held, a partition that is down, a budget that is used up): what is to be done about it. One line
   * without names and numbers of single jobs or nodes: the same trouble has the same advice.
   */
  readonly advice?: string
  /** From accounting, where there is one. */
  readonly exitCode?: number
  readonly signal?: string
  /** How the scheduler says that it ended. `refused`: it was taken, and would never have been started. */
  readonly end?:
    | 'completed'
    | 'failed'
    | 'timed-out'
    | 'canceled'
    | 'out-of-memory'
    | 'node-failed'
    | 'preempted'
    | 'upstream-failed'
    | 'refused'
  /** It has ended, and nothing in its directory says that a start of it had begun: how it ended is no word about its script. */
  readonly neverBegan?: true
  readonly startedAt?: number
  readonly endedAt?: number
  readonly host?: string
}

/** The file `exit.json` that the job wrapper writes beside the job's output, with a temporary name and a rename. */
export const exitRecordSchema = z.object({
  version: z.literal(1),
  tag: z.string(),
  /** Exit code of the user's script; 128 + n when signal n ended it. */
  exitCode: z.int().min(0).max(255),
  /** `timeout`: the wrapper was told to end at the walltime; `canceled`: it was told to end. */
  reason: z.enum(['exited', 'timeout', 'canceled', 'not-started']).default('exited'),
  /** Seconds since 1970, the job's host clock. */
  startedAt: z.number(),
  endedAt: z.number(),
  host: z.string(),
  /** 1, or more when the scheduler itself started the job again (requeue after a node failure). */
  start: z.int().min(1).optional(),
})
export type ExitRecord = z.infer<typeof exitRecordSchema>

/** What we conclude about a job from exit record > accounting > queue. */
export type JobOutcome =
  | 'succeeded'
  | 'failed'
  | 'timed-out'
  | 'canceled'
  | 'killed'
  | 'out-of-memory'
  | 'upstream-failed'
  | 'not-submitted'
  | 'lost'

export interface JobResult {
  readonly outcome: JobOutcome
  readonly exitCode?: number
  readonly startedAt?: number
  readonly endedAt?: number
  readonly host?: string
  /** What the outcome was read from. */
  readonly proof: 'exit-record' | 'accounting' | 'queue' | 'submission' | 'absence'
  /** One line for a human. */
  readonly detail: string
}
