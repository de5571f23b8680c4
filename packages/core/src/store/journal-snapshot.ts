import fs from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomicSync } from '../util/atomic-file.js'
import { checkLine, encodeLine, type JournalPosition, LF, parseLine } from './journal-format.js'

/** How far a journal was known to be on the disk. A shorter journal has lost what was acknowledged. */
export interface JournalHead {
  readonly id: string
  readonly seq: number
  readonly bytes: number
}

/** The state of the folds at a position, so that opening need not look at every event before it. */
export interface JournalSnapshot {
  readonly version: number
  readonly id: string
  readonly position: JournalPosition
  readonly folds: Readonly<Record<string, unknown>>
}

const HEAD = 'head.json'
const SNAPSHOT = 'snapshot.json'
const SNAPSHOT_VERSION = 1

/** One checked line, like those of the journal; anything else counts as absent. */
function readChecked(path: string): Record<string, unknown> | undefined {
  try {
    const bytes = fs.readFileSync(path)
    const end = bytes.length - 1
    if (bytes[end] !== LF || checkLine(bytes, 0, end, 0) < 0) return undefined
    const json = parseLine(bytes, 0, end)
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

export function readHead(directory: string): JournalHead | undefined {
  const json = readChecked(join(directory, HEAD))
  if (json === undefined) return undefined
  const { id, seq, bytes } = json
  return typeof id === 'string' && typeof seq === 'number' && typeof bytes === 'number' ? { id, seq, bytes } : undefined
}

export function writeHead(directory: string, head: JournalHead): void {
  writeFileAtomicSync(join(directory, HEAD), encodeLine(JSON.stringify(head), 0).line)
}

/** A snapshot that was changed, or is of another version, counts as absent: the journal is the truth. */
export function readSnapshot(directory: string): JournalSnapshot | undefined {
  const json = readChecked(join(directory, SNAPSHOT)) as JournalSnapshot | undefined
  return json?.version === SNAPSHOT_VERSION ? json : undefined
}

export function writeSnapshot(directory: string, snapshot: Omit<JournalSnapshot, 'version'>): void {
  writeFileAtomicSync(join(directory, SNAPSHOT), encodeLine(JSON.stringify({ version: SNAPSHOT_VERSION, ...snapshot }), 0).line)
}

/** After a repair neither fits any more. */
export function removeMarks(directory: string): void {
  fs.rmSync(join(directory, HEAD), { force: true })
  fs.rmSync(join(directory, SNAPSHOT), { force: true })
}
