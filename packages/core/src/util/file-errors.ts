import { StoreError, systemCodeOf } from '../errors.js'

const FULL = new Set(['ENOSPC', 'EDQUOT'])
const UNUSABLE = new Set(['EACCES', 'EROFS', 'EPERM', 'ENOTDIR', 'EISDIR', 'EEXIST', 'ENOENT'])

/** Turns a failure of the file system into what those who make the files of a run know: full, or not usable. */
export function asStoreError(error: unknown, path: string): unknown {
  const code = systemCodeOf(error)
  if (code === undefined) return error
  if (FULL.has(code)) return fullError(`there is no room for ${path} (${code})`, error)
  return UNUSABLE.has(code) ? unusableError(`${path} cannot be made (${code})`, error) : error
}

const MAKE_ROOM = ['Make room, then run the campaign again in the same directory: it goes on where it stopped']
const OTHER_DIRECTORY = ['Choose a directory that you may write to with --dir']

export function fullError(message: string, cause?: unknown, suggestions: readonly string[] = MAKE_ROOM): StoreError {
  return new StoreError('E_STORE_FULL', message, cause === undefined ? { suggestions } : { suggestions, cause })
}

export function unusableError(message: string, cause?: unknown, suggestions: readonly string[] = OTHER_DIRECTORY): StoreError {
  return new StoreError('E_RUN_DIRECTORY', message, cause === undefined ? { suggestions } : { suggestions, cause })
}
