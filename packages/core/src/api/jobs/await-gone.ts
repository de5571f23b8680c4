import type { Clock } from '../../ports/clock.js'
import type { Scheduler } from '../../ports/scheduler.js'
import { matchJobs, type NamedJob } from './choose-jobs.js'

/** So that one who follows a job costs its queue little: the exit record is what usually ends it. */
const PAUSES_MS = [5_000, 10_000, 20_000, 30_000]
const LONGEST_PAUSE_MS = 30_000
/** A job that was submitted a moment ago may not be shown yet, and the record of one that has ended takes its time to be seen over NFS. */
const LOOKS = 3

/**
 * Resolves when the queue has shown three times in a row that a job no longer waits or runs: one that was canceled before it began leaves no record.
 *
 * @returns the scheduler's word for its end; `undefined` when it does not show the job any more, or cannot tell
 * @throws the signal's reason
 */
export async function awaitGone(
  scheduler: Pick<Scheduler, 'name' | 'list'>,
  job: NamedJob,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<string | undefined> {
  let word: string | undefined
  for (let round = 0, gone = 0; gone < LOOKS; round += 1) {
    await clock.sleep(PAUSES_MS[round] ?? LONGEST_PAUSE_MS, { signal })
    try {
      const [seen] = matchJobs([job], (await scheduler.list?.({ signal })) ?? [], scheduler.name)
      const isLive = scheduler.list === undefined || seen?.lines.some(({ state }) => state !== 'ended') === true
      gone = isLive ? 0 : gone + 1
      word = seen?.lines[0]?.rawState
    } catch {
      // A question that was not answered says nothing.
      signal.throwIfAborted()
    }
  }
  return word
}
