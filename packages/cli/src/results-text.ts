import { join } from 'node:path'
import type { RunResults, Statistics } from '@cahier/core'
import type { Core } from './base-command.js'
import { formatLevel } from './run-text.js'
import { formatTable } from './table.js'

/** Above this number of combinations a line for each would bury everything else. */
const MOST_LINES = 24
const WIDEST_CELL = 32

type Statistical = Pick<Core, 'formatSpread' | 'groupRows' | 'statisticsOf'>

/**
 * The results of a run as a small table: one line per combination, or with many of them one line per result.
 *
 * @returns `undefined` when there is no result
 */
export function formatResults(results: RunResults, directory: string, core: Statistical): string | undefined {
  if (results.rows.length === 0 || results.results.length === 0) return undefined
  const groups = core.groupRows(results.rows, results.factors)
  if (groups.length > MOST_LINES)
    return `${rangeTable(results, core)}\n${groups.length} combinations; every result: ${join(directory, 'results.csv')}`
  const lines = groups.map(({ group, rows }) => [
    ...results.factors.map((name) => shorten(formatLevel(group[name]))),
    String(rows.length),
    ...results.results.map((name) => {
      const values = rows.map((row) => row[name])
      const statistics = core.statisticsOf(values)
      return statistics.n === 0 ? wordsOf(values) : meanText(statistics, core)
    }),
  ])
  return formatTable([...results.factors, 'n', ...results.results], lines)
}

function rangeTable({ results, rows }: RunResults, { formatSpread, statisticsOf }: Statistical): string {
  const number = (value: number | undefined): string => (value === undefined ? '' : formatSpread(value, undefined))
  const lines = results.map((name) => {
    const values = rows.map((row) => row[name])
    const { n, min, median, max } = statisticsOf(values)
    const present = values.filter((value) => value != null).length
    return [name, String(n === 0 ? present : n), number(min), number(median), number(max)]
  })
  return formatTable(['result', 'n', 'min', 'median', 'max'], lines)
}

/** `12.3 ± 0.4`; says how many values there are when some of them are missing. */
function meanText({ n, missing, mean, interval }: Statistics, { formatSpread }: Statistical): string {
  if (mean === undefined) return ''
  const half = interval === undefined ? undefined : (interval[1] - interval[0]) / 2
  const spread = half === undefined ? '' : ` ± ${formatSpread(half, half)}`
  return `${formatSpread(mean, half)}${spread}${missing > 0 ? ` (n = ${n})` : ''}`
}

/** Results that are words: each with its count when they differ. */
function wordsOf(values: readonly unknown[]): string {
  const counts = new Map<string, number>()
  for (const value of values) if (value != null) counts.set(formatLevel(value), (counts.get(formatLevel(value)) ?? 0) + 1)
  return shorten([...counts].map(([word, n]) => (counts.size === 1 ? word : `${word} × ${n}`)).join(', '))
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length > WIDEST_CELL ? `${line.slice(0, WIDEST_CELL - 1)}…` : line
}
