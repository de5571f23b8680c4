/** Below this a column says nothing any more. */
const NARROWEST = 8

export interface TableOptions {
  /** Columns of the terminal; default: as wide as it takes. */
  readonly width?: number | undefined
  /** Which columns may be cut for it, by number; a cut text ends in `…`. */
  readonly shrink?: readonly number[]
}

/** A table of plain text: columns as wide as their widest cell, two spaces between. */
export function formatTable(heads: readonly string[], rows: readonly (readonly string[])[], options: TableOptions = {}): string {
  const all = [heads, ...rows]
  const widths = fitWidths(
    heads.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length))),
    options,
  )
  return all
    .map((row) =>
      row
        .map((cell, column) => cut(cell, widths[column] ?? 0).padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** The same without the columns in which nothing stands. */
export function formatFilledTable(heads: readonly string[], rows: readonly (readonly string[])[], options: TableOptions = {}): string {
  const filled = heads.flatMap((_, column) => (rows.some((row) => (row[column] ?? '') !== '') ? [column] : []))
  const pick = (row: readonly string[]): string[] => filled.map((column) => row[column] ?? '')
  const shrink = (options.shrink ?? []).map((column) => filled.indexOf(column)).filter((column) => column >= 0)
  return formatTable(pick(heads), rows.map(pick), { ...options, shrink })
}

/** Takes what is too much from the widest of the columns that may be cut. */
function fitWidths(widths: number[], { width, shrink = [] }: TableOptions): number[] {
  if (width === undefined) return widths
  const total = (): number => widths.reduce((sum, one) => sum + one, 0) + 2 * (widths.length - 1)
  for (let over = total() - width; over > 0; over = total() - width) {
    const widest = shrink.reduce<number | undefined>(
      (best, column) => ((widths[column] ?? 0) > (best === undefined ? NARROWEST : (widths[best] ?? 0)) ? column : best),
      undefined,
    )
    if (widest === undefined) break
    const next = Math.max(NARROWEST, ...shrink.filter((column) => column !== widest).map((column) => widths[column] ?? 0))
    const now = widths[widest] ?? 0
    widths[widest] = Math.max(now - over, now > next ? next : now - 1, NARROWEST)
  }
  return widths
}

function cut(cell: string, width: number): string {
  return cell.length <= width ? cell : `${cell.slice(0, Math.max(0, width - 1))}…`
}

/** Columns of a terminal; `undefined` where the lines go to a file or a program, which want them whole. */
export function terminalWidth(stream: NodeJS.WriteStream = process.stdout): number | undefined {
  return stream.isTTY === true && stream.columns > 0 ? stream.columns : undefined
}

/** Breaks a text at blanks, and host sets behind commas, so that its lines fit beside what stands before it. */
export function wrapText(text: string, indent: number, width: number | undefined): string {
  if (width === undefined || width - indent < 20) return text
  const room = width - indent
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const pieces = word.length > room ? word.split(/(?<=,)/) : [word]
    for (const [at, piece] of pieces.entries()) {
      const line = lines.at(-1) as string
      const gap = line === '' || at > 0 ? '' : ' '
      if (line !== '' && line.length + gap.length + piece.length > room) lines.push(piece)
      else lines[lines.length - 1] = `${line}${gap}${piece}`
    }
  }
  return lines.join(`\n${' '.repeat(indent)}`)
}

/** Breaks a line of a message for a terminal: what goes on stands below its text. */
export function wrapLine(line: string, width: number | undefined): string {
  const [start = ''] = /^ +(?:\w+: )?/.exec(line) ?? []
  return `${start}${wrapText(line.slice(start.length), start.length === 0 ? 2 : start.length, width)}`
}
