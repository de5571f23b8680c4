import type { ResultRow } from '../model/campaign.js'
import { formatNumber } from './figure/scale.js'
import { escapeText } from './figure/svg.js'
import { groupRows, type RowGroup, type Statistics, statisticsOf } from './statistics.js'
import { cellText } from './table.js'
import type { ReportInput, ResultField } from './types.js'

const MOST_ROWS = 500

/** One table for each result, by combination: statistics for numbers, counts for words. The first one is open. */
export function resultTables(input: Pick<ReportInput, 'factors' | 'results'>, rows: readonly ResultRow[]): string {
  const groups = groupRows(rows, input.factors)
  const more = groups.length > MOST_ROWS ? `<p class="muted">The first ${MOST_ROWS} of ${groups.length} combinations.</p>` : ''
  const shown = groups.slice(0, MOST_ROWS)
  const tables = input.results.map((field, index) => {
    const isNumeric = rows.some((row) => typeof row[field.name] === 'number' || typeof row[field.name] === 'bigint')
    const table = isNumeric ? numberTable(input.factors, field, shown) : wordTable(input.factors, field, shown)
    return `<details${index === 0 ? ' open' : ''}><summary>${escapeText(headOf(field))}</summary>\n<div class="scroll">${table}</div>${more}</details>`
  })
  return tables.join('\n')
}

const headOf = ({ name, unit }: ResultField) => (unit === undefined || unit === '' ? name : `${name} (${unit})`)

interface Head {
  readonly text: string
  readonly isText: boolean
}

function numberTable(factors: readonly string[], field: ResultField, groups: readonly RowGroup[]): string {
  const all = groups.map(({ group, rows }) => ({ group, statistics: statisticsOf(rows.map((row) => row[field.name])) }))
  const hasSpread = all.some(({ statistics: { n } }) => n > 1)
  const names = hasSpread ? ['n', 'mean', '95 % interval', 'median', 'sd', 'min', 'max', 'outliers'] : ['n', 'value']
  const heads = [...factorHeads(factors, groups), ...names.map((text) => ({ text, isText: false }))]
  const lines = all.map(({ group, statistics }) => [...factorCells(heads, factors, group), ...statisticsCells(statistics, hasSpread)])
  return tableText(heads, lines)
}

function statisticsCells(statistics: Statistics, hasSpread: boolean): readonly string[] {
  const { n, missing, mean, interval, median, sd, min, max, outliers } = statistics
  const half = interval === undefined ? undefined : (interval[1] - interval[0]) / 2
  const count = cell(`${n}${missing > 0 ? ` (+${missing} missing)` : ''}`, n)
  if (!hasSpread) return [count, numberCell(mean, undefined)]
  const range = interval === undefined ? cell('', Number.NEGATIVE_INFINITY) : cell(`± ${formatSpread(half!, half)}`, half!)
  const far =
    outliers.length === 0
      ? cell('', 0)
      : cell(String(outliers.length), outliers.length, outliers.map((value) => formatNumber(value)).join(', '))
  return [
    count,
    numberCell(mean, half),
    range,
    numberCell(median, half),
    numberCell(sd, sd),
    numberCell(min, half),
    numberCell(max, half),
    far,
  ]
}

function wordTable(factors: readonly string[], field: ResultField, groups: readonly RowGroup[]): string {
  const heads = [...factorHeads(factors, groups), { text: 'n', isText: false }, { text: headOf(field), isText: true }]
  const lines = groups.map(({ group, rows }) => {
    const counts = new Map<string, number>()
    for (const row of rows)
      if (row[field.name] != null) counts.set(cellText(row[field.name]), (counts.get(cellText(row[field.name])) ?? 0) + 1)
    const total = [...counts.values()].reduce((a, b) => a + b, 0)
    const words = [...counts].map(([word, n]) => (counts.size === 1 ? word : `${word} × ${n}`)).join(', ')
    return [
      ...factorCells(heads, factors, group),
      cell(String(total), total),
      `<td class="text" title="${escapeText(words)}">${escapeText(words.slice(0, 300))}</td>`,
    ]
  })
  return tableText(heads, lines)
}

function factorHeads(factors: readonly string[], groups: readonly RowGroup[]): readonly Head[] {
  return factors.map((text) => ({ text, isText: groups.some(({ group }) => typeof group[text] !== 'number' && group[text] != null) }))
}

function factorCells(heads: readonly Head[], factors: readonly string[], group: Readonly<Record<string, unknown>>): readonly string[] {
  return factors.map((factor, index) => {
    const value = group[factor]
    if (typeof value === 'number') return cell(levelText(value), value)
    const text = cellText(value)
    return heads[index]!.isText ? `<td class="text" title="${escapeText(text)}">${escapeText(text.slice(0, 300))}</td>` : cell(text, text)
  })
}

/** A level as it was written, where that is short: 100000 and not 10⁵, beside 31623. */
function levelText(value: number): string {
  const isShort = Number.isInteger(value) && Math.abs(value) < 1e9
  return isShort ? String(value).replace('-', '−') : formatNumber(value, 6)
}

function tableText(heads: readonly Head[], lines: readonly (readonly string[])[]): string {
  const head = heads.map(({ text, isText }) => `<th scope="col"${isText ? ' class="text"' : ''}>${escapeText(text)}</th>`).join('')
  return `<table class="sortable"><thead><tr>${head}</tr></thead>\n<tbody>\n${lines.map((cells) => `<tr>${cells.join('')}</tr>`).join('\n')}\n</tbody></table>`
}

function cell(text: string, value: number | string, title?: string): string {
  const more = title === undefined ? '' : ` title="${escapeText(title)}"`
  return `<td data-value="${escapeText(String(value))}"${more}>${escapeText(text)}</td>`
}

function numberCell(value: number | undefined, spread: number | undefined): string {
  return value === undefined ? cell('', '') : cell(formatSpread(value, spread), value, String(value))
}

/** As many digits as the spread deserves: two of its own. */
export function formatSpread(value: number, spread: number | undefined): string {
  if (spread === undefined || !(spread > 0) || !Number.isFinite(spread) || value === 0) return formatNumber(value, 5)
  const digits = Math.floor(Math.log10(Math.abs(value))) - Math.floor(Math.log10(spread)) + 2
  const significant = Math.min(12, Math.max(2, digits))
  const size = Math.abs(value)
  if (size < 1e-3 || size >= 1e5) return formatNumber(value, significant)
  const decimals = Math.min(12, Math.max(0, 1 - Math.floor(Math.log10(spread))))
  return value.toFixed(decimals).replace('-', '−')
}
