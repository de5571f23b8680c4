import type { FigureSpec, ResultRow } from '../../model/campaign.js'
import { keyOf, type Statistics, statisticsOf } from '../statistics.js'
import type { FigureMeta } from '../types.js'
import { axisNames, type Box, frame, LABEL_SIZE, marksOf, notes, xAxis, yAxis, yTickWidth } from './axes.js'
import { averagedFactors, axisLabel, byColumns, countText, hasPlace, isNumber, keptRows, namedGroups, valueLabel } from './figure-rows.js'
import { marker, SERIES_COLOURS } from './palette.js'
import { bandScale, linearScale, logScale, rangeOf, type Scale, withTicks } from './scale.js'
import { drawing, element, escapeText, fitText, label, px, textWidth, wrapText } from './svg.js'

type LineSpec = Extract<FigureSpec, { kind: 'line' }>

interface Point {
  readonly x: unknown
  readonly statistics: Statistics
}
interface Series {
  readonly name: string
  readonly points: readonly Point[]
}

const MOST_SERIES = 20
const ROW = 20

/**
 * Lines with error bars: the mean of `y` over the rows of each `x`, with its 95 % interval, one line for each value of `by`.
 *
 * @returns a whole SVG document, the same for the same rows
 */
export function renderLineFigure(rows: Iterable<ResultRow>, spec: LineSpec, meta: FigureMeta = {}): string {
  const kept = keptRows(rows, spec.where)
  const by = byColumns(spec.by)
  const logX = spec.scale === 'log' || spec.scale === 'log-x'
  const logY = spec.scale === 'log' || spec.scale === 'log-y'
  const remarks: string[] = []
  const numericX = kept.length > 0 && kept.every((row) => isNumber(row[spec.x]) || row[spec.x] == null)

  const groups = namedGroups(kept, by)
  const all = groups.map(({ name, rows: members }) => ({ name, points: pointsOf(members, spec, numericX) }))
  const drawable = all.map(({ name, points }) => ({ name, points: points.filter((point) => isDrawable(point, logX && numericX, logY)) }))
  const hidden = count(all) - count(drawable)
  if (hidden > 0)
    remarks.push(
      `${hidden} ${hidden === 1 ? 'point has' : 'points have'} no place on this axis${logX || logY ? ' (no positive number)' : ' (no number)'}.`,
    )
  const series = drawable.filter(({ points }) => points.length > 0).slice(0, MOST_SERIES)
  const more = drawable.filter(({ points }) => points.length > 0).length - series.length
  if (more > 0) remarks.push(`${more} more series are in the table.`)

  const title = spec.title ?? `${spec.y} by ${[spec.x, ...by].join(', ')}`
  const width = meta.width ?? 760
  const hasLegend = by.length > 0 && series.length > 0
  const legendHead = by.length === 1 ? by[0]! : ''
  const legendWidth = hasLegend
    ? Math.min(width * 0.34, Math.max(...series.map(({ name }) => textWidth(name, 12)), textWidth(legendHead, 12)) + 48)
    : 0
  const legendRows = series.length + (legendHead === '' ? 0 : 1)
  const height = Math.max(360, legendRows * ROW + 30)
  const top = 44

  const yScale = (box: Box) => yScaleOf(series, logY, box)
  const estimate = yScale({ left: 0, top, right: width, bottom: top + height })
  const box: Box = { left: 34 + yTickWidth(estimate), top, right: width - (hasLegend ? legendWidth + 16 : 24), bottom: top + height }
  const y = yScale(box)
  const x = xScaleOf(kept, series, spec, logX, numericX, box)

  remarks.unshift(explain(series, kept, spec, by, meta))
  const noteLines = remarks.filter((text) => text !== '').flatMap((text) => wrapText(text, 11.5, width - 24))
  const bottom = box.bottom + 62
  const parts = [
    label(box.left, 26, fitText(title, 16.5, width - box.left - 12), { 'font-size': 15, 'font-weight': '600' }),
    yAxis(y, box, { labels: true, grid: true }),
    xAxis(x, box, { labels: true, grid: true }),
    marksOf(meta.marks ?? [], x, y, box),
    frame(box),
    axisNames(box, { x: axisLabel(spec.x, meta), y: axisLabel(spec.y, meta) }, { x: 42, y: 20 }),
    ...series.map((one, index) => drawSeries(one, index, series.length, x, y, box)),
    hasLegend ? legend(series, legendHead, width - legendWidth, box.top + 4, legendWidth - 40) : '',
    series.length === 0
      ? label((box.left + box.right) / 2, (box.top + box.bottom) / 2, 'no results yet', {
          'text-anchor': 'middle',
          'font-size': LABEL_SIZE,
          'fill-opacity': '0.7',
        })
      : '',
    notes(noteLines, 12, bottom + 8),
  ]
  return drawing(width, bottom + noteLines.length * 15 + 4, title, remarks.join(' '), parts)
}

function pointsOf(rows: readonly ResultRow[], spec: LineSpec, numericX: boolean): readonly Point[] {
  const byX = new Map<string, { x: unknown; values: unknown[] }>()
  for (const row of rows) {
    const raw = row[spec.x]
    if (numericX && raw == null) continue
    const x = numericX ? Number(raw) : raw
    const key = keyOf(x)
    const known = byX.get(key)
    if (known === undefined) byX.set(key, { x, values: [row[spec.y]] })
    else known.values.push(row[spec.y])
  }
  const points = [...byX.values()].map(({ x, values }) => ({ x, statistics: statisticsOf(values) }))
  return numericX ? points.sort((a, b) => (a.x as number) - (b.x as number)) : points
}

function isDrawable({ x, statistics: { mean } }: Point, logX: boolean, logY: boolean): boolean {
  if (!hasPlace(mean) || (logY && mean <= 0) || (typeof x === 'number' && !hasPlace(x))) return false
  return !logX || (x as number) > 0
}

const count = (series: readonly Series[]) => series.reduce((sum, { points }) => sum + points.length, 0)

function yScaleOf(series: readonly Series[], isLog: boolean, box: Box): Scale {
  const values = series.flatMap(({ points }) =>
    points.flatMap(({ statistics: { mean, interval } }) => [
      mean!,
      ...(interval ?? []).filter((end) => hasPlace(end) && (!isLog || end > mean! / 30)),
    ]),
  )
  const range = rangeOf(values, isLog ? 'log' : 'linear', { zero: true, room: 0.06 })
  return isLog ? logScale(range, box.bottom, box.top) : linearScale(range, box.bottom, box.top)
}

function xScaleOf(
  rows: readonly ResultRow[],
  series: readonly Series[],
  spec: LineSpec,
  isLog: boolean,
  isNumeric: boolean,
  box: Box,
): Scale {
  if (!isNumeric) {
    const shown = new Set(series.flatMap(({ points }) => points.map(({ x }) => keyOf(x))))
    const levels = new Map(rows.map((row) => [keyOf(row[spec.x]), row[spec.x]] as const).filter(([key]) => shown.has(key)))
    return bandScale([...levels.keys()], [...levels.values()].map(valueLabel), box.left, box.right)
  }
  const values = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x as number)))].sort((a, b) => a - b)
  const range = rangeOf(values, isLog ? 'log' : 'linear', { room: 0.05 })
  const scale = isLog ? logScale(range, box.left, box.right) : linearScale(range, box.left, box.right)
  return fitTicks(scale, values)
}

/** Few levels: a tick at each of them, when their labels have room. */
export function fitTicks(scale: Scale, values: readonly number[]): Scale {
  if (values.length === 0 || values.length > 10) return scale
  const { ticks } = withTicks(scale, values)
  const touching = ticks.some((tick, index) => {
    const next = ticks[index + 1]
    return next !== undefined && next.at - tick.at < (textWidth(tick.label, 11.5) + textWidth(next.label, 11.5)) / 2 + 8
  })
  return touching ? scale : { ...scale, ticks }
}

function drawSeries({ name, points }: Series, index: number, total: number, x: Scale, y: Scale, box: Box): string {
  const dodge = x.kind === 'band' && total > 1 ? ((index + 0.5) / total - 0.5) * x.step * 0.6 : 0
  const placed = points.map(({ x: value, statistics }) => ({
    at: x.at(x.kind === 'band' ? keyOf(value) : value) + dodge,
    y: y.at(statistics.mean),
    value,
    statistics,
  }))
  const path = placed.map(({ at, y: height }, i) => `${i === 0 ? 'M' : 'L'}${px(at)} ${px(height)}`).join('')
  const dash = index >= SERIES_COLOURS.length ? (index >= 2 * SERIES_COLOURS.length ? '2 3' : '7 3') : undefined
  const line =
    placed.length > 1 && x.kind !== 'band'
      ? element('path', {
          d: path,
          fill: 'none',
          stroke: 'currentColor',
          'stroke-width': '1.8',
          'stroke-linejoin': 'round',
          'stroke-dasharray': dash,
        })
      : ''
  const bars = placed.map(({ at, statistics }) => errorBar(at, statistics, y, box)).join('')
  const dots = placed.map(({ at, y: height, value, statistics }) =>
    element('g', {}, `<title>${escapeText(describe(name, value, statistics))}</title>${marker(index, at, height)}`),
  )
  const colour = index % SERIES_COLOURS.length
  return element('g', { class: `cf-s${colour}`, color: SERIES_COLOURS[colour]! }, line + bars + dots.join(''))
}

function errorBar(at: number, { interval }: Statistics, y: Scale, box: Box): string {
  if (interval === undefined || !hasPlace(interval[0]) || !hasPlace(interval[1])) return ''
  const isCut = y.kind === 'log' && interval[0] <= 0
  const low = isCut ? box.bottom : Math.min(box.bottom, y.at(interval[0]))
  const high = Math.max(box.top, y.at(interval[1]))
  if (!isCut && low - high < 0.6) return ''
  const caps = `M${px(at - 4)} ${px(high)}h8${isCut ? '' : `M${px(at - 4)} ${px(low)}h8`}`
  return element('path', { d: `M${px(at)} ${px(high)}V${px(low)}${caps}`, fill: 'none', stroke: 'currentColor', 'stroke-width': '1.3' })
}

function describe(name: string, x: unknown, { mean, interval, n }: Statistics): string {
  const spread = interval === undefined ? '' : ` (95 %: ${valueLabel(interval[0])} to ${valueLabel(interval[1])})`
  return `${name === '' ? '' : `${name}, `}${valueLabel(x)}: ${valueLabel(mean)}${spread}, n = ${n}`
}

function legend(series: readonly Series[], head: string, left: number, top: number, width: number): string {
  const first = head === '' ? 0 : 1
  const rows = series.map(({ name }, index) => {
    const y = top + (index + first) * ROW + 8
    const colour = index % SERIES_COLOURS.length
    const dash = index >= SERIES_COLOURS.length ? (index >= 2 * SERIES_COLOURS.length ? '2 3' : '7 3') : undefined
    const sample =
      element('line', { x1: left, y1: y, x2: left + 24, y2: y, stroke: 'currentColor', 'stroke-width': '1.8', 'stroke-dasharray': dash }) +
      marker(index, left + 12, y)
    const text = label(left + 32, y + 4, fitText(name, 12, width))
    return (
      element('g', { class: `cf-s${colour}`, color: SERIES_COLOURS[colour]! }, sample) +
      element('g', {}, `<title>${escapeText(name)}</title>${text}`)
    )
  })
  const title = head === '' ? '' : label(left, top + 10, fitText(head, 12, width + 30), { 'font-weight': '600' })
  return title + rows.join('')
}

function explain(series: readonly Series[], rows: readonly ResultRow[], spec: LineSpec, by: readonly string[], meta: FigureMeta): string {
  const counts = series.flatMap(({ points }) => points.map(({ statistics: { n } }) => n))
  if (counts.length === 0) return ''
  const over = averagedFactors(rows, [spec.x, ...by], meta)
  const mean = over.length === 0 ? '' : `Each point is a mean over ${over.join(' and ')}. `
  if (counts.every((n) => n === 1)) return `${mean}One measurement for each point.`
  return `${mean}Points: mean of ${countText(counts)} measurements. Bars: 95 % confidence interval.`
}
