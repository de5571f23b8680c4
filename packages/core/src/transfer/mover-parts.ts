import { systemCodeOf } from '../errors.js'
import { type ByteName, readableName } from '../util/byte-names.js'
import type { MoveFailures } from './mover.js'

/** What movers have in common: names of parts, words for what went wrong, a bounded number of things at a time. */

export type MoveFailure = NonNullable<ReturnType<MoveFailures['get']>>

/** The file in the folder of parts in which the content of entry n belongs. */
export function partName(parts: ByteName, index: number): ByteName {
  return `${parts}/${index}`
}

/** For `node:fs`. */
export function pathOf(name: ByteName): Buffer {
  return Buffer.from(name, 'latin1')
}

const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])
const DENIED = new Set(['EACCES', 'EPERM', 'EROFS'])
const ABSENT = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])

/** Why a file could not be read where it comes from. */
export function sourceFailure(path: ByteName, systemCode: string | undefined, why: string): MoveFailure {
  const file = readableName(path)
  if (ABSENT.has(systemCode ?? '')) return { code: 'E_SOURCE_CHANGED', message: `${file} was there, and is gone` }
  if (DENIED.has(systemCode ?? '')) return { code: 'E_SOURCE_UNREADABLE', message: `${file} may not be read` }
  return { code: 'E_SOURCE_UNREADABLE', message: `${file} cannot be read: ${why}` }
}

/** Why a part could not be written where it goes. */
export function targetFailure(path: ByteName, systemCode: string | undefined, why: string): MoveFailure {
  const file = readableName(path)
  if (NO_ROOM.has(systemCode ?? '')) return { code: 'E_TARGET_FULL', message: `There is no room for ${file}: ${why}` }
  if (DENIED.has(systemCode ?? '')) return { code: 'E_TARGET_DENIED', message: `${file} may not be written: ${why}` }
  return { code: 'E_TRANSFER', message: `${file} cannot be written: ${why}` }
}

/** With a limit, pieces that pass within a fraction of a second. */
export function paced(bytesPerSecond: number | undefined): number {
  return bytesPerSecond === undefined ? Number.POSITIVE_INFINITY : Math.max(1024, Math.floor(bytesPerSecond / 8))
}

/** An error of the file system of this machine. */
export function isSystemError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error && systemCodeOf(error) !== undefined
}

/** Does this for each, so many at a time. The first error ends it, when those that are under way have ended. */
export async function eachAtOnce<T>(items: Iterable<T>, atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]()
  let failed = false
  const worker = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true && !failed; next = iterator.next()) {
      try {
        await work(next.value)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: atOnce }, worker))
  for (const one of ended) if (one.status === 'rejected') throw one.reason
}
