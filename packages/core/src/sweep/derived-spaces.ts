import { canonicalJson } from '../canonical-json.js'
import { ConfigError, messageOf } from '../errors.js'
import type { Combination, WorkItem } from '../model/combination.js'
import type { Space, SpaceDefinition } from '../model/space.js'
import { makeRandom, permutation } from '../util/random.js'
import { BaseSpace, checkIndexable, invert } from './base-space.js'
import { encodeKept } from './kept.js'

/** The items of a space for which `keep` is true, in their order. Every item is looked at once, now. */
export function filterSpace<T>(space: Space<T>, keep: (item: T) => boolean): Space<T> {
  checkIndexable(space.size, 'filtered one by one')
  let kept = new Uint32Array(1024)
  let count = 0
  for (let index = 0; index < space.size; index++) {
    const item = space.at(index)
    if (!decide(keep, item)) continue
    if (count === kept.length) {
      const larger = new Uint32Array(kept.length * 2)
      larger.set(kept)
      kept = larger
    }
    kept[count++] = index
  }
  return new SubsetSpace(space, kept.slice(0, count))
}

/** The same items in an order drawn from a seed: the same order on every machine and in every version. */
export function shuffleSpace<T>(space: Space<T>, seed: number): Space<T> {
  return new ShuffledSpace(space, seed)
}

export interface RepetitionOptions {
  /** `natural` (default): every pass in the order of the space. `random`: every pass in an order of its own (randomised blocks). */
  readonly order?: 'natural' | { readonly random: number }
}

/**
 * Work items: every combination `repetitions` times. Pass by pass: all combinations once, then all a second time, so that an
 * interrupted campaign has whole passes, and slow changes of a machine spread over all combinations.
 */
export function withRepetitions<C extends Combination>(
  space: Space<C>,
  repetitions: number,
  { order = 'natural' }: RepetitionOptions = {},
): Space<WorkItem<C>> {
  return new RepeatedSpace(space, repetitions, order === 'natural' ? undefined : order.random)
}

export class SubsetSpace<T> extends BaseSpace<T> {
  readonly size: number
  readonly #of: Space<T>
  /** Positions in the other space, growing. */
  readonly #kept: Uint32Array

  constructor(of: Space<T>, kept: Uint32Array) {
    super()
    this.size = kept.length
    this.#of = of
    this.#kept = kept
  }

  protected make(index: number): T {
    return this.#of.at(this.#kept[index]!)
  }

  indexOf(item: T): number {
    const wanted = this.#of.indexOf(item)
    let low = 0
    let high = this.size - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const found = this.#kept[middle]!
      if (found === wanted) return middle
      if (found < wanted) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  get definition(): SpaceDefinition {
    return { kind: 'subset', of: this.#of.definition, kept: encodeKept(this.#kept) }
  }
}

export class ShuffledSpace<T> extends BaseSpace<T> {
  readonly size: number
  readonly #of: Space<T>
  readonly #seed: number
  readonly #order: RandomOrder

  constructor(of: Space<T>, seed: number) {
    super()
    this.size = of.size
    this.#of = of
    this.#seed = seed
    this.#order = new RandomOrder(of.size, seed, 0)
  }

  protected make(index: number): T {
    return this.#of.at(this.#order.at(index))
  }

  indexOf(item: T): number {
    return this.#order.indexOf(this.#of.indexOf(item))
  }

  get definition(): SpaceDefinition {
    return { kind: 'shuffled', of: this.#of.definition, seed: this.#seed }
  }
}

export class RepeatedSpace<C extends Combination> extends BaseSpace<WorkItem<C>> {
  readonly size: number
  readonly #of: Space<C>
  readonly #repetitions: number
  readonly #seed: number | undefined
  readonly #orders: readonly RandomOrder[]

  constructor(of: Space<C>, repetitions: number, seed: number | undefined) {
    super()
    if (!Number.isInteger(repetitions) || repetitions < 1 || repetitions > 1_000_000) {
      throw new ConfigError('E_ARGUMENT', `repetitions is a number from 1 to 1000000, not ${repetitions}`)
    }
    this.size = of.size * repetitions
    if (!Number.isSafeInteger(this.size)) {
      throw new ConfigError('E_ARGUMENT', `${of.size} combinations × ${repetitions} repetitions are more than can be counted exactly`)
    }
    this.#of = of
    this.#repetitions = repetitions
    this.#seed = seed
    const length = seed === undefined ? 0 : repetitions
    this.#orders = Array.from({ length }, (_, pass) => new RandomOrder(of.size, seed!, pass + 1))
  }

  protected make(index: number): WorkItem<C> {
    const pass = Math.floor(index / this.#of.size)
    const within = index - pass * this.#of.size
    const combination = this.#of.at(this.#orders[pass]?.at(within) ?? within)
    return Object.freeze({ combination, repetition: pass + 1 })
  }

  indexOf(item: WorkItem<C>): number {
    const { combination, repetition } = item
    if (!Number.isInteger(repetition) || repetition < 1 || repetition > this.#repetitions) return -1
    const found = this.#of.indexOf(combination)
    if (found < 0) return -1
    return (repetition - 1) * this.#of.size + (this.#orders[repetition - 1]?.indexOf(found) ?? found)
  }

  get definition(): SpaceDefinition {
    const seed = this.#seed === undefined ? {} : { seed: this.#seed }
    return { kind: 'repeated', of: this.#of.definition, repetitions: this.#repetitions, ...seed }
  }
}

/** A permutation, drawn when it is first needed. */
class RandomOrder {
  readonly #size: number
  readonly #seed: number
  readonly #stream: number
  #order: Uint32Array | undefined
  #inverse: Uint32Array | undefined

  constructor(size: number, seed: number, stream: number) {
    checkIndexable(size, 'shuffled')
    if (!Number.isSafeInteger(seed)) {
      throw new ConfigError('E_ARGUMENT', `a seed is an integer of at most 53 bits, not ${String(seed)}`)
    }
    this.#size = size
    this.#seed = seed
    this.#stream = stream
  }

  at(position: number): number {
    this.#order ??= permutation(this.#size, makeRandom(this.#seed, this.#stream))
    return this.#order[position]!
  }

  indexOf(index: number): number {
    if (index < 0) return -1
    this.#order ??= permutation(this.#size, makeRandom(this.#seed, this.#stream))
    this.#inverse ??= invert(this.#order)
    return this.#inverse[index]!
  }
}

function decide<T>(keep: (item: T) => boolean, item: T): boolean {
  try {
    return Boolean(keep(item))
  } catch (cause) {
    throw new ConfigError('E_ARGUMENT', `the condition of a sweep failed on ${canonicalJson(item).slice(0, 300)}: ${messageOf(cause)}`, {
      suggestions: ['A factor that only some combinations have is undefined in the others: test for it first'],
      cause,
    })
  }
}
