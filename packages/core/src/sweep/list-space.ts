import { canonicalJson, decodeCanonical } from '../canonical-json.js'
import { ConfigError } from '../errors.js'
import type { Space, SpaceDefinition } from '../model/space.js'
import { BaseSpace } from './base-space.js'

/**
 * A space of items that are given one by one, in their order.
 *
 * @throws ConfigError `E_FACTOR_VALUE` when two items are equal or one cannot be part of a space
 */
export function listSpace<const T>(items: readonly T[]): Space<T> {
  const positions = new Map<string, number>()
  const copies = items.map((item, at) => {
    const key = itemKey(item, at)
    const before = positions.get(key)
    if (before !== undefined) {
      throw new ConfigError('E_FACTOR_VALUE', `items ${before} and ${at} of a list are equal: ${key.slice(0, 200)}`, {
        suggestions: ['Take one of them out; to run a combination several times use repetitions'],
        data: { first: before, second: at },
      })
    }
    positions.set(key, at)
    return freezeDeep(decodeCanonical(JSON.parse(key)) as T)
  })
  return new ListSpace(copies, positions)
}

class ListSpace<T> extends BaseSpace<T> {
  readonly size: number
  readonly #items: readonly T[]
  readonly #positions: ReadonlyMap<string, number>

  constructor(items: readonly T[], positions: ReadonlyMap<string, number>) {
    super()
    this.size = items.length
    this.#items = items
    this.#positions = positions
  }

  protected make(index: number): T {
    return this.#items[index]!
  }

  indexOf(item: T): number {
    try {
      return this.#positions.get(canonicalJson(item)) ?? -1
    } catch {
      return -1
    }
  }

  get definition(): SpaceDefinition {
    return { kind: 'list', items: [...this.#positions.keys()].map((key) => JSON.parse(key) as unknown) }
  }
}

function itemKey(item: unknown, at: number): string {
  try {
    return canonicalJson(item)
  } catch (cause) {
    throw new ConfigError('E_FACTOR_VALUE', `item ${at} of a list cannot be part of a space: ${(cause as Error).message}`, { cause })
  }
}

/** Freezes a value and everything in it. */
export function freezeDeep<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const field of Object.values(value)) freezeDeep(field)
  }
  return value
}
