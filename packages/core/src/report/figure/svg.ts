/** Small pieces to write SVG text by hand: escaping, numbers, widths of text. */

/** Text for element content and attribute values; characters that XML cannot hold become a replacement character. */
export function escapeText(text: string): string {
  return text
    .replaceAll(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}

/** A coordinate: two decimals at most. What is not finite would break the drawing, so it fails here. */
export function px(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`not a coordinate: ${value}`)
  const rounded = Math.round(value * 100) / 100
  return String(rounded === 0 ? 0 : rounded)
}

export type Attributes = Readonly<Record<string, string | number | undefined>>

export function element(name: string, attributes: Attributes, content?: string): string {
  let text = `<${name}`
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) text += ` ${key}="${typeof value === 'number' ? px(value) : escapeText(value)}"`
  }
  return content === undefined ? `${text}/>` : `${text}>${content}</${name}>`
}

/** A line of text. Muted text is the ink, lighter, so that it follows dark and light pages. */
export function label(x: number, y: number, text: string, attributes: Attributes = {}): string {
  return element('text', { x, y, fill: 'currentColor', ...attributes }, raised(escapeText(text)))
}

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹'

/** Superscript characters are hard to read when small: they become normal digits, raised. */
function raised(text: string): string {
  return text.replaceAll(/[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+/g, (run) => {
    const digits = [...run].map((c) => (c === '⁻' ? '−' : SUPERSCRIPTS.indexOf(c))).join('')
    return `<tspan dy="-0.42em" font-size="78%">${digits}</tspan><tspan dy="0.33em">\u200b</tspan>`
  })
}

const NARROW = new Set("iljtfrI.,:;'|!()[]{}-/\\ `")
const WIDE = new Set('mwMW@%—…×')

/** About how wide a text is in a common sans serif font, in pixels. Errs on the wide side. */
export function textWidth(text: string, size: number): number {
  let width = 0
  for (const c of text) {
    if (NARROW.has(c)) width += 0.34
    else if (WIDE.has(c)) width += 0.92
    else if (/[A-Z]/.test(c)) width += 0.7
    else if (c.charCodeAt(0) > 0x2e7f) width += 1.05
    else if (/[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]/.test(c)) width += 0.45
    else width += 0.575
  }
  return width * size
}

/** The text, shortened with … to fit. */
export function fitText(text: string, size: number, width: number): string {
  const oneLine = text.replaceAll(/\s+/g, ' ')
  if (textWidth(oneLine, size) <= width) return oneLine
  const letters = [...oneLine]
  let kept = Math.min(letters.length, 400)
  while (kept > 1 && textWidth(`${letters.slice(0, kept).join('')}…`, size) > width) kept--
  return `${letters.slice(0, kept).join('')}…`
}

/** The text in lines that fit. */
export function wrapText(text: string, size: number, width: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && textWidth(longer, size) > width) {
      lines.push(line)
      line = word
    } else line = longer
  }
  if (line !== '') lines.push(fitText(line, size, width))
  return lines
}

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

/**
 * A whole drawing. It stands on its own on white paper; a page may set the ink with `color` and the paper with the class
 * `cf-paper`, and the colours of series with `cf-s0` … .
 */
export function drawing(width: number, height: number, title: string, description: string, content: readonly string[]): string {
  const head = `<title>${escapeText(title)}</title>\n<desc>${escapeText(description)}</desc>`
  const paper = element('rect', { class: 'cf-paper', width, height, fill: '#ffffff' })
  const attributes = {
    xmlns: 'http://www.w3.org/2000/svg',
    class: 'cahier-figure',
    role: 'img',
    'aria-label': title,
    viewBox: `0 0 ${px(width)} ${px(height)}`,
    width,
    height,
    color: '#1f2328',
    'font-family': FONT,
    'font-size': 12,
  }
  return `${element('svg', attributes, `\n${[head, paper, ...content].filter((part) => part !== '').join('\n')}\n`)}\n`
}
