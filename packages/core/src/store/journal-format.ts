import { crc32 } from 'node:zlib'
import { StoreError } from '../errors.js'
import type { StoredEvent } from '../ports/store.js'

/**
 * One event is one line: JSON, TAB, eight hexadecimal digits, LF. JSON never holds a raw TAB or LF. The digits are a CRC-32
 * that goes on from the line before, so a line that was changed, removed, doubled or moved shows. The first line is the
 * header; its form never changes, so that every version can tell that a journal is newer than itself.
 */
export const JOURNAL_VERSION = 1
export const LF = 10
export const TAB = 9
/** TAB and checksum. */
export const SUFFIX_LENGTH = 9

/** A place between two lines of a journal, and what is known of everything before it. */
export interface JournalPosition {
  /** Bytes before. */
  readonly offset: number
  /** Sequence number of the event before; 0 after the header, -1 before it. */
  readonly seq: number
  /** Checksum of the line before. */
  readonly chain: number
  /** CRC-32 of all bytes before. */
  readonly raw: number
}

export const START: JournalPosition = { offset: 0, seq: -1, chain: 0, raw: 0 }

export interface JournalHeader {
  readonly cahier: 'journal'
  readonly version: number
  readonly id: string
  readonly at: number
}

/** A line as it is written, and the checksum from which the next one goes on. */
export function encodeLine(json: string, chain: number): { readonly line: string; readonly chain: number } {
  const next = crc32(json, chain)
  return { line: `${json}\t${next.toString(16).padStart(8, '0')}\n`, chain: next }
}

/** Value of eight lower-case hexadecimal digits, or -1. */
function parseHex(bytes: Buffer, at: number): number {
  let value = 0
  for (let i = at; i < at + 8; i++) {
    const byte = bytes[i]!
    const digit = byte >= 48 && byte <= 57 ? byte - 48 : byte >= 97 && byte <= 102 ? byte - 87 : -1
    if (digit < 0) return -1
    value = value * 16 + digit
  }
  return value
}

/**
 * The checksum of a line without its LF, or -1 when the line is not what was written.
 *
 * @param chain - checksum of the line before
 */
export function checkLine(bytes: Buffer, start: number, end: number, chain: number): number {
  const tab = end - SUFFIX_LENGTH
  if (tab <= start || bytes[tab] !== TAB) return -1
  const written = parseHex(bytes, tab + 1)
  return written >= 0 && crc32(bytes.subarray(start, tab), chain) === written ? written : -1
}

/** The checksum that a line carries, right or wrong; -1 when it has none. */
export function writtenChecksum(bytes: Buffer, start: number, end: number): number {
  const tab = end - SUFFIX_LENGTH
  return tab > start && bytes[tab] === TAB ? parseHex(bytes, tab + 1) : -1
}

/** Reads the JSON of a checked line. */
export function parseLine(bytes: Buffer, start: number, end: number): unknown {
  return JSON.parse(bytes.toString('utf8', start, end - SUFFIX_LENGTH))
}

/**
 * Reads the first line's JSON.
 *
 * @returns undefined when it is no header
 * @throws StoreError `E_JOURNAL_NEWER`
 */
export function readHeader(json: unknown, path: string): JournalHeader | undefined {
  if (typeof json !== 'object' || json === null) return undefined
  const { cahier, version, id, at } = json as Record<string, unknown>
  if (cahier !== 'journal' || typeof version !== 'number' || typeof id !== 'string' || typeof at !== 'number') return undefined
  if (version > JOURNAL_VERSION) {
    throw new StoreError(
      'E_JOURNAL_NEWER',
      `${path} has journal format ${version}; this version of Cahier reads up to ${JOURNAL_VERSION}`,
      {
        suggestions: ['Update Cahier: npm install -g @cahier/cli', 'Use the version that started this run'],
        data: { path, version, readable: JOURNAL_VERSION },
      },
    )
  }
  return { cahier, version, id, at }
}

/** Says whether a checked line's JSON is the event that follows number `seq`. */
export function isEventAfter(json: unknown, seq: number): json is StoredEvent {
  if (typeof json !== 'object' || json === null) return false
  const event = json as Record<string, unknown>
  return event['seq'] === seq + 1 && typeof event['type'] === 'string' && typeof event['at'] === 'number'
}
