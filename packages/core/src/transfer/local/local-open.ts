import { closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { systemCodeOf } from '../../errors.js'

/**
 * Without waiting: a named pipe that took the place of a file would hold the whole program until somebody writes into it. Nor does a
 * terminal become ours.
 */
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY
/** Who holds a lease on a file is asked to give it back, and has 45 s for it. */
const LEASE_MS = 50_000
const RETRY_MS = 20

/**
 * Opens a file of this machine for reading.
 *
 * @throws the system's errors; the same as for one that is gone when it is no file any more
 * @source open(2): `EWOULDBLOCK` with O_NONBLOCK when somebody holds a lease; proc(5), /proc/sys/fs/lease-break-time
 */
export async function openFile(path: Buffer): Promise<FileHandle> {
  const handle = await whenReleased(() => open(path, FLAGS))
  try {
    refuseOthers(await handle.stat())
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * The same at once.
 *
 * @throws as `openFile`, and EAGAIN while somebody holds a lease
 */
export function openFileSync(path: Buffer): number {
  const descriptor = openSync(path, FLAGS)
  try {
    refuseOthers(fstatSync(descriptor))
    return descriptor
  } catch (error) {
    closeSync(descriptor)
    throw error
  }
}

/** True of a file that can be read in a moment: somebody is asked to let go of it. */
export function isLeased(error: unknown): boolean {
  return systemCodeOf(error) === 'EAGAIN'
}

/** Does it again as long as somebody holds a lease. */
export async function whenReleased<T>(action: () => T | Promise<T>): Promise<T> {
  const until = performance.now() + LEASE_MS
  for (;;) {
    try {
      return await action()
    } catch (error) {
      if (!isLeased(error) || performance.now() > until) throw error
    }
    await pause(RETRY_MS)
  }
}

function refuseOthers(stats: Stats): void {
  if (stats.isFile()) return
  const what = stats.isDirectory() ? 'a directory' : stats.isFIFO() ? 'a named pipe' : 'something else'
  throw Object.assign(new Error(`${what} took its place`), { code: 'ENOENT', syscall: 'open' })
}
