import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync, statSync } from 'node:fs'
import { Duplex, type Readable, type Writable } from 'node:stream'
import { ProcessError, systemCodeOf } from '../errors.js'
import type { OutputStream } from '../ports/process-backend.js'
import { makeDeferred } from '../util/async.js'
import type { ChannelEnd, SshChannel } from './connection.js'

/** A client of a master: one session, or one stream to a port. */
export interface MuxClient {
  readonly child: ChildProcess & { readonly stdin: Writable; readonly stdout: Readable; readonly stderr: Readable }
  /** Hands over the output from its beginning on. Given once. */
  consume(onData: (stream: OutputStream, chunk: Buffer) => void): void
  /** What ssh itself said; it never mixes with what the command says. */
  readLog(): string
  removeLog(): void
  /** Resolves when the session is open: true, or when the client ended without one: false. */
  readonly opened: Promise<boolean>
  /** The exit code, when the client and its streams are at their end. */
  readonly closed: Promise<number | null>
}

const SESSION_OPEN = /master session id/

/**
 * Starts a client. Its three streams are its own, because ssh makes them non-blocking for all who share them.
 *
 * @param log - a file of this client alone
 */
export function startClient(program: string, words: readonly string[], log: string): MuxClient {
  const child = spawnClient(program, words)
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => {})
  // What is not there yet, or no more, says nothing.
  const readLog = (): string => {
    try {
      return readFileSync(log, 'utf8')
    } catch {
      return ''
    }
  }
  const early = new EarlyOutput(child)
  // Heard from the beginning: a short command is over before anybody has its channel.
  const closed = new Promise<number | null>((resolve) => child.on('close', resolve))
  const opened = makeDeferred<boolean>()
  let ended = false
  let seen = 0
  let waitMs = 4
  const look = (): void => {
    if (ended) return
    const size = statSync(log, { throwIfNoEntry: false })?.size ?? 0
    if (size !== seen) {
      seen = size
      if (SESSION_OPEN.test(readLog())) {
        opened.resolve(true)
        return
      }
    }
    // ssh says nowhere else that the session is there.
    setTimeout(look, waitMs)
    waitMs = Math.min(waitMs * 1.5, 100)
  }
  setTimeout(look, waitMs)
  child.on('error', () => {
    ended = true
    opened.resolve(false)
  })
  child.on('exit', () => {
    ended = true
    opened.resolve(SESSION_OPEN.test(readLog()))
  })
  const consume = early.consume.bind(early)
  return { child, consume, readLog, removeLog: () => rmSync(log, { force: true }), opened: opened.promise, closed }
}

/** @throws ProcessError `E_NOT_SUPPORTED` when no program can be started (any more) */
function spawnClient(program: string, words: readonly string[]): MuxClient['child'] {
  try {
    const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'pipe'] })
    // Without descriptors for pipes there are no streams.
    if ((child.stdout as Readable | undefined) !== undefined) return child
    child.on('error', () => {})
  } catch (cause) {
    if (systemCodeOf(cause) !== 'E2BIG') throw cause
    throw new ProcessError('E_NOT_SUPPORTED', 'The command is too long for the system ssh client', {
      suggestions: ['Write the long part to stdin, or to a file'],
      cause,
    })
  }
  throw new ProcessError('E_NOT_SUPPORTED', 'No ssh client can be started: this program has too many files open', {
    suggestions: ['Raise the limit with ulimit -n, or do less at a time'],
  })
}

/** Output that comes before somebody listens: Node throws it away when the program ends before that. */
class EarlyOutput {
  readonly #child: MuxClient['child']
  readonly #chunks: (readonly [OutputStream, Buffer])[] = []
  #onData: ((stream: OutputStream, chunk: Buffer) => void) | undefined

  constructor(child: MuxClient['child']) {
    this.#child = child
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        if (this.#onData !== undefined) {
          this.#onData(name, chunk)
          return
        }
        this.#chunks.push([name, chunk])
        child[name].pause()
      })
    }
  }

  consume(onData: (stream: OutputStream, chunk: Buffer) => void): void {
    this.#onData = onData
    for (const [name, chunk] of this.#chunks.splice(0)) onData(name, chunk)
    this.#child.stdout.resume()
    this.#child.stderr.resume()
  }
}

const LET_GO: ChannelEnd = { exitCode: undefined, signal: undefined, lost: undefined }

/** One command over a multiplexing master: the client's streams are the command's. */
export class OpensshChannel implements SshChannel {
  readonly #client: MuxClient
  readonly #pty: boolean
  readonly closed: Promise<ChannelEnd>
  /** Settled when the early output was handed over, or thrown away. */
  readonly #begun = makeDeferred<void>()
  #listening = false
  #closing = false
  #paused = false

  /**
   * @param judge - says what exit code 255 means, which is ssh's own as well
   * @param pty - the command's stderr is part of its stdout: what comes on stderr are words of ssh itself
   */
  constructor(client: MuxClient, judge: () => Promise<ChannelEnd>, pty = false) {
    this.#client = client
    this.#pty = pty
    this.closed = this.#end(judge)
    setImmediate(() => {
      if (!this.#listening) this.listen(() => {})
    })
  }

  async #end(judge: () => Promise<ChannelEnd>): Promise<ChannelEnd> {
    const code = await this.#client.closed
    const isPlain = code !== null && code !== 255
    const end = isPlain ? { exitCode: code, signal: undefined, lost: undefined } : this.#closing ? LET_GO : await judge()
    this.#client.removeLog()
    await this.#begun.promise
    return this.#closing ? LET_GO : end
  }

  listen(onData: (stream: OutputStream, chunk: Buffer) => void): void {
    this.#listening = true
    // Not before whoever listens has finished its own turn.
    process.nextTick(() => {
      if (!this.#closing) this.#client.consume(this.#pty ? (stream, chunk) => void (stream === 'stdout' && onData(stream, chunk)) : onData)
      if (this.#paused) this.pause()
      this.#begun.resolve()
    })
  }

  write(data: Uint8Array): Promise<void> {
    const { stdin } = this.#client.child
    return new Promise((resolve, reject) => {
      const refuse = (cause?: unknown): void =>
        reject(new ProcessError('E_STDIN', 'The text could not be written: nobody reads it any more', { cause }))
      if (!stdin.writable) return refuse()
      stdin.write(data, (error) => (error === null || error === undefined ? resolve() : refuse(error)))
    })
  }

  end(): void {
    this.#client.child.stdin.end()
  }

  pause(): void {
    this.#paused = true
    this.#client.child.stdout.pause()
    this.#client.child.stderr.pause()
  }

  resume(): void {
    this.#paused = false
    this.#client.child.stdout.resume()
    this.#client.child.stderr.resume()
  }

  close(): void {
    this.#closing = true
    const { child } = this.#client
    child.kill('SIGKILL')
    child.stdin.destroy()
    child.stdout.destroy()
    child.stderr.destroy()
  }
}

/** The two streams of a client of `ssh -W` as one. */
export class ForwardedStream extends Duplex {
  readonly #client: MuxClient

  constructor(client: MuxClient) {
    super({ allowHalfOpen: true })
    this.#client = client
    const { child } = client
    client.consume((stream, chunk) => {
      if (stream === 'stdout' && !this.push(chunk)) child.stdout.pause()
    })
    let ended = false
    const end = (): void => {
      if (!ended) this.push(null)
      ended = true
    }
    child.stdout.on('end', end)
    child.stdin.on('error', (error) => this.destroy(error))
    void client.closed.then(() => {
      client.removeLog()
      end()
      if (!this.writableFinished) this.destroy()
    })
  }

  override _read(): void {
    this.#client.child.stdout.resume()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#client.child.stdin.write(chunk, done)
  }

  override _final(done: () => void): void {
    this.#client.child.stdin.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#client.child.kill('SIGKILL')
    done(error)
  }
}
