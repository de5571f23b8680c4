import type { FactorGenerator, FactorsSpec } from '../model/campaign.js'
import type { Combination } from '../model/combination.js'
import type { Space } from '../model/space.js'
import { filterSpace, shuffleSpace } from './derived-spaces.js'
import { readFactors } from './factors.js'
import { ProductSpace } from './product-space.js'

/**
 * The type of the combinations of some factors: an object with one field for each factor; a union of such objects when
 * levels have sub-factors of their own.
 */
export type CombinationOf<F> = string extends keyof F ? Combination : keyof F extends never ? EmptyCombination : Flat<All<Parts<F>>>

type EmptyCombination = Readonly<Record<never, never>>
/** For every factor a function that takes what it adds: inference from all of them gives the intersection. */
type Parts<F> = { [K in keyof F & string]: (part: Part<K, F[K]>) => void }[keyof F & string]
type All<P> = [P] extends [(part: infer Whole) => void] ? Whole : never
type Part<K extends string, S> = S extends readonly (infer L)[]
  ? { readonly [N in K]: L }
  : S extends FactorGenerator
    ? { readonly [N in K]: number }
    : { [V in keyof S & (string | number)]: { readonly [N in K]: `${V}` } & CombinationOf<S[V]> }[keyof S & (string | number)]
type Flat<T> = T extends unknown ? { readonly [K in keyof T]: T[K] } : never

export interface SweepOptions<F> {
  /** Keeps a combination. Called once for each, when the space is made. */
  readonly where?: ((combination: CombinationOf<F>) => boolean) | undefined
  /** Factors that advance together instead of being crossed; they have equally many levels. */
  readonly zip?: readonly (readonly (keyof F & string)[])[] | undefined
  /** `natural` (default): the first factor varies slowest. `random`: an order drawn from a seed, the same for ever. */
  readonly order?: 'natural' | { readonly random: number } | undefined
}

/**
 * The combinations of factors: the full product, with sub-factors where a level has some. Nothing is held in memory but the
 * levels, so a space may have millions of combinations.
 *
 * @param factors - factor name to levels: a list; a mapping of levels to sub-factors that exist with that level only
 * (`{ solver: { cg: { tol: [1e-3, 1e-6] }, direct: {} } }`; such levels are text); or a generator in words (`{ geom: [1, 16, 5] }`)
 * @throws ConfigError `E_FACTOR_EMPTY`, `E_FACTOR_VALUE` (no list, an equal level twice, a value that is not JSON, an integer that
 * lost digits), `E_FACTOR_COLLISION`, `E_ARGUMENT`
 *
 * @example
 * const space = sweep({ cores: igeom(1, 16, 5), python: ['system', '3.6.3'] }, { where: (c) => c.cores > 1 })
 * console.log(space.size, space.at(0)) // 8 { cores: 2, python: 'system' }
 */
export function sweep<const F extends FactorsSpec>(factors: F, options: SweepOptions<NoInfer<F>> = {}): Space<CombinationOf<F>> {
  const { where, zip, order = 'natural' } = options
  const product = new ProductSpace(readFactors(factors, zip)) as unknown as Space<CombinationOf<F>>
  const kept = where === undefined ? product : filterSpace(product, where)
  return order === 'natural' ? kept : shuffleSpace(kept, order.random)
}
