import { resolve } from 'node:path'
import { ConfigError } from '../../errors.js'
import type { JobHandle } from '../../model/job.js'
import type { ListedJob } from '../../model/site-report.js'
import type { Scheduler } from '../../ports/scheduler.js'
import { isFolder, JOB_FILE, type KnownJob, readJobRecord, readKnownJobs } from './job-record.js'

/** A job that a command was given: by its id, or by its directory. */
export interface NamedJob {
  /** As it was written. */
  readonly selector: string
  /** Absent for a directory whose job was never given an id. */
  readonly nativeId?: string
  /** The directory here and its record, when the job was submitted from this folder. */
  readonly known?: KnownJob
}

/** Ids of all queueing systems have a number in them; a word without one is a mistake. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._@/+[\]-]*$/

/**
 * Finds out what is meant, without asking any site.
 *
 * @param folder - jobs that were submitted from here are known by their ids, too
 * @param site - of an id: the same number may be another job on another site
 * @throws ConfigError `E_ARGUMENT` for what is neither an id nor a directory, `E_NOT_FOUND` for a directory that is not a job's
 */
export function nameJobs(selectors: readonly string[], folder: string, site: string): NamedJob[] {
  let records: KnownJob[] | undefined
  return [...new Set(selectors)].map((selector): NamedJob => {
    const directory = resolve(folder, selector)
    if (isFolder(directory)) {
      const record = readJobRecord(directory)
      if (record !== undefined) return named(selector, { directory, record })
      throw new ConfigError('E_NOT_FOUND', `${selector} is not the directory of a job: there is no ${JOB_FILE} in it`, {
        suggestions: ['Name a directory that "cahier jobs submit" printed, or the id of a job', 'See the ids with: cahier jobs list'],
      })
    }
    if (!ID.test(selector) || !/\d/.test(selector)) {
      throw new ConfigError('E_ARGUMENT', `${JSON.stringify(selector)} is neither the id of a job nor the directory of one`, {
        suggestions: ['See the ids with: cahier jobs list'],
      })
    }
    records ??= readKnownJobs(folder)
    const known = records.findLast(({ record }) => record.nativeId === selector && record.site === site)
    return known === undefined ? { selector, nativeId: selector } : named(selector, known)
  })
}

function named(selector: string, known: KnownJob): NamedJob {
  const { nativeId } = known.record
  return { selector, known, ...(nativeId === undefined ? {} : { nativeId }) }
}

/** The site that these words speak of: that of the directories among them, when none is named. */
export function siteOfSelectors(selectors: readonly string[], folder: string): string | undefined {
  const sites = new Set<string>()
  for (const selector of selectors) {
    const directory = resolve(folder, selector)
    const record = isFolder(directory) ? readJobRecord(directory) : undefined
    if (record !== undefined) sites.add(record.site)
  }
  if (sites.size <= 1) return [...sites][0]
  throw new ConfigError('E_ARGUMENT', `these jobs are on several sites: ${[...sites].join(', ')}`, {
    suggestions: ['Name the jobs of one site at a time'],
  })
}

/** What the queue says of jobs that were named. */
export interface SeenJob {
  readonly job: NamedJob
  /** The lines of the queue that speak of it: several for an array. */
  readonly lines: readonly ListedJob[]
  /** One for each job that it stands for; empty when the queue does not show it. */
  readonly handles: readonly JobHandle[]
}

/** Puts jobs and lines of the queue together: `1234` stands for all elements `1234_7` of the array, `1234_7/2` is in the pack `1234_7`. */
export function matchJobs(jobs: readonly NamedJob[], listed: readonly ListedJob[], scheduler: string): SeenJob[] {
  const count = new Map<string, number>()
  for (const { tag = '' } of listed) count.set(tag, (count.get(tag) ?? 0) + 1)
  return jobs.map((job) => {
    const { nativeId, known } = job
    const lines = listed.filter(
      (line) => (nativeId !== undefined && speaksOf(line, nativeId)) || (known !== undefined && line.tag === known.record.tag),
    )
    const handles = lines.flatMap((line) => handlesOf(line, nativeId, count).map((handle) => ({ scheduler, ...handle })))
    return { job, lines, handles }
  })
}

/** True for the line of a job, of the elements of its array, or of an array or a pack that it is in. */
export function speaksOf({ nativeId, ranges = [] }: ListedJob, id: string): boolean {
  const [row = ''] = id.split('/')
  if (nativeId === row || nativeId.startsWith(`${row}_`)) return true
  const element = elementIn(nativeId, row)
  return element !== undefined && ranges.some(([from, to]) => element >= from && element <= to)
}

function elementIn(array: string, id: string): number | undefined {
  const digits = id.startsWith(`${array}_`) ? id.slice(array.length + 1) : ''
  return /^\d+$/.test(digits) ? Number(digits) : undefined
}

/** Elements of an array share the tag of their submission: each is told apart by its id then. */
function handlesOf(
  { nativeId, tag, ranges }: ListedJob,
  wanted: string | undefined,
  count: ReadonlyMap<string, number>,
): { nativeId: string; tag: string }[] {
  if (ranges === undefined) return [{ nativeId, tag: tag === undefined || (count.get(tag) ?? 0) > 1 ? nativeId : tag }]
  const ids =
    wanted !== undefined && elementIn(nativeId, wanted) !== undefined
      ? [wanted]
      : ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, index) => `${nativeId}_${from + index}`))
  return ids.map((id) => ({ nativeId: id, tag: id }))
}

/** @throws ConfigError `E_NOT_SUPPORTED` naming the scheduler */
export function requireList(scheduler: Scheduler): NonNullable<Scheduler['list']> {
  if (scheduler.list !== undefined) return scheduler.list.bind(scheduler)
  throw new ConfigError('E_NOT_SUPPORTED', `the scheduler ${scheduler.name} cannot list jobs`)
}
