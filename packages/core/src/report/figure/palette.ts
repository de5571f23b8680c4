import { element, px } from './svg.js'

/** Okabe and Ito's colours, which people with any colour vision can tell apart, without the yellow that paper swallows. */
export const SERIES_COLOURS = ['#0072b2', '#d55e00', '#009e73', '#b6508a', '#c98a00', '#3fa0d8', '#5c5c5c'] as const
/** The same, lighter, for dark pages. */
export const SERIES_COLOURS_DARK = ['#5cb3f0', '#ff8b4a', '#3fd0a4', '#e79ac6', '#f2b93b', '#8fd0ff', '#b5b5b5'] as const

/** Fills of areas: light enough for a dark line on top of them. */
export const AREA_COLOURS = [
  '#9cc7e8',
  '#f4b183',
  '#8fd3bd',
  '#dfb0cf',
  '#f3d58a',
  '#c3c9d1',
  '#b9a6dc',
  '#d6dd8b',
  '#e8a0a0',
  '#a8ded9',
  '#cbb79a',
  '#8c9bb5',
] as const
export const NEGATIVE = '#9cc7e8'
export const POSITIVE = '#f4b183'
export const ZERO = '#e3e6ea'

const DIVERGING = ['#2166ac', '#4393c3', '#92c5de', '#d1e5f0', '#f7f7f7', '#fddbc7', '#f4a582', '#d6604d', '#b2182b'] as const
const SEQUENTIAL = ['#440154', '#482878', '#3e4a89', '#31688e', '#26828e', '#1f9e89', '#35b779', '#6dcd59', '#b4de2c', '#fde725'] as const

/** Colour at a share between 0 and 1 of a scale that goes through white, or from dark to light. */
export function rampColour(ramp: 'diverging' | 'sequential', share: number): string {
  const stops = ramp === 'diverging' ? DIVERGING : SEQUENTIAL
  const place = Math.min(1, Math.max(0, share)) * (stops.length - 1)
  const index = Math.min(stops.length - 2, Math.floor(place))
  const mix = (offset: number) => {
    const [a, b] = [stops[index]!, stops[index + 1]!].map((stop) => Number.parseInt(stop.slice(offset, offset + 2), 16)) as [number, number]
    return Math.round(a + (b - a) * (place - index))
      .toString(16)
      .padStart(2, '0')
  }
  return `#${mix(1)}${mix(3)}${mix(5)}`
}

/** The marker of a series: another shape for each, so that colour is never needed. */
export function marker(series: number, x: number, y: number): string {
  const shape = series % 8
  const path = (d: string) => element('path', { d, fill: 'currentColor' })
  const stroked = (d: string) => element('path', { d, fill: 'none', stroke: 'currentColor', 'stroke-width': '2.2' })
  const [X, Y] = [px(x), px(y)]
  switch (shape) {
    case 0:
      return element('circle', { cx: x, cy: y, r: 4, fill: 'currentColor' })
    case 1:
      return element('rect', { x: x - 3.6, y: y - 3.6, width: 7.2, height: 7.2, fill: 'currentColor' })
    case 2:
      return path(`M${X} ${px(y - 5)}l4.8 8.4h-9.6z`)
    case 3:
      return path(`M${X} ${px(y - 5.2)}l5.2 5.2l-5.2 5.2l-5.2 -5.2z`)
    case 4:
      return path(`M${X} ${px(y + 5)}l-4.8 -8.4h9.6z`)
    case 5:
      return stroked(`M${px(x - 4.5)} ${Y}h9M${X} ${px(y - 4.5)}v9`)
    case 6:
      return stroked(`M${px(x - 3.8)} ${px(y - 3.8)}l7.6 7.6m0 -7.6l-7.6 7.6`)
    default:
      return element('circle', { cx: x, cy: y, r: 3.8, fill: 'none', stroke: 'currentColor', 'stroke-width': '2' })
  }
}
