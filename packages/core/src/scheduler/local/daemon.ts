import { createHash } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../../errors.js'
import type { JobSpec } from '../../model/job.js'
import type { Logger } from '../../ports/logger.js'
import { checkJob } from '../check-job.js'
import type { Capacity } from './choose-starts.js'
import { isDirectory } from './job-files.js'
import { JobRunner } from './job-runner.js'
import type { JobStarter } from './job-starter.js'
import { type Job, JobTable } from './job-table.js'
import type { DaemonSettings, JobEnd, ObservedJob, QueuedJob, SubmitAnswer } from './protocol.js'
import { Spool, type SpoolEntry } from './spool.js'

const DEFAULT_IDLE_MS = 60_000
const DEFAULT_RETENTION_MS = 600_000
const HOUSEKEEPING_MS = 5_000
/** The spool is written anew when it has this many lines more than it needs. */
const SURPLUS_LINES = 40_000

export interface DaemonParts {
  readonly directory: string
  readonly starter: JobStarter
  readonly log: Logger
}

/** The scheduler itself: queue, spool and runner of one user on one machine. {@link DaemonServer} gives it a socket. */
export class LocalDaemon {
  readonly #directory: string
  readonly #log: Logger
  readonly #table = new JobTable(machineCapacity())
  readonly #runner: JobRunner
  readonly #bases = new Map<string, Readonly<Record<string, string>>>()
  /** Environments that the spool has. */
  readonly #spooledBases = new Set<string>()
  #spool: Spool | undefined
  #nextId = 1
  #submitting: Promise<unknown> = Promise.resolve()
  #scheduled = false
  #housekeeper: NodeJS.Timeout | undefined
  #idleMs = DEFAULT_IDLE_MS
  #retentionMs = DEFAULT_RETENTION_MS
  #closed = false
  /** Called when something may have changed. */
  onChange: () => void = () => undefined

  constructor({ directory, starter, log }: DaemonParts) {
    this.#directory = directory
    this.#log = log
    this.#runner = new JobRunner(directory, starter, {
      ended: (job, end) => this.#ended(job, end),
      putBack: (job) => this.#putBack(job),
      ending: (job) => {
        this.#table.mark(job, 'ending')
        this.onChange()
      },
    })
  }

  get seq(): number {
    return this.#table.seq
  }

  get liveJobs(): number {
    return this.#table.live
  }

  get idleMs(): number {
    return this.#idleMs
  }

  /** Reads the spool, finds out what became of the jobs in it, and goes on with them. */
  async open(): Promise<void> {
    rmSync(join(this.#directory, 'wrappers'), { recursive: true, force: true })
    this.#restore(Spool.read(this.#directory))
    this.#table.purge(Date.now() - this.#retentionMs)
    this.#spool = await Spool.write(this.#directory, this.#snapshot())
    this.#housekeeper = setInterval(() => void this.#keepHouse(), HOUSEKEEPING_MS)
    this.#schedule()
  }

  /** Jobs go on. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#housekeeper)
    this.#runner.close()
    await this.#submitting.catch(() => undefined)
    await this.#spool?.close()
  }

  /** Ends all jobs at once, without asking them. */
  abandon(): void {
    for (const job of [...this.#table.all()]) {
      if (job.state === 'pending') this.#ended(job, { end: 'canceled', endedAt: Date.now() })
    }
    this.#runner.killAll()
  }

  configure({ cores, memoryMiB, idleMs, retentionMs }: DaemonSettings): void {
    const now = this.#table.capacity
    this.#table.resize({ cores: cores ?? now.cores, memoryMiB: memoryMiB ?? now.memoryMiB })
    this.#idleMs = idleMs ?? this.#idleMs
    this.#retentionMs = retentionMs ?? this.#retentionMs
    if (this.#table.purge(Date.now() - this.#retentionMs) > 0) this.onChange()
    this.#schedule()
  }

  /** Notes an environment that jobs will be submitted from. */
  addBase(environment: Readonly<Record<string, string>>): string {
    const key = createHash('sha256').update(JSON.stringify(environment)).digest('hex').slice(0, 16)
    this.#bases.set(key, environment)
    return key
  }

  /** Accepts jobs. The answer comes when they are on the disk. A tag that is known already names its job, which is not made again. */
  submit(jobs: readonly JobSpec[], base: string): Promise<readonly SubmitAnswer[]> {
    const answer = this.#submitting.then(() => this.#submit(jobs, base))
    this.#submitting = answer.catch(() => undefined)
    return answer
  }

  /** Answers after what was submitted before it is noted: a "there is none" must stay true. */
  async find(tags: readonly string[]): Promise<Record<string, string>> {
    await this.#submitting.catch(() => undefined)
    const found: Record<string, string> = {}
    for (const tag of tags) {
      const job = this.#table.byTag(tag)
      if (job !== undefined) found[tag] = job.id
    }
    return found
  }

  observe(ids: readonly string[], since: number): { seq: number; whole: boolean; jobs: ObservedJob[] } {
    const changed = this.#table.changedSince(since)
    const wanted = new Set(ids)
    for (const id of changed ?? []) wanted.add(id)
    return { seq: this.#table.seq, whole: changed !== undefined, jobs: [...wanted].map((id) => this.#table.observe(id)) }
  }

  list(): QueuedJob[] {
    return [...this.#table.all()].map(({ id, spec }) => ({ ...this.#table.observe(id), t: spec.tag, name: spec.name }))
  }

  async cancel(wanted: readonly { readonly id: string; readonly tag: string }[]): Promise<('requested' | 'ended' | 'not-known')[]> {
    const entries: SpoolEntry[] = []
    const outcomes = wanted.map(({ id, tag }) => {
      const jobs = this.#table.select(id, tag)
      if (jobs.length === 0) return 'not-known'
      const live = jobs.filter(({ state }) => state !== 'ended')
      for (const job of live) {
        job.cancelRequested = true
        entries.push({ o: 'cancel', id: job.id })
      }
      return live.length > 0 ? 'requested' : 'ended'
    })
    // Written before anything is done about it: the order must not be forgotten when this program is killed.
    if (entries.length > 0) await this.#spool?.commit(entries)
    for (const { id, tag } of wanted) {
      for (const job of this.#table.select(id, tag)) if (job.cancelRequested === true) this.#cancel(job)
    }
    this.#schedule()
    return outcomes
  }

  #cancel(job: Job): void {
    if (job.state === 'pending') this.#ended(job, { end: 'canceled', endedAt: Date.now() })
    else if (job.state !== 'ended') this.#runner.cancel(job)
  }

  async #submit(jobs: readonly JobSpec[], base: string): Promise<SubmitAnswer[]> {
    const accepted = new Map<string, Job>()
    const number = this.#nextId
    const answers = jobs.map((spec, index): SubmitAnswer => {
      const known = this.#table.byTag(spec.tag) ?? accepted.get(spec.tag)
      if (known !== undefined) return { id: known.id }
      const fault = this.#refuse(spec)
      if (fault !== undefined) return fault
      const id = jobs.length > 1 ? `${number}_${index}` : String(number)
      accepted.set(spec.tag, makeJob(id, spec, base))
      return { id }
    })
    if (accepted.size === 0) return answers
    this.#nextId += 1
    const entries: SpoolEntry[] = [...accepted.values()].map(({ id, spec }) => ({ o: 'job', id, base, spec }))
    const values = this.#bases.get(base)
    if (!this.#spooledBases.has(base) && values !== undefined) entries.unshift({ o: 'environment', key: base, values })
    try {
      await this.#spool?.commit(entries)
    } catch (error) {
      const code = systemCodeOf(error) === 'ENOSPC' || systemCodeOf(error) === 'EDQUOT' ? 'E_STORE_FULL' : 'E_SUBMIT_REJECTED'
      const message = `the local scheduler could not note the job in ${this.#directory}: ${messageOf(error)}`
      return answers.map((answer, index) => (accepted.has(jobs[index]?.tag ?? '') ? { outcome: 'rejected', code, message } : answer))
    }
    this.#spooledBases.add(base)
    for (const job of accepted.values()) {
      const live = this.#table.live
      this.#table.add(job)
      if (this.#table.live === live) this.#noteEnd(job)
    }
    this.#schedule()
    this.onChange()
    return answers
  }

  #refuse(spec: JobSpec): SubmitAnswer | undefined {
    const invalid = (message: string): SubmitAnswer => ({ outcome: 'invalid', code: 'E_JOB_INVALID', message })
    const fault = checkJob(spec)
    if (fault !== undefined) return invalid(fault.message)
    const { cores = 1, memoryMiB = 0, nodes = 1, gpus = 0 } = spec.resources
    const { capacity } = this.#table
    if (cores > capacity.cores) return invalid(`it asks for ${cores} cores, and the local scheduler has ${capacity.cores} (option "cores")`)
    if (memoryMiB > capacity.memoryMiB) {
      return invalid(`it asks for ${memoryMiB} MiB of memory, and the local scheduler has ${capacity.memoryMiB} MiB (option "memoryMiB")`)
    }
    if (nodes > 1) return invalid(`it asks for ${nodes} nodes, and the local scheduler has this machine only`)
    if (gpus > 0) return invalid(`it asks for ${gpus} GPUs, and the local scheduler does not count GPUs`)
    if (!isDirectory(spec.directory)) return invalid(`its directory ${spec.directory} does not exist`)
    for (const { kind, on } of spec.dependencies ?? []) {
      if (kind === 'after') return invalid('the local scheduler does not know the dependency "after": afterok, afterany, afternotok')
      if (this.#table.select(on.nativeId, on.tag).length === 0) {
        return {
          outcome: 'rejected',
          code: 'E_SUBMIT_REJECTED',
          message: `it depends on job ${on.nativeId}, which is not known (any more)`,
        }
      }
    }
    return undefined
  }

  /** Starts what fits, once for all that happened in this turn of the loop. */
  #schedule(): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (this.#closed) return
      for (const job of this.#table.startNext(Date.now())) this.#runner.start(job, this.#bases.get(job.base) ?? {})
      this.onChange()
    })
  }

  #ended(job: Job, end: JobEnd): void {
    for (const one of this.#table.end(job, end)) this.#noteEnd(one)
    this.#schedule()
    this.onChange()
  }

  #noteEnd({ id, end }: Job): void {
    if (end !== undefined) this.#spool?.note({ o: 'end', id, end })
  }

  #putBack(job: Job): void {
    if (this.#closed) return
    this.#table.putBack(job)
    if (job.cancelRequested === true) this.#cancel(job)
    this.#schedule()
  }

  #restore(entries: readonly SpoolEntry[]): void {
    const ends = new Map<string, JobEnd>()
    const canceled = new Set<string>()
    for (const entry of entries) {
      if (entry.o === 'end') ends.set(entry.id, entry.end)
      else if (entry.o === 'cancel') canceled.add(entry.id)
      else if (entry.o === 'environment') this.#bases.set(entry.key, entry.values)
      else if (entry.o === 'spool') this.#nextId = Math.max(this.#nextId, entry.next)
    }
    const adopted: Job[] = []
    for (const entry of entries) {
      if (entry.o !== 'job' || this.#table.select(entry.id).length > 0) continue
      const job = makeJob(entry.id, entry.spec, entry.base)
      this.#nextId = Math.max(this.#nextId, Number.parseInt(entry.id, 10) + 1)
      if (canceled.has(job.id)) job.cancelRequested = true
      const known = ends.get(job.id)
      const found = known ?? this.#runner.restore(job)
      if (typeof found === 'object') Object.assign(job, { state: 'ended', end: found })
      else if (found === 'running') {
        job.state = 'running'
        adopted.push(job)
      }
      this.#table.add(job)
    }
    for (const job of [...this.#table.all()]) if (job.cancelRequested === true) this.#cancel(job)
    this.#log.info({ jobs: this.#table.live, adopted: adopted.length, directory: this.#directory }, 'local scheduler opened its queue')
  }

  *#snapshot(): Generator<SpoolEntry> {
    yield { o: 'spool', version: 1, next: this.#nextId }
    this.#spooledBases.clear()
    for (const { id, base, spec, end, cancelRequested } of this.#table.all()) {
      const values = this.#bases.get(base)
      if (!this.#spooledBases.has(base) && values !== undefined) {
        this.#spooledBases.add(base)
        yield { o: 'environment', key: base, values }
      }
      yield { o: 'job', id, base, spec }
      if (cancelRequested === true) yield { o: 'cancel', id }
      if (end !== undefined) yield { o: 'end', id, end }
    }
  }

  async #keepHouse(): Promise<void> {
    try {
      if (this.#table.purge(Date.now() - this.#retentionMs) > 0) this.onChange()
      const needed = [...this.#table.all()].length * 2
      if (this.#spool !== undefined && this.#spool.lines > needed + SURPLUS_LINES && existsSync(this.#directory)) {
        await this.#spool.rewrite(() => this.#snapshot())
      }
    } catch (error) {
      this.#log.error({ error: messageOf(error), directory: this.#directory }, 'local scheduler could not tidy its queue')
    }
  }
}

function makeJob(id: string, spec: JobSpec, base: string): Job {
  const { cores = 1, memoryMiB = 0, walltimeMs = Number.POSITIVE_INFINITY } = spec.resources
  return { id, spec, base, cores, memoryMiB, walltimeMs, state: 'pending', waitsFor: 0 }
}

function machineCapacity(): Capacity {
  const limit = process.constrainedMemory()
  const bytes = limit > 0 ? Math.min(limit, totalmem()) : totalmem()
  return { cores: availableParallelism(), memoryMiB: Math.floor(bytes / 1024 ** 2) }
}
