import type { OutputGroup, ProcessResult } from '@cahier/core/hosts'
import { type Fault, type FaultWords, foldNames, formatFaultLines } from './fault-lines.js'

/** What is looked at of the process of one host. */
export interface HostProcess {
  readonly host: { toString(): string }
  readonly ok: boolean
  /** It was told to end. */
  readonly killed: boolean
  readonly result: ProcessResult | undefined
}

export interface ExecCounts {
  readonly hosts: number
  readonly ok: number
  readonly failed: number
  readonly unreachable: number
}

/** Not reached is not failed: nothing is known of the command there. */
export function kindOf({ ok, killed, result }: HostProcess): 'ok' | 'failed' | 'unreachable' | 'open' {
  if (result === undefined) return 'open'
  if (result.outcome === 'unreachable') return 'unreachable'
  if (result.outcome === 'canceled' && result.startedAt === undefined) return 'open'
  return ok && !killed ? 'ok' : 'failed'
}

export function countHosts(processes: readonly HostProcess[]): ExecCounts {
  const kinds = processes.map(kindOf)
  const count = (kind: ReturnType<typeof kindOf>): number => kinds.filter((one) => one === kind).length
  return { hosts: processes.length, ok: count('ok'), failed: count('failed'), unreachable: count('unreachable') }
}

/** Names of hosts that are said when no more than these are waited for. */
const FEW = 3

/** What stands on the live line: how many are done, and at the end who is waited for. */
export function formatProgress(processes: readonly HostProcess[]): string {
  const { hosts, ok, failed, unreachable } = countHosts(processes)
  const open = hosts - ok - failed - unreachable
  const parts = [
    `${ok + failed + unreachable}/${hosts} done`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(unreachable > 0 ? [`${unreachable} unreachable`] : []),
    ...(open > 0 && open <= FEW && open < hosts
      ? [
          `waiting for ${processes
            .filter((one) => kindOf(one) === 'open')
            .map(({ host }) => String(host))
            .join(', ')}`,
        ]
      : []),
  ]
  return parts.join(', ')
}

function faultOf(process: HostProcess): Fault | undefined {
  const { result, killed } = process
  const host = String(process.host)
  const plain = (text: string): Fault => ({ ...nothing, host, key: text, text, common: text })
  if (result === undefined || kindOf(process) === 'open') return plain('not begun')
  const { outcome, exitCode, signal, error } = result
  const said = (what: string, otherwise: string): Fault => {
    const { code = '', message = otherwise, suggestions = [] } = error ?? {}
    const common = `${what}, ${code}`
    const unreachable = outcome === 'unreachable'
    return {
      host,
      key: `${outcome} ${code}`,
      text: `${common}: ${message}`,
      common,
      example: `First: ${message}`,
      unreachable,
      code,
      suggestions,
    }
  }
  if (outcome === 'unreachable') return said('not reached', 'nobody knows why')
  if (outcome === 'not-started') return said('not started', '')
  if (outcome === 'timed-out') return plain('ended at its time limit')
  if (killed) return plain('ended as asked')
  if (signal !== undefined) return plain(`ended by ${signal}`)
  return exitCode === 0 ? undefined : plain(`exit code ${exitCode}`)
}

const nothing = { example: '', unreachable: false, code: '', suggestions: [] } as const

/** The lines about hosts on which something went wrong: commands that failed, then hosts that were not reached. */
export function formatFaults(processes: readonly HostProcess[], words: FaultWords): readonly string[] {
  return formatFaultLines(
    processes.flatMap((process) => faultOf(process) ?? []),
    words,
  )
}

/** Of which hosts not everything is shown. */
export function formatShortened(
  processes: readonly HostProcess[],
  core: { foldHosts(names: readonly string[]): string },
): readonly string[] {
  const cut = processes.filter(({ result }) => result?.stdout.truncated === true || result?.stderr.truncated === true)
  if (cut.length === 0) return []
  const names = foldNames(
    cut.map(({ host }) => String(host)),
    core,
  )
  return [`${names}: output shortened to its beginning and its end; without -b all of it is shown`]
}

/** The last line, when something went wrong. */
export function formatEnd({ hosts, ok, failed, unreachable }: ExecCounts): string {
  const open = hosts - ok - failed - unreachable
  const parts = [
    `${ok} ok`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(unreachable > 0 ? [`${unreachable} not reached`] : []),
    ...(open > 0 ? [`${open} not begun`] : []),
  ]
  return `${hosts} ${hosts === 1 ? 'host' : 'hosts'}: ${parts.join(', ')}`
}

const RULE = '-'.repeat(15)

/** Outputs that are the same, under the hosts that said it. */
export function formatGroups(groups: readonly Pick<OutputGroup, 'hosts' | 'text' | 'processes'>[]): string {
  return groups
    .filter(({ text }) => text !== '')
    .map(({ hosts, processes, text }) => {
      const head = processes.length === 1 ? hosts : `${hosts} (${processes.length})`
      return `${RULE}\n${head}\n${RULE}\n${text.endsWith('\n') ? text : `${text}\n`}`
    })
    .join('')
}

/** The object of one host for `--json`. */
export function hostJson({ host, result }: Pick<HostProcess, 'host' | 'result'>): Record<string, unknown> {
  if (result === undefined) return { host: String(host), outcome: 'not-begun' }
  const { outcome, exitCode, signal, stdout, stderr, error, durationMs } = result
  return {
    host: String(host),
    outcome,
    exitCode: exitCode ?? null,
    signal: signal ?? null,
    stdout: stdout.text,
    stderr: stderr.text,
    ...(stdout.truncated || stderr.truncated ? { truncated: true } : {}),
    ...(error === undefined ? {} : { error }),
    durationMs: Math.round(durationMs),
  }
}
