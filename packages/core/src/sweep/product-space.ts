import { canonicalJson, encodeCanonical } from '../canonical-json.js'
import { ConfigError } from '../errors.js'
import type { Combination, Level } from '../model/combination.js'
import type { SpaceDefinition } from '../model/space.js'
import { BaseSpace } from './base-space.js'

/** One step of a product: a factor, or several that advance together (zip). */
export interface AxisSpec {
  readonly names: readonly string[]
  readonly options: readonly AxisOption[]
}
/** One level for each name, frozen, and the factors that exist with these levels only. */
export interface AxisOption {
  readonly levels: readonly Level[]
  readonly sub?: readonly AxisSpec[]
}

type Target = Record<string, Level>

/**
 * The product of factors, some of them with sub-factors: item `i` is computed from `i` as from a number in mixed radix.
 * The first factor varies slowest. Nothing is held but the levels.
 */
export class ProductSpace extends BaseSpace<Combination> {
  readonly size: number
  readonly #axes: readonly Axis[]
  readonly #strides: readonly number[]

  constructor(axes: readonly AxisSpec[]) {
    super()
    this.#axes = axes.map((axis) => new Axis(axis))
    let size = 1
    const strides: number[] = []
    for (const axis of [...this.#axes].reverse()) {
      strides.unshift(size)
      size *= axis.size
    }
    if (!Number.isSafeInteger(size)) {
      throw new ConfigError(
        'E_ARGUMENT',
        `the factors have about ${size.toExponential(1)} combinations, more than can be counted exactly`,
        {
          suggestions: ['Sample them with latinHypercube, or use fewer levels'],
        },
      )
    }
    this.size = size
    this.#strides = strides
  }

  protected make(index: number): Combination {
    const combination: Target = {}
    this.fill(combination, index)
    return Object.freeze(combination)
  }

  /** Writes the levels of one combination into an object. */
  fill(target: Target, index: number): void {
    let rest = index
    for (let i = 0; i < this.#axes.length; i++) {
      const stride = this.#strides[i]!
      const digit = Math.floor(rest / stride)
      rest -= digit * stride
      this.#axes[i]!.fill(target, digit)
    }
  }

  indexOf(item: Combination): number {
    if (typeof item !== 'object' || item === null) return -1
    const names = { used: 0 }
    const index = this.find(item, names)
    return names.used === Object.keys(item).length ? index : -1
  }

  /** Position by the factors of this space only, or -1; counts the names it looked at. */
  find(item: Combination, names: { used: number }): number {
    let index = 0
    for (let i = 0; i < this.#axes.length; i++) {
      const digit = this.#axes[i]!.find(item, names)
      if (digit < 0) return -1
      index += digit * this.#strides[i]!
    }
    return index
  }

  get definition(): SpaceDefinition {
    return { kind: 'product', axes: this.describe() }
  }

  describe(): readonly unknown[] {
    return this.#axes.map((axis) => axis.describe())
  }
}

class Axis {
  readonly size: number
  readonly #names: readonly string[]
  readonly #name: string
  readonly #options: readonly { readonly levels: readonly Level[]; readonly sub: ProductSpace | undefined }[]
  /** First level of every option, when there is one name and no sub-factor: the common case, kept fast. */
  readonly #plain: readonly Level[] | undefined
  /** First digit of every option. */
  readonly #starts: readonly number[]
  #byLevels: Map<string, number> | undefined

  constructor(spec: AxisSpec) {
    this.#names = spec.names
    this.#name = spec.names[0]!
    this.#options = spec.options.map(({ levels, sub }) => ({ levels, sub: sub === undefined ? undefined : new ProductSpace(sub) }))
    const starts: number[] = []
    let size = 0
    for (const option of this.#options) {
      starts.push(size)
      size += option.sub?.size ?? 1
    }
    this.size = size
    this.#starts = starts
    const plain = spec.names.length === 1 && this.#options.every((option) => option.sub === undefined)
    this.#plain = plain ? this.#options.map((option) => option.levels[0]!) : undefined
  }

  fill(target: Target, digit: number): void {
    if (this.#plain !== undefined) {
      target[this.#name] = this.#plain[digit]!
      return
    }
    const at = this.#optionOf(digit)
    const option = this.#options[at]!
    for (let i = 0; i < this.#names.length; i++) target[this.#names[i]!] = option.levels[i]!
    option.sub?.fill(target, digit - this.#starts[at]!)
  }

  find(item: Combination, names: { used: number }): number {
    const at = this.#index().get(keyOf(this.#names.map((name) => (Object.hasOwn(item, name) ? item[name] : undefined))))
    if (at === undefined) return -1
    names.used += this.#names.length
    const { sub } = this.#options[at]!
    const inside = sub === undefined ? 0 : sub.find(item, names)
    return inside < 0 ? -1 : this.#starts[at]! + inside
  }

  describe(): unknown {
    const levels = this.#options.map((option) => encodeCanonical(option.levels))
    if (this.#options.every((option) => option.sub === undefined)) return { names: [...this.#names], levels }
    return { names: [...this.#names], levels, sub: this.#options.map((option) => option.sub?.describe() ?? null) }
  }

  /** The last option that starts at or before a digit. */
  #optionOf(digit: number): number {
    let low = 0
    let high = this.#starts.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.#starts[middle]! <= digit) low = middle
      else high = middle - 1
    }
    return low
  }

  #index(): Map<string, number> {
    this.#byLevels ??= new Map(this.#options.map((option, at) => [keyOf(option.levels), at]))
    return this.#byLevels
  }
}

/** Canonical JSON of levels; what cannot be a level equals no level. */
function keyOf(levels: readonly unknown[]): string {
  try {
    return levels.length === 1 ? canonicalJson(levels[0]) : canonicalJson(levels)
  } catch {
    return ''
  }
}
