import { constants } from 'node:os'
import { type CommandChannel, type CommandEnd, ProcessError } from '@cahier/core/spi'
import { readStatus } from './records.js'

type Stream = 'stdout' | 'stderr'
type Told = Pick<CommandEnd, 'exitCode' | 'signal'>

/** Larger pieces are cut: taktuk reads a command whole before it does anything. */
const PIECE_BYTES = 128 << 10

/** What the tree does for a channel. */
export interface ChannelSide {
  input(data: Uint8Array): Promise<void>
  closeInput(): void
  hold(): void
  release(): void
}

/** One command that taktuk runs on one host. */
export class TaktukChannel implements CommandChannel {
  readonly closed: Promise<CommandEnd>
  readonly exited: Promise<Told>
  readonly #side: ChannelSide
  #listener: ((stream: Stream, chunk: Buffer) => void) | undefined
  #writing: Promise<unknown> = Promise.resolve()
  #isEnded = false
  #isClosed = false
  #isHeld = false
  #resolveClosed!: (end: CommandEnd) => void
  #resolveExited!: (told: Told) => void

  constructor(side: ChannelSide) {
    this.#side = side
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve
    })
  }

  get isOpen(): boolean {
    return !this.#isClosed
  }

  listen(onData: (stream: Stream, chunk: Buffer) => void): void {
    this.#listener = onData
  }

  write(data: Uint8Array): Promise<void> {
    const written = this.#writing.then(() => this.#write(data))
    this.#writing = written.catch(() => {})
    return written
  }

  async #write(data: Uint8Array): Promise<void> {
    for (const piece of piecesOf(data)) {
      if (this.#isEnded || this.#isClosed) throw new ProcessError('E_STDIN', 'Nobody reads there any more')
      await this.#side.input(piece)
    }
  }

  end(): void {
    void this.#writing.then(() => this.#end())
  }

  #end(): void {
    if (this.#isEnded || this.#isClosed) return
    this.#isEnded = true
    this.#side.closeInput()
  }

  pause(): void {
    if (this.#isHeld || this.#isClosed) return
    this.#isHeld = true
    this.#side.hold()
  }

  resume(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#side.release()
  }

  close(): void {
    if (this.#isClosed) return
    this.#end()
    this.#close({ exitCode: undefined, signal: undefined, lost: undefined })
  }

  // What the tree reports.

  takeOutput(stream: Stream, text: Buffer): void {
    if (!this.#isClosed) this.#listener?.(stream, text)
  }

  /** Its output has ended, too. @param status - raw */
  takeStatus(status: number): void {
    if (this.#isClosed) return
    const read = readStatus(status)
    const told: Told =
      'exitCode' in read ? { exitCode: read.exitCode, signal: undefined } : { exitCode: undefined, signal: signalOf(read.signalNumber) }
    this.#resolveExited(told)
    this.#close({ ...told, lost: undefined })
  }

  takeLoss(lost: ProcessError): void {
    if (!this.#isClosed) this.#close({ exitCode: undefined, signal: undefined, lost })
  }

  #close(end: CommandEnd): void {
    this.#isClosed = true
    this.resume()
    this.#listener = undefined
    this.#resolveClosed(end)
  }
}

export function* piecesOf(data: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += PIECE_BYTES) yield data.subarray(at, at + PIECE_BYTES)
}

function signalOf(number: number): NodeJS.Signals | undefined {
  const found = Object.entries(constants.signals).find(([, value]) => value === number)
  return found?.[0] as NodeJS.Signals | undefined
}
