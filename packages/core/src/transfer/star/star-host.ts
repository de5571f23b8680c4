import { isCampaignError, messageOf, TransferError } from '../../errors.js'
import type { CopyPolicy, FileFailure, LeftOut, TransferResult } from '../../model/transfer.js'
import type { Clock } from '../../ports/clock.js'
import { targetError } from '../local/file-faults.js'
import type { Copied } from './star-copy.js'
import type { StarWatch } from './star-watch.js'

/** Failures of files that stand in a result. */
const MOST_FAILURES = 1_000
/** An agent that has lost us has ended by then, whatever it was doing, and with it what it held. */
const BUSY_MS = 75_000
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 4_000

/**
 * Does the work with one host, again where that helps: once over a new connection when the first one was lost, from the parts that are
 * there; once from the beginning for files that came wrong.
 *
 * @param once - one try, with the policy that is good for it
 * @param isWorthAnother - whether what ended the first try may not end a second one; default: a lost connection
 */
export async function inRounds(
  policy: CopyPolicy,
  clock: Clock,
  watch: StarWatch,
  once: (policy: CopyPolicy) => Promise<Copied>,
  isWorthAnother = isLost,
): Promise<Copied> {
  const first = await withReconnect(policy, clock, watch, once, isWorthAnother)
  if (!first.failures.some(({ code }) => code === 'E_COPY_CORRUPT')) return first
  // Parts that were there already may be what was wrong.
  const second = await withReconnect({ ...policy, resume: false }, clock, watch, once, isWorthAnother)
  return { ...second, isSame: false, same: first.same, files: second.same + second.files - first.same }
}

async function withReconnect(
  policy: CopyPolicy,
  clock: Clock,
  watch: StarWatch,
  once: (policy: CopyPolicy) => Promise<Copied>,
  isWorthAnother: (error: unknown) => boolean,
): Promise<Copied> {
  try {
    return await once(policy)
  } catch (error) {
    if (!isWorthAnother(error) || watch.signal.aborted) throw error
  }
  const until = clock.monotonic() + BUSY_MS
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await once({ ...policy, resume: true })
    } catch (error) {
      // Most probably it is ourselves who use it, on the connection that was lost.
      const isBusy = isCampaignError(error) && error.code === 'E_TARGET_BUSY'
      if (!isBusy || clock.monotonic() > until || watch.signal.aborted) throw error
    }
    await clock.sleep(pauseMs, { signal: watch.signal })
    watch.touch()
  }
}

function isLost(error: unknown): boolean {
  return isCampaignError(error) && error.code === 'E_CONNECTION_LOST'
}

/** Also when what looks after the files there was killed: the host is there, and has all that came. */
export function isLostOrKilled(error: unknown): boolean {
  return isLost(error) || (isCampaignError(error) && error.code === 'E_COPY_LOST')
}

/** What is the same in all results of a host. */
export interface ResultFrame {
  readonly host: string | undefined
  readonly via: string
  readonly bytes: number
  readonly seconds: number
  readonly leftOut: readonly LeftOut[]
}

export function copiedResult(frame: ResultFrame, copied: Copied, isGet: boolean): TransferResult {
  const { failures, files, same, verified } = copied
  const outcome = failures.length > 0 ? 'failed' : copied.isSame && frame.bytes === 0 ? 'skipped-same' : 'done'
  return {
    ...common(frame),
    outcome,
    files,
    same,
    verified,
    ...(failures.length === 0 ? {} : { error: firstOf(failures), failures: failures.slice(0, MOST_FAILURES) }),
    ...(isGet ? { directory: copied.directory } : {}),
  }
}

/** @param isReached - false as long as there was no connection */
export function failedResult(frame: ResultFrame, thrown: unknown, watch: StarWatch, isReached: boolean): TransferResult {
  const error = explain(frame, thrown, watch)
  const isAway = isLost(error) || (!isReached && watch.stalled === undefined && !watch.isGivenUp)
  return {
    ...common(frame),
    outcome: isAway ? 'unreachable' : 'failed',
    files: 0,
    same: 0,
    verified: 'none',
    error: { code: error.code, message: error.message, ...(error.suggestions.length === 0 ? {} : { suggestions: error.suggestions }) },
  }
}

function explain({ host }: ResultFrame, thrown: unknown, watch: StarWatch): Pick<TransferError, 'code' | 'message' | 'suggestions'> {
  if (watch.stalled !== undefined) return watch.stalled
  if (watch.isGivenUp) return new TransferError('E_ABORTED', `The copy with ${host ?? 'this machine'} was given up`)
  const known = targetError(thrown, `The copy with ${host ?? 'this machine'} failed`)
  return isCampaignError(known) ? known : new TransferError('E_TRANSFER', messageOf(known), { cause: thrown })
}

function common({ host, via, bytes, seconds, leftOut }: ResultFrame) {
  return { host, via, bytes, seconds, ...(leftOut.length === 0 ? {} : { leftOut }) }
}

/** For the first file that is not there as asked. */
const REMEDIES: Readonly<Record<string, string>> = {
  E_TARGET_KIND: 'Move what stands there out of the way, or give the copy another name or directory',
  E_SOURCE_CHANGED: 'Copy it again when nobody writes to it: what is the same is not moved again',
  E_COPY_CORRUPT: 'Look at the disk and the memory of the host: what arrives there is checked, and does not stay as it was sent',
}

function firstOf(failures: readonly FileFailure[]): NonNullable<TransferResult['error']> {
  const [first] = failures
  const more = failures.length > 1 ? ` (and ${failures.length - 1} more)` : ''
  const code = first?.code ?? 'E_TRANSFER'
  const remedy = REMEDIES[code]
  return {
    code,
    message: `${first?.file}: ${first?.message}${more}`,
    ...(remedy === undefined ? {} : { suggestions: [remedy] }),
  }
}
