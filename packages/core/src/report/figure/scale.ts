/** Maps values to pixels and knows where its ticks are. */
export interface Scale {
  readonly kind: 'linear' | 'log' | 'band'
  /** Pixel of a value. For a band: the middle of the band of this value. */
  at(value: unknown): number
  readonly ticks: readonly Tick[]
  /** Pixels between two bands; 0 for the other kinds. */
  readonly step: number
}

export interface Tick {
  readonly at: number
  /** Empty for a minor tick. */
  readonly label: string
}

/** Between two numbers, with some room at both ends. */
export interface Range {
  readonly min: number
  readonly max: number
}

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹'

/** `-3` → `⁻³` */
function superscript(exponent: number): string {
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPTS[Number(digit)]).join('')
  return exponent < 0 ? `⁻${digits}` : digits
}

/** A number as people write it on an axis: `0.25`, `1500`, `2×10⁶`, `10⁻⁴`. */
export function formatNumber(value: number, digits = 4): string {
  if (value === 0) return '0'
  if (!Number.isFinite(value)) return String(value)
  const size = Math.abs(value)
  if (size >= 1e-3 && size < 1e5) return minus(trimZeros(value.toPrecision(Math.max(digits, Math.floor(Math.log10(size)) + 1))))
  const [mantissa, exponent] = value.toExponential(digits - 1).split('e') as [string, string]
  const short = trimZeros(mantissa)
  const power = `10${superscript(Number(exponent))}`
  return minus(short === '1' ? power : short === '-1' ? `-${power}` : `${short}×${power}`)
}

const trimZeros = (text: string) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)
const minus = (text: string) => text.replace('-', '−')

/** The range of the values with 4 % of room, also when they are all the same. */
export function rangeOf(
  values: Iterable<number>,
  kind: 'linear' | 'log',
  options: { readonly zero?: boolean; readonly room?: number } = {},
): Range {
  let min = Infinity
  let max = -Infinity
  for (const value of values) {
    if (value < min) min = value
    if (value > max) max = value
  }
  if (min > max) return kind === 'log' ? { min: 1, max: 10 } : { min: 0, max: 1 }
  const room = options.room ?? 0.04
  if (kind === 'log') {
    if (Math.log10(max) - Math.log10(min) < 1e-6)
      return { min: Math.max(min / 2, Number.MIN_VALUE), max: Math.min(max * 2, Number.MAX_VALUE) }
    const extra = (Math.log10(max) - Math.log10(min)) * room
    return { min: 10 ** Math.max(-307, Math.log10(min) - extra), max: 10 ** Math.min(308, Math.log10(max) + extra) }
  }
  if (options.zero === true && min > 0 && min < 0.4 * max) min = 0
  if (max / 2 - min / 2 <= 1e-9 * Math.max(Math.abs(min), Math.abs(max))) {
    const half = min === 0 ? 1 : Math.abs(min) * 0.1
    return { min: min - half, max: max + half }
  }
  const extra = (max / 2 - min / 2) * 2 * room
  return { min: min === 0 ? 0 : min - extra, max: max + extra }
}

/** @param from - pixel of the smaller end; may be larger than `to`, as on a y axis */
export function linearScale(range: Range, from: number, to: number, wanted = 6): Scale {
  const span = range.max - range.min
  const factor = (to - from) / span
  const at = (value: unknown) => from + ((value as number) - range.min) * factor
  const step = niceStep(span / wanted)
  const first = Math.ceil(range.min / step - 1e-9)
  const ticks: Tick[] = []
  for (let i = first; ticks.length < 50 && i * step <= range.max + step * 1e-9; i++) {
    const value = Number((i * step).toPrecision(12))
    ticks.push({ at: at(value), label: formatNumber(value, 10) })
  }
  return { kind: 'linear', at, ticks, step: 0 }
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough))
  const ratio = rough / power
  const nice = ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 2.5 ? 2.5 : ratio <= 5 ? 5 : 10
  return Number((nice * power).toPrecision(12))
}

export function logScale(range: Range, from: number, to: number): Scale {
  const low = Math.log10(range.min)
  const high = Math.log10(range.max)
  const factor = (to - from) / (high - low)
  const at = (value: unknown) => from + (Math.log10(value as number) - low) * factor
  return { kind: 'log', at, ticks: logTicks(range, low, high, at), step: 0 }
}

function logTicks(range: Range, low: number, high: number, at: (value: number) => number): Tick[] {
  const decades = high - low
  if (decades < 0.7) {
    const plain = linearScale(range, 0, 1, 5).ticks.map(({ at: share }) =>
      Number((range.min + share * (range.max - range.min)).toPrecision(12)),
    )
    return plain.filter((value) => value > 0).map((value) => ({ at: at(value), label: formatNumber(value, 10) }))
  }
  const every = Math.max(1, Math.ceil(decades / 9))
  const labelled = decades < 1.6 ? [1, 2, 3, 5, 7] : decades < 2.6 ? [1, 2, 5] : [1]
  const ticks: Tick[] = []
  for (let exponent = Math.floor(low); exponent <= Math.ceil(high); exponent++) {
    for (let digit = 1; digit <= 9; digit++) {
      const value = Number(`${digit}e${exponent}`)
      if (value < range.min * (1 - 1e-9) || value > range.max * (1 + 1e-9) || value === 0 || !Number.isFinite(value)) continue
      const isMajor = labelled.includes(digit) && (digit !== 1 || exponent % every === 0)
      if (isMajor || decades < 9) ticks.push({ at: at(value), label: isMajor ? powerLabel(value, range) : '' })
    }
  }
  return ticks
}

/** On an axis that needs powers of ten somewhere, all of them from 10³ on are written as such. */
function powerLabel(value: number, { min, max }: Range): string {
  const exponent = Math.round(Math.log10(value))
  const isPower = value === Number(`1e${exponent}`) && Math.abs(exponent) >= 3
  return isPower && (max >= 1e5 || min < 1e-3) ? `10${superscript(exponent)}` : formatNumber(value)
}

/** One band for each value. */
export function bandScale(keys: readonly string[], labels: readonly string[], from: number, to: number): Scale {
  const step = (to - from) / Math.max(1, keys.length)
  const positions = new Map(keys.map((key, index) => [key, from + (index + 0.5) * step]))
  const at = (key: unknown) => positions.get(key as string) ?? from
  return { kind: 'band', at, ticks: keys.map((key, index) => ({ at: at(key), label: labels[index]! })), step: Math.abs(step) }
}

/** The same scale with a tick at each of these values, for axes with few levels. */
export function withTicks(scale: Scale, values: readonly number[]): Scale {
  const range = { min: Math.min(...values), max: Math.max(...values) }
  const text = (value: number) => (scale.kind === 'log' ? powerLabel(value, range) : formatNumber(value))
  return { ...scale, ticks: values.map((value) => ({ at: scale.at(value), label: text(value) })) }
}
