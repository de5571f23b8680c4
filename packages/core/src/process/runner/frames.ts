/** What a runner says. Types: see docs/reference/runner.md. */
export interface RunnerFrame {
  readonly type: string
  readonly id: number
  readonly payload: Buffer
  /** For `O` and `E`: true when more of the same frame follows. */
  readonly partial: boolean
}

/** No header is longer: one letter, an id, a length, the token. */
const LONGEST_HEADER = 64

/**
 * Cuts what a runner prints into frames, whatever the reads. Output frames are passed on in parts, so that a frame of any length
 * takes no memory.
 */
export class FrameReader {
  readonly #take: (frame: RunnerFrame) => void
  readonly #header: RegExp
  #rest: Buffer | undefined
  #type = ''
  #id = 0
  #missing = -1

  /** @param token - ends every header: what does not have it was said by somebody else */
  constructor(token: string, take: (frame: RunnerFrame) => void) {
    this.#take = take
    this.#header = new RegExp(`^([A-Za-z]) (\\d{1,10}) (\\d{1,16}) ${token}$`)
  }

  /** @throws Error when what came is no frame */
  push(chunk: Buffer): void {
    let data = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
    this.#rest = undefined
    for (;;) {
      if (this.#missing < 0) {
        const end = data.indexOf(0x0a)
        if (end < 0) {
          if (data.length > LONGEST_HEADER) throw new Error(`not a frame: ${JSON.stringify(data.toString('latin1', 0, 80))}`)
          break
        }
        const header = this.#header.exec(data.toString('latin1', 0, Math.min(end, LONGEST_HEADER + 1)))
        if (header === null) throw new Error(`not a frame: ${JSON.stringify(data.toString('latin1', 0, Math.min(end, 80)))}`)
        this.#type = header[1] as string
        this.#id = Number(header[2])
        this.#missing = Number(header[3])
        data = data.subarray(end + 1)
      }
      const isOutput = this.#type === 'O' || this.#type === 'E'
      if (data.length < this.#missing && !(isOutput && data.length > 0)) break
      const payload = data.subarray(0, this.#missing)
      data = data.subarray(payload.length)
      this.#missing -= payload.length
      const partial = this.#missing > 0
      // Small pieces are copied, so that keeping one does not keep the whole read.
      this.#take({ type: this.#type, id: this.#id, payload: payload.length < 16_384 ? Buffer.from(payload) : payload, partial })
      if (partial) break
      this.#missing = -1
    }
    if (data.length > 0) this.#rest = data
  }
}

/** Collects requests in one buffer, so that many of them are one write. */
export class FrameWriter {
  #buffer = Buffer.allocUnsafe(4_096)
  #used = 0

  get empty(): boolean {
    return this.#used === 0
  }

  frame(type: string, id: number, payload: Uint8Array | string): void {
    const size = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
    this.#header(size, type, id)
    if (typeof payload === 'string') this.#used += this.#buffer.write(payload, this.#used)
    else {
      this.#buffer.set(payload, this.#used)
      this.#used += size
    }
  }

  /** A frame of fields: key, length, bytes. */
  fields(type: string, id: number, fields: readonly (readonly [string, string | Uint8Array])[]): void {
    let size = 0
    for (const [, value] of fields) size += 5 + (typeof value === 'string' ? Buffer.byteLength(value) : value.length)
    this.#header(size, type, id)
    for (const [key, value] of fields) {
      this.#buffer[this.#used] = key.charCodeAt(0)
      const at = this.#used + 5
      let length = value.length
      if (typeof value === 'string') length = this.#buffer.write(value, at)
      else this.#buffer.set(value, at)
      this.#buffer.writeUInt32BE(length, this.#used + 1)
      this.#used = at + length
    }
  }

  bytes(data: Uint8Array): void {
    this.#reserve(data.length)
    this.#buffer.set(data, this.#used)
    this.#used += data.length
  }

  line(text: string): void {
    this.#reserve(Buffer.byteLength(text) + 1)
    this.#used += this.#buffer.write(`${text}\n`, this.#used)
  }

  /** Bytes since the last take. */
  get used(): number {
    return this.#used
  }

  /** Everything since the last call. */
  take(): Buffer {
    const all = Buffer.from(this.#buffer.subarray(0, this.#used))
    this.#used = 0
    return all
  }

  #header(size: number, type: string, id: number): void {
    this.#reserve(size + 9)
    this.#buffer.writeUInt32BE(size, this.#used)
    this.#buffer[this.#used + 4] = type.charCodeAt(0)
    this.#buffer.writeUInt32BE(id, this.#used + 5)
    this.#used += 9
  }

  #reserve(size: number): void {
    if (this.#used + size <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#used + size))
    this.#buffer.copy(larger, 0, 0, this.#used)
    this.#buffer = larger
  }
}
