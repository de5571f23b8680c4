import { ConfigError } from './errors.js'
import { nearestName } from './util/nearest.js'

/**
 * Host sets in the notation of ClusterShell, which SLURM writes too: `node[01-10,12]`, several brackets `rack[1-2]-n[0-3]`,
 * steps `[0-10/2]`, zeros in front kept.
 *
 * @source ClusterShell 1.9 documentation, "Node sets": operators `,` union, `!` difference, `&` intersection, `^` symmetric
 * difference, from left to right without precedence; `@name` for groups
 */

/** A folded set may stand for more hosts than memory holds. */
const MAX_HOSTS = 1_000_000
/** Longer digit strings are text: they would not survive as numbers. */
const MAX_DIGITS = 15

export interface HostSetOptions {
  /** Hosts of a group that is written as `@name`; undefined when there is no such group. */
  readonly group?: ((name: string) => readonly string[] | undefined) | undefined
  /** Names of groups, for error messages. */
  readonly groupNames?: readonly string[]
  /** Where groups were looked for, in words, for error messages. */
  readonly groupPlaces?: string | undefined
}

/**
 * Unfolds a host set. Hosts come in the order in which they are written, each once; spaces and line ends separate like commas.
 *
 * @returns distinct host names that never begin with `-`
 * @throws ConfigError `E_HOST_SET` with the position in the text; more than 10^6 hosts are refused
 */
export function parseHostSet(text: string, options: HostSetOptions = {}): string[] {
  const reader = new Reader(text)
  let hosts = new Set<string>()
  let operator: string | undefined = ','
  while (true) {
    operator = reader.readOperator(operator)
    if (reader.atEnd) break
    const start = reader.position
    const term = readTerm(reader, options)
    if (hosts.size + term.length > MAX_HOSTS) throw reader.error(start, `more than ${MAX_HOSTS} hosts`)
    hosts = combine(hosts, operator, term)
    operator = undefined
  }
  return [...hosts]
}

/**
 * Folds hosts into the shortest notation that is easily found: sorted, each host once. {@link parseHostSet} gives the same set back.
 *
 * @throws ConfigError `E_HOST_SET` for a name that no host has: empty, with spaces or brackets, or beginning with `-`
 */
export function foldHosts(hosts: Iterable<string>): string {
  const families = new Map<string, string[][]>()
  for (const host of new Set(hosts)) {
    if (!/^[A-Za-z0-9_.:/%][A-Za-z0-9_.:/%@+=~-]*$/.test(host)) {
      throw new ConfigError('E_HOST_SET', `${JSON.stringify(host.slice(0, 100))} is no host name and cannot be part of a host set`)
    }
    const parts = host.split(/(?<![0-9])([0-9]{1,15})(?![0-9])/)
    const shape = parts.filter((_, i) => i % 2 === 0).join('\n')
    const family = families.get(shape)
    const digits = parts.filter((_, i) => i % 2 === 1)
    if (family === undefined) families.set(shape, [digits])
    else family.push(digits)
  }
  return [...families.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([shape, rows]) => foldFamily(shape.split('\n'), rows))
    .join(',')
}

function combine(left: Set<string>, operator: string | undefined, right: readonly string[]): Set<string> {
  switch (operator) {
    case '!':
      for (const host of right) left.delete(host)
      return left
    case '&': {
      const wanted = new Set(right)
      return new Set([...left].filter((host) => wanted.has(host)))
    }
    case '^':
      for (const host of new Set(right)) if (!left.delete(host)) left.add(host)
      return left
    default:
      for (const host of right) left.add(host)
      return left
  }
}

class Reader {
  readonly text: string
  position = 0

  constructor(text: string) {
    this.text = text
  }

  get atEnd(): boolean {
    return this.position >= this.text.length
  }

  /** Skips separators; the operator of the next term, which is `,` when there is only space. */
  readOperator(before: string | undefined): string {
    let operator = before
    for (; !this.atEnd; this.position++) {
      const char = this.text[this.position]!
      if (/\s/.test(char)) continue
      if (!',!&^'.includes(char)) break
      if (operator !== undefined) throw this.error(this.position, `"${char}" has no host before it`)
      operator = char
    }
    if (this.atEnd && operator !== undefined && this.text.trim() !== '') {
      throw this.error(this.text.trimEnd().length - 1, `"${operator}" has no host after it`)
    }
    return operator ?? ','
  }

  /** What matches here, which is then behind us; empty when nothing does. */
  take(pattern: RegExp): string {
    pattern.lastIndex = this.position
    const [found = ''] = pattern.exec(this.text) ?? []
    this.position += found.length
    return found
  }

  error(position: number, why: string, suggestions: readonly string[] = []): ConfigError {
    const text = this.text.length > 200 ? `${this.text.slice(0, 200)}…` : this.text
    return new ConfigError('E_HOST_SET', `host set ${JSON.stringify(text)}: ${why}, at character ${position + 1}`, {
      suggestions: suggestions.length > 0 ? suggestions : ['Write it like node[01-10,12] or a,b,c'],
      data: { text, position },
    })
  }
}

/** One host, one folded pattern or one group. */
function readTerm(reader: Reader, options: HostSetOptions): readonly string[] {
  const start = reader.position
  if (reader.text[start] === '@') return readGroup(reader, options)
  if (reader.text[start] === '-') throw reader.error(start, 'a host name does not begin with "-"')
  let names = ['']
  while (true) {
    const literal = reader.take(/[A-Za-z0-9_.:/%@+=~-]+/y)
    if (literal !== '') names = names.map((name) => name + literal)
    else if (reader.text[reader.position] === '[') {
      const indices = readBrackets(reader, Math.floor(MAX_HOSTS / names.length))
      names = names.flatMap((name) => indices.map((index) => name + index))
    } else break
  }
  const next = reader.text[reader.position]
  if (reader.position === start || (next !== undefined && !/[\s,!&^]/.test(next))) {
    const known = next === '*' || next === '?' ? ' (patterns of known hosts are not supported)' : ''
    throw reader.error(reader.position, next === ']' ? '"]" closes nothing' : `${JSON.stringify(next)} is not part of a host name${known}`)
  }
  return names
}

function readGroup(reader: Reader, { group, groupNames = [], groupPlaces }: HostSetOptions): readonly string[] {
  const start = reader.position
  const name = reader.take(/@[A-Za-z0-9_.:*-]*/y).slice(1)
  const hosts = group?.(name)
  if (hosts?.some((host) => host.startsWith('-'))) throw reader.error(start, `a host of the group ${name} begins with "-"`)
  if (hosts !== undefined) return hosts
  const near = nearestName(name, groupNames)
  throw reader.error(start, `there is no group ${JSON.stringify(name)}${groupPlaces === undefined ? '' : ` (${groupPlaces})`}`, [
    near === undefined ? 'Write hosts, or describe the group in the configuration' : `Did you mean @${near}?`,
  ])
}

/** `[1-3,05,0-10/2]`: the texts it stands for, in order. */
function readBrackets(reader: Reader, most: number): string[] {
  const open = reader.position++
  const indices: string[] = []
  while (true) {
    readRange(reader, open, indices, most)
    const end = reader.text[reader.position]
    if (end === undefined) throw reader.error(open, '"[" is never closed')
    reader.position++
    if (end === ']') return [...new Set(indices)]
    if (end !== ',') throw reader.error(reader.position - 1, `${JSON.stringify(end)} does not belong between "[" and "]"`)
  }
}

function readRange(reader: Reader, open: number, indices: string[], most: number): void {
  const start = reader.position
  const first = reader.take(/[0-9]+/y)
  if (first === '') throw reader.atEnd ? reader.error(open, '"[" is never closed') : reader.error(start, 'a number is missing')
  const dash = reader.take(/-/y)
  const last = dash === '' ? first : reader.take(/[0-9]+/y)
  const slash = dash === '' ? '' : reader.take(/\//y)
  const step = slash === '' ? '1' : reader.take(/[0-9]+/y)
  if (last === '' || step === '') throw reader.error(reader.position, 'a number is missing')
  if (Math.max(first.length, last.length, step.length) > MAX_DIGITS)
    throw reader.error(start, `a number has more than ${MAX_DIGITS} digits`)
  const [from, to, by] = [Number(first), Number(last), Number(step)]
  if (to < from) throw reader.error(start, `the range ${first}-${last} goes backwards`)
  if (by === 0) throw reader.error(start, 'a step of 0 leads nowhere')
  const padded = isZeroPadded(first)
  if (isZeroPadded(last) && last.length !== first.length) {
    throw reader.error(start, `the numbers of ${first}-${last} are padded differently`)
  }
  if (indices.length + (to - from) / by + 1 > most) throw reader.error(start, `more than ${MAX_HOSTS} hosts`)
  for (let number = from; number <= to; number += by) indices.push(padded ? String(number).padStart(first.length, '0') : String(number))
}

/** Rows of numbers for the places between the texts; the fewest products that a pass over the places finds. */
function foldFamily(texts: readonly string[], rows: readonly (readonly string[])[]): string[] {
  let boxes: string[][][] = rows.map((row) => row.map((digits) => [digits])).sort(compareBoxes)
  for (let place = texts.length - 2; place >= 0; place--) boxes = mergeAlong(boxes, place)
  return boxes.sort(compareBoxes).map((box) => texts.map((text, i) => text + (box[i] === undefined ? '' : formatIndices(box[i]))).join(''))
}

/** Joins boxes that differ at one place only. */
function mergeAlong(boxes: readonly string[][][], place: number): string[][][] {
  const merged = new Map<string, string[][]>()
  for (const box of boxes) {
    const key = box.map((indices, i) => (i === place ? '' : indices.join(','))).join('/')
    const other = merged.get(key)
    if (other === undefined) merged.set(key, box.with(place, [...box[place]!]))
    else other[place]!.push(...box[place]!)
  }
  for (const box of merged.values()) box[place]!.sort(compareDigits)
  return [...merged.values()]
}

/** `01-03,7-9`; a number alone needs no brackets. */
function formatIndices(indices: readonly string[]): string {
  if (indices.length === 1) return indices[0]!
  // A range is padded to one width: 10 goes with 09, else with 9.
  const widths = new Set(indices.filter(isZeroPadded).map((digits) => digits.length))
  const classes = new Map<number, string[]>()
  for (const digits of indices) {
    const width = widths.has(digits.length) ? digits.length : 0
    const members = classes.get(width)
    if (members === undefined) classes.set(width, [digits])
    else members.push(digits)
  }
  return `[${[...classes.values()].flatMap(formatRanges).join(',')}]`
}

/** @param sorted - digits of one width, or without padding */
function formatRanges(sorted: readonly string[]): string[] {
  const ranges: { readonly first: string; last: string }[] = []
  for (const digits of sorted) {
    const range = ranges.at(-1)
    if (range !== undefined && Number(digits) === Number(range.last) + 1) range.last = digits
    else ranges.push({ first: digits, last: digits })
  }
  return ranges.map(({ first, last }) => (first === last ? first : `${first}-${last}`))
}

function isZeroPadded(digits: string): boolean {
  return digits.length > 1 && digits.startsWith('0')
}

function compareDigits(a: string, b: string): number {
  return Number(a) - Number(b) || a.length - b.length
}

function compareBoxes(a: readonly string[][], b: readonly string[][]): number {
  for (let place = 0; place < a.length; place++) {
    const order = compareDigits(a[place]![0]!, b[place]![0]!)
    if (order !== 0) return order
  }
  return 0
}
