import { signalName } from '../util/signal-names.js'
import { END_MARK } from './channel-script.js'

/** Takes out of a stream what the watching shell says at the end of a command, and lets everything else through. */
export class EndMark {
  readonly #mark: Buffer
  readonly #onStatus: (status: number) => void
  readonly #onOutput: (chunk: Buffer) => void
  #kept: Buffer = Buffer.alloc(0)
  #found = false

  constructor(token: string, onStatus: (status: number) => void, onOutput: (chunk: Buffer) => void) {
    this.#mark = Buffer.from(`${END_MARK}${token} X `)
    this.#onStatus = onStatus
    this.#onOutput = onOutput
  }

  push(chunk: Buffer): void {
    if (this.#found) {
      this.#onOutput(chunk)
      return
    }
    const data = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk])
    this.#kept = Buffer.alloc(0)
    let at = data.indexOf(this.#mark)
    if (at < 0) {
      // It may begin at the end of this piece.
      at = data.lastIndexOf(END_MARK)
      const begins = at >= 0 && this.#mark.subarray(0, data.length - at).equals(data.subarray(at))
      this.#keep(data, begins ? at : data.length)
      return
    }
    const end = data.indexOf(0x0a, at)
    if (end < 0) {
      this.#keep(data, at)
      return
    }
    this.#found = true
    if (at > 0) this.#onOutput(data.subarray(0, at))
    this.#onStatus(Number(data.toString('latin1', at + this.#mark.length, end)))
    // What somebody who outlived the command says.
    if (end + 1 < data.length) this.#onOutput(data.subarray(end + 1))
  }

  /** The stream has ended. */
  flush(): void {
    if (this.#kept.length > 0) this.#onOutput(this.#kept)
    this.#kept = Buffer.alloc(0)
  }

  #keep(data: Buffer, from: number): void {
    if (from > 0) this.#onOutput(data.subarray(0, from))
    this.#kept = Buffer.from(data.subarray(from))
  }
}

/** What a shell's status means: it cannot tell the code 143 from the end by SIGTERM. */
export function explainStatus(status: number): { readonly exitCode: number | undefined; readonly signal: NodeJS.Signals | undefined } {
  const signal = status > 128 ? signalName(status - 128) : undefined
  return { exitCode: signal === undefined ? status : undefined, signal }
}
