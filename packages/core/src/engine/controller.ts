import { hostname } from 'node:os'
import { join } from 'node:path'
import { isCampaignError, messageOf, SchedulerError, StoreError } from '../errors.js'
import type { RunOutcome, RunPause } from '../model/run.js'
import { roomForJobs } from './attempt-files.js'
import type { RunContext, Watch } from './context.js'
import type { JobKey, RunJournalEvent } from './events.js'
import { FailureRow, failureSignature } from './failure-signature.js'
import { type Flight, goneItem } from './run-state.js'
import { Settling } from './settle.js'
import { Claiming, isSilence, itemLabel, sendJobs } from './submit.js'
import { watchJobs } from './watch.js'

export interface ControllerInput extends Omit<RunContext, 'watches' | 'write'> {
  readonly version: string
  /** Throws StoreError `E_RUN_HELD` when another controller has this run now. */
  readonly checkLease: () => void
  /** Aborted: claim nothing more, detach; jobs go on. */
  readonly signal?: AbortSignal | undefined
  /** `stop`: nothing is claimed, what is in flight is canceled and waited for. */
  readonly mode?: 'run' | 'stop'
}

export interface ControllerEnd {
  readonly outcome: RunOutcome
  readonly pause: RunPause | undefined
}

const REFRESH_MS = 500
const COUNTS_MS = 100
const MAX_BACKOFF_MS = 60_000
/** Between two looks at a scheduler that reports every change at once: lets changes gather. */
const GATHER_MS = 15

/** Drives one run: adopts, claims, submits, watches, judges, until nothing is left or somebody says stop. */
export class Controller {
  readonly #input: ControllerInput
  readonly #context: RunContext
  readonly #claiming: Claiming
  readonly #settling: Settling
  readonly #row = new FailureRow()
  #epoch = 0
  #revision: number | undefined
  #pause: RunPause | undefined
  #silence: { readonly since: number; tries: number; nextAt: number } | undefined
  #pushedBackUntil = 0
  #pollMs: number
  #lastRefresh = Number.NEGATIVE_INFINITY
  #lastCounts = Number.NEGATIVE_INFINITY
  #canceledAll = false
  /** The disk has no room for another job. */
  #isScarce = false
  /** For schedulers that have to be asked. */
  #nextWatchAt = 0

  constructor(input: ControllerInput) {
    this.#input = input
    this.#context = { ...input, watches: new Map(), write: (events, options) => this.#write(events, options) }
    this.#claiming = new Claiming(this.#context)
    this.#settling = new Settling(this.#context)
    this.#pollMs = input.settings.pollMs
  }

  /** @throws StoreError `E_RUN_HELD`, `E_RUN_DIRECTORY`, `E_STORE_IO`; everything else ends in a value */
  async run(): Promise<ControllerEnd> {
    const { state, store, emit, version } = this.#input
    const resumed = state.openedSeq > 0
    if (this.#input.mode !== 'stop') await this.#checkMachine()
    const [seq = 0] = await store.append([{ type: 'opened', host: hostname(), pid: process.pid, version } satisfies RunJournalEvent])
    this.#epoch = seq
    this.#revision = state.campaign?.revision
    this.#adopt()
    emit({ type: 'started', directory: this.#input.directory, counts: state.counts(), resumed })
    let end: ControllerEnd
    try {
      end = await this.#loop()
    } catch (error) {
      if (!isCampaignError(error) || error.code !== 'E_STORE_FULL') throw error
      end = await this.#full(error)
    }
    try {
      await this.#write([{ type: 'closed', outcome: end.outcome }])
    } catch (error) {
      if (!isCampaignError(error) || error.code !== 'E_STORE_FULL') throw error
    }
    emit({ type: 'counts', counts: state.counts() })
    return end
  }

  /** Everything that the journal knows to be in flight is watched again; submissions without an answer are looked up. */
  #adopt(): void {
    const { state, log } = this.#input
    for (const flight of state.flights.values()) {
      const watch = this.#watchOf(flight)
      this.#context.watches.set(flight.key, watch)
      if (flight.nativeId === undefined) this.#settling.add(watch)
    }
    if (state.flights.size > 0) {
      log.info({ jobs: state.flights.size, withoutAnswer: this.#settling.size }, 'jobs of an earlier controller adopted')
    }
  }

  /**
   * From another machine the queue of a machine shows nothing: taken for an answer, jobs that run there would count as lost
   * and be run again.
   */
  async #checkMachine(): Promise<void> {
    const { scheduler, state } = this.#input
    if (scheduler.supports.thisMachineOnly !== true) return
    const here = hostname()
    const away: Flight[] = []
    for (const flight of state.flights.values()) {
      if (flight.host === here) continue
      const { directory, tag } = this.#watchOf(flight)
      if ((await scheduler.exitRecord({ directory, tag })) === undefined) away.push(flight)
    }
    const [first] = away
    if (first === undefined) return
    throw new SchedulerError(
      'E_SCHEDULER_SILENT',
      `${away.length} jobs of this run were given to the ${scheduler.name} scheduler of ${first.host}, which cannot be asked from ${here}`,
      {
        suggestions: [
          `Continue the run on ${first.host}`,
          'When that machine is gone for good: cahier stop --cancel-jobs, then cahier retry, and run again',
        ],
        data: { host: first.host, here, jobs: away.length },
      },
    )
  }

  #watchOf(flight: Flight): Watch {
    const { planner, scheduler, state, directory, spec } = this.#input
    const { key, attempt, nativeId } = flight
    const item = typeof key === 'number' ? state.items?.at(key) : goneItem(key)
    const tag = item === undefined ? planner.prepareTag(String(key), attempt) : planner.tagOf(item, attempt)
    const place = item === undefined ? planner.prepareDirectory(String(key), attempt) : planner.directoryOf(item, attempt)
    return {
      key,
      attempt,
      tag,
      directory: join(directory, place),
      label: item === undefined ? String(key).replace('prepare:', '') : itemLabel(item, spec.repetitions),
      handle: nativeId === undefined ? undefined : { scheduler: scheduler.name, nativeId, tag },
      needs: item === undefined ? [] : planner.needsOf(item.combination).map((need) => need.key),
      silentSince: undefined,
    }
  }

  async #loop(): Promise<ControllerEnd> {
    const { signal, state } = this.#input
    for (;;) {
      if (signal?.aborted === true) return { outcome: 'detached', pause: this.#pause }
      await this.#refresh()
      if (state.stop !== undefined && !state.stop.cancelJobs) {
        await this.#pauseFor('stopped', 'stopped on request; jobs in flight go on')
        return { outcome: 'detached', pause: this.#pause }
      }
      if (this.#mustCancel) await this.#cancelAll()
      let moved = false
      try {
        moved = await this.#advance()
        if (this.#silence !== undefined) await this.#speaksAgain()
      } catch (error) {
        if (!isSilence(error)) throw error
        await this.#isSilent(error)
      }
      this.#showCounts()
      const end = this.#ended()
      if (end !== undefined) return end
      await this.#wait(moved)
    }
  }

  /** One round: settle, claim, send, watch. Returns true when something moved. */
  async #advance(): Promise<boolean> {
    const { state, settings, checkLease, clock } = this.#input
    if (this.#silence !== undefined && clock.monotonic() < this.#silence.nextAt) return false
    let moved = false
    await this.#settling.settle()
    if (this.#mayClaim) {
      const wanted = Math.min(settings.batch, settings.maxInFlight - state.flights.size)
      const room = wanted > 0 && state.todo > 0 ? Math.min(wanted, this.#roomOnDisk()) : 0
      if (room > 0) {
        const round = await this.#claiming.claim(room)
        moved ||= round.claimed > 0
        for (const watch of round.uncertain) this.#settling.add(watch)
        await this.#countFailures(round.failures)
      }
    }
    if (this.#claiming.unsent.length > 0 && clock.monotonic() >= this.#pushedBackUntil && !this.#mustCancel) {
      checkLease()
      const round = await sendJobs(this.#context, this.#claiming)
      moved ||= round.sent > 0
      for (const watch of round.uncertain) this.#settling.add(watch)
      await this.#countFailures(round.failures)
      if (round.pushedBack !== undefined) {
        this.#pushedBackUntil = clock.monotonic() + Math.min(settings.pollMs * 2, MAX_BACKOFF_MS)
        this.#input.log.info({ reason: round.pushedBack }, 'the scheduler takes no more jobs for now')
      }
    }
    if (!this.#pushes && clock.monotonic() < this.#nextWatchAt) return moved
    const judged = await watchJobs(this.#context)
    this.#pollMs = judged.length > 0 || moved ? settings.pollMs : Math.min(this.#pollMs * 1.2, settings.pollMaxMs)
    this.#nextWatchAt = clock.monotonic() + this.#pollMs
    for (const { event, signature, watch } of judged) {
      if (signature !== undefined) await this.#countFailure(signature, event.d)
      else if (event.o === 'succeeded') this.#row.succeeded()
      if (typeof watch.key === 'string' && state.prepareState(watch.key) === 'failed') await this.#cancelDependents(watch.key)
    }
    return moved || judged.length > 0
  }

  #roomOnDisk(): number {
    const { directory, files, log, state } = this.#input
    const room = roomForJobs(directory, state.flights.size, files)
    if (room === 0 && !this.#isScarce) log.warn({ directory }, 'the disk is nearly full: nothing more is claimed until jobs have ended')
    this.#isScarce = room === 0
    return room
  }

  get #pushes(): boolean {
    const { scheduler } = this.#input
    return scheduler.supports.push && scheduler.changed !== undefined
  }

  get #mayClaim(): boolean {
    return (
      this.#input.mode !== 'stop' &&
      this.#pause === undefined &&
      this.#input.state.stop === undefined &&
      // What an earlier controller may have submitted is found out before anything new is claimed.
      this.#settling.size === 0 &&
      this.#claiming.unsent.length === 0
    )
  }

  get #mustCancel(): boolean {
    return this.#input.mode === 'stop' || this.#input.state.stop?.cancelJobs === true
  }

  #ended(): ControllerEnd | undefined {
    const { state } = this.#input
    if (state.flights.size > 0) return undefined
    if (this.#mustCancel) return { outcome: 'paused', pause: this.#pause }
    if (this.#pause !== undefined) return { outcome: 'paused', pause: this.#pause }
    if (state.todo > 0) return undefined
    const counts = state.counts()
    return { outcome: counts.failed + counts.invalid === 0 ? 'complete' : 'incomplete', pause: undefined }
  }

  async #countFailures(details: readonly string[]): Promise<void> {
    for (const detail of details) await this.#countFailure(failureSignature('not-submitted', undefined, detail), detail)
  }

  async #countFailure(signature: string, detail: string): Promise<void> {
    const limit = this.#input.spec.breaker.identical
    const count = this.#row.failed(signature)
    if (limit === 0 || count < limit || this.#pause !== undefined) return
    await this.#pauseFor('breaker', `${count} failures in a row were the same: ${detail}`)
  }

  async #pauseFor(reason: RunPause['reason'], detail: string): Promise<void> {
    const { clock, emit, log } = this.#input
    this.#pause = { reason, since: clock.now(), detail }
    await this.#write([{ type: 'paused', reason, detail }])
    log.warn({ reason, detail }, 'run paused: nothing more is claimed')
    emit({ type: 'paused', pause: this.#pause })
  }

  /** The disk is full: nothing more can be recorded, so nothing more is done. Jobs go on and are adopted later. */
  async #full(error: Error): Promise<ControllerEnd> {
    const { clock, emit, log } = this.#input
    const pause: RunPause = { reason: 'disk-full', since: clock.now(), detail: error.message }
    try {
      await this.#write([{ type: 'paused', reason: 'disk-full', detail: error.message }])
    } catch (second) {
      log.debug({ error: messageOf(second) }, 'the pause could not be recorded')
    }
    log.error({ error: error.message }, 'disk full: nothing more is claimed')
    emit({ type: 'paused', pause })
    return { outcome: 'paused', pause }
  }

  async #isSilent(error: unknown): Promise<void> {
    const { clock, emit, log, settings } = this.#input
    const now = clock.monotonic()
    const isNew = this.#silence === undefined
    this.#silence ??= { since: clock.now(), tries: 0, nextAt: now }
    this.#silence.tries += 1
    const backoff = Math.min(settings.pollMs * 2 ** Math.min(this.#silence.tries, 10), MAX_BACKOFF_MS)
    this.#silence.nextAt = now + backoff * (0.75 + Math.random() / 2)
    if (!isNew) return
    const detail = messageOf(error)
    log.warn({ error: detail }, 'the scheduler is silent: waiting, nothing changes')
    emit({ type: 'paused', pause: { reason: 'scheduler-silent', since: this.#silence.since, detail } })
    await this.#write([{ type: 'paused', reason: 'scheduler-silent', detail }], { durable: false })
  }

  async #speaksAgain(): Promise<void> {
    if (this.#silence === undefined || this.#input.clock.monotonic() < this.#silence.nextAt) return
    this.#silence = undefined
    this.#input.log.info({}, 'the scheduler answers again')
    if (this.#pause === undefined) await this.#write([{ type: 'unpaused' }], { durable: false })
  }

  async #cancelAll(): Promise<void> {
    if (this.#canceledAll) return
    const { scheduler, log, state } = this.#input
    if (this.#pause === undefined) await this.#pauseFor('stopped', 'stopped on request; jobs canceled')
    if (state.stop === undefined) await this.#write([{ type: 'stop', cancelJobs: true }])
    await this.#dropUnsent()
    if (this.#settling.size > 0) return
    const handles = [...this.#context.watches.values()].flatMap((watch) => (watch.handle === undefined ? [] : [watch.handle]))
    try {
      if (handles.length > 0) await scheduler.cancel(handles)
      this.#canceledAll = true
      log.info({ jobs: handles.length }, 'jobs canceled on request')
    } catch (error) {
      if (!isSilence(error)) throw error
      log.warn({ error: messageOf(error) }, 'the scheduler did not take the cancel yet')
    }
  }

  /** Intents that were never sent: nothing ran. */
  async #dropUnsent(): Promise<void> {
    const { unsent } = this.#claiming
    if (unsent.length === 0) return
    this.#claiming.unsent = []
    for (const { watch } of unsent) this.#context.watches.delete(watch.key)
    const verdicts = unsent.map(
      ({ watch }): RunJournalEvent => ({
        type: 'verdict',
        k: watch.key,
        a: watch.attempt,
        o: 'not-submitted',
        d: 'stopped before it was submitted',
        again: true,
        void: true,
      }),
    )
    await this.#write(verdicts)
  }

  async #cancelDependents(prepare: JobKey): Promise<void> {
    const handles = [...this.#context.watches.values()].flatMap((watch) =>
      watch.handle !== undefined && watch.needs.includes(String(prepare)) ? [watch.handle] : [],
    )
    if (handles.length > 0) await this.#input.scheduler.cancel(handles)
  }

  /** Reads what others wrote into the journal: wishes to stop, items to do again. */
  async #refresh(): Promise<void> {
    const { clock, store } = this.#input
    const now = clock.monotonic()
    if (now - this.#lastRefresh < REFRESH_MS) return
    this.#lastRefresh = now
    await store.refresh()
  }

  #showCounts(): void {
    const { clock, emit, state } = this.#input
    const now = clock.monotonic()
    if (now - this.#lastCounts < COUNTS_MS) return
    this.#lastCounts = now
    emit({ type: 'counts', counts: state.counts() })
  }

  /** Until something may have changed, the next question is due, or the user says stop. */
  async #wait(moved: boolean): Promise<void> {
    const { scheduler, clock, settings, signal, state } = this.#input
    if (moved && this.#mayClaim && state.todo > 0 && state.flights.size < settings.maxInFlight) return
    const ends = new AbortController()
    const stop = (): void => ends.abort()
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted === true) stop()
    try {
      const untilWatch = this.#pushes ? REFRESH_MS : this.#nextWatchAt - clock.monotonic()
      const limit = Math.min(untilWatch, this.#settling.dueInMs() ?? REFRESH_MS, REFRESH_MS)
      const waits: Promise<unknown>[] = [clock.sleep(Math.max(1, limit), { signal: ends.signal })]
      if (this.#pushes && scheduler.changed !== undefined && this.#settling.size === 0 && this.#silence === undefined) {
        waits.push(scheduler.changed({ signal: ends.signal }).then(() => clock.sleep(GATHER_MS, { signal: ends.signal })))
      }
      for (const wait of waits) wait.catch(() => undefined)
      await Promise.race(waits).catch(() => undefined)
    } finally {
      ends.abort()
      signal?.removeEventListener('abort', stop)
    }
  }

  /** Fenced: a controller whose run went to another one writes nothing more. */
  async #write(events: readonly RunJournalEvent[], options: { readonly durable?: boolean } = {}): Promise<void> {
    const { store, state } = this.#input
    await store.transact(() => {
      // A successor may change the campaign before it says that it drives: then our positions mean other items.
      if (state.openedSeq !== this.#epoch || state.campaign?.revision !== this.#revision) {
        throw new StoreError('E_RUN_HELD', 'another controller has taken this run over; this one writes nothing more', {
          suggestions: ['Follow it with: cahier attach'],
        })
      }
      return { events, value: undefined }
    }, options)
  }
}
