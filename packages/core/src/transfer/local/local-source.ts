import { createHash } from 'node:crypto'
import { type BigIntStats, closeSync, fstatSync, readSync, statSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { messageOf, systemCodeOf, TransferError } from '../../errors.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import type { Manifest, ManifestEntry } from '../manifest.js'
import { microsecondsOf } from './file-times.js'
import { isLeased, openFile, openFileSync, whenReleased } from './local-open.js'

/** A file of up to so many bytes is read in one go, without waiting: the system has it faster than it could say that it has it. */
const SMALL_BYTES = 64 << 10
/** Pieces in which larger files are read for their digest. */
const PIECE_BYTES = 1 << 20
/** Larger files that are open at a time. */
const OPEN_FILES = 4

/** The content of several entries, one after the other. */
export interface StreamReader {
  readonly size: number
  /**
   * The bytes from there on, as many as were asked for unless the stream ends before.
   *
   * @param into - is filled and given back instead of a new buffer; at least `length` bytes
   */
  read(offset: number, length: number, into?: Buffer): Promise<Buffer>
}

type FileEntry = ManifestEntry & { readonly kind: 'file' }

/** Why a file cannot be given as it was listed. */
export interface SourceFault {
  readonly code: 'E_SOURCE_CHANGED' | 'E_SOURCE_UNREADABLE'
  readonly message: string
}

/** Of a source of which is known only that it is not what it was, or also how. */
export function changedFault(how?: string): SourceFault {
  return { code: 'E_SOURCE_CHANGED', message: `it was changed while it was copied${how === undefined ? '' : `: ${how}`}` }
}

/**
 * The content of files of this machine, as they were when they were listed.
 *
 * A file that is no longer what was listed (size, time), or changes while it is read (these, or its inode, or the time of its status), is
 * `changed`, as is one that cannot be read; what is missing of it is read as zeros, so that everything keeps its place.
 */
export class LocalSource implements AsyncDisposable {
  readonly #manifest: Manifest
  readonly #paths: readonly ByteName[]
  readonly #faults = new Map<number, SourceFault>()
  /** Empty ones that were asked for: nothing of them is read. */
  readonly #empty = new Set<number>()
  /** Of files that were read: what they were then. */
  readonly #identities = new Map<number, string>()
  readonly #digests = new Map<number, Promise<string>>()
  /** Larger files one after the other: two at a time would only take the disk from each other. */
  #digesting: Promise<unknown> = Promise.resolve()
  readonly #open = new Map<number, OpenFile>()
  readonly #turns = new Turns()
  #isDisposed = false

  constructor(manifest: Manifest, paths: readonly ByteName[]) {
    this.#manifest = manifest
    this.#paths = paths
  }

  /** The bytes of one entry from there on, up to `length` or its end as it was listed. */
  async read(index: number, offset: number, length: number, into?: Buffer): Promise<Buffer> {
    const entry = this.#entry(index)
    const wanted = Math.max(0, Math.min(length, entry.size - offset))
    const target = into === undefined ? Buffer.allocUnsafe(wanted) : into.subarray(0, wanted)
    await this.#fill(index, entry, offset, target)
    return target
  }

  /** @param indexes - entries in the order of the stream; what is no file has no content */
  stream(indexes: readonly number[]): StreamReader {
    const files = indexes.filter((index) => this.#manifest[index]?.kind === 'file')
    for (const index of files) if (this.#entry(index).size === 0) this.#empty.add(index)
    /** Where each begins, and at last where the stream ends. */
    const starts = new Float64Array(files.length + 1)
    files.forEach((index, at) => {
      starts[at + 1] = (starts[at] as number) + this.#entry(index).size
    })
    const size = starts[files.length] as number
    return {
      size,
      read: async (offset, length, into) => {
        const wanted = Math.max(0, Math.min(length, size - offset))
        const target = into === undefined ? Buffer.allocUnsafe(wanted) : into.subarray(0, wanted)
        let done = 0
        for (let at = fileAt(starts, offset); done < wanted; at += 1) {
          const index = files[at] as number
          const inFile = offset + done - (starts[at] as number)
          const entry = this.#entry(index)
          const part = Math.min(entry.size - inFile, wanted - done)
          if (part > 0) await this.#fill(index, entry, inFile, target.subarray(done, done + part))
          done += part
        }
        return target
      },
    }
  }

  /**
   * SHA-256 of an entry in lower case hex, computed once, whoever asks.
   *
   * @throws TransferError `E_SOURCE_CHANGED` when it is no longer what was listed
   */
  digest(index: number): Promise<string> {
    let digest = this.#digests.get(index)
    if (digest === undefined) {
      const entry = this.#entry(index)
      digest = entry.size <= SMALL_BYTES ? this.#digestSmall(index, entry) : this.#inTurn(() => this.#digestLarge(index, entry))
      // Who asks hears of it; that nobody has asked yet is no reason to end the program.
      digest.catch(() => undefined)
      this.#digests.set(index, digest)
    }
    return digest
  }

  /** What is known to be no longer what was listed, or could not be read. All that was read is looked at once more. */
  async changed(): Promise<ReadonlyMap<number, SourceFault>> {
    for (const index of this.#empty) {
      this.#lookAt(index)
      await this.#turns.pause()
    }
    for (const [index, identity] of this.#identities) {
      if (!this.#faults.has(index)) this.#compare(index, identity, () => statSync(this.#path(index), { bigint: true }))
      await this.#turns.pause()
    }
    return this.#faults
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    const open = [...this.#open.values()]
    this.#open.clear()
    await Promise.all(open.map((file) => file.close()))
  }

  #entry(index: number): FileEntry {
    const entry = this.#manifest[index]
    if (entry?.kind !== 'file') throw new RangeError(`entry ${index} has no content`)
    return entry
  }

  #path(index: number): Buffer {
    return Buffer.from(this.#paths[index] as ByteName, 'latin1')
  }

  /** Fills the whole target with bytes of the file, zeros for what is not there. */
  async #fill(index: number, entry: FileEntry, offset: number, target: Buffer): Promise<void> {
    if (this.#isDisposed) throw new TransferError('E_ABORTED', 'The files are not read any more')
    if (target.length === 0) return
    if (entry.size > SMALL_BYTES) return this.#fillFromLarge(index, offset, target)
    await this.#turns.pause()
    await whenReleased(() => this.#fillFromSmall(index, offset, target))
  }

  /** @throws EAGAIN while somebody holds a lease on it */
  #fillFromSmall(index: number, offset: number, target: Buffer): void {
    let read = 0
    let descriptor: number | undefined
    try {
      descriptor = openFileSync(this.#path(index))
      const identity = this.#check(index, fstatSync(descriptor, { bigint: true }))
      for (let count = -1; count !== 0 && read < target.length; read += count) {
        count = readSync(descriptor, target, read, target.length - read, offset + read)
      }
      const file = descriptor
      this.#compare(index, identity, () => fstatSync(file, { bigint: true }))
    } catch (error) {
      if (isLeased(error)) throw error
      this.#mark(index, faultOf(error))
    } finally {
      if (descriptor !== undefined) closeSync(descriptor)
    }
    this.#pad(index, target, read)
  }

  async #fillFromLarge(index: number, offset: number, target: Buffer): Promise<void> {
    let read = 0
    try {
      const file = this.#handle(index)
      read = await file.use(async (handle) => {
        const identity = this.#check(index, await handle.stat({ bigint: true }))
        let count = -1
        for (let at = 0; ; at += count) {
          if (count === 0 || at === target.length) {
            const stats = await handle.stat({ bigint: true })
            this.#compare(index, identity, () => stats)
            return at
          }
          count = (await handle.read(target, at, target.length - at, offset + at)).bytesRead
        }
      })
    } catch (error) {
      void this.#open.get(index)?.close()
      this.#open.delete(index)
      this.#mark(index, faultOf(error))
    }
    this.#pad(index, target, read)
  }

  #pad(index: number, target: Buffer, read: number): void {
    if (read >= target.length) return
    target.fill(0, read)
    // Its size was right until now.
    this.#mark(index, { code: 'E_SOURCE_UNREADABLE', message: 'it has less content than its size says: copy it to a plain file first' })
  }

  /** The file, open; the one that was used the longest ago is closed for it. */
  #handle(index: number): OpenFile {
    let file = this.#open.get(index)
    if (file === undefined) file = new OpenFile(openFile(this.#path(index)))
    else this.#open.delete(index)
    this.#open.set(index, file)
    for (const [other, oldest] of this.#open) {
      if (this.#open.size <= OPEN_FILES) break
      this.#open.delete(other)
      void oldest.close()
    }
    return file
  }

  async #digestSmall(index: number, entry: FileEntry): Promise<string> {
    const content = await this.read(index, 0, entry.size)
    // Of an empty file nothing was read; it may have grown.
    if (entry.size === 0) this.#lookAt(index)
    this.#refuseChanged(index)
    return createHash('sha256').update(content).digest('hex')
  }

  async #digestLarge(index: number, entry: FileEntry): Promise<string> {
    const hash = createHash('sha256')
    const buffers = [Buffer.allocUnsafeSlow(PIECE_BYTES), Buffer.allocUnsafeSlow(PIECE_BYTES)] as const
    // One piece is read while the one before is hashed.
    let next = this.read(index, 0, PIECE_BYTES, buffers[0])
    for (let offset = 0, at = 1; offset < entry.size; offset += PIECE_BYTES, at += 1) {
      const piece = await next
      this.#refuseChanged(index)
      next = this.read(index, offset + PIECE_BYTES, PIECE_BYTES, buffers[(at % 2) as 0 | 1])
      // Nobody waits for it when this one is found to be changed.
      next.catch(() => undefined)
      hash.update(piece)
    }
    this.#refuseChanged(index)
    return hash.digest('hex')
  }

  #lookAt(index: number): void {
    try {
      this.#check(index, statSync(this.#path(index), { bigint: true }))
    } catch (error) {
      this.#mark(index, faultOf(error))
    }
  }

  #refuseChanged(index: number): void {
    const fault = this.#faults.get(index)
    if (fault === undefined) return
    throw new TransferError(fault.code, `${readableName(this.#paths[index] as ByteName)}: ${fault.message}`, {
      suggestions: fault.code === 'E_SOURCE_CHANGED' ? ['Copy it again when nobody writes to it any more'] : [],
    })
  }

  /** Compares with what was listed, and with what it was when it was read before. @returns what it is now */
  #check(index: number, stats: BigIntStats): string {
    const entry = this.#entry(index)
    const identity = `${stats.dev}:${stats.ino} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`
    if (Number(stats.size) !== entry.size) this.#mark(index, changedFault(`it had ${entry.size} bytes, and has ${stats.size}`))
    else if (microsecondsOf(stats.mtimeNs) !== entry.timeUs) this.#mark(index, changedFault('somebody wrote to it'))
    const before = this.#identities.get(index)
    if (before === undefined) this.#identities.set(index, identity)
    else if (before !== identity) this.#mark(index, changedFault('somebody wrote to it, or another file took its place'))
    return identity
  }

  #compare(index: number, before: string, look: () => BigIntStats): void {
    try {
      if (this.#check(index, look()) !== before) this.#mark(index, changedFault('somebody wrote to it'))
    } catch (error) {
      this.#mark(index, faultOf(error))
    }
  }

  #mark(index: number, fault: SourceFault): void {
    if (!this.#faults.has(index)) this.#faults.set(index, fault)
  }

  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turnOf = this.#digesting.then(action)
    this.#digesting = turnOf.catch(() => undefined)
    return turnOf
  }
}

/** A file that several read at once, closed when the last of them has what it wants. */
class OpenFile {
  readonly #opening: Promise<FileHandle>
  #users = 0
  #isClosing = false
  #closed: Promise<void> | undefined

  constructor(opening: Promise<FileHandle>) {
    this.#opening = opening
    opening.catch(() => undefined)
  }

  async use<T>(action: (handle: FileHandle) => Promise<T>): Promise<T> {
    this.#users += 1
    try {
      return await action(await this.#opening)
    } finally {
      this.#users -= 1
      if (this.#isClosing) await this.close()
    }
  }

  async close(): Promise<void> {
    this.#isClosing = true
    if (this.#users > 0) return
    this.#closed ??= this.#opening.then(
      // Nothing was written: what the system says of it matters to nobody.
      (handle) => handle.close().catch(() => undefined),
      () => undefined,
    )
    await this.#closed
  }
}

/** The last file that begins at this offset or before it. */
function fileAt(starts: Float64Array, offset: number): number {
  let low = 0
  let high = starts.length - 2
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if ((starts[middle] as number) <= offset) low = middle
    else high = middle - 1
  }
  return low
}

function faultOf(error: unknown): SourceFault {
  const code = systemCodeOf(error)
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return changedFault('it is gone')
  if (code === 'EACCES' || code === 'EPERM') return changedFault('it may not be read any more')
  return { code: 'E_SOURCE_UNREADABLE', message: `it cannot be read: ${messageOf(error)}` }
}
