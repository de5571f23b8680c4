import type { JobHandle, JobSpec } from '../model/job.js'
import type { Scheduler, SchedulerSupports } from '../ports/scheduler.js'

/**
 * What a test can do to the world in which the scheduler lives. What is left out cannot be done there: the cases that need it are
 * skipped, with the reason in their title.
 */
export interface SchedulerLab {
  /** Makes an empty directory for one job, whose name has a space and a quote in it where the system allows that. */
  makeDirectory(): Promise<string>
  /** Reads a file of a job's directory as text; `undefined` when there is none. */
  readFile(path: string): Promise<string | undefined>
  /** How long a case waits for what should take a moment; default 30,000. */
  readonly patienceMs?: number
  /** Added to every job: an account or a queue that this site wants. */
  readonly job?: Partial<Pick<JobSpec, 'account' | 'queue' | 'resources'>>
  /** The shortest walltime that the scheduler enforces. */
  readonly shortestWalltimeMs?: number
  /** Cores that one job can have at most, so that a second one has to wait. */
  readonly allCores?: number
  /** Kills the scheduler's own program, without warning, and lets it come back as it would. Jobs must go on. */
  killScheduler?(): Promise<void>
  /** Makes the scheduler silent: questions are not refused, they are not answered. Returns what ends that. */
  freeze?(): Promise<() => Promise<void>>
  /** Makes the scheduler forget the jobs that have ended. */
  purge?(): Promise<void>
  /** From now on submissions are accepted, and whoever submits is told that they failed. Returns what ends that. */
  acceptUnsaid?(): Promise<() => Promise<void>>
  /** From now on what answers a submission says other things too, with numbers in them. Returns what ends that. */
  chatter?(): Promise<() => Promise<void>>
  /** Shows a running job in a state whose word nobody knows. Returns what ends that. */
  disguise?(handle: JobHandle, word: string): Promise<() => Promise<void>>
  /** Kills all processes of a running job, the wrapper's too, so that it can leave nothing. */
  killJob?(handle: JobHandle): Promise<void>
  /** Another client of the same queue, as after a restart of the controller. */
  reconnect?(): Promise<Scheduler>
}

export type LabAbility = Exclude<keyof SchedulerLab, 'makeDirectory' | 'readFile' | 'patienceMs' | 'job'>

/** What a case works with. Every case has its own. */
export interface SchedulerWorld {
  readonly scheduler: Scheduler
  readonly lab: SchedulerLab
  readonly supports: Partial<SchedulerSupports>
}

/** One promise of the port. Its id is never used for another one. */
export interface SchedulerCase {
  readonly id: string
  /** A sentence about behaviour. */
  readonly title: string
  /** Abilities of the lab without which it cannot be tried. */
  readonly needs?: readonly LabAbility[]
  /** Tried only when this is declared … */
  readonly declared?: keyof SchedulerSupports
  /** … or only when this is not. */
  readonly undeclared?: keyof SchedulerSupports
  /** What goes wrong for users where it does not hold. */
  readonly why: string
  run(world: SchedulerWorld): Promise<void>
}
