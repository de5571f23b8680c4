import { isCampaignError } from '../errors.js'
import type { JobResult } from '../model/job.js'
import type { EndedJob, SiteContext, Watch } from './context.js'

/** What does not come is asked for so often at least; of a job that never ended by itself, which may have left nothing, also at most. */
const TRIES = 3
/** Attempts whose files are asked for at a time. */
const TOGETHER = 64
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000

/**
 * Brings home the files of jobs that have ended at a site that does not see ours, beside everything else: large results hold up neither
 * submissions nor questions. What does not fit its manifest is asked for again until the grace of the site has passed.
 */
export class Homecoming {
  readonly #context: SiteContext
  readonly #waiting = new Set<Watch>()
  #home: Watch[] = []
  #fetching: Promise<void> | undefined
  #error: Error | undefined

  constructor(context: SiteContext) {
    this.#context = context
  }

  add(watch: Watch, result: JobResult): void {
    const now = this.#context.clock.monotonic()
    watch.ended = { result, since: now, tries: 0, nextAt: now, home: undefined }
    this.#waiting.add(watch)
  }

  /** Jobs that have ended and are not judged yet. */
  get size(): number {
    return this.#waiting.size + this.#home.length
  }

  /** Those whose files are here, or were given up. */
  take(): Watch[] {
    const home = this.#home
    this.#home = []
    return home
  }

  /** Milliseconds until there is something to do; `undefined`: nothing waits, or what waits is on its way. */
  dueInMs(): number | undefined {
    if (this.#home.length > 0 || this.#error !== undefined) return 0
    if (this.#fetching !== undefined || this.#waiting.size === 0) return undefined
    return Math.max(0, Math.min(...[...this.#waiting].map(endedOf).map(({ nextAt }) => nextAt)) - this.#context.clock.monotonic())
  }

  /**
   * Begins to fetch what is due, unless that goes on already.
   *
   * @param onMoved - called when something has come home or went wrong
   * @throws what the last fetch ended with, once: nothing was learnt then
   */
  begin(onMoved: () => void): void {
    const error = this.#error
    if (error !== undefined) {
      this.#error = undefined
      throw error
    }
    const now = this.#context.clock.monotonic()
    const due = [...this.#waiting].filter((watch) => endedOf(watch).nextAt <= now).slice(0, TOGETHER)
    if (this.#fetching !== undefined || due.length === 0) return
    this.#fetching = this.#fetch(due)
      .catch((error: Error) => {
        this.#error = error
      })
      .finally(() => {
        this.#fetching = undefined
        onMoved()
      })
  }

  /** Resolves when nothing is on its way any more; what went wrong does not matter then. */
  async settled(): Promise<void> {
    await this.#fetching
  }

  async #fetch(due: readonly Watch[]): Promise<void> {
    const { site, clock, signal, log } = this.#context
    const outcomes = await site.place.fetch(
      due.map((watch) => ({ directory: watch.path, tag: watch.tag })),
      { signal },
    )
    const now = clock.monotonic()
    due.forEach((watch, position) => {
      const outcome = outcomes[position] ?? { ok: false, detail: 'nothing was said about it' }
      const ended = endedOf(watch)
      ended.tries += 1
      // Of one that was told to end nobody waits for the rest.
      const isCanceled = this.#context.state.flights.get(watch.key)?.isCanceled === true
      const isUnproven = ended.result.proof !== 'exit-record' && ended.result.outcome !== 'succeeded' && ended.tries >= TRIES
      const isOver = isCanceled || isUnproven || (ended.tries >= TRIES && now - ended.since >= site.timing.graceMs)
      if (outcome.ok || isOver) {
        ended.home = outcome.ok ? { ok: true } : { ok: false, detail: outcome.detail }
        this.#waiting.delete(watch)
        this.#home.push(watch)
        return
      }
      ended.nextAt = now + Math.min(FIRST_PAUSE_MS * 2 ** Math.min(ended.tries - 1, 10), LONGEST_PAUSE_MS)
      log.debug({ job: watch.label, detail: outcome.detail }, 'files not home yet')
    })
  }
}

function endedOf(watch: Watch): EndedJob {
  if (watch.ended === undefined) throw new Error(`${watch.label} has not ended`)
  return watch.ended
}

/** True for what a site has to mend, or somebody there, before it can go on: the files of the run cannot be brought there. */
export function isSiteTrouble(error: unknown): boolean {
  return isCampaignError(error) && ['E_STAGE', 'E_FETCH', 'E_TRANSFER'].includes(error.code)
}
