import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** Which process of which machine, in a form that can be read in a file years later. */
export interface ProcessIdentity {
  readonly host: string
  /** Random number of this boot of the kernel; `''` where the system has none. */
  readonly boot: string
  /** Process ids are only comparable within one namespace; `''` where the system has none. */
  readonly space: string
  readonly pid: number
  /** When it started, in the kernel's ticks since boot: a later process with the same number has another. `''` when not known. */
  readonly start: string
}

/** `elsewhere`: another machine, or another process namespace of this one; only a lease can tell. */
export type Liveness = 'alive' | 'dead' | 'elsewhere'

function firstLine(read: () => string): string {
  try {
    return read().trim()
  } catch {
    return ''
  }
}

/** State letter and start time of a process. @source proc(5), /proc/pid/stat fields 3 and 22; the name in field 2 may hold anything */
function procStat(pid: number): { state: string; start: string } | undefined {
  const text = firstLine(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return text === '' || fields.length < 20 ? undefined : { state: fields[0]!, start: fields[19]! }
}

let self: ProcessIdentity | undefined

export function thisProcess(): ProcessIdentity {
  self ??= {
    host: hostname(),
    boot: firstLine(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')),
    space: firstLine(() => readlinkSync('/proc/self/ns/pid')),
    pid: process.pid,
    start: procStat(process.pid)?.start ?? '',
  }
  return self
}

/**
 * Says whether a process still exists, when that can be known from here.
 *
 * The number of the boot names the machine, not its name: two containers with different host names share a kernel, and two
 * laptops may both be called `localhost`.
 */
export function livenessOf(other: ProcessIdentity): Liveness {
  const here = thisProcess()
  if (here.boot !== other.boot || here.space !== other.space) return 'elsewhere'
  if (here.boot === '' && here.host !== other.host) return 'elsewhere'
  const stat = procStat(other.pid)
  if (stat !== undefined) {
    if (stat.state === 'Z' || stat.state === 'X') return 'dead'
    return other.start !== '' && other.start !== stat.start ? 'dead' : 'alive'
  }
  try {
    process.kill(other.pid, 0)
    return 'alive'
  } catch (error) {
    // EPERM: it exists and belongs to somebody else (a /proc mounted with hidepid hides it)
    return (error as { code?: string }).code === 'ESRCH' ? 'dead' : 'alive'
  }
}

/** Reads an identity back from a file or a record; `undefined` when it is none. */
export function parseIdentity(value: unknown): ProcessIdentity | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { host, boot, space, pid, start } = value as Record<string, unknown>
  if (typeof host !== 'string' || typeof boot !== 'string' || typeof space !== 'string' || typeof start !== 'string') return undefined
  return typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? { host, boot, space, pid, start } : undefined
}
