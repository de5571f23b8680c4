import { type FileHandle, open } from 'node:fs/promises'

/** The shape of the model's `CapturedText`. */
export interface KeptText {
  readonly text: string
  readonly bytes: number
  readonly truncated: boolean
  readonly file?: string
}

/** Bytes of each stream kept in memory when nothing else is said. */
export const DEFAULT_KEEP_BYTES = 131_072
/** Above this many bytes waiting for the spill file, the reader should pause. */
const SPILL_BACKLOG = 1 << 20

export const NO_TEXT: KeptText = Object.freeze({ text: '', bytes: 0, truncated: false })

export interface CaptureOptions {
  /** Half from the beginning, half from the end; default {@link DEFAULT_KEEP_BYTES}. */
  readonly keepBytes?: number | undefined
  /** Gives the name of the file for everything, when it is needed; absent: what does not fit is dropped. */
  readonly spillFile?: (() => Promise<string>) | undefined
}

/**
 * Keeps the beginning and the end of a byte stream in bounded memory, and the whole in a file once it does not fit.
 *
 * Text is decoded only when it is asked for, as UTF-8 with replacement; a character cut by a read is whole again.
 */
export class TextCapture {
  readonly #keepHead: number
  readonly #keepTail: number
  readonly #spillFile: (() => Promise<string>) | undefined
  #chunks: Buffer[] = []
  #head: Buffer | undefined
  #tail: Buffer[] = []
  #tailBytes = 0
  #bytes = 0
  #spill: Spill | undefined

  constructor(options: CaptureOptions = {}) {
    const keep = Math.max(0, options.keepBytes ?? DEFAULT_KEEP_BYTES)
    this.#keepHead = Math.ceil(keep / 2)
    this.#keepTail = keep - this.#keepHead
    this.#spillFile = options.spillFile
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Takes a chunk, which the caller must not change afterwards. Returns a promise when the reader should pause until it resolves. */
  push(chunk: Buffer): Promise<void> | undefined {
    this.#bytes += chunk.length
    if (this.#head === undefined && this.#bytes <= this.#keepHead + this.#keepTail) {
      this.#chunks.push(chunk)
      if (this.#chunks.length > 64) this.#chunks = [Buffer.concat(this.#chunks)]
      return undefined
    }
    if (this.#head === undefined) this.#overflow()
    this.#pushTail(chunk)
    return this.#spill?.write(chunk)
  }

  /** The first moment when not everything fits: what was kept becomes head and tail, and the beginning of the file. */
  #overflow(): void {
    const all = Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#head = Buffer.from(all.subarray(0, this.#keepHead))
    if (this.#spillFile !== undefined) {
      this.#spill = new Spill(this.#spillFile)
      void this.#spill.write(all)
    }
    // A short beginning leaves room that the next chunk fills.
    if (all.length > this.#keepHead) this.#pushTail(all.subarray(this.#keepHead))
  }

  #pushTail(chunk: Buffer): void {
    let rest = chunk
    const head = this.#head as Buffer
    if (head.length < this.#keepHead) {
      const missing = this.#keepHead - head.length
      this.#head = Buffer.concat([head, rest.subarray(0, missing)])
      rest = rest.subarray(missing)
    }
    if (rest.length === 0) return
    this.#tail.push(rest)
    this.#tailBytes += rest.length
    // Joined now and then, so that a slice never holds a large read in memory.
    if (this.#tailBytes > 2 * this.#keepTail + 65_536 || this.#tail.length > 256) {
      const joined = Buffer.concat(this.#tail)
      const kept = Buffer.from(joined.subarray(Math.max(0, joined.length - this.#keepTail)))
      this.#tail = [kept]
      this.#tailBytes = kept.length
    }
  }

  /** What is known now. */
  peek(): KeptText {
    if (this.#bytes === 0) return NO_TEXT
    if (this.#head === undefined) {
      const text = (this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks)).toString('utf8')
      return { text, bytes: this.#bytes, truncated: false }
    }
    const joined = Buffer.concat(this.#tail)
    const head = cutEnd(this.#head)
    const tail = cutStart(joined.subarray(Math.max(0, joined.length - this.#keepTail)))
    const missing = this.#bytes - head.length - tail.length
    const text = `${head.toString('utf8')}\n[... ${missing} bytes left out ...]\n${tail.toString('utf8')}`
    const file = this.#spill?.file
    return { text, bytes: this.#bytes, truncated: true, ...(file === undefined ? {} : { file }) }
  }

  /** The end of the stream: what was kept, with the spill file complete. */
  async finish(): Promise<KeptText> {
    await this.#spill?.close()
    return this.peek()
  }

  /** True when {@link finish} has something to wait for. */
  get spilling(): boolean {
    return this.#spill !== undefined
  }
}

/** Shortens to whole lines when a line ends in the last quarter, else to whole characters. */
function cutEnd(bytes: Buffer): Buffer {
  const lineEnd = bytes.lastIndexOf(0x0a)
  if (lineEnd >= bytes.length * 0.75) return bytes.subarray(0, lineEnd)
  let end = bytes.length
  for (let back = 1; back <= Math.min(4, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] as number
    if (byte < 0x80) break
    if (byte >= 0xc0) {
      const need = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
      if (need > back) end = bytes.length - back
      break
    }
  }
  return bytes.subarray(0, end)
}

/** Drops the rest of a line that ends in the first quarter, else the rest of a character. */
function cutStart(bytes: Buffer): Buffer {
  const lineEnd = bytes.indexOf(0x0a)
  if (lineEnd >= 0 && lineEnd < bytes.length * 0.25) return bytes.subarray(lineEnd + 1)
  let start = 0
  while (start < Math.min(3, bytes.length) && ((bytes[start] as number) & 0xc0) === 0x80) start += 1
  return bytes.subarray(start)
}

/** Writes behind the reader, in order; a disk that refuses costs the file, never the process. */
class Spill {
  readonly #name: () => Promise<string>
  #queue: Buffer[] = []
  #queued = 0
  #running: Promise<void> | undefined
  #handle: FileHandle | undefined
  #failed = false
  file: string | undefined

  constructor(name: () => Promise<string>) {
    this.#name = name
  }

  write(chunk: Buffer): Promise<void> | undefined {
    if (this.#failed) return undefined
    this.#queue.push(chunk)
    this.#queued += chunk.length
    this.#running ??= this.#drain()
    return this.#queued > SPILL_BACKLOG ? this.#running : undefined
  }

  async #drain(): Promise<void> {
    try {
      if (this.#handle === undefined) {
        const name = await this.#name()
        this.#handle = await open(name, 'w', 0o600)
        this.file = name
      }
      while (this.#queue.length > 0) {
        const batch = this.#queue
        this.#queue = []
        let position = 0
        const joined = batch.length === 1 ? (batch[0] as Buffer) : Buffer.concat(batch)
        while (position < joined.length) position += (await this.#handle.write(joined, position)).bytesWritten
        this.#queued -= joined.length
      }
    } catch {
      this.#failed = true
      this.file = undefined
      this.#queue = []
      this.#queued = 0
    } finally {
      this.#running = undefined
    }
  }

  async close(): Promise<void> {
    while (this.#running !== undefined) await this.#running
    await this.#handle?.close().catch(() => {
      this.file = undefined
    })
  }
}
