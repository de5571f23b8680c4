import { StoreError, systemCodeOf } from '../errors.js'

/** No room: the disk, the quota, or the largest file that this process may write. */
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])
/** A part of the path is not there, or is no folder. */
const MISSING = new Set(['ENOENT', 'ENOTDIR'])
const FORBIDDEN = new Set(['EROFS', 'EACCES', 'EPERM'])

/** Puts what was being attempted in front of a system error; errors of ours pass as they are. */
export function storeError(error: unknown, attempt: string, path: string): StoreError {
  if (error instanceof StoreError) return error
  const code = systemCodeOf(error) ?? ''
  const details = { cause: error, data: { path, systemCode: code } }
  if (FULL.has(code)) {
    return new StoreError('E_STORE_FULL', `${attempt} ${path}: ${code}, there is no room left`, {
      ...details,
      suggestions: [
        'Make room on the disk or ask for a larger quota, then start again: nothing that was acknowledged is lost',
        'Look at both limits, bytes and number of files: df -h, df -i, quota -s',
      ],
    })
  }
  return new StoreError('E_STORE_IO', `${attempt} ${path}: ${code || String(error)}`, {
    ...details,
    suggestions: [suggestionFor(code)],
  })
}

function suggestionFor(code: string): string {
  if (FORBIDDEN.has(code)) return 'Check that this user may write there and that the file system is not mounted read-only'
  if (MISSING.has(code)) return 'Check that the folder exists and that its file system is mounted'
  return 'Check that the file system is mounted and answers, then start again'
}
