import { ConfigError } from '../errors.js'

/** More levels than this in one factor are refused: such a list is a mistake in one of its bounds. */
const MAX_LEVELS = 1_000_000

/**
 * Numbers in geometric progression. The first and the last are exact; those between have 12 significant digits, so that
 * `geom(1, 1000, 4)` is 1, 10, 100, 1000 on every machine.
 *
 * @returns `count` numbers from `min` to `max`, growing or falling; only `min` when the bounds are equal or `count` is 1
 * @throws ConfigError `E_ARGUMENT` for a bound of 0, bounds of opposite signs, or a count that is not 1, 2, 3…
 */
export function geom(min: number, max: number, count: number): number[] {
  checkBounds('geom', min, max, count)
  if (min === 0 || max === 0 || min < 0 !== max < 0) {
    throw new ConfigError(
      'E_ARGUMENT',
      `geom(${min}, ${max}, ${count}): a geometric progression needs two bounds of one sign and without 0`,
      {
        suggestions: ['Use linear for ranges that touch or cross 0'],
      },
    )
  }
  // Logarithms, because max / min may overflow.
  const start = Math.log(Math.abs(min))
  const step = (Math.log(Math.abs(max)) - start) / (count - 1)
  const value = (i: number) => Math.sign(min) * Math.exp(start + step * i)
  return between(min, max, count, value, (number) => Number(number.toPrecision(12)))
}

/**
 * Integers in geometric progression: `geom`, rounded to the nearest, without repeats. Fewer than `count` may come back
 * (`igeom(5, 7, 20)` is 5, 6, 7); a falling progression stays falling.
 *
 * @throws ConfigError `E_ARGUMENT` like {@link geom}, and for bounds that are no integers
 */
export function igeom(min: number, max: number, count: number): number[] {
  checkIntegers('igeom', [min, max])
  return [...new Set(geom(min, max, count).map((value) => Math.sign(value) * Math.round(Math.abs(value))))]
}

/**
 * Numbers evenly spaced from `min` to `max`, both included; those between are rounded to the 14th digit of
 * the larger bound, so that `linear(0, 1, 11)[3]` is 0.3. Only `min` when the bounds are equal or `count` is 1.
 *
 * @throws ConfigError `E_ARGUMENT`
 */
export function linear(min: number, max: number, count: number): number[] {
  checkBounds('linear', min, max, count)
  const value = (i: number) => min * (1 - i / (count - 1)) + max * (i / (count - 1))
  return between(min, max, count, value, (number) => roundTo(number, Math.max(Math.abs(min), Math.abs(max))))
}

/**
 * Integers from `first` to `last`, which is included when a step meets it: `range(1, 7, 2)` is 1, 3, 5, 7; `range(3, 1)` is 3, 2, 1.
 *
 * @throws ConfigError `E_ARGUMENT` for what is not an integer, a step of 0 or one that leads away from `last`
 */
export function range(first: number, last: number, step: number = last < first ? -1 : 1): number[] {
  checkIntegers('range', [first, last, step])
  if (step === 0 || (first !== last && step < 0 !== last < first)) {
    throw new ConfigError('E_ARGUMENT', `range(${first}, ${last}, ${step}): a step of ${step} does not lead from ${first} to ${last}`)
  }
  const count = Math.floor((last - first) / step) + 1
  checkCount('range', count)
  return Array.from({ length: count }, (_, i) => first + i * step)
}

/** Rounds to 14 digits counted from the first one of `scale`: noise goes, also where a difference is near 0. */
export function roundTo(value: number, scale: number): number {
  const decimals = 14 - Math.ceil(Math.log10(scale))
  return decimals < 0 || decimals > 100 ? value : Number(value.toFixed(decimals)) + 0
}

/** First and last exact, the others rounded unless rounding would make two of them equal. */
function between(min: number, max: number, count: number, value: (i: number) => number, round: (value: number) => number): number[] {
  if (count === 1 || min === max) return [min]
  const isBound = (i: number) => i === 0 || i === count - 1
  const exact = Array.from({ length: count }, (_, i) => (i === 0 ? min : isBound(i) ? max : value(i)))
  const rounded = exact.map((number, i) => (isBound(i) ? number : round(number)))
  return new Set(rounded).size === count ? rounded : exact
}

function checkBounds(name: string, min: number, max: number, count: number): void {
  if (!Number.isFinite(min) || !Number.isFinite(max)) {
    throw new ConfigError('E_ARGUMENT', `${name}(${min}, ${max}, ${count}): both bounds are finite numbers`)
  }
  checkCount(name, count)
}

function checkCount(name: string, count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > MAX_LEVELS) {
    throw new ConfigError('E_ARGUMENT', `${name}: the number of values is an integer from 1 to ${MAX_LEVELS}, not ${count}`)
  }
}

function checkIntegers(name: string, values: readonly number[]): void {
  for (const value of values) {
    if (Number.isSafeInteger(value)) continue
    throw new ConfigError('E_ARGUMENT', `${name}: ${value} is not an integer`, {
      suggestions: [name === 'igeom' ? 'Use geom for real numbers' : 'Use linear for real numbers'],
    })
  }
}
