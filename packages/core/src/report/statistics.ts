import { quantileSorted } from 'simple-statistics'
import type { ResultRow } from '../model/campaign.js'
import { studentQuantile } from './student.js'

/** What the repetitions of one group say about one metric. Without a finite value everything but the counts is undefined. */
export interface Statistics {
  /** Finite values. */
  readonly n: number
  /** Rows without a finite number: nothing, NaN, infinite, text. */
  readonly missing: number
  readonly mean: number | undefined
  readonly median: number | undefined
  /** Sample standard deviation, with n - 1; undefined for n = 1. */
  readonly sd: number | undefined
  /** 95 % confidence interval of the mean by Student's t; undefined for n = 1. */
  readonly interval: readonly [number, number] | undefined
  readonly min: number | undefined
  readonly max: number | undefined
  /** Values beyond 1.5 interquartile ranges from the quartiles (for n ≥ 4). They count in the mean: they are shown, not removed. */
  readonly outliers: readonly number[]
}

export interface Summary extends Statistics {
  /** The columns of `by` and the group's values. */
  readonly group: Readonly<Record<string, unknown>>
}

/** Statistics of plain values; what is not a finite number counts as missing. */
export function statisticsOf(values: Iterable<unknown>): Statistics {
  /** Of the two zeros only the positive one: they are equal, and which came first would be seen. */
  const sorted: number[] = []
  let missing = 0
  for (const value of values) {
    const number = typeof value === 'bigint' ? Number(value) : value
    if (typeof number === 'number' && Number.isFinite(number)) sorted.push(number + 0)
    else missing++
  }
  sorted.sort((a, b) => a - b)
  const n = sorted.length
  if (n === 0) {
    return {
      n,
      missing,
      mean: undefined,
      median: undefined,
      sd: undefined,
      interval: undefined,
      min: undefined,
      max: undefined,
      outliers: [],
    }
  }
  const mean = meanOf(sorted)
  const sd = n === 1 ? undefined : deviationOf(sorted, mean)
  const half = sd === undefined ? undefined : (studentQuantile(0.975, n - 1) * sd) / Math.sqrt(n)
  return {
    n,
    missing,
    mean,
    median: quantileSorted(sorted, 0.5),
    sd,
    interval: half === undefined ? undefined : [mean - half, mean + half],
    min: sorted[0],
    max: sorted[n - 1],
    outliers: outliersOf(sorted),
  }
}

/**
 * Statistics of one metric for each group of rows that agree in the columns of `by`, in order of first appearance.
 * Values of different types are different groups: `1` and `"1"`.
 */
export function summarise(
  rows: Iterable<ResultRow>,
  options: { readonly by: string | readonly string[]; readonly metric: string },
): readonly Summary[] {
  const by = typeof options.by === 'string' ? [options.by] : options.by
  return groupRows(rows, by).map(({ group, rows: members }) => ({ group, ...statisticsOf(members.map((row) => row[options.metric])) }))
}

export interface RowGroup {
  readonly group: Readonly<Record<string, unknown>>
  readonly rows: readonly ResultRow[]
}

export function groupRows(rows: Iterable<ResultRow>, by: readonly string[]): readonly RowGroup[] {
  const groups = new Map<string, { group: Record<string, unknown>; rows: ResultRow[] }>()
  for (const row of rows) {
    const key = by.map((column) => keyOf(row[column])).join('\u0001')
    const known = groups.get(key)
    if (known !== undefined) known.rows.push(row)
    else groups.set(key, { group: Object.fromEntries(by.map((column) => [column, row[column]])), rows: [row] })
  }
  return [...groups.values()]
}

/** Text that is the same for equal values of the same type only. */
export function keyOf(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (value === undefined || value === null) return 'null'
  if (Array.isArray(value)) return `[${value.map(keyOf).join(',')}]`
  if (typeof value === 'object') {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${fields.map(([key, inner]) => `${JSON.stringify(key)}:${keyOf(inner)}`).join(',')}}`
  }
  return typeof value === 'bigint' ? `${value}n` : Object.is(value, -0) ? '-0' : String(value)
}

/** Mean in two passes: exact for equal values, no overflow for large ones. */
function meanOf(values: readonly number[]): number {
  const scale = 1 / values.length
  let rough = 0
  for (const value of values) rough += value * scale
  let rest = 0
  for (const value of values) rest += (value - rough) * scale
  return Math.min(values.at(-1)!, Math.max(values[0]!, rough + rest))
}

function deviationOf(values: readonly number[], mean: number): number {
  let sum = 0
  for (const value of values) sum += (value - mean) ** 2
  return Math.sqrt(sum / (values.length - 1))
}

function outliersOf(sorted: readonly number[]): readonly number[] {
  if (sorted.length < 4) return []
  const [low, high] = [quantileSorted(sorted, 0.25), quantileSorted(sorted, 0.75)]
  const reach = 1.5 * (high - low)
  return sorted.filter((value) => value < low - reach || value > high + reach)
}
