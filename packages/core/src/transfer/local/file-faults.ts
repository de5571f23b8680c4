import type { ErrorCode } from '../../error-codes.js'
import { isCampaignError, messageOf, systemCodeOf, TransferError } from '../../errors.js'

const SUGGESTIONS: Partial<Record<ErrorCode, readonly string[]>> = {
  E_TARGET_DENIED: ['Choose a directory that you may write to, or ask its owner'],
  E_TARGET_FULL: ['Make room, then ask again: what came so far is not sent twice'],
  E_TARGET_KIND: ['Move it away, or choose another directory'],
}

/** What a failure of the file system at the target means. */
export function codeOfFault(error: unknown): ErrorCode {
  switch (systemCodeOf(error)) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'E_TARGET_DENIED'
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EMLINK':
      return 'E_TARGET_FULL'
    case 'EISDIR':
    case 'ENOTDIR':
    case 'EEXIST':
    case 'ENOTEMPTY':
    case 'ELOOP':
      return 'E_TARGET_KIND'
    default:
      return 'E_TRANSFER'
  }
}

/** In words, without the names that Node puts into its messages: they may be no UTF-8. */
export function wordsOfFault(error: unknown): string {
  switch (systemCodeOf(error)) {
    case 'EACCES':
    case 'EPERM':
      return 'permission denied'
    case 'EROFS':
      return 'the file system is read-only'
    case 'ENOSPC':
      return 'there is no room left'
    case 'EDQUOT':
      return 'the quota is used up'
    case 'EISDIR':
    case 'ENOTEMPTY':
    case 'EEXIST':
      return 'a directory stands in its place'
    case 'ENOTDIR':
      return 'something that is no directory is on the way to it'
    case 'ENOENT':
      return 'it, or the directory that it belongs into, is gone'
    case 'ENAMETOOLONG':
      return 'its name is too long there'
    case 'EILSEQ':
    case 'EINVAL':
      return 'the file system does not take such a name'
    default:
      return messageOf(error).replace(/, \w+ '[\s\S]*$/, '')
  }
}

/** The error of a transfer for a failure of the file system at the target; one that is known already stays what it is. */
export function targetError(error: unknown, what: string): unknown {
  if (isCampaignError(error) || systemCodeOf(error) === undefined) return error
  const code = codeOfFault(error)
  return new TransferError(code, `${what}: ${wordsOfFault(error)}`, { suggestions: SUGGESTIONS[code] ?? [], cause: error })
}
