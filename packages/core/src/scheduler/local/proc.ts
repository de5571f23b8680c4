import { readdirSync, readFileSync } from 'node:fs'

const isLinux = process.platform === 'linux'

/**
 * Tells one process from a later one with the same number.
 *
 * @returns the start time in clock ticks since boot where `/proc` says it, else `alive`; `undefined` when there is no such process
 * or only its remains wait to be collected
 * @source proc(5): /proc/[pid]/stat fields 3 and 22; the name in field 2 may hold spaces and parentheses
 */
export function processIdentity(pid: number): string | undefined {
  if (!isLinux) return sendSignal(pid, 0) ? 'alive' : undefined
  const fields = readStat(pid)
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

/** True when `pid` is a living process that carries this variable since its start. Elsewhere than on Linux: a living process. */
export function carriesVariable(pid: number, variable: string): boolean {
  if (!isLinux) return sendSignal(pid, 0)
  return processIdentity(pid) !== undefined && `\0${readProc(pid, 'environ') ?? ''}`.includes(`\0${variable}\0`)
}

/** Sends a signal to a process, or to a group when negative. False when there is none, or none that is ours. */
export function sendSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch {
    return false
  }
}

/**
 * Kills all that belongs to a job: its group, its session, and what left both but carries the job's variable.
 *
 * @returns process numbers that could not be ended
 */
export function killSession(leader: number, variable: string): number[] {
  let members: number[] = []
  for (let round = 0; round < 8; round += 1) {
    sendSignal(-leader, 'SIGKILL')
    if (!isLinux) return []
    members = sessionMembers(leader, variable)
    if (members.length === 0) return []
    for (const pid of members) sendSignal(pid, 'SIGKILL')
  }
  return members.filter((pid) => processIdentity(pid) !== undefined)
}

function sessionMembers(leader: number, variable: string): number[] {
  const session = String(leader)
  const members: number[] = []
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!(pid > 0) || pid === process.pid) continue
    const fields = readStat(pid)
    if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') continue
    if (fields[3] === session || `\0${readProc(pid, 'environ') ?? ''}`.includes(`\0${variable}\0`)) members.push(pid)
  }
  return members
}

function readStat(pid: number): string[] | undefined {
  const stat = readProc(pid, 'stat')
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return undefined
  }
}

/** Changes with every boot of this machine, so that a process number from before is not taken for one of now. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return 'unknown'
  }
}
