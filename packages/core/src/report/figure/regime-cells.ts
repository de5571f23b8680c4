import type { FigureSpec, ResultRow } from '../../model/campaign.js'
import { keyOf, statisticsOf } from '../statistics.js'
import { hasPlace, isNumber, valueLabel } from './figure-rows.js'
import { fitTicks } from './line-figure.js'
import { bandScale, formatNumber, linearScale, logScale, type Scale } from './scale.js'

export type RegimeSpec = Extract<FigureSpec, { kind: 'regime' }>
export type Show = 'sign' | 'value' | 'category'

/** Levels of one factor along one axis. */
export interface Levels {
  readonly kind: 'linear' | 'log' | 'band'
  /** Sorted when they are numbers. */
  readonly values: readonly unknown[]
  readonly keys: readonly string[]
}

/** What the repetitions at one place say. */
export interface Cell {
  readonly n: number
  /** Mean of the numbers; undefined for words. */
  readonly value: number | undefined
  /** The most frequent word. */
  readonly category: string | undefined
  /** Repetitions differ in sign or word. */
  readonly mixed: boolean
}

export interface AxisCells {
  readonly scale: Scale
  /** One more than levels: cell i goes from edge i to edge i + 1. */
  readonly edges: readonly number[]
  /** Pixel of each level. */
  readonly centres: readonly number[]
}

/** The levels of a column; a log axis leaves out what is not positive. */
export function levelsOf(rows: readonly ResultRow[], column: string, isLog: boolean): Levels {
  const found = new Map<string, unknown>()
  for (const row of rows) {
    const value = row[column]
    if (value !== undefined && value !== null)
      found.set(keyOf(isNumber(value) ? Number(value) : value), isNumber(value) ? Number(value) : value)
  }
  const values = [...found.values()]
  if (!values.every((value) => isNumber(value))) return { kind: 'band', values, keys: [...found.keys()] }
  const sorted = (values as number[]).filter((value) => hasPlace(value) && (!isLog || value > 0)).sort((a, b) => a - b)
  return { kind: isLog ? 'log' : 'linear', values: sorted, keys: sorted.map(keyOf) }
}

/**
 * The levels of each panel along one axis: the same for all, or each its own where the campaign swept other levels in
 * another panel (conditional factors). Panels that merely lack some results still share.
 */
export function levelsOfPanels(panels: readonly (readonly ResultRow[])[], column: string, isLog: boolean): readonly Levels[] {
  const own = panels.map((rows) => levelsOf(rows, column, isLog))
  const isOther = own.some((a) => own.some((b) => sharedShare(a, b) < 0.5))
  if (isOther && own.every(({ kind }) => kind !== 'band')) return own
  const shared = levelsOf(panels.flat(), column, isLog)
  return panels.map(() => shared)
}

/** Which part of the shorter list both have. */
function sharedShare(a: Levels, b: Levels): number {
  const shorter = Math.min(a.keys.length, b.keys.length)
  const known = new Set(a.keys)
  return shorter === 0 ? 1 : b.keys.filter((key) => known.has(key)).length / shorter
}

/** Scale and cell edges; edges lie midway between levels as the axis shows them, so geometric levels make equal cells. */
export function axisCells(levels: Levels, from: number, to: number): AxisCells {
  const { kind, values, keys } = levels
  if (kind === 'band' || values.length === 0) {
    const scale = bandScale(keys, values.map(valueLabel), from, to)
    const centres = keys.map((key) => scale.at(key))
    const half = (to - from) / Math.max(1, keys.length) / 2
    return { scale, centres, edges: centres.length === 0 ? [] : [from, ...centres.map((centre) => centre + half)] }
  }
  const places = (values as number[]).map((value) => (kind === 'log' ? Math.log10(value) : value))
  const middle = places.slice(1).map((place, i) => place / 2 + places[i]! / 2)
  const lone = kind === 'log' ? 0.5 : Math.abs(places[0]!) / 2 || 0.5
  // Beyond 10^±305 a power of ten is not a number any more.
  const inside = (place: number) => (kind === 'log' ? Math.min(305, Math.max(-305, place)) : place)
  const first = inside(places.length === 1 ? places[0]! - lone : 2 * places[0]! - middle[0]!)
  const last = inside(places.length === 1 ? places[0]! + lone : 2 * places.at(-1)! - middle.at(-1)!)
  const range = kind === 'log' ? { min: 10 ** first, max: 10 ** last } : { min: first, max: last }
  const plain = kind === 'log' ? logScale(range, from, to) : linearScale(range, from, to, Math.abs(to - from) < 240 ? 4 : 6)
  const pixel = (place: number) => from + ((place - first) / (last - first)) * (to - from)
  const scale = values.length <= 8 ? fitTicks(plain, values as number[]) : plain
  return { scale, edges: [first, ...middle, last].map(pixel), centres: places.map(pixel) }
}

/** The cell at each pair of levels, `undefined` where there is no result. */
export function cellsOf(
  rows: readonly ResultRow[],
  spec: RegimeSpec,
  x: Levels,
  y: Levels,
  show: Show,
): readonly (readonly (Cell | undefined)[])[] {
  const outcomes = new Map<string, unknown[]>()
  const axisKey = (value: unknown) => keyOf(isNumber(value) ? Number(value) : value)
  for (const row of rows) {
    const outcome = row[spec.outcome]
    if (outcome === undefined || outcome === null) continue
    const key = `${axisKey(row[spec.x])}\u0001${axisKey(row[spec.y])}`
    const known = outcomes.get(key)
    if (known === undefined) outcomes.set(key, [outcome])
    else known.push(outcome)
  }
  return y.keys.map((yKey) =>
    x.keys.map((xKey) => {
      const found = outcomes.get(`${xKey}\u0001${yKey}`)
      return found === undefined ? undefined : cellOf(found, show)
    }),
  )
}

function cellOf(outcomes: readonly unknown[], show: Show): Cell | undefined {
  if (show === 'category') {
    const counts = new Map<string, number>()
    for (const outcome of outcomes) {
      const name = valueLabel(outcome)
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    const category = [...counts].reduce((best, next) => (next[1] > best[1] ? next : best))[0]
    return { n: outcomes.length, value: undefined, category, mixed: counts.size > 1 }
  }
  const { n, mean, min, max } = statisticsOf(outcomes)
  if (!hasPlace(mean)) return undefined
  return { n, value: mean, category: undefined, mixed: show === 'sign' && Math.sign(min!) !== Math.sign(max!) }
}

/** How to show an outcome when the campaign does not say. */
export function showOf(rows: readonly ResultRow[], spec: RegimeSpec): Show {
  if (spec.show !== undefined) return spec.show
  const outcomes = rows.map((row) => row[spec.outcome]).filter((outcome) => outcome !== undefined && outcome !== null)
  if (!outcomes.every((outcome) => typeof outcome === 'number' || typeof outcome === 'bigint')) return 'category'
  return outcomes.some((outcome) => outcome < 0) && outcomes.some((outcome) => outcome > 0) ? 'sign' : 'value'
}

/**
 * The line on which the values change sign, by linear interpolation between the centres of neighbouring cells (marching
 * squares), carried on straight to the border.
 *
 * @returns segments `[x1, y1, x2, y2]` in pixels
 */
export function zeroLine(
  cells: readonly (readonly (Cell | undefined)[])[],
  x: AxisCells,
  y: AxisCells,
): readonly (readonly [number, number, number, number])[] {
  if (x.centres.length < 2 && y.centres.length < 2) return []
  const xs = [x.edges[0]!, ...x.centres, x.edges.at(-1)!]
  const ys = [y.edges[0]!, ...y.centres, y.edges.at(-1)!]
  const clamp = (index: number, length: number) => Math.min(length - 1, Math.max(0, index - 1))
  const valueAt = (i: number, j: number) => cells[clamp(j, y.centres.length)]?.[clamp(i, x.centres.length)]?.value
  const segments: [number, number, number, number][] = []
  for (let j = 0; j + 1 < ys.length; j++) {
    for (let i = 0; i + 1 < xs.length; i++) {
      const corners = [
        { x: xs[i]!, y: ys[j]!, v: valueAt(i, j) },
        { x: xs[i + 1]!, y: ys[j]!, v: valueAt(i + 1, j) },
        { x: xs[i + 1]!, y: ys[j + 1]!, v: valueAt(i + 1, j + 1) },
        { x: xs[i]!, y: ys[j + 1]!, v: valueAt(i, j + 1) },
      ]
      if (corners.some(({ v }) => v === undefined)) continue
      const crossings: [number, number][] = []
      for (const [index, a] of corners.entries()) {
        const b = corners[(index + 1) % 4]!
        if (a.v! < 0 === b.v! < 0) continue
        const share = a.v! / (a.v! - b.v!)
        crossings.push([a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share])
      }
      for (let k = 0; k + 1 < crossings.length; k += 2) segments.push([...crossings[k]!, ...crossings[k + 1]!])
    }
  }
  return segments
}

export function describeCell(spec: RegimeSpec, xValue: unknown, yValue: unknown, cell: Cell | undefined): string {
  const place = `${spec.x} ${valueLabel(xValue)}, ${spec.y} ${valueLabel(yValue)}`
  if (cell === undefined) return `${place}: no result`
  const what = cell.category ?? formatNumber(cell.value!)
  return `${place}: ${spec.outcome} ${what}, n = ${cell.n}${cell.mixed ? ', repetitions differ' : ''}`
}
