import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Every process that we start carries its number in this variable, so that what left its group and session is found again. */
export const MARKER_VARIABLE = 'CAHIER_PROC'

export interface ProcessEntry {
  readonly pid: number
  readonly parent: number
  readonly group: number
  readonly session: number
  /** Numbers from {@link MARKER_VARIABLE}, outermost first. Empty when the environment cannot be read. */
  readonly markers: string
}

let shared: { readonly at: number; readonly entries: Promise<readonly ProcessEntry[]> } | undefined

/** All living processes of this machine. Callers of the same moment share one scan. */
export function scanProcesses(): Promise<readonly ProcessEntry[]> {
  const now = performance.now()
  if (shared === undefined || now - shared.at > 15) {
    shared = { at: now, entries: process.platform === 'linux' ? scanProc() : scanPs() }
  }
  return shared.entries
}

async function scanProc(): Promise<readonly ProcessEntry[]> {
  let names: string[]
  try {
    names = readdirSync('/proc')
  } catch {
    return scanPs()
  }
  const entries: ProcessEntry[] = []
  let read = 0
  for (const name of names) {
    const first = name.charCodeAt(0)
    if (first < 0x30 || first > 0x39) continue
    const entry = readProc(name)
    if (entry !== undefined) entries.push(entry)
    read += 1
    // A login node has thousands of processes; other work goes on meanwhile.
    if (read % 200 === 0) await nextTurn()
  }
  return entries
}

/** @source proc(5): /proc/[pid]/stat fields 3-6; the name in field 2 may hold spaces and parentheses */
function readProc(name: string): ProcessEntry | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${name}/stat`, 'latin1')
  } catch {
    return undefined
  }
  const [state, parent, group, session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ', 4)
  if (state === 'Z' || state === 'X') return undefined
  return { pid: Number(name), parent: Number(parent), group: Number(group), session: Number(session), markers: readMarkers(name) }
}

function readMarkers(name: string): string {
  let environment: string
  try {
    environment = readFileSync(`/proc/${name}/environ`, 'latin1')
  } catch {
    return ''
  }
  const key = `${MARKER_VARIABLE}=`
  const at = environment.startsWith(key) ? 0 : environment.indexOf(`\0${key}`) + 1
  if (at === 0 && !environment.startsWith(key)) return ''
  const end = environment.indexOf('\0', at)
  return environment.slice(at + key.length, end < 0 ? undefined : end)
}

/** Where there is no /proc: groups and parents from `ps`, no markers and no sessions. */
function scanPs(): Promise<readonly ProcessEntry[]> {
  return new Promise((resolve) => {
    execFile('ps', ['-A', '-o', 'pid=,ppid=,pgid=,stat='], { maxBuffer: 1 << 24 }, (_error, stdout) => {
      const entries: ProcessEntry[] = []
      for (const line of stdout.split('\n')) {
        const [pid, parent, group, state] = line.trim().split(/\s+/)
        if (pid === undefined || pid === '' || state === undefined || state.startsWith('Z')) continue
        entries.push({ pid: Number(pid), parent: Number(parent), group: Number(group), session: 0, markers: '' })
      }
      resolve(entries)
    })
  })
}

/** What belongs to a started process: its group and session, whatever carries its marker, and all their descendants. */
export function selectTree(entries: readonly ProcessEntry[], root: number, marker: string): ProcessEntry[] {
  const members = new Map<number, ProcessEntry>()
  for (const entry of entries) {
    if (entry.pid === process.pid) continue
    if (entry.pid === root || entry.group === root || entry.session === root || entry.markers.split(' ').includes(marker)) {
      members.set(entry.pid, entry)
    }
  }
  for (let grew = members.size > 0; grew; ) {
    grew = false
    for (const entry of entries) {
      if (members.has(entry.parent) && !members.has(entry.pid) && entry.pid !== process.pid) {
        members.set(entry.pid, entry)
        grew = true
      }
    }
  }
  return [...members.values()]
}

/** Sends a signal. True when it was taken, or nobody was there to take it. */
export function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
