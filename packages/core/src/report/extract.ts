import { parse } from 'csv-parse/sync'
import type { z } from 'zod'
import { messageOf, systemCodeOf } from '../errors.js'
import type { CollectedFiles, ExtractSpec } from '../model/campaign.js'
import type { BoundedFiles } from './collected-files.js'
import { readBoolean, readNumber } from './read-number.js'
import { isOptional, type TextKind, textKindOf } from './result-schema.js'

/** Why a result could not be taken. */
export interface ExtractProblem {
  readonly field: string
  readonly message: string
  /** The text that it was read from, `stdout:12: elapsed ***** s`, at most 200 characters. */
  readonly line?: string
}

export type Extraction =
  | { readonly ok: true; readonly values: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly problems: readonly ExtractProblem[] }

/** A value as it was found, with the place where. */
interface Found {
  readonly value: unknown
  /** It is text: the schema says what it must become. */
  readonly isText: boolean
  readonly line?: string
}

class NotFound extends Error {
  readonly line: string | undefined
  constructor(message: string, line?: string) {
    super(message)
    this.line = line
  }
}

/**
 * Takes the results of one attempt from its files and checks them against the campaign's schema.
 *
 * Text becomes a number or a truth value only where the schema wants one; without a schema, text that is exactly a number
 * becomes one. A value that is not there is a problem unless its field is optional.
 */
export async function extractValues(
  spec: Readonly<Record<string, ExtractSpec>>,
  files: CollectedFiles | BoundedFiles,
  schema?: z.ZodObject,
): Promise<Extraction> {
  const values: Record<string, unknown> = {}
  const problems: ExtractProblem[] = []
  const lines = new Map<string, string>()
  for (const [field, from] of Object.entries(spec)) {
    const fieldSchema = schema?.shape[field]
    try {
      const found = await find(from, files)
      if (found.line !== undefined) lines.set(field, found.line)
      values[field] = found.isText ? fromText(found.value as string, fieldSchema) : found.value
    } catch (error) {
      const isAbsent = error instanceof NotFound || systemCodeOf(error) === 'ENOENT'
      if (isAbsent && fieldSchema !== undefined && isOptional(fieldSchema)) continue
      problems.push(problemOf(field, error))
    }
  }
  const failed = new Set(problems.map(({ field }) => field))
  const checked = schema === undefined ? values : check(schema, values, failed, lines, problems, spec)
  return problems.length > 0 ? { ok: false, problems } : { ok: true, values: checked }
}

/** One line for `why` and the log. */
export function describeProblems(problems: readonly ExtractProblem[]): string {
  return problems.map(({ field, message, line }) => `${field}: ${message}${line === undefined ? '' : ` (${line})`}`).join('; ')
}

function check(
  schema: z.ZodObject,
  values: Record<string, unknown>,
  failed: ReadonlySet<string>,
  lines: ReadonlyMap<string, string>,
  problems: ExtractProblem[],
  spec: Readonly<Record<string, ExtractSpec>>,
): Readonly<Record<string, unknown>> {
  const parsed = schema.safeParse(values)
  if (parsed.success) return { ...values, ...parsed.data }
  for (const issue of parsed.error.issues) {
    const field = String(issue.path[0] ?? '')
    if (failed.has(field)) continue
    const line = lines.get(field)
    const message =
      values[field] === undefined && !Object.hasOwn(spec, field)
        ? `the campaign's collect has no entry for it`
        : `${show(values[field])} does not fit: ${issue.message}`
    problems.push({ field: issue.path.join('.') || '(all)', message, ...(line !== undefined && { line }) })
  }
  return values
}

function problemOf(field: string, error: unknown): ExtractProblem {
  if (error instanceof NotFound) return { field, message: error.message, ...(error.line !== undefined && { line: error.line }) }
  const path = (error as { path?: unknown }).path
  if (systemCodeOf(error) === 'ENOENT' && typeof path === 'string') return { field, message: `there is no file ${path.split('/').at(-1)}` }
  return { field, message: messageOf(error) }
}

function fromText(text: string, schema: unknown): unknown {
  if (schema === undefined) return readNumber(text) ?? text
  return convert(text, textKindOf(schema)) ?? text
}

function convert(text: string, kind: TextKind): unknown {
  if (kind === 'number') return readNumber(text)
  if (kind === 'boolean') return readBoolean(text)
  if (kind === 'text') return text
  if (/^\s*[+-]?\d+\s*$/.test(text)) {
    const exact = BigInt(text.trim().replace(/^\+/, ''))
    if (kind === 'bigint') return exact
    return Number.isSafeInteger(Number(exact)) ? Number(exact) : undefined
  }
  return kind === 'integer' ? readNumber(text) : undefined
}

async function find(spec: ExtractSpec, files: CollectedFiles | BoundedFiles): Promise<Found> {
  if (typeof spec === 'function') {
    const value = await spec(files)
    if (value === undefined) throw new NotFound('the function returned nothing')
    return { value, isText: false }
  }
  if ('pattern' in spec) return findPattern(spec.pattern, spec.take, spec.from, files)
  if ('json' in spec) return findJson(spec.json, spec.from, files)
  return findCell(spec.csv, spec.row, spec.from, files)
}

// ---- patterns

const WINDOWS = [256 << 10, 4 << 20, 64 << 20]

function findPattern(pattern: RegExp | string, take: 'first' | 'last', from: string, files: CollectedFiles | BoundedFiles): Found {
  const expression = typeof pattern === 'string' ? new RegExp(pattern, 'm') : pattern
  const flags = expression.flags.replaceAll(/[gy]/g, '')
  const wanted = new RegExp(expression.source, take === 'last' ? `${flags}g` : flags)
  let seen = ''
  for (const window of windowsOf(from, take, wanted, files)) {
    seen = window.text
    const match = take === 'last' ? lastMatch(wanted, seen) : wanted.exec(seen)
    if (match === null) continue
    const value = match.groups?.['value'] ?? (match.length > 1 ? match[1] : match[0])
    const line = lineAt(from, seen, match.index + match[0].length - 1, window.startsFile)
    if (value === undefined) throw new NotFound(`${expression} matched, but its group took nothing`, line)
    return { value, isText: true, line }
  }
  throw new NotFound(`${expression} is not in ${from}`, lastLineOf(from, seen))
}

function lastMatch(expression: RegExp, text: string): RegExpExecArray | null {
  let last: RegExpExecArray | null = null
  for (let match = expression.exec(text); match !== null; match = expression.exec(text)) {
    last = match
    if (match[0] === '') expression.lastIndex++
  }
  return last
}

interface Window {
  readonly text: string
  readonly startsFile: boolean
}

/** Growing parts of a file, from the side that is asked for; a small file, or one that must be seen whole, in one. */
function* windowsOf(from: string, take: 'first' | 'last', expression: RegExp, files: CollectedFiles | BoundedFiles): Generator<Window> {
  // Anchors of the whole text and looks behind need to know what stands before.
  const needsWhole =
    (!expression.multiline && /(?<!\\)[$^]/.test(expression.source)) ||
    expression.source.includes('(?<!') ||
    expression.source.includes('(?<=')
  if (!('tail' in files) || needsWhole || files.size(from) <= WINDOWS[0]!) {
    yield { text: textOf(from, files), startsFile: true }
    return
  }
  const size = files.size(from)
  for (const bytes of WINDOWS) {
    yield { text: take === 'last' ? files.tail(from, bytes) : files.head(from, bytes), startsFile: take === 'first' || bytes >= size }
    if (bytes >= size) return
  }
  throw new NotFound(`${expression} is not in the ${take} ${WINDOWS.at(-1)! >> 20} MiB of ${from}, which has ${size >> 20} MiB`)
}

function textOf(from: string, files: CollectedFiles): string {
  if (from === 'stdout') return files.stdout()
  if (from === 'stderr') return files.stderr()
  return files.text(from)
}

// ---- JSON and CSV

function findJson(path: string, from: string, files: CollectedFiles): Found {
  const text = textOf(from, files)
  const document = parseJson(text, from)
  let value: unknown = document
  let walked = ''
  for (const step of stepsOf(path)) {
    const has = typeof value === 'object' && value !== null && Object.hasOwn(value, step)
    if (!has) {
      const known = typeof value === 'object' && value !== null ? Object.keys(value).slice(0, 8).join(', ') : 'nothing inside'
      throw new NotFound(`the JSON of ${from} has no ${walked}${step} (there is: ${known})`)
    }
    value = (value as Record<string, unknown>)[step]
    walked += `${step}.`
  }
  const shown = `${from}: ${path === '' ? '' : `${path} = `}${show(value)}`
  return { value, isText: false, line: shown.slice(0, 200) }
}

/** `times[0].wall` → `times`, `0`, `wall`. */
function stepsOf(path: string): readonly string[] {
  return path.split(/[.[\]]+/).filter((step) => step !== '')
}

function parseJson(text: string, from: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // Programs print other lines before: the last line counts.
    const last = text.trimEnd().split('\n').at(-1) ?? ''
    try {
      return JSON.parse(last)
    } catch {
      const hint = /\b(NaN|Infinity)\b/.test(text) ? '; NaN and Infinity are not JSON' : ''
      const why = text.trim() === '' ? 'it is empty' : `${messageOf(error).slice(0, 120)}${hint}`
      throw new NotFound(`${from} is not JSON, nor is its last line: ${why}`, lastLineOf(from, text))
    }
  }
}

function findCell(column: string, row: 'first' | 'last' | number, from: string, files: CollectedFiles): Found {
  let rows: Record<string, string>[]
  try {
    rows = parse(textOf(from, files), {
      columns: true,
      skip_empty_lines: true,
      trim: true,
      bom: true,
      comment: '#',
      comment_no_infix: true,
    })
  } catch (error) {
    if (systemCodeOf(error)?.startsWith('CSV_')) throw new NotFound(`${from} cannot be read as CSV: ${messageOf(error)}`)
    throw error
  }
  const index = row === 'first' ? 0 : row === 'last' ? rows.length - 1 : row < 0 ? rows.length + row : row
  const record = rows[index]
  if (record === undefined) throw new NotFound(`the CSV of ${from} has ${rows.length} rows, not row ${row}`)
  const value = record[column]
  if (value === undefined)
    throw new NotFound(`the CSV of ${from} has no column ${column} (there is: ${Object.keys(record).slice(0, 8).join(', ')})`)
  return { value, isText: true, line: `${from}, row ${index + 1}: ${Object.values(record).join(',')}`.slice(0, 200) }
}

// ---- what is shown

function lineAt(from: string, text: string, index: number, startsFile: boolean): string {
  const start = text.lastIndexOf('\n', Math.max(0, index - 1)) + 1
  const end = text.indexOf('\n', start)
  const number = startsFile ? `:${text.slice(0, start).split('\n').length}` : ''
  return `${from}${number}: ${text.slice(start, end === -1 ? undefined : end).trim()}`.slice(0, 200)
}

function lastLineOf(from: string, text: string): string {
  const last = text.trimEnd().split('\n').at(-1) ?? ''
  return last.trim() === '' ? `${from} is empty` : `last line of ${from}: ${last.trim()}`.slice(0, 200)
}

function show(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'bigint' || value === undefined) return String(value)
  return (JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? String(value)).slice(0, 120)
}
