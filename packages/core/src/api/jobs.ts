import { resolve } from 'node:path'
import { awaitGone } from './jobs/await-gone.js'
import { type NamedJob, nameJobs, siteOfSelectors } from './jobs/choose-jobs.js'
import { cancelOn, type JobOrder, type OrderedJob, orderOn } from './jobs/end-jobs.js'
import { directoryOf, type JobOutputEnd, type JobOutputOptions, outputDirectory, readOutput } from './jobs/job-output.js'
import { readBatchScript, scriptOfCommand } from './jobs/job-script.js'
import { listOn, runsIn, type ShownJob } from './jobs/list-jobs.js'
import { cancelMembersOn, packOf, refuseMembers } from './jobs/pack-members.js'
import { folderOf, openAccess, type SiteAccess, type SiteAccessOptions, usedSites } from './jobs/site-access.js'
import {
  continueOn,
  type JobRequest,
  requireRecord,
  type SubmitSiteJobOptions,
  type SubmittedSiteJob,
  submitTo,
} from './jobs/submit-job.js'

/**
 * Submits one job to a site, exactly once: what is to be submitted is written down in a directory of its own, `cahier-jobs/…` below the
 * current folder, before the scheduler is asked, and an answer that leaves open whether there is a job is settled by looking it up.
 *
 * @throws ConfigError `E_ARGUMENT`, `E_NOT_FOUND`, `E_NOT_SUPPORTED`; SchedulerError `E_JOB_INVALID`, `E_SUBMIT_REJECTED`,
 * `E_UPSTREAM_FAILED` when nothing was queued, `E_SUBMIT_UNCERTAIN` when that is open: then `continueJob` asks again
 */
export async function submitJob(request: JobRequest, options: SubmitSiteJobOptions = {}): Promise<SubmittedSiteJob> {
  await using access = await openAccess(options.site, options)
  return await submitTo(access, request, options)
}

/**
 * Goes on with a job that was not submitted to the end: the one that the scheduler has is found by its tag, and only when there is none it
 * is submitted.
 *
 * @param directory - of the job, with its `job.json`
 */
export async function continueJob(directory: string, options: SubmitSiteJobOptions = {}): Promise<SubmittedSiteJob> {
  const path = resolve(folderOf(options), directory)
  await using access = await openAccess(options.site ?? requireRecord(path).site, options)
  return await continueOn(access, path, options)
}

/** For files that are on this machine, whatever the configuration says. */
const HERE = { name: 'local', scheduler: 'local', options: {}, modules: [] }

/** The jobs of this user on one site, or why they cannot be told. */
export interface SiteJobs {
  readonly site: string
  readonly scheduler: string
  readonly host?: string
  readonly jobs: readonly ShownJob[]
  readonly error?: unknown
}

/**
 * What the queues of sites show of this user's jobs. Sites are asked at the same time; one that does not answer has an `error`, and the
 * others their jobs.
 *
 * @param sites - default: those that the configuration names
 */
export async function listJobs(sites: readonly string[] | undefined, options: SiteAccessOptions = {}): Promise<readonly SiteJobs[]> {
  const folder = folderOf(options)
  const used = await usedSites(folder, sites)
  return await Promise.all(
    used.map(async ({ name, scheduler, host }): Promise<SiteJobs> => {
      const about = { site: name, scheduler, ...(host === undefined ? {} : { host }) }
      try {
        await using access = await openAccess(name, options)
        return { ...about, jobs: await listOn(access, folder, options.signal) }
      } catch (error) {
        options.signal?.throwIfAborted()
        return { ...about, jobs: [], error }
      }
    }),
  )
}

/**
 * Ends jobs, and says what was seen of it within some seconds.
 *
 * @param selectors - ids, or directories of jobs that `submitJob` made; all of one site
 */
export async function cancelJobs(selectors: readonly string[], options: SiteAccessOptions = {}): Promise<readonly OrderedJob[]> {
  const folder = folderOf(options)
  const { signal } = options
  return await withNamed(selectors, options, async (access, jobs) => {
    const members = jobs.filter(({ nativeId }) => packOf(nativeId) !== undefined)
    const others = jobs.filter((job) => !members.includes(job))
    const ended = [
      ...(await cancelMembersOn(access, members, { runs: runsIn(folder), folder, signal })),
      ...(others.length === 0 ? [] : await cancelOn(access, others, signal)),
    ]
    return jobs.flatMap(({ selector }) => ended.find(({ job }) => job === selector) ?? [])
  })
}

/**
 * Holds jobs back, lets them go, or puts them back into the queue.
 *
 * @throws ConfigError `E_NOT_SUPPORTED` where the scheduler cannot
 */
export async function orderJobs(
  order: JobOrder,
  selectors: readonly string[],
  options: SiteAccessOptions = {},
): Promise<readonly OrderedJob[]> {
  return await withNamed(selectors, options, (access, jobs) => {
    refuseMembers(jobs, order)
    return orderOn(access, order, jobs, options.signal)
  })
}

/**
 * Reads what a job has written, where it lies: here or on the site.
 *
 * @param selector - its id, its directory, or any directory of this machine with the files of a job
 * @throws ConfigError `E_NOT_FOUND`; SchedulerError `E_SCHEDULER_SILENT`
 */
export async function readJobOutput(selector: string, reading: JobOutputOptions, options: SiteAccessOptions = {}): Promise<JobOutputEnd> {
  const folder = folderOf(options)
  const site = options.site ?? siteOfSelectors([selector], folder)
  const near = outputDirectory(folder, selector)
  await using access = await openAccess(near === undefined ? site : HERE, options)
  if (near !== undefined) return await readOutput(access, near, reading)
  const [job] = nameJobs([selector], folder, access.site.name)
  const named = job as NonNullable<typeof job>
  const { directory, isHere } = await directoryOf(access, named, folder, runsIn(folder))
  if (isHere) {
    await using here = await openAccess(HERE, options)
    return await readOutput(here, directory, reading)
  }
  return reading.follow === true ? await followUntilGone(access, named, directory, reading) : await readOutput(access, directory, reading)
}

/** Follows until the exit record is there, or the queue says that none will come. */
async function followUntilGone(access: SiteAccess, job: NamedJob, directory: string, reading: JobOutputOptions): Promise<JobOutputEnd> {
  const isRead = new AbortController()
  const isGone = new AbortController()
  const looking = access.scheduler().then((scheduler) => awaitGone(scheduler, job, { clock: access.clock, signal: isRead.signal }))
  // Where the scheduler cannot be used, the record alone ends it.
  const gone = looking.then(
    (word) => {
      isGone.abort()
      return { word }
    },
    () => undefined,
  )
  try {
    const signal = AbortSignal.any([isGone.signal, ...(reading.signal === undefined ? [] : [reading.signal])])
    const end = await readOutput(access, directory, { ...reading, signal })
    if (!isGone.signal.aborted) return end
    const { word } = (await gone) ?? {}
    return { ...end, exists: end.bytes > 0, gone: word ?? 'the queue does not show it any more' }
  } finally {
    isRead.abort()
    await gone
  }
}

async function withNamed<T>(
  selectors: readonly string[],
  options: SiteAccessOptions,
  act: (access: Awaited<ReturnType<typeof openAccess>>, jobs: ReturnType<typeof nameJobs>) => Promise<T>,
): Promise<T> {
  const folder = folderOf(options)
  await using access = await openAccess(options.site ?? siteOfSelectors(selectors, folder), options)
  return await act(access, nameJobs(selectors, folder, access.site.name))
}

export { type AskedItem, askItem, readSchedulerWords, type SchedulerWords } from './jobs/why-job.js'
export type {
  JobOrder,
  JobOutputEnd,
  JobOutputOptions,
  JobRequest,
  OrderedJob,
  ShownJob,
  SiteAccessOptions,
  SubmitSiteJobOptions,
  SubmittedSiteJob,
}
export { readBatchScript, scriptOfCommand }
