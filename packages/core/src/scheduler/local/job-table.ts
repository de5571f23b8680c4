import type { JobDependency, JobSpec } from '../../model/job.js'
import { type Capacity, chooseStarts } from './choose-starts.js'
import type { JobEnd, ObservedJob } from './protocol.js'

/** A job of the queue. Only {@link JobTable} changes it. */
export interface Job {
  readonly id: string
  readonly spec: JobSpec
  /** Key of the environment it was submitted from. */
  readonly base: string
  readonly cores: number
  readonly memoryMiB: number
  readonly walltimeMs: number
  state: 'pending' | 'running' | 'ending' | 'ended'
  /** Dependencies that are not settled yet. */
  waitsFor: number
  /** Its wrapper's, which leads the job's session. */
  pid?: number
  cancelRequested?: boolean
  /** Milliseconds since 1970. */
  startedAt?: number
  end?: JobEnd
}

/** Changes that are remembered for those who ask what is new. */
const REMEMBERED_CHANGES = 65_536
const MOST_ENDED_JOBS = 20_000

/**
 * The queue as data: jobs, what they wait for, what is free, what changed. It starts nothing and writes nothing.
 *
 * Ids are `<n>`, or `<n>_<k>` for the jobs of one submission of several (an array); the bare `<n>` then stands for all of them.
 */
export class JobTable {
  #capacity: Capacity
  #free: Capacity
  readonly #jobs = new Map<string, Job>()
  readonly #tags = new Map<string, Job>()
  readonly #arrays = new Map<string, Job[]>()
  /** In the order in which they may start. */
  readonly #ready = new Set<Job>()
  readonly #active = new Set<Job>()
  readonly #dependents = new Map<Job, { readonly job: Job; readonly kind: JobDependency['kind'] }[]>()
  /** In order of their end. */
  readonly #ended = new Set<Job>()
  #changes: string[] = []
  #changesBefore = 0
  #pending = 0

  constructor(capacity: Capacity) {
    this.#capacity = capacity
    this.#free = capacity
  }

  get capacity(): Capacity {
    return this.#capacity
  }

  /** Jobs that hold cores now may exceed a smaller capacity: nothing starts until they fit. */
  resize(capacity: Capacity): void {
    this.#free = {
      cores: this.#free.cores + capacity.cores - this.#capacity.cores,
      memoryMiB: this.#free.memoryMiB + capacity.memoryMiB - this.#capacity.memoryMiB,
    }
    this.#capacity = capacity
  }

  /** Number of the last change. */
  get seq(): number {
    return this.#changesBefore + this.#changes.length
  }

  /** Jobs that are not ended. */
  get live(): number {
    return this.#pending + this.#active.size
  }

  get active(): ReadonlySet<Job> {
    return this.#active
  }

  all(): Iterable<Job> {
    return this.#jobs.values()
  }

  byTag(tag: string): Job | undefined {
    return this.#tags.get(tag)
  }

  /** One job, or all of an array. With a tag, only the job that has it. */
  select(id: string, tag?: string): readonly Job[] {
    const job = this.#jobs.get(id)
    if (job === undefined) return this.#arrays.get(id) ?? []
    return tag === undefined || tag === job.spec.tag ? [job] : []
  }

  /** Takes a job in. Its dependencies are jobs of this table: check them with {@link select} before. */
  add(job: Job): void {
    this.#jobs.set(job.id, job)
    this.#tags.set(job.spec.tag, job)
    const array = arrayOf(job.id)
    if (array !== undefined) {
      const members = this.#arrays.get(array)
      if (members === undefined) this.#arrays.set(array, [job])
      else members.push(job)
    }
    this.#changed(job)
    if (job.state === 'ended') {
      this.#ended.add(job)
      return
    }
    if (job.state !== 'pending') {
      this.#take(job)
      return
    }
    this.#pending += 1
    let never = false
    for (const { kind, on } of job.spec.dependencies ?? []) {
      for (const parent of this.select(on.nativeId, on.tag)) {
        if (parent.end === undefined) {
          job.waitsFor += 1
          const list = this.#dependents.get(parent)
          if (list === undefined) this.#dependents.set(parent, [{ job, kind }])
          else list.push({ job, kind })
        } else if (!isMet(kind, parent.end)) never = true
      }
    }
    if (never) this.#endUpstream(job, Date.now())
    else if (job.waitsFor === 0) this.#ready.add(job)
  }

  /** Decides which jobs start now, and counts them as running from this moment. */
  startNext(now: number, most = Number.POSITIVE_INFINITY): Job[] {
    const chosen = chooseStarts(this.#ready, this.#active, this.#free, now, most)
    for (const job of chosen) {
      this.#ready.delete(job)
      this.#pending -= 1
      job.state = 'running'
      job.startedAt = now
      this.#take(job)
      this.#changed(job)
    }
    return chosen
  }

  /** The job did not start after all: it waits again, behind those that wait already. */
  putBack(job: Job): void {
    if (job.state === 'ended') return
    this.#release(job)
    job.state = 'pending'
    delete job.startedAt
    this.#pending += 1
    this.#ready.add(job)
    this.#changed(job)
  }

  /** The job was found running, or told to end. */
  mark(job: Job, state: 'ending'): void {
    if (job.state !== 'running') return
    job.state = state
    this.#changed(job)
  }

  /** @returns this job, and those that can never start because of it */
  end(job: Job, end: JobEnd): Job[] {
    if (job.end !== undefined) return []
    if (job.state === 'pending') {
      this.#pending -= 1
      this.#ready.delete(job)
    } else this.#release(job)
    job.state = 'ended'
    job.end = end
    this.#ended.add(job)
    this.#changed(job)
    const ended = [job]
    const dependents = this.#dependents.get(job) ?? []
    this.#dependents.delete(job)
    for (const { job: child, kind } of dependents) {
      if (child.end !== undefined) continue
      child.waitsFor -= 1
      if (!isMet(kind, end)) ended.push(...this.#endUpstream(child, end.endedAt, job.id))
      else if (child.waitsFor === 0) this.#ready.add(child)
    }
    return ended
  }

  /** Forgets jobs that ended before `before`, and more when there are very many. */
  purge(before: number): number {
    let count = 0
    for (const job of this.#ended) {
      if (this.#ended.size <= MOST_ENDED_JOBS && (job.end?.endedAt ?? 0) > before) break
      this.#ended.delete(job)
      this.#jobs.delete(job.id)
      if (this.#tags.get(job.spec.tag) === job) this.#tags.delete(job.spec.tag)
      const array = arrayOf(job.id)
      if (array !== undefined && this.#arrays.get(array)?.every(({ id }) => !this.#jobs.has(id)) === true) this.#arrays.delete(array)
      this.#changed(job)
      count += 1
    }
    return count
  }

  /** What can be said of one id; an array's is that of its member that is furthest from its end. */
  observe(id: string): ObservedJob {
    const members = this.select(id)
    const order = { pending: 0, running: 1, ending: 2, ended: 3 }
    const job = members.length > 1 ? members.reduce((a, b) => (order[b.state] < order[a.state] ? b : a)) : members[0]
    if (job === undefined) return { i: id, s: 'not-visible' }
    const { end } = job
    const known = members.length > 1 ? { i: id } : { i: id, t: job.spec.tag }
    if (end !== undefined) return { ...known, s: 'ended', ...(job.startedAt === undefined ? {} : { startedAt: job.startedAt }), ...end }
    const reason = job.state !== 'pending' ? undefined : job.waitsFor > 0 ? 'Dependency' : 'Resources'
    return {
      ...known,
      s: job.state,
      ...(reason === undefined ? {} : { reason }),
      ...(job.startedAt === undefined ? {} : { startedAt: job.startedAt }),
    }
  }

  /** Ids that changed after `since`; `undefined` when that is longer ago than is remembered. */
  changedSince(since: number): ReadonlySet<string> | undefined {
    if (since < this.#changesBefore || since > this.seq) return undefined
    return new Set(this.#changes.slice(since - this.#changesBefore))
  }

  #endUpstream(job: Job, endedAt: number, cause?: string): Job[] {
    return this.end(job, {
      end: 'upstream-failed',
      endedAt,
      reason: cause === undefined ? 'DependencyNeverSatisfied' : `DependencyNeverSatisfied: job ${cause}`,
    })
  }

  #take(job: Job): void {
    this.#active.add(job)
    this.#free = { cores: this.#free.cores - job.cores, memoryMiB: this.#free.memoryMiB - job.memoryMiB }
  }

  #release(job: Job): void {
    this.#active.delete(job)
    this.#free = { cores: this.#free.cores + job.cores, memoryMiB: this.#free.memoryMiB + job.memoryMiB }
  }

  #changed(job: Job): void {
    this.#changes.push(job.id)
    if (this.#changes.length >= 2 * REMEMBERED_CHANGES) {
      this.#changesBefore += REMEMBERED_CHANGES
      this.#changes = this.#changes.slice(REMEMBERED_CHANGES)
    }
  }
}

/** `12` for `12_3`. */
function arrayOf(id: string): string | undefined {
  const at = id.indexOf('_')
  return at < 0 ? undefined : id.slice(0, at)
}

function isMet(kind: JobDependency['kind'], end: JobEnd): boolean {
  if (kind === 'afterany') return true
  const ok = end.end === 'completed'
  return kind === 'afternotok' ? !ok : ok
}
