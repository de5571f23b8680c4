import { ConfigError } from '../errors.js'
import type { Space, SpaceDefinition } from '../model/space.js'

/** Spaces that keep four bytes per item (filtered, shuffled ones) go this far: the index of an item fits, and 512 MB. */
const MAX_INDEXED = 2 ** 27

/** What all spaces share: the check of positions and the iteration. */
export abstract class BaseSpace<T> implements Space<T> {
  abstract readonly size: number
  abstract readonly definition: SpaceDefinition
  abstract indexOf(item: T): number

  /** The item at a position that is inside. */
  protected abstract make(index: number): T

  at(index: number): T {
    if (!Number.isInteger(index) || index < 0 || index >= this.size) {
      throw new RangeError(`position ${index} is outside of a space of ${this.size} items`)
    }
    return this.make(index)
  }

  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (let index = 0; index < this.size; index++) yield this.make(index)
  }
}

export function checkIndexable(size: number, what: string): void {
  if (size > MAX_INDEXED) {
    throw new ConfigError('E_ARGUMENT', `a space of ${size} combinations is too large to be ${what} (at most ${MAX_INDEXED})`, {
      suggestions: ['Use fewer levels, or make sub-factors of the levels that belong together'],
    })
  }
}

/** Positions by item value for the inverse of an order. */
export function invert(order: Uint32Array): Uint32Array {
  const inverse = new Uint32Array(order.length)
  for (let position = 0; position < order.length; position++) inverse[order[position]!] = position
  return inverse
}
