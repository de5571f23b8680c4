import { canonicalJson } from '../canonical-json.js'
import { ConfigError } from '../errors.js'
import type { Combination } from '../model/combination.js'
import type { Space } from '../model/space.js'
import type { SweepStats } from '../ports/sweeper.js'
import { JournalStore } from '../store/journal-store.js'
import { JournalSweeper, type SpaceDifference, type SweepItemState } from '../sweep/journal-sweeper.js'
import { listSpace } from '../sweep/list-space.js'

export interface ParamSweeperOptions {
  /** How long a process on another host may be silent before its combinations go to others. Default 60 s. */
  readonly leaseMs?: number
  /** How long to wait for others who write. Default 60 s. */
  readonly lockTimeoutMs?: number
}

export interface GetNextOptions<C> {
  /** Takes the first combination in order for which this is true. */
  readonly filter?: (combination: C) => boolean
  readonly signal?: AbortSignal | undefined
}

/** A space as `sweep` makes it, or the combinations themselves. */
export type Sweeps<C> = Space<C> | readonly C[]

/** Counts of one level of one factor; they add up to `total`. */
export type LevelStats = Omit<SweepStats, 'orphaned'>

/**
 * A persistent to-do list over combinations, in a folder that several processes on several hosts may share: each combination
 * is given to one of them, and comes back when that one dies.
 *
 * ```ts
 * const sweeper = new ParamSweeper('scaling', sweep({ cores: igeom(1, 16, 5), solver: ['cg', 'lu'] }))
 * for await (const combination of sweeper) {
 *   await measure(combination)
 *   await sweeper.done(combination)
 * }
 * ```
 *
 * @remarks Nothing is opened before the first call. Without `sweeps` the folder's own are used; with other sweeps than the
 * folder's, the difference is applied: what both have keeps its state, what is done is never forgotten. Items may be any
 * JSON values; two are the same when their canonical JSON is.
 */
export class ParamSweeper<C = Combination> implements AsyncDisposable, AsyncIterable<C> {
  readonly directory: string
  readonly #options: ParamSweeperOptions
  readonly #sweeps: Sweeps<C> | undefined
  #opened: Promise<Opened<C>> | undefined

  constructor(directory: string, sweeps?: Sweeps<C>, options: ParamSweeperOptions = {}) {
    this.directory = directory
    this.#sweeps = sweeps
    this.#options = options
  }

  /** Opens the folder now, to see errors early. Every other method does it when needed. */
  async open(): Promise<void> {
    await this.#open()
  }

  /** Claims a combination; undefined when none is free, which may change while others still hold some. */
  async getNext(options: GetNextOptions<C> = {}): Promise<C | undefined> {
    const [combination] = await this.getNextBatch(1, options)
    return combination
  }

  /** Claims up to `count` combinations in one step. */
  async getNextBatch(count: number, options: GetNextOptions<C> = {}): Promise<readonly C[]> {
    const { sweeper } = await this.#open()
    return (await sweeper.nextBatch(count, options)).map(({ item }) => item)
  }

  /**
   * Resolves when it is on the disk that these are done.
   *
   * @throws StoreError `E_CLAIM_LOST` when another worker holds one of them; ConfigError `E_NOT_FOUND`
   */
  async done(combinations: C | readonly C[]): Promise<void> {
    const { sweeper } = await this.#open()
    await sweeper.mark(asList(sweeper, combinations), 'done')
  }

  /** Not to be done, in this run and the next ones, until `reset`. */
  async skip(combinations: C | readonly C[], reason = ''): Promise<void> {
    const { sweeper } = await this.#open()
    await sweeper.mark(asList(sweeper, combinations), 'skipped', reason)
  }

  /** Tried and failed; not given out again until `reset`. */
  async fail(combinations: C | readonly C[], reason = ''): Promise<void> {
    const { sweeper } = await this.#open()
    await sweeper.mark(asList(sweeper, combinations), 'failed', reason)
  }

  /** Gives combinations back: they are to be done, by anybody. */
  async cancel(combinations: C | readonly C[]): Promise<void> {
    const { sweeper } = await this.#open()
    await sweeper.mark(asList(sweeper, combinations), 'todo')
  }

  /** Combinations in these states (default: skipped and failed) are to be done again. */
  async reset(options: { readonly states?: readonly SweepItemState[] } = {}): Promise<{ readonly count: number }> {
    const { sweeper } = await this.#open()
    return sweeper.reset(options)
  }

  /** Changes the sweep, also while others work on it. With `apply: false` it only says what would change. */
  async setSweeps(sweeps: Sweeps<C>, options: { readonly apply?: boolean } = {}): Promise<SpaceDifference<C>> {
    const { sweeper } = await this.#open()
    return sweeper.setSweeps(asSpace(sweeps), options)
  }

  async stats(): Promise<SweepStats> {
    return (await this.#fresh()).stats()
  }

  /** Counts per factor and level, for combinations that are objects. Levels are named as in canonical JSON, text as it is. */
  async sweepStats(): Promise<Readonly<Record<string, Readonly<Record<string, LevelStats>>>>> {
    const counts: Record<string, Record<string, Record<keyof LevelStats, number>>> = {}
    for (const { item, state } of (await this.#fresh()).items()) {
      if (typeof item !== 'object' || item === null) continue
      for (const [factor, level] of Object.entries(item as Record<string, unknown>)) {
        const name = typeof level === 'string' ? level : canonicalJson(level)
        const levels = own(counts, factor, () => ({}))
        const stats = own(levels, name, () => ({ total: 0, todo: 0, claimed: 0, done: 0, skipped: 0, failed: 0 }))
        stats.total++
        stats[state]++
      }
    }
    return counts
  }

  /** All combinations, in order. */
  async getSweeps(): Promise<Iterable<C>> {
    return (await this.#fresh()).space
  }
  async getRemaining(): Promise<Iterable<C>> {
    return this.#inState('todo')
  }
  async getInProgress(): Promise<Iterable<C>> {
    return this.#inState('claimed')
  }
  async getDone(): Promise<Iterable<C>> {
    return this.#inState('done')
  }
  async getSkipped(): Promise<Iterable<C>> {
    return this.#inState('skipped')
  }
  async getFailed(): Promise<Iterable<C>> {
    return this.#inState('failed')
  }

  /** Why a combination was skipped or has failed. */
  async reasonOf(combination: C): Promise<string | undefined> {
    return (await this.#fresh()).find(combination)?.reason
  }

  /** The present combinations and states, one line. */
  async describe(): Promise<string> {
    const { total, todo, claimed, done, skipped, failed } = await this.stats()
    return `${this.directory}: ${total} total, ${done} done, ${skipped} skipped, ${failed} failed, ${claimed} in progress, ${todo} remaining`
  }

  /** Claims one combination after the other until none is free. A loop that is left early gives the last one back. */
  async *[Symbol.asyncIterator](): AsyncGenerator<C, void, undefined> {
    const { sweeper } = await this.#open()
    for (;;) {
      const claim = await sweeper.next()
      if (claim === undefined) return
      let finished = false
      try {
        yield claim.item
        finished = true
      } finally {
        if (!finished && sweeper.holds(claim)) await claim.cancel()
      }
    }
  }

  /** Gives back what this object still holds, and closes the folder. It can be used again afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    if (opened === undefined) return
    const { store, sweeper } = await opened
    await sweeper[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  }

  /** {@link ParamSweeper} for code without `await using`. */
  close(): Promise<void> {
    return this[Symbol.asyncDispose]()
  }

  async #inState(state: SweepItemState): Promise<Iterable<C>> {
    const sweeper = await this.#fresh()
    return {
      *[Symbol.iterator]() {
        for (const { item } of sweeper.items(state)) yield item
      },
    }
  }

  async #fresh(): Promise<JournalSweeper<C>> {
    const { sweeper } = await this.#open()
    await sweeper.refresh()
    return sweeper
  }

  #open(): Promise<Opened<C>> {
    this.#opened ??= this.#openNow().catch((error: unknown) => {
      this.#opened = undefined
      throw error
    })
    return this.#opened
  }

  async #openNow(): Promise<Opened<C>> {
    const { leaseMs, lockTimeoutMs } = this.#options
    const space = this.#sweeps === undefined ? undefined : asSpace(this.#sweeps)
    const store = new JournalStore(this.directory, lockTimeoutMs === undefined ? {} : { lockTimeoutMs })
    const directory = store.journalDirectory
    const sweeper = new JournalSweeper<C>(store, space, leaseMs === undefined ? { directory } : { directory, leaseMs })
    try {
      await store.open()
      await sweeper.open()
    } catch (error) {
      await store[Symbol.asyncDispose]()
      throw error
    }
    return { store, sweeper }
  }
}

interface Opened<C> {
  readonly store: JournalStore
  readonly sweeper: JournalSweeper<C>
}

function asSpace<C>(sweeps: Sweeps<C>): Space<C> {
  if (typeof sweeps !== 'object' || sweeps === null) {
    throw new ConfigError('E_ARGUMENT', `a sweep is a space or a list of combinations, not ${typeof sweeps}`, {
      suggestions: ['Make one from factors: sweep({ cores: [1, 2, 4] })'],
    })
  }
  return Array.isArray(sweeps) ? listSpace<C>(sweeps as readonly C[]) : (sweeps as Space<C>)
}

/** A combination may itself be a list. */
function asList<C>(sweeper: JournalSweeper<C>, combinations: C | readonly C[]): readonly C[] {
  const isOne = !Array.isArray(combinations) || sweeper.space.indexOf(combinations as C) >= 0
  return isOne ? [combinations as C] : (combinations as readonly C[])
}

function own<V>(record: Record<string, V>, key: string, make: () => V): V {
  if (!Object.hasOwn(record, key))
    Object.defineProperty(record, key, { value: make(), enumerable: true, configurable: true, writable: true })
  return record[key]!
}
