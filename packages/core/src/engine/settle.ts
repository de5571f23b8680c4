import type { ExitRecord } from '../model/job.js'
import { placeOf, type SiteContext, type Watch } from './context.js'
import type { RunJournalEvent } from './events.js'
import { atSite } from './run-site.js'
import { isSilence } from './submit.js'

interface Open {
  readonly watch: Watch
  /** Monotonic time of the first answer that did not show it. */
  answeredAt: number | undefined
  /** Answers "there is none" after the grace. */
  none: number
  /** Monotonic time at which it was seen to have begun, though nobody knows of it. */
  begunAt: number | undefined
  nextAt: number
}

/**
 * Submissions of which it is not known whether a job was queued. They are looked up by tag; a job counts as never queued
 * only when the scheduler has said so twice after the grace, and there is no exit record either. Then it is given up where it lies, too.
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
    this.#open.set(watch.tag, { watch, answeredAt: undefined, none: 0, begunAt: undefined, nextAt: now })
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
    const missing = due.filter(({ watch }) => !found.has(watch.tag))
    const records = await this.#records(missing)
    // The queue answers: from now on it counts that it does not show the job. Before that it may have stood still, with our request in it.
    const answeredAt = clock.monotonic()
    const absent = missing.filter((_, index) => records[index] === undefined)
    for (const open of absent) {
      open.answeredAt ??= answeredAt
      if (answeredAt - open.answeredAt >= timing.settleGraceMs) open.none += 1
    }
    const begun = await this.#giveUp(absent.filter(({ none }) => none >= 2))
    const events: RunJournalEvent[] = []
    for (const open of due) {
      const { watch } = open
      const handle = found.get(watch.tag)
      if (handle !== undefined) {
        watch.handle = handle
        events.push({ type: 'submitted', jobs: [[watch.key, watch.attempt, handle.nativeId]] })
        this.#open.delete(watch.tag)
        log.info({ job: handle.nativeId, label: watch.label }, 'job found again')
      } else if (!absent.includes(open)) {
        // A record that cannot be read now is asked for again.
        if (records[missing.indexOf(open)] === 'unreadable') open.nextAt = answeredAt + timing.settleGraceMs / 4
        // It ran, and the queue has forgotten it: the record says how it ended.
        else this.#goesByRecord(watch)
      } else if (open.none < 2) {
        open.nextAt = Math.max((open.answeredAt ?? answeredAt) + timing.settleGraceMs, answeredAt + timing.settleGraceMs / 4)
      } else if (begun.has(watch.tag) && watch.isSecondLook !== true) {
        open.begunAt ??= answeredAt
        open.nextAt = answeredAt + timing.settleGraceMs / 4
        if (answeredAt - open.begunAt < timing.graceMs) continue
        log.warn({ label: watch.label, tag: watch.tag }, 'a job has begun of which the scheduler knows nothing')
        watch.silentSince = open.begunAt
        this.#goesByRecord(watch)
      } else {
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
      }
    }
    if (events.length > 0) await write(events)
  }

  /** The exit records of jobs, asked for all at once. One that cannot be read says nothing about the others. */
  async #records(open: readonly Open[]): Promise<readonly (ExitRecord | 'unreadable' | undefined)[]> {
    const { site, signal } = this.#context
    const reads = await Promise.allSettled(open.map(async ({ watch }) => await site.scheduler.exitRecord(placeOf(watch), { signal })))
    const failed = reads.flatMap((read) => (read.status === 'rejected' ? [read.reason as unknown] : []))
    const fatal = failed.find((error) => !isSilence(error)) ?? (failed.length === reads.length ? failed[0] : undefined)
    if (fatal !== undefined) throw fatal as Error
    return reads.map((read) => (read.status === 'fulfilled' ? read.value : 'unreadable'))
  }

  /**
   * What was sent may come into the queue even later than this: it is not to run beside the attempt that takes its place.
   *
   * @returns tags of those that are running, or were, all the same
   */
  async #giveUp(open: readonly Open[]): Promise<ReadonlySet<string>> {
    const { site, signal, write } = this.#context
    const { scheduler } = site
    if (open.length === 0 || scheduler.giveUp === undefined) return new Set()
    // Another controller may have found them meanwhile, and wait for them.
    await write([], { durable: false })
    const giveUp = scheduler.giveUp.bind(scheduler)
    const places = open.map(({ watch }) => placeOf(watch))
    return await atSite(site, () => giveUp(places, { signal }))
  }

  /** The queue has nothing to say of it any more: its record does, or its absence. */
  #goesByRecord(watch: Watch): void {
    watch.handle = { scheduler: this.#context.site.scheduler.name, nativeId: '', tag: watch.tag }
    this.#open.delete(watch.tag)
  }
}
