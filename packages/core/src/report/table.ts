import { stringify } from 'csv-stringify/sync'
import type { ResultRow } from '../model/campaign.js'
import type { ResultRecord } from '../model/result.js'

/** Columns of the tidy table, in order. */
export interface TableColumns {
  readonly factors: readonly string[]
  readonly results: readonly string[]
  /** Name of each column that is not a factor or a result; the keys say what it holds. */
  readonly fixed: Readonly<Record<FixedColumn, string>>
  readonly all: readonly string[]
}

type FixedColumn = 'repetition' | 'attempt' | 'seconds' | 'host' | 'started' | 'ended' | 'id'
const FIXED: readonly FixedColumn[] = ['repetition', 'attempt', 'seconds', 'host', 'started', 'ended', 'id']

/**
 * The columns for these records: factors, repetition, attempt, results, then how the attempt ran: `seconds`, `host`,
 * `started`, `ended`, `id`. A factor or result with one of these names keeps it, and the other becomes `job_seconds` and so on.
 * Factors and results that only some records have come after the ones that were announced, in order of first appearance.
 */
export function columnsOf(
  records: Iterable<ResultRecord>,
  announced: { readonly factors?: readonly string[]; readonly results?: readonly string[] } = {},
): TableColumns {
  const factors = new Set(announced.factors)
  const results = new Set(announced.results)
  for (const record of records) {
    for (const name in record.combination) factors.add(name)
    for (const name in record.values) results.add(name)
  }
  for (const name of factors) results.delete(name)
  const fixed = {} as Record<FixedColumn, string>
  for (const name of FIXED) {
    let free: string = name
    while (factors.has(free) || results.has(free)) free = `job_${free}`
    fixed[name] = free
  }
  const { repetition, attempt, ...rest } = fixed
  const all = [...factors, repetition, attempt, ...results, ...Object.values(rest)]
  return { factors: [...factors], results: [...results], fixed, all }
}

/** The tidy table, row by row: one object per attempt that counts, a key per column, `null` where there is nothing. */
export function* tableRows(records: Iterable<ResultRecord>, columns: TableColumns): Generator<ResultRow> {
  const { factors, results, fixed } = columns
  for (const record of records) {
    const row: Record<string, unknown> = {}
    for (const name of factors) row[name] = record.combination[name] ?? null
    row[fixed.repetition] = record.repetition
    row[fixed.attempt] = record.attempt
    for (const name of results) row[name] = record.values[name] ?? null
    const { startedAt, endedAt } = record
    row[fixed.seconds] = startedAt === undefined || endedAt === undefined ? null : (endedAt - startedAt) / 1000
    row[fixed.host] = record.host ?? null
    row[fixed.started] = isoTime(startedAt)
    row[fixed.ended] = isoTime(endedAt)
    row[fixed.id] = record.id
    yield row
  }
}

/**
 * The table as CSV: commas, a head line, LF line ends, quotes where a field needs them. Text keeps its bytes: nothing is put
 * before a leading `=` or `+`, so a spreadsheet may take such a level for a formula. An empty text is `""`, nothing is nothing.
 *
 * @param columns - which columns in which order; default: those of the first row
 */
export function tableToCsv(rows: Iterable<ResultRow>, columns?: readonly string[]): string {
  return [...csvChunks(rows, columns)].join('')
}

/** {@link tableToCsv} in pieces of about 1,000 rows, for tables that should not be in memory as one text. */
export function* csvChunks(rows: Iterable<ResultRow>, columns?: readonly string[]): Generator<string> {
  let names = columns
  let batch: unknown[][] = names === undefined ? [] : [[...names]]
  const flush = () => {
    const text = stringify(batch, {
      cast: { boolean: String, number: numberText, bigint: String, object: jsonText, date: (date) => date.toISOString() },
      quoted_empty: false,
      quoted_match: /[\r\n]|^\s|\s$|^$/,
    })
    batch = []
    return text
  }
  for (const row of rows) {
    if (names === undefined) {
      names = Object.keys(row)
      batch.push([...names])
    }
    batch.push(names.map((name) => row[name] ?? null))
    if (batch.length >= 1000) yield flush()
  }
  if (batch.length > 0) yield flush()
}

/** The table as JSON lines. What JSON cannot say is text: `"NaN"`, `"Infinity"`, `"-Infinity"`, and integers beyond 2^53. */
export function tableToJsonl(rows: Iterable<ResultRow>): string {
  return [...jsonlChunks(rows)].join('')
}

/** {@link tableToJsonl} in pieces of about 1,000 rows. */
export function* jsonlChunks(rows: Iterable<ResultRow>): Generator<string> {
  let lines: string[] = []
  for (const row of rows) {
    lines.push(`${jsonText(row)}\n`)
    if (lines.length < 1000) continue
    yield lines.join('')
    lines = []
  }
  if (lines.length > 0) yield lines.join('')
}

/** A cell as people read it and as CSV writes it. */
export function cellText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return numberText(value)
  return typeof value === 'object' ? jsonText(value) : String(value)
}

function numberText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

function jsonText(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner === 'number' && !Number.isFinite(inner)) return String(inner)
    if (typeof inner !== 'bigint') return inner
    return Number.isSafeInteger(Number(inner)) ? Number(inner) : String(inner)
  })
}

function isoTime(ms: number | undefined): string | null {
  return ms === undefined || !Number.isFinite(ms) ? null : new Date(ms).toISOString()
}
