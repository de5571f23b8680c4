import { type FileHandle, open } from 'node:fs/promises'
import { systemCodeOf } from '../../errors.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import type { MovedFile, MoveFailures, MoveOptions, Mover, ReachedHost } from '../mover.js'
import { isSystemError, type MoveFailure, paced, partName, pathOf, sourceFailure, targetFailure } from '../mover-parts.js'
import { shellWord } from '../shell/shell-session.js'
import type { ScpAnswer } from './scp-answers.js'
import { ScpSession } from './scp-session.js'

/** Read and sent at a time. */
const PIECE_BYTES = 256 << 10
/** Names of one session: what a command line holds on every system. */
const NAMES_BYTES = 60_000
const YES = Buffer.of(0)

/**
 * Moves content with the scp program of the host, over a session of the one login: the older protocol of scp, which every version of it
 * speaks there. It begins each file at its start.
 *
 * @source scp(1) of OpenSSH 9.2, options -t (receives) and -f (sends), which its own `-O` uses
 */
export class ScpMover implements Mover {
  readonly name = 'scp'
  readonly seed = false

  async send(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    const failures = new Map<number, MoveFailure>()
    if (files.length === 0) return failures
    const session = await ScpSession.start(host.pooled, `-d -t -- ${shellWord(parts)}`, options.signal)
    try {
      const opened = await session.answer(parts)
      if (opened.kind === 'ok') await new Sending(session, files, parts, options, failures).run()
      else for (const { index } of files) failures.set(index, failureThere(parts, opened))
    } finally {
      session.close()
    }
    return failures
  }

  async receive(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    const failures = new Map<number, MoveFailure>()
    for (const batch of batches(files)) {
      const words = batch.map(({ path }) => shellWord(path)).join(' ')
      const session = await ScpSession.start(host.pooled, `-f -- ${words}`, options.signal)
      try {
        // It asks whether we are ready once, and twice for each file; said now, it does not wait for us.
        await session.write(Buffer.alloc(1 + 2 * batch.length))
        for (const file of batch) {
          const failure = await receiveFile(session, file, partName(parts, file.index), options)
          if (failure === undefined) options.onFile(file.index)
          else failures.set(file.index, failure)
        }
      } finally {
        session.close()
      }
    }
    return failures
  }
}

interface Readable {
  readonly file: MovedFile
  readonly handle: FileHandle
}

/** Files one after the other. Each is announced together with the end of the one before, so that a small one costs one answer. */
class Sending {
  readonly #session: ScpSession
  readonly #files: IterableIterator<MovedFile>
  readonly #parts: ByteName
  readonly #options: MoveOptions
  readonly #failures: Map<number, MoveFailure>

  constructor(session: ScpSession, files: readonly MovedFile[], parts: ByteName, options: MoveOptions, failures: Map<number, MoveFailure>) {
    this.#session = session
    this.#files = files.values()
    this.#parts = parts
    this.#options = options
    this.#failures = failures
  }

  async run(): Promise<void> {
    let current = await this.#next()
    try {
      if (current !== undefined) await this.#session.write(announce(current))
      while (current !== undefined) {
        const { file, handle }: Readable = current
        const refused = await this.#session.answer(this.#parts)
        const unread = refused.kind === 'ok' ? await this.#content(file, handle) : undefined
        await handle.close()
        current = await this.#next()
        const next = current === undefined ? [] : [announce(current)]
        const words = refused.kind === 'ok' ? [YES, ...next] : next
        if (words.length > 0) await this.#session.write(Buffer.concat(words))
        const said = refused.kind === 'ok' ? await this.#session.answer(this.#parts) : refused
        const failure = said.kind === 'ok' ? unread : failureThere(partName(this.#parts, file.index), said)
        if (failure === undefined) this.#options.onFile(file.index)
        else this.#failures.set(file.index, failure)
        if (failure?.code === 'E_TARGET_FULL' || said.kind === 'fatal') {
          // Those that follow would fare no better.
          const rest = [...(current === undefined ? [] : [current.file]), ...this.#files]
          for (const { index } of rest) this.#failures.set(index, failure as MoveFailure)
          break
        }
      }
    } finally {
      await current?.handle.close()
    }
  }

  /** The next file that can be opened. */
  async #next(): Promise<Readable | undefined> {
    for (const file of this.#files) {
      try {
        return { file, handle: await open(pathOf(file.path), 'r') }
      } catch (error) {
        if (!isSystemError(error)) throw error
        this.#failures.set(file.index, sourceFailure(file.path, systemCodeOf(error), error.message))
      }
    }
    return undefined
  }

  /** As many bytes as were announced: zeros for what cannot be read any more. */
  async #content({ path, size }: MovedFile, handle: FileHandle): Promise<MoveFailure | undefined> {
    const { pace, signal, onBytes } = this.#options
    let unread: MoveFailure | undefined
    for (let offset = 0; offset < size; ) {
      const length = Math.min(PIECE_BYTES, size - offset, paced(pace.bytesPerSecond))
      await pace.take(length, signal)
      const piece = Buffer.allocUnsafe(length)
      let read = 0
      try {
        for (let bytes = -1; bytes !== 0 && read < length && unread === undefined; read += bytes) {
          bytes = (await handle.read(piece, read, length - read, offset + read)).bytesRead
        }
      } catch (error) {
        if (!isSystemError(error)) throw error
        unread = sourceFailure(path, systemCodeOf(error), error.message)
      }
      await this.#session.write(piece.fill(0, read))
      onBytes(length)
      offset += length
    }
    return unread
  }
}

function announce({ file }: Readable): Buffer {
  return Buffer.from(`C0600 ${file.size} ${file.index}\n`)
}

async function receiveFile(session: ScpSession, file: MovedFile, part: ByteName, options: MoveOptions): Promise<MoveFailure | undefined> {
  const { pace, signal, onBytes } = options
  const head = await session.answer(file.path)
  if (head.kind !== 'file') return sourceFailure(file.path, codeIn(head), head.kind === 'ok' ? 'it was not sent' : head.message)
  let failure: MoveFailure | undefined
  let to: FileHandle | undefined
  let offset = 0
  const failed = (error: unknown): void => {
    if (!isSystemError(error)) throw error
    failure = targetFailure(part, systemCodeOf(error), error.message)
  }
  try {
    to = await open(pathOf(part), 'w', 0o600).catch((error: unknown) => void failed(error))
    await session.content(head.size, async (piece) => {
      await pace.take(piece.length, signal)
      // What comes beyond the size that was listed is no part of any state of that file.
      const wanted = piece.subarray(0, Math.max(0, file.size - offset))
      try {
        for (let done = 0; to !== undefined && failure === undefined && done < wanted.length; ) {
          done += (await to.write(wanted, done, wanted.length - done, offset + done)).bytesWritten
        }
      } catch (error) {
        failed(error)
      }
      offset += piece.length
      onBytes(piece.length)
    })
    const said = await session.answer(file.path)
    if (failure === undefined && said.kind !== 'ok') failure = sourceFailure(file.path, codeIn(said), messageIn(said))
    if (failure === undefined && head.size !== file.size) {
      const message = `${readableName(file.path)} had ${file.size} bytes, and has ${head.size}`
      failure = { code: 'E_SOURCE_CHANGED', message }
    }
    return failure
  } finally {
    await to?.close()
  }
}

function* batches(files: readonly MovedFile[]): Iterable<readonly MovedFile[]> {
  let batch: MovedFile[] = []
  let bytes = 0
  for (const file of files) {
    const more = shellWord(file.path).length + 1
    if (batch.length > 0 && bytes + more > NAMES_BYTES) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(file)
    bytes += more
  }
  if (batch.length > 0) yield batch
}

/** @source strerror(3) of glibc and musl in the locale C */
const CODES: readonly (readonly [RegExp, string])[] = [
  [/no space left|quota exceeded/i, 'ENOSPC'],
  [/permission denied|operation not permitted/i, 'EACCES'],
  [/read-only file system/i, 'EROFS'],
  [/no such file/i, 'ENOENT'],
]

function codeIn(answer: ScpAnswer): string | undefined {
  return CODES.find(([pattern]) => pattern.test(messageIn(answer)))?.[1]
}

function messageIn(answer: ScpAnswer): string {
  return 'message' in answer ? answer.message : 'it answered something else'
}

function failureThere(path: ByteName, answer: ScpAnswer): MoveFailure {
  return targetFailure(path, codeIn(answer), messageIn(answer))
}
