import { createHash } from 'node:crypto'
import { constants, writeFileSync } from 'node:fs'
import { chmod, copyFile, type FileHandle, open, rm, stat } from 'node:fs/promises'
import type { Pace } from '../pace.js'
import type { LocalSource } from './local-source.js'

/** Files of up to so many bytes are copied in one go. */
const SMALL_BYTES = 64 << 10
const PIECE_BYTES = 1 << 20
/** So that a limit is kept evenly. */
const PACED_PIECE_BYTES = 64 << 10

export interface LocalCopyInput {
  readonly source: LocalSource
  readonly index: number
  readonly size: number
  /** Where it comes from and goes to, absolute. */
  readonly from: Buffer
  readonly part: Buffer
  /** So many bytes are in the part; nobody has looked at them yet. */
  readonly offset: number
  readonly pace: Pace
  readonly signal: AbortSignal
  /** Told of content as it comes to stand in the part, also of what was found right there. */
  onBytes(bytes: number, isMoved: boolean): void
}

/**
 * Copies the content of a file of this machine into a part; a part that is there already is compared, and kept as far as it is right.
 *
 * @returns SHA-256 of what was read
 */
export async function copyContent(input: LocalCopyInput): Promise<string> {
  const { source, index, size, part, pace, offset, onBytes } = input
  if (size <= SMALL_BYTES) {
    await pace.take(size, input.signal)
    const content = await source.read(index, 0, size)
    writeFileSync(part, content, { mode: 0o600 })
    onBytes(size, true)
    return createHash('sha256').update(content).digest('hex')
  }
  if (offset === 0 && pace.bytesPerSecond === undefined && (await isShared(input))) {
    onBytes(size, true)
    // One that was changed meanwhile has none; the source knows.
    return source.digest(index).catch(() => 'none')
  }
  const handle = await open(part, offset > 0 ? 'r+' : 'w', 0o600)
  try {
    return await copyPieces(input, handle)
  } finally {
    await handle.close()
  }
}

/** Lets both files have the same blocks, where the file system can do that: nothing is written, whatever the size. */
async function isShared({ from, part }: LocalCopyInput): Promise<boolean> {
  try {
    // Of a pipe that took its place the system would wait for content.
    if (!(await stat(from)).isFile()) return false
    await copyFile(from, part, constants.COPYFILE_FICLONE_FORCE)
    // It came with the mode of its source, which need not let us in.
    await chmod(part, 0o600)
    return true
  } catch {
    await rm(part, { force: true })
    return false
  }
}

async function copyPieces(input: LocalCopyInput, handle: FileHandle): Promise<string> {
  const { source, index, size, pace, signal, onBytes } = input
  const hash = createHash('sha256')
  const pieceBytes = pace.bytesPerSecond === undefined ? PIECE_BYTES : PACED_PIECE_BYTES
  const piece = Buffer.allocUnsafeSlow(pieceBytes)
  const there = input.offset > 0 ? Buffer.allocUnsafeSlow(pieceBytes) : undefined
  let right = input.offset
  for (let at = 0; at < size; at += pieceBytes) {
    signal.throwIfAborted()
    const content = await source.read(index, at, pieceBytes, piece)
    hash.update(content)
    let same = 0
    if (there !== undefined && at < right) {
      const { bytesRead } = await handle.read(there, 0, Math.min(content.length, right - at), at)
      if (content.compare(there, 0, bytesRead, 0, bytesRead) === 0) same = bytesRead
      // From the first difference on, nothing of it is trusted.
      if (same < content.length) right = 0
      onBytes(same, false)
    }
    await pace.take(content.length - same, signal)
    for (let done = same; done < content.length; ) {
      done += (await handle.write(content, done, content.length - done, at + done)).bytesWritten
    }
    onBytes(content.length - same, true)
  }
  return hash.digest('hex')
}
