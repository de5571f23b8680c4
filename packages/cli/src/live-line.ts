/** Of output that its reader has not taken yet: beyond it, we wait for the reader. */
const MOST_WAITING_BYTES = 16 << 20

/** Writes to a standard stream in bounded memory, also when it is a pipe whose reader is slow. */
function writeBounded(stream: NodeJS.WriteStream, output: Uint8Array | string): void {
  if (stream.writableLength < MOST_WAITING_BYTES) {
    stream.write(output)
    return
  }
  // Node has no public way to wait for a pipe at this place; where this one is missing, memory grows.
  const { _handle: handle } = stream as { readonly _handle?: { setBlocking?(blocking: boolean): unknown } }
  handle?.setBlocking?.(true)
  stream.write(output)
  handle?.setBlocking?.(false)
}

const ERASE = '\r\u001b[K'
/** Between two changes of the line: more often nobody can read it. */
const EVERY_MS = 100

/**
 * One line at the bottom of a terminal that is always up to date, between the lines of output and never in them. Elsewhere nothing.
 */
export class LiveLine {
  readonly #terminal: NodeJS.WriteStream | undefined
  #text = ''
  #shown = false
  #timer: NodeJS.Timeout | undefined

  constructor(stream: NodeJS.WriteStream, environment: NodeJS.ProcessEnv = process.env) {
    this.#terminal = stream.isTTY === true && environment['TERM'] !== 'dumb' ? stream : undefined
  }

  /** Shows this text, a moment later. */
  set(text: string): void {
    if (this.#terminal === undefined) return
    this.#text = text
    this.#timer ??= setTimeout(() => this.#show(), EVERY_MS)
  }

  /** Writes to a stream that may end on the same terminal. */
  write(stream: NodeJS.WriteStream, output: Uint8Array | string): void {
    if (this.#shown) {
      this.#terminal?.write(ERASE)
      this.#shown = false
    }
    writeBounded(stream, output)
    if (this.#text !== '' && this.#terminal !== undefined) this.#timer ??= setTimeout(() => this.#show(), EVERY_MS)
  }

  /** Takes the line away for good. */
  close(): void {
    clearTimeout(this.#timer)
    if (this.#shown) this.#terminal?.write(ERASE)
    this.#shown = false
    this.#text = ''
  }

  #show(): void {
    this.#timer = undefined
    if (this.#terminal === undefined || this.#text === '') return
    // A line that is broken over two cannot be erased.
    this.#terminal.write(`${ERASE}${this.#text.slice(0, Math.max(1, (this.#terminal.columns ?? 80) - 1))}`)
    this.#shown = true
  }
}
