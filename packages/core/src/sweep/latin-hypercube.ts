import { ConfigError } from '../errors.js'
import type { Space } from '../model/space.js'
import { makeRandom, permutation } from '../util/random.js'
import { listSpace } from './list-space.js'
import { roundTo } from './ranges.js'

/** The interval that one factor is sampled from. */
export type SampledFactor =
  | readonly [min: number, max: number]
  | {
      readonly min: number
      readonly max: number
      /** `log` samples orders of magnitude evenly. Default `linear`. */
      readonly scale?: 'linear' | 'log'
      /** Both bounds included. */
      readonly integer?: boolean
    }

/** The type of the points of a sample: every factor is a number. */
export type SampleOf<F> = { readonly [K in keyof F]: number }

/**
 * A latin hypercube sample: every factor's interval is cut into `count` equal parts, and each part holds exactly one point.
 * The same seed gives the same points on every machine: noise of the arithmetic is rounded away.
 *
 * @returns `count` points; fewer when all factors are integers with few values and points coincide
 * @throws ConfigError `E_ARGUMENT`
 *
 * @example
 * latinHypercube({ pressure: [1, 5], viscosity: { min: 1e-6, max: 1e-2, scale: 'log' } }, 40, { seed: 7 })
 */
export function latinHypercube<const F extends Readonly<Record<string, SampledFactor>>>(
  factors: F,
  count: number,
  { seed }: { readonly seed: number },
): Space<SampleOf<F>> {
  if (!Number.isInteger(count) || count < 1 || count > 1_000_000) {
    throw new ConfigError('E_ARGUMENT', `latinHypercube: the number of points is an integer from 1 to 1000000, not ${count}`)
  }
  if (!Number.isSafeInteger(seed)) throw new ConfigError('E_ARGUMENT', `latinHypercube: a seed is an integer, not ${String(seed)}`)
  const columns = Object.entries(factors).map(([name, factor], stream) => {
    const place = readInterval(name, factor)
    const random = makeRandom(seed, stream)
    const parts = permutation(count, random)
    return { name, values: Array.from(parts, (part) => place((part + random.float()) / count)) }
  })
  const points = Array.from({ length: count }, (_, i) => Object.fromEntries(columns.map(({ name, values }) => [name, values[i]!])))
  const distinct = new Map(points.map((point) => [JSON.stringify(point), point]))
  return listSpace([...distinct.values()]) as Space<SampleOf<F>>
}

/** From a share between 0 and 1 to a value of the interval. */
function readInterval(name: string, factor: SampledFactor): (share: number) => number {
  const { min, max, scale = 'linear', integer = false } = 'min' in factor ? factor : { min: factor[0], max: factor[1] }
  const refuse = (why: string) => new ConfigError('E_ARGUMENT', `latinHypercube: factor ${name} from ${min} to ${max}: ${why}`)
  if (!Number.isFinite(max - min) || min >= max) throw refuse('two finite numbers are needed, the smaller one first')
  if (scale === 'log' && min <= 0) throw refuse('a logarithmic scale needs bounds above 0')
  if (scale !== 'linear' && scale !== 'log') throw refuse(`there is no scale ${String(scale)}; use linear or log`)
  if (integer && !(Number.isSafeInteger(min) && Number.isSafeInteger(max))) throw refuse('integer factors need integers for bounds')
  // An integer stands for the unit interval around it, so that the first and the last are as likely as the others.
  const [low, high] = integer ? [min - 0.5, max + 0.5] : [min, max]
  const spread = (share: number) =>
    scale === 'log'
      ? Number(Math.exp(Math.log(low) + share * (Math.log(high) - Math.log(low))).toPrecision(12))
      : roundTo(low + share * (high - low), high - low)
  return (share) => {
    const value = spread(share)
    return Math.min(max, Math.max(min, integer ? Math.round(value) : value)) + 0
  }
}
