import fs from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { StoreError } from '../errors.js'
import type { StoredEvent } from '../ports/store.js'
import {
  checkLine,
  isEventAfter,
  type JournalHeader,
  type JournalPosition,
  LF,
  parseLine,
  readHeader,
  SUFFIX_LENGTH,
  TAB,
} from './journal-format.js'

const CHUNK = 1 << 18
/** Reused, because a catch-up under the lock happens thousands of times a second. */
const scratch = Buffer.allocUnsafeSlow(CHUNK)

/** Where and how a journal is not what was written. */
export interface Damage {
  /** First line is 1, the header. */
  readonly line: number
  readonly offset: number
  readonly reason: string
}

export interface ReadResult {
  readonly position: JournalPosition
  /** The header, when it was read in this call. */
  readonly header: JournalHeader | undefined
  /** What follows the last LF. */
  readonly tail: Buffer
  readonly damage: Damage | undefined
}

/**
 * Reads the lines after a position, in pieces, and shows each event. Stops before the first line that is not what was written.
 *
 * @throws StoreError `E_JOURNAL_NEWER`, and the system's errors
 */
export function readJournal(file: number, from: JournalPosition, path: string, show: (event: StoredEvent) => void): ReadResult {
  let { offset, seq, chain, raw } = from
  let header: JournalHeader | undefined
  let buffer = scratch
  let filled = 0
  for (;;) {
    if (filled === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2)
    const got = fs.readSync(file, buffer, filled, buffer.length - filled, offset + filled)
    if (got === 0)
      return { position: { offset, seq, chain, raw }, header, tail: Buffer.from(buffer.subarray(0, filled)), damage: undefined }
    let start = 0
    let end = buffer.indexOf(LF, filled)
    filled += got
    while (end >= 0 && end < filled) {
      const next = checkLine(buffer, start, end, chain)
      const json = next < 0 ? undefined : parseChecked(buffer, start, end)
      let reason: string | undefined
      if (next < 0) reason = 'its checksum does not fit'
      else if (seq < 0) {
        header = readHeader(json, path)
        if (header === undefined) reason = 'it is not the header of a journal'
      } else if (isEventAfter(json, seq)) show(json)
      else reason = `it is not event ${seq + 1}`
      if (reason !== undefined) {
        const at = offset + start
        const position = { offset: at, seq, chain, raw: crc32(buffer.subarray(0, start), raw) }
        return { position, header, tail: Buffer.from(buffer.subarray(start, filled)), damage: { line: seq + 2, offset: at, reason } }
      }
      seq++
      chain = next
      start = end + 1
      end = buffer.indexOf(LF, start)
    }
    raw = crc32(buffer.subarray(0, start), raw)
    offset += start
    buffer.copyWithin(0, start, filled)
    filled -= start
  }
}

function parseChecked(bytes: Buffer, start: number, end: number): unknown {
  try {
    return parseLine(bytes, start, end)
  } catch {
    return undefined
  }
}

/**
 * What to do with bytes after the last LF, when nobody is writing. `complete`: a whole line whose LF is missing or was
 * changed; `torn`: a write that did not end; `damaged`: a whole line that was changed.
 */
export type TailVerdict = { readonly kind: 'complete'; readonly length: number } | { readonly kind: 'torn' | 'damaged' }

export function judgeTail(tail: Buffer, chain: number): TailVerdict {
  const tab = tail.indexOf(TAB)
  const length = tab + SUFFIX_LENGTH
  if (tab < 0 || tail.length < length) return { kind: 'torn' }
  // A file that grew before its bytes arrived ends in zeros.
  const onlyZeros = tail.subarray(length).every((byte) => byte === 0)
  if (checkLine(tail, 0, length, chain) >= 0) {
    return onlyZeros || tail.length === length + 1 ? { kind: 'complete', length } : { kind: 'damaged' }
  }
  return tail.includes(0) ? { kind: 'torn' } : { kind: 'damaged' }
}

/** CRC-32 of the first bytes of a file; undefined when it is shorter. */
export function crcOfFile(file: number, length: number): number | undefined {
  const buffer = Buffer.allocUnsafe(CHUNK)
  let crc = 0
  for (let at = 0; at < length; ) {
    const got = fs.readSync(file, buffer, 0, Math.min(CHUNK, length - at), at)
    if (got === 0) return undefined
    crc = crc32(buffer.subarray(0, got), crc)
    at += got
  }
  return crc
}

/** Writes everything or throws; the system may take a part first. */
export function writeAll(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(file, bytes, at, bytes.length - at)
}

/** Keeps bytes beside the journal under a new name. Returns the name. */
export function keepAside(directory: string, bytes: Buffer, stem = 'torn'): string {
  for (let n = 1; ; n++) {
    const name = `${stem}-${n}`
    try {
      const file = fs.openSync(join(directory, name), 'wx')
      try {
        writeAll(file, bytes)
        fs.fsyncSync(file)
      } catch (error) {
        fs.rmSync(join(directory, name), { force: true })
        throw error
      } finally {
        fs.closeSync(file)
      }
      return name
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error
    }
  }
}

export function damagedError(path: string, runDirectory: string, damage: Damage): StoreError {
  return new StoreError('E_JOURNAL_DAMAGED', `${path} is damaged at line ${damage.line}, byte ${damage.offset}: ${damage.reason}`, {
    suggestions: [
      `Look at what can be saved, on a copy that is kept: cahier sweep repair ${runDirectory}`,
      'If there is a backup of the folder "journal", put it back whole',
    ],
    data: { path, ...damage },
  })
}
