import type { FileHandle } from 'node:fs/promises'
import { ProcessError, systemCodeOf, TransferError } from '../../errors.js'
import { isAborted } from '../../util/async.js'
import type { ByteName } from '../../util/byte-names.js'
import { TAR_END, tarHeader, tarPadding } from '../../util/tar-write.js'
import { openFile } from '../local/local-open.js'
import type { MovedFile, MoveFailures, MoveOptions, Mover, ReachedHost } from '../mover.js'
import { isSystemError, type MoveFailure, partName, pathOf, sendContent, sourceFailure, targetFailure } from '../mover-parts.js'
import { CatReader } from './cat-reader.js'
import { ShellSession, shellWord } from './shell-session.js'
import { shellFault } from './shell-talk.js'

/** Writes on the way. */
const ON_THE_WAY = 4

/**
 * Moves content with what every system has: sh, cat, tail and head; and tar, for many files in one session. For hosts that have neither
 * scp nor an sftp server.
 *
 * @remarks No program of these systems reads just so many bytes from a pipe: busybox `head -c` takes more than it gives, and `dd` less.
 * So what is sent is an archive, whose reader knows its end, and a file that is gone on with has a session of its own.
 */
export class CatMover implements Mover {
  readonly name = 'cat'
  readonly seed = false

  async send(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    const failures = new Map<number, MoveFailure>()
    const fresh = files.filter(({ offset }) => offset === 0)
    const alone = files.filter(({ offset }) => offset > 0)
    if (fresh.length > 0 && !(await sendArchive(host, fresh, parts, options, failures))) alone.unshift(...fresh)
    for (const file of alone) {
      // Those that follow would fare no better.
      const full = [...failures.values()].find(({ code }) => code === 'E_TARGET_FULL')
      if (full !== undefined) failures.set(file.index, full)
      else await sendAlone(host, file, parts, options, failures)
    }
    return failures
  }

  async receive(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    return files.length === 0 ? new Map() : await new CatReader(host, parts, options).run(files)
  }
}

/** @returns false when there is no tar */
async function sendArchive(
  host: ReachedHost,
  files: readonly MovedFile[],
  parts: ByteName,
  options: MoveOptions,
  failures: Map<number, MoveFailure>,
): Promise<boolean> {
  const program = `command -v tar >/dev/null 2>&1 || exit 127\ncd ${shellWord(parts)} || exit 3\numask 077\nexec tar xof - 2>&1`
  const sending = await Sending.start(host, program, options)
  const sent: number[] = []
  try {
    for (const file of files) {
      if (sending.isOver) break
      const handle = await opened(file, failures)
      if (handle === undefined) continue
      try {
        await sending.write(tarHeader(String(file.index), file.size, 0o600, 0))
        const unread = await sending.content(file, handle)
        await sending.write(tarPadding(file.size))
        if (unread === undefined) sent.push(file.index)
        else failures.set(file.index, unread)
      } finally {
        await handle.close()
      }
    }
    await sending.write(TAR_END)
    const { exitCode, text } = await sending.end()
    if (exitCode === 127) return false
    if (exitCode === 0) for (const index of sent) options.onFile(index)
    else for (const { index } of files) if (!failures.has(index)) failures.set(index, failureOf(partName(parts, index), text, exitCode))
  } finally {
    sending.close()
  }
  return true
}

async function sendAlone(
  host: ReachedHost,
  file: MovedFile,
  parts: ByteName,
  options: MoveOptions,
  failures: Map<number, MoveFailure>,
): Promise<void> {
  const handle = await opened(file, failures)
  if (handle === undefined) return
  const part = partName(parts, file.index)
  try {
    const sending = await Sending.start(host, `umask 077\nexec cat ${file.offset > 0 ? '>>' : '>'}${shellWord(part)}`, options)
    try {
      const unread = await sending.content(file, handle)
      const { exitCode, text } = await sending.end()
      if (exitCode !== 0) failures.set(file.index, failureOf(part, text, exitCode))
      else if (unread !== undefined) failures.set(file.index, unread)
      else options.onFile(file.index)
    } finally {
      sending.close()
    }
  } finally {
    await handle.close()
  }
}

async function opened(file: MovedFile, failures: Map<number, MoveFailure>): Promise<FileHandle | undefined> {
  try {
    return await openFile(pathOf(file.path))
  } catch (error) {
    if (!isSystemError(error)) throw error
    failures.set(file.index, sourceFailure(file.path, systemCodeOf(error), error.message))
    return undefined
  }
}

function failureOf(part: ByteName, text: string, exitCode: number | undefined): MoveFailure {
  const { code, message } = shellFault(text)
  if (code === 'E_TRANSFER') return { code, message: text.trim() === '' ? `exit code ${exitCode ?? 'unknown'}` : message }
  return targetFailure(part, { E_TARGET_FULL: 'ENOSPC', E_TARGET_DENIED: 'EACCES' }[code as string], message)
}

/** The standard input of a program there. */
class Sending {
  readonly #host: string
  readonly #session: ShellSession
  readonly #options: MoveOptions
  readonly #said: { text: string }
  readonly #onTheWay: Promise<void>[] = []
  /** Ends the waiting for a write that nobody takes any more. */
  #release: () => void = () => {}
  isOver = false

  private constructor(host: string, session: ShellSession, options: MoveOptions, said: { text: string }) {
    this.#host = host
    this.#session = session
    this.#options = options
    this.#said = said
    void session.closed.then(() => {
      this.isOver = true
      this.#release()
    })
  }

  static async start({ pooled }: ReachedHost, program: ByteName, options: MoveOptions): Promise<Sending> {
    const said = { text: '' }
    const onData = (chunk: Buffer): void => {
      said.text = (said.text + chunk.toString('latin1')).slice(-4000)
    }
    const session = await ShellSession.start(pooled, program, onData, { signal: options.signal })
    return new Sending(pooled.connection.target.name, session, options, said)
  }

  /** Does not wait for a program that has ended: its end says why. */
  async write(data: Uint8Array): Promise<void> {
    if (this.isOver || data.length === 0) return
    const written = this.#session.write(data).catch(() => {
      this.isOver = true
    })
    this.#onTheWay.push(written)
    if (this.#onTheWay.length < ON_THE_WAY) return
    // Not a race with the end of the session: each would leave something with it, as long as it lasts.
    await new Promise<void>((resolve) => {
      this.#release = resolve
      if (this.isOver) resolve()
      void this.#onTheWay.shift()?.then(resolve)
    })
  }

  /** @returns why something of it could not be read */
  content(file: MovedFile, handle: FileHandle): Promise<MoveFailure | undefined> {
    return sendContent(
      file,
      file.offset,
      handle,
      this.#options,
      (piece) => this.write(piece),
      () => this.isOver,
    )
  }

  /** @throws ProcessError of a lost connection, `E_ABORTED` */
  async end(): Promise<{ readonly exitCode: number | undefined; readonly text: string }> {
    await Promise.race([Promise.all(this.#onTheWay), this.#session.closed])
    this.#session.end()
    const { exitCode, lost } = await this.#session.closed
    if (isAborted(this.#options.signal)) throw new ProcessError('E_ABORTED', `The copy with ${this.#host} was given up`)
    if (lost !== undefined) throw lost
    if (exitCode === undefined) throw new TransferError('E_COPY_LOST', `What received files on ${this.#host} was ended`)
    return { exitCode, text: `${this.#said.text}\n${this.#session.stderr}` }
  }

  close(): void {
    this.#session.close()
  }
}
