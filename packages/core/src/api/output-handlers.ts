import { closeSync, openSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import { messageOf, systemCodeOf } from '../errors.js'
import type { OutputStream } from '../ports/process-backend.js'
import { processLogger } from './process-log.js'

/** A line longer than this is given in pieces, so that output without line ends takes bounded memory. */
const LONGEST_LINE = 1 << 20

/** Gets a line as soon as its LF has come, without LF or CRLF; the last one also without. */
export interface LineHandler<T = unknown> {
  line(line: string, stream: OutputStream, process: T): void
}

/**
 * Gets each piece as it arrives, as it is: characters may be cut, and need not be any. More is read when the promise that it returns
 * settles, so that a slow reader makes the process wait.
 */
export interface ByteHandler<T = unknown> {
  bytes(chunk: Uint8Array, stream: OutputStream, process: T): void | Promise<void>
}

/** A method, so that handlers of a special kind of process fit where handlers of any process are meant. */
interface TextHandler<T> {
  text(text: string, stream: OutputStream, process: T): void
}

/**
 * What can be done with output:
 * - a function gets each piece of text as it arrives; characters are never cut;
 * - an object with `line` gets lines;
 * - an object with `bytes` gets each piece as bytes;
 * - an object with `write` (a Writable) gets each piece, and is waited for when it is full; it is never closed;
 * - a number is a file descriptor, which gets the bytes;
 * - a string, or `{ file, append }`, is the name of a file, which gets the bytes. It exists also when there is no output. The same
 *   file for both streams, or for several processes at the same time, is opened once and shared.
 */
export type OutputHandler<T = unknown> =
  | TextHandler<T>['text']
  | LineHandler<T>
  | ByteHandler<T>
  | ({ write(text: string): unknown } & FullStream)
  | { readonly file: string; readonly append?: boolean }
  | number
  | string

/** What returns a promise is waited for before more is read. */
interface Sink {
  bytes?(chunk: Buffer): unknown
  text?(text: string): unknown
  end?(): void
}

/** Gives the output of one stream of one process to its handlers, in order; one that throws does not disturb the others. */
export class OutputFan {
  readonly #sinks: Sink[] = []
  readonly #decoder = new StringDecoder('utf8')
  readonly #report: (error: unknown) => void

  constructor(handlers: readonly OutputHandler[], stream: OutputStream, process: { readonly name: string }) {
    this.#report = (error) => processLogger().error({ process: process.name, stream, error: messageOf(error) }, 'output handler failed')
    for (const handler of handlers) {
      this.#guard(() => {
        this.#sinks.push(makeSink(handler, stream, process))
      })
    }
  }

  /** Returns the text that is complete with this chunk, and what to wait for before the next one. */
  push(chunk: Buffer): { readonly text: string; readonly taken: Promise<void> | undefined } {
    const text = this.#decoder.write(chunk)
    const taken: Promise<unknown>[] = []
    for (const sink of this.#sinks) {
      this.#guard(() => {
        for (const answer of [sink.bytes?.(chunk), text === '' ? undefined : sink.text?.(text)]) {
          if (answer instanceof Promise) taken.push(answer.catch(this.#report))
        }
      })
    }
    return { text, taken: taken.length === 0 ? undefined : Promise.all(taken).then(() => undefined) }
  }

  /** Returns the rest of the text: a character that never became whole. */
  end(): string {
    const rest = this.#decoder.end()
    for (const sink of this.#sinks) {
      this.#guard(() => {
        if (rest !== '') sink.text?.(rest)
      })
      this.#guard(() => sink.end?.())
    }
    return rest
  }

  #guard(action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#report(error)
    }
  }
}

function makeSink(handler: OutputHandler, stream: OutputStream, process: unknown): Sink {
  if (typeof handler === 'function') return { text: (text) => handler(text, stream, process) }
  if (typeof handler === 'number') return { bytes: (chunk) => writeAll(handler, chunk) }
  if (typeof handler === 'string') return fileSink(handler, false)
  if ('line' in handler) return lineSink((line) => handler.line(line, stream, process))
  if ('bytes' in handler) return { bytes: (chunk) => handler.bytes(chunk, stream, process) }
  if ('write' in handler) return { text: (text) => (handler.write(text) === false ? whenDrained(handler) : undefined) }
  return fileSink(handler.file, handler.append === true)
}

interface FullStream {
  readonly destroyed?: boolean
  once?(event: 'drain' | 'close', listener: () => void): unknown
  off?(event: 'drain' | 'close', listener: () => void): unknown
}

const drains = new WeakMap<object, Promise<void>>()

/** One listener for all that wait for the same stream. One that was destroyed takes nothing more. */
function whenDrained(stream: FullStream): Promise<void> | undefined {
  if (stream.once === undefined || stream.destroyed === true) return undefined
  let drained = drains.get(stream)
  if (drained === undefined) {
    drained = new Promise((resolve) => {
      const finish = (): void => {
        drains.delete(stream)
        stream.off?.('drain', finish)
        stream.off?.('close', finish)
        resolve()
      }
      stream.once?.('drain', finish)
      stream.once?.('close', finish)
    })
    drains.set(stream, drained)
  }
  return drained
}

function lineSink(give: (line: string) => void): Sink {
  let rest = ''
  return {
    text: (text) => {
      rest += text
      let from = 0
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', from)) {
        const line = rest.slice(from, end > from && rest[end - 1] === '\r' ? end - 1 : end)
        from = end + 1
        try {
          give(line)
        } catch (error) {
          rest = rest.slice(from)
          throw error
        }
      }
      rest = rest.slice(from)
      while (rest.length >= LONGEST_LINE) {
        const piece = rest.slice(0, LONGEST_LINE)
        rest = rest.slice(LONGEST_LINE)
        give(piece)
      }
    },
    end: () => {
      const last = rest
      rest = ''
      if (last !== '') give(last)
    },
  }
}

/** Files that handlers of this program have open now. */
const openFiles = new Map<string, { readonly descriptor: number; users: number }>()

function fileSink(name: string, append: boolean): Sink {
  const path = resolve(name)
  let shared = openFiles.get(path)
  if (shared === undefined) {
    shared = { descriptor: openSync(path, append ? 'a' : 'w'), users: 0 }
    openFiles.set(path, shared)
  }
  const file = shared
  file.users += 1
  return {
    bytes: (chunk) => writeAll(file.descriptor, chunk),
    end: () => {
      file.users -= 1
      if (file.users > 0) return
      openFiles.delete(path)
      closeSync(file.descriptor)
    },
  }
}

/** Writes everything, also to a pipe that is full for a moment. */
function writeAll(descriptor: number, chunk: Buffer): void {
  const cell = new Int32Array(new SharedArrayBuffer(4))
  for (let at = 0, tries = 0; at < chunk.length; ) {
    try {
      at += writeSync(descriptor, chunk, at)
      tries = 0
    } catch (error) {
      if (systemCodeOf(error) !== 'EAGAIN' || tries > 1000) throw error
      tries += 1
      Atomics.wait(cell, 0, 0, 1)
    }
  }
}
