import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import type { Logger } from '../ports/logger.js'
import type { StoredEvent, StoreEvent } from '../ports/store.js'
import { syncDirectory } from '../util/atomic-file.js'
import type { FoldSet } from './fold-set.js'
import { crcOfFile, damagedError, judgeTail, keepAside, readJournal, writeAll } from './journal-file.js'
import { encodeLine, JOURNAL_VERSION, type JournalPosition, START } from './journal-format.js'
import { readHead, readSnapshot, writeHead, writeSnapshot } from './journal-snapshot.js'
import { storeError } from './store-error.js'

/** What was done about bytes after the last whole line. */
export interface TailRecovery {
  /** `cut`: a write that had not ended was taken out. `kept`: a whole event lacked its line end, which was put back. */
  readonly kind: 'cut' | 'kept'
  /** Where the bytes are kept, in the folder `journal`. */
  readonly file: string | undefined
  readonly bytes: number
  /** True when the event that was cut is known to have been acknowledged: the disk lost it. */
  readonly acknowledged: boolean
}

interface LogOptions {
  readonly shared: boolean
  readonly now: () => number
  readonly log: Logger | undefined
}

interface EncodedEvent {
  readonly line: string
  readonly chain: number
  readonly event: StoredEvent
}

/** After a failed write this much must fit on the disk before anything is decided again. */
const PROBE_BYTES = 1 << 16

/** The file of events: reading it through the folds and appending to it. All writing is done by who holds the lock. */
export class JournalLog {
  readonly path: string
  readonly #directory: string
  readonly #runDirectory: string
  readonly #folds: FoldSet
  readonly #options: LogOptions
  #file = -1
  #inode = -1
  #position: JournalPosition = START
  #id = ''
  /** The position was reached under the lock, so nothing before it can go away again. */
  #settled = false
  #recovery: TailRecovery | undefined
  #snapshotSeq = 0

  constructor(runDirectory: string, folds: FoldSet, options: LogOptions) {
    this.#runDirectory = runDirectory
    this.#directory = join(runDirectory, 'journal')
    this.path = join(this.#directory, 'events.jsonl')
    this.#folds = folds
    this.#options = options
  }

  get position(): JournalPosition {
    return this.#position
  }
  get id(): string {
    return this.#id
  }
  get recovery(): TailRecovery | undefined {
    return this.#recovery
  }
  get snapshotSeq(): number {
    return this.#snapshotSeq
  }

  /** First reading, without the lock: whoever appends meanwhile is not kept waiting. Damage is judged later. */
  read(readOnly: boolean): void {
    try {
      this.#openFile(readOnly ? 'r' : 'a+')
      this.#load()
    } catch (error) {
      throw storeError(error, 'read', this.path)
    }
  }

  /** Shows the folds what was appended since, without the lock: an event in the making may look like damage for a moment. */
  async readAgain(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) {
        await delay(10 * attempt)
        this.#reload()
      }
      const problem = this.#readRest()
      if (problem === undefined) return
      if (attempt === 3 || !this.#folds.resettable) throw problem
    }
  }

  #readRest(): Error | undefined {
    const changed = fs.statSync(this.path, { throwIfNoEntry: false })
    if (changed !== undefined && changed.ino !== this.#inode) this.#openFile('r')
    if (fs.fstatSync(this.#file).size < this.#position.offset) return this.#cutShort()
    const { damage } = this.#advance()
    if (damage !== undefined) return damagedError(this.path, this.#runDirectory, damage)
    return this.#headProblem(true)
  }

  /** Under the lock: reads what others appended, puts the end in order, makes a new journal if there is none. */
  catchUp(): void {
    try {
      this.#findFile()
      if (fs.fstatSync(this.#file).size === this.#position.offset && this.#settled) return
      const problem = this.#settle()
      if (problem === undefined) return
      if (this.#settled || !this.#folds.resettable) throw problem
      // what was read without the lock may have been taken back by a writer whose disk was full
      this.#reload()
      const again = this.#settle()
      if (again !== undefined) throw again
    } catch (error) {
      throw storeError(error, 'read', this.path)
    }
  }

  #settle(): Error | undefined {
    if (fs.fstatSync(this.#file).size < this.#position.offset) return this.#cutShort()
    const { tail, damage } = this.#advance()
    if (damage !== undefined) return damagedError(this.path, this.#runDirectory, damage)
    const headProblem = this.#settled ? undefined : this.#headProblem(tail.length > 0)
    if (headProblem !== undefined) return headProblem
    if (tail.length > 0) this.#mendTail(tail)
    if (this.#position.seq < 0) this.#writeHeader()
    this.#settled = true
    return undefined
  }

  /** A group of events that is being put together. Folds see them at once; {@link rebuild} takes that back. */
  begin(): EventGroup {
    const from = this.#position
    const lines: string[] = []
    let bytes = 0
    return {
      get bytes() {
        return bytes
      },
      encode: (events) => this.#encode(events),
      add: (encoded) => {
        for (const { line, chain, event } of encoded) {
          lines.push(line)
          const length = Buffer.byteLength(line)
          bytes += length
          this.#position = { ...this.#position, offset: this.#position.offset + length, seq: event.seq, chain }
          this.#folds.show(event)
        }
      },
      write: () => {
        if (bytes === 0) return
        const text = Buffer.from(lines.join(''))
        try {
          writeAll(this.#file, text)
          // elsewhere the bytes must be on the server before another host may look for the end of the file
          if (this.#options.shared) fs.fdatasyncSync(this.#file)
        } catch (error) {
          this.#takeBack(from.offset)
          throw error
        }
        this.#position = { ...this.#position, raw: crc32(text, from.raw) }
      },
    }
  }

  #encode(events: readonly StoreEvent[]): readonly EncodedEvent[] {
    let { seq, chain } = this.#position
    const at = this.#options.now()
    return events.map((given) => {
      seq++
      const json = JSON.stringify(Object.assign({ seq, at }, given, { seq, at }))
      const encoded = encodeLine(json, chain)
      chain = encoded.chain
      // parsed again, so that folds see exactly what a later reading shows them
      return { ...encoded, event: JSON.parse(json) as StoredEvent }
    })
  }

  #takeBack(size: number): void {
    try {
      fs.ftruncateSync(this.#file, size)
    } catch {
      // the next writer finds an unfinished line and cuts it
    }
  }

  /** Makes the folds anew from what is in the file. */
  rebuild(): void {
    this.#settled = false
    this.#reload()
  }

  /** @throws the system's error when the disk is still full */
  probe(): void {
    const path = join(this.#directory, `probe.${process.pid}.${randomBytes(4).toString('hex')}`)
    try {
      fs.writeFileSync(path, Buffer.alloc(PROBE_BYTES, 1), { flag: 'wx', flush: true })
    } finally {
      fs.rmSync(path, { force: true })
    }
  }

  sync(): Promise<void> {
    if (this.#options.shared) return Promise.resolve()
    return new Promise((resolve, reject) => fs.fdatasync(this.#file, (error) => (error === null ? resolve() : reject(error))))
  }

  /** Saves the folds as of now. The journal must have reached the disk up to here, so that the snapshot never knows more. */
  snapshot(): void {
    const folds = this.#folds.save()
    if (folds === undefined) {
      this.markHead()
      return
    }
    fs.fdatasyncSync(this.#file)
    writeSnapshot(this.#directory, { id: this.#id, position: this.#position, folds })
    this.#snapshotSeq = this.#position.seq
    this.#writeHead()
  }

  markHead(): void {
    fs.fdatasyncSync(this.#file)
    this.#writeHead()
  }

  #writeHead(): void {
    writeHead(this.#directory, { id: this.#id, seq: this.#position.seq, bytes: this.#position.offset })
  }

  close(): void {
    if (this.#file >= 0) fs.closeSync(this.#file)
    this.#file = -1
  }

  #openFile(flags: 'r' | 'a+'): void {
    const existed = fs.existsSync(this.path)
    if (!existed && readHead(this.#directory) !== undefined) throw this.#cutShort()
    const file = fs.openSync(this.path, flags)
    this.close()
    this.#file = file
    this.#inode = fs.fstatSync(file).ino
    if (!existed) syncDirectory(this.#directory)
  }

  /** Follows a journal that was replaced (by a repair); on shared file systems opening is what makes others' bytes visible. */
  #findFile(): void {
    const before = this.#inode
    const inode = fs.statSync(this.path, { throwIfNoEntry: false })?.ino
    if (inode === before && !this.#options.shared) return
    if (inode !== this.#inode && (!this.#folds.resettable || inode === undefined)) throw this.#cutShort()
    this.#openFile('a+')
    if (inode !== before) this.rebuild()
  }

  #reload(): void {
    this.#folds.reset()
    this.#position = START
    this.#load()
  }

  /** From the newest snapshot if it fits the file, else from the first event. */
  #load(): void {
    const snapshot = readSnapshot(this.#directory)
    if (snapshot !== undefined && crcOfFile(this.#file, snapshot.position.offset) === snapshot.position.raw) {
      const { position, id, folds } = snapshot
      this.#snapshotSeq = position.seq
      if (this.#folds.load(folds) === 0) {
        this.#position = position
        this.#id = id
      } else {
        const { seq } = position
        this.#advance((event) => (event.seq <= seq ? this.#folds.showUnloaded(event) : this.#folds.show(event)))
      }
    }
    this.#advance()
  }

  #advance(show = (event: StoredEvent): void => this.#folds.show(event)): ReturnType<typeof readJournal> {
    const result = readJournal(this.#file, this.#position, this.path, show)
    this.#position = result.position
    if (result.header !== undefined) this.#id = result.header.id
    return result
  }

  /** A journal that ends before what was known to be on the disk. One unfinished line may be a write that was torn. */
  #headProblem(hasTail: boolean): Error | undefined {
    const head = readHead(this.#directory)
    if (head === undefined) return undefined
    const { seq, offset } = this.#position
    if (seq >= 0 && head.id !== this.#id) {
      return damagedError(this.path, this.#runDirectory, {
        line: 1,
        offset: 0,
        reason: 'it is another journal than the one that was here before',
      })
    }
    if (seq >= head.seq || (hasTail && seq + 1 === head.seq)) return undefined
    const reason = `it ends after event ${Math.max(0, seq)}, but ${head.seq} had reached the disk`
    return damagedError(this.path, this.#runDirectory, { line: seq + 2, offset, reason })
  }

  #cutShort(): Error {
    const { seq, offset } = this.#position
    const reason = 'it was cut or removed: events that had been read before are missing'
    return damagedError(this.path, this.#runDirectory, { line: Math.max(1, seq + 2), offset, reason })
  }

  #mendTail(tail: Buffer): void {
    const { chain, offset, seq } = this.#position
    const verdict = judgeTail(tail, chain)
    if (verdict.kind === 'damaged') {
      const reason = 'its last line was changed'
      throw damagedError(this.path, this.#runDirectory, { line: seq + 2, offset, reason })
    }
    if (verdict.kind === 'complete') {
      if (tail.length > verdict.length) fs.ftruncateSync(this.#file, offset + verdict.length)
      writeAll(this.#file, Buffer.from('\n'))
      this.#advance()
      this.#recovery = { kind: 'kept', file: undefined, bytes: tail.length, acknowledged: true }
    } else {
      const acknowledged = seq < (readHead(this.#directory)?.seq ?? -1)
      const file = keepAside(this.#directory, tail)
      fs.ftruncateSync(this.#file, offset)
      this.#recovery = { kind: 'cut', file, bytes: tail.length, acknowledged }
    }
    fs.fsyncSync(this.#file)
    this.#options.log?.warn({ journal: this.path, ...this.#recovery }, 'the end of the journal was mended')
  }

  #writeHeader(): void {
    const at = this.#options.now()
    this.#id = randomBytes(8).toString('hex')
    const header = encodeLine(JSON.stringify({ cahier: 'journal', version: JOURNAL_VERSION, id: this.#id, at }), 0)
    try {
      writeAll(this.#file, Buffer.from(header.line))
      fs.fsyncSync(this.#file)
    } catch (error) {
      this.#takeBack(0)
      throw error
    }
    this.#advance()
  }
}

export interface EventGroup {
  /** Length of what will be written. */
  readonly bytes: number
  /** Throws for values that have no JSON form; then nothing is added. */
  encode(events: readonly StoreEvent[]): readonly EncodedEvent[]
  add(encoded: readonly EncodedEvent[]): void
  write(): void
}
