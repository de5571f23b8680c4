import { join } from 'node:path'
import { canonicalJson } from '../canonical-json.js'
import { ConfigError, isCampaignError, StoreError } from '../errors.js'
import type { Space, SpaceDefinition } from '../model/space.js'
import type { Decision, Store, StoreEvent } from '../ports/store.js'
import type { Claim, NextOptions, Sweeper, SweepStats } from '../ports/sweeper.js'
import { thisProcess } from '../util/process-identity.js'
import { Heartbeat, isGone, makeWorkerId } from './heartbeat.js'
import { encodeIndexes } from './index-ranges.js'
import { JournalClaim } from './journal-claim.js'
import { describeDifference, type SpaceDifference } from './space-difference.js'
import { spaceFromDefinition } from './space-json.js'
import { SpaceSources } from './space-source.js'
import { SWEEP_PREFIX, type SweepEvent } from './sweep-events.js'
import { type ClaimEntry, ITEM_STATES, type SweepItemState, SweepState } from './sweep-state.js'

export interface JournalSweeperOptions<T> {
  /** Makes a space again from the journal. Default `spaceFromDefinition`, which knows every kind that `sweep` makes. */
  readonly openSpace?: (definition: SpaceDefinition) => Space<T>
  /** The folder of the journal, for signs of life and for definitions too long for a line. Without it, workers on other hosts never expire. */
  readonly directory?: string
  /** How long a worker on another host may be silent before its claims are free. Default 60 s. */
  readonly leaseMs?: number
  /**
   * What becomes of the claims of a process that is gone. `expire` (default): they are free for whoever needs work.
   * `keep`: they stay until {@link JournalSweeper.adoptClaims}, because their jobs may still run.
   */
  readonly deadClaims?: 'expire' | 'keep'
}

/** One line of {@link JournalSweeper.items}. */
export interface SweepItem<T> {
  readonly item: T
  readonly index: number
  readonly state: SweepItemState
  /** Why it was skipped or has failed. */
  readonly reason: string | undefined
}

/** Filtered candidates beyond those asked for: others may take some before we have the lock. */
const SPARE = 32

/**
 * A sweep over the items of a space whose progress stands in a journal, beside other events or alone. Any number of
 * processes may share it.
 *
 * @remarks Make it before the store is opened, so that it sees the journal from its first event; then call {@link open}.
 */
export class JournalSweeper<T> implements Sweeper<T> {
  readonly #store: Store
  readonly #options: JournalSweeperOptions<T>
  readonly #space: Space<T> | undefined
  readonly #sources: SpaceSources<T>
  readonly #state: SweepState<T>
  readonly #heartbeats: string | undefined
  readonly #leaseMs: number
  #worker = makeWorkerId()
  #heartbeat: Heartbeat | undefined

  constructor(store: Store, space?: Space<T>, options: JournalSweeperOptions<T> = {}) {
    this.#store = store
    this.#space = space
    this.#options = options
    this.#leaseMs = options.leaseMs ?? 60_000
    const make = options.openSpace ?? ((definition) => spaceFromDefinition<T>(definition))
    this.#sources = new SpaceSources(options.directory, make)
    if (space !== undefined) this.#sources.hashOf(space)
    const { directory, deadClaims } = options
    this.#heartbeats = directory === undefined || deadClaims === 'keep' ? undefined : join(directory, 'workers')
    const state = new SweepState<T>((source) => this.#sources.open(source))
    this.#state = state
    const fold = (event: StoreEvent): void => {
      if (event.type.startsWith(SWEEP_PREFIX)) state.apply(event as unknown as SweepEvent)
    }
    store.fold(fold, { name: 'sweep', reset: () => state.reset(), save: () => state.save(), load: (saved) => state.load(saved) })
  }

  /**
   * Makes the journal's sweep the space given to the constructor, if it is not so already. Call it when the store is open.
   *
   * @returns what changed; undefined when no space was given
   * @throws ConfigError `E_NOT_FOUND` when there is no space, neither given nor in the journal
   */
  async open(): Promise<SpaceDifference<T> | undefined> {
    const difference = this.#space === undefined ? undefined : await this.setSweeps(this.#space)
    this.#present()
    return difference
  }

  /** The present items. */
  get space(): Space<T> {
    return this.#present().space
  }

  /** Name of this worker in the journal. */
  get worker(): string {
    return this.#worker
  }

  stats(): SweepStats {
    return this.#state.stats()
  }

  /** Shows what other processes have done since. */
  refresh(): Promise<void> {
    return this.#store.refresh()
  }

  async next(options?: NextOptions<T>): Promise<Claim<T> | undefined> {
    const [claim] = await this.nextBatch(1, options)
    return claim
  }

  /** The first items in order, at most `count`; fewer when fewer are free. They are claimed in one step. */
  async nextBatch(count: number, options: NextOptions<T> = {}): Promise<readonly Claim<T>[]> {
    if (!Number.isSafeInteger(count) || count < 0) throw new ConfigError('E_ARGUMENT', `a batch has 0, 1, 2… items, not ${count}`)
    if (count === 0) return []
    this.#present()
    this.#beat()
    const claims = await this.#take(count, options)
    if (claims.length === count || this.#options.deadClaims === 'keep') return claims
    if (!(await this.#expireDead(options.signal))) return claims
    return [...claims, ...(await this.#take(count - claims.length, options))]
  }

  #take(count: number, options: NextOptions<T>): Promise<readonly Claim<T>[]> {
    if (options.filter !== undefined) return this.#takeFiltered(count, options.filter, options.signal)
    return this.#store.transact(() => this.#claim(this.#state.firstTodo(count)), { durable: false, signal: options.signal })
  }

  /** The filter is the user's code: it runs without the lock, and what it chose is looked at again under the lock. */
  async #takeFiltered(count: number, filter: (item: T) => boolean, signal: AbortSignal | undefined): Promise<readonly Claim<T>[]> {
    await this.#store.refresh()
    for (;;) {
      const { returns } = this.#state
      const { space, number } = this.#present()
      const chosen: number[] = []
      for (const index of this.#state.inState('todo')) {
        if (chosen.length >= count + SPARE) break
        if (filter(space.at(index))) chosen.push(index)
      }
      const decide = (): Decision<readonly Claim<T>[] | undefined> => {
        if (this.#present().number !== number) return { events: [], value: undefined }
        const free = chosen.filter((index) => this.#state.stateOf(index) === 'todo').slice(0, count)
        const complete = free.length === count || (chosen.length < count + SPARE && this.#state.returns === returns)
        return free.length === 0 && !complete ? { events: [], value: undefined } : this.#claim(free)
      }
      const claims = await this.#store.transact(decide, { durable: false, signal })
      if (claims !== undefined) return claims
    }
  }

  /** Part of a decision. */
  #claim(indexes: readonly number[]): Decision<readonly Claim<T>[]> {
    if (indexes.length === 0) return { events: [], value: [] }
    const { space, number: g } = this.#present()
    const first = this.#state.nextToken
    const value = indexes.map((index, i) => this.#makeClaim(space.at(index), index, first + i))
    return { events: [...this.#introduction(), { type: 'sweep.claim', w: this.#worker, t: first, g, i: encodeIndexes(indexes) }], value }
  }

  #makeClaim(item: T, index: number, token: number): Claim<T> {
    return new JournalClaim(item, index, token, (state, reason) => this.#finish(token, item, state, reason))
  }

  /** The first event of a worker says who it is. */
  #introduction(): readonly StoreEvent[] {
    return this.#state.workers.has(this.#worker) ? [] : [{ type: 'sweep.worker', w: this.#worker, ...thisProcess() }]
  }

  #finish(token: number, item: T, state: FinalState, reason: string | undefined): Promise<void> {
    const decide = (): Decision<void> => {
      const claim = this.#state.claims.get(token)
      if (claim === undefined) throw this.#lost(item, token)
      return { events: [this.#eventFor(state, [claim.index], reason, claim)], value: undefined }
    }
    return this.#store.transact(decide, { durable: state !== 'todo' })
  }

  /** Ends several claims in one step; all of them, or none when one is lost. */
  async finishAll(claims: readonly Claim<T>[], state: 'done' | 'skipped' | 'failed', reason?: string): Promise<void> {
    await this.#store.transact(() => {
      const entries = claims.map(({ token, item }) => {
        const entry = this.#state.claims.get(token)
        if (entry === undefined) throw this.#lost(item, token)
        return entry
      })
      const events = byGeneration(entries).map((group) =>
        this.#eventFor(
          state,
          group.map(({ index }) => index),
          reason,
          group[0],
        ),
      )
      return { events, value: undefined }
    })
    for (const claim of claims) if (claim instanceof JournalClaim) claim.settled = true
  }

  #eventFor(state: FinalState, indexes: readonly number[], reason: string | undefined, claim?: ClaimEntry<T>): StoreEvent {
    const { number: g } = claim?.generation ?? this.#present()
    return { type: EVENT_OF[state], g, i: encodeIndexes(indexes), ...(reason === undefined ? {} : { reason }) }
  }

  #lost(item: T, token: number): StoreError {
    const index = this.#present().space.indexOf(item)
    const holder = this.#state.workers.get(this.#state.claimOf(index)?.worker ?? '')?.identity
    const now = holder === undefined ? `it is ${this.#state.stateOf(index)} now` : `process ${holder.pid} on ${holder.host} has it now`
    return new StoreError('E_CLAIM_LOST', `the claim of ${labelOf(item)} is not valid any more: ${now}`, {
      suggestions: ['Drop the result of this try: another worker does this combination, or it was reset or given back'],
      data: { token, index },
    })
  }

  /**
   * Sets the state of items, whether they were claimed or not. What is so already stays as it is; what is done stays done
   * until {@link JournalSweeper.reset}, so that a worker whose claim expired cannot undo the work of the next one.
   *
   * @throws ConfigError `E_NOT_FOUND` for an item that the sweep does not have; StoreError `E_CLAIM_LOST` when another
   * worker holds one of them or one is done. Then nothing is changed.
   */
  async mark(items: readonly T[], state: FinalState, reason?: string): Promise<void> {
    const decide = (): Decision<void> => {
      const { space, reasons } = this.#present()
      const indexes = new Set<number>()
      for (const item of items) {
        const index = space.indexOf(item)
        if (index < 0) throw new ConfigError('E_NOT_FOUND', `${labelOf(item)} is not in this sweep of ${space.size}`)
        const claim = this.#state.claimOf(index)
        if (claim !== undefined && claim.worker !== this.#worker) throw this.#lost(item, claim.token)
        if (this.#state.stateOf(index) === 'done' && state !== 'done') throw this.#lost(item, claim?.token ?? 0)
        if (this.#state.stateOf(index) !== state || reasons.get(index) !== reason) indexes.add(index)
      }
      if (indexes.size === 0) return { events: [], value: undefined }
      return {
        events: [
          this.#eventFor(
            state,
            [...indexes].sort((a, b) => a - b),
            reason,
          ),
        ],
        value: undefined,
      }
    }
    await this.#store.transact(decide)
  }

  /** Items in these states are to be done again. `claimed` takes claims away from workers, also from living ones. */
  async reset({
    states = ['skipped', 'failed'],
  }: {
    readonly states?: readonly SweepItemState[]
  } = {}): Promise<{ readonly count: number }> {
    const unknown = states.find((state) => !ITEM_STATES.includes(state))
    if (unknown !== undefined) {
      throw new ConfigError('E_ARGUMENT', `there is no state "${String(unknown)}" to reset`, {
        suggestions: [`Use ${ITEM_STATES.slice(1).join(', ')}`],
      })
    }
    return this.#store.transact(() => {
      const stats: Readonly<Record<string, number>> = { ...this.#state.stats(), todo: 0 }
      const count = [...new Set(states)].reduce((sum, state) => sum + (stats[state] ?? 0), 0)
      return { events: count === 0 ? [] : [{ type: 'sweep.reset', g: this.#present().number, states: [...states] }], value: { count } }
    })
  }

  /**
   * Makes the sweep another space. Items of both keep their state and their claims; what was finished and is not in the new
   * one is kept as orphaned, and counts again when a later space has it.
   *
   * @param apply - false only says what would change. Default true
   */
  async setSweeps(space: Space<T>, { apply = true }: { readonly apply?: boolean } = {}): Promise<SpaceDifference<T>> {
    const hash = this.#sources.hashOf(space)
    await this.#store.refresh()
    this.#check()
    if (this.#state.present?.source.hash === hash) return describeDifference(this.#state, this.#state.present.space, false)
    if (!apply) return describeDifference(this.#state, space, false)
    const source = this.#sources.publish(space)
    return this.#store.transact(() => {
      const { present } = this.#state
      const applied = present?.source.hash !== hash
      const value = describeDifference(this.#state, space, applied)
      const g = (present?.number ?? 0) + 1
      return { events: applied ? [{ type: 'sweep.space', g, size: space.size, ...source }] : [], value }
    })
  }

  /** False when the claim was ended, or lost, as far as this process has seen. */
  holds(claim: Claim<T>): boolean {
    return this.#state.claims.has(claim.token)
  }

  /** Claims that somebody holds, this worker's own included. */
  listClaims(): readonly { readonly item: T; readonly index: number; readonly token: number; readonly worker: string }[] {
    const present = this.#state.present
    return [...this.#state.claims.values()].map(({ token, worker, generation, index }) => ({
      item: generation.space.at(index),
      index: generation === present ? index : -1,
      token,
      worker,
    }))
  }

  /**
   * Takes over every claim that is not this worker's, with new tokens; the former holder can say nothing more about them.
   * For a controller that knows that it is the only one (it has the lease of the run) and looks after the jobs of its
   * predecessor. `index` is -1 for items that the sweep no longer has.
   */
  adoptClaims(): Promise<readonly Claim<T>[]> {
    this.#beat()
    return this.#store.transact(() => {
      const foreign = [...this.#state.claims.values()].filter(({ worker }) => worker !== this.#worker)
      if (foreign.length === 0) return { events: [], value: [] }
      const events: StoreEvent[] = [...this.#introduction()]
      const value: Claim<T>[] = []
      let token = this.#state.nextToken
      for (const group of byGeneration(foreign)) {
        const { generation } = group[0]!
        const isPresent = generation === this.#state.present
        const i = encodeIndexes(group.map(({ index }) => index))
        events.push({ type: 'sweep.adopt', w: this.#worker, t: token, g: generation.number, i })
        for (const { index } of group) value.push(this.#makeClaim(generation.space.at(index), isPresent ? index : -1, token++))
      }
      return { events, value }
    })
  }

  /** Items of the sweep in one state, or all, in order. Made while they are asked for. */
  *items(state?: SweepItemState): Generator<SweepItem<T>, void, undefined> {
    const { space, reasons } = this.#present()
    if (state === undefined) {
      for (let index = 0; index < space.size; index++) {
        yield { item: space.at(index), index, state: this.#state.stateOf(index), reason: reasons.get(index) }
      }
      return
    }
    for (const index of this.#state.inState(state)) yield { item: space.at(index), index, state, reason: reasons.get(index) }
  }

  /** What is known of one item; undefined when the sweep does not have it. */
  find(item: T): SweepItem<T> | undefined {
    const { space, reasons } = this.#present()
    const index = space.indexOf(item)
    return index < 0 ? undefined : { item: space.at(index), index, state: this.#state.stateOf(index), reason: reasons.get(index) }
  }

  /** Finished items that the present sweep does not have. */
  orphans(): Iterable<{ readonly item: T; readonly state: SweepItemState }> {
    return this.#state.orphans()
  }

  /** Gives back what this worker still holds, unless claims are kept. Does not close the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    const heartbeat = this.#heartbeat
    this.#heartbeat = undefined
    try {
      if (this.#options.deadClaims !== 'keep' && this.#state.workers.has(this.#worker)) {
        await this.#store.append([{ type: 'sweep.leave', w: this.#worker }], { durable: false })
      }
    } catch (error) {
      // on a full disk: without its sign of life the worker counts as gone, and the claims are free all the same
      if (!isCampaignError(error)) throw error
    } finally {
      await heartbeat?.remove()
      this.#worker = makeWorkerId()
    }
  }

  /** Frees the claims of workers that are gone. False when there was none. */
  async #expireDead(signal: AbortSignal | undefined): Promise<boolean> {
    const now = (): number | undefined => this.#heartbeat?.touch()
    const gone = [...this.#state.workers.values()].filter(
      ({ id, identity, tokens }) => id !== this.#worker && tokens.size > 0 && isGone(id, identity, this.#heartbeats, now, this.#leaseMs),
    )
    if (gone.length === 0) return false
    return this.#store.transact(
      () => {
        const events: StoreEvent[] = []
        for (const { id } of gone) {
          const claims = [...(this.#state.workers.get(id)?.tokens ?? [])].flatMap((token) => this.#state.claims.get(token) ?? [])
          for (const group of byGeneration(claims)) {
            const { type, ...fields } = this.#eventFor(
              'todo',
              group.map(({ index }) => index),
              undefined,
              group[0],
            )
            events.push({ ...fields, type: type === 'sweep.cancel' ? 'sweep.expire' : type, w: id })
          }
        }
        return { events, value: events.length > 0 }
      },
      { durable: false, signal },
    )
  }

  #beat(): void {
    if (this.#heartbeats === undefined || this.#heartbeat !== undefined) return
    const worker = this.#worker
    const onLost = (): void => {
      if (this.#worker !== worker) return
      // others may take its claims from now on; what we claim next is somebody new's
      this.#heartbeat = undefined
      this.#worker = makeWorkerId()
    }
    try {
      this.#heartbeat = new Heartbeat(this.#heartbeats, worker, this.#leaseMs, onLost)
    } catch (cause) {
      const code = (cause as { code?: string }).code ?? ''
      const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)
      throw new StoreError(full ? 'E_STORE_FULL' : 'E_STORE_IO', `write a sign of life to ${this.#heartbeats}: ${code}`, { cause })
    }
  }

  #check(): void {
    const { problem } = this.#state
    if (problem === undefined) return
    if (isCampaignError(problem)) throw problem
    throw new StoreError('E_JOURNAL_DAMAGED', 'the sweep of this journal cannot be made again', { cause: problem })
  }

  #present(): NonNullable<SweepState<T>['present']> {
    this.#check()
    const { present } = this.#state
    if (present !== undefined) return present
    throw new ConfigError('E_NOT_FOUND', 'there is no sweep in this journal yet', {
      suggestions: ['Give the factors or combinations to sweep'],
    })
  }
}

type FinalState = 'todo' | 'done' | 'skipped' | 'failed'

const EVENT_OF = { todo: 'sweep.cancel', done: 'sweep.done', skipped: 'sweep.skip', failed: 'sweep.fail' } as const

/** Groups of one generation, each in order of position. */
function byGeneration<T>(claims: readonly ClaimEntry<T>[]): readonly ClaimEntry<T>[][] {
  const groups = new Map<unknown, ClaimEntry<T>[]>()
  for (const claim of claims) {
    const group = groups.get(claim.generation)
    if (group === undefined) groups.set(claim.generation, [claim])
    else group.push(claim)
  }
  return [...groups.values()].map((group) => group.sort((a, b) => a.index - b.index))
}

function labelOf(item: unknown): string {
  const text = canonicalJson(item)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

export type { SpaceDifference } from './space-difference.js'
export type { SweepItemState } from './sweep-state.js'
