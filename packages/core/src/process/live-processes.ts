import { readFileSync } from 'node:fs'
import { sendSignal } from './process-tree.js'

/** Leaders of the process groups that must not outlive this program. */
const live = new Set<number>()
/** How long the program's end waits between SIGTERM and SIGKILL. */
const LAST_GRACE_MS = 300
const ENDING: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

/** From now on the group ends with this program, unless the program is killed with SIGKILL. */
export function keepTrackOf(leader: number): void {
  if (live.size === 0) listen()
  live.add(leader)
}

export function forget(leader: number): void {
  if (live.delete(leader) && live.size === 0) unlisten()
}

function listen(): void {
  process.on('exit', endAll)
  for (const signal of ENDING) process.on(signal, onSignal)
}

function unlisten(): void {
  process.off('exit', endAll)
  for (const signal of ENDING) process.off(signal, onSignal)
}

/** Whoever else listens decides what a signal means; alone, we end our children and let the signal do what it does without us. */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return
  endAll()
  unlisten()
  process.kill(process.pid, signal)
}

function endAll(): void {
  if (live.size === 0) return
  for (const leader of live) sendSignal(-leader, 'SIGTERM')
  const until = performance.now() + LAST_GRACE_MS
  const cell = new Int32Array(new SharedArrayBuffer(4))
  while (performance.now() < until && [...live].some(isAlive)) Atomics.wait(cell, 0, 0, 10)
  for (const leader of live) sendSignal(-leader, 'SIGKILL')
  live.clear()
}

/** Nothing reaps our children any more, so the ended ones stay as zombies. */
function isAlive(pid: number): boolean {
  if (process.platform !== 'linux') return true
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.charAt(stat.lastIndexOf(')') + 2) !== 'Z'
  } catch {
    return false
  }
}
