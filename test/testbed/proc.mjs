/** What /proc says about processes; Linux only. A process that is gone, or only a zombie, is not there. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file)
  } catch {
    return undefined
  }
}

/** @param {number} pid */
function stat(pid) {
  const text = read(`/proc/${pid}/stat`)?.toString('latin1')
  if (text === undefined) return undefined
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0], parent: Number(fields[1]), started: fields[19] }
}

/** True for a process that runs, sleeps or is stopped. @param {number} pid */
export function isAlive(pid) {
  const state = stat(pid)?.state
  return state !== undefined && state !== 'Z' && state !== 'X'
}

/** Distinguishes this process from a later one with the same id; undefined when there is none. @param {number} pid */
export function identify(pid) {
  return isAlive(pid) ? `${pid}:${stat(pid)?.started}` : undefined
}

/** The process id when that very process still lives. @param {string} identity from {@link identify} */
export function stillAlive(identity) {
  const pid = Number.parseInt(identity, 10)
  return identify(pid) === identity ? pid : undefined
}

/** Arguments, joined by spaces; what a process wrote over them, when it did. @param {number} pid */
export function commandLine(pid) {
  return read(`/proc/${pid}/cmdline`)?.toString('utf8').replaceAll('\0', ' ').trim() ?? ''
}

/** Processes that live, zombies left out. */
export function listProcesses() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter(isAlive)
}

/** @param {number} pid @returns {number[]} */
export function childrenOf(pid) {
  let tasks
  try {
    tasks = readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
  return tasks.flatMap((task) => (read(`/proc/${pid}/task/${task}/children`)?.toString() ?? '').split(' ').filter(Boolean).map(Number))
}

/** Children, their children and so on, without the process itself. @param {number} pid @returns {number[]} */
export function descendantsOf(pid) {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])
}

/** TCP ports at which a process listens, as it sees them in its own network. @param {number} pid @returns {number[]} */
export function portsOf(pid) {
  const sockets = new Set()
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1]
      if (inode !== undefined) sockets.add(inode)
    }
  } catch {
    // It closes what it has, or is gone.
  }
  const lines = ['tcp', 'tcp6'].flatMap((table) => (read(`/proc/${pid}/net/${table}`)?.toString('latin1') ?? '').split('\n'))
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter((words) => words[3] === LISTENING && sockets.has(words[9]))
    .map((words) => Number.parseInt(words[1].split(':')[1], 16))
}
/** @source proc(5), /proc/net/tcp */
const LISTENING = '0A'

/**
 * Processes of this user that carry the text in their arguments or their first environment, and both as one text.
 *
 * @param {string} text
 * @returns {Map<number, string>}
 */
export function findProcesses(text) {
  const wanted = Buffer.from(text)
  const found = new Map()
  for (const pid of listProcesses()) {
    if (pid === process.pid) continue
    const parts = ['cmdline', 'environ'].map((file) => read(`/proc/${pid}/${file}`)).filter((part) => part?.includes(wanted) === true)
    if (parts.length > 0) found.set(pid, Buffer.concat(parts).toString('latin1'))
  }
  return found
}

/** The ids of {@link findProcesses}. @param {string} text */
export function processesWith(text) {
  return [...findProcesses(text).keys()]
}
