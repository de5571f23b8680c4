import type { JobPlace } from '../../model/job.js'
import type { CallOptions } from '../../ports/scheduler.js'
import type { SiteFiles } from '../../ports/site-files.js'
import { GIVEN_UP_FILE } from '../../util/job-files.js'
import { EXIT_RECORD_FILE } from '../exit-record.js'
import { RUNNING_FILE } from '../job-wrapper.js'

/**
 * Gives jobs up whose submission may still be on its way: a request in the socket of a controller that stood still, a command that hangs on
 * the login node after the connection was lost, a program of ours that was frozen. A wrapper makes its file and then looks for ours; here it is
 * the other way round, so that no start is missed.
 *
 * @returns the tags of those that have begun
 * @throws as {@link SiteFiles} does
 */
export async function giveUpJobs(files: SiteFiles, jobs: readonly JobPlace[], options: CallOptions = {}): Promise<ReadonlySet<string>> {
  await files.write(
    jobs.map(({ directory }) => ({ path: `${directory}/${GIVEN_UP_FILE}`, data: '' })),
    options,
  )
  const texts = await files.read(
    jobs.flatMap(({ directory }) => [`${directory}/${RUNNING_FILE}`, `${directory}/${EXIT_RECORD_FILE}`]),
    options,
  )
  const hasBegun = (index: number): boolean => texts[2 * index] !== undefined || texts[2 * index + 1] !== undefined
  return new Set(jobs.filter((_, index) => hasBegun(index)).map(({ tag }) => tag))
}
