import { linkSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../../errors.js'
import { bootId, processIdentity } from './proc.js'

const LOCK_NAME = /^lock\.(\d+)$/

interface Holder {
  readonly pid: number
  readonly identity: string
  readonly boot: string
}

/**
 * Makes this process the one daemon of a queue, for as long as it lives: there is nothing to give back.
 *
 * Locks are numbered. A dead holder's lock is never removed by those who want it: they all try to make the next number, which one of
 * them can. So no two processes can both believe that they broke a stale lock.
 *
 * @returns the number, which grows with every daemon of this queue; `undefined` when a living process holds it
 */
export function takeQueueLock(directory: string): number | undefined {
  for (;;) {
    const newest = newestLock(directory)
    if (newest > 0 && isHeld(join(directory, `lock.${newest}`))) return undefined
    const mine = newest + 1
    if (!makeLock(directory, mine)) continue
    // Another may have gone further while we looked: its lock is the newer one.
    if (newestLock(directory) !== mine) {
      rmSync(join(directory, `lock.${mine}`), { force: true })
      continue
    }
    for (const number of lockNumbers(directory)) if (number < mine) rmSync(join(directory, `lock.${number}`), { force: true })
    return mine
  }
}

/** True as long as no other daemon has taken the queue from this one. */
export function holdsQueueLock(directory: string, number: number): boolean {
  return newestLock(directory) === number
}

function makeLock(directory: string, number: number): boolean {
  const holder: Holder = { pid: process.pid, identity: processIdentity(process.pid) ?? '', boot: bootId() }
  const draft = join(directory, `lock-draft.${process.pid}`)
  writeFileSync(draft, JSON.stringify(holder), { mode: 0o600 })
  try {
    linkSync(draft, join(directory, `lock.${number}`))
    return true
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

function isHeld(file: string): boolean {
  let holder: Holder
  try {
    holder = JSON.parse(readFileSync(file, 'utf8')) as Holder
  } catch (error) {
    // Gone: a newer one took its place. Unreadable: a power cut emptied it, and nobody who held it lives.
    if (systemCodeOf(error) === undefined || systemCodeOf(error) === 'ENOENT') return false
    throw error
  }
  return holder.boot === bootId() && processIdentity(holder.pid) === holder.identity
}

function lockNumbers(directory: string): number[] {
  return readdirSync(directory).flatMap((name) => {
    const number = LOCK_NAME.exec(name)?.[1]
    return number === undefined ? [] : [Number(number)]
  })
}

function newestLock(directory: string): number {
  return Math.max(0, ...lockNumbers(directory))
}
