import type { OutputGroup, ProcessResult } from '@cahier/core/hosts'

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

interface Fault {
  /** Hosts with the same key are listed together. */
  readonly key: string
  readonly text: string
  /** Said instead of the text when it names one of several hosts. */
  readonly common: string
  /** What was found out on this host, when others have the same key and another text. */
  readonly example: string
  readonly unreachable: boolean
}

/** Hosts on which the same went wrong. */
interface Cause {
  readonly fault: Fault
  readonly hosts: string[]
  readonly texts: Set<string>
  readonly code: string
  readonly suggestions: readonly string[]
}

function faultOf(process: HostProcess): Fault | undefined {
  const { result, killed } = process
  const plain = (text: string): Fault => ({ key: text, text, common: text, example: '', unreachable: false })
  if (result === undefined || kindOf(process) === 'open') return plain('not begun')
  const { outcome, exitCode, signal, error } = result
  const code = error?.code ?? ''
  if (outcome === 'unreachable') {
    const message = error?.message ?? 'nobody knows why'
    return {
      key: `unreachable ${code}`,
      text: `not reached, ${code}: ${message}`,
      common: `not reached, ${code}`,
      example: `First: ${message}`,
      unreachable: true,
    }
  }
  if (outcome === 'not-started') {
    const message = error?.message ?? ''
    return {
      key: `not-started ${code}`,
      text: `not started, ${code}: ${message}`,
      common: `not started, ${code}`,
      example: `First: ${message}`,
      unreachable: false,
    }
  }
  if (outcome === 'timed-out') return plain('ended at its time limit')
  if (killed) return plain('ended as asked')
  if (signal !== undefined) return plain(`ended by ${signal}`)
  return exitCode === 0 ? undefined : plain(`exit code ${exitCode}`)
}

/**
 * The lines about hosts on which something went wrong: commands that failed, then hosts that were not reached; hosts with the same
 * cause on one line, and below it what would help.
 */
export function formatFaults(
  processes: readonly HostProcess[],
  core: { foldHosts(names: readonly string[]): string; explain(code: string): string },
): readonly string[] {
  const faults = new Map<string, Cause>()
  for (const process of processes) {
    const fault = faultOf(process)
    if (fault === undefined) continue
    const host = String(process.host)
    const known = faults.get(fault.key)
    if (known === undefined) {
      const { code = '', suggestions = [] } = process.result?.error ?? {}
      faults.set(fault.key, { fault, hosts: [host], texts: new Set([fault.text]), code, suggestions })
    } else {
      known.hosts.push(host)
      known.texts.add(fault.text)
    }
  }
  const said = new Set<string>()
  return [...faults.values()]
    .sort((one, other) => Number(one.fault.unreachable) - Number(other.fault.unreachable))
    .flatMap(({ fault, hosts, texts, code, suggestions }) => {
      const meaning = core.explain(code)
      // What differs is often no more than the name of the host: the first one tells of the user, the key, the port, the gateway.
      const text = texts.size === 1 ? fault.text : `${fault.common}${meaning === '' ? '' : `: ${meaning}`} ${fault.example}`
      // Those of the first host stand for all: what differs is its name.
      const tips = suggestions.filter((tip) => !said.has(tip))
      for (const tip of tips) said.add(tip)
      return [`${foldNames(hosts, core)}: ${text.trimEnd()}`, ...tips.map((tip) => `  Try: ${tip}`)]
    })
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

/** An IPv6 address with a port has brackets of its own, which a host set does not have. */
function foldNames(names: readonly string[], core: { foldHosts(names: readonly string[]): string }): string {
  const bracketed = names.filter((name) => name.includes('['))
  return [core.foldHosts(names.filter((name) => !name.includes('['))), ...bracketed].filter((part) => part !== '').join(',')
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
