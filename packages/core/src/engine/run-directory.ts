import { accessSync, constants, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { StoreError, systemCodeOf } from '../errors.js'
import { asStoreError } from './attempt-files.js'
import { MANIFEST_FILE } from './manifest.js'

const two = (n: number): string => String(n).padStart(2, '0')

/** `python-scaling_20261122-101500`, in local time. */
export function runName(campaign: string, at: number): string {
  const date = new Date(at)
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`
  return `${campaign}_${day}-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`
}

/**
 * Makes a directory that did not exist, and the folders above it: two runs of the same second get two directories.
 *
 * @throws StoreError `E_RUN_DIRECTORY`, `E_STORE_FULL`
 */
export function makeRunDirectory(parent: string, name: string): string {
  try {
    mkdirSync(parent, { recursive: true })
  } catch (error) {
    throw asStoreError(error, parent)
  }
  for (let count = 1; ; count += 1) {
    const path = join(parent, count === 1 ? name : `${name}_${count}`)
    try {
      mkdirSync(path)
      return path
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') throw asStoreError(error, path)
    }
  }
}

/** What can be said about a directory that a user names. */
export type DirectoryKind = 'run' | 'empty' | 'absent' | 'other'

export function kindOfDirectory(directory: string): DirectoryKind {
  try {
    const names = readdirSync(directory)
    if (names.includes(MANIFEST_FILE) || names.includes('journal')) return 'run'
    return names.length === 0 ? 'empty' : 'other'
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT') return 'absent'
    if (code === 'ENOTDIR') return 'other'
    throw asStoreError(error, directory)
  }
}

/** @throws StoreError `E_RUN_DIRECTORY` when nothing can be written into this directory */
export function checkWritable(directory: string): void {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
  } catch (cause) {
    const code = systemCodeOf(cause)
    throw new StoreError(
      'E_RUN_DIRECTORY',
      `${directory} cannot be written to (${code === 'EROFS' ? 'EROFS: its disk is read-only' : code})`,
      {
        suggestions: ['Make it writable, or name another directory with --dir', 'To only read it: cahier status, cahier export'],
        data: { directory },
        cause,
      },
    )
  }
}

/** @throws StoreError `E_RUN_DIRECTORY` when this is no directory of a run */
export function checkRunDirectory(directory: string): string {
  const path = resolve(directory)
  if (kindOfDirectory(path) === 'run') return path
  throw new StoreError('E_RUN_DIRECTORY', `${path} is no run directory: there is no ${MANIFEST_FILE}`, {
    suggestions: ['Name the directory that "cahier run" printed'],
    data: { directory: path },
  })
}

/** Run directories of this campaign file below a folder, newest first. */
export function findRuns(parent: string, campaign: string, file: string | undefined): string[] {
  let names: string[]
  try {
    names = readdirSync(parent)
  } catch {
    return []
  }
  const found: { path: string; at: number }[] = []
  for (const name of names) {
    if (!name.startsWith(`${campaign}_`)) continue
    const path = join(parent, name)
    try {
      const manifest = JSON.parse(readFileSync(join(path, MANIFEST_FILE), 'utf8')) as { campaignFile?: unknown; createdAt?: unknown }
      if (manifest.campaignFile !== (file ?? null)) continue
      found.push({ path, at: typeof manifest.createdAt === 'number' ? manifest.createdAt : statSync(path).mtimeMs })
    } catch {
      // No run directory, or one that was never finished being made.
    }
  }
  return found.sort((a, b) => b.at - a.at).map(({ path }) => path)
}
