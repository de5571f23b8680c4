import { createHash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync } from 'node:fs'
import { homedir, hostname, tmpdir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { messageOf, SchedulerError } from '../../errors.js'

/** A unix socket's name may have 108 bytes with its final NUL; some systems stop at 104. */
const LONGEST_SOCKET_NAME = 100

/** The queue of this user on this machine. A home directory may be shared by many machines, hence the host's name. */
export function defaultDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const state = environment['XDG_STATE_HOME']
  return join(state !== undefined && isAbsolute(state) ? state : join(homedir(), '.local', 'state'), 'cahier', `local-${hostname()}`)
}

/**
 * Makes the directory of a queue, for its owner only.
 *
 * @throws SchedulerError `E_SCHEDULER_SILENT` when it cannot be made or belongs to somebody else
 */
export function makePrivateDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const { uid, mode } = lstatSync(directory)
    if (process.getuid !== undefined && uid !== process.getuid()) throw new Error(`it belongs to user ${uid}`)
    if ((mode & 0o077) !== 0) chmodSync(directory, 0o700)
  } catch (cause) {
    throw new SchedulerError('E_SCHEDULER_SILENT', `the local scheduler's directory ${directory} cannot be used: ${messageOf(cause)}`, {
      suggestions: ['Name a directory of your own with the option "directory"'],
      data: { directory },
      cause,
    })
  }
}

/** Where the daemon of a queue listens: in the queue's directory, or under a short name elsewhere when that one is too long. */
export function socketPath(directory: string): string {
  const absolute = resolve(directory)
  const own = join(absolute, 'socket')
  if (Buffer.byteLength(own) <= LONGEST_SOCKET_NAME) return own
  const user = process.getuid?.() ?? 0
  const digest = createHash('sha256').update(absolute).digest('hex').slice(0, 16)
  const base = Buffer.byteLength(tmpdir()) <= 60 ? tmpdir() : '/tmp'
  return join(base, `cahier-${user}`, digest)
}
