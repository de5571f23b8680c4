import { canonicalJson, decodeCanonical, parseCanonicalJson } from '../canonical-json.js'
import type { WorkItem } from '../model/combination.js'
import type { JobOutcome } from '../model/job.js'
import type { ResultRecord } from '../model/result.js'
import type { ItemState, RunCounts, RunPause } from '../model/run.js'
import type { Space, SpaceDefinition } from '../model/space.js'
import type { StoredEvent } from '../ports/store.js'
import type { CampaignEvent, CollectedEvent, JobKey, RunJournalEvent, VerdictEvent } from './events.js'

/** An attempt with an intent and without a verdict. */
export interface Flight {
  readonly key: JobKey
  readonly attempt: number
  readonly intentAt: number
  /** Of the controller that submitted it. */
  readonly host: string
  /** Where it was given to a scheduler; `undefined`: {@link RunState.site}. */
  readonly site: string | undefined
  /** `undefined`: the intent is known, what became of the submission is not. */
  nativeId: string | undefined
  submittedAt: number | undefined
  isRunning: boolean
  /** Its end was asked for: then its work item goes back to the list. */
  isCanceled: boolean
  /** When it was first seen running. */
  startedAt: number | undefined
  /** Why it waits, and since when that is known. */
  waiting: WaitingSince | undefined
}

/** Why a job has not started. */
export interface Waiting {
  /** In the scheduler's words. */
  readonly words: string
  /** It waits for somebody, not for its turn. */
  readonly isStuck: boolean
  /** What somebody has to do about it. */
  readonly advice: string | undefined
}

export interface WaitingSince extends Waiting {
  readonly at: number
}

/** The last word about an item, and about each of its attempts when a history is kept. */
export interface Verdict {
  readonly attempt: number
  readonly outcome: JobOutcome | 'invalid'
  readonly detail: string
  readonly exitCode: number | undefined
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  readonly host: string | undefined
  /** In the encoding of canonical JSON, as the journal has them. */
  readonly values: Readonly<Record<string, unknown>> | undefined
  readonly at: number
}

/** One attempt of the history. */
export interface AttemptHistory {
  readonly attempt: number
  readonly intentAt: number
  readonly site: string | undefined
  nativeId: string | undefined
  submittedAt: number | undefined
  /** When it was first seen running. */
  startedAt: number | undefined
  waiting: WaitingSince | undefined
  verdict: Verdict | undefined
}

export type PrepareState = 'in-flight' | 'done' | 'failed' | 'todo'

const STATES = ['todo', 'submitted', 'running', 'done', 'failed', 'invalid'] as const satisfies readonly ItemState[]
const TODO = 0
const SUBMITTED = 1
const RUNNING = 2
const DONE = 3
const FAILED = 4
const INVALID = 5
/** Kept for `status`; the newest failures are searched among the last so many. */
const KEPT_FAILURES = 200

/** A work item that the sweep no longer has. One that was still to be done is kept for its attempt numbers: their directories exist. */
interface Orphan {
  readonly state: number
  readonly attempts: number
  /** Attempts among them that do not count against the retry policy. */
  readonly free: number
  readonly verdict: Verdict
}

export interface RunStateOptions {
  /** Keeps every attempt of every item, for `why`; off: only what a controller needs. */
  readonly history?: boolean
}

/**
 * The fold of a run's journal: where every work item stands. One byte and one small count per item; objects only for
 * attempts in flight and for verdicts.
 */
export class RunState {
  readonly #spaceFrom: (definition: SpaceDefinition) => Space<WorkItem>
  readonly #history: Map<JobKey, AttemptHistory[]> | undefined
  campaign: CampaignEvent | undefined
  /** Name that the campaign had first: tags are made of it, also after it was renamed. */
  tagName: string | undefined
  /** Where the jobs are of which nothing else is said; journals of older versions do not name it. */
  site: string | undefined
  /** The sites that the newest controller uses. */
  sites: readonly string[] = []
  items: Space<WorkItem> | undefined
  startedAt: number | undefined
  closedAt: number | undefined
  /** Sequence number of the newest controller's opening: an older controller must write nothing more. */
  openedSeq = 0
  isOpen = false
  /** Sites that stand still. */
  readonly sitePauses = new Map<string, RunPause>()
  /** The newest wish to stop that no controller has answered by opening or closing. */
  stop: { readonly cancelJobs: boolean; readonly seq: number } | undefined
  /** By key; also of prepare stages, and of items that the edited campaign no longer has. */
  readonly flights = new Map<JobKey, Flight>()
  readonly orphans = new Map<string, Orphan>()
  #states = new Uint8Array(0)
  #attempts = new Uint16Array(0)
  #counts = new Array<number>(STATES.length).fill(0)
  readonly #verdicts = new Map<JobKey, Verdict>()
  readonly #voided = new Map<JobKey, number>()
  /** Attempts before the last `retry` do not count against the policy. */
  readonly #forgiven = new Map<JobKey, number>()
  /** Attempts that got a second intent, to look for a job that was lost. */
  readonly #lookedFor = new Map<JobKey, number>()
  readonly #prepares = new Map<string, PrepareState>()
  readonly #prepareAttempts = new Map<string, number>()
  /** Prepare stages in flight that were edited since: what they make is of no use. */
  readonly #stale = new Set<JobKey>()
  /** Where the last attempt was made, when that is not {@link site}. */
  readonly #lastSites = new Map<JobKey, string>()
  #pause: RunPause | undefined
  /** Where the newest controller runs. */
  #host = ''
  #cursor = 0
  #again: number[] = []
  #failures: number[] = []

  constructor(spaceFrom: (definition: SpaceDefinition) => Space<WorkItem>, options: RunStateOptions = {}) {
    this.#spaceFrom = spaceFrom
    this.#history = options.history === true ? new Map() : undefined
  }

  /** To be registered with the store before it is opened. */
  readonly fold = (event: StoredEvent): void => {
    this.startedAt ??= event.at
    this.#apply(event as unknown as RunJournalEvent, event.seq, event.at)
  }

  /** Forgets everything: the journal follows again from its first event. */
  readonly reset = (): void => {
    this.campaign = undefined
    this.tagName = undefined
    this.items = undefined
    this.startedAt = undefined
    this.closedAt = undefined
    this.openedSeq = 0
    this.isOpen = false
    this.site = undefined
    this.sites = []
    this.#pause = undefined
    this.stop = undefined
    this.#stale.clear()
    this.sitePauses.clear()
    this.#states = new Uint8Array(0)
    this.#attempts = new Uint16Array(0)
    this.#counts = new Array<number>(STATES.length).fill(0)
    this.#cursor = 0
    this.#again = []
    this.#failures = []
    for (const map of [
      this.flights,
      this.orphans,
      this.#verdicts,
      this.#voided,
      this.#forgiven,
      this.#lookedFor,
      this.#lastSites,
      this.#prepares,
      this.#prepareAttempts,
    ]) {
      map.clear()
    }
    this.#history?.clear()
  }

  get size(): number {
    return this.#states.length
  }

  /** Why the run stands still: by a decision about all of it, or because none of its sites goes on. */
  get pause(): RunPause | undefined {
    if (this.#pause !== undefined) return this.#pause
    const [first] = this.sitePauses.values()
    return this.sites.every((name) => this.sitePauses.has(name)) ? first : undefined
  }

  stateOf(index: number): ItemState {
    return STATES[this.#states[index] ?? TODO] as ItemState
  }

  /** Highest attempt number of this item or prepare stage; 0 when it was never tried. */
  lastAttempt(key: JobKey): number {
    return typeof key === 'number' ? (this.#attempts[key] ?? 0) : (this.#prepareAttempts.get(key) ?? 0)
  }

  /** Attempts that count against the retry policy. */
  countedAttempts(key: JobKey): number {
    return this.lastAttempt(key) - this.#free(key)
  }

  #free(key: JobKey): number {
    return (this.#voided.get(key) ?? 0) + (this.#forgiven.get(key) ?? 0)
  }

  /** The last attempt, when it was given up as lost and nobody has looked for it since: its exit record may have come late. */
  lostAttempt(key: JobKey): number | undefined {
    const verdict = this.#verdicts.get(key)
    const isOpen = verdict?.outcome === 'lost' && verdict.attempt === this.lastAttempt(key) && this.#lookedFor.get(key) !== verdict.attempt
    return isOpen ? verdict.attempt : undefined
  }

  /** Where the last attempt was made; `undefined`: {@link site}. */
  siteOfLast(key: JobKey): string | undefined {
    return this.#lastSites.get(key)
  }

  verdictOf(key: JobKey): Verdict | undefined {
    return this.#verdicts.get(key)
  }

  historyOf(key: JobKey): readonly AttemptHistory[] {
    return this.#history?.get(key) ?? []
  }

  prepareState(name: string): PrepareState {
    return this.#prepares.get(name) ?? 'todo'
  }

  /** True for a prepare stage in flight that the campaign no longer asks for in this form: nothing may wait for it. */
  isStale(key: JobKey): boolean {
    return this.#stale.has(key)
  }

  counts(): RunCounts {
    const [todo = 0, submitted = 0, running = 0, done = 0, failed = 0, invalid = 0] = this.#counts
    let orphaned = 0
    for (const orphan of this.orphans.values()) if (orphan.state !== TODO) orphaned += 1
    return { total: this.size, todo, submitted, running, done, failed, invalid, orphaned }
  }

  /** Keys of the prepare stages that were tried, in order. */
  triedPrepares(): string[] {
    return [...this.#prepares.keys()]
  }

  /** Keys of the prepare stages that failed. */
  failedPrepares(): string[] {
    return [...this.#prepares].filter(([, state]) => state === 'failed').map(([key]) => key)
  }

  /** Work items in flight; prepare stages are not counted. */
  get itemsInFlight(): number {
    return (this.#counts[SUBMITTED] ?? 0) + (this.#counts[RUNNING] ?? 0)
  }

  get todo(): number {
    return this.#counts[TODO] ?? 0
  }

  /** The next work items to do, in order, at most `count`; those that `accept` refuses are looked at again next time. */
  nextTodo(count: number, accept: (index: number) => boolean = () => true): number[] {
    const taken: number[] = []
    const refused: number[] = []
    const again = this.#again
    this.#again = []
    for (const index of again) {
      if (this.#states[index] !== TODO) continue
      if (taken.length < count && accept(index)) taken.push(index)
      else refused.push(index)
    }
    while (taken.length < count && this.#cursor < this.#states.length) {
      const index = this.#cursor
      this.#cursor += 1
      if (this.#states[index] !== TODO) continue
      if (accept(index)) taken.push(index)
      else refused.push(index)
      // Work that waits for one slow prepare stage must not make us walk through the whole sweep.
      if (refused.length >= 1_000) break
    }
    this.#again = refused
    return taken
  }

  /** Gives back what {@link nextTodo} returned and nothing became of. */
  giveBack(indexes: readonly number[]): void {
    this.#again = [...indexes, ...this.#again]
  }

  /** The newest failed or invalid items first. */
  recentFailures(count: number): number[] {
    const seen = new Set<number>()
    for (let i = this.#failures.length - 1; i >= 0 && seen.size < count; i -= 1) {
      const index = this.#failures[i] as number
      const state = this.#states[index]
      if (state === FAILED || state === INVALID) seen.add(index)
    }
    return [...seen]
  }

  /** One record per work item that is done, in order of the sweep. */
  *records(idOf: (item: WorkItem) => string): IterableIterator<ResultRecord> {
    for (let index = 0; index < this.#states.length; index += 1) {
      if (this.#states[index] !== DONE) continue
      const verdict = this.#verdicts.get(index)
      const item = this.items?.at(index)
      if (verdict === undefined || item === undefined) continue
      yield {
        id: idOf(item),
        combination: item.combination,
        repetition: item.repetition,
        attempt: verdict.attempt,
        values: decodeCanonical(verdict.values ?? {}) as Record<string, unknown>,
        startedAt: verdict.startedAt,
        endedAt: verdict.endedAt,
        host: verdict.host,
      }
    }
  }

  #apply(event: RunJournalEvent, seq: number, at: number): void {
    switch (event.type) {
      case 'campaign':
        this.#setItems(event)
        break
      case 'opened':
        this.openedSeq = seq
        this.#host = event.host
        this.isOpen = true
        this.closedAt = undefined
        this.sites = event.sites ?? []
        this.#pause = undefined
        this.sitePauses.clear()
        this.stop = undefined
        break
      case 'closed':
        this.isOpen = false
        this.closedAt = at
        break
      case 'paused':
        if (event.site === undefined) this.#pause = { reason: event.reason, since: at, detail: event.detail }
        else this.sitePauses.set(event.site, { reason: event.reason, since: at, detail: event.detail, site: event.site })
        break
      case 'unpaused':
        if (event.site === undefined) this.#pause = undefined
        else this.sitePauses.delete(event.site)
        break
      case 'stop':
        this.stop = { cancelJobs: event.cancelJobs || (this.stop?.cancelJobs ?? false), seq }
        if (event.cancelJobs) for (const flight of this.flights.values()) flight.isCanceled = true
        break
      case 'intents':
        for (const [key, attempt] of event.jobs) this.#intend(key, attempt, at, event.site)
        break
      case 'submitted':
        for (const [key, attempt, nativeId] of event.jobs) {
          const flight = this.#flight(key, attempt)
          if (flight !== undefined) {
            flight.nativeId = nativeId
            flight.submittedAt = at
          }
          const history = this.#attempt(key, attempt)
          if (history !== undefined) Object.assign(history, { nativeId, submittedAt: at })
        }
        break
      case 'waiting':
        for (const [key, attempt] of event.jobs) {
          const waiting = { words: event.words, isStuck: event.stuck === true, advice: event.advice, at }
          const flight = this.#flight(key, attempt)
          if (flight !== undefined) {
            flight.waiting = waiting
            // One that had started is back in the queue.
            flight.isRunning = false
            flight.startedAt = undefined
            if (typeof key === 'number') this.#set(key, SUBMITTED)
          }
          const history = this.#attempt(key, attempt)
          if (history === undefined) continue
          history.waiting = waiting
          history.startedAt = undefined
        }
        break
      case 'started':
        for (const [key, attempt] of event.jobs) {
          const flight = this.#flight(key, attempt)
          if (flight === undefined) continue
          flight.isRunning = true
          flight.startedAt ??= at
          const history = this.#attempt(key, attempt)
          if (history !== undefined) history.startedAt ??= at
          if (typeof key === 'number') this.#set(key, RUNNING)
        }
        break
      case 'verdict':
        this.#judge(event, at)
        break
      case 'collected':
        this.#collected(event, at)
        break
      case 'retry':
        for (const key of event.keys) this.#retry(key)
        break
      default:
        // An event of a newer version or of a neighbour in the same journal.
        break
    }
  }

  #flight(key: JobKey, attempt: number): Flight | undefined {
    const flight = this.flights.get(key)
    return flight?.attempt === attempt ? flight : undefined
  }

  #attempt(key: JobKey, attempt: number): AttemptHistory | undefined {
    return this.#history?.get(key)?.find((one) => one.attempt === attempt)
  }

  #set(index: number, state: number): void {
    const before = this.#states[index] as number
    this.#counts[before] = (this.#counts[before] as number) - 1
    this.#counts[state] = (this.#counts[state] as number) + 1
    this.#states[index] = state
  }

  #intend(key: JobKey, attempt: number, at: number, site: string | undefined): void {
    // Numbers that were passed over belong to directories of a controller that ended before it could say so: nothing ran in them.
    const passed = attempt - this.lastAttempt(key) - 1
    if (passed < 0) this.#lookedFor.set(key, attempt)
    if (passed > 0) this.#voided.set(key, (this.#voided.get(key) ?? 0) + passed)
    this.flights.set(key, {
      key,
      attempt,
      intentAt: at,
      host: this.#host,
      site,
      nativeId: undefined,
      submittedAt: undefined,
      isRunning: false,
      isCanceled: false,
      startedAt: undefined,
      waiting: undefined,
    })
    if (site === undefined) this.#lastSites.delete(key)
    else this.#lastSites.set(key, site)
    if (typeof key === 'number') {
      this.#attempts[key] = attempt
      this.#set(key, SUBMITTED)
    } else {
      this.#prepareAttempts.set(key, attempt)
      this.#prepares.set(key, 'in-flight')
    }
    if (this.#history !== undefined) {
      const list = (this.#history.get(key) ?? []).filter((one) => one.attempt !== attempt)
      const nothing = { nativeId: undefined, submittedAt: undefined, startedAt: undefined, waiting: undefined, verdict: undefined }
      list.push({ attempt, intentAt: at, site, ...nothing })
      this.#history.set(key, list)
    }
  }

  #judge(event: VerdictEvent, at: number): void {
    const key = event.k
    if (this.#flight(key, event.a) === undefined) return
    const flight = this.flights.get(key)
    this.flights.delete(key)
    const verdict = verdictFrom(event, event.s ?? flight?.startedAt, at)
    this.#record(key, verdict)
    if (event.void === true) this.#voided.set(key, (this.#voided.get(key) ?? 0) + 1)
    const ok = event.o === 'succeeded'
    const gone = goneItem(key)
    if (gone !== undefined) {
      const state = event.again === true ? TODO : ok ? DONE : event.o === 'invalid' ? INVALID : FAILED
      this.orphans.set(canonicalJson(gone), { state, attempts: event.a, free: this.#free(key), verdict })
      this.#voided.delete(key)
      this.#forgiven.delete(key)
      return
    }
    if (typeof key === 'string') {
      const isStale = this.#stale.delete(key)
      this.#prepares.set(key, event.again === true || isStale ? 'todo' : ok ? 'done' : 'failed')
      return
    }
    if (event.again === true) {
      this.#set(key, TODO)
      this.#comeBackTo(key)
      return
    }
    this.#end(key, ok ? DONE : event.o === 'invalid' ? INVALID : FAILED)
  }

  #record(key: JobKey, verdict: Verdict): void {
    const history = this.#attempt(key, verdict.attempt)
    if (history !== undefined) history.verdict = verdict
    this.#verdicts.set(key, verdict)
  }

  #end(index: number, state: number): void {
    this.#set(index, state)
    if (state === DONE) return
    this.#failures.push(index)
    if (this.#failures.length > 2 * KEPT_FAILURES) this.#failures = this.#failures.slice(-KEPT_FAILURES)
  }

  #collected(event: CollectedEvent, at: number): void {
    const state = this.#states[event.k]
    if ((state !== DONE && state !== FAILED && state !== INVALID) || event.a > this.lastAttempt(event.k)) return
    this.#record(event.k, verdictFrom(event, event.s, at))
    this.#end(event.k, event.o === 'succeeded' ? DONE : INVALID)
  }

  #retry(key: JobKey): void {
    if (typeof key === 'string') {
      if (this.#prepares.get(key) === 'failed') this.#prepares.set(key, 'todo')
      return
    }
    const state = this.#states[key]
    if (state !== FAILED && state !== INVALID && state !== DONE) return
    this.#forgiven.set(key, (this.#forgiven.get(key) ?? 0) + this.countedAttempts(key))
    this.#set(key, TODO)
    this.#comeBackTo(key)
  }

  /** What the cursor has yet to reach is found there; listed too, it would be given out twice. */
  #comeBackTo(index: number): void {
    if (index < this.#cursor) this.#again.push(index)
  }

  /** Takes over what is known about items of the former sweep; finished ones that are no longer asked for are kept aside. */
  #setItems(event: CampaignEvent): void {
    const before = this.items
    const isSame = before !== undefined && canonicalJson(before.definition) === canonicalJson(event.definition)
    if (this.campaign !== undefined && changesPrepare(this.campaign.fingerprint, event.fingerprint)) {
      for (const [key, state] of this.#prepares) {
        if (state === 'in-flight') this.#stale.add(key)
        else this.#prepares.set(key, 'todo')
      }
    }
    this.campaign = event
    this.site ??= event.site
    this.tagName ??= event.name
    if (isSame) return
    const items = this.#spaceFrom(event.definition)
    const states = new Uint8Array(items.size)
    const attempts = new Uint16Array(items.size)
    const counts = new Array<number>(STATES.length).fill(0)
    counts[TODO] = items.size
    const moved = new Map<number, number>()
    const place = (index: number, state: number, tried: number): void => {
      states[index] = state
      attempts[index] = tried
      counts[TODO] = (counts[TODO] as number) - 1
      counts[state] = (counts[state] as number) + 1
    }
    const verdicts = new Map<number, Verdict>()
    const freed = new Map<JobKey, number>()
    for (let old = 0; old < this.#states.length; old += 1) {
      const state = this.#states[old] as number
      const tried = this.#attempts[old] as number
      if (tried === 0) continue
      const item = (before as Space<WorkItem>).at(old)
      const index = items.indexOf(item)
      const verdict = this.#verdicts.get(old)
      if (index >= 0) {
        moved.set(old, index)
        place(index, state, tried)
        if (verdict !== undefined) verdicts.set(index, verdict)
      } else if (verdict !== undefined && !this.flights.has(old)) {
        this.orphans.set(canonicalJson(item), { state, attempts: tried, free: this.#free(old), verdict })
      }
    }
    for (const [key, orphan] of this.orphans) {
      const index = items.indexOf(parseCanonicalJson(key) as WorkItem)
      if (index < 0 || attempts[index] !== 0) continue
      this.orphans.delete(key)
      place(index, orphan.state, orphan.attempts)
      verdicts.set(index, orphan.verdict)
      freed.set(index, orphan.free)
    }
    const flights = [...this.flights.values()].map((flight) => ({ flight, free: this.#free(flight.key) }))
    this.items = items
    this.#states = states
    this.#attempts = attempts
    this.#counts = counts
    rekey(this.#verdicts, moved, verdicts)
    rekey(this.#voided, moved)
    rekey(this.#forgiven, moved)
    rekey(this.#lookedFor, moved)
    rekey(this.#lastSites, moved)
    if (this.#history !== undefined) rekey(this.#history, moved)
    this.flights.clear()
    for (const { flight, free } of flights) {
      let key = typeof flight.key === 'string' ? flight.key : (moved.get(flight.key) ?? goneKey((before as Space<WorkItem>).at(flight.key)))
      const gone = goneItem(key)
      const index = gone === undefined ? -1 : items.indexOf(gone)
      if (index >= 0 && attempts[index] === 0) {
        place(index, flight.isRunning ? RUNNING : SUBMITTED, flight.attempt)
        key = index
      }
      this.flights.set(key, { ...flight, key })
      if (key === flight.key || moved.get(flight.key as number) === key) continue
      freed.set(key, free)
      if (typeof flight.key === 'string') this.#voided.delete(flight.key)
    }
    for (const [key, free] of freed) if (free > 0) this.#voided.set(key, free)
    this.#failures = this.#failures.flatMap((index) => moved.get(index) ?? [])
    this.#cursor = 0
    this.#again = []
  }
}

function verdictFrom(event: VerdictEvent | CollectedEvent, startedAt: number | undefined, at: number): Verdict {
  return {
    attempt: event.a,
    outcome: event.o,
    detail: event.d,
    exitCode: event.x,
    startedAt,
    endedAt: event.e,
    host: event.h,
    values: event.v,
    at,
  }
}

/** What a prepare stage made is of no use when its command changed, or a file that it may have used. */
function changesPrepare(before: CampaignEvent['fingerprint'], after: CampaignEvent['fingerprint']): boolean {
  const parts = Object.keys({ ...before, ...after }).filter((part) => part === 'prepare' || part.startsWith('file '))
  return parts.some((part) => before[part] !== after[part])
}

const GONE = 'gone:'

/** The key of a job whose work item the edited campaign no longer asks for. */
function goneKey(item: WorkItem): string {
  return GONE + canonicalJson(item)
}

/** The work item of such a key; `undefined` for any other. */
export function goneItem(key: JobKey): WorkItem | undefined {
  return typeof key === 'string' && key.startsWith(GONE) ? (parseCanonicalJson(key.slice(GONE.length)) as WorkItem) : undefined
}

/** Moves number keys as the sweep moved; `given` replaces the moved values. Names stay. */
function rekey<V>(map: Map<JobKey, V>, moved: ReadonlyMap<number, number>, given?: ReadonlyMap<number, V>): void {
  const entries = [...map]
  map.clear()
  for (const [key, value] of entries) {
    if (typeof key === 'string') map.set(key, value)
    else if (given === undefined) {
      const index = moved.get(key)
      if (index !== undefined) map.set(index, value)
    }
  }
  if (given !== undefined) for (const [index, value] of given) map.set(index, value)
}
