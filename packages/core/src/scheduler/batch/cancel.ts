import { SchedulerError } from '../../errors.js'
import type { JobHandle } from '../../model/job.js'
import type { Clock } from '../../ports/clock.js'
import type { CallOptions, CancelOutcome } from '../../ports/scheduler.js'
import type { SchedulerDialect } from '../../ports/scheduler-dialect.js'
import type { SiteFiles } from '../../ports/site-files.js'
import { CANCEL_FILE } from '../../util/job-files.js'
import { endsByRecord } from './observation.js'
import { type SiteCommands, silence } from './site-commands.js'
import { rowOf, type Snapshot } from './snapshot.js'
import type { Status } from './status.js'
import type { TrackedJob, TrackedJobs } from './tracked-jobs.js'

/** Ids in one command. */
const CHUNK = 500

export interface CancelParts {
  readonly dialect: SchedulerDialect
  readonly commands: SiteCommands
  readonly files: SiteFiles
  readonly jobs: TrackedJobs
  readonly status: Status
  readonly clock: Clock
}

/**
 * Asks for the end of jobs; the end itself is observed. A member of a pack is ended alone by a file that its pack looks for: within a few
 * seconds when it runs, and it is passed over when its turn has not come.
 *
 * @throws SchedulerError `E_SCHEDULER_SILENT` when it could not be asked for
 */
export async function cancelJobs(
  parts: CancelParts,
  handles: readonly JobHandle[],
  options: CallOptions = {},
): Promise<readonly CancelOutcome[]> {
  const { jobs, status, clock, dialect } = parts
  const asked = handles.map((handle) => jobs.track(handle))
  let snapshot = status.snapshot
  await status.identify(asked, options.signal)
  const open = asked.find((job) => !job.wasIdentified)
  if (open !== undefined) throw silence(dialect.name, `it cannot be read with which submission job ${open.handle.nativeId} came`)
  if (asked.some((job) => !isKnown(job, snapshot))) snapshot = await status.askAnew(options)
  const outcomes = asked.map((job): CancelOutcome['outcome'] => outcomeOf(job, snapshot))
  const wanted = asked.filter((_job, index) => outcomes[index] === 'requested')
  const { ids, alone } = chooseTargets(wanted, jobs)
  await leaveFiles(parts, alone, options)
  for (let from = 0; from < ids.length; from += CHUNK) {
    const answer = dialect.parseCancel(await parts.commands.ask(dialect.cancel(ids.slice(from, from + CHUNK)), options))
    if ('silent' in answer) throw silence(dialect.name, answer.silent)
    if ('refused' in answer) throw new SchedulerError('E_ORDER_REFUSED', `${dialect.name} refuses to end the jobs: ${answer.refused}`)
  }
  const now = clock.monotonic()
  for (const job of wanted) job.cancelAskedAt = now
  if (wanted.length > 0) status.noteChange({ askSoon: true })
  return handles.map((handle, index) => ({ handle, outcome: outcomes[index] ?? 'not-known' }))
}

function isKnown(job: TrackedJob, snapshot: Snapshot | undefined): boolean {
  if (endsByRecord(job) || job.told !== undefined) return true
  return isNewer(job, snapshot) || (snapshot !== undefined && rowOf(snapshot, job) !== undefined)
}

/** Submitted after the queue was asked. */
function isNewer(job: TrackedJob, snapshot: Snapshot | undefined): boolean {
  return job.moment > (snapshot?.moment ?? 0)
}

function outcomeOf(job: TrackedJob, snapshot: Snapshot | undefined): CancelOutcome['outcome'] {
  if (endsByRecord(job)) return 'ended'
  const row = snapshot === undefined ? undefined : rowOf(snapshot, job)
  if (row !== undefined) return row.state === 'ended' ? 'ended' : 'requested'
  if (isNewer(job, snapshot)) return 'requested'
  return job.told !== undefined || job.record !== undefined || job.closer !== undefined ? 'ended' : 'not-known'
}

/** What is named in the command, and members of packs of which others are to go on. */
function chooseTargets(
  wanted: readonly TrackedJob[],
  jobs: TrackedJobs,
): { readonly ids: readonly string[]; readonly alone: readonly TrackedJob[] } {
  const chosen = new Set(wanted)
  /** Jobs that share a name in the scheduler, or an array, with one that goes on. */
  const kept = new Set<string>()
  const strange = new Set<string>()
  for (const job of jobs.all()) {
    if (job.element === undefined && job.member === undefined) continue
    // Of what an earlier program submitted we may not know all the elements.
    if (job.moment === 0) strange.add(job.base)
    if (chosen.has(job) || endsByRecord(job) || job.told !== undefined) continue
    kept.add(job.base).add(job.rowId)
  }
  const ids = new Set<string>()
  const alone: TrackedJob[] = []
  for (const job of wanted) {
    if (job.member !== undefined && kept.has(job.rowId)) alone.push(job)
    else ids.add(kept.has(job.base) || strange.has(job.base) ? job.rowId : job.base)
  }
  return { ids: [...ids], alone }
}

async function leaveFiles({ files }: CancelParts, jobs: readonly TrackedJob[], options: CallOptions): Promise<void> {
  if (jobs.length === 0) return
  const lost = jobs.find((job) => job.directory === undefined)
  if (lost !== undefined) {
    throw new SchedulerError('E_NOT_SUPPORTED', `job ${lost.handle.nativeId} cannot be ended alone: its directory is not known here`, {
      suggestions: ['End all jobs that share its place in the queue', 'Leave it: the others of its pack wait for its end only'],
    })
  }
  await files.write(
    jobs.map(({ directory }) => ({ path: `${directory}/${CANCEL_FILE}`, data: '' })),
    options,
  )
}
