import {
  closeSync,
  copyFileSync,
  constants as fs,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { canonicalJson } from '../canonical-json.js'
import { systemCodeOf } from '../errors.js'
import { asStoreError, fullError } from '../util/file-errors.js'

export { asStoreError } from '../util/file-errors.js'

/** A file of the campaign that every job gets. */
export interface InputFile {
  /** Absolute; the copy that the run keeps, so that an edit of the original changes nothing in mid-run. */
  readonly path: string
  readonly bytes: number
}

/** Larger files are linked to the run's own copy, which nobody may write to; smaller ones are copied. */
export const LINKED_FROM_BYTES = 1 << 20

/** Left free for the journal, so that the ends of jobs can be recorded. */
const RESERVE_BYTES = 1 << 20
const RESERVE_NODES = 64
/** What a job with little output takes: its own files, in blocks of 4 KiB. */
const JOB_BYTES = 32 << 10
const JOB_NODES = 10

/**
 * How many more jobs the disk of a run has room for, when those in flight have used nothing of it yet. Quotas are not seen
 * here: they show when something is written.
 *
 * @throws StoreError `E_STORE_FULL` when there is room for none and nothing in flight
 */
export function roomForJobs(directory: string, inFlight: number, files: readonly InputFile[]): number {
  let disk: ReturnType<typeof statfsSync>
  try {
    disk = statfsSync(directory)
  } catch {
    return Number.POSITIVE_INFINITY
  }
  const free = disk.bavail * disk.bsize
  const copied = files.reduce((sum, file) => sum + (file.bytes < LINKED_FROM_BYTES ? file.bytes : 0), 0)
  const byBytes = (free - RESERVE_BYTES) / (JOB_BYTES + copied)
  // Some file systems count no nodes.
  const byNodes = disk.files === 0 ? byBytes : (disk.ffree - RESERVE_NODES) / (JOB_NODES + files.length)
  const room = Math.max(0, Math.floor(Math.min(byBytes, byNodes)) - inFlight)
  if (room > 0 || inFlight > 0) return room
  const facts = byNodes < byBytes ? `${disk.ffree} more files` : `${Math.floor(free / 1024)} KiB`
  throw fullError(`there is no room for another job in ${directory}: ${facts} fit on its disk`)
}

/**
 * Makes the directory of one attempt with its input files and `parameters.json`. Synchronous calls: ten of them cost less
 * than one turn through the thread pool each, and thousands of attempts are made one after the other.
 *
 * @returns false when the directory exists: it belongs to another attempt and is not touched
 * @throws StoreError `E_STORE_FULL`, `E_RUN_DIRECTORY`
 */
export function makeAttemptDirectory(
  directory: string,
  parameters: Readonly<Record<string, unknown>>,
  files: readonly InputFile[],
): boolean {
  try {
    if (!makeExclusive(directory)) return false
    writeFileSync(join(directory, 'parameters.json'), `${canonicalJson(parameters)}\n`, { flag: 'wx' })
    for (const file of files) placeFile(file, join(directory, basename(file.path)))
    return true
  } catch (error) {
    throw asStoreError(error, directory)
  }
}

/**
 * Keeps a copy of a script that runs elsewhere.
 *
 * @throws StoreError `E_STORE_FULL`, `E_RUN_DIRECTORY`
 */
export function keepScript(directory: string, script: string): void {
  try {
    writeFileSync(join(directory, 'job.sh'), script)
  } catch (error) {
    throw asStoreError(error, directory)
  }
}

const SITE_FILE = '.site'

/**
 * Notes which site an attempt is for, should the journal lose it; those without a note are for the site of everything that names none.
 *
 * @throws StoreError `E_STORE_FULL`, `E_RUN_DIRECTORY`
 */
export function keepSiteMark(directory: string, mark: string): void {
  try {
    writeFileSync(join(directory, SITE_FILE), `${mark}\n`)
  } catch (error) {
    throw asStoreError(error, directory)
  }
}

export function readSiteMark(directory: string): string | undefined {
  return lastLine(readTail(join(directory, SITE_FILE))) || undefined
}

function makeExclusive(directory: string): boolean {
  for (let tries = 0; ; tries += 1) {
    try {
      mkdirSync(directory)
      return true
    } catch (error) {
      const code = systemCodeOf(error)
      if (code === 'EEXIST') return false
      if (code !== 'ENOENT' || tries > 0) throw error
      mkdirSync(dirname(directory), { recursive: true })
    }
  }
}

function placeFile(file: InputFile, to: string): void {
  if (file.bytes >= LINKED_FROM_BYTES) {
    try {
      linkSync(file.path, to)
      return
    } catch (error) {
      if (systemCodeOf(error) === 'EEXIST') throw error
      // No hard links here: copy.
    }
  }
  copyFileSync(file.path, to, fs.COPYFILE_EXCL | fs.COPYFILE_FICLONE)
}

/** The end of a file, at most `bytes`; `''` when there is none that can be read. A pipe that a job made is not waited for. */
export function readTail(path: string, bytes = 4096): string {
  let descriptor: number
  try {
    descriptor = openSync(path, fs.O_RDONLY | fs.O_NONBLOCK)
  } catch {
    return ''
  }
  try {
    const size = fstatSync(descriptor).size
    const length = Math.min(size, bytes)
    const buffer = Buffer.alloc(length)
    const read = readSync(descriptor, buffer, 0, length, size - length)
    return buffer.toString('utf8', 0, read)
  } catch {
    return ''
  } finally {
    closeSync(descriptor)
  }
}

/** The last line that says something; Open MPI puts its messages between lines of dashes. Empty when nothing is said at all. */
export function lastLine(text: string): string {
  const lines = text.split('\n').map((line) => line.trim())
  return lines.findLast((line) => /[\p{L}\p{N}]/u.test(line)) ?? lines.findLast((line) => line !== '') ?? ''
}
