import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

export interface WriteFileOptions {
  /** Resolve only when the file and its name have reached the disk. Default false: it survives a kill, not a power cut. */
  readonly durable?: boolean
  readonly mode?: number
}

/** A name in the same directory that no other writer takes; hidden, so that nobody's pattern matches it. */
function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path).slice(0, 200)}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`)
}

/**
 * Replaces a file in one step: readers see the old content or the new, never a part.
 *
 * @throws the system's error when it cannot; then the old file is untouched and the temporary one removed
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, options: WriteFileOptions = {}): Promise<void> {
  const temporary = temporaryName(path)
  try {
    const file = await open(temporary, 'wx', options.mode ?? 0o666)
    try {
      await file.writeFile(data)
      if (options.durable === true) await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw error
  }
  if (options.durable === true) syncDirectory(dirname(path))
}

/** {@link writeFileAtomic} for code that holds a lock and therefore must not wait. */
export function writeFileAtomicSync(path: string, data: string | Uint8Array, options: WriteFileOptions = {}): void {
  const temporary = temporaryName(path)
  try {
    const file = fs.openSync(temporary, 'wx', options.mode ?? 0o666)
    try {
      fs.writeFileSync(file, data)
      if (options.durable === true) fs.fsyncSync(file)
    } finally {
      fs.closeSync(file)
    }
    fs.renameSync(temporary, path)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw error
  }
  if (options.durable === true) syncDirectory(dirname(path))
}

/** Makes the names in a directory durable. Some file systems refuse to sync a directory: their renames are durable as they are. */
export function syncDirectory(directory: string): void {
  let file: number
  try {
    file = fs.openSync(directory, 'r')
  } catch {
    return
  }
  try {
    fs.fsyncSync(file)
  } catch {
    // EINVAL, EISDIR, EPERM: not offered here
  } finally {
    fs.closeSync(file)
  }
}
