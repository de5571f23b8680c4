import { createHash, createHmac, type Hash } from 'node:crypto'
import type { StreamReader } from '../local/local-source.js'

/** Length, offset and tag of a frame. */
export const HEADER_BYTES = 44
const DIGEST_BYTES = 32
/** Read at a time, and kept together. */
const BLOCK_BYTES = 1 << 20
/** Blocks that links which are close together share. */
const KEPT_BLOCKS = 6
const SMALLEST_CHUNK = 16 << 10
const LARGEST_CHUNK = 128 << 10
/** Tags of one stream take at most 32 MB. */
const MOST_CHUNKS = 1 << 20

/**
 * Chunks so small that filling the line takes about a hundredth of the whole, each host passing a chunk on when it has all of it.
 *
 * @param limit - bytes per second that this machine sends, when that is limited
 */
export function chunkSize(total: number, hosts: number, limit?: number): number {
  const share = Math.min(total / (100 * Math.max(1, hosts)), (limit ?? Number.POSITIVE_INFINITY) / 4)
  const chunk = Math.min(LARGEST_CHUNK, Math.max(SMALLEST_CHUNK, powerBelow(share)))
  return Math.max(chunk, 2 * powerBelow(total / MOST_CHUNKS))
}

function powerBelow(value: number): number {
  return 2 ** Math.floor(Math.log2(Math.max(0.5, value)))
}

interface Block {
  readonly content: Promise<Buffer>
  /** Links that write from it now. */
  users: number
  isKept: boolean
}

/** Frames that may be written; their bytes stay as they are until `release`. */
export interface Frames {
  readonly buffers: readonly Buffer[]
  /** Of content. */
  readonly bytes: number
  release(): void
}

/**
 * The stream of a chain as its head has it: read once in order for digests and tags, and again where a link begins further back.
 */
export class ChainSource {
  readonly total: number
  readonly chunk: number
  readonly #reader: StreamReader
  readonly #key: Buffer
  readonly #block: number
  readonly #blocks = new Map<number, Block>()
  #spare: Buffer[] = []
  readonly #hash: Hash = createHash('sha256')
  #tags = Buffer.alloc(0)
  #tagged = 0
  #tagging: Promise<void> = Promise.resolve()

  constructor(reader: StreamReader, key: Buffer, chunk: number) {
    this.#reader = reader
    this.#key = key
    this.total = reader.size
    this.chunk = chunk
    this.#block = Math.max(1, Math.floor(BLOCK_BYTES / chunk)) * chunk
  }

  /**
   * The next frames from there on: at least one, at most `most` bytes of content where that is more than a chunk.
   *
   * @param offset - of a chunk, below the end
   */
  async frames(offset: number, most = Number.POSITIVE_INFINITY): Promise<Frames> {
    if (offset % this.chunk !== 0 || offset >= this.total) throw new RangeError(`no frame begins at ${offset}`)
    const number = Math.floor(offset / this.#block)
    await this.#tagUntil(number)
    const block = this.#keep(number)
    if ((number + 1) * this.#block < this.total) this.#keep(number + 1)
    block.users += 1
    try {
      const content = await block.content
      const start = number * this.#block
      const buffers: Buffer[] = []
      let at = offset
      while (at < start + content.length && (at === offset || at + this.chunk - offset <= most)) {
        const part = content.subarray(at - start, at - start + this.chunk)
        buffers.push(this.#header(at, part.length), part)
        at += part.length
      }
      return { buffers, bytes: at - offset, release: () => this.#release(block, content) }
    } catch (error) {
      block.users -= 1
      throw error
    }
  }

  /** SHA-256 of everything, in lower case hex. Reads what no link has asked for. */
  async whole(): Promise<string> {
    await this.#tagUntil(Math.ceil(this.total / this.#block) - 1)
    return this.#hash.copy().digest('hex')
  }

  /** Chunks whose tags are known. */
  get tagged(): number {
    return this.#tagged
  }

  #header(offset: number, length: number): Buffer {
    const header = Buffer.allocUnsafe(HEADER_BYTES)
    header.writeUInt32BE(length, 0)
    header.writeBigUInt64BE(BigInt(offset), 4)
    const tag = (offset / this.chunk) * DIGEST_BYTES
    this.#tags.copy(header, 12, tag, tag + DIGEST_BYTES)
    return header
  }

  /** Digests are of everything before, so that blocks have their turn in order. */
  #tagUntil(number: number): Promise<void> {
    if (this.#tagged * this.chunk >= Math.min(this.total, (number + 1) * this.#block)) return Promise.resolve()
    const tagged = this.#tagging.then(async () => {
      while (this.#tagged * this.chunk < Math.min(this.total, (number + 1) * this.#block)) {
        const next = (this.#tagged * this.chunk) / this.#block
        const block = this.#keep(next)
        if ((next + 1) * this.#block < this.total) this.#keep(next + 1)
        block.users += 1
        const content = await block.content
        this.#tag(content)
        this.#release(block, content)
      }
    })
    this.#tagging = tagged.catch(() => undefined)
    return tagged
  }

  #tag(content: Buffer): void {
    for (let at = 0; at < content.length; at += this.chunk) {
      const part = content.subarray(at, at + this.chunk)
      this.#hash.update(part)
      const place = this.#tagged * DIGEST_BYTES
      if (place + DIGEST_BYTES > this.#tags.length) this.#grow()
      frameTag(this.#key, this.#tagged * this.chunk, part.length, this.#hash.copy().digest()).copy(this.#tags, place)
      this.#tagged += 1
    }
  }

  #grow(): void {
    const most = Math.ceil(this.total / this.chunk) * DIGEST_BYTES
    const grown = Buffer.alloc(Math.min(most, Math.max(64 << 10, this.#tags.length * 2)))
    this.#tags.copy(grown)
    this.#tags = grown
  }

  #keep(number: number): Block {
    let block = this.#blocks.get(number)
    if (block === undefined) block = { content: this.#read(number), users: 0, isKept: true }
    else this.#blocks.delete(number)
    this.#blocks.set(number, block)
    // Who wants it hears of it.
    block.content.catch(() => undefined)
    for (const [other, oldest] of this.#blocks) {
      if (this.#blocks.size <= KEPT_BLOCKS) break
      this.#blocks.delete(other)
      oldest.isKept = false
      void oldest.content.then(
        (content) => this.#recycle(oldest, content),
        () => undefined,
      )
    }
    return block
  }

  async #read(number: number): Promise<Buffer> {
    const offset = number * this.#block
    const length = Math.min(this.#block, this.total - offset)
    const into = this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#block)
    return this.#reader.read(offset, length, into)
  }

  #release(block: Block, content: Buffer): void {
    block.users -= 1
    this.#recycle(block, content)
  }

  /** Memory of a block that nobody writes from is used for the next one. */
  #recycle(block: Block, content: Buffer): void {
    if (block.users > 0 || block.isKept || this.#spare.length >= KEPT_BLOCKS) return
    if (content.byteOffset !== 0 || content.buffer.byteLength !== this.#block) return
    // It is given back once.
    block.isKept = true
    this.#spare.push(Buffer.from(content.buffer, 0, this.#block))
  }
}

/** What shows that a chunk, and everything before it, is what this machine has sent. */
export function frameTag(key: Buffer, offset: number, length: number, digest: Buffer): Buffer {
  const place = Buffer.allocUnsafe(12)
  place.writeBigUInt64BE(BigInt(offset), 0)
  place.writeUInt32BE(length, 8)
  return createHmac('sha256', key).update('frame').update(place).update(digest).digest()
}
