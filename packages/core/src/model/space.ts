import type { Combination } from './combination.js'

/** JSON-safe and complete: the space can be made again from it. Values are in the encoding of canonical JSON. */
export interface SpaceDefinition {
  readonly kind: string
  readonly [field: string]: unknown
}

/**
 * A finite, ordered set of distinct items that is not held in memory when it can be computed: `at` and `indexOf` are
 * inverse of each other.
 */
export interface Space<T = Combination> extends Iterable<T> {
  readonly size: number
  /** The item at this position, frozen. Throws RangeError outside 0 … size - 1. */
  at(index: number): T
  /** Position of an equal item (by canonical JSON), or -1. */
  indexOf(item: T): number
  readonly definition: SpaceDefinition
}
