import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { systemCodeOf } from '../../errors.js'
import { openFile } from './local-open.js'

const PIECE_BYTES = 1 << 20

/** SHA-256 of a file of this machine in lower case hex; undefined when it cannot be read. */
export async function digestOf(path: Buffer, signal?: AbortSignal): Promise<string | undefined> {
  try {
    const handle = await openFile(path)
    try {
      return await digestOfHandle(handle, signal)
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (systemCodeOf(error) !== undefined) return undefined
    throw error
  }
}

/** From where the file stands. One piece is read while the one before is hashed. */
export async function digestOfHandle(handle: FileHandle, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256')
  const buffers = [Buffer.allocUnsafeSlow(PIECE_BYTES), Buffer.allocUnsafeSlow(PIECE_BYTES)] as const
  let next = handle.read(buffers[0], 0, PIECE_BYTES, null)
  for (let at = 1; ; at += 1) {
    const { bytesRead, buffer } = await next
    if (bytesRead === 0) return hash.digest('hex')
    signal?.throwIfAborted()
    next = handle.read(buffers[(at % 2) as 0 | 1], 0, PIECE_BYTES, null)
    next.catch(() => undefined)
    hash.update(buffer.subarray(0, bytesRead))
  }
}
