import { type ExecutionStatistics, mergeStatistics } from './statistics.js'

/** What a report can be made of: processes, actions, other reports. */
export interface Reportable {
  stats(): ExecutionStatistics
}

type Columns = readonly (readonly [string, keyof ExecutionStatistics])[]

const COLUMNS: Columns = [
  ['hosts', 'hosts'],
  ['started', 'started'],
  ['ended', 'ended'],
  ['errors', 'errors'],
  ['unreachable', 'unreachable'],
  ['timeouts', 'timeouts'],
  ['forced', 'forcedKills'],
  ['no match', 'expectFailures'],
  ['write', 'writeErrors'],
  ['exit≠0', 'nonZeroExits'],
  ['ok', 'ok'],
  ['total', 'processes'],
]
/** Of no interest as long as everything is on this machine. */
const REMOTE_COLUMNS = new Set(['hosts', 'unreachable'])
const NAME_WIDTH = 31

/** A table of what processes and actions did. It is live: it shows what is true when it is printed. */
export class Report implements Reportable {
  name: string
  readonly #members: Reportable[]

  constructor(members: readonly Reportable[] = [], options: { readonly name?: string } = {}) {
    this.#members = [...members]
    this.name = options.name ?? 'Report'
  }

  add(...members: Reportable[]): this {
    this.#members.push(...members)
    return this
  }

  stats(): ExecutionStatistics {
    return mergeStatistics(
      this.name,
      this.#members.map((member) => member.stats()),
    )
  }

  toJSON(): ExecutionStatistics {
    return this.stats()
  }

  /** One line per member by date of start, members inside indented, and the total. `brief`: the total only. */
  toString(options: { readonly brief?: boolean } = {}): string {
    const stats = this.stats()
    const columns = COLUMNS.filter(([title]) => stats.hosts.length > 0 || !REMOTE_COLUMNS.has(title))
    const rows: string[][] = [['Name', 'start', 'end', 'length', ...columns.map(([title]) => title)]]
    if (options.brief !== true) {
      const members = [...stats.members].sort((one, other) => time(one.startDate) - time(other.startDate))
      for (const member of members) addRows(rows, member, columns, 0)
    }
    rows.push(rowOf(stats, columns, 0))
    const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
    return rows
      .map((row) =>
        row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  '),
      )
      .join('\n')
  }
}

function addRows(rows: string[][], stats: ExecutionStatistics, columns: Columns, depth: number): void {
  rows.push(rowOf(stats, columns, depth))
  for (const member of stats.members) addRows(rows, member, columns, depth + 1)
}

function rowOf(stats: ExecutionStatistics, columns: Columns, depth: number): string[] {
  // The same command on many hosts: only the host tells the rows apart.
  const isProcess = stats.members.length === 0 && stats.processes === 1
  const full = isProcess && stats.hosts.length === 1 ? `${stats.hosts[0]}: ${stats.name}` : stats.name
  const name = '  '.repeat(depth) + (full.length > NAME_WIDTH ? `${full.slice(0, NAME_WIDTH - 3)}...` : full)
  const { startDate, endDate } = stats
  const length =
    startDate !== undefined && endDate !== undefined ? `${((endDate.getTime() - startDate.getTime()) / 1000).toFixed(1)} s` : ''
  return [name, localTime(startDate), localTime(endDate), length, ...columns.map(([, field]) => cellOf(stats[field]))]
}

function cellOf(value: unknown): string {
  return String(Array.isArray(value) ? value.length : value)
}

function localTime(date: Date | undefined): string {
  if (date === undefined) return ''
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

function time(date: Date | undefined): number {
  return date?.getTime() ?? Number.POSITIVE_INFINITY
}
