/** What a scheduler says about itself. */
export interface SchedulerFacts {
  /** `slurm 22.05.8`. */
  readonly version: string
  readonly cluster?: string
  /** Elements of one array at most, counted from index 0; 1: no arrays. */
  readonly maxArraySize: number
  /** Jobs of all users together, where the site tells. */
  readonly maxJobs?: number
  /** False: it is known that nothing is kept about jobs that the queue has forgotten. */
  readonly accounting: boolean
  /** How long the queue shows a job that has ended. */
  readonly keepsEndedMs?: number
  readonly queues: readonly QueueFacts[]
  /** Between this machine and the site; positive: the site's clock is ahead. */
  readonly clockOffsetMs?: number
  /** Settings that a user should know of, a sentence each. */
  readonly notes: readonly string[]
}

export interface QueueFacts {
  readonly name: string
  readonly isDefault: boolean
  readonly isUp: boolean
  /** `undefined`: no limit. */
  readonly maxWalltimeMs?: number
  /** Of one job, where there is a limit. */
  readonly maxNodes?: number
  readonly nodes: number
  readonly coresPerNode: number
  readonly memoryMiBPerNode?: number
  readonly gpusPerNode?: number
  /** Nodes that could run something now, free or not. */
  readonly nodesUp: number
  readonly coresIdle?: number
}

/** One thing that was tried. */
export interface SiteFinding {
  /** `host`, `login`, `scheduler`, `queues`, `account`, `accounting`, `files`, `clock`, `limits`. */
  readonly topic: string
  readonly verdict: 'ok' | 'warning' | 'failed'
  /** One line. */
  readonly text: string
  readonly suggestions?: readonly string[]
}

/** What `cahier sites check` found. */
export interface SiteReport {
  readonly site: string
  readonly host?: string
  readonly scheduler: string
  readonly facts?: SchedulerFacts
  readonly findings: readonly SiteFinding[]
  readonly ok: boolean
}

/** A submission as it would be made. */
export interface PlannedSubmission {
  /** The exact text of the script that the scheduler would get. */
  readonly script: string
  /** The exact command, as a line for a shell. */
  readonly command: string
  /** How many jobs it holds: the elements of an array, the members of a pack. */
  readonly jobs: number
  /** Of these jobs, the first one. */
  readonly tag: string
  /** Upper bound for all of them, directive lines counted; absent: a job has no walltime. */
  readonly coreHours?: number
  /** Why it would not be taken, or would never start. */
  readonly faults: readonly string[]
  /** What is worth knowing: directive lines that are not obeyed, limits that will be hit. */
  readonly warnings: readonly string[]
}

/** A job of this user as a list of jobs shows it. */
export interface ListedJob {
  readonly nativeId: string
  readonly name: string
  readonly state: import('./job.js').JobState
  readonly rawState: string
  readonly reason?: string
  /** It waits for somebody, not for its turn: what is to be done about it. */
  readonly advice?: string
  readonly queue?: string
  readonly host?: string
  readonly submittedAt?: number
  readonly startedAt?: number
  readonly endedAt?: number
  /** How many elements of an array this line stands for. */
  readonly elements: number
  /** Which, both ends included, where the line stands for several. */
  readonly ranges?: readonly (readonly [number, number])[]
  readonly tag?: string
}
