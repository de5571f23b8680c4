import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { join } from 'node:path'
import { renewFile } from '../util/file-renewer.js'
import { livenessOf, type ProcessIdentity, thisProcess } from '../util/process-identity.js'

/** Beats per lease: three may be lost in a row before others think that we are gone. */
const BEATS_PER_LEASE = 4

/** A worker's sign of life: a file whose time the file server sets. Renewed from a worker thread. */
export class Heartbeat {
  readonly #path: string
  readonly #content: string
  readonly #stop: () => Promise<void>

  constructor(directory: string, worker: string, leaseMs: number, onLost: () => void) {
    fs.mkdirSync(directory, { recursive: true })
    this.#path = join(directory, worker)
    this.#content = `${JSON.stringify(thisProcess())}\n`
    fs.writeFileSync(this.#path, this.#content, { flag: 'wx' })
    const everyMs = Math.max(10, leaseMs / BEATS_PER_LEASE)
    this.#stop = renewFile({ path: this.#path, content: this.#content, everyMs, leaseMs, onLost })
  }

  /** The file server's clock, as the time of our own file written just now. */
  touch(): number | undefined {
    try {
      const file = fs.openSync(this.#path, 'r+')
      try {
        fs.writeSync(file, this.#content, 0)
        fs.fsyncSync(file)
        return fs.fstatSync(file).mtimeMs
      } finally {
        fs.closeSync(file)
      }
    } catch {
      return undefined
    }
  }

  async remove(): Promise<void> {
    await this.#stop()
    fs.rmSync(this.#path, { force: true })
  }
}

export function makeWorkerId(): string {
  return randomBytes(5).toString('hex')
}

/**
 * Says whether a worker will surely not come back.
 *
 * @param directory - of the heartbeats; without one only processes of this host can be judged
 * @param now - the file server's clock, if it is known
 */
export function isGone(
  worker: string,
  identity: ProcessIdentity | undefined,
  directory: string | undefined,
  now: () => number | undefined,
  leaseMs: number,
): boolean {
  const liveness = identity === undefined ? 'elsewhere' : livenessOf(identity)
  if (liveness === 'dead') return true
  if (directory === undefined) return false
  // opened, not only looked at: that is what makes a network file system ask its server
  let mtimeMs: number
  try {
    const file = fs.openSync(join(directory, worker), 'r')
    mtimeMs = fs.fstatSync(file).mtimeMs
    fs.closeSync(file)
  } catch (error) {
    // written before the first claim and removed at the end: without it the worker has ended, whatever its process does now
    return (error as { code?: string }).code === 'ENOENT'
  }
  if (liveness === 'alive') return false
  const at = now()
  return at !== undefined && at - mtimeMs > leaseMs
}
