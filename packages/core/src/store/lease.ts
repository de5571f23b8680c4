import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { join } from 'node:path'
import { StoreError } from '../errors.js'
import { writeFileAtomicSync } from '../util/atomic-file.js'
import { type RenewalLoss, renewFile } from '../util/file-renewer.js'
import { livenessOf, type ProcessIdentity, parseIdentity, thisProcess } from '../util/process-identity.js'
import { DirectoryLock } from './directory-lock.js'
import { LockWait } from './lock-wait.js'
import { storeError } from './store-error.js'

export interface LeaseOptions {
  /** How long a holder on another host may be silent before the run is free. Default 60 s. */
  readonly leaseMs?: number
  readonly now?: () => number
  readonly signal?: AbortSignal | undefined
}

/** Who drives a run, as its lease says. */
export interface LeaseHolder {
  readonly host: string
  readonly pid: number
  readonly since: number
  /**
   * False when that process is known to be gone, or cannot be judged from here (another host, a boot before this one) and has
   * said nothing for twice its lease: the run is free.
   */
  readonly isAlive: boolean
}

interface LeaseRecord {
  readonly token: number
  readonly nonce: string
  readonly since: number
  readonly leaseMs: number
  readonly holder: ProcessIdentity | null
}

const BEATS_PER_LEASE = 6

/**
 * The right to drive a run: one controller at a time, told by a file in the run directory that is written again and again
 * from a worker thread. The token grows with every holder, so what an earlier one still says can be told from what counts.
 */
export class Lease implements AsyncDisposable {
  /** Larger than that of every earlier holder of this run. */
  readonly token: number
  readonly #path: string
  readonly #content: string
  readonly #lock: DirectoryLock
  readonly #lost = new AbortController()
  readonly #stop: () => Promise<void>
  readonly #record: LeaseRecord

  private constructor(path: string, lock: DirectoryLock, record: LeaseRecord) {
    this.#path = path
    this.#lock = lock
    this.#record = record
    this.token = record.token
    this.#content = encode(record)
    const onLost = (why: RenewalLoss): void => this.#lost.abort(this.#lostError(why))
    const everyMs = Math.max(10, record.leaseMs / BEATS_PER_LEASE)
    this.#stop = renewFile({ path, content: this.#content, everyMs, leaseMs: record.leaseMs, onLost })
  }

  /** Aborted, with `E_RUN_HELD`, when another controller took the run or the lease could not be renewed in time. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /**
   * Takes the right to drive a run.
   *
   * @param directory - of the run; it must exist
   * @throws StoreError `E_RUN_HELD` when another controller has it, `E_STORE_IO`, `E_STORE_FULL`
   */
  static async acquire(directory: string, options: LeaseOptions = {}): Promise<Lease> {
    const { leaseMs = 60_000, now = Date.now, signal } = options
    const journal = join(directory, 'journal')
    const path = join(journal, 'controller.lease')
    const lock = new DirectoryLock(join(journal, 'controller.lock'))
    try {
      fs.mkdirSync(journal, { recursive: true })
      const wait = new LockWait(lock, 30_000, lock.path)
      while (!lock.tryAcquire()) {
        await wait.pause()
        signal?.throwIfAborted()
      }
      const before = readRecord(path)
      if (before === 'torn' && !isOlder(path, leaseMs)) throw tornError(directory, path, leaseMs)
      const held = before === 'torn' ? undefined : before
      const holder = held?.holder ?? undefined
      if (held !== undefined && holder !== undefined && !isOver(path, held, holder)) throw heldError(directory, holder, held.since)
      const record = {
        token: before === 'torn' ? tokenAfterLoss(now()) : (before?.token ?? 0) + 1,
        nonce: randomBytes(8).toString('hex'),
        since: now(),
        leaseMs,
        holder: thisProcess(),
      }
      writeFileAtomicSync(path, encode(record), { durable: true })
      lock.release()
      return new Lease(path, lock, record)
    } catch (error) {
      lock.dispose()
      if (signal?.aborted === true) throw error
      throw storeError(error, 'take the lease', path)
    }
  }

  /**
   * Looks at the file itself. For the moment before something that must not be done twice.
   *
   * @throws StoreError `E_RUN_HELD`
   */
  check(): void {
    this.#lost.signal.throwIfAborted()
    let content: string | undefined
    try {
      content = fs.readFileSync(this.#path, 'utf8')
    } catch (error) {
      if ((error as { code?: string }).code !== 'ENOENT') throw storeError(error, 'read', this.#path)
    }
    if (content === this.#content) return
    const error = this.#lostError(content === undefined ? 'removed' : 'taken')
    this.#lost.abort(error)
    throw error
  }

  /** Gives the run free. Does nothing when it was lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop()
    try {
      if (!this.#lost.signal.aborted && fs.readFileSync(this.#path, 'utf8') === this.#content) {
        writeFileAtomicSync(this.#path, encode({ ...this.#record, holder: null }), { durable: true })
      }
    } catch {
      // a full or vanished disk: the lease ends with this process anyway
    } finally {
      this.#lock.dispose()
    }
  }

  #lostError(why: RenewalLoss): StoreError {
    const record = readRecord(this.#path)
    const holder = record === 'torn' ? undefined : record?.holder
    const what = {
      taken: holder ? `process ${holder.pid} on ${holder.host} took it` : 'it was taken and given free again',
      removed: 'its file was removed',
      silent: `it could not be renewed for ${this.#record.leaseMs} ms`,
    }[why]
    return new StoreError('E_RUN_HELD', `the lease ${this.#path} is lost: ${what}`, {
      suggestions: ['Look at what the other controller does: cahier status', 'Check that the file system answers'],
      data: { why, token: this.token },
    })
  }
}

/** Who drives this run; undefined when nobody does, nobody ever did, or a power cut took the name. Reads only. */
export function readLease(directory: string): LeaseHolder | undefined {
  const path = join(directory, 'journal', 'controller.lease')
  const record = readRecord(path)
  if (record === undefined || record === 'torn' || record.holder === null) return undefined
  const { host, pid } = record.holder
  const liveness = livenessOf(record.holder)
  return { host, pid, since: record.since, isAlive: liveness === 'alive' || (liveness === 'elsewhere' && !isSilent(path, record)) }
}

/** By this machine's clock, which may differ from the file server's: good enough to show, and {@link Lease.acquire} looks closer. */
function isSilent(path: string, { leaseMs }: LeaseRecord): boolean {
  try {
    return Date.now() - freshMtime(path) > 2 * leaseMs
  } catch {
    return false
  }
}

function encode(record: LeaseRecord): string {
  return `${JSON.stringify(record)}\n`
}

/** `torn`: there is a file and no record in it. It is replaced in one step, so only a crash of the machine leaves it like that. */
function readRecord(path: string): LeaseRecord | 'torn' | undefined {
  let text: string
  try {
    text = fs.readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const { token, nonce, since, leaseMs, holder } = JSON.parse(text) as Record<string, unknown>
    if (!Number.isSafeInteger(token) || typeof nonce !== 'string' || typeof since !== 'number' || typeof leaseMs !== 'number') return 'torn'
    return { token: token as number, nonce, since, leaseMs, holder: parseIdentity(holder) ?? null }
  } catch {
    return 'torn'
  }
}

/** The tokens before are not known: one that is larger than any of them, which grew by one per holder. */
function tokenAfterLoss(now: number): number {
  return Math.max(1, Math.floor(now / 1000))
}

/** Age by the file server's clock: a file that is written now against the one that the holder renews. */
function isOver(path: string, record: LeaseRecord, holder: ProcessIdentity): boolean {
  const liveness = livenessOf(holder)
  if (liveness !== 'elsewhere') return liveness === 'dead'
  return isOlder(path, record.leaseMs)
}

function isOlder(path: string, ms: number): boolean {
  const probe = `${path}.${randomBytes(6).toString('hex')}`
  try {
    fs.writeFileSync(probe, 'now\n', { flag: 'wx', flush: true })
    return fs.statSync(probe).mtimeMs - freshMtime(path) > ms
  } finally {
    fs.rmSync(probe, { force: true })
  }
}

/** Opening is what makes a network file system ask its server. */
function freshMtime(path: string): number {
  const file = fs.openSync(path, 'r')
  try {
    return fs.fstatSync(file).mtimeMs
  } finally {
    fs.closeSync(file)
  }
}

/** Its holder, if one lives, renews it or gives up within the lease. */
function tornError(directory: string, path: string, leaseMs: number): StoreError {
  return new StoreError('E_RUN_HELD', `drive ${directory}: ${path} was damaged a moment ago, and its holder cannot be read`, {
    suggestions: [`Try again in ${Math.ceil(leaseMs / 1000)} s: when nobody has renewed it until then, the run is free`],
    data: { directory },
  })
}

function heldError(directory: string, holder: ProcessIdentity, since: number): StoreError {
  const date = new Date(since).toISOString()
  return new StoreError('E_RUN_HELD', `drive ${directory}: process ${holder.pid} on ${holder.host} has driven it since ${date}`, {
    suggestions: [`Follow it instead: cahier attach ${directory}`, `End that one first: cahier stop ${directory}`],
    data: { directory, host: holder.host, pid: holder.pid, since },
  })
}
