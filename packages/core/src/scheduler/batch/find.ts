import { messageOf, SchedulerError, systemCodeOf } from '../../errors.js'
import type { JobHandle, JobPlace } from '../../model/job.js'
import type { Logger } from '../../ports/logger.js'
import type { CallOptions } from '../../ports/scheduler.js'
import type { JobRow, SchedulerDialect } from '../../ports/scheduler-dialect.js'
import type { SiteFiles } from '../../ports/site-files.js'
import { SUBMISSION_FILE } from '../../util/job-files.js'
import type { FollowUp } from './follow-up.js'
import { memberId, parseNativeId } from './native-id.js'
import { type SiteCommands, silence } from './site-commands.js'
import type { Status } from './status.js'
import { type GroupPlace, parseSubmissionFile } from './submission-files.js'
import type { TrackedJobs } from './tracked-jobs.js'

/** Tags in one question to the accounting. */
const CHUNK = 100

export interface FindParts {
  /** Of the scheduler, for handles. */
  readonly name: string
  readonly dialect: SchedulerDialect
  readonly commands: SiteCommands
  readonly files: SiteFiles
  readonly jobs: TrackedJobs
  readonly status: Status
  readonly followUp: FollowUp
  readonly log: Logger
}

/** Under which tags a job may have been submitted: its own, or those of submissions that it was part of. */
interface Wanted {
  readonly place: JobPlace
  readonly groups: readonly GroupPlace[]
}

/**
 * Looks for jobs that may have been submitted: in the directories, in the queue, then in the accounting.
 *
 * @throws SchedulerError `E_SCHEDULER_SILENT` unless every source has answered: only then does "not found" mean anything
 */
export async function findJobs(
  parts: FindParts,
  jobs: readonly JobPlace[],
  options: CallOptions = {},
): Promise<ReadonlyMap<string, JobHandle>> {
  const { files, status, jobs: tracked, followUp, log } = parts
  const texts = await readTexts(files, jobs, options)
  const wanted = jobs.map((place, index): Wanted => ({ place, groups: parseSubmissionFile(texts[index] ?? '') }))
  const { rows } = await status.askAnew(options)
  const found = new Map<string, JobHandle>()
  const take = (some: readonly Wanted[], answer: readonly JobRow[]): readonly Wanted[] => {
    const seen = submissionsIn(answer, log)
    return some.filter((one) => {
      const hit = nativeIdOf(parts.dialect, one, seen)
      if (hit === undefined) return true
      const { tag, directory, runDirectory } = one.place
      const handle = { scheduler: parts.name, nativeId: hit.nativeId, tag }
      found.set(tag, handle)
      tracked.track(handle, { directory, runDirectory, group: hit.group })
      return false
    })
  }
  const missing = take(wanted, rows)
  if (missing.length > 0 && followUp.hasAccounting) {
    const tags = [...new Set(missing.flatMap(({ place, groups }) => [place.tag, ...groups.map(({ tag }) => tag)]))]
    const answer: JobRow[] = []
    for (let from = 0; from < tags.length && followUp.hasAccounting; from += CHUNK) {
      answer.push(...(await askByTag(parts, tags.slice(from, from + CHUNK), options)))
    }
    take(missing, answer)
  }
  return found
}

async function readTexts(files: SiteFiles, jobs: readonly JobPlace[], options: CallOptions): Promise<readonly (string | undefined)[]> {
  try {
    return await files.read(
      jobs.map(({ directory }) => `${directory}/${SUBMISSION_FILE}`),
      options,
    )
  } catch (error) {
    if (options.signal?.aborted === true || systemCodeOf(error) === 'E_SCHEDULER_SILENT') throw error
    throw new SchedulerError('E_SCHEDULER_SILENT', `it cannot be read with which submissions jobs came: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

async function askByTag(
  { dialect, commands, followUp }: FindParts,
  tags: readonly string[],
  options: CallOptions,
): Promise<readonly JobRow[]> {
  if (dialect.accountingByTag === undefined || dialect.parseAccounting === undefined) return []
  const since = followUp.windowStart(undefined)
  const answer = dialect.parseAccounting(await commands.ask(dialect.accountingByTag(tags, since), options))
  if ('silent' in answer) throw silence(dialect.name, answer.silent, answer.suggestions)
  if ('rows' in answer) return answer.rows
  followUp.noteAbsent(answer.absent)
  return []
}

interface Seen {
  readonly base: string
  readonly isArray: boolean
}

/** The submissions that an answer shows, by their tags. */
function submissionsIn(rows: readonly JobRow[], log: Logger): ReadonlyMap<string, Seen> {
  const seen = new Map<string, Seen>()
  for (const { tag, nativeId, elements } of rows) {
    if (tag === undefined) continue
    const { base, element } = parseNativeId(nativeId)
    const other = seen.get(tag)
    // What was canceled of an array may stand there, beside its elements, under the array's own name.
    const isArray = element !== undefined || elements !== undefined || (other?.base === base && other.isArray)
    if (other === undefined || other.base === base) seen.set(tag, { base, isArray })
    else if (other.base !== base) log.warn({ tag, jobs: [other.base, base] }, 'two jobs have the same tag: the first one shown is taken')
  }
  return seen
}

function nativeIdOf(
  dialect: SchedulerDialect,
  { place, groups }: Wanted,
  seen: ReadonlyMap<string, Seen>,
): { readonly nativeId: string; readonly group: string } | undefined {
  const own = seen.get(place.tag)
  if (own !== undefined) return { nativeId: own.base, group: place.tag }
  // The newest submission first: one that was refused leaves a line too.
  for (const { tag, element, member } of [...groups].reverse()) {
    const submission = seen.get(tag)
    if (submission === undefined) continue
    const id = submission.isArray ? dialect.elementId(submission.base, element) : submission.base
    return { nativeId: member === undefined ? id : memberId(id, member), group: tag }
  }
  return undefined
}
