import { type ChildProcess, spawn } from 'node:child_process'
import { type Duplex, Readable } from 'node:stream'
import { systemCodeOf, TransferError } from '../../errors.js'
import { makeDeferred, settlesWithin } from '../../util/async.js'
import { lastWords } from './rsync-messages.js'

/**
 * What rsync takes for ssh: it hands over the words of the command that is to run there, and then carries bytes. Descriptor 4 leads to us,
 * descriptor 3 from us. No apostrophe may stand in it. How it went on the other side is not for it to say.
 *
 * @source rsync(1) 3.2.7, -e: split at spaces, what stands between apostrophes is one word; --blocking-io: else its standard output does
 * not block, and cat ends with EAGAIN
 */
const BRIDGE = 'exec 5<&0; printf "%s\\n" $# >&4; printf "%s\\0" "$@" >&4; cat <&5 >&4 & cat <&3; kill $! 2>/dev/null; exit 0'
/** Of what it says that is about no file, for whoever asks why. */
const MOST_KEPT = 4_000
/** A line that is longer is cut. */
const MOST_LINE = 64 << 10
/** It ends when it is told to; else it is ended, and nobody waits for what the kernel does not end. */
const TERM_MS = 2_000
const KILL_MS = 2_000
/** @source rsync(1) 3.2.7, EXIT VALUES: syntax or usage error, protocol incompatibility, requested action not supported */
const UNFIT = new Set([1, 2, 4])

export interface RsyncEnd {
  /** Undefined when it was ended. */
  readonly exitCode: number | undefined
  /** The last that it said. */
  readonly stderr: string
}

export interface RsyncProgramInput {
  /** Without the program and its `-e`. */
  readonly words: readonly string[]
  /** What `--files-from=-` is to read, one character per byte. */
  readonly names: Iterable<string>
  /** Its working directory. */
  readonly cwd: string | undefined
  /** Lines of its standard output and its standard error, one character per byte. */
  onLine(line: string): void
  onComplaint(line: string): void
}

/** The rsync of this machine, told that it talks to another one: what it sends there comes to us, and what we hand it comes from there. */
export class RsyncProgram {
  /** The words that are to run on the other side. */
  readonly command: Promise<readonly string[]>
  readonly ended: Promise<RsyncEnd>
  readonly #child: ChildProcess
  readonly #toIt: Duplex
  readonly #fromIt: Duplex
  #onData: ((chunk: Buffer) => void) | undefined
  /** What came before anybody listened. */
  #before: Buffer = Buffer.alloc(0)
  #hasCommand = false
  /** Nobody is left who could write to us. */
  #isClosed = false

  constructor({ words, names, cwd, onLine, onComplaint }: RsyncProgramInput) {
    // A group of its own: Ctrl-C is for us, and all of it can be ended.
    // What cat writes to must not be in a hurry.
    this.#child = spawn('rsync', ['--blocking-io', '-e', `sh -c '${BRIDGE}' bridge`, ...words], {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      env: environment(),
      detached: true,
      cwd,
    })
    const { stdin, stdout, stderr, stdio } = this.#child
    this.#toIt = stdio[3] as Duplex
    this.#fromIt = stdio[4] as Duplex
    // That it reads no more is seen by its end.
    for (const stream of [stdin, this.#toIt, this.#fromIt]) stream?.on('error', () => undefined)
    if (stdin !== null) Readable.from(inPieces(names)).pipe(stdin)
    let said = ''
    readLines(stdout as NodeJS.ReadableStream, onLine)
    readLines(stderr as NodeJS.ReadableStream, (line) => {
      said = `${said}${line}\n`.slice(-MOST_KEPT)
      onComplaint(line)
    })
    const ended = makeDeferred<RsyncEnd>()
    this.#child.once('error', (error) => ended.reject(systemCodeOf(error) === 'ENOENT' ? notHere() : error))
    // It waits for its bridge. One that is left stands for nobody, and would hold up the other side.
    this.#child.once('exit', () => this.#signal('SIGKILL'))
    this.#child.once('close', (code) => {
      this.#isClosed = true
      ended.resolve({ exitCode: code ?? undefined, stderr: said })
    })
    this.ended = ended.promise
    this.ended.catch(() => undefined)
    const command = makeDeferred<readonly string[]>()
    this.command = command.promise
    this.command.catch(() => undefined)
    void this.ended.then(
      (end) => command.reject(notBegun(end)),
      (error: unknown) => command.reject(error),
    )
    this.#fromIt.on('data', (chunk: Buffer) => this.#take(chunk, command.resolve))
  }

  /** What it sends to the other side. Given once, after `command` was had. */
  listen(onData: (chunk: Buffer) => void, onEnd: () => void): void {
    this.#onData = onData
    this.#fromIt.once('end', onEnd)
    if (this.#before.length > 0) onData(this.#before)
    this.#fromIt.resume()
  }

  /** What comes from the other side. @returns false when it is to wait for `drained` */
  write(chunk: Buffer): boolean {
    return this.#toIt.write(chunk)
  }

  /** Resolves when there is room for more, or nobody reads any more. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#toIt.destroyed || !this.#toIt.writableNeedDrain) {
        resolve()
        return
      }
      const done = (): void => {
        this.#toIt.off('drain', done)
        this.#toIt.off('close', done)
        resolve()
      }
      this.#toIt.on('drain', done)
      this.#toIt.on('close', done)
    })
  }

  /** The other side has ended. */
  end(): void {
    this.#toIt.end()
    this.#forget()
  }

  pause(): void {
    this.#fromIt.pause()
  }

  resume(): void {
    this.#fromIt.resume()
  }

  /** Nobody wants what it still has to say, but it has not ended before that was taken. */
  #forget(): void {
    this.#onData = () => undefined
    this.#fromIt.resume()
  }

  /** Ends it, if it still runs. Resolves when it has ended, or will not. */
  async stop(): Promise<void> {
    this.#forget()
    this.#signal('SIGTERM')
    if (await settlesWithin(this.ended, TERM_MS)) return
    this.#signal('SIGKILL')
    await settlesWithin(this.ended, KILL_MS)
  }

  /** To all of its group, also when it has ended itself. */
  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child
    if (pid === undefined || this.#isClosed) return
    try {
      process.kill(-pid, signal)
    } catch {
      // All have just ended.
    }
  }

  #take(chunk: Buffer, onCommand: (words: readonly string[]) => void): void {
    if (this.#onData !== undefined) {
      this.#onData(chunk)
      return
    }
    this.#before = Buffer.concat([this.#before, chunk])
    const parsed = this.#hasCommand ? undefined : parseCommand(this.#before)
    if (parsed === undefined) return
    this.#hasCommand = true
    this.#before = parsed.rest
    // What follows waits for who listens.
    this.#fromIt.pause()
    onCommand(parsed.words)
  }
}

/** The number of words, a line break, each word and a NUL. */
function parseCommand(data: Buffer): { readonly words: readonly string[]; readonly rest: Buffer } | undefined {
  let at = data.indexOf(0x0a) + 1
  if (at === 0) return undefined
  const words: string[] = []
  for (let left = Number(data.toString('latin1', 0, at - 1)); left > 0; left -= 1) {
    const end = data.indexOf(0, at)
    if (end < 0) return undefined
    words.push(data.toString('latin1', at, end))
    at = end + 1
  }
  // The first is the name of the host.
  return { words: words.slice(1), rest: data.subarray(at) }
}

function readLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = ''
  stream.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('latin1')).split('\n')
    rest = (lines.pop() as string).slice(0, MOST_LINE)
    for (const line of lines) onLine(line)
  })
  // What it was about to say when it was ended.
  stream.on('end', () => rest !== '' && onLine(rest))
}

function* inPieces(names: Iterable<string>): Iterable<Buffer> {
  let piece = ''
  for (const name of names) {
    piece += `${name}\0`
    if (piece.length < MOST_LINE) continue
    yield Buffer.from(piece, 'latin1')
    piece = ''
  }
  if (piece !== '') yield Buffer.from(piece, 'latin1')
}

/** What the user has set for rsync is not meant for us. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('RSYNC_'))
  return { ...Object.fromEntries(kept), LC_ALL: 'C' }
}

function notBegun({ exitCode, stderr }: RsyncEnd): TransferError {
  const why = lastWords(stderr)
  if (!UNFIT.has(exitCode ?? 0)) return new TransferError('E_TRANSFER', `rsync could not begin: ${why}`)
  return new TransferError('E_NOT_SUPPORTED', `The rsync of this machine does not know what it is asked: ${why}`, {
    suggestions: ['Install rsync 3.1 or newer (openrsync is another program), or take another way to copy: via scp, sftp or chain'],
  })
}

function notHere(): TransferError {
  return new TransferError('E_NOT_SUPPORTED', 'rsync is not installed on this machine', {
    suggestions: ['Install it (apt install rsync), or take another way to copy: via scp, sftp or chain'],
  })
}
