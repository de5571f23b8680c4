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
    const whole = bytes.lastIndexOf(LF) + 1
    if (whole > 0) this.#give(this.#labelled(bytes.subarray(0, whole)))
    if (whole < bytes.length) {
      // A copy: the backend may use its buffer again.
      this.#rest.push(Buffer.from(bytes.subarray(whole)))
      this.#restBytes += bytes.length - whole
    }
    if (this.#restBytes >= LONGEST_LINE) this.end()
  }

  /** What was kept and these whole lines, in one piece: lines may be short and many. */
  #labelled(lines: Buffer): Buffer {
    const begin = this.#rest.length === 0 ? lines : Buffer.concat([...this.#rest, lines])
    this.#rest = []
    this.#restBytes = 0
    let count = 0
    for (let end = begin.indexOf(LF); end >= 0; end = begin.indexOf(LF, end + 1)) count += 1
    const output = Buffer.allocUnsafe(begin.length + count * this.#label.length)
    for (let from = 0, at = 0; from < begin.length; ) {
      const end = begin.indexOf(LF, from) + 1
      at += this.#label.copy(output, at)
      at += begin.copy(output, at, from, end)
      from = end
    }
    return output
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
