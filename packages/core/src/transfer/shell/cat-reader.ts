import { randomBytes } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { ProcessError, systemCodeOf, TransferError } from '../../errors.js'
import { isAborted } from '../../util/async.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import type { MovedFile, MoveFailures, MoveOptions, ReachedHost } from '../mover.js'
import { isSystemError, type MoveFailure, partName, pathOf, targetFailure } from '../mover-parts.js'
import { ShellSession, shellWord } from './shell-session.js'

/** Files of one command, unless their names are long. */
const PER_COMMAND = 100
const NAMES_BYTES = 60_000
/** Beyond it the other side is made to wait. */
const MOST_KEPT = 1 << 20

/**
 * Sends just so many bytes of what the files hold one after the other, zeros when they hold less; in front of it `y`, or `n` when one may
 * not be read; behind it what their sizes are now. $1: bytes to leave out, $2: bytes to send.
 */
const SEND = `s() {
  o=$1 b=$2; shift 2
  for f; do if [ ! -f "$f" ] || [ ! -r "$f" ]; then echo n; return; fi; done
  echo y
  if [ "$o" = 0 ]; then { cat -- "$@" 2>/dev/null; cat /dev/zero; } | head -c "$b"
  else { tail -c "+$((o + 1))" "$1"; cat /dev/zero; } | head -c "$b"; fi
  echo; for f; do z "$f"; done
}
if [ "$(stat -c %s / 2>/dev/null)" ]; then z() { stat -c %s -- "$1" 2>/dev/null || echo -; }
else z() { set -- $(ls -lnd -- "$1" 2>/dev/null); echo "\${5:--}"; }; fi
set -f`

/** Files of a host, many over one session. */
export class CatReader {
  readonly #host: ReachedHost
  readonly #parts: ByteName
  readonly #options: MoveOptions
  readonly #failures = new Map<number, MoveFailure>()

  constructor(host: ReachedHost, parts: ByteName, options: MoveOptions) {
    this.#host = host
    this.#parts = parts
    this.#options = options
  }

  async run(files: readonly MovedFile[]): Promise<MoveFailures> {
    let again = await this.#fetch([...batches(files)])
    // When one of them is not what it was, the others of its command came at the wrong place.
    if (again.length > 0) again = await this.#fetch(again.map((file) => [file]))
    return this.#failures
  }

  /** @returns those that are to be asked for one by one */
  async #fetch(commands: readonly (readonly MovedFile[])[]): Promise<MovedFile[]> {
    const again: MovedFile[] = []
    const lines = commands.map((batch) => {
      const sum = batch.reduce((bytes, { size, offset }) => bytes + size - offset, 0)
      return `s ${batch[0]?.offset ?? 0} ${sum} ${batch.map(({ path }) => shellWord(path)).join(' ')}`
    })
    const mark = randomBytes(12).toString('hex')
    // Whoever loaded this has used the same name.
    const loop = `p=; while IFS= read -r l; do case $l in ${mark}) eval "$p" </dev/null; p= ;; *) p="$p$l
" ;; esac; done`
    const stream = await Stream.start(
      this.#host,
      `${SEND}
${loop}`,
      this.#options,
    )
    try {
      // The names are said while content comes.
      const saying = stream.say(lines.map((line) => `${line}\n${mark}\n`))
      for (const batch of commands) {
        if ((await stream.line()) === 'n') {
          if (batch.length > 1) again.push(...batch)
          else this.#fail(batch[0] as MovedFile, 'E_SOURCE_CHANGED', 'it is gone, or may not be read any more')
          continue
        }
        for (const file of batch) await this.#take(stream, file)
        await stream.line()
        const sizes: string[] = []
        for (const _ of batch) sizes.push(await stream.line())
        const changed = batch.filter(({ size }, at) => sizes[at] !== String(size))
        if (changed.length === 0) for (const { index } of batch) this.#done(index)
        else if (batch.length > 1) again.push(...batch)
        else for (const file of changed) this.#fail(file, 'E_SOURCE_CHANGED', `it had ${file.size} bytes, and has ${sizes[0]}`)
      }
      await saying
    } finally {
      stream.close()
    }
    return again
  }

  async #take(stream: Stream, file: MovedFile): Promise<void> {
    const { pace, signal, onBytes } = this.#options
    const part = partName(this.#parts, file.index)
    let to: FileHandle | undefined
    const failed = (error: unknown): void => {
      if (!isSystemError(error)) throw error
      if (!this.#failures.has(file.index)) this.#failures.set(file.index, targetFailure(part, systemCodeOf(error), error.message))
    }
    this.#failures.delete(file.index)
    try {
      to = await open(pathOf(part), file.offset > 0 ? 'r+' : 'w', 0o600)
      await to.truncate(file.offset)
    } catch (error) {
      failed(error)
    }
    try {
      let offset = file.offset
      await stream.content(file.size - file.offset, async (piece) => {
        await pace.take(piece.length, signal)
        try {
          for (let done = 0; to !== undefined && done < piece.length && !this.#failures.has(file.index); ) {
            done += (await to.write(piece, done, piece.length - done, offset + done)).bytesWritten
          }
        } catch (error) {
          failed(error)
        }
        offset += piece.length
        onBytes(piece.length)
      })
    } finally {
      await to?.close()
    }
  }

  #done(index: number): void {
    if (!this.#failures.has(index)) this.#options.onFile(index)
  }

  #fail(file: MovedFile, code: string, why: string): void {
    this.#failures.set(file.index, { code, message: `${readableName(file.path)}: ${why}` })
  }
}

/** What has been begun already comes alone. */
function* batches(files: readonly MovedFile[]): Iterable<readonly MovedFile[]> {
  let batch: MovedFile[] = []
  let bytes = 0
  for (const file of files) {
    const more = file.path.length * 2 + 3
    if (
      batch.length > 0 &&
      (batch.length === PER_COMMAND || bytes + more > NAMES_BYTES || file.offset > 0 || (batch[0]?.offset ?? 0) > 0)
    ) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(file)
    bytes += more
  }
  if (batch.length > 0) yield batch
}

/** Lines and content from the standard output of a program there. */
class Stream {
  readonly #host: string
  readonly #session: ShellSession
  readonly #signal: AbortSignal
  #kept: Buffer[] = []
  #bytes = 0
  #isPaused = false
  #over: Error | undefined
  #wake: (() => void) | undefined

  private constructor(host: string, session: ShellSession, signal: AbortSignal) {
    this.#host = host
    this.#session = session
    this.#signal = signal
  }

  static async start({ pooled }: ReachedHost, program: ByteName, { signal }: MoveOptions): Promise<Stream> {
    const early: Buffer[] = []
    let onData = (chunk: Buffer): void => void early.push(chunk)
    const session = await ShellSession.start(pooled, program, (chunk) => onData(chunk), { signal })
    const stream = new Stream(pooled.connection.target.name, session, signal)
    onData = (chunk) => stream.#receive(chunk)
    for (const chunk of early) stream.#receive(chunk)
    void session.closed.then(({ exitCode, lost }) => {
      const said = session.stderr === '' ? `exit code ${exitCode ?? 'unknown'}` : session.stderr.slice(0, 500)
      stream.#over = lost ?? new TransferError('E_COPY_LOST', `What sent files on ${stream.#host} ended in the middle of its work: ${said}`)
      stream.#wake?.()
    })
    return stream
  }

  /** When nobody hears it any more, what is read next says why. */
  async say(lines: readonly ByteName[]): Promise<void> {
    try {
      for (const line of lines) await this.#session.write(Buffer.from(line, 'latin1'))
    } catch {
      return
    }
  }

  async line(): Promise<string> {
    let line = ''
    for (;;) {
      const first = await this.#first()
      const at = first.indexOf(0x0a)
      const piece = at < 0 ? first : first.subarray(0, at)
      line += piece.toString('latin1')
      this.#drop(at < 0 ? piece.length : at + 1)
      if (at >= 0) return line
    }
  }

  async content(size: number, take: (piece: Buffer) => Promise<void>): Promise<void> {
    for (let left = size; left > 0; ) {
      const piece = (await this.#first()).subarray(0, left)
      this.#drop(piece.length)
      left -= piece.length
      await take(piece)
    }
  }

  close(): void {
    this.#session.close()
  }

  async #first(): Promise<Buffer> {
    for (;;) {
      if (isAborted(this.#signal)) throw new ProcessError('E_ABORTED', `The copy with ${this.#host} was given up`)
      const [first] = this.#kept
      if (first !== undefined) return first
      if (this.#over !== undefined) throw this.#over
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #receive(chunk: Buffer): void {
    if (chunk.length > 0) this.#kept.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > MOST_KEPT && !this.#isPaused) {
      this.#isPaused = true
      this.#session.pause()
    }
    this.#wake?.()
  }

  #drop(bytes: number): void {
    const rest = this.#kept[0]?.subarray(bytes)
    if (rest === undefined || rest.length === 0) this.#kept.shift()
    else this.#kept[0] = rest
    this.#bytes -= bytes
    if (this.#isPaused && this.#bytes <= MOST_KEPT) {
      this.#isPaused = false
      this.#session.resume()
    }
  }
}
