import { readFileSync } from 'node:fs'
import { sendSignal } from './process-tree.js'

/** Leaders of the process groups that must not outlive this program. */
const live = new Set<number>()
/** How long the program's end waits between SIGTERM and SIGKILL. */
const LAST_GRACE_MS = 300
/** How long what is elsewhere is waited for. */
const FAR_END_MS = 1_000
const ENDING: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

/** For what runs elsewhere. */
const farEnds = new Set<() => Promise<unknown>>()
let listening = false

/** From now on the group ends with this program, unless the program is killed with SIGKILL. */
export function keepTrackOf(leader: number): void {
  live.add(leader)
  listen()
}

export function forget(leader: number): void {
  live.delete(leader)
  listen()
}

/**
 * From now on this is called when a signal ends the program, and waited for a moment.
 *
 * @returns what takes it back
 */
export function beforeSignalledEnd(end: () => Promise<unknown>): () => void {
  farEnds.add(end)
  listen()
  return () => {
    farEnds.delete(end)
    listen()
  }
}

function listen(): void {
  const wanted = live.size > 0 || farEnds.size > 0
  if (wanted === listening) return
  listening = wanted
  const change = wanted ? 'on' : 'off'
  process[change]('exit', endAll)
  for (const signal of ENDING) process[change](signal, onSignal)
}

/** Whoever else listens decides what a signal means; alone, we end our children and let the signal do what it does without us. */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return
  const ends = [...farEnds]
  farEnds.clear()
  // A second signal finds nothing to wait for.
  if (ends.length === 0) finish(signal)
  else {
    const late = new Promise<void>((resolve) => void setTimeout(resolve, FAR_END_MS))
    void Promise.race([Promise.allSettled(ends.map((end) => end())), late]).then(() => finish(signal))
  }
}

function finish(signal: NodeJS.Signals): void {
  endAll()
  listen()
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
