import { dirname, join, resolve } from 'node:path'
import { readTail } from '../../engine/attempt-files.js'
import { readManifest } from '../../engine/manifest.js'
import type { ItemReport } from '../../model/run.js'
import type { ListedJob } from '../../model/site-report.js'
import { parseSubmissionFile } from '../../scheduler/batch/submission-files.js'
import { SCHEDULER_LOG, SUBMISSION_FILE } from '../../util/job-files.js'
import { requireList, speaksOf } from './choose-jobs.js'
import { openAccess, type SiteAccessOptions } from './site-access.js'

const WORDS_BYTES = 2000
const WORDS_LINES = 5

/** What the queue says now of the last attempt of a work item. */
export interface AskedItem {
  readonly nativeId: string
  readonly site: string
  /** `undefined`: it does not show the job. */
  readonly line: ListedJob | undefined
}

/**
 * Asks the site once about the last attempt of a work item, whoever drives the run.
 *
 * @param runDirectory - whose campaign's folder has the configuration
 * @returns `undefined` for an item without a job
 */
export async function askItem(runDirectory: string, item: ItemReport, options: SiteAccessOptions = {}): Promise<AskedItem | undefined> {
  const { nativeId, site } = item.attempts.at(-1) ?? {}
  if (nativeId === undefined) return undefined
  const manifest = readManifest(resolve(runDirectory))
  const folder = manifest?.campaignFile === undefined || manifest.campaignFile === null ? undefined : dirname(manifest.campaignFile)
  const wanted = options.site ?? site ?? manifest?.site.name
  await using access = await openAccess(wanted, { ...options, directory: options.directory ?? folder })
  const listed = await requireList(await access.scheduler())({ signal: options.signal })
  return { nativeId, site: access.site.name, line: listed.find((line) => speaksOf(line, nativeId)) }
}

/** What the scheduler itself, its nodes included, wrote about a job. */
export interface SchedulerWords {
  /** The last lines. */
  readonly text: string
  /** Where the rest of it is, here. */
  readonly file: string
  /** It is about all jobs that were submitted together with this one. */
  readonly isOfGroup: boolean
}

/** Reads the scheduler's words about the last attempt; `undefined` when it wrote nothing, or nothing is here. */
export function readSchedulerWords(runDirectory: string, item: ItemReport): SchedulerWords | undefined {
  const { directory } = item.attempts.at(-1) ?? {}
  if (directory === undefined) return undefined
  const group = parseSubmissionFile(readTail(join(directory, SUBMISSION_FILE))).at(-1)?.tag
  // What the group's log says was left in the directory of the job where that log is on another machine.
  const files = [...(group === undefined ? [] : [join(runDirectory, 'submissions', `${group}.log`)]), join(directory, SCHEDULER_LOG)]
  for (const file of files) {
    const text = readTail(file, WORDS_BYTES).trimEnd().split('\n').slice(-WORDS_LINES).join('\n')
    if (text !== '') return { text, file, isOfGroup: group !== undefined }
  }
  return undefined
}
