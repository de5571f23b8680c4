import { hostname } from 'node:os'
import { isCampaignError, messageOf, SchedulerError } from '../errors.js'
import type { JobHandle } from '../model/job.js'
import type { RunPause } from '../model/run.js'
import type { AdoptedJob } from '../ports/scheduler.js'
import { makeWatch, placeOf, type RunContext, type SiteContext, type Watch } from './context.js'
import type { SiteLoad } from './deal-jobs.js'
import type { JobKey, RunJournalEvent } from './events.js'
import { FailureRow, failureSignature } from './failure-signature.js'
import { Homecoming, isSiteTrouble } from './homecoming.js'
import type { RunSite } from './run-site.js'
import { type Flight, goneItem } from './run-state.js'
import { Settling } from './settle.js'
import { Claiming, isSilence, itemLabel, sendJobs } from './submit.js'
import { type Judged, Watching } from './watch.js'

/** What a lane asks of the controller that drives all of them. */
export interface RunControl {
  /** Nothing stands against claiming more, as far as the whole run goes. */
  readonly mayClaim: boolean
  /** What is in flight is to be ended. */
  readonly mustCancel: boolean
  /** There are other sites. */
  readonly isShared: boolean
  /** How many jobs the lane may claim now. */
  shareOf(lane: SiteLane): number
  /** Throws StoreError `E_RUN_HELD` when another controller has this run now. */
  checkLease(): void
  /** The same failure, again and again, at this site. */
  breaks(lane: SiteLane, detail: string): Promise<void>
  /** Something happened: the loop looks at its lanes again. */
  wake(): void
}

/** Before more is tried of what was refused for good: soon, so that the breaker has its row, and not all at once. */
const KEPT_BACK_MS = 1000
/** Between two rounds of a lane in which nothing happens. */
const ROUND_MS = 500
/** Longer than the pause between two rounds of the others. */
const IDLE_MS = 2 * ROUND_MS
const MAX_BACKOFF_MS = 60_000
/** A site that wants a login is asked less often: each try may count as a failed one there. */
const MAX_LOGIN_BACKOFF_MS = 300_000
/** Between a change that a scheduler reports and the look at it: lets changes gather, the longer the more a look costs. */
const GATHER_MS = 15
const MAX_GATHER_MS = 500
const GATHER_PER_LOOK = 4
/** Before a scheduler that could not tell about changes is asked to tell again. */
const RELISTEN_MS = 1000
/** The same where it told of a change that was none of ours. */
const NO_NEWS_MS = 250

/**
 * One site of a run: settles, claims, submits, watches and brings home there, in rounds of its own, so that a site that is slow or silent
 * delays no other.
 */
export class SiteLane {
  readonly site: RunSite
  readonly settling: Settling
  readonly #context: SiteContext
  readonly #control: RunControl
  readonly #claiming: Claiming
  readonly #homecoming: Homecoming
  readonly #watching: Watching
  readonly #row = new FailureRow()
  readonly #leaving = new AbortController()
  #busy: Promise<void> | undefined
  #error: Error | undefined
  #adopted: { readonly watch: Watch; readonly submittedAt: number }[] = []
  #silence: { readonly since: number; reason: RunPause['reason']; tries: number; nextAt: number } | undefined
  #isBroken = false
  /** Jobs that are about to get their intents. */
  #claims = 0
  #pushedBackUntil = Number.NEGATIVE_INFINITY
  /** There was nothing for this site in what is to be done: until then the others get all of it. */
  #idleUntil = Number.NEGATIVE_INFINITY
  #pollMs = 0
  #nextLookAt = Number.NEGATIVE_INFINITY
  #lastRound = Number.NEGATIVE_INFINITY
  /** The last round moved something: the next one follows at once. */
  #again = false
  #hasChanged = false
  #gatherMs = GATHER_MS
  #listening: AbortController | undefined
  #relistenAt = Number.NEGATIVE_INFINITY
  #hasCanceled = false
  /** Jobs that ended of late; old ones fade. */
  #endedLately = 0

  constructor(run: RunContext, site: RunSite, control: RunControl, parts: Pick<SiteContext, 'siteMark' | 'othersCanDo' | 'isElsewhere'>) {
    this.site = site
    this.#control = control
    this.#context = { ...run, ...parts, site, watches: new Map(), signal: this.#leaving.signal }
    this.#claiming = new Claiming(this.#context)
    this.settling = new Settling(this.#context)
    this.#homecoming = new Homecoming(this.#context)
    this.#watching = new Watching(this.#context, this.#homecoming)
  }

  /** `undefined`: the site of everything that names none. */
  get mark(): string | undefined {
    return this.#context.siteMark
  }

  /** New work may come here, if not now then later. */
  get isWilling(): boolean {
    return this.site.takesWork && !this.#isBroken
  }

  /** Jobs that are about to get their intents. */
  get claims(): number {
    return this.#claims
  }

  /** True when the prepare stages of this item have not failed here. */
  canPrepare(item: Parameters<SiteContext['othersCanDo']>[0]): boolean {
    return this.site.planner.needsOf(item.combination).every((need) => this.#context.state.prepareState(need.key) !== 'failed')
  }

  load(): SiteLoad {
    const { state, watches, clock } = this.#context
    const takes = this.#takesNow && clock.monotonic() >= Math.max(this.#pushedBackUntil, this.#idleUntil)
    let running = 0
    for (const key of watches.keys()) if (state.flights.get(key)?.isRunning === true) running += 1
    return { takes, waiting: watches.size - running, running: running + Math.round(this.#endedLately) }
  }

  get #takesNow(): boolean {
    // What an earlier controller may have submitted is found out before anything new is claimed.
    return (
      this.isWilling && this.site.isOpen && this.#silence === undefined && this.settling.size === 0 && this.#claiming.unsent.length === 0
    )
  }

  /** A job that the journal knows to be in flight here is watched again; a submission without an answer is looked up. */
  adopt(flight: Flight): void {
    const watch = this.#watchOf(flight)
    this.#context.watches.set(flight.key, watch)
    this.#adopted.push({ watch, submittedAt: flight.submittedAt ?? flight.intentAt })
    if (flight.nativeId === undefined) this.settling.add(watch)
  }

  #watchOf(flight: Flight): Watch {
    const { state, directory, spec, site } = this.#context
    const { planner } = site
    const { key, attempt, nativeId } = flight
    const item = typeof key === 'number' ? state.items?.at(key) : goneItem(key)
    const tag = item === undefined ? planner.prepareTag(String(key), attempt) : planner.tagOf(item, attempt)
    return makeWatch(directory, {
      key,
      attempt,
      tag,
      site,
      path: item === undefined ? planner.prepareDirectory(String(key), attempt) : planner.directoryOf(item, attempt),
      label: item === undefined ? String(key).replace('prepare:', '') : itemLabel(item, spec.repetitions),
      handle: nativeId === undefined ? undefined : adoptedHandle(site, nativeId, tag),
      needs: item === undefined ? [] : planner.needsOf(item.combination).map((need) => need.key),
    })
  }

  /**
   * Opens the site.
   *
   * @returns what stands against it; the lane tries again by itself then
   * @throws what cannot be mended by waiting
   */
  async open(options: { readonly checkMachine: boolean }): Promise<Error | undefined> {
    try {
      await this.site.open({ signal: this.#leaving.signal })
    } catch (error) {
      if (!this.#leaving.signal.aborted && !isSilence(error) && !isSiteTrouble(error)) throw error
      return error as Error
    }
    this.#pollMs = this.site.timing.pollMs
    if (options.checkMachine) await this.#checkMachine()
    return undefined
  }

  /** The same inside the loop. What stands against it is told and tried again. */
  beginOpening(opening: Promise<Error | undefined>): void {
    this.#run(async () => {
      const trouble = await opening
      if (trouble !== undefined) throw trouble
      return true
    })
  }

  /**
   * From another machine the queue of a machine shows nothing: taken for an answer, jobs that run there would count as lost
   * and be run again.
   */
  async #checkMachine(): Promise<void> {
    const { state } = this.#context
    const { scheduler, name } = this.site
    if (scheduler.supports.thisMachineOnly !== true) return
    const here = hostname()
    const away: Flight[] = []
    for (const flight of state.flights.values()) {
      if (flight.host === here || flight.site !== this.mark) continue
      if ((await scheduler.exitRecord(placeOf(this.#watchOf(flight)))) === undefined) away.push(flight)
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
        data: { host: first.host, here, jobs: away.length, site: name },
      },
    )
  }

  /** Milliseconds until the next round; 0: now. */
  dueInMs(): number {
    if (this.#busy !== undefined) return Number.POSITIVE_INFINITY
    const now = this.#context.clock.monotonic()
    if (this.#silence !== undefined) return this.#hasChanged ? 0 : Math.max(0, this.#silence.nextAt - now)
    if (!this.site.isOpen || this.#again) return 0
    const look = this.#context.watches.size === 0 ? ROUND_MS : this.#hasChanged ? 0 : this.#nextLookAt - now
    const due = Math.min(
      this.#lastRound + ROUND_MS - now,
      look,
      this.settling.dueInMs() ?? ROUND_MS,
      this.#homecoming.dueInMs() ?? ROUND_MS,
    )
    return Math.max(0, due)
  }

  /** Begins a round; it goes on beside those of the other lanes. */
  begin(): void {
    this.#run(() => this.#round())
  }

  /** Throws what a round ended with that is more than silence. */
  check(): void {
    if (this.#error !== undefined) throw this.#error
  }

  /** Interrupts what may be interrupted, and waits for the rest. */
  async leave(): Promise<void> {
    this.#leaving.abort()
    this.#listening?.abort()
    await this.#busy
    await this.#homecoming.settled()
  }

  #run(round: () => Promise<boolean>): void {
    this.#again = false
    this.#busy = this.#guarded(round)
      .catch((error: Error) => {
        this.#error ??= error
      })
      .finally(() => {
        this.#busy = undefined
        this.#lastRound = this.#context.clock.monotonic()
        if (this.#error === undefined && !this.#leaving.signal.aborted) this.#listen()
        this.#control.wake()
      })
  }

  async #guarded(round: () => Promise<boolean>): Promise<void> {
    try {
      const moved = await round()
      if (this.#silence !== undefined && this.#context.clock.monotonic() >= this.#silence.nextAt) await this.#speaksAgain()
      this.#again = moved && this.#control.mayClaim && this.#takesNow && this.#control.shareOf(this) > 0
    } catch (error) {
      // Leaving is what interrupted it.
      if (this.#leaving.signal.aborted && !isStoreError(error)) return
      if (!isSilence(error) && !isSiteTrouble(error)) throw error
      await this.#isSilent(error)
    }
  }

  /** Opens, or settles, claims, sends, watches. Returns true when something moved. */
  async #round(): Promise<boolean> {
    if (!this.site.isOpen) {
      const trouble = await this.open({ checkMachine: !this.#control.mustCancel })
      if (trouble !== undefined) throw trouble
      return true
    }
    this.#tellAdopted()
    // Woken while the scheduler is silent: jobs have told themselves that they ended.
    const { clock } = this.#context
    const isNews = this.#silence !== undefined && clock.monotonic() < this.#silence.nextAt
    if (isNews) return await this.#judge(false)
    if (this.#control.mustCancel) await this.#cancelAll()
    await this.settling.settle()
    let moved = await this.#claim()
    moved = (await this.#send()) || moved
    return (await this.#judge(moved)) || moved
  }

  /** Fetches, looks, and judges. Returns true when a job came to its end. */
  async #judge(moved: boolean): Promise<boolean> {
    this.#homecoming.begin(() => this.#control.wake())
    const judged = [...(await this.#watching.takeHome()), ...(await this.#look(moved))]
    await this.#count(judged)
    return judged.length > 0
  }

  /** What jobs of an earlier controller leave in their directories is noticed as that of our own. */
  #tellAdopted(): void {
    const { scheduler } = this.site
    if (this.#adopted.length === 0) return
    const jobs = this.#adopted.flatMap(({ watch, submittedAt }): AdoptedJob[] =>
      watch.handle === undefined || watch.handle.nativeId === '' ? [] : [{ ...placeOf(watch), handle: { ...watch.handle }, submittedAt }],
    )
    this.#adopted = []
    scheduler.adopt?.(jobs)
  }

  async #claim(): Promise<boolean> {
    if (!this.#control.mayClaim || !this.#takesNow) return false
    const room = this.#control.shareOf(this)
    if (room <= 0) return false
    this.#claims = room
    try {
      const round = await this.#claiming.claim(room)
      for (const watch of round.uncertain) this.settling.add(watch)
      for (const detail of round.failures) await this.#failed(failureSignature('not-submitted', undefined, detail), detail)
      if (round.claimed === 0 && this.#control.isShared) this.#idleUntil = this.#context.clock.monotonic() + IDLE_MS
      return round.claimed > 0
    } finally {
      this.#claims = 0
    }
  }

  async #send(): Promise<boolean> {
    const { clock, log } = this.#context
    if (this.#claiming.unsent.length === 0 || clock.monotonic() < this.#pushedBackUntil || this.#control.mustCancel) return false
    this.#control.checkLease()
    const round = await sendJobs(this.#context, this.#claiming)
    for (const watch of round.uncertain) this.settling.add(watch)
    for (const detail of round.failures) await this.#failed(failureSignature('not-submitted', undefined, detail), detail)
    if (round.pushedBack !== undefined) {
      this.#pushedBackUntil = clock.monotonic() + Math.min(this.site.timing.pollMs * 2, MAX_BACKOFF_MS)
      log.info({ site: this.site.name, reason: round.pushedBack }, 'the scheduler takes no more jobs for now')
    } else if (round.isKeptBack) this.#pushedBackUntil = clock.monotonic() + Math.min(this.site.timing.pollMs, KEPT_BACK_MS)
    return round.sent > 0
  }

  get #pushes(): boolean {
    const { supports, changed } = this.site.scheduler
    return supports.push && changed !== undefined
  }

  async #look(moved: boolean): Promise<readonly Judged[]> {
    const { clock } = this.#context
    const { timing, scheduler } = this.site
    // Where it costs nothing each round looks; elsewhere the scheduler says when, or its interval does.
    const isFree = this.#pushes && scheduler.timing === undefined
    if (!isFree && !this.#hasChanged && clock.monotonic() < this.#nextLookAt) return []
    this.#hasChanged = false
    const began = clock.monotonic()
    const judged = await this.#watching.look()
    const took = clock.monotonic() - began
    if (!isFree) this.#gatherMs = Math.min(Math.max(GATHER_MS, took * GATHER_PER_LOOK), MAX_GATHER_MS)
    this.#pollMs = judged.length > 0 || moved ? timing.pollMs : Math.min(this.#pollMs * 1.2, timing.pollMaxMs)
    this.#nextLookAt = clock.monotonic() + this.#pollMs
    if (!isFree && judged.length === 0) this.#relistenAt = clock.monotonic() + NO_NEWS_MS
    return judged
  }

  async #count(judged: readonly Judged[]): Promise<void> {
    const { state, clock } = this.#context
    if (judged.length === 0) return
    this.#endedLately = this.#endedLately / 2 + judged.length
    this.#idleUntil = Number.NEGATIVE_INFINITY
    // There is room in the queue again.
    this.#pushedBackUntil = Math.min(this.#pushedBackUntil, clock.monotonic() + this.site.timing.pollMs / 4)
    for (const { event, signature, watch } of judged) {
      if (signature !== undefined) await this.#failed(signature, event.d)
      else if (event.o === 'succeeded') this.#row.succeeded()
      if (typeof watch.key === 'string' && state.prepareState(watch.key) === 'failed') await this.#cancelDependents(watch.key)
    }
  }

  async #failed(signature: string, detail: string): Promise<void> {
    const limit = this.#context.spec.breaker.identical
    const count = this.#row.failed(signature)
    if (limit === 0 || count < limit || this.#isBroken) return
    this.#isBroken = true
    // They would fail in the same way, one after the other.
    await this.#dropUnsent(`not submitted: ${count} failures before it were the same`)
    await this.#control.breaks(this, `${count} failures in a row were the same: ${detail}`)
  }

  /** Waits for the scheduler's word that something has changed. */
  #listen(): void {
    const { clock, watches } = this.#context
    if (this.#listening !== undefined || !this.site.isOpen || !this.#pushes || watches.size === this.#homecoming.size) return
    if (clock.monotonic() < this.#relistenAt) return
    // A scheduler that keeps its own rhythm hears of ended jobs also while its queue is silent; any other would only fail again.
    if (this.site.scheduler.timing === undefined && (this.#silence !== undefined || this.settling.size > 0)) return
    const listening = new AbortController()
    const { signal } = listening
    this.#listening = listening
    const told = this.site.scheduler.changed?.({ signal }).then(() => clock.sleep(this.#gatherMs, { signal }))
    told
      ?.catch(() => {
        this.#relistenAt = clock.monotonic() + RELISTEN_MS
      })
      .finally(() => {
        this.#listening = undefined
        if (signal.aborted) return
        this.#hasChanged = true
        this.#control.wake()
      })
  }

  async #isSilent(error: unknown): Promise<void> {
    const { clock, emit, log, write } = this.#context
    const now = clock.monotonic()
    const reason = reasonOf(error)
    const isNew = this.#silence?.reason !== reason
    this.#silence ??= { since: clock.now(), reason, tries: 0, nextAt: now }
    this.#silence.reason = reason
    this.#silence.tries += 1
    const isLogin = reason === 'login-needed'
    const base = (this.site.isOpen ? this.site.timing.pollMs : 1000) * (isLogin ? 4 : 1)
    const backoff = Math.min(base * 2 ** Math.min(this.#silence.tries, 10), isLogin ? MAX_LOGIN_BACKOFF_MS : MAX_BACKOFF_MS)
    this.#silence.nextAt = now + backoff * (0.75 + Math.random() / 2)
    if (!isNew) return
    const { name: site } = this.site
    const detail = this.#control.isShared ? `${site}: ${messageOf(error)}` : messageOf(error)
    log.warn(
      { site, error: messageOf(error) },
      isLogin ? 'login needed: waiting, nothing changes' : 'the scheduler is silent: waiting, nothing changes',
    )
    emit({ type: 'paused', pause: { reason, since: this.#silence.since, detail, site } })
    await write([{ type: 'paused', reason, detail, site }], { durable: false })
    // What was not sent can be done elsewhere.
    if (this.#control.isShared) await this.#dropUnsent(`${site} does not answer`)
  }

  async #speaksAgain(): Promise<void> {
    this.#silence = undefined
    this.#context.log.info({ site: this.site.name }, 'the scheduler answers again')
    await this.#context.write([{ type: 'unpaused', site: this.site.name }], { durable: false })
  }

  async #cancelAll(): Promise<void> {
    if (this.#hasCanceled) return
    await this.#dropUnsent('stopped before it was submitted')
    if (this.settling.size > 0) return
    const handles = handlesOf(this.#context.watches.values())
    if (handles.length > 0) await this.site.scheduler.cancel(handles)
    this.#hasCanceled = true
    this.#context.log.info({ site: this.site.name, jobs: handles.length }, 'jobs canceled on request')
  }

  /** Intents that were never sent: nothing ran. */
  async #dropUnsent(detail: string): Promise<void> {
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
        d: detail,
        again: true,
        void: true,
      }),
    )
    await this.#context.write(verdicts)
  }

  async #cancelDependents(prepare: JobKey): Promise<void> {
    const handles = handlesOf([...this.#context.watches.values()].filter((watch) => watch.needs.includes(String(prepare))))
    if (handles.length > 0) await this.site.scheduler.cancel(handles)
  }
}

/** The scheduler's name for itself is known once it is open. */
function adoptedHandle(site: RunSite, nativeId: string, tag: string): JobHandle {
  return {
    get scheduler() {
      return site.scheduler.name
    },
    nativeId,
    tag,
  }
}

/** Of jobs that the scheduler may still have. */
function handlesOf(watches: Iterable<Watch>): JobHandle[] {
  return [...watches].flatMap(({ handle, ended }) =>
    handle === undefined || handle.nativeId === '' || ended !== undefined ? [] : [handle],
  )
}

function reasonOf(error: unknown): RunPause['reason'] {
  if (!isCampaignError(error)) return 'scheduler-silent'
  const code = error.data['code']
  if (code === 'E_LOGIN_NEEDED' || code === 'E_LOGIN_REFUSED') return 'login-needed'
  return isCampaignError(error.cause) && error.cause.code === 'E_STORE_FULL' ? 'disk-full' : 'scheduler-silent'
}

function isStoreError(error: unknown): boolean {
  return isCampaignError(error) && (error.code.startsWith('E_STORE_') || error.code === 'E_RUN_HELD')
}
