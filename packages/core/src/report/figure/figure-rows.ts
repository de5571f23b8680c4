import type { FigureSpec, ResultRow } from '../../model/campaign.js'
import { groupRows, keyOf, type RowGroup } from '../statistics.js'
import { cellText } from '../table.js'
import type { FigureMeta } from '../types.js'
import { formatNumber } from './scale.js'

/** Columns of a figure's `by`. */
export function byColumns(by: string | readonly string[] | undefined): readonly string[] {
  return by === undefined ? [] : typeof by === 'string' ? [by] : by
}

/** Rows that the figure's `where` keeps. */
export function keptRows(rows: Iterable<ResultRow>, where: FigureSpec['where']): readonly ResultRow[] {
  if (where === undefined) return [...rows]
  const wanted = Object.entries(where).map(([column, value]) => [column, keyOf(value)] as const)
  return [...rows].filter((row) => wanted.every(([column, key]) => keyOf(row[column]) === key))
}

/** `seconds (s)` */
export function axisLabel(column: string, meta: FigureMeta): string {
  const unit = meta.units?.[column]
  return unit === undefined || unit === '' ? column : `${column} (${unit})`
}

/** A value in a legend or on a category axis. */
export function valueLabel(value: unknown): string {
  if (typeof value === 'number') return formatNumber(value, 6)
  const text = cellText(value)
  return text === '' ? '(empty)' : text
}

/** Groups with a name for the legend: `8` under the head `cores`, or `cores 8, python system` without one. */
export function namedGroups(rows: readonly ResultRow[], by: readonly string[]): readonly (RowGroup & { readonly name: string })[] {
  return sortedGroups(groupRows(rows, by), by).map((group) => ({
    ...group,
    name: by.length === 1 ? valueLabel(group.group[by[0]!]) : by.map((column) => `${column} ${valueLabel(group.group[column])}`).join(', '),
  }))
}

/** Numbers in order, anything else in order of first appearance. */
function sortedGroups(groups: readonly RowGroup[], by: readonly string[]): readonly RowGroup[] {
  const numeric = by.filter((column) => groups.every(({ group }) => isNumber(group[column])))
  if (numeric.length !== by.length) return groups
  return [...groups].sort((a, b) => {
    for (const column of by) {
      const difference = Number(a.group[column]) - Number(b.group[column])
      if (difference !== 0) return difference
    }
    return 0
  })
}

/** Factors that vary between rows which the figure puts into one point, for the note below it. */
export function averagedFactors(rows: readonly ResultRow[], shown: readonly string[], meta: FigureMeta): readonly string[] {
  const others = (meta.factors ?? []).filter((factor) => !shown.includes(factor))
  return others.filter((factor) => new Set(rows.map((row) => keyOf(row[factor]))).size > 1)
}

export function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value))
}

/** A number that an axis can hold without leaving what numbers can say. */
export function hasPlace(value: number | undefined): value is number {
  return value === 0 || (value !== undefined && Math.abs(value) <= 1e300 && Math.abs(value) >= 1e-300)
}

/** `3`, or `3 to 5`. */
export function countText(counts: readonly number[]): string {
  const low = counts.reduce((a, b) => Math.min(a, b), Infinity)
  const high = counts.reduce((a, b) => Math.max(a, b), 0)
  return low === high ? String(low) : `${low} to ${high}`
}
