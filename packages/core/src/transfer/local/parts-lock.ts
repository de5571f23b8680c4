import { randomBytes } from 'node:crypto'
import { closeSync, linkSync, lstatSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { systemCodeOf } from '../../errors.js'
import { byteName } from '../../util/byte-names.js'
import { livenessOf, thisProcess } from '../../util/process-identity.js'
import { encodeName } from '../manifest.js'

/** The file in a folder of parts that says who uses it. */
export const LOCK_FILE = 'lock'
/** Who has just made it writes into it at once. */
const WRITING_MS = 5_000

/**
 * Marks a folder of parts as used by this process; what a dead one has left is taken over.
 *
 * @returns false when somebody lives who uses it
 */
export function takeLock(folder: Buffer): boolean {
  const path = inFolder(folder, LOCK_FILE)
  for (let tries = 0; tries < 3; tries += 1) {
    if (makeFile(path)) return true
    const text = readLock(path)
    if (text === undefined) continue
    if (isLiving(text, path)) return false
    // Two may find the same dead one: only one of them gets it out of the way.
    const aside = inFolder(folder, `${LOCK_FILE}.${randomBytes(6).toString('hex')}`)
    try {
      renameSync(path, aside)
    } catch {
      continue
    }
    const taken = readLock(aside)
    if (taken !== text) {
      putBack(aside, path)
      return false
    }
    rmSync(aside, { force: true })
  }
  return false
}

/** Lets go of it, if it is ours. */
export function releaseLock(folder: Buffer): void {
  const path = inFolder(folder, LOCK_FILE)
  if (readLock(path) === ownText()) rmSync(path, { force: true })
}

function makeFile(path: Buffer): boolean {
  let file: number
  try {
    file = openSync(path, 'wx', 0o600)
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false
    throw error
  }
  try {
    writeSync(file, ownText())
  } catch (error) {
    rmSync(path, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
  return true
}

function putBack(aside: Buffer, path: Buffer): void {
  try {
    linkSync(aside, path)
  } catch {
    // Somebody else has it by now.
  }
  rmSync(aside, { force: true })
}

function readLock(path: Buffer): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}

/** @source proc(5): the start time is field 22 of /proc/pid/stat, in ticks since the boot */
function ownText(): string {
  const { host, boot, pid, start } = thisProcess()
  return `${encodeName(byteName(host))} ${boot === '' ? '-' : boot} ${pid} ${start === '' ? '-' : start}\n`
}

/** Who is on another host, or was on this one before it was started last, is not there. */
function isLiving(text: string, path: Buffer): boolean {
  const here = thisProcess()
  const [host = '', boot = '', pid = '', start = ''] = text.trim().split(' ')
  if (!/^\d+$/.test(pid)) {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return stats !== undefined && text === '' && Math.abs(Date.now() - stats.mtimeMs) < WRITING_MS
  }
  if (boot !== (here.boot === '' ? '-' : here.boot) || (boot === '-' && host !== encodeName(byteName(here.host)))) return false
  return livenessOf({ ...here, pid: Number(pid), start: start === '-' ? '' : start }) === 'alive'
}

function inFolder(folder: Buffer, name: string): Buffer {
  return Buffer.concat([folder, Buffer.from(`/${name}`)])
}
