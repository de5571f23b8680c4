import type { ExitRecord, JobObservation } from '../../model/job.js'
import type { JobRow } from '../../ports/scheduler-dialect.js'
import { REFUSED_EXIT_CODE } from '../job-wrapper.js'
import { isFinalRecord, type TrackedJob } from './tracked-jobs.js'

/** What is known at the moment of an observation beside the job itself. */
export interface Sight {
  /** The queue's line about the job. */
  readonly row: JobRow | undefined
  /** True when the last answer of the queue speaks of this time: it was asked after the job was submitted. */
  readonly isCovered: boolean
  /** Why the accounting, which could say more, cannot be asked. */
  readonly accountingSilent: string | undefined
  /** Of a pack: true when another member is to come first. */
  readonly isBehind: boolean
}

/** The exit code of a script that was killed may be the memory's fault: only the scheduler knows. */
const KILLED_EXIT_CODE = 137

/** True when the record alone says how the job ended. */
export function endsByRecord(job: TrackedJob): boolean {
  const { record } = job
  if (record === undefined) return false
  // Of a pack the scheduler's word is about all its members.
  if (isFinalRecord(record)) return record.exitCode !== KILLED_EXIT_CODE || job.member !== undefined
  return job.member !== undefined && job.cancelAskedAt !== undefined
}

/** Says what is seen of a job, in the order of proof: exit record, what the queue shows, accounting. Nothing is concluded. */
export function observationOf(job: TrackedJob, { row, isCovered, accountingSilent, isBehind }: Sight): JobObservation {
  const { handle, record, told, closer, never } = job
  if (record !== undefined && endsByRecord(job)) return told?.state === 'ended' ? told : fromRecord(job, record)
  if (!job.wasIdentified) {
    return { handle, state: 'unknown', rawState: '', reason: 'it is not known yet with which submission it came' }
  }
  if (row !== undefined && row.state !== 'ended') {
    if (isBehind) return { handle, state: 'pending', rawState: row.rawState, reason: 'waits for the other jobs of its pack' }
    if (never !== undefined) return fromRow(job, { ...row, reason: never.message })
    // Between two answers nothing of it changes.
    if (job.row !== row || job.shown === undefined) job.shown = fromRow(job, row)
    job.row = row
    return job.shown
  }
  if (row !== undefined) {
    if (told !== undefined && isComplete(told)) return told
    return ended(job, closer === undefined ? row : { ...row, ...closer, rawState: row.rawState })
  }
  if (!isCovered) return { handle, state: 'pending', rawState: '' }
  if (told !== undefined && isComplete(told)) return told
  if (never !== undefined) return { handle, state: 'ended', rawState: '', end: never.end, reason: never.message }
  if (closer?.state === 'ended') return ended(job, closer)
  if (told !== undefined) return told
  if (record !== undefined) {
    // Told to end, by us or at its walltime, or to make room for another: then it comes back, and may be out of sight for a moment.
    if (job.absences > 1 || job.cancelAskedAt !== undefined) return fromRecord(job, record)
    return { handle, state: 'unknown', rawState: '', reason: 'it was told to end, and the queue does not show it' }
  }
  if (accountingSilent !== undefined) {
    return { handle, state: 'unknown', rawState: '', reason: `not in the queue, and the accounting does not answer: ${accountingSilent}` }
  }
  return { handle, state: 'not-visible', rawState: '' }
}

function isComplete({ exitCode, end }: JobObservation): boolean {
  return exitCode !== undefined || (end !== undefined && end !== 'completed' && end !== 'failed')
}

function fromRow({ handle }: TrackedJob, row: JobRow): JobObservation {
  const { state, rawState, reason, advice, end, exitCode, signal, startedAt, endedAt, host } = row
  return {
    handle,
    state,
    rawState,
    ...(reason === undefined ? {} : { reason }),
    ...(advice === undefined ? {} : { advice }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(end === undefined ? {} : { end }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
    ...(host === undefined ? {} : { host }),
  }
}

function ended(job: TrackedJob, row: JobRow): JobObservation {
  const { record, never } = job
  if (never !== undefined) return { ...fromRow(job, row), end: never.end, reason: never.message }
  const seen = fromRow(job, row)
  if (job.member !== undefined) return ofMember(job, seen)
  // What the script ended with is in its record; accountings are known to change it.
  if (isFinalRecord(record)) return { ...seen, exitCode: record.exitCode }
  // This start found another one at work, which says nothing about how that one ended.
  if (record === undefined && seen.exitCode === REFUSED_EXIT_CODE && seen.end === 'failed') {
    const { exitCode: _code, end: _end, ...rest } = seen
    return rest
  }
  return record === undefined && job.hasBegun !== true && isLeftOpen(job, row) ? unbegun(job, seen) : seen
}

/** True of an end without a record that may be no word about the script: its directory shows whether that had begun at all. */
export function isLeftOpen({ member, directory }: TrackedJob, { state, end }: JobRow): boolean {
  // Of a pack the line says nothing about one member.
  if (member !== undefined || directory === undefined || state !== 'ended') return false
  return end === undefined || end === 'completed' || end === 'failed'
}

/** Schedulers call it a failure of the job when they lose its script, or when the node cannot start it. */
function unbegun({ hasBegun }: TrackedJob, seen: JobObservation): JobObservation {
  const { exitCode, signal, end: _end, startedAt: _startedAt, reason, ...rest } = seen
  if (hasBegun === undefined) return { ...rest, ...(reason === undefined ? {} : { reason }) }
  const words = [reason, exitCode === undefined ? undefined : `exit code ${exitCode}`, signal].filter((word) => word !== undefined)
  return { ...rest, ...(words.length === 0 ? {} : { reason: words.join(', ') }), neverBegan: true }
}

/** How a pack ended is not how its member ended, unless all of it was ended from outside. */
function ofMember({ record, cancelAskedAt }: TrackedJob, seen: JobObservation): JobObservation {
  const { exitCode: _code, signal: _signal, end, startedAt, ...rest } = seen
  const wasRun = record !== undefined
  const began = wasRun && startedAt !== undefined ? { startedAt } : {}
  if (end === 'completed' || end === 'failed' || end === undefined) {
    return { ...rest, ...began, ...(cancelAskedAt === undefined ? {} : { end: 'canceled' as const }) }
  }
  return { ...rest, ...began, end }
}

function fromRecord({ handle, cancelAskedAt }: TrackedJob, record: ExitRecord): JobObservation {
  const byReason = { timeout: 'timed-out', canceled: 'canceled', 'not-started': 'failed', exited: undefined } as const
  // Nobody here has asked for its end, and who did is not known: a cancel by hand, or a controller that had forgotten the job.
  const isUnasked = record.reason === 'canceled' && cancelAskedAt === undefined
  return {
    handle,
    state: 'ended',
    rawState: '',
    exitCode: record.exitCode,
    ...(isUnasked ? {} : { end: byReason[record.reason] ?? (record.exitCode === 0 ? 'completed' : 'failed') }),
    startedAt: Math.round(record.startedAt * 1000),
    endedAt: Math.round(record.endedAt * 1000),
    host: record.host,
  }
}
