import { ProcessError } from '../../errors.js'
import type { RunnerLink } from './runner-link.js'

/** Bytes on the way to one process that it has not accepted yet. */
const WINDOW = 262_144
const PIECE = 65_536

interface Waiting {
  /** Position in the stream at which the write is complete. */
  readonly end: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** What is written to one process through a runner: in order, in pieces, never more on the way than the window. */
export class InputQueue {
  readonly #link: RunnerLink
  readonly #id: number
  #pieces: Uint8Array[] = []
  #queued = 0
  #sent = 0
  #accepted = 0
  #waiting: Waiting[] = []
  #closing = false
  #closed = false
  #failure: string | undefined

  constructor(link: RunnerLink, id: number) {
    this.#link = link
    this.#id = id
  }

  write(data: Uint8Array): Promise<void> {
    if (this.#failure !== undefined || this.#closing) return Promise.reject(this.#error(this.#failure ?? 'its stdin was closed'))
    if (data.length === 0) return Promise.resolve()
    for (let at = 0; at < data.length; at += PIECE) this.#pieces.push(data.subarray(at, at + PIECE))
    this.#queued += data.length
    const done = new Promise<void>((resolve, reject) => this.#waiting.push({ end: this.#queued, resolve, reject }))
    this.#pump()
    return done
  }

  close(): void {
    this.#closing = true
    this.#pump()
  }

  accepted(bytes: number): void {
    this.#accepted += bytes
    while (this.#waiting[0] !== undefined && this.#waiting[0].end <= this.#accepted) this.#waiting.shift()?.resolve()
    this.#pump()
  }

  fail(why: string): void {
    if (this.#failure !== undefined) return
    this.#failure = why
    this.#pieces = []
    for (const waiting of this.#waiting) waiting.reject(this.#error(why))
    this.#waiting = []
  }

  #pump(): void {
    while (this.#pieces.length > 0 && this.#sent - this.#accepted < WINDOW) {
      const piece = this.#pieces.shift() as Uint8Array
      this.#sent += piece.length
      this.#link.send((out) => this.#link.requests.input(out, this.#id, piece))
    }
    if (this.#closing && !this.#closed && this.#pieces.length === 0 && this.#failure === undefined) {
      this.#closed = true
      this.#link.send((out) => this.#link.requests.closeInput(out, this.#id))
    }
  }

  #error(why: string): ProcessError {
    return new ProcessError('E_STDIN', `Cannot write to the process: ${why}`)
  }
}
