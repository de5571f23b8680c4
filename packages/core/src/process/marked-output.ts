/** What a start-up file may print before a command begins; more is no start-up file. */
const MOST_NOISE = 1 << 20
/** The longest line that a program of ours says. */
const LONGEST_LINE = 4_096

/**
 * Drops what comes before a line that begins with a token, hands that line over, and lets the rest through.
 *
 * What shells and their start-up files print is not ours, and a banner may hold anything; the token is new for each command.
 */
export class MarkedOutput {
  readonly #token: Buffer
  readonly #onLine: (line: string) => void
  readonly #onRest: (chunk: Buffer) => void
  #seen = 0
  /** The end of what came so far, in which a token may have begun; undefined once the line was found. */
  #kept: Buffer | undefined = Buffer.from('\n')

  /** @param onLine - gets what stands after the token, without the blank and the line end; called once, before any of the rest */
  constructor(token: string, onLine: (line: string) => void, onRest: (chunk: Buffer) => void) {
    this.#token = Buffer.from(`\n${token}`)
    this.#onLine = onLine
    this.#onRest = onRest
  }

  get found(): boolean {
    return this.#kept === undefined
  }

  /** @returns false when so much came without the line that it will not come */
  push(chunk: Buffer): boolean {
    if (this.#kept === undefined) {
      this.#onRest(chunk)
      return true
    }
    this.#seen += chunk.length
    let data = Buffer.concat([this.#kept, chunk])
    for (;;) {
      const at = data.indexOf(this.#token)
      if (at < 0) {
        this.#kept = Buffer.from(data.subarray(Math.max(0, data.length - this.#token.length + 1)))
        return this.#seen <= MOST_NOISE
      }
      const begin = at + this.#token.length
      const end = data.indexOf(0x0a, begin)
      const line = data.subarray(begin, end < 0 ? undefined : end)
      if (end < 0 && line.length <= LONGEST_LINE) {
        this.#kept = Buffer.from(data.subarray(at))
        return true
      }
      // A shell that shows what it runs may show the token in the middle of something else.
      if (end >= 0 && (line.length === 0 || line[0] === 0x20)) {
        this.#kept = undefined
        this.#onLine(line.toString('latin1').trim())
        if (end + 1 < data.length) this.#onRest(data.subarray(end + 1))
        return true
      }
      data = data.subarray(begin)
    }
  }
}
