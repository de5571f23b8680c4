import { type FileHandle, open } from 'node:fs/promises'
import { systemCodeOf } from '../../errors.js'
import type { ByteName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import { openFile } from '../local/local-open.js'
import type { MovedFile, MoveFailures, MoveOptions, Mover, ReachedHost } from '../mover.js'
import {
  eachAtOnce,
  isSystemError,
  type MoveFailure,
  paced,
  partName,
  pathOf,
  readSmall,
  SMALL_BYTES,
  sourceFailure,
  targetFailure,
  writeSmall,
} from '../mover-parts.js'
import { SftpClient, SftpFailure } from './sftp-client.js'
import { SftpFlow } from './sftp-flow.js'

/** So many are open at a time: the answers to open and close are what small files wait for. */
const FILES_AT_ONCE = 64

/** Moves content with the sftp server of the host, over a session of the one login. Goes on in the middle of a file. */
export class SftpMover implements Mover {
  readonly name = 'sftp'
  readonly seed = false

  async send(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    await using client = await SftpClient.start(host.pooled, { signal: options.signal })
    using flow = new SftpFlow(client.writeChunk)
    return await moveEach(files, options, async (file) => {
      const path = partName(parts, file.index)
      try {
        await (isSmall(file, options) ? sendSmall : sendLarge)(client, flow, file, path, options)
        return undefined
      } catch (error) {
        if (isSystemError(error)) return sourceFailure(file.path, systemCodeOf(error), error.message)
        if (!(error instanceof SftpFailure)) throw error
        return targetFailure(path, (await isFull(client, parts)) ? 'ENOSPC' : error.code, error.message)
      }
    })
  }

  async receive(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    await using client = await SftpClient.start(host.pooled, { signal: options.signal })
    using flow = new SftpFlow(client.readChunk)
    return await moveEach(files, options, async (file) => {
      const path = partName(parts, file.index)
      try {
        const isThere = isSmall(file, options) && (await receiveSmall(client, flow, file, path, options))
        if (!isThere) await receiveLarge(client, flow, file, path, options)
        return undefined
      } catch (error) {
        if (isSystemError(error)) return targetFailure(path, systemCodeOf(error), error.message)
        if (error instanceof SftpFailure) return sourceFailure(file.path, error.code, error.message)
        throw error
      }
    })
  }
}

async function moveEach(
  files: readonly MovedFile[],
  { onFile }: MoveOptions,
  move: (file: MovedFile) => Promise<MoveFailure | undefined>,
): Promise<MoveFailures> {
  const failures = new Map<number, MoveFailure>()
  const turns = new Turns()
  let full: MoveFailure | undefined
  await eachAtOnce(files, FILES_AT_ONCE, async (file) => {
    await turns.pause()
    // What found no room leaves none for those that follow.
    const failure = full ?? (await move(file))
    if (failure === undefined) onFile(file.index)
    else failures.set(file.index, failure)
    if (failure?.code === 'E_TARGET_FULL') full = failure
  })
  return failures
}

/** Comes with one request, and needs no other. */
function isSmall({ size, offset }: MovedFile, { pace }: MoveOptions): boolean {
  return offset === 0 && size <= Math.min(SMALL_BYTES, paced(pace.bytesPerSecond))
}

/** Waits for two answers: that it is open, then that it is written and closed. Read in between, its content is held for a moment only. */
async function sendSmall(client: SftpClient, flow: SftpFlow, file: MovedFile, part: ByteName, options: MoveOptions): Promise<void> {
  await inFlow(flow, file.size, options, async () => {
    const to = await client.open(part, ['write', 'create', 'empty'], 0o600)
    const answers: Promise<void>[] = []
    try {
      const content = Buffer.allocUnsafe(file.size)
      const read = await readSmall(file.path, content, 0, file.size)
      if (read > 0) answers.push(client.write(to, 0, content.subarray(0, read)).then(() => options.onBytes(read)))
    } finally {
      answers.push(client.close(to))
      await Promise.allSettled(answers)
    }
    for (const answer of answers) await answer
  })
}

/** @returns false when the server gives less at once */
async function receiveSmall(client: SftpClient, flow: SftpFlow, file: MovedFile, part: ByteName, options: MoveOptions): Promise<boolean> {
  return await inFlow(flow, file.size, options, async () => {
    const from = await client.open(file.path, ['read'])
    const read = file.size === 0 ? Buffer.alloc(0) : client.read(from, 0, file.size)
    const [content] = await Promise.allSettled([read, client.close(from)])
    if (content.status === 'rejected') throw content.reason
    const { value = Buffer.alloc(0) } = content
    if (value.length < file.size) return false
    writeSmall(part, value)
    if (file.size > 0) options.onBytes(file.size)
    return true
  })
}

async function inFlow<T>(flow: SftpFlow, bytes: number, { pace, signal }: MoveOptions, work: () => Promise<T>): Promise<T> {
  await flow.enter(bytes)
  let begun: number | undefined
  try {
    await pace.take(bytes, signal)
    begun = performance.now()
    return await work()
  } finally {
    flow.leave(bytes, begun === undefined ? undefined : performance.now() - begun)
  }
}

async function sendLarge(client: SftpClient, flow: SftpFlow, file: MovedFile, part: ByteName, options: MoveOptions): Promise<void> {
  const from = await openFile(pathOf(file.path))
  // What was answered is not needed any more: its memory is used again.
  const free: Buffer[] = []
  try {
    const to = await client.open(part, file.offset === 0 ? ['write', 'create', 'empty'] : ['write'], 0o600)
    try {
      await inPieces(flow, file, options, {
        begin: async (offset, length) => {
          const last = free.pop()
          const buffer = last !== undefined && last.length >= length ? last : Buffer.allocUnsafeSlow(length)
          const { bytesRead } = await from.read(buffer, 0, length, offset)
          const sent = async (): Promise<number> => {
            await client.write(to, offset, buffer.subarray(0, bytesRead))
            free.push(buffer)
            return bytesRead
          }
          return bytesRead === 0 ? undefined : { answer: sent() }
        },
        end: async (bytes) => bytes,
      })
    } catch (error) {
      await client.close(to).catch(() => {})
      throw error
    }
    await client.close(to)
  } finally {
    await from.close()
  }
}

async function receiveLarge(client: SftpClient, flow: SftpFlow, file: MovedFile, part: ByteName, options: MoveOptions): Promise<void> {
  const from = await client.open(file.path, ['read'])
  try {
    const to = await open(pathOf(part), file.offset === 0 ? 'w' : 'r+', 0o600)
    try {
      await inPieces(flow, file, options, {
        begin: async (offset, length) => ({ answer: client.read(from, offset, length) }),
        end: async (data, offset, length) => {
          let done = 0
          // A server may give less than was asked for.
          for (let more = data; more !== undefined && more.length > 0; more = await client.read(from, offset + done, length - done)) {
            await writeWhole(to, more, offset + done)
            done += more.length
            if (done >= length) break
          }
          return done
        },
      })
    } finally {
      await to.close()
    }
  } finally {
    await client.close(from).catch(() => {})
  }
}

async function writeWhole(to: FileHandle, data: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    done += (await to.write(data, done, data.length - done, offset + done)).bytesWritten
  }
}

interface Piece<T> {
  readonly offset: number
  readonly length: number
  readonly answer: Promise<T>
  tookMs: number | undefined
}

/**
 * Moves a file in pieces, several under way. They are begun and ended in order, so that what is there after an interruption is the
 * beginning of the file without holes.
 */
async function inPieces<T>(
  flow: SftpFlow,
  file: MovedFile,
  { signal, pace, onBytes }: MoveOptions,
  {
    begin,
    end,
  }: {
    /** @returns undefined at the end of the file, which may come too early */
    begin(offset: number, length: number): Promise<{ readonly answer: Promise<T> } | undefined>
    /** @returns how many bytes of it came */
    end(answer: T, offset: number, length: number): Promise<number>
  },
): Promise<void> {
  const underWay: Piece<T>[] = []
  let next = file.offset
  let taken = 0
  const start = async (): Promise<void> => {
    const offset = next
    const length = taken
    const begun = performance.now()
    const started = await begin(offset, length)
    if (started === undefined) {
      next = file.size
      flow.leave(length)
      taken = 0
      return
    }
    const piece: Piece<T> = { offset, length, answer: started.answer, tookMs: undefined }
    started.answer.then(
      () => {
        piece.tookMs = performance.now() - begun
      },
      () => {},
    )
    underWay.push(piece)
    next += length
    taken = 0
  }
  try {
    for (;;) {
      while (next < file.size) {
        const length = Math.min(flow.chunk, file.size - next, paced(pace.bytesPerSecond))
        if (underWay.length > 0 && !flow.hasRoom(length)) break
        await flow.enter(length)
        taken = length
        await pace.take(length, signal)
        await start()
      }
      const [piece] = underWay
      if (piece === undefined) return
      const { offset, length } = piece
      const bytes = await end(await piece.answer, offset, length)
      onBytes(bytes)
      underWay.shift()
      flow.leave(length, piece.tookMs)
      if (bytes < length) return
    }
  } finally {
    flow.leave(taken)
    for (const { length, answer } of underWay) {
      await answer.catch(() => {})
      flow.leave(length)
    }
  }
}

async function isFull(client: SftpClient, folder: ByteName): Promise<boolean> {
  const room = await client.room(folder).catch((error: unknown) => {
    if (error instanceof SftpFailure) return undefined
    throw error
  })
  return room !== undefined && (room.bytes < 4096 || room.files === 0)
}
