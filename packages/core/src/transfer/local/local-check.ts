import { createHash } from 'node:crypto'
import { closeSync, fchmodSync, fstatSync, fsyncSync, futimesSync, openSync, readFileSync, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { systemCodeOf, TransferError } from '../../errors.js'
import type { ManifestEntry } from '../manifest.js'
import { utimesArgument } from './file-times.js'
import { digestOfHandle } from './local-digest.js'

/** A file of up to so many bytes is checked in one go. */
const SMALL_BYTES = 256 << 10

type FileEntry = ManifestEntry & { readonly kind: 'file' }

/**
 * Compares a part with what was sent, and gives it its mode and time.
 *
 * @param sha256 - undefined: checked on its way
 * @param isSynced - it is on the disk afterwards, not only on its way there
 * @throws TransferError `E_COPY_LOST`, `E_COPY_CORRUPT`; the system's errors
 */
export async function checkPart(
  path: Buffer,
  entry: FileEntry,
  sha256: string | undefined,
  { isSynced, signal }: { readonly isSynced: boolean; readonly signal: AbortSignal | undefined },
): Promise<void> {
  if (entry.size <= SMALL_BYTES) checkSmall(path, entry, sha256, isSynced)
  else await checkLarge(path, entry, sha256, isSynced, signal)
}

function checkSmall(path: Buffer, entry: FileEntry, sha256: string | undefined, isSynced: boolean): void {
  // Nothing has to be brought for an empty file.
  withFile(path, entry.size === 0 ? 'a+' : 'r', (file) => {
    const stats = fstatSync(file)
    checkSize(stats, entry)
    if (sha256 !== undefined) checkDigest(createHash('sha256').update(readFileSync(file)).digest('hex'), sha256)
    setAttributes(file, entry, stats, isSynced)
  })
}

async function checkLarge(
  path: Buffer,
  entry: FileEntry,
  sha256: string | undefined,
  isSynced: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  const handle = await openPart(path)
  try {
    const stats = await handle.stat()
    checkSize(stats, entry)
    if (sha256 !== undefined) checkDigest(await digestOfHandle(handle, signal), sha256)
    if (isSynced) await handle.sync()
    setAttributes(handle.fd, entry, stats, false)
  } finally {
    await handle.close()
  }
}

async function openPart(path: Buffer): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    throw systemCodeOf(error) === 'ENOENT' ? lost() : error
  }
}

export function withFile<T>(path: Buffer, flags: string, action: (file: number) => T): T {
  let file: number
  try {
    file = openSync(path, flags)
  } catch (error) {
    throw systemCodeOf(error) === 'ENOENT' ? lost() : error
  }
  try {
    return action(file)
  } finally {
    closeSync(file)
  }
}

function checkSize(stats: Stats, { size }: FileEntry): void {
  if (!stats.isFile() || stats.size !== size) throw corrupt(`${stats.size} bytes came, and it has ${size}`)
}

function checkDigest(found: string, sha256: string): void {
  if (found !== sha256) throw corrupt('what came has another SHA-256 than what was sent')
}

/** The mode last: it may forbid the rest. Some file systems have no modes or no times: the content is what counts. */
export function setAttributes(file: number, { mode, timeUs }: FileEntry, stats: Stats, isSynced: boolean): void {
  const time = utimesArgument(timeUs)
  futimesSync(file, time, time)
  if ((stats.mode & 0o7777) !== mode) fchmodSync(file, mode)
  if (isSynced) fsyncSync(file)
}

function corrupt(message: string): TransferError {
  return new TransferError('E_COPY_CORRUPT', message)
}

function lost(): TransferError {
  return new TransferError('E_COPY_LOST', 'it did not come')
}
