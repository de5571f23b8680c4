import type { TransferResult } from '@cahier/core/hosts'
import { type Fault, type FaultWords, foldNames, formatFaultLines } from './fault-lines.js'
import { formatFilledTable } from './table.js'
import type { Measured } from './transfer-meter.js'

export interface TransferCounts {
  readonly hosts: number
  readonly done: number
  readonly same: number
  readonly failed: number
  readonly unreachable: number
}

export function countResults(results: readonly TransferResult[]): TransferCounts {
  const count = (outcome: TransferResult['outcome']): number => results.filter((result) => result.outcome === outcome).length
  return {
    hosts: results.length,
    done: count('done'),
    same: count('skipped-same'),
    failed: count('failed'),
    unreachable: count('unreachable'),
  }
}

/** What is written of numbers. */
export interface NumberWords {
  formatBytes(bytes: number): string
}

/** The bar takes the room that is left, within these. */
const LONGEST_BAR = 20
const SHORTEST_BAR = 8
const PHASES = {
  starting: 'looking at the files here',
  connecting: 'connecting',
  looking: 'looking what is there',
  moving: 'moving',
  checking: 'checking',
  ended: '',
} as const
/** What stands there is as wide as this, or the line would tremble. */
const AMOUNT = '999 MB'.length
const RATE = '999 MB/s'.length
const LEFT = '99 min left'.length

/**
 * The line that is always up to date. On a narrow terminal the less important parts are left out.
 *
 * @param width - columns that may be used
 */
export function formatMeasured(measured: Measured, { formatBytes }: NumberWords, width: number): string {
  const { hosts, good, failed, unreachable, bytes, total, rate, secondsLeft, phase, phaseSeconds } = measured
  const part = total === undefined || total === 0 ? undefined : Math.min(1, bytes / total)
  const faults = [failed > 0 ? `, ${failed} failed` : '', unreachable > 0 ? `, ${unreachable} not reached` : ''].join('')
  const isMoving = phase === 'moving' && rate !== undefined
  const left = isMoving && secondsLeft !== undefined ? `${formatLeft(secondsLeft)} left` : ''
  // In the order of the line, with their importance: 1 stays longest.
  const parts: readonly (readonly [number, string])[] = [
    [2, part === undefined ? '' : `${String(Math.floor(part * 100)).padStart(3)} %`],
    [5, total === undefined ? '' : `${formatBytes(bytes).padStart(AMOUNT)} of ${formatBytes(total)}`],
    [4, isMoving ? `${formatBytes(rate)}/s`.padStart(RATE) : `${PHASES[phase]}${formatSince(phase === 'ended' ? 0 : phaseSeconds)}`],
    [3, isMoving ? left.padStart(LEFT) : ''],
    [1, `${good + failed + unreachable}/${hosts} ${hosts === 1 ? 'host' : 'hosts'}${faults}`],
  ]
  for (let least = 5; least > 1; least--) {
    const line = joined(parts, least)
    if (line.length > width) continue
    const room = Math.min(LONGEST_BAR, width - line.length - GAP.length)
    return least < 5 || part === undefined || room < SHORTEST_BAR ? line : `${formatBar(part, room)}${GAP}${line}`
  }
  return joined(parts, 1)
}

function formatBar(part: number, width: number): string {
  const full = Math.round(part * width)
  return `${'█'.repeat(full)}${'░'.repeat(width - full)}`
}

const GAP = '  '

function joined(parts: readonly (readonly [number, string])[], least: number): string {
  return parts
    .filter(([importance, text]) => importance <= least && text !== '')
    .map(([, text]) => text)
    .join(GAP)
}

/** So long nothing is to be seen of what goes on: it goes on. */
function formatSince(seconds: number): string {
  return seconds < 3 ? '' : `, ${formatLeft(Math.floor(seconds))}`
}

function formatLeft(seconds: number): string {
  if (seconds < 99.5) return `${Math.max(1, Math.round(seconds))} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 100 ? `${minutes} min` : `${Math.round(minutes / 60)} h`
}

const HEADS = ['host', 'outcome', 'files', 'bytes', 'seconds', 'rate', 'verified', 'reason'] as const
/** Columns that are left out on a narrow terminal, in this order: lines below the table say the reasons. */
const DISPENSABLE: readonly (typeof HEADS)[number][] = ['reason', 'verified', 'rate', 'files', 'bytes']
const OUTCOMES = { done: 'done', 'skipped-same': 'same', failed: 'failed', unreachable: 'not reached' } as const
/** More are folded when they went alike. */
const MOST_ROWS = 10
/** Columns of a folded host set that are always shown. */
const NARROWEST_NAMES = 16

/** The table at the end. @param width - of the terminal; undefined: as wide as it takes */
export function formatResults(results: readonly TransferResult[], words: NumberWords & FaultWords, width: number | undefined): string {
  const groups = results.length > MOST_ROWS ? alike(results) : results.map((result) => [result])
  // Names of many hosts are said again below where something went wrong, and may not take the place of everything else.
  const most = width === undefined ? Number.POSITIVE_INFINITY : Math.max(NARROWEST_NAMES, Math.floor(width / 3))
  const rows = groups.map((group) => rowOf(group, words, most))
  const left = [...HEADS]
  for (const dispensable of ['', ...DISPENSABLE]) {
    const at = left.indexOf(dispensable as (typeof HEADS)[number])
    if (at >= 0) left.splice(at, 1)
    const columns = left.map((head) => HEADS.indexOf(head))
    const picked = rows.map((row) => columns.map((column) => row[column] ?? ''))
    const table = formatFilledTable(left, picked)
    if (width === undefined || Math.max(...table.split('\n').map((line) => line.length)) <= width) return table
    if (dispensable === DISPENSABLE.at(-1)) return formatFilledTable(left, picked, { width, shrink: [0] })
  }
  return ''
}

/** Hosts on which the same happened, in the order of the first of each. How much it was may differ. */
function alike(results: readonly TransferResult[]): readonly (readonly TransferResult[])[] {
  const groups = new Map<string, TransferResult[]>()
  for (const result of results) {
    const { outcome, bytes, files, verified, via, error } = result
    const key = JSON.stringify([outcome, bytes > 0, files > 0, verified, via, error?.code])
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [result])
    else group.push(result)
  }
  return [...groups.values()]
}

function rowOf(group: readonly TransferResult[], words: NumberWords & FaultWords, mostOfNames: number): string[] {
  const [first] = group as readonly [TransferResult]
  const { outcome, verified, error } = first
  const hosts = foldNames(
    group.map(({ host }) => host ?? ''),
    words,
  )
  const isGood = outcome === 'done' || outcome === 'skipped-same'
  const all = (of: 'files' | 'same' | 'bytes' | 'seconds', format: (value: number) => string): string =>
    between(
      group.map((one) => one[of]),
      format,
    )
  const rates = group.flatMap((one) => (one.bytes > 0 && one.seconds > 0 ? [one.bytes / one.seconds] : []))
  const same = group.some((one) => one.same > 0) ? ` + ${all('same', String)} same` : ''
  return [
    group.length === 1 ? hosts : shortened(hosts, `(${group.length})`, mostOfNames),
    OUTCOMES[outcome],
    isGood || first.files > 0 ? `${all('files', String)}${same}` : '',
    isGood || first.bytes > 0 ? all('bytes', words.formatBytes) : '',
    all('seconds', (seconds) => seconds.toFixed(1)),
    rates.length === 0 ? '' : between(rates, (rate) => `${words.formatBytes(rate)}/s`),
    verified === 'none' ? '' : verified,
    error?.code ?? '',
  ]
}

/** Names that are too many are cut in front of their number. */
function shortened(hosts: string, count: string, most: number): string {
  const room = most - count.length - 1
  return `${hosts.length <= room ? hosts : `${hosts.slice(0, room - 1)}…`} ${count}`
}

/** The least and the largest, with the unit once. */
function between(values: readonly number[], format: (value: number) => string): string {
  const [least, largest] = [format(Math.min(...values)), format(Math.max(...values))]
  if (least === largest) return least
  const unit = / .*$/.exec(largest)?.[0] ?? ''
  return `${unit !== '' && least.endsWith(unit) ? least.slice(0, -unit.length) : least}-${largest}`
}

/** Files of a host that are named one by one. */
const MOST_FILES = 5

/** The lines about hosts on which something went wrong, with what would help. */
export function formatTransferFaults(results: readonly TransferResult[], words: FaultWords): readonly string[] {
  return formatFaultLines(
    results.flatMap((result) => faultOf(result) ?? []),
    words,
  )
}

function faultOf({ host = '', outcome, error, failures = [] }: TransferResult): Fault | undefined {
  if (outcome === 'done' || outcome === 'skipped-same') return undefined
  const { code = 'E_TRANSFER', message = 'nobody knows why', suggestions = [] } = error ?? {}
  const unreachable = outcome === 'unreachable'
  const common = unreachable ? `not reached, ${code}` : code
  const details =
    failures.length > 1 ? failures.slice(0, MOST_FILES).map(({ file, code: own, message: why }) => `${file}: ${own}: ${why}`) : []
  if (failures.length > MOST_FILES) details.push(`and ${failures.length - MOST_FILES} files more; --json names them`)
  return {
    host,
    key: `${outcome} ${code}`,
    text: `${common}: ${message}`,
    common,
    example: `First: ${message}`,
    unreachable,
    code,
    suggestions,
    details,
  }
}

/** Names of files that were left out, said once when they are the same everywhere. */
export function formatLeftOut(results: readonly TransferResult[], words: Pick<FaultWords, 'foldHosts'>): readonly string[] {
  const groups = new Map<string, string[]>()
  for (const { host = '', leftOut = [] } of results) {
    if (leftOut.length === 0) continue
    const named = leftOut.slice(0, MOST_FILES).map(({ file, why }) => `${file} (${why})`)
    const more = leftOut.length > MOST_FILES ? ` and ${leftOut.length - MOST_FILES} more` : ''
    const text = `${named.join(', ')}${more}`
    groups.set(text, [...(groups.get(text) ?? []), host])
  }
  const isEverywhere = groups.size === 1 && [...groups.values()][0]?.length === results.length
  return [...groups].map(([text, hosts]) => `${isEverywhere ? '' : `${foldNames(hosts, words)}: `}left out: ${text}`)
}

/** The last line: what came of all hosts. @param seconds - of the whole transfer */
export function formatTransferEnd(results: readonly TransferResult[], seconds: number, { formatBytes }: NumberWords): string {
  const { hosts, done, same, failed, unreachable } = countResults(results)
  const bytes = results.reduce((sum, one) => sum + one.bytes, 0)
  const parts = [
    `${done + same} ok`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(unreachable > 0 ? [`${unreachable} not reached`] : []),
    ...(bytes > 0 && seconds > 0 ? [`${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${formatBytes(bytes / seconds)}/s)`] : []),
  ]
  return `${hosts} ${hosts === 1 ? 'host' : 'hosts'}: ${parts.join(', ')}`
}

/** Of a host that was not reached, and of a time limit, as `cahier exec` has them. */
const NOT_REACHED = 255
const TIMED_OUT = 124

/** The largest of all hosts. */
export function exitCodeOfTransfer({ failed, unreachable }: TransferCounts, timedOut: boolean): number {
  return Math.max(unreachable > 0 ? NOT_REACHED : 0, timedOut ? TIMED_OUT : 0, failed > 0 ? 1 : 0)
}
