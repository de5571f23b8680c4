import { placeOf, type SiteContext, type Watch } from './context.js'
import type { RunJournalEvent } from './events.js'

interface Open {
  readonly watch: Watch
  readonly since: number
  /** Answers "there is none" after the grace. */
  none: number
  nextAt: number
}

/**
 * Submissions of which it is not known whether a job was queued. They are looked up by tag; a job counts as never queued
 * only when the scheduler has said so twice after the grace, and there is no exit record either.
 */
export class Settling {
  readonly #context: SiteContext
  readonly #open = new Map<string, Open>()

  constructor(context: SiteContext) {
    this.#context = context
  }

  get size(): number {
    return this.#open.size
  }

  add(watch: Watch): void {
    const now = this.#context.clock.monotonic()
    this.#open.set(watch.tag, { watch, since: now, none: 0, nextAt: now })
  }

  /** Milliseconds until something is to be asked; `undefined` when nothing is open. */
  dueInMs(): number | undefined {
    if (this.#open.size === 0) return undefined
    const now = this.#context.clock.monotonic()
    return Math.max(0, Math.min(...[...this.#open.values()].map((open) => open.nextAt)) - now)
  }

  /** Asks about what is due. Throws what the scheduler throws: then nothing was learnt and nothing changes. */
  async settle(): Promise<void> {
    const { site, clock, write, watches, log, signal } = this.#context
    const { scheduler, timing } = site
    const now = clock.monotonic()
    const due = [...this.#open.values()].filter((open) => open.nextAt <= now)
    if (due.length === 0) return
    const found = await scheduler.find(
      due.map(({ watch }) => placeOf(watch)),
      { signal },
    )
    const events: RunJournalEvent[] = []
    for (const open of due) {
      const { watch } = open
      const handle = found.get(watch.tag)
      if (handle !== undefined) {
        watch.handle = handle
        events.push({ type: 'submitted', jobs: [[watch.key, watch.attempt, handle.nativeId]] })
        this.#open.delete(watch.tag)
        log.info({ job: handle.nativeId, label: watch.label }, 'job found again')
        continue
      }
      const exit = await scheduler.exitRecord(placeOf(watch), { signal })
      if (exit !== undefined) {
        // It ran, and the queue has forgotten it: the record says how it ended.
        watch.handle = { scheduler: scheduler.name, nativeId: '', tag: watch.tag }
        this.#open.delete(watch.tag)
        continue
      }
      if (now - open.since >= timing.settleGraceMs) open.none += 1
      if (open.none >= 2) {
        this.#open.delete(watch.tag)
        watches.delete(watch.key)
        log.info({ label: watch.label, tag: watch.tag }, 'nothing had been queued')
        events.push({
          type: 'verdict',
          k: watch.key,
          a: watch.attempt,
          o: 'not-submitted',
          d: 'the scheduler has no job of this tag',
          again: true,
          ...(watch.isSecondLook === true ? {} : { void: true }),
        })
      } else {
        open.nextAt = Math.max(open.since + timing.settleGraceMs, now + timing.settleGraceMs / 4)
      }
    }
    if (events.length > 0) await write(events)
  }
}
