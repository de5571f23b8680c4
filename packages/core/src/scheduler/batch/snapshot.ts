import type { JobRow } from '../../ports/scheduler-dialect.js'
import type { TrackedJob } from './tracked-jobs.js'

/** The answer to one question about all jobs, made ready for looking jobs up. */
export interface Snapshot {
  /** Number of the moment before the question was asked: a job that came later is not missing from it. */
  readonly moment: number
  /** Monotonic time of the answer. */
  readonly at: number
  readonly rows: readonly JobRow[]
  /** Jobs and elements that have a line of their own. */
  readonly byId: ReadonlyMap<string, JobRow>
  /** Lines that speak of several elements, by the array's id. */
  readonly folded: ReadonlyMap<string, readonly JobRow[]>
}

export function makeSnapshot(rows: readonly JobRow[], moment: number, at: number): Snapshot {
  const byId = new Map<string, JobRow>()
  const folded = new Map<string, JobRow[]>()
  for (const row of rows) {
    if (row.elements === undefined) {
      byId.set(row.nativeId, row)
      continue
    }
    const others = folded.get(row.nativeId)
    if (others === undefined) folded.set(row.nativeId, [row])
    else others.push(row)
  }
  return { moment, at, rows, byId, folded }
}

/** The line that speaks of a job, when the answer has one and it is really about this job. */
export function rowOf(snapshot: Snapshot, job: TrackedJob): JobRow | undefined {
  const row = snapshot.byId.get(job.rowId) ?? foldedRow(snapshot, job)
  return row === undefined || !isOurs(job, row) ? undefined : row
}

function foldedRow({ folded, byId }: Snapshot, { base, element }: TrackedJob): JobRow | undefined {
  if (element === undefined) return undefined
  const line = folded.get(base)?.find(({ elements = [] }) => elements.some(([from, to]) => element >= from && element <= to))
  if (line !== undefined) return line
  // What is left of an array that was canceled while it waited may stand there under the array's own name.
  const rest = byId.get(base)
  return rest?.state === 'ended' ? rest : undefined
}

/**
 * Ids begin anew when a scheduler is set up again: a line with the tag of another submission is about a stranger's job. Of a job
 * that an earlier program submitted together with others the tag of that submission stands in its directory: nothing is its own before that
 * was read, and where there is nothing to be read each line is believed.
 */
export function isOurs(job: TrackedJob, row: JobRow): boolean {
  if (row.tag === undefined) return true
  if (job.group !== undefined) return row.tag === job.group
  if (!job.wasIdentified) return false
  if (job.groups.length > 0) return job.groups.includes(row.tag)
  if (job.element !== undefined || job.member !== undefined) return true
  return row.tag === job.handle.tag
}
