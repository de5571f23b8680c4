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

const BAR = 20
const PHASES = { connecting: 'connecting', looking: 'looking', moving: '', checking: 'checking', ended: '' } as const

/**
 * The line that is always up to date. On a narrow terminal the less important parts are left out.
 *
 * @param width - columns that may be used
 */
export function formatMeasured(measured: Measured, { formatBytes }: NumberWords, width: number): string {
  const { hosts, good, failed, unreachable, bytes, total, rate, secondsLeft, phase } = measured
  const part = total === undefined || total === 0 ? undefined : Math.min(1, bytes / total)
  const faults = [failed > 0 ? `, ${failed} failed` : '', unreachable > 0 ? `, ${unreachable} not reached` : ''].join('')
  const isMoving = phase === 'moving' && rate !== undefined
  // In the order of the line, with their importance: 1 stays longest.
  const parts: readonly (readonly [number, string])[] = [
    [6, part === undefined ? '' : `${'█'.repeat(Math.round(part * BAR))}${'░'.repeat(BAR - Math.round(part * BAR))}`],
    [2, part === undefined ? '' : `${String(Math.floor(part * 100)).padStart(3)} %`],
    [5, total === undefined ? '' : `${formatBytes(bytes)} of ${formatBytes(total)}`],
    [4, isMoving ? `${formatBytes(rate)}/s` : PHASES[phase]],
    [3, isMoving && secondsLeft !== undefined ? `${formatLeft(secondsLeft)} left` : ''],
    [1, `${good + failed + unreachable}/${hosts} ${hosts === 1 ? 'host' : 'hosts'}${faults}`],
  ]
  for (let least = 6; least > 1; least--) {
    const line = joined(parts, least)
    if (line.length <= width) return line
  }
  return joined(parts, 1)
}

function joined(parts: readonly (readonly [number, string])[], least: number): string {
  return parts
    .filter(([importance, text]) => importance <= least && text !== '')
    .map(([, text]) => text)
    .join('  ')
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

/** The table at the end. @param width - of the terminal; undefined: as wide as it takes */
export function formatResults(results: readonly TransferResult[], words: NumberWords & FaultWords, width: number | undefined): string {
  const groups = results.length > MOST_ROWS ? alike(results) : results.map((result) => [result])
  const rows = groups.map((group) => rowOf(group, words))
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

/** Hosts on which the same happened, in the order of the first of each. */
function alike(results: readonly TransferResult[]): readonly (readonly TransferResult[])[] {
  const groups = new Map<string, TransferResult[]>()
  for (const result of results) {
    const { outcome, bytes, files, same, verified, via, error } = result
    const key = JSON.stringify([outcome, bytes, files, same, verified, via, error?.code])
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [result])
    else group.push(result)
  }
  return [...groups.values()]
}

function rowOf(group: readonly TransferResult[], words: NumberWords & FaultWords): string[] {
  const [first] = group as readonly [TransferResult]
  const { outcome, files, same, bytes, verified, error } = first
  const hosts = foldNames(
    group.map(({ host }) => host ?? ''),
    words,
  )
  const isGood = outcome === 'done' || outcome === 'skipped-same'
  const rates = group.flatMap((one) => (one.bytes > 0 && one.seconds > 0 ? [one.bytes / one.seconds] : []))
  return [
    group.length === 1 ? hosts : `${hosts} (${group.length})`,
    OUTCOMES[outcome],
    isGood || files > 0 ? `${files}${same > 0 ? ` + ${same} same` : ''}` : '',
    isGood || bytes > 0 ? words.formatBytes(bytes) : '',
    between(
      group.map(({ seconds }) => seconds),
      (seconds) => seconds.toFixed(1),
    ),
    rates.length === 0 ? '' : between(rates, (rate) => `${words.formatBytes(rate)}/s`),
    verified === 'none' ? '' : verified,
    error?.code ?? '',
  ]
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

/** The last line, when something went wrong. */
export function formatTransferEnd({ hosts, done, same, failed, unreachable }: TransferCounts): string {
  const parts = [
    `${done + same} ok`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(unreachable > 0 ? [`${unreachable} not reached`] : []),
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
