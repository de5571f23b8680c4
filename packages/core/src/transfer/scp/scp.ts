import { type FileHandle, open } from 'node:fs/promises'
import { systemCodeOf } from '../../errors.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import type { MovedFile, MoveFailures, MoveOptions, Mover, ReachedHost } from '../mover.js'
import { isSystemError, type MoveFailure, partName, pathOf, SMALL_BYTES, sourceFailure, targetFailure, writeSmall } from '../mover-parts.js'
import { shellWord } from '../shell/shell-session.js'
import { codeIn, messageIn } from './scp-answers.js'
import { failureThere, ScpSending } from './scp-sending.js'
import { ScpSession } from './scp-session.js'

/** Names of one session: what a command line holds on every system. */
const NAMES_BYTES = 60_000

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
    let left = files
    for (let isCareful = false; left.length > 0; isCareful = true) {
      const session = await ScpSession.start(host.pooled, `-d -t -- ${shellWord(parts)}`, options.signal)
      try {
        const opened = await session.answer(parts)
        if (opened.kind === 'ok') left = await new ScpSending(session, parts, { options, failures, isCareful }).send(left)
        else left = left.filter(({ index }) => !failures.set(index, failureThere(parts, opened)))
      } finally {
        session.close()
      }
    }
    return failures
  }

  async receive(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    const failures = new Map<number, MoveFailure>()
    const turns = new Turns()
    for (const batch of batches(files)) {
      const words = batch.map(({ path }) => shellWord(path)).join(' ')
      const session = await ScpSession.start(host.pooled, `-f -- ${words}`, options.signal)
      try {
        // It asks whether we are ready once, and twice for each file; said now, it does not wait for us.
        await session.write(Buffer.alloc(1 + 2 * batch.length))
        for (const file of batch) {
          await turns.pause()
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

async function receiveFile(session: ScpSession, file: MovedFile, part: ByteName, options: MoveOptions): Promise<MoveFailure | undefined> {
  const head = await session.answer(file.path)
  if (head.kind !== 'file') return sourceFailure(file.path, codeIn(head), head.kind === 'ok' ? 'it was not sent' : head.message)
  const isSmall = Math.max(head.size, file.size) <= SMALL_BYTES
  const failure = await (isSmall ? receiveSmall : receiveLarge)(session, head.size, file, part, options)
  const said = await session.answer(file.path)
  if (failure !== undefined) return failure
  if (said.kind !== 'ok') return sourceFailure(file.path, codeIn(said), messageIn(said))
  if (head.size === file.size) return undefined
  return { code: 'E_SOURCE_CHANGED', message: `${readableName(file.path)} had ${file.size} bytes, and has ${head.size}` }
}

/** What comes beyond the size that was listed is no part of any state of that file. */
async function receiveSmall(session: ScpSession, size: number, file: MovedFile, part: ByteName, { pace, signal, onBytes }: MoveOptions) {
  const content = Buffer.allocUnsafe(size)
  let bytes = 0
  await session.content(size, (piece) => {
    bytes += piece.copy(content, bytes)
  })
  await pace.take(size, signal)
  if (size > 0) onBytes(size)
  try {
    writeSmall(part, content.subarray(0, file.size))
  } catch (error) {
    return unwritten(part, error)
  }
  return undefined
}

async function receiveLarge(session: ScpSession, size: number, file: MovedFile, part: ByteName, { pace, signal, onBytes }: MoveOptions) {
  let failure: MoveFailure | undefined
  let to: FileHandle | undefined
  let offset = 0
  try {
    try {
      to = await open(pathOf(part), 'w', 0o600)
    } catch (error) {
      failure = unwritten(part, error)
    }
    await session.content(size, async (piece) => {
      await pace.take(piece.length, signal)
      const wanted = piece.subarray(0, Math.max(0, file.size - offset))
      try {
        for (let done = 0; to !== undefined && failure === undefined && done < wanted.length; ) {
          done += (await to.write(wanted, done, wanted.length - done, offset + done)).bytesWritten
        }
      } catch (error) {
        failure = unwritten(part, error)
      }
      offset += piece.length
      onBytes(piece.length)
    })
    return failure
  } finally {
    await to?.close()
  }
}

function unwritten(part: ByteName, error: unknown): MoveFailure {
  if (!isSystemError(error)) throw error
  return targetFailure(part, systemCodeOf(error), error.message)
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
