import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { Space } from '../model/space.js'
import type { SweepStats } from '../ports/sweeper.js'
import { type ProcessIdentity, parseIdentity } from '../util/process-identity.js'
import { IndexHeap } from './index-heap.js'
import { decodeIndexes } from './index-ranges.js'
import { mapSpace } from './space-mapping.js'
import type { SweepEvent } from './sweep-events.js'

export const ITEM_STATES = ['todo', 'claimed', 'done', 'skipped', 'failed'] as const
export type SweepItemState = (typeof ITEM_STATES)[number]

const TODO = 0
const CLAIMED = 1
const DONE = 2
const SKIPPED = 3
const FAILED = 4

/** How a space stands in the journal: whole, or as a file beside it. */
export interface SpaceSource {
  readonly hash: string
  readonly space?: unknown
  readonly file?: string
}

/** One definition of the sweep. Only the newest is handed out; an older one keeps what is known of items that left. */
export interface Generation<T> {
  readonly number: number
  readonly space: Space<T>
  readonly source: SpaceSource
  /** One byte per item. */
  readonly states: Uint8Array
  readonly counts: number[]
  readonly reasons: Map<number, string>
  /** Token by position, for claimed items. */
  readonly tokens: Map<number, number>
}

export interface ClaimEntry<T> {
  readonly token: number
  worker: string
  generation: Generation<T>
  index: number
}

export interface WorkerEntry {
  readonly id: string
  readonly identity: ProcessIdentity | undefined
  readonly tokens: Set<number>
}

/**
 * The fold of a sweep's events: one byte per item, and objects for claimed items only. Finding the next item does not
 * depend on how many are claimed: a cursor that only goes forward, and a heap of those that came back behind it.
 */
export class SweepState<T> {
  readonly #openSpace: (source: SpaceSource) => Space<T>
  #present: Generation<T> | undefined
  #older: Generation<T>[] = []
  readonly claims = new Map<number, ClaimEntry<T>>()
  readonly workers = new Map<string, WorkerEntry>()
  nextToken = 1
  /** Grows whenever an item becomes free. */
  returns = 0
  /** Why the events could not be followed: a definition that cannot be read. */
  problem: unknown
  #cursor = 0
  #returned = new IndexHeap()

  constructor(openSpace: (source: SpaceSource) => Space<T>) {
    this.#openSpace = openSpace
  }

  get present(): Generation<T> | undefined {
    return this.#present
  }

  reset(): void {
    this.#present = undefined
    this.#older = []
    this.claims.clear()
    this.workers.clear()
    this.nextToken = 1
    this.problem = undefined
    this.#rewind()
  }

  apply(event: SweepEvent): void {
    switch (event.type) {
      case 'sweep.space':
        this.#setSpace(event)
        break
      case 'sweep.worker':
        this.workers.set(event.w, { id: event.w, identity: parseIdentity(event), tokens: new Set() })
        break
      case 'sweep.leave':
        for (const token of this.workers.get(event.w)?.tokens ?? []) this.#free(token)
        this.workers.delete(event.w)
        break
      case 'sweep.reset':
        this.#reset(event)
        break
      case 'sweep.claim':
      case 'sweep.adopt': {
        const generation = this.generation(event.g)
        let token = event.t
        for (const index of decodeIndexes(event.i)) if (generation !== undefined) this.#claim(generation, index, token++, event.w)
        this.nextToken = Math.max(this.nextToken, token)
        break
      }
      case 'sweep.done':
        this.#move(event, DONE)
        break
      case 'sweep.skip':
        this.#move(event, SKIPPED, event.reason)
        break
      case 'sweep.fail':
        this.#move(event, FAILED, event.reason)
        break
      case 'sweep.cancel':
      case 'sweep.expire':
        this.#move(event, TODO)
        break
    }
  }

  generation(number: number): Generation<T> | undefined {
    if (number === this.#present?.number) return this.#present
    return this.#older.find((generation) => generation.number === number)
  }

  stateOf(index: number): SweepItemState {
    return ITEM_STATES[this.#present?.states[index] ?? TODO]!
  }

  /** The claim of an item of the present sweep. */
  claimOf(index: number): ClaimEntry<T> | undefined {
    return this.claims.get(this.#present?.tokens.get(index) ?? 0)
  }

  stats(): SweepStats {
    const [todo, claimed, done, skipped, failed] = (this.#present?.counts ?? [0, 0, 0, 0, 0]) as [number, number, number, number, number]
    let orphaned = 0
    for (const { counts } of this.#older) orphaned += counts[DONE]! + counts[SKIPPED]! + counts[FAILED]!
    return { total: this.#present?.states.length ?? 0, todo, claimed, done, skipped, failed, orphaned }
  }

  /** The first items to do, in order, at most `count`. */
  firstTodo(count: number): readonly number[] {
    const states = this.#present?.states
    if (states === undefined) return []
    const found: number[] = []
    while (this.#returned.size > 0 && found.length < count) {
      const index = this.#returned.pop()!
      if (states[index] === TODO && found.at(-1) !== index) found.push(index)
    }
    // they stay in the heap until they are seen to be claimed: what was found may not be taken in the end
    for (const index of found) this.#returned.push(index)
    this.#cursor = skipTo(states, this.#cursor)
    for (let at = this.#cursor; at < states.length && found.length < count; at = skipTo(states, at + 1)) found.push(at)
    return found
  }

  /** Positions of the items in one state, in order. */
  *inState(state: SweepItemState): Generator<number, void, undefined> {
    const states = this.#present?.states
    const code = ITEM_STATES.indexOf(state)
    for (let at = states?.indexOf(code) ?? -1; at >= 0; at = states?.indexOf(code, at + 1) ?? -1) yield at
  }

  /** Finished items that the present sweep does not have. */
  *orphans(): Generator<{ readonly item: T; readonly state: SweepItemState }, void, undefined> {
    for (const { states, space } of this.#older) {
      for (let at = 0; at < states.length; at++) if (states[at]! > CLAIMED) yield { item: space.at(at), state: ITEM_STATES[states[at]!]! }
    }
  }

  #setSpace(event: SweepEvent & { readonly type: 'sweep.space' }): void {
    const { hash } = event
    const source: SpaceSource = 'file' in event ? { hash, file: event.file } : { hash, space: event.space }
    let next: Generation<T>
    try {
      const space = this.#openSpace(source)
      if (space.size !== event.size) throw new RangeError(`the space has ${space.size} items, not ${event.size}`)
      next = emptyGeneration(event.g, space, source)
    } catch (error) {
      this.problem = error
      return
    }
    const before = this.#present === undefined ? this.#older : [...this.#older, this.#present]
    for (const generation of before) this.#carry(generation, next)
    this.#older = before.filter(({ counts, states }) => counts[TODO] !== states.length)
    this.#present = next
    this.#rewind()
  }

  /** Moves what is known of items that both have. */
  #carry(from: Generation<T>, to: Generation<T>): void {
    if (from.counts[TODO] === from.states.length) return
    const map = mapSpace(from.space, to.space)
    for (let index = 0; index < map.length; index++) {
      const state = from.states[index]!
      const target = map[index]!
      if (state === TODO || target < 0) continue
      const reason = from.reasons.get(index)
      const claim = this.claims.get(from.tokens.get(index) ?? 0)
      put(from, index, TODO)
      put(to, target, state, reason)
      if (claim === undefined) continue
      from.tokens.delete(index)
      to.tokens.set(target, claim.token)
      claim.generation = to
      claim.index = target
    }
  }

  #move(event: SweepEvent & { readonly i: number | string; readonly g: number }, state: number, reason?: string): void {
    const generation = this.generation(event.g)
    if (generation !== undefined) for (const index of decodeIndexes(event.i)) this.#put(generation, index, state, reason)
  }

  #claim(generation: Generation<T>, index: number, token: number, worker: string): void {
    this.#put(generation, index, CLAIMED)
    generation.tokens.set(index, token)
    this.claims.set(token, { token, worker, generation, index })
    this.workers.get(worker)?.tokens.add(token)
  }

  #free(token: number): void {
    const claim = this.claims.get(token)
    if (claim !== undefined) this.#put(claim.generation, claim.index, TODO)
  }

  #put(generation: Generation<T>, index: number, state: number, reason?: string): void {
    if (index >= generation.states.length) return
    const token = generation.tokens.get(index)
    if (token !== undefined) {
      generation.tokens.delete(index)
      this.workers.get(this.claims.get(token)?.worker ?? '')?.tokens.delete(token)
      this.claims.delete(token)
    }
    put(generation, index, state, reason)
    if (state !== TODO || generation !== this.#present) return
    this.returns++
    if (index < this.#cursor) this.#returned.push(index)
  }

  #reset(event: SweepEvent & { readonly type: 'sweep.reset' }): void {
    const generation = this.generation(event.g)
    if (generation === undefined) return
    const wanted = new Set(event.states.map((state) => (ITEM_STATES as readonly string[]).indexOf(state)))
    wanted.delete(TODO)
    for (let index = 0; index < generation.states.length; index++) {
      if (wanted.has(generation.states[index]!)) this.#put(generation, index, TODO)
    }
    // a heap of a million items that all came back would be slower than looking from the start
    this.#rewind()
  }

  #rewind(): void {
    this.#cursor = 0
    this.#returned = new IndexHeap()
    this.returns++
  }

  /** JSON-safe; what {@link load} makes the same state of. */
  save(): unknown {
    const generations = [...this.#older, ...(this.#present === undefined ? [] : [this.#present])]
    return {
      version: 1,
      present: this.#present !== undefined,
      nextToken: this.nextToken,
      generations: generations.map(({ number, source, states, reasons }) => ({
        number,
        source,
        size: states.length,
        states: deflateRawSync(states, { level: 1 }).toString('base64'),
        reasons: [...reasons],
      })),
      workers: [...this.workers.values()].map(({ id, identity }) => ({ id, identity })),
      claims: [...this.claims.values()].map(({ token, worker, generation, index }) => [token, worker, generation.number, index]),
    }
  }

  /** False when the spaces cannot be made; then all events have to be shown. */
  load(saved: unknown): boolean {
    this.reset()
    const from = saved as SavedState
    if (from?.version !== 1) return false
    try {
      const generations = from.generations.map((entry) => this.#loadGeneration(entry))
      this.#present = from.present ? generations.pop() : undefined
      this.#older = generations
    } catch {
      this.reset()
      return false
    }
    for (const { id, identity } of from.workers) this.workers.set(id, { id, identity: parseIdentity(identity), tokens: new Set() })
    for (const [token, worker, number, index] of from.claims) {
      const generation = this.generation(number)
      if (generation !== undefined) this.#claim(generation, index, token, worker)
    }
    this.nextToken = from.nextToken
    return true
  }

  #loadGeneration({ number, source, size, states, reasons }: SavedGeneration): Generation<T> {
    const generation = emptyGeneration(number, this.#openSpace(source), source)
    const bytes = inflateRawSync(Buffer.from(states, 'base64'))
    if (bytes.length !== size || generation.space.size !== size) throw new RangeError('the snapshot is of another space')
    generation.states.set(bytes)
    generation.counts.fill(0)
    for (const state of bytes) generation.counts[state]!++
    for (const [index, reason] of reasons) generation.reasons.set(index, reason)
    return generation
  }
}

interface SavedGeneration {
  readonly number: number
  readonly source: SpaceSource
  readonly size: number
  readonly states: string
  readonly reasons: readonly (readonly [number, string])[]
}
interface SavedState {
  readonly version: number
  readonly present: boolean
  readonly nextToken: number
  readonly generations: readonly SavedGeneration[]
  readonly workers: readonly { readonly id: string; readonly identity: unknown }[]
  readonly claims: readonly (readonly [number, string, number, number])[]
}

function emptyGeneration<T>(number: number, space: Space<T>, source: SpaceSource): Generation<T> {
  const states = new Uint8Array(space.size)
  return { number, space, source, states, counts: [space.size, 0, 0, 0, 0], reasons: new Map(), tokens: new Map() }
}

function put<T>(generation: Generation<T>, index: number, state: number, reason?: string): void {
  const before = generation.states[index]!
  generation.counts[before]!--
  generation.counts[state]!++
  generation.states[index] = state
  if (reason !== undefined) generation.reasons.set(index, reason)
  else if (before === SKIPPED || before === FAILED) generation.reasons.delete(index)
}

/** First item to do at or after a position; the size when there is none. */
function skipTo(states: Uint8Array, from: number): number {
  const found = states.indexOf(TODO, from)
  return found < 0 ? states.length : found
}
