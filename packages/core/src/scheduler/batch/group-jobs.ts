import { createHash } from 'node:crypto'
import type { JobSpec } from '../../model/job.js'
import type { Submission, UserDirectives } from '../../ports/scheduler-dialect.js'
import { SCHEDULER_LOG } from '../../util/job-files.js'

/** A job that was checked and of which everything is known that its submission needs. */
export interface ReadyJob {
  /** With what the user's directive lines say in place of what was derived. */
  readonly job: JobSpec
  readonly user: UserDirectives
  /** The complete set of the scheduler's own options. */
  readonly options: Readonly<Record<string, unknown>>
  readonly dependencies: Submission['dependencies']
}

/** Jobs that are submitted with one command: elements of an array, each with the members of a pack. */
export interface JobGroup {
  readonly elements: readonly (readonly ReadyJob[])[]
  /** Equal for jobs that a limit of the scheduler counts together. */
  readonly place: string
}

export interface GroupLimits {
  /** Elements of one array at most, for jobs of a place; 1: no arrays. */
  maxArraySize(place: string): number
  /** The longest walltime of a queue, where it is known. */
  longestWalltimeMs(queue: string | undefined): number | undefined
}

/**
 * Puts jobs together that differ in nothing that the scheduler sees: short ones in packs, equal ones in arrays. The order of jobs
 * is kept within their kind; kinds stand in the order of their first jobs.
 */
export function groupJobs(jobs: readonly ReadyJob[], limits: GroupLimits): readonly JobGroup[] {
  const kinds = new Map<string, ReadyJob[]>()
  for (const job of jobs) {
    const key = kindOf(job)
    const kind = kinds.get(key)
    if (kind === undefined) kinds.set(key, [job])
    else kind.push(job)
  }
  return [...kinds.values()].flatMap((kind) => {
    const [first] = kind as [ReadyJob]
    const place = placeOf(first)
    const packs = chunk(kind, packSize(first, limits))
    return chunk(packs, Math.max(1, limits.maxArraySize(place))).map((elements): JobGroup => ({ elements, place }))
  })
}

/** The same jobs in smaller arrays. */
export function splitGroup({ elements, place }: JobGroup, size: number): readonly JobGroup[] {
  return chunk(elements, Math.max(1, size)).map((part) => ({ elements: part, place }))
}

export function jobsOf(group: JobGroup): readonly ReadyJob[] {
  return group.elements.flat()
}

/** True for what is a job by itself in the scheduler, with the job's own tag. */
export function isSingle({ elements }: JobGroup): boolean {
  return elements.length === 1 && elements[0]?.length === 1
}

/** What jobs must have in common to count against the same limit. */
function placeOf({ job, options }: ReadyJob): string {
  return stable([job.queue, job.account, options])
}

function kindOf(ready: ReadyJob): string {
  const { job, user, options, dependencies } = ready
  return stable([
    job.resources,
    job.queue,
    job.account,
    options,
    user.lines,
    job.graceMs,
    job.runDirectory,
    job.pack ?? 1,
    dependencies,
    // Names that the user's lines give to output files are the wrapper's affair, but for the scheduler the lines are equal or not.
  ])
}

/** A pack must fit into what its queue allows, or the whole of it would never start. */
function packSize({ job }: ReadyJob, limits: GroupLimits): number {
  const wanted = Math.max(1, Math.floor(job.pack ?? 1))
  const { walltimeMs } = job.resources
  const longest = limits.longestWalltimeMs(job.queue)
  if (walltimeMs === undefined || longest === undefined) return wanted
  return Math.max(1, Math.min(wanted, Math.floor(longest / walltimeMs)))
}

/** The submission of a group; `serial` tells two submissions of the same jobs apart. */
export function submissionOf(group: JobGroup, serial: number): Submission {
  const [[first]] = group.elements as [[ReadyJob]]
  const { job, user, options, dependencies } = first
  const single = isSingle(group)
  const tag = single ? job.tag : groupTag(group, serial)
  const directory = single ? job.directory : groupRoot(job)
  const pack = Math.max(...group.elements.map((members) => members.length))
  const { walltimeMs } = job.resources
  return {
    tag,
    name: job.name,
    directory,
    scriptFile: single ? `${directory}/wrapper.sh` : `${directory}/submissions/${tag}.sh`,
    logFile: single ? `${directory}/${SCHEDULER_LOG}` : `${directory}/submissions/${tag}.log`,
    resources: walltimeMs === undefined ? job.resources : { ...job.resources, walltimeMs: walltimeMs * pack },
    ...(job.queue === undefined ? {} : { queue: job.queue }),
    ...(job.account === undefined ? {} : { account: job.account }),
    options,
    dependencies,
    ...(group.elements.length === 1 ? {} : { array: { size: group.elements.length } }),
    userLines: user.lines,
    graceMs: job.graceMs ?? DEFAULT_GRACE_MS,
  }
}

/** As the wrapper has it. */
const DEFAULT_GRACE_MS = 10_000

export interface PlaceOfFiles {
  readonly directory: string
  readonly runDirectory?: string | undefined
}

/** Where the files of jobs lie that belong to several of them. */
export function groupRoot({ runDirectory, directory }: PlaceOfFiles): string {
  return runDirectory ?? directory
}

/** The same jobs give the same tag, so that what is shown before is what is done. */
function groupTag(group: JobGroup, serial: number): string {
  const tags = jobsOf(group).map(({ job }) => job.tag)
  const hash = createHash('sha256')
    .update(`${serial}\n${group.elements.length}\n${tags.join('\n')}`)
    .digest('hex')
  return `${(tags[0] ?? '').slice(0, 40)}-g${hash.slice(0, 16)}`
}

function chunk<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  const parts: T[][] = []
  for (let from = 0; from < items.length; from += size) parts.push(items.slice(from, from + size))
  return parts
}

/** One text for equal values, whatever the order of their keys. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
