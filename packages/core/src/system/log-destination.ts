import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { formatNotebookLine } from './notebook.js'

/** Where the lines for a person go; `process.stderr` is one. */
export interface LineSink {
  write(text: string): unknown
}

export interface LogDestinationOptions {
  readonly file: string | undefined
  readonly terminal: LineSink | undefined
  /** pino's number of the lowest level for the terminal. */
  readonly terminalLevel: number
}

/** Asks pino to set `lastLevel` before each `write`. */
const PINO_METADATA = Symbol.for('pino.metadata')

/** Where pino writes: a file that gets all, and a terminal that gets sentences. */
export class LogDestination {
  readonly [PINO_METADATA] = true
  lastLevel = 0
  dropped = 0
  readonly #options: LogDestinationOptions
  #descriptor: number | undefined
  #closed = false

  constructor(options: LogDestinationOptions) {
    this.#options = options
  }

  /** Called by pino with one line of JSON, secrets already taken out. */
  write(line: string): void {
    const { file, terminal, terminalLevel } = this.#options
    if (file !== undefined) this.#writeToFile(file, line)
    if (terminal !== undefined && this.lastLevel >= terminalLevel) {
      terminal.write(`${formatNotebookLine(JSON.parse(line) as Record<string, unknown>)}\n`)
    }
  }

  close(): void {
    this.#closed = true
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }

  #writeToFile(file: string, line: string): void {
    if (this.#closed) {
      this.dropped += 1
      return
    }
    try {
      this.#descriptor ??= openForAppend(file)
      const bytes = Buffer.from(line)
      for (let written = 0; written < bytes.length; ) written += writeSync(this.#descriptor, bytes, written)
    } catch {
      // A full disk is the business of the journal, which stops the run; the log only counts what it lost.
      this.dropped += 1
    }
  }
}

function openForAppend(file: string): number {
  mkdirSync(dirname(file), { recursive: true })
  return openSync(file, 'a')
}
