import { constants } from 'node:os'
import { foldHosts } from '../host-set.js'
import type { ProcessResult } from '../model/process.js'
import type { Action } from './action.js'
import { type Host, keyOf } from './host.js'
import { type HostInput, type HostsOptions, hosts as unfoldHosts } from './hosts.js'

/** What is looked at of a process. */
export interface Gatherable {
  readonly host: Host | undefined
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | undefined
  readonly signal: NodeJS.Signals | undefined
  readonly result: ProcessResult | undefined
}

export interface GatherOptions {
  /** Which output is compared and shown; default: both, stdout first. */
  readonly stream?: 'stdout' | 'stderr' | 'both'
  /** How the processes ended is compared, too: exit code, signal, time limit, kind of error. Default true. */
  readonly byExitCode?: boolean
}

/** Processes that said the same and ended the same way. */
export interface OutputGroup<P extends Gatherable = Gatherable> {
  /** Their hosts folded, `node[1-4,7]`; `localhost` for this machine. */
  readonly hosts: string
  /** In the order given. */
  readonly processes: readonly P[]
  readonly text: string
  /** That of all of them, when ends are compared. */
  readonly exitCode: number | undefined
  readonly signal: NodeJS.Signals | undefined
  /** Of the first of them: the code is that of all, the message names its host. */
  readonly error: ProcessResult['error']
}

/**
 * Puts processes together that said the same, as `clush -b` does. Output that was too long to be kept whole is like no other.
 *
 * @returns the largest group first, groups of one size by the names of their hosts
 */
export function gatherOutputs<P extends Gatherable>(processes: readonly P[], options: GatherOptions = {}): OutputGroup<P>[] {
  const { stream = 'both', byExitCode = true } = options
  const groups = new Map<string, P[]>()
  for (const [index, process] of processes.entries()) {
    const { stdout, stderr, exitCode, signal, result } = process
    const cut = [stream !== 'stderr' && result?.stdout.truncated, stream !== 'stdout' && result?.stderr.truncated].includes(true)
    const key = JSON.stringify([
      stream === 'stderr' ? '' : stdout,
      stream === 'stdout' ? '' : stderr,
      cut ? index : '',
      ...(byExitCode ? [exitCode, signal, result?.outcome, result?.error?.code] : []),
    ])
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [process])
    else group.push(process)
  }
  return [...groups.values()].map((group) => describeGroup(group, stream, byExitCode)).sort(compareGroups)
}

function describeGroup<P extends Gatherable>(processes: P[], stream: 'stdout' | 'stderr' | 'both', byExitCode: boolean): OutputGroup<P> {
  const first = processes[0] as P
  return {
    hosts: foldNames(processes.map(({ host }) => (host === undefined ? 'localhost' : String(host)))),
    processes,
    text: stream === 'both' ? joinTexts(first.stdout, first.stderr) : first[stream],
    exitCode: byExitCode ? first.exitCode : undefined,
    signal: byExitCode ? first.signal : undefined,
    error: byExitCode ? first.result?.error : undefined,
  }
}

function joinTexts(stdout: string, stderr: string): string {
  return stdout === '' || stdout.endsWith('\n') || stderr === '' ? stdout + stderr : `${stdout}\n${stderr}`
}

/** An IPv6 address with a port has brackets that a host set does not have: such names stand as they are. */
function foldNames(names: readonly string[]): string {
  const bracketed = [...new Set(names.filter((name) => name.includes('[')))]
  const folded = foldHosts(names.filter((name) => !name.includes('[')))
  return [folded, ...bracketed].filter((part) => part !== '').join(',')
}

function compareGroups(one: OutputGroup, other: OutputGroup): number {
  return other.processes.length - one.processes.length || one.hosts.localeCompare(other.hosts, 'en', { numeric: true })
}

/** Of a host that was not reached, or of a process that could not be started: as `ssh` has it. */
const NOT_REACHED = 255
/** As `timeout` of coreutils has it. */
export const TIMED_OUT = 124

/**
 * The largest exit code of processes that are not `ok`, for a program's own: a signal counts 128 and its number, a time limit 124, a
 * host that was not reached 255. 0 when all are `ok`.
 */
export function worstExitCode(processes: readonly (Gatherable & { readonly ok: boolean })[]): number {
  return processes.reduce((worst, process) => Math.max(worst, process.ok ? 0 : codeOf(process)), 0)
}

function codeOf({ exitCode, signal, result }: Gatherable): number {
  if (result === undefined) return 1
  if (result.error !== undefined) return NOT_REACHED
  if (result.outcome === 'timed-out') return TIMED_OUT
  if (signal !== undefined) return 128 + (constants.signals[signal] ?? 0)
  // Not ok in spite of its exit code: text that did not come, or could not be written.
  return exitCode === undefined || exitCode === 0 ? 1 : exitCode
}

/**
 * The hosts without those on which something went wrong in the action, in the order given.
 *
 * ```ts
 * const check = await new Remote('test -d /scratch', 'node[1-64]').run()
 * const good = filterBadHosts(check, 'node[1-64]')
 * ```
 */
export function filterBadHosts(action: Pick<Action, 'badHosts'>, hosts: HostInput, options: HostsOptions = {}): Host[] {
  const bad = new Set(action.badHosts.map(keyOf))
  return unfoldHosts(hosts, options).filter((host) => !bad.has(keyOf(host)))
}
