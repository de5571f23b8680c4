import { closeSync, copyFileSync, constants as fs, fstatSync, linkSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { canonicalJson } from '../canonical-json.js'
import { StoreError, systemCodeOf } from '../errors.js'

/** A file of the campaign that every job gets. */
export interface InputFile {
  /** Absolute; the copy that the run keeps, so that an edit of the original changes nothing in mid-run. */
  readonly path: string
  readonly bytes: number
}

/** Larger files are linked to the run's own copy, smaller ones are copied. */
const LINKED_FROM_BYTES = 1 << 20

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

/** Turns a failure of the file system into what the engine knows: full, or not usable. */
export function asStoreError(error: unknown, path: string): unknown {
  const code = systemCodeOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StoreError('E_STORE_FULL', `there is no room for ${path} (${code})`, {
      suggestions: ['Make room, then run the campaign again in the same directory: it goes on where it stopped'],
      cause: error,
    })
  }
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM' || code === 'ENOTDIR' || code === 'ENOENT') {
    return new StoreError('E_RUN_DIRECTORY', `${path} cannot be made (${code})`, {
      suggestions: ['Choose a directory that you may write to with --dir'],
      cause: error,
    })
  }
  return error
}

/** The end of a file, at most `bytes`; `''` when there is no such file. */
export function readTail(path: string, bytes = 4096): string {
  let descriptor: number
  try {
    descriptor = openSync(path, 'r')
  } catch {
    return ''
  }
  try {
    const size = fstatSync(descriptor).size
    const length = Math.min(size, bytes)
    const buffer = Buffer.alloc(length)
    const read = readSync(descriptor, buffer, 0, length, size - length)
    return buffer.toString('utf8', 0, read)
  } finally {
    closeSync(descriptor)
  }
}

/** The last line that is not empty. */
export function lastLine(text: string): string {
  const lines = text.split('\n')
  for (let i = lines.length - 1; i >= 0; i -= 1) {
    const line = (lines[i] as string).trim()
    if (line !== '') return line
  }
  return ''
}
