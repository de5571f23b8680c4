import type { FigureMark } from '../types.js'
import type { Scale } from './scale.js'
import { element, fitText, label, textWidth } from './svg.js'

export interface Box {
  readonly left: number
  readonly top: number
  readonly right: number
  readonly bottom: number
}

export const TICK_SIZE = 11.5
export const LABEL_SIZE = 13
const CATEGORY_WIDTH = 130

/** Room that the tick labels of a y axis need, in pixels. */
export function yTickWidth(scale: Scale): number {
  const widest = scale.ticks.reduce((most, { label: text }) => Math.max(most, textWidth(text, TICK_SIZE)), 0)
  return Math.min(CATEGORY_WIDTH, widest) + 10
}

/** Labels that would touch the one before them are left out. */
function readable(scale: Scale, direction: 'x' | 'y', width: number): ReadonlySet<number> {
  const kept = new Set<number>()
  let last = -Infinity
  const order = scale.ticks.map((tick, index) => ({ ...tick, index })).sort((a, b) => a.at - b.at)
  for (const { at, label: text, index } of order) {
    if (text === '') continue
    const half = direction === 'x' ? Math.min(width, textWidth(text, TICK_SIZE)) / 2 + 5 : TICK_SIZE * 0.65
    if (at - half < last) continue
    kept.add(index)
    last = at + half
  }
  return kept
}

export function yAxis(scale: Scale, box: Box, options: { readonly labels: boolean; readonly grid: boolean }): string {
  const kept = readable(scale, 'y', 0)
  const parts = scale.ticks.map(({ at, label: text }, index) => {
    const isMajor = text !== ''
    const grid = options.grid && isMajor ? line(box.left, at, box.right, at, 0.13) : ''
    const tick = line(box.left - (isMajor ? 5 : 3), at, box.left, at, 0.55)
    if (!options.labels || !kept.has(index)) return grid + tick
    const shown = fitText(text, TICK_SIZE, CATEGORY_WIDTH)
    return grid + tick + label(box.left - 8, at + TICK_SIZE * 0.35, shown, { 'text-anchor': 'end', 'font-size': TICK_SIZE })
  })
  return parts.join('')
}

export function xAxis(scale: Scale, box: Box, options: { readonly labels: boolean; readonly grid: boolean }): string {
  const room = scale.kind === 'band' ? Math.max(24, scale.step - 6) : Infinity
  const kept = readable(scale, 'x', room)
  const parts = scale.ticks.map(({ at, label: text }, index) => {
    const isMajor = text !== ''
    const grid = options.grid && isMajor && scale.kind !== 'band' ? line(at, box.top, at, box.bottom, 0.13) : ''
    const tick = line(at, box.bottom, at, box.bottom + (isMajor ? 5 : 3), 0.55)
    if (!options.labels || !kept.has(index)) return grid + tick
    const shown = room === Infinity ? text : fitText(text, TICK_SIZE, room)
    return grid + tick + label(at, box.bottom + 18, shown, { 'text-anchor': 'middle', 'font-size': TICK_SIZE })
  })
  return parts.join('')
}

export function frame(box: Box): string {
  const { left, top, right, bottom } = box
  return element('rect', {
    x: left,
    y: top,
    width: right - left,
    height: bottom - top,
    fill: 'none',
    stroke: 'currentColor',
    'stroke-opacity': '0.55',
  })
}

/** Known values as dashed lines with their name. */
export function marksOf(marks: readonly FigureMark[], x: Scale, y: Scale, box: Box, ink = 'currentColor'): string {
  const parts = marks.map(({ axis, value, label: text }) => {
    const scale = axis === 'x' ? x : y
    if (scale.kind === 'band' || !Number.isFinite(value) || (scale.kind === 'log' && value <= 0)) return ''
    const at = scale.at(value)
    const shown = fitText(text, TICK_SIZE, box.right - box.left - 12)
    const style = { stroke: ink, 'stroke-width': '1.4', 'stroke-dasharray': '2 4', 'stroke-linecap': 'round' }
    const name = { 'font-size': TICK_SIZE, 'font-style': 'italic', fill: ink }
    if (axis === 'x') {
      if (at < box.left || at > box.right) return ''
      const isLeft = at + textWidth(shown, TICK_SIZE) + 8 > box.right
      const anchor = { 'text-anchor': isLeft ? 'end' : 'start', ...name }
      return (
        element('line', { x1: at, y1: box.top, x2: at, y2: box.bottom, ...style }) +
        label(at + (isLeft ? -5 : 5), box.bottom - 7, shown, anchor)
      )
    }
    if (at < box.top || at > box.bottom) return ''
    const above = at - 5 - TICK_SIZE < box.top ? at + TICK_SIZE + 3 : at - 5
    return (
      element('line', { x1: box.left, y1: at, x2: box.right, y2: at, ...style }) +
      label(box.right - 6, above, shown, { 'text-anchor': 'end', ...name })
    )
  })
  return parts.join('')
}

export function axisNames(
  box: Box,
  names: { readonly x: string; readonly y: string },
  offsets: { readonly x: number; readonly y: number },
): string {
  const width = box.right - box.left
  const middleY = (box.top + box.bottom) / 2
  const x = label((box.left + box.right) / 2, box.bottom + offsets.x, fitText(names.x, LABEL_SIZE, width), {
    'text-anchor': 'middle',
    'font-size': LABEL_SIZE,
  })
  const y = label(0, 0, fitText(names.y, LABEL_SIZE, box.bottom - box.top), {
    'text-anchor': 'middle',
    'font-size': LABEL_SIZE,
    x: undefined,
    y: undefined,
    transform: `translate(${Math.round(offsets.y)} ${Math.round(middleY)}) rotate(-90)`,
  })
  return x + y
}

function line(x1: number, y1: number, x2: number, y2: number, opacity: number): string {
  return element('line', { x1, y1, x2, y2, stroke: 'currentColor', 'stroke-opacity': String(opacity) })
}

/** Small text below a drawing. */
export function notes(lines: readonly string[], x: number, y: number): string {
  return lines.map((text, index) => label(x, y + index * 15, text, { 'font-size': 11.5, 'fill-opacity': '0.72' })).join('')
}
