import { SchedulerError } from '../../errors.js'
import { type BatchOptions, batchOptionFields } from '../../model/batch-options.js'
import type { ExitRecord, JobDependency, JobHandle, JobObservation, JobPlace, JobSpec, SubmitOutcome } from '../../model/job.js'
import type { ListedJob, PlannedSubmission, SchedulerFacts } from '../../model/site-report.js'
import type { Clock } from '../../ports/clock.js'
import type { Logger } from '../../ports/logger.js'
import type { ProcessBackend } from '../../ports/process-backend.js'
import type { AdoptedJob, CallOptions, CancelOutcome, Scheduler, SchedulerSupports, SchedulerTiming } from '../../ports/scheduler.js'
import type { SchedulerDialect, Submission } from '../../ports/scheduler-dialect.js'
import type { SiteFiles } from '../../ports/site-files.js'
import { cancelJobs } from './cancel.js'
import { FaultRow } from './fault-row.js'
import { findJobs } from './find.js'
import { FollowUp } from './follow-up.js'
import { giveUpJobs } from './give-up.js'
import { type GroupLimits, groupJobs, type JobGroup, jobsOf, type ReadyJob, submissionOf } from './group-jobs.js'
import { listedJob } from './list.js'
import { rowIdOf } from './native-id.js'
import { openSite } from './open-site.js'
import { resolveParents } from './parents.js'
import { prepareJob } from './prepare.js'
import { planSubmissions } from './preview.js'
import { Records } from './records.js'
import { SiteCommands, silence } from './site-commands.js'
import { Status } from './status.js'
import { Submitter } from './submitter.js'
import { TrackedJobs } from './tracked-jobs.js'

/** Beyond this another submission costs nothing that counts, and the first element of a larger array waits for the files of the last. */
const LARGEST_ARRAY = 1_000
/** Where it is not said how long the queue shows jobs that have ended. */
const KEPT_AT_LEAST_MS = 60_000

export interface BatchSchedulerParts {
  /** Default: the dialect's name. */
  readonly name?: string
  readonly dialect: SchedulerDialect
  /** With the adapter's own options beside them: defaults of the site for each job. */
  readonly options: BatchOptions
  readonly processes: ProcessBackend
  readonly files: SiteFiles
  readonly clock: Clock
  readonly log: Logger
}

/**
 * A whole scheduler from the language that a dialect speaks: submissions that are made once, one question about all jobs at a time, proof
 * in its order, limits, arrays, packs, and ends that are announced by the jobs themselves.
 */
export class BatchScheduler implements Scheduler {
  readonly name: string
  readonly supports: SchedulerSupports
  readonly timing: SchedulerTiming
  readonly #parts: BatchSchedulerParts
  readonly #siteOptions: Readonly<Record<string, unknown>>
  readonly #commands: SiteCommands
  readonly #jobs: TrackedJobs
  readonly #followUp: FollowUp
  readonly #status: Status
  readonly #records: Records
  readonly #submitter: Submitter
  /** Tags whose submission was not answered clearly. */
  readonly #uncertain = new Map<string, SubmitOutcome>()
  #facts: SchedulerFacts | undefined
  #opening: Promise<SchedulerFacts> | undefined

  constructor(parts: BatchSchedulerParts) {
    const { dialect, options, processes, files, clock, log } = parts
    this.#parts = parts
    this.name = parts.name ?? dialect.name
    const { arrays, dependencies, accounting, hold } = dialect.supports
    this.supports = { arrays, dependencies, accounting, hold, push: true }
    this.timing = {
      pollMs: options.pollInterval,
      pollMaxMs: options.pollIntervalMax,
      graceMs: Math.max(options.lostAfter, 2 * options.pollInterval),
      settleGraceMs: options.settleAfter,
    }
    this.#siteOptions = Object.fromEntries(Object.entries(options).filter(([key]) => !Object.hasOwn(batchOptionFields, key)))
    const rhythm = { floorMs: options.pollInterval, longestMs: options.pollIntervalMax }
    const commands = new SiteCommands({ processes, timeoutMs: options.commandTimeout, scheduler: this.name })
    const jobs = new TrackedJobs(clock)
    this.#jobs = jobs
    this.#commands = commands
    this.#followUp = new FollowUp({ dialect, commands, jobs, files, clock, log, rhythm, facts: () => this.facts() })
    this.#status = new Status({ dialect, commands, jobs, followUp: this.#followUp, clock, log, rhythm })
    this.#records = new Records({ files, jobs, onRecord: (job, record) => this.#status.noteRecord(job, record) })
    this.#submitter = new Submitter({
      name: this.name,
      dialect,
      commands,
      files,
      clock,
      log,
      submitsPerSecond: options.submitsPerSecond,
      onSubmitted: (group, submission, outcomes) => this.#followSubmitted(group, submission, outcomes),
    })
  }

  async open({ signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    if (this.#facts !== undefined) return
    const { dialect, clock } = this.#parts
    this.#opening ??= openSite({ dialect, commands: this.#commands, clock }, { signal }).finally(() => {
      this.#opening = undefined
    })
    this.#facts = await this.#opening
    if (dialect.supports.accounting && !this.#facts.accounting) this.#followUp.noteAbsent('it is switched off')
  }

  facts(): SchedulerFacts {
    return this.#facts ?? this.#parts.dialect.assumed
  }

  async submit(jobs: readonly JobSpec[], { signal }: CallOptions = {}): Promise<readonly SubmitOutcome[]> {
    signal?.throwIfAborted()
    if (jobs.length === 0) return []
    await this.open({ signal })
    const outcomes = new Map<string, SubmitOutcome>()
    const fresh: JobSpec[] = []
    for (const job of jobs) {
      const { tag } = job
      const known = this.#jobs.get(tag)
      if (known !== undefined) outcomes.set(tag, { outcome: 'submitted', handle: known.handle })
      else if (this.#uncertain.has(tag)) outcomes.set(tag, this.#uncertain.get(tag) as SubmitOutcome)
      else if (!outcomes.has(tag)) {
        // Holds the place: the same tag again in this call is the same job.
        outcomes.set(tag, { outcome: 'rejected', tag, code: 'E_SUBMIT_REJECTED', message: 'not sent' })
        fresh.push(job)
      }
    }
    const ready = await this.#prepare(fresh, outcomes, { signal })
    try {
      await this.#submitter.send(this.#checked(groupJobs(ready, this.#limits()), outcomes), outcomes, { signal })
    } finally {
      this.#records.watchFolders()
    }
    for (const [tag, outcome] of outcomes) if (outcome.outcome === 'uncertain') this.#uncertain.set(tag, outcome)
    return jobs.map(({ tag }) => outcomes.get(tag) as SubmitOutcome)
  }

  async find(jobs: readonly JobPlace[], { signal }: CallOptions = {}): Promise<ReadonlyMap<string, JobHandle>> {
    signal?.throwIfAborted()
    if (jobs.length === 0) return new Map()
    await this.open({ signal })
    const { dialect, files, log } = this.#parts
    const parts = {
      name: this.name,
      dialect,
      commands: this.#commands,
      files,
      jobs: this.#jobs,
      status: this.#status,
      followUp: this.#followUp,
      log,
    }
    const found = await findJobs(parts, jobs, { signal })
    for (const tag of found.keys()) this.#uncertain.delete(tag)
    if (found.size > 0) this.#followChange()
    return found
  }

  giveUp(jobs: readonly JobPlace[], options: CallOptions = {}): Promise<ReadonlySet<string>> {
    return giveUpJobs(this.#parts.files, jobs, options)
  }

  adopt(jobs: readonly AdoptedJob[]): void {
    for (const { handle, directory, runDirectory, submittedAt } of jobs) this.#jobs.track(handle, { directory, runDirectory, submittedAt })
    if (jobs.length > 0) this.#followChange()
  }

  async observe(handles: readonly JobHandle[], options: CallOptions = {}): Promise<readonly JobObservation[]> {
    const observations = await this.#status.observe(handles, options)
    this.#records.watchFolders()
    return observations
  }

  changed(options: CallOptions = {}): Promise<void> {
    return this.#status.changed(options)
  }

  async cancel(handles: readonly JobHandle[], { signal }: CallOptions = {}): Promise<readonly CancelOutcome[]> {
    signal?.throwIfAborted()
    if (handles.length === 0) return []
    const { dialect, files, clock } = this.#parts
    const parts = { dialect, commands: this.#commands, files, jobs: this.#jobs, status: this.#status, clock }
    return cancelJobs(parts, handles, { signal })
  }

  exitRecord(job: JobPlace, options: CallOptions = {}): Promise<ExitRecord | undefined> {
    return this.#records.read(job, options)
  }

  preview(jobs: readonly JobSpec[]): readonly PlannedSubmission[] {
    const { dialect } = this.#parts
    return planSubmissions({ dialect, siteOptions: this.#siteOptions, facts: this.facts(), limits: this.#limits() }, jobs)
  }

  async list(options: CallOptions = {}): Promise<readonly ListedJob[]> {
    const { rows } = await this.#status.ask(options)
    return rows.map(listedJob)
  }

  async order(order: 'hold' | 'release' | 'requeue', nativeIds: readonly string[], options: CallOptions = {}): Promise<void> {
    const { dialect } = this.#parts
    if (dialect.order === undefined || dialect.parseOrder === undefined) {
      throw new SchedulerError('E_NOT_SUPPORTED', `${this.name} cannot ${order} jobs`)
    }
    if (nativeIds.length === 0) return
    const answer = dialect.parseOrder(await this.#commands.ask(dialect.order(order, [...new Set(nativeIds.map(rowIdOf))]), options))
    if ('silent' in answer) throw silence(this.name, answer.silent)
    if ('refused' in answer)
      throw new SchedulerError('E_ORDER_REFUSED', `${this.name} refuses to ${order} ${nativeIds.join(' ')}: ${answer.refused}`)
    this.#status.noteChange({ askSoon: true })
  }

  /** Jobs go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#status.close()
    await this.#records[Symbol.asyncDispose]()
  }

  /** Checks jobs, and decides what their dependencies come to. Faults go into `outcomes`. */
  async #prepare(jobs: readonly JobSpec[], outcomes: Map<string, SubmitOutcome>, options: CallOptions): Promise<readonly ReadyJob[]> {
    const { dialect } = this.#parts
    const row = new FaultRow()
    const checked = jobs.flatMap((spec) => {
      const prepared = prepareJob(spec, dialect, this.#siteOptions)
      if ('fault' in prepared) {
        outcomes.set(spec.tag, row.refuse(spec.tag, prepared.fault.code, prepared.fault.message))
        return []
      }
      return [prepared]
    })
    const see = await this.#seeParents(
      checked.flatMap(({ job }) => job.dependencies ?? []),
      options,
    )
    return checked.flatMap((one): ReadyJob[] => {
      const parents = resolveParents(one.job.dependencies ?? [], see)
      if ('dependencies' in parents) return [{ ...one, dependencies: parents.dependencies }]
      outcomes.set(one.job.tag, { tag: one.job.tag, ...parents })
      return []
    })
  }

  /** The newest of the jobs that others are to wait for: so new that the queue cannot have forgotten one that it has just shown. */
  async #seeParents(
    dependencies: readonly JobDependency[],
    options: CallOptions,
  ): Promise<(dependency: JobDependency) => JobObservation | undefined> {
    const handles = new Map(dependencies.map(({ on }) => [on.tag, on]))
    const observations = await this.#status.see([...handles.values()], (this.facts().keepsEndedMs ?? KEPT_AT_LEAST_MS) / 4, options)
    const seen = new Map(observations.map((observation) => [observation.handle.tag, observation]))
    return ({ on }) => seen.get(on.tag)
  }

  /** Leaves out the groups that the site would never run. */
  #checked(groups: readonly JobGroup[], outcomes: Map<string, SubmitOutcome>): readonly JobGroup[] {
    const row = new FaultRow()
    return groups.filter((group) => {
      const fault = this.#parts.dialect.check(submissionOf(group, 0), this.facts())
      if (fault === undefined) return true
      const message = [fault.message, ...(fault.suggestions ?? [])].join('; ')
      for (const { job } of jobsOf(group)) outcomes.set(job.tag, row.refuse(job.tag, 'E_JOB_INVALID', message))
      return false
    })
  }

  #limits(): GroupLimits {
    const { dialect, options } = this.#parts
    const { maxArraySize, queues } = this.facts()
    const arrays = dialect.supports.arrays && dialect.arrayIndex !== undefined && options.arrays
    const most = arrays ? Math.min(maxArraySize, options.maxArraySize ?? LARGEST_ARRAY) : 1
    return {
      maxArraySize: (place) => Math.min(most, this.#submitter.limitOf(place)),
      longestWalltimeMs: (queue) => queues.find(({ name, isDefault }) => (queue === undefined ? isDefault : name === queue))?.maxWalltimeMs,
    }
  }

  #followSubmitted(group: JobGroup, submission: Submission, outcomes: readonly SubmitOutcome[]): void {
    const places = new Map(jobsOf(group).map(({ job }) => [job.tag, job]))
    const moment = this.#status.nextMoment()
    const submittedAt = this.#parts.clock.now()
    for (const outcome of outcomes) {
      if (outcome.outcome !== 'submitted') continue
      const { directory, runDirectory } = places.get(outcome.handle.tag) ?? {}
      this.#jobs.track(outcome.handle, { moment, submittedAt, directory, runDirectory, group: submission.tag })
    }
    this.#status.noteChange()
  }

  #followChange(): void {
    this.#status.noteChange()
    this.#records.watchFolders()
  }
}
