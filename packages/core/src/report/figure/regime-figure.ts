import type { ResultRow } from '../../model/campaign.js'
import type { FigureMeta } from '../types.js'
import { axisNames, type Box, frame, LABEL_SIZE, marksOf, notes, TICK_SIZE, xAxis, yAxis, yTickWidth } from './axes.js'
import { averagedFactors, axisLabel, byColumns, countText, keptRows, namedGroups } from './figure-rows.js'
import { AREA_COLOURS, NEGATIVE, POSITIVE, rampColour, ZERO } from './palette.js'
import {
  type AxisCells,
  axisCells,
  type Cell,
  cellsOf,
  describeCell,
  type Levels,
  levelsOfPanels,
  type RegimeSpec,
  type Show,
  showOf,
  zeroLine,
} from './regime-cells.js'
import { linearScale, logScale } from './scale.js'
import { drawing, element, escapeText, fitText, label, px, textWidth, wrapText } from './svg.js'

type Grid = readonly (readonly (Cell | undefined)[])[]

/** How cells are coloured, and what says so. */
interface Colours {
  of(cell: Cell): string
  readonly legend: readonly (readonly [colour: string, text: string])[]
  /** For values: the ends of the colour bar. */
  readonly bar?: { readonly ramp: 'diverging' | 'sequential'; readonly min: number; readonly max: number; readonly isLog: boolean }
}

const MOST_PANELS = 12
const MOST_TITLES = 1500
const GAP = 22

/**
 * A regime diagram: two factors as axes, one outcome as the colour of cells. The sign of a number (with the line where it
 * changes), its size, or a word; one panel for each value of `by`.
 *
 * @returns a whole SVG document, the same for the same rows
 */
export function renderRegimeFigure(rows: Iterable<ResultRow>, spec: RegimeSpec, meta: FigureMeta = {}): string {
  const kept = keptRows(rows, spec.where)
  const by = byColumns(spec.by)
  const show = showOf(kept, spec)
  const groups = kept.length === 0 ? [{ name: '', rows: [] }] : namedGroups(kept, by)
  const shown = groups.slice(0, MOST_PANELS)
  const members = shown.map(({ rows: own }) => own)
  const xs = levelsOfPanels(members, spec.x, spec.scale === 'log' || spec.scale === 'log-x')
  const ys = levelsOfPanels(members, spec.y, spec.scale === 'log' || spec.scale === 'log-y')
  const ownX = new Set(xs).size > 1
  const ownY = new Set(ys).size > 1
  const panels = shown.map(({ name, rows: own }, index) => {
    const x = xs[index]!
    const y = ys[index]!
    return { name, x, y, cells: cellsOf(own, spec, x, y, show) }
  })
  const all = panels.flatMap(({ cells }) => cells.flat())
  const found = all.filter((cell): cell is Cell => cell !== undefined)
  const colours = coloursOf(found, show, spec, meta)
  const hasMissing = found.length < all.length
  const hasMixed = found.some(({ mixed }) => mixed)

  const width = meta.width ?? 760
  const title = spec.title ?? `${spec.outcome} by ${[spec.x, spec.y, ...by].join(', ')}`
  const tickWidth = Math.max(...ys.map((y) => yTickWidth(axisCells(y, 300, 0).scale)))
  const left = 34 + tickWidth
  const gapX = GAP + (ownY ? tickWidth : 0)
  const gapY = GAP + (ownX ? LABEL_SIZE + 8 : 0)
  const right = width - (colours.bar === undefined ? 20 : 92)
  const legend = legendRows(
    colours,
    { boundary: show === 'sign', missing: hasMissing && found.length > 0, mixed: hasMixed },
    left,
    right,
    48,
  )
  const columns = panels.length <= 1 ? 1 : panels.length <= 4 && panels.length !== 3 ? 2 : 3
  const rowsOfPanels = Math.max(1, Math.ceil(panels.length / columns))
  const panelWidth = (right - left - gapX * (columns - 1)) / columns
  const panelHeight = columns === 1 ? 380 : columns === 2 ? 300 : 220
  const headHeight = by.length > 0 ? 24 : 6
  const top = legend.bottom
  const areaBottom = top + rowsOfPanels * (headHeight + panelHeight + gapY) - gapY

  const boxes = panels.map((_, index): Box => {
    const panelLeft = left + (index % columns) * (panelWidth + gapX)
    const panelTop = top + headHeight + Math.floor(index / columns) * (headHeight + panelHeight + gapY)
    return { left: panelLeft, top: panelTop, right: panelLeft + panelWidth, bottom: panelTop + panelHeight }
  })
  const withTitles = all.length <= MOST_TITLES
  const drawn = panels.map(({ name, x, y, cells }, index) => {
    const box = boxes[index]!
    const head = by.length === 0 || name === '' ? '' : `${by.length === 1 ? `${by[0]} = ` : ''}${name}`
    const xLabels = ownX || index + columns >= panels.length
    const yLabels = ownY || index % columns === 0
    return panel(cells, box, { x, y, spec, colours, show, head, meta, withTitles, yLabels, xLabels })
  })
  const area: Box = { left, top: top + headHeight, right, bottom: areaBottom }
  const remarks = remarksOf(found, kept, spec, by, show, meta, groups.length - panels.length)
  const noteLines = remarks.flatMap((text) => wrapText(text, 11.5, width - 24))
  const bottom = areaBottom + 62
  const empty =
    found.length === 0
      ? label((left + right) / 2, (top + areaBottom) / 2, 'no results yet', {
          'text-anchor': 'middle',
          'font-size': LABEL_SIZE,
          'fill-opacity': '0.7',
        })
      : ''
  const parts = [
    label(left, 26, fitText(title, 16.5, width - left - 12), { 'font-size': 15, 'font-weight': '600' }),
    legend.text,
    ...drawn,
    axisNames(area, { x: axisLabel(spec.x, meta), y: axisLabel(spec.y, meta) }, { x: 42, y: 20 }),
    colours.bar === undefined
      ? ''
      : colourBar(
          colours.bar,
          { left: right + 18, top: area.top, right: right + 32, bottom: Math.min(areaBottom, area.top + 380) },
          axisLabel(spec.outcome, meta),
        ),
    empty,
    notes(noteLines, 12, bottom + 8),
  ]
  return drawing(width, bottom + noteLines.length * 15 + 4, title, remarks.join(' '), parts)
}

interface PanelSettings {
  readonly x: Levels
  readonly y: Levels
  readonly spec: RegimeSpec
  readonly colours: Colours
  readonly show: Show
  readonly head: string
  readonly meta: FigureMeta
  readonly withTitles: boolean
  readonly xLabels: boolean
  readonly yLabels: boolean
}

function panel(cells: Grid, box: Box, settings: PanelSettings): string {
  const { x, y, colours, show, head, meta } = settings
  const columns = axisCells(x, box.left, box.right)
  const lines = axisCells(y, box.bottom, box.top)
  const width = box.right - box.left
  const background = element('rect', {
    x: box.left,
    y: box.top,
    width,
    height: box.bottom - box.top,
    fill: 'currentColor',
    'fill-opacity': '0.07',
  })
  const filled = settings.withTitles ? titledCells(cells, columns, lines, settings) : mergedCells(cells, columns, lines, colours)
  const heading =
    head === ''
      ? ''
      : label(box.left + width / 2, box.top - 8, fitText(head, LABEL_SIZE, width), { 'text-anchor': 'middle', 'font-size': LABEL_SIZE })
  return [
    heading,
    background,
    element('g', { 'shape-rendering': 'crispEdges' }, filled),
    mixedDots(cells, columns, lines),
    show === 'sign' ? boundary(cells, columns, lines) : '',
    yAxis(lines.scale, box, { labels: settings.yLabels, grid: false }),
    xAxis(columns.scale, box, { labels: settings.xLabels, grid: false }),
    marksOf(meta.marks ?? [], columns.scale, lines.scale, box, INK_ON_AREA),
    frame(box),
  ].join('')
}

/** Colours of areas stay light on dark pages, so what is drawn on them stays dark. */
const INK_ON_AREA = '#16202b'

function titledCells(cells: Grid, x: AxisCells, y: AxisCells, { spec, colours, x: xs, y: ys }: PanelSettings): string {
  let text = ''
  for (const [j, line] of cells.entries()) {
    for (const [i, cell] of line.entries()) {
      const name = `<title>${escapeText(describeCell(spec, xs.values[i], ys.values[j], cell))}</title>`
      text += rectangle(x.edges[i]!, y.edges[j]!, x.edges[i + 1]!, y.edges[j + 1]!, cell === undefined ? 'none' : colours.of(cell), name)
    }
  }
  return text
}

/** Neighbours of one colour in one rectangle: a large diagram stays a small file. */
function mergedCells(cells: Grid, x: AxisCells, y: AxisCells, colours: Colours): string {
  let text = ''
  for (const [j, line] of cells.entries()) {
    let start = 0
    for (let i = 1; i <= line.length; i++) {
      const here = line[start]
      const colour = here === undefined ? undefined : colours.of(here)
      const next = line[i]
      if (i < line.length && (next === undefined ? undefined : colours.of(next)) === colour) continue
      if (colour !== undefined) text += rectangle(x.edges[start]!, y.edges[j]!, x.edges[i]!, y.edges[j + 1]!, colour)
      start = i
    }
  }
  return text
}

function rectangle(x1: number, y1: number, x2: number, y2: number, fill: string, content?: string): string {
  const box = { x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) }
  return element('rect', { ...box, fill, 'pointer-events': fill === 'none' ? 'all' : undefined }, content)
}

function mixedDots(cells: Grid, x: AxisCells, y: AxisCells): string {
  const dots = cells.flatMap((line, j) =>
    line.map((cell, i) =>
      cell?.mixed === true ? element('circle', { cx: x.centres[i]!, cy: y.centres[j]!, r: 2.4, fill: INK_ON_AREA }) : '',
    ),
  )
  return dots.join('')
}

function boundary(cells: Grid, x: AxisCells, y: AxisCells): string {
  const d = zeroLine(cells, x, y)
    .map(([x1, y1, x2, y2]) => `M${px(x1)} ${px(y1)}L${px(x2)} ${px(y2)}`)
    .join('')
  if (d === '') return ''
  const line = { d, fill: 'none', 'stroke-linecap': 'round' }
  return (
    element('path', { ...line, stroke: '#ffffff', 'stroke-width': '4.5', 'stroke-opacity': '0.65' }) +
    element('path', { ...line, stroke: INK_ON_AREA, 'stroke-width': '2' })
  )
}

// ---- colours and legends

function coloursOf(cells: readonly Cell[], show: Show, spec: RegimeSpec, meta: FigureMeta): Colours {
  if (show === 'category') return categoryColours(cells)
  if (show === 'value') return valueColours(cells)
  const hasZero = cells.some(({ value }) => value === 0)
  const name = axisLabel(spec.outcome, { ...meta, units: {} })
  const legend = [
    [NEGATIVE, `${name} < 0`] as const,
    ...(hasZero ? [[ZERO, `${name} = 0`] as const] : []),
    [POSITIVE, `${name} > 0`] as const,
  ]
  return { of: ({ value }) => (value! < 0 ? NEGATIVE : value! > 0 ? POSITIVE : ZERO), legend }
}

function categoryColours(cells: readonly Cell[]): Colours {
  const names = [...new Set(cells.map(({ category }) => category!))].sort((a, b) => (a < b ? -1 : 1))
  const last = AREA_COLOURS.length - 1
  const isMany = names.length > AREA_COLOURS.length
  const colourOf = new Map(names.map((name, index) => [name, AREA_COLOURS[Math.min(index, last)]!]))
  const shown = isMany ? names.slice(0, last) : names
  const legend = shown.map((name) => [colourOf.get(name)!, name] as const)
  return {
    of: ({ category }) => colourOf.get(category!)!,
    legend: isMany ? [...legend, [AREA_COLOURS[last]!, `${names.length - last} others`]] : legend,
  }
}

function valueColours(cells: readonly Cell[]): Colours {
  const values = cells.map(({ value }) => value!)
  const low = values.reduce((a, b) => Math.min(a, b), Infinity)
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity)
  if (values.length === 0) return { of: () => ZERO, legend: [] }
  if (low < 0 && high > 0) {
    const reach = Math.max(-low, high)
    return {
      of: ({ value }) => rampColour('diverging', value! / reach / 2 + 0.5),
      legend: [],
      bar: { ramp: 'diverging', min: -reach, max: reach, isLog: false },
    }
  }
  const isLog = low > 0 && high / low > 200
  const [min, max] =
    low === high ? (isLog ? [low / 2, low * 2] : [low - (Math.abs(low) / 10 || 1), low + (Math.abs(low) / 10 || 1)]) : [low, high]
  const share = (value: number) => (isLog ? Math.log(value / min) / Math.log(max / min) : (value - min) / (max - min))
  return { of: ({ value }) => rampColour('sequential', share(value!)), legend: [], bar: { ramp: 'sequential', min, max, isLog } }
}

/** The legend above the panels, in as many lines as it needs. */
function legendRows(
  colours: Colours,
  extra: { readonly boundary: boolean; readonly missing: boolean; readonly mixed: boolean },
  left: number,
  right: number,
  top: number,
): { readonly text: string; readonly bottom: number } {
  const entries: { readonly text: string; draw(x: number, y: number): string }[] = colours.legend.map(([colour, text]) => ({
    text,
    draw: (x, y) => element('rect', { x, y: y - 11, width: 14, height: 14, fill: colour, stroke: 'currentColor', 'stroke-opacity': '0.4' }),
  }))
  if (extra.boundary && colours.legend.length > 0) {
    entries.push({
      text: 'change of sign, interpolated',
      draw: (x, y) => element('line', { x1: x, y1: y - 4, x2: x + 18, y2: y - 4, stroke: 'currentColor', 'stroke-width': '2' }),
    })
  }
  if (extra.mixed)
    entries.push({ text: 'repetitions differ', draw: (x, y) => element('circle', { cx: x + 7, cy: y - 4, r: 2.4, fill: 'currentColor' }) })
  if (extra.missing) {
    entries.push({
      text: 'no result',
      draw: (x, y) =>
        element('rect', {
          x,
          y: y - 11,
          width: 14,
          height: 14,
          fill: 'currentColor',
          'fill-opacity': '0.07',
          stroke: 'currentColor',
          'stroke-opacity': '0.4',
        }),
    })
  }
  let x = left
  let y = top + 8
  let text = ''
  for (const entry of entries) {
    const shown = fitText(entry.text, 12, 260)
    const width = textWidth(shown, 12) + 42
    if (x > left && x + width - 18 > right) {
      x = left
      y += 20
    }
    text += entry.draw(x, y) + label(x + 24, y, shown)
    x += width
  }
  return { text, bottom: entries.length === 0 ? top - 10 : y + 14 }
}

function colourBar(bar: NonNullable<Colours['bar']>, box: Box, name: string): string {
  const steps = 64
  const height = (box.bottom - box.top) / steps
  let text = ''
  for (let i = 0; i < steps; i++) {
    text += element('rect', {
      x: box.left,
      y: box.bottom - (i + 1) * height,
      width: box.right - box.left,
      height: height + 0.5,
      fill: rampColour(bar.ramp, (i + 0.5) / steps),
    })
  }
  const scale = bar.isLog ? logScale(bar, box.bottom, box.top) : linearScale(bar, box.bottom, box.top, 5)
  for (const { at, label: value } of scale.ticks) {
    if (value === '') continue
    text += element('line', { x1: box.right, y1: at, x2: box.right + 4, y2: at, stroke: 'currentColor', 'stroke-opacity': '0.55' })
    text += label(box.right + 7, at + TICK_SIZE * 0.35, value, { 'font-size': TICK_SIZE })
  }
  text += frame(box)
  return text + label(box.left - 4, box.top - 10, fitText(name, 12, 92), { 'font-size': 12 })
}

function remarksOf(
  cells: readonly Cell[],
  rows: readonly ResultRow[],
  spec: RegimeSpec,
  by: readonly string[],
  show: Show,
  meta: FigureMeta,
  more: number,
): readonly string[] {
  const remarks: string[] = []
  if (cells.length > 0) {
    const over = averagedFactors(rows, [spec.x, spec.y, ...by], meta)
    const counts = countText(cells.map(({ n }) => n))
    const what = show === 'sign' ? 'Sign of the mean' : show === 'value' ? 'Mean' : 'Most frequent outcome'
    const base =
      counts === '1'
        ? 'One result for each cell.'
        : `${what} of ${counts} results for each cell${over.length === 0 ? '' : `, over ${over.join(' and ')}`}.`
    remarks.push(base)
  }
  if (more > 0) remarks.push(`${more} more panels are in the table.`)
  return remarks
}
