import { TransferError } from '../errors.js'
import type { ByteName } from '../util/byte-names.js'

const BLOCK = 512
/** Names and attributes that stand before an entry; longer ones are nonsense. */
const LARGEST_NOTE = 1 << 20

/** A file in an archive, or another name for one that came before it. */
export interface TarEntry {
  readonly name: ByteName
  readonly bytes: number
  readonly mode: number
  /** The earlier entry that this is a hard link to; it has no bytes of its own. */
  readonly link?: ByteName
}

/** What takes the entries, one after the other. What it returns is waited for. */
export interface TarSink {
  /** A block of text between archives, put there by {@link controlBlock}. */
  control(text: string): Promise<void> | void
  /** A file begins. Folders are not told, links and devices neither. */
  begin(entry: TarEntry): Promise<void> | void
  data(chunk: Uint8Array): Promise<void> | void
  end(): Promise<void> | void
}

/** Shell text that writes a block between two archives. @param words - shell text for inside double quotes, at most 400 bytes when it is executed */
export function controlBlock(words: string): string {
  return `printf '%-512.512s' "cahier ${words}"`
}

/**
 * Reads archives that come one after the other in pieces of any size: those of POSIX, GNU, BSD and busybox.
 *
 * @remarks Nothing of what it says is to be believed: names may lead anywhere.
 * @source tar(5): ustar, pax (x, g) and GNU (L, K) entries
 */
export class TarReader {
  readonly #sink: TarSink
  /** What is not yet a whole block. */
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes of the present entry still to come, and those that fill its last block. */
  #left = 0
  #padding = 0
  #state: 'header' | 'file' | 'note' | 'skip' = 'header'
  #note: { readonly type: string; readonly chunks: Uint8Array[] } = { type: '', chunks: [] }
  /** Said before an entry about it. */
  #next: { name?: ByteName; link?: ByteName; bytes?: number } = {}

  constructor(sink: TarSink) {
    this.#sink = sink
  }

  /** True between entries: what came is whole. */
  get isWhole(): boolean {
    return this.#state === 'header' && this.#rest.length === 0
  }

  /** @throws TransferError `E_FETCH` when this is no archive, and whatever the sink throws */
  async push(chunk: Uint8Array): Promise<void> {
    let data = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    if (this.#rest.length > 0) {
      data = Buffer.concat([this.#rest, data])
      this.#rest = Buffer.alloc(0)
    }
    let at = 0
    while (at < data.length) {
      if (this.#state === 'header') {
        if (data.length - at < BLOCK) break
        await this.#takeHeader(data.subarray(at, at + BLOCK))
        at += BLOCK
        continue
      }
      const take = Math.min(this.#left, data.length - at)
      if (take > 0) {
        const part = data.subarray(at, at + take)
        if (this.#state === 'file') await this.#sink.data(part)
        if (this.#state === 'note') this.#note.chunks.push(Buffer.from(part))
        this.#left -= take
        at += take
      }
      if (this.#left > 0) break
      const skip = Math.min(this.#padding, data.length - at)
      this.#padding -= skip
      at += skip
      if (this.#padding > 0) break
      await this.#endEntry()
    }
    this.#rest = Buffer.from(data.subarray(at))
  }

  async #takeHeader(block: Buffer): Promise<void> {
    if (block[0] === 0 && block.every((byte) => byte === 0)) return
    if (block.toString('latin1', 0, 7) === 'cahier ') {
      await this.#sink.control(block.toString('latin1', 7).trimEnd())
      return
    }
    checkSum(block)
    const type = String.fromCharCode(block[156] as number)
    const { name, link, bytes } = this.#next
    this.#left = bytes ?? readNumber(block, 124, 12)
    if (type === 'L' || type === 'K' || type === 'x' || type === 'g') {
      if (this.#left > LARGEST_NOTE) throw damaged(`a name of ${this.#left} bytes`)
      this.#note = { type, chunks: [] }
      this.#state = 'note'
    } else {
      this.#next = {}
      const own = name ?? ownName(block)
      const mode = readNumber(block, 100, 8)
      if (type === '1') {
        this.#left = 0
        await this.#sink.begin({ name: own, bytes: 0, mode, link: link ?? text(block, 157, 100) })
        await this.#sink.end()
        return
      }
      const isFile = type === '0' || type === '\0' || type === '7'
      if (isFile) await this.#sink.begin({ name: own, bytes: this.#left, mode })
      this.#state = isFile ? 'file' : 'skip'
    }
    this.#padding = (BLOCK - (this.#left % BLOCK)) % BLOCK
    if (this.#left === 0) await this.#endEntry()
  }

  async #endEntry(): Promise<void> {
    const { type, chunks } = this.#note
    if (this.#state === 'file') await this.#sink.end()
    if (this.#state === 'note') {
      const data = Buffer.concat(chunks)
      if (type === 'L') this.#next.name = text(data, 0, data.length)
      if (type === 'K') this.#next.link = text(data, 0, data.length)
      if (type === 'x') readAttributes(data, this.#next)
    }
    this.#state = 'header'
  }
}

/** Of a pax header: lines `<length> <key>=<value>\n`. */
function readAttributes(data: Buffer, next: { name?: ByteName; link?: ByteName; bytes?: number }): void {
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at)
    const length = Number(data.toString('latin1', at, space))
    if (space < 0 || !Number.isInteger(length) || length < 3 || at + length > data.length) throw damaged('attributes without sense')
    const line = data.toString('latin1', space + 1, at + length - 1)
    const [key, value] = [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]
    if (key === 'path') next.name = value
    if (key === 'linkpath') next.link = value
    if (key === 'size') next.bytes = Number(value)
    at += length
  }
}

function ownName(block: Buffer): ByteName {
  const prefix = block.toString('latin1', 257, 263) === 'ustar\0' ? text(block, 345, 155) : ''
  const name = text(block, 0, 100)
  return prefix === '' ? name : `${prefix}/${name}`
}

function text(data: Buffer, start: number, length: number): ByteName {
  const end = data.indexOf(0, start)
  return data.toString('latin1', start, end < 0 || end > start + length ? start + length : end)
}

function readNumber(block: Buffer, start: number, length: number): number {
  if (((block[start] as number) & 0x80) !== 0) return Number(block.readBigUInt64BE(start + length - 8))
  const digits = text(block, start, length).trim()
  if (!/^[0-7]*$/.test(digits)) throw damaged(`a number ${JSON.stringify(digits)}`)
  return digits === '' ? 0 : Number.parseInt(digits, 8)
}

function checkSum(block: Buffer): void {
  let sum = 8 * 0x20
  for (let i = 0; i < BLOCK; i += 1) if (i < 148 || i >= 156) sum += block[i] as number
  if (readNumber(block, 148, 8) !== sum) throw damaged(JSON.stringify(block.toString('latin1', 0, 60)))
}

function damaged(what: string): TransferError {
  return new TransferError('E_FETCH', `the site sent no archive but ${what}`, {
    suggestions: ['See that "tar" on the site is a tar: cahier exec … "tar --version"'],
  })
}
