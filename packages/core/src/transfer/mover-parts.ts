import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { systemCodeOf } from '../errors.js'
import { type ByteName, readableName } from '../util/byte-names.js'
import { isLeased, openFileSync, whenReleased } from './local/local-open.js'
import type { MovedFile, MoveFailures, MoveOptions } from './mover.js'

/** What movers have in common: names of parts, words for what went wrong, small files, a bounded number of things at a time. */

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

/** A file of up to so many bytes is read and written in one go, without waiting: the system has done it faster than it could say so. */
export const SMALL_BYTES = 32 << 10

/**
 * The beginning of a small file, read into a buffer; at once, unless somebody has to let go of it first.
 *
 * @returns how many bytes there were; at most `length`
 * @throws the error of the system
 */
export function readSmall(path: ByteName, into: Buffer, offset: number, length: number): number | Promise<number> {
  const read = (): number => readNow(path, into, offset, length)
  try {
    return read()
  } catch (error) {
    if (!isLeased(error)) throw error
    return whenReleased(read)
  }
}

function readNow(path: ByteName, into: Buffer, offset: number, length: number): number {
  const descriptor = openFileSync(pathOf(path))
  try {
    let read = 0
    for (let bytes = -1; bytes !== 0 && read < length; read += bytes) {
      bytes = readSync(descriptor, into, offset + read, length - read, null)
    }
    return read
  } finally {
    closeSync(descriptor)
  }
}

/** Makes a part with this content, or empties the one that is there for it. @throws the error of the system */
export function writeSmall(part: ByteName, content: Buffer): void {
  const descriptor = openSync(pathOf(part), 'w', 0o600)
  try {
    for (let done = 0; done < content.length; ) done += writeSync(descriptor, content, done, content.length - done)
  } finally {
    closeSync(descriptor)
  }
}

/** Of a large file, read and sent at a time. */
const PIECE_BYTES = 256 << 10

/**
 * Sends the content of a large file, from an offset to its listed end: zeros for what cannot be read any more, so that what follows keeps
 * its place.
 *
 * @param isOver - that nobody takes the rest
 * @returns why something could not be read
 */
export async function sendContent(
  { path, size }: MovedFile,
  from: number,
  handle: FileHandle,
  { pace, signal, onBytes }: MoveOptions,
  write: (piece: Buffer) => Promise<void>,
  isOver = (): boolean => false,
): Promise<MoveFailure | undefined> {
  let unread: MoveFailure | undefined
  for (let offset = from; offset < size && !isOver(); ) {
    const length = Math.min(PIECE_BYTES, size - offset, paced(pace.bytesPerSecond))
    await pace.take(length, signal)
    const piece = Buffer.allocUnsafeSlow(length)
    let read = 0
    try {
      for (let bytes = -1; bytes !== 0 && read < length && unread === undefined; read += bytes) {
        bytes = (await handle.read(piece, read, length - read, offset + read)).bytesRead
      }
    } catch (error) {
      if (!isSystemError(error)) throw error
      unread = sourceFailure(path, systemCodeOf(error), error.message)
    }
    await write(piece.fill(0, read))
    onBytes(length)
    offset += length
  }
  return unread
}
