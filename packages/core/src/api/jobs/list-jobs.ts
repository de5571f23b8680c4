import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { readManifest } from '../../engine/manifest.js'
import type { ListedJob } from '../../model/site-report.js'
import { requireList } from './choose-jobs.js'
import { type KnownJob, readKnownJobs } from './job-record.js'
import type { SiteAccess } from './site-access.js'

/** A job of this user in the queue of a site, with what is known of it here. */
export interface ShownJob extends ListedJob {
  /** The directory here of a job that was submitted from this folder by itself, or the directory of its run. */
  readonly directory?: string
  /** The campaign that it belongs to, by its tag. */
  readonly campaign?: string
}

/** Tags of the jobs of campaigns: name, combination, repetition and attempt, run. */
const CAMPAIGN_TAG = /^(.+)-[0-9a-f]{16}-r\d+a\d+-([A-Za-z0-9]{1,16})$/

/** Those of submissions of several jobs: that of the first of them, perhaps cut. */
const GROUP_TAG = /^(.+?)-[0-9a-f]{8,16}(?:-[ra\d]*(?:-([A-Za-z0-9]*))?)?-g[0-9a-f]{16}$/

export async function listOn(access: SiteAccess, folder: string, signal: AbortSignal | undefined): Promise<ShownJob[]> {
  const scheduler = await access.scheduler()
  const listed = await requireList(scheduler)({ signal })
  const jobs = markJobs(listed, readKnownJobs(folder), runsIn(folder))
  return jobs.sort((a, b) => a.nativeId.localeCompare(b.nativeId, 'en', { numeric: true }))
}

/** Says of each line of a queue which of our jobs it is, as far as this folder knows. @param runs - directory by id of the run */
export function markJobs(listed: readonly ListedJob[], known: readonly KnownJob[], runs: ReadonlyMap<string, string>): ShownJob[] {
  const byTag = new Map(known.map((one) => [one.record.tag, one]))
  return listed.map((line): ShownJob => {
    const tag = line.tag ?? ''
    const own = byTag.get(tag)
    // Queues show the tag, which is for us; the name is for people.
    if (own !== undefined) return { ...line, name: own.record.name, directory: own.directory }
    const [, campaign, run = ''] = CAMPAIGN_TAG.exec(tag) ?? GROUP_TAG.exec(tag) ?? []
    if (campaign === undefined) return line
    const directory = runs.get(run) ?? [...runs.values()].find((one) => existsSync(join(one, 'submissions', `${tag}.sh`)))
    return { ...line, campaign, ...(directory === undefined ? {} : { directory }) }
  })
}

/** Directories of the runs in a folder, by the ids of the runs. */
export function runsIn(folder: string): Map<string, string> {
  const runs = new Map<string, string>()
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    const directory = join(folder, entry.name)
    const id = readManifest(directory)?.runId
    if (id !== undefined) runs.set(id, directory)
  }
  return runs
}
