import type { JobHandle, JobPlace } from '../../model/job.js'
import type { Clock } from '../../ports/clock.js'
import type { Scheduler } from '../../ports/scheduler.js'

/** Pauses between two looks: a scheduler that was busy for a moment is soon back, one that is down is not asked all the time. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 10_000

export interface SettleOptions {
  readonly clock: Clock
  /** How long the answer "there is none" does not count: the job may still be on its way into the queue. */
  readonly graceMs: number
  /** A scheduler that says nothing is asked so long. */
  readonly patienceMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Finds out what became of a submission without a clear answer. Never submits.
 *
 * @returns the job; `none` when the scheduler said twice that there is no such job, the last time after the grace; `open` when it did not say
 */
export async function settleJob(
  scheduler: Pick<Scheduler, 'find'>,
  place: JobPlace,
  { clock, graceMs, patienceMs, signal }: SettleOptions,
): Promise<JobHandle | 'none' | 'open'> {
  const begun = clock.monotonic()
  let pause = FIRST_PAUSE_MS
  for (let nones = 0; ; ) {
    const asked = clock.monotonic() - begun
    try {
      const found = (await scheduler.find([place], { signal })).get(place.tag)
      if (found !== undefined) return found
      nones += 1
      if (nones >= 2 && asked >= graceMs) return 'none'
    } catch (error) {
      // A question that was not answered says nothing.
      if (signal?.aborted === true) throw error
      if (asked >= Math.max(graceMs, patienceMs)) return 'open'
    }
    const untilGrace = graceMs - (clock.monotonic() - begun)
    await clock.sleep(untilGrace > 0 ? Math.min(pause, untilGrace) : pause, { signal })
    pause = Math.min(LONGEST_PAUSE_MS, pause * 2)
  }
}
