/** No server has difficulties with so much; also what a slow link carries in the time that one waits for an answer. */
const FIRST_CHUNK = 32_768
/** What a channel of ssh lets pass without an answer: more would only wait there. */
const MOST_BYTES = 2 << 20
/** What all hosts share: what is under way is held in memory, more than once. */
const SHARED_BYTES = 8 << 20
const FIRST_BYTES = 16 * FIRST_CHUNK
/** An answer within it came quickly: there may be more under way. */
const QUICK_MS = 500

/**
 * How much content may be asked or sent in one request, and in all requests that have no answer yet. It begins low and grows while the
 * answers come quickly; shared by all files of one host.
 */
export class SftpFlow implements Disposable {
  static #flows = 0
  readonly #mostChunk: number
  #chunk: number
  #limit = FIRST_BYTES
  #bytes = 0
  #waiting: (() => void)[] = []

  /** @param mostChunk - that the server takes in one request */
  constructor(mostChunk: number) {
    this.#mostChunk = mostChunk
    this.#chunk = Math.min(FIRST_CHUNK, mostChunk)
    SftpFlow.#flows += 1
  }

  [Symbol.dispose](): void {
    SftpFlow.#flows -= 1
  }

  get chunk(): number {
    return this.#chunk
  }

  hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= Math.min(this.#limit, Math.max(FIRST_BYTES, SHARED_BYTES / SftpFlow.#flows))
  }

  /** Resolves when so many bytes may be under way. One request always may. */
  async enter(bytes: number): Promise<void> {
    while (!this.hasRoom(bytes)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#bytes += bytes
  }

  /** @param sinceMs - how long the answer took; undefined when there was none */
  leave(bytes: number, sinceMs?: number): void {
    this.#bytes -= bytes
    if (sinceMs !== undefined && sinceMs < QUICK_MS) {
      this.#chunk = Math.min(this.#chunk * 2, this.#mostChunk)
      this.#limit = Math.min(this.#limit * 2, MOST_BYTES)
    }
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
