import { ConfigError } from '../../errors.js'
import type { JobState } from '../../model/job.js'
import type { ListedJob } from '../../model/site-report.js'
import type { Scheduler } from '../../ports/scheduler.js'
import { matchJobs, type NamedJob, requireList, type SeenJob } from './choose-jobs.js'
import type { SiteAccess } from './site-access.js'

export type JobOrder = 'hold' | 'release' | 'requeue'

/** What became of one job that a command was given. */
export interface OrderedJob {
  /** As it was written. */
  readonly job: string
  readonly nativeId: string | null
  /**
   * `done`: seen to be as it was ordered. `was-ended`: it had ended before. `not-known`: the queue does not show it. `asked`: the scheduler
   * took the order, and nothing of it is seen yet.
   */
  readonly outcome: 'done' | 'was-ended' | 'not-known' | 'asked'
  /** The scheduler's words for what was seen last. */
  readonly seen: string | null
}

/** What one asks for is usually seen within a second or two. */
const CONFIRM_MS = 10_000
const PAUSES_MS = [200, 300, 500, 1000]

/** Asks for the end of jobs, and looks until they have ended, for some seconds. */
export async function cancelOn(access: SiteAccess, jobs: readonly NamedJob[], signal: AbortSignal | undefined): Promise<OrderedJob[]> {
  const scheduler = await access.scheduler()
  const list = requireList(scheduler)
  const before = matchJobs(jobs, await list({ signal }), scheduler.name)
  const live = before.filter(({ lines }) => lines.some(({ state }) => state !== 'ended'))
  const handles = live.flatMap((one) => one.handles)
  if (handles.length > 0) await scheduler.cancel(handles, { signal })
  const isEnded = ({ lines }: SeenJob): boolean => lines.every(({ state }) => state === 'ended')
  const after = await lookUntil(access, scheduler, live, isEnded, signal)
  return before.map((one): OrderedJob => {
    const now = after.get(one.job)
    if (now !== undefined) return report(now, isEnded(now) ? 'done' : 'asked')
    return report(one, one.lines.length > 0 && !live.includes(one) ? 'was-ended' : 'not-known')
  })
}

/** Holds jobs, lets them go, or puts them back into the queue; and looks until that is seen, for some seconds. */
export async function orderOn(
  access: SiteAccess,
  order: JobOrder,
  jobs: readonly NamedJob[],
  signal: AbortSignal | undefined,
): Promise<OrderedJob[]> {
  const scheduler = await access.scheduler()
  if (scheduler.supports.hold !== true || scheduler.order === undefined) {
    throw new ConfigError('E_NOT_SUPPORTED', `the scheduler ${scheduler.name} cannot ${order} jobs`, {
      suggestions: ['End the job and submit it again: cahier jobs cancel'],
    })
  }
  const list = requireList(scheduler)
  const before = matchJobs(jobs, await list({ signal }), scheduler.name)
  const live = before.filter(({ lines }) => lines.some(({ state }) => state !== 'ended'))
  // What has ended can be put back all the same, as long as the queue shows it.
  const chosen = order === 'requeue' ? before.filter(({ lines }) => lines.length > 0) : live
  const ids = chosen.flatMap(({ job, lines }) => job.nativeId ?? lines.map(({ nativeId }) => nativeId))
  if (ids.length > 0) await scheduler.order(order, ids, { signal })
  const isDone = (seen: SeenJob): boolean => seen.lines.every(({ state }) => isAs(order, state))
  const after = await lookUntil(access, scheduler, chosen, isDone, signal)
  return before.map((one): OrderedJob => {
    const now = after.get(one.job)
    if (now !== undefined) return report(now, isDone(now) ? 'done' : 'asked')
    return report(one, one.lines.length > 0 ? 'was-ended' : 'not-known')
  })
}

/** A job that runs is not touched by hold; one that was let go may run at once, and even have ended. */
function isAs(order: JobOrder, state: JobState): boolean {
  if (order === 'hold') return state === 'held'
  return order === 'release' ? state !== 'held' : state === 'pending' || state === 'running' || state === 'held'
}

/** Looks at the queue until all is as wanted, or some seconds have passed. A job that is gone from it has ended. */
async function lookUntil(
  { clock }: SiteAccess,
  scheduler: Scheduler,
  asked: readonly SeenJob[],
  isDone: (seen: SeenJob) => boolean,
  signal: AbortSignal | undefined,
): Promise<Map<NamedJob, SeenJob>> {
  const jobs = asked.map(({ job }) => job)
  let seen: SeenJob[] = [...asked]
  const until = clock.monotonic() + CONFIRM_MS
  for (let round = 0; jobs.length > 0; round += 1) {
    await clock.sleep(PAUSES_MS[Math.min(round, PAUSES_MS.length - 1)] ?? 1000, { signal })
    seen = matchJobs(jobs, await requireList(scheduler)({ signal }), scheduler.name)
    if (seen.every(isDone) || clock.monotonic() >= until) break
  }
  return new Map(seen.map((one) => [one.job, one]))
}

function report({ job, lines }: SeenJob, outcome: OrderedJob['outcome']): OrderedJob {
  return { job: job.selector, nativeId: job.nativeId ?? lines[0]?.nativeId ?? null, outcome, seen: wordsOf(lines) }
}

/** `RUNNING`, `PENDING (Resources)`, `3 CANCELLED, 1 COMPLETING`. */
function wordsOf(lines: readonly ListedJob[]): string | null {
  const words = new Map<string, number>()
  for (const { rawState, reason, elements, state } of lines) {
    const word = reason === undefined || reason === '' || reason === 'None' || state === 'ended' ? rawState : `${rawState} (${reason})`
    words.set(word, (words.get(word) ?? 0) + elements)
  }
  if (words.size === 0) return null
  const [[only = '', count = 0] = []] = words
  return words.size === 1 && count === 1 ? only : [...words].map(([word, n]) => `${n} ${word}`).join(', ')
}
