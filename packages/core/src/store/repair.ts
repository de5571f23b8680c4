import fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { StoreError } from '../errors.js'
import type { StoredEvent } from '../ports/store.js'
import { writeFileAtomicSync } from '../util/atomic-file.js'
import { DirectoryLock } from './directory-lock.js'
import { keepAside, readJournal } from './journal-file.js'
import {
  checkLine,
  encodeLine,
  JOURNAL_VERSION,
  type JournalHeader,
  LF,
  parseLine,
  readHeader,
  START,
  writtenChecksum,
} from './journal-format.js'
import { removeMarks } from './journal-snapshot.js'
import { LockWait } from './lock-wait.js'
import { storeError } from './store-error.js'

/** What a repair did. */
export interface RepairReport {
  /** False when the journal was whole; then nothing was written. */
  readonly repaired: boolean
  /** Events that the journal has now. */
  readonly events: number
  /** Events from after the damage that were whole and could be taken over. */
  readonly salvaged: number
  /** Where the file as it was found is kept. */
  readonly copy: string | undefined
  readonly dropped: readonly DroppedPart[]
}

/** Something that is not in the repaired journal. */
export interface DroppedPart {
  readonly offset: number
  readonly bytes: number
  readonly reason: string
}

/**
 * Makes a damaged journal usable: keeps a copy of it, then all events before the damage and, of those after it, the ones
 * that are whole. Events whose meaning depends on a lost change of the sweep are dropped, and so are all after them.
 *
 * @param directory - of the run, as for `JournalStore`
 * @throws StoreError `E_JOURNAL_NEWER`, `E_RUN_DIRECTORY`, `E_STORE_FULL`, `E_STORE_IO`
 */
export async function repairJournal(directory: string): Promise<RepairReport> {
  const journal = join(directory, 'journal')
  const path = join(journal, 'events.jsonl')
  if (!fs.existsSync(path)) {
    throw new StoreError('E_RUN_DIRECTORY', `repair the journal of ${directory}: there is no ${path}`, {
      suggestions: ['If there is a backup of the folder "journal", put it back whole'],
    })
  }
  const lock = new DirectoryLock(join(journal, 'lock'))
  try {
    const wait = new LockWait(lock, 30_000, lock.path)
    while (!lock.tryAcquire()) await wait.pause()
    return repairUnderLock(journal, path)
  } catch (error) {
    throw storeError(error, 'repair', path)
  } finally {
    lock.dispose()
    await delay(0)
  }
}

function repairUnderLock(journal: string, path: string): RepairReport {
  const events: StoredEvent[] = []
  const file = fs.openSync(path, 'r')
  let first: ReturnType<typeof readJournal>
  try {
    first = readJournal(file, START, path, (event) => events.push(event))
  } finally {
    fs.closeSync(file)
  }
  const intact = events.length
  const { position, damage, tail } = first
  const whole = fs.readFileSync(path)
  const rest = whole.subarray(position.offset)
  const dropped: DroppedPart[] = []
  let header = first.header
  if (rest.length > 0) {
    const found = salvage(rest, position.offset, path, dropped)
    header ??= found.header
    events.push(...keepConsistent(events, found, dropped))
  }
  if (damage === undefined && tail.length === 0 && header !== undefined) {
    // whole, but perhaps shorter than what was known: from now on this is the journal
    removeMarks(journal)
    return { repaired: false, events: events.length, salvaged: 0, copy: undefined, dropped: [] }
  }
  const copy = keepAside(journal, whole, 'damaged-events')
  writeFileAtomicSync(path, encodeAll(header, events), { durable: true })
  removeMarks(journal)
  return { repaired: true, events: events.length, salvaged: events.length - intact, copy: join(journal, copy), dropped }
}

interface Salvage {
  readonly header: JournalHeader | undefined
  readonly events: readonly { readonly event: StoredEvent; readonly offset: number; readonly bytes: number }[]
  /** What the destroyed lines were, as far as it can still be read. */
  readonly lostTypes: readonly (string | undefined)[]
}

/** Lines that fit the checksum written in the line before them; a line after a destroyed one cannot be checked and is dropped. */
function salvage(rest: Buffer, base: number, path: string, dropped: DroppedPart[]): Salvage {
  const events: { event: StoredEvent; offset: number; bytes: number }[] = []
  const lostTypes: (string | undefined)[] = []
  let header: JournalHeader | undefined
  let chain = -1
  for (let start = 0; start < rest.length; ) {
    const lf = rest.indexOf(LF, start)
    const end = lf < 0 ? rest.length : lf
    const offset = base + start
    const bytes = end - start + (lf < 0 ? 0 : 1)
    const json = chain >= 0 && checkLine(rest, start, end, chain) >= 0 ? parseOrNothing(rest, start, end) : undefined
    if (isEvent(json)) events.push({ event: json, offset, bytes })
    else {
      header ??= checkLine(rest, start, end, 0) >= 0 ? readHeader(parseOrNothing(rest, start, end), path) : undefined
      if (offset > 0) lostTypes.push(/"type":"([^"]+)"/.exec(rest.toString('latin1', start, end))?.[1])
      dropped.push({ offset, bytes, reason: lf < 0 ? 'the line has no end' : 'its checksum does not fit, or that of the line before it' })
    }
    chain = writtenChecksum(rest, start, end)
    start = end + 1
  }
  return { header, events, lostTypes }
}

/** Events that say what the positions in later events mean. */
const DEFINING = new Set(['sweep.space', 'campaign'])

/**
 * Takes events in order. What is lost in between may have changed the sweep: then an event with a position is only safe when
 * it names its generation and that is known. All others are safe when every lost line can still be seen to be harmless.
 */
function keepConsistent(before: readonly StoredEvent[], found: Salvage, dropped: DroppedPart[]): readonly StoredEvent[] {
  const harmless = new Set(
    [...before, ...found.events.map(({ event }) => event)].map(({ type }) => type).filter((type) => !DEFINING.has(type)),
  )
  let seq = before.at(-1)?.seq ?? 0
  const lines = found.events.length + found.lostTypes.length
  const lastSeq = found.events.at(-1)?.event.seq ?? seq
  const isComplete = lastSeq - seq <= lines
  let isSafe = isComplete && found.lostTypes.every((type) => type !== undefined && harmless.has(type))
  const generations = new Set(before.map(generationOf))
  const kept: StoredEvent[] = []
  for (const { event, offset, bytes } of found.events) {
    const defined = generationOf(event)
    const positioned = event.type.startsWith('sweep.') && typeof event['g'] === 'number' && defined === undefined
    const fits = positioned ? generations.has(event['g'] as number) : isSafe || event.type === 'sweep.worker'
    if (event.seq <= seq || !fits) {
      const reason = fits ? `event ${event.seq} is out of order` : 'a change of the sweep before it may be missing'
      dropped.push({ offset, bytes, reason })
      if (defined !== undefined) isSafe = false
      continue
    }
    if (defined !== undefined) generations.add(defined)
    seq = event.seq
    kept.push(event)
  }
  return kept
}

function generationOf(event: StoredEvent): number | undefined {
  return event.type === 'sweep.space' && typeof event['g'] === 'number' ? event['g'] : undefined
}

/** Numbers begin anew without gaps; the number that an event had stays with it as `was`. */
function encodeAll(header: JournalHeader | undefined, events: readonly StoredEvent[]): string {
  const { id, at } = header ?? { id: `repaired-${process.pid}-${Date.now()}`, at: Date.now() }
  const first = encodeLine(JSON.stringify({ cahier: 'journal', version: JOURNAL_VERSION, id, at }), 0)
  const lines = [first.line]
  let { chain } = first
  let seq = 0
  for (const event of events) {
    seq++
    const numbered = event.seq === seq ? event : { ...event, seq, was: event.seq }
    const encoded = encodeLine(JSON.stringify(numbered), chain)
    lines.push(encoded.line)
    chain = encoded.chain
  }
  return lines.join('')
}

function parseOrNothing(bytes: Buffer, start: number, end: number): unknown {
  try {
    return parseLine(bytes, start, end)
  } catch {
    return undefined
  }
}

function isEvent(json: unknown): json is StoredEvent {
  if (typeof json !== 'object' || json === null) return false
  const { seq, at, type } = json as Record<string, unknown>
  return typeof seq === 'number' && typeof at === 'number' && typeof type === 'string'
}
