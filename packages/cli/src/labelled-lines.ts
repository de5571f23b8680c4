/** A line longer than this is shown in pieces, so that output without line ends takes bounded memory. */
const LONGEST_LINE = 1 << 20
const LF = 0x0a

/**
 * Makes whole lines of a byte stream, each behind a label. What is in them is not read: bytes that are not UTF-8 stay as they are.
 */
export class LabelledLines {
  readonly #label: Buffer
  readonly #give: (lines: Buffer) => void
  #rest: Buffer[] = []
  #restBytes = 0

  constructor(label: string, give: (lines: Buffer) => void) {
    this.#label = Buffer.from(label)
    this.#give = give
  }

  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const parts: Buffer[] = []
    let from = 0
    for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF, from)) {
      parts.push(this.#label, ...this.#rest, bytes.subarray(from, end + 1))
      this.#rest = []
      this.#restBytes = 0
      from = end + 1
    }
    if (from < bytes.length) {
      // A copy: the backend may use its buffer again.
      this.#rest.push(Buffer.from(bytes.subarray(from)))
      this.#restBytes += bytes.length - from
    }
    if (parts.length > 0) this.#give(Buffer.concat(parts))
    if (this.#restBytes >= LONGEST_LINE) this.end()
  }

  /** The end of the stream: a last line without its end gets one. */
  end(): void {
    if (this.#restBytes === 0) return
    const line = Buffer.concat([this.#label, ...this.#rest, Buffer.from('\n')])
    this.#rest = []
    this.#restBytes = 0
    this.#give(line)
  }
}
