const ERASE = '\r\u001b[K'
/** Between two changes of the line: more often nobody can read it. */
const EVERY_MS = 100

/**
 * One line at the bottom of a terminal that is always up to date, between the lines of output and never in them. Elsewhere nothing.
 */
export class LiveLine {
  readonly #terminal: NodeJS.WriteStream | undefined
  #text: string | (() => string) = ''
  #shown = false
  #timer: NodeJS.Timeout | undefined

  constructor(stream: NodeJS.WriteStream, environment: NodeJS.ProcessEnv = process.env) {
    this.#terminal = stream.isTTY === true && environment['TERM'] !== 'dumb' ? stream : undefined
  }

  /** Shows this text at once, where nothing else can for a while. */
  begin(text: string): void {
    this.#text = text
    this.#show()
  }

  /** Shows this text a moment later, or what the function gives then. */
  set(text: string | (() => string)): void {
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
    if (this.#text !== '' && this.#terminal !== undefined) this.#timer ??= setTimeout(() => this.#show(), EVERY_MS)
    stream.write(output)
  }

  /** Takes the line away for good. */
  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#shown) this.#terminal?.write(ERASE)
    this.#shown = false
    this.#text = ''
  }

  #show(): void {
    this.#timer = undefined
    if (this.#terminal === undefined || this.#text === '') return
    // A line that is broken over two cannot be erased.
    const text = typeof this.#text === 'string' ? this.#text : this.#text()
    this.#terminal.write(`${ERASE}${text.slice(0, Math.max(1, (this.#terminal.columns ?? 80) - 1))}`)
    this.#shown = true
  }
}
