import type { ListedJob } from '../../model/site-report.js'
import type { JobRow } from '../../ports/scheduler-dialect.js'

/** A line of the queue as it is shown to people. */
export function listedJob({ elements, ...row }: JobRow): ListedJob {
  const { nativeId, name, tag, state, rawState, reason, advice, queue, host, submittedAt, startedAt, endedAt, never } = row
  const why = never?.message ?? reason
  return {
    nativeId,
    name: name ?? tag ?? nativeId,
    state,
    rawState,
    ...(why === undefined ? {} : { reason: why }),
    ...(advice === undefined ? {} : { advice }),
    ...(queue === undefined ? {} : { queue }),
    ...(host === undefined ? {} : { host }),
    ...(submittedAt === undefined ? {} : { submittedAt }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
    elements: elements === undefined ? 1 : elements.reduce((sum, [from, to]) => sum + to - from + 1, 0),
    ...(elements === undefined ? {} : { ranges: elements }),
    ...(tag === undefined ? {} : { tag }),
  }
}
