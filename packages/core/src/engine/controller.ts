import { hostname } from 'node:os'
import { ConfigError, isCampaignError, messageOf, StoreError } from '../errors.js'
import type { WorkItem } from '../model/combination.js'
import type { RunOutcome, RunPause } from '../model/run.js'
import { roomForJobs } from './attempt-files.js'
import type { RunContext } from './context.js'
import { dealJobs } from './deal-jobs.js'
import type { RunJournalEvent } from './events.js'
import type { RunSite } from './run-site.js'
import { type RunControl, SiteLane } from './site-lane.js'
import { StuckNews, stuckJobs } from './stuck.js'

export interface ControllerInput extends Omit<RunContext, 'write'> {
  /** At least one. */
  readonly sites: readonly RunSite[]
  /** The site of everything that names none. */
  readonly defaultSite: string
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
/** Between two looks for jobs that are stuck when the journal says nothing new of it. */
const STUCK_MS = 60_000

/** Drives one run: adopts, lets its sites work, and decides about the whole, until nothing is left or somebody says stop. */
export class Controller implements RunControl {
  readonly #input: ControllerInput
  readonly #context: RunContext
  readonly #lanes: readonly SiteLane[]
  #epoch = 0
  #revision: number | undefined
  #pause: RunPause | undefined
  #lastRefresh = Number.NEGATIVE_INFINITY
  #lastCounts = Number.NEGATIVE_INFINITY
  #lastStuck = Number.NEGATIVE_INFINITY
  readonly #stuckNews = new StuckNews()
  /** The disk has no room for another job. */
  #isScarce = false
  /** Something happened since the loop looked last. */
  #isAwake = false
  #wakeUp: (() => void) | undefined

  constructor(input: ControllerInput) {
    this.#input = input
    this.#context = { ...input, write: (events, options) => this.#write(events, options) }
    this.#lanes = input.sites.map((site) => {
      const siteMark = site.name === input.defaultSite ? undefined : site.name
      return new SiteLane(this.#context, site, this, {
        siteMark,
        othersCanDo: (item) => this.#othersCanDo(site, item),
        isElsewhere: (mark) => mark !== siteMark && this.#lanes.some((lane) => lane.mark === mark && lane.isWilling),
      })
    })
  }

  /**
   * @throws StoreError `E_RUN_HELD`, `E_RUN_DIRECTORY`, `E_STORE_IO`; what stands against its sites, when none could be reached;
   * ConfigError `E_NOT_FOUND` when jobs are in flight at a site that was not given. Everything else ends in a value
   */
  async run(): Promise<ControllerEnd> {
    const { state, store, emit, version } = this.#input
    const resumed = state.openedSeq > 0
    try {
      this.#checkSites()
      const openings = await this.#open()
      if (openings === undefined) return { outcome: 'detached', pause: undefined }
      const sites = this.#lanes.map(({ site }) => site.name)
      const opened: RunJournalEvent = { type: 'opened', host: hostname(), pid: process.pid, version, sites }
      const [seq = 0] = await store.append([opened])
      this.#epoch = seq
      this.#revision = state.campaign?.revision
      this.#adopt()
      // What the journal says of jobs that wait is old: the queue is asked first.
      this.#lastStuck = this.#input.clock.monotonic()
      for (const [lane, opening] of openings) if (!lane.site.isOpen) lane.beginOpening(opening)
      emit({ type: 'started', directory: this.#input.directory, counts: state.counts(), resumed })
      const end = await this.#finish()
      emit({ type: 'counts', counts: state.counts() })
      return end
    } finally {
      await this.#leave()
    }
  }

  async #finish(): Promise<ControllerEnd> {
    let end: ControllerEnd
    try {
      end = await this.#loop()
      await this.#leave()
    } catch (error) {
      await this.#leave()
      if (!isCampaignError(error) || error.code !== 'E_STORE_FULL') throw error
      end = await this.#full(error)
    }
    try {
      await this.#write([{ type: 'closed', outcome: end.outcome }])
    } catch (error) {
      if (!isCampaignError(error) || error.code !== 'E_STORE_FULL') throw error
    }
    return end
  }

  /** Nobody would look after jobs at a site that this controller does not know. */
  #checkSites(): void {
    const { state, defaultSite } = this.#input
    const marks = new Set(this.#lanes.map((lane) => lane.mark))
    const lost = [...state.flights.values()].filter((flight) => !marks.has(flight.site))
    const [first] = lost
    if (first === undefined) return
    const site = first.site ?? defaultSite
    throw new ConfigError(
      'E_NOT_FOUND',
      `${lost.length} jobs of this run are in flight at the site ${site}, which is not among those given`,
      {
        suggestions: [`Describe the site ${site} in cahier.config again`],
        data: { site, jobs: lost.length },
      },
    )
  }

  /**
   * Opens all sites; goes on when the first of them is open, and when there is nothing to do but to wait for one.
   *
   * @returns what became of each: `undefined`, or what stands against it for now. Nothing: the user left meanwhile
   */
  async #open(): Promise<readonly (readonly [SiteLane, Promise<Error | undefined>])[] | undefined> {
    const checkMachine = this.#input.mode !== 'stop'
    const openings = this.#lanes.map((lane) => [lane, lane.open({ checkMachine })] as const)
    const { signal, mode } = this.#input
    const leave = (): void => void this.#leave()
    signal?.addEventListener('abort', leave, { once: true })
    const failed: Error[] = []
    try {
      await new Promise<void>((resolve, reject) => {
        for (const [, opening] of openings) {
          opening.then((trouble) => {
            if (trouble !== undefined) failed.push(trouble)
            if (trouble === undefined || signal?.aborted === true) resolve()
            else if (failed.length === openings.length) {
              if (mode !== 'stop' && failed.some(isPatienceAsked)) resolve()
              else reject(failed[0])
            }
          }, reject)
        }
      })
    } finally {
      signal?.removeEventListener('abort', leave)
    }
    return signal?.aborted === true && failed.length === openings.length ? undefined : openings
  }

  /** Everything that the journal knows to be in flight is watched again; submissions without an answer are looked up. */
  #adopt(): void {
    const { state, log } = this.#input
    for (const flight of state.flights.values()) this.#lanes.find((lane) => lane.mark === flight.site)?.adopt(flight)
    if (state.flights.size === 0) return
    const withoutAnswer = this.#lanes.reduce((sum, lane) => sum + lane.settling.size, 0)
    log.info({ jobs: state.flights.size, withoutAnswer }, 'jobs of an earlier controller adopted')
  }

  async #loop(): Promise<ControllerEnd> {
    const { signal, state } = this.#input
    for (;;) {
      for (const lane of this.#lanes) lane.check()
      if (signal?.aborted === true) return { outcome: 'detached', pause: this.#pause }
      await this.#refresh()
      if (state.stop !== undefined && !state.stop.cancelJobs) {
        await this.#pauseFor('stopped', 'stopped on request; jobs in flight go on')
        return { outcome: 'detached', pause: this.#pause }
      }
      if (this.mustCancel) await this.#recordStop()
      this.#showCounts()
      this.#tellStuck()
      const end = this.#ended()
      if (end !== undefined) return end
      for (const lane of this.#lanes) if (lane.dueInMs() <= 0) lane.begin()
      await this.#wait()
    }
  }

  async #leave(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.leave()))
  }

  // ---- what lanes ask

  get mayClaim(): boolean {
    return this.#input.mode !== 'stop' && this.#pause === undefined && this.#input.state.stop === undefined && this.#input.state.todo > 0
  }

  get mustCancel(): boolean {
    return this.#input.mode === 'stop' || this.#input.state.stop?.cancelJobs === true
  }

  get isShared(): boolean {
    return this.#lanes.length > 1
  }

  shareOf(lane: SiteLane): number {
    const { state, settings } = this.#input
    const claimed = this.#lanes.reduce((sum, one) => sum + one.claims, 0)
    const wanted = Math.min(lane.site.batch, settings.maxInFlight - state.flights.size - claimed)
    if (wanted <= 0 || state.todo === 0) return 0
    const room = Math.min(wanted, this.#roomOnDisk())
    if (!this.isShared) return room
    const given = dealJobs(
      this.#lanes.map((one) => one.load()),
      Math.min(room, state.todo),
    )
    return given[this.#lanes.indexOf(lane)] ?? 0
  }

  checkLease(): void {
    this.#input.checkLease()
  }

  async breaks(lane: SiteLane, detail: string): Promise<void> {
    if (this.#pause !== undefined) return
    const { emit, log, clock } = this.#input
    if (this.#lanes.every((one) => !one.isWilling)) {
      await this.#pauseFor('breaker', detail)
      return
    }
    const { name: site } = lane.site
    await this.#write([{ type: 'paused', reason: 'breaker', detail: `${site}: ${detail}`, site }])
    log.warn({ site, detail }, 'site paused: nothing more is given to it')
    emit({ type: 'paused', pause: { reason: 'breaker', since: clock.now(), detail: `${site}: ${detail}`, site } })
  }

  wake(): void {
    this.#isAwake = true
    this.#wakeUp?.()
  }

  #othersCanDo(site: RunSite, item: WorkItem): boolean {
    return this.#lanes.some((lane) => lane.site !== site && lane.isWilling && lane.canPrepare(item))
  }

  // ----

  #roomOnDisk(): number {
    const { directory, files, log, state } = this.#input
    const room = roomForJobs(directory, state.flights.size, files)
    if (room === 0 && !this.#isScarce) log.warn({ directory }, 'the disk is nearly full: nothing more is claimed until jobs have ended')
    this.#isScarce = room === 0
    return room
  }

  #ended(): ControllerEnd | undefined {
    const { state } = this.#input
    if (state.flights.size > 0 || this.#lanes.some((lane) => lane.claims > 0)) return undefined
    if (this.mustCancel) return { outcome: 'paused', pause: this.#pause }
    if (this.#pause !== undefined) return { outcome: 'paused', pause: this.#pause }
    if (state.todo > 0) return undefined
    const counts = state.counts()
    return { outcome: counts.failed + counts.invalid === 0 ? 'complete' : 'incomplete', pause: undefined }
  }

  async #pauseFor(reason: RunPause['reason'], detail: string): Promise<void> {
    const { clock, emit, log } = this.#input
    this.#pause = { reason, since: clock.now(), detail }
    await this.#write([{ type: 'paused', reason, detail }])
    log.warn({ reason, detail }, 'run paused: nothing more is claimed')
    emit({ type: 'paused', pause: this.#pause })
  }

  async #recordStop(): Promise<void> {
    if (this.#pause === undefined) await this.#pauseFor('stopped', 'stopped on request; jobs canceled')
    if (this.#input.state.stop === undefined) await this.#write([{ type: 'stop', cancelJobs: true }])
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

  #tellStuck(): void {
    const { clock, emit, log, state } = this.#input
    const now = clock.monotonic()
    if (now - this.#lastStuck < STUCK_MS) return
    this.#lastStuck = now
    for (const stuck of this.#stuckNews.take(stuckJobs(state), now)) {
      log.warn({ ...stuck }, 'jobs wait for somebody, not for their turn')
      emit({ type: 'stuck', stuck })
    }
  }

  /** Until something happened, a lane is due, or the user says stop. */
  async #wait(): Promise<void> {
    const { clock, signal } = this.#input
    if (this.#isAwake) {
      this.#isAwake = false
      return
    }
    const ends = new AbortController()
    const stop = (): void => ends.abort()
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted === true) stop()
    this.#wakeUp = stop
    try {
      const limit = Math.min(REFRESH_MS, ...this.#lanes.map((lane) => lane.dueInMs()))
      await clock.sleep(Math.max(1, limit), { signal: ends.signal }).catch(() => undefined)
    } finally {
      this.#wakeUp = undefined
      this.#isAwake = false
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
    if (events.some(({ type }) => type === 'waiting')) this.#lastStuck = Number.NEGATIVE_INFINITY
  }
}

/** The site was reached, and its queue does not answer: as in the middle of a run. What is wrong on the way there is said at once. */
function isPatienceAsked(error: Error): boolean {
  return isCampaignError(error) && error.code === 'E_SCHEDULER_SILENT' && error.data['code'] === undefined
}
