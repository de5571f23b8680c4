import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SchedulerError } from '../errors.js'
import type { ExitRecord, JobHandle, JobObservation, JobPlace, JobSpec, JobState, SubmitOutcome } from '../model/job.js'
import type { ListedJob } from '../model/site-report.js'
import type { CancelOutcome, Scheduler, SchedulerSupports } from '../ports/scheduler.js'

/** What a job of the {@link MemoryScheduler} does when it is run. */
export interface PlayedJob {
  readonly exitCode?: number
  readonly stdout?: string
  readonly stderr?: string
  /** `absent`: it vanishes from the queue and leaves no record. `stuck`: it runs until it is canceled. */
  readonly fate?: 'absent' | 'stuck'
}

export interface MemorySchedulerOptions {
  /** What a job does; default: exit code 0. */
  readonly play?: (job: JobSpec) => PlayedJob
  readonly supports?: Partial<SchedulerSupports>
}

interface Entry {
  readonly job: JobSpec
  readonly handle: JobHandle
  state: JobState
  end: JobObservation['end']
  exit: ExitRecord | undefined
}

/** How the next submission ends badly. */
export type SubmitFault = 'uncertain-queued' | 'uncertain-lost' | 'rejected' | 'invalid'

/**
 * A scheduler that lives in the memory of a test and runs nothing: jobs end when they are looked at, as the test says.
 * Everything that goes wrong with real ones can be asked for.
 */
export class MemoryScheduler implements Scheduler {
  readonly name = 'memory'
  readonly supports: SchedulerSupports
  readonly entries: Entry[] = []
  /** One is used up by each job that is submitted. */
  readonly faults: SubmitFault[] = []
  /** While true nothing is answered. */
  silent = false
  /** How often each question was asked. */
  readonly asked = { submit: 0, find: 0, observe: 0, cancel: 0 }
  readonly #play: (job: JobSpec) => PlayedJob

  constructor({ play = () => ({}), supports = {} }: MemorySchedulerOptions = {}) {
    this.#play = play
    this.supports = { arrays: false, dependencies: false, accounting: false, push: false, ...supports }
  }

  async open(): Promise<void> {}

  async submit(jobs: readonly JobSpec[]): Promise<readonly SubmitOutcome[]> {
    this.#ask('submit')
    return jobs.map((job): SubmitOutcome => {
      const fault = this.faults.shift()
      if (fault === 'invalid') return { outcome: 'invalid', tag: job.tag, code: 'E_JOB_INVALID', message: 'no such queue' }
      if (fault === 'rejected') return { outcome: 'rejected', tag: job.tag, code: 'E_SUBMIT_REJECTED', message: 'too many jobs' }
      if (fault === 'uncertain-lost') return { outcome: 'uncertain', tag: job.tag, code: 'E_SUBMIT_UNCERTAIN', message: 'timed out' }
      const handle = { scheduler: this.name, nativeId: String(1000 + this.entries.length), tag: job.tag }
      this.entries.push({ job, handle, state: 'pending', end: undefined, exit: undefined })
      if (fault === 'uncertain-queued') return { outcome: 'uncertain', tag: job.tag, code: 'E_SUBMIT_UNCERTAIN', message: 'timed out' }
      return { outcome: 'submitted', handle }
    })
  }

  async find(jobs: readonly JobPlace[]): Promise<ReadonlyMap<string, JobHandle>> {
    this.#ask('find')
    const tags = new Set(jobs.map(({ tag }) => tag))
    return new Map(this.entries.filter(({ job }) => tags.has(job.tag)).map(({ job, handle }) => [job.tag, handle]))
  }

  async observe(handles: readonly JobHandle[]): Promise<readonly JobObservation[]> {
    this.#ask('observe')
    return handles.map((handle) => {
      const entry = this.#entry(handle)
      if (entry === undefined) return { handle, state: 'not-visible', rawState: '' }
      if (entry.state === 'pending' && this.#mayStart(entry)) this.#run(entry)
      const { state, end } = entry
      return { handle, state, rawState: end ?? state, ...(end === undefined ? {} : { end }) }
    })
  }

  async list(): Promise<readonly ListedJob[]> {
    this.#ask('observe')
    return this.entries.map(({ handle, job, state, end }) => {
      const { nativeId, tag } = handle
      return { nativeId, tag, name: job.name, state, rawState: (end ?? state).toUpperCase(), elements: 1 }
    })
  }

  async cancel(handles: readonly JobHandle[]): Promise<readonly CancelOutcome[]> {
    this.#ask('cancel')
    return handles.map((handle) => {
      const entry = this.#entry(handle)
      if (entry === undefined) return { handle, outcome: 'not-known' }
      if (entry.state === 'ended') return { handle, outcome: 'ended' }
      entry.state = 'ended'
      entry.end = 'canceled'
      return { handle, outcome: 'requested' }
    })
  }

  async exitRecord(job: Pick<JobSpec, 'directory' | 'tag'>): Promise<ExitRecord | undefined> {
    return this.entries.find((entry) => entry.job.tag === job.tag)?.exit
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #ask(question: keyof MemoryScheduler['asked']): void {
    this.asked[question] += 1
    if (this.silent) throw new SchedulerError('E_SCHEDULER_SILENT', 'the scheduler does not answer')
  }

  #entry(handle: JobHandle): Entry | undefined {
    return this.entries.find((entry) => entry.handle.nativeId === handle.nativeId)
  }

  #mayStart(entry: Entry): boolean {
    const waits = (entry.job.dependencies ?? []).map(({ on }) => this.#entry(on))
    if (waits.some((on) => on?.exit !== undefined && on.exit.exitCode !== 0)) {
      entry.state = 'ended'
      entry.end = 'upstream-failed'
      return false
    }
    return waits.every((on) => on?.exit?.exitCode === 0)
  }

  #run(entry: Entry): void {
    const { exitCode = 0, stdout = '', stderr = '', fate } = this.#play(entry.job)
    if (fate === 'stuck') {
      entry.state = 'running'
      return
    }
    if (fate === 'absent') {
      entry.state = 'not-visible'
      return
    }
    writeFileSync(join(entry.job.directory, 'stdout'), stdout)
    writeFileSync(join(entry.job.directory, 'stderr'), stderr)
    entry.state = 'ended'
    entry.end = exitCode === 0 ? 'completed' : 'failed'
    entry.exit = { version: 1, tag: entry.job.tag, exitCode, reason: 'exited', startedAt: 100, endedAt: 101, host: 'memory' }
  }
}
