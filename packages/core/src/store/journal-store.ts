import fs from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { StoreError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { CommitOptions, Decision, Fold, FoldOptions, Store, StoreEvent } from '../ports/store.js'
import { DirectoryLock } from './directory-lock.js'
import { fileSystemOf } from './file-system.js'
import { FoldSet } from './fold-set.js'
import { JournalLog, type TailRecovery } from './journal-log.js'
import { LockWait } from './lock-wait.js'
import { storeError } from './store-error.js'

export interface JournalStoreOptions {
  readonly clock?: Clock
  readonly log?: Logger
  /** How long to wait for others before `E_LOCK_TIMEOUT`. Default 60 s. */
  readonly lockTimeoutMs?: number
  /** After this long the lock of a holder on another host counts as abandoned. Default 30 s. */
  readonly lockLeaseMs?: number
  /** Write as if other hosts wrote here too. Default: what the file system says. */
  readonly shared?: boolean
}

/** One call of `transact` that waits for its turn. */
interface Waiting {
  readonly decide: () => Decision<unknown>
  readonly durable: boolean
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  aborted: boolean
}
interface Decided {
  readonly waiting: Waiting
  readonly value: unknown
  readonly wrote: boolean
}

/** Bounds of one group, so that nobody holds the lock for long. */
const GROUP_BYTES = 1 << 20
const GROUP_MS = 50
/** A snapshot each so many events, and at the end when there were at least so many. */
const SNAPSHOT_EVERY = 250_000
const SNAPSHOT_AT_END = 20_000

/**
 * The journal of a run directory (or of a shared sweep's folder): `<directory>/journal/events.jsonl` and what belongs to it.
 *
 * @remarks Any number of instances, in one process or on several hosts, may be open on one directory.
 */
export class JournalStore implements Store {
  /** `<directory>/journal`: a place for files that belong to the journal. */
  readonly journalDirectory: string
  readonly #directory: string
  readonly #options: JournalStoreOptions
  readonly #folds = new FoldSet()
  #log: JournalLog | undefined
  #lock: DirectoryLock | undefined
  #readOnly = false
  #queue: Waiting[] = []
  #pump: Promise<void> | undefined
  #runningSync: Promise<void> = Promise.resolve()
  #nextSync: Promise<void> | undefined
  /** Why this instance can do nothing more. */
  #broken: StoreError | undefined
  #probeFirst = false
  #snapshotSeq = 0
  #longestLockWaitMs = 0

  constructor(directory: string, options: JournalStoreOptions = {}) {
    this.#directory = directory
    this.#options = options
    this.journalDirectory = join(directory, 'journal')
  }

  get lastSeq(): number {
    return Math.max(0, this.#log?.position.seq ?? 0)
  }

  /** Random name of this journal. */
  get id(): string {
    return this.#open().id
  }

  /** What was done about the end of the journal when it was opened, or later. */
  get recovery(): TailRecovery | undefined {
    return this.#log?.recovery
  }

  /** The longest time that a group of this instance waited for the lock. */
  get longestLockWaitMs(): number {
    return this.#longestLockWaitMs
  }

  fold(fold: Fold, options?: FoldOptions): void {
    this.#folds.add(fold, options)
  }

  async open({ readOnly = false, signal }: { readonly readOnly?: boolean; readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    signal?.throwIfAborted()
    this.#readOnly = readOnly
    const path = join(this.journalDirectory, 'events.jsonl')
    if (readOnly && !fs.existsSync(path)) {
      throw new StoreError('E_RUN_DIRECTORY', `read the journal of ${this.#directory}: there is no ${path}`, {
        suggestions: ['Name the directory of a run: it holds a folder "journal"'],
        data: { directory: this.#directory },
      })
    }
    if (!readOnly) this.#makeDirectory()
    const shared = this.#options.shared ?? fileSystemOf(this.journalDirectory).shared
    if (shared) this.#options.log?.debug({ fileSystem: fileSystemOf(this.journalDirectory).name }, 'the journal is on a shared file system')
    const log = new JournalLog(this.#directory, this.#folds, { shared, now: () => this.#now(), log: this.#options.log })
    log.read(readOnly)
    if (!readOnly) {
      const leaseMs = this.#options.lockLeaseMs
      this.#lock = new DirectoryLock(join(this.journalDirectory, 'lock'), { shared, ...(leaseMs === undefined ? {} : { leaseMs }) })
    }
    this.#log = log
    this.#snapshotSeq = log.snapshotSeq
    await this.refresh()
    signal?.throwIfAborted()
  }

  async refresh(): Promise<void> {
    if (this.#readOnly) await this.#open().readAgain()
    else await this.transact(() => ({ events: [], value: undefined }), { durable: false })
  }

  transact<T>(decide: () => Decision<T>, { durable = true, signal }: CommitOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#open()
      if (this.#readOnly) throw new StoreError('E_STORE_IO', `write to ${this.#directory}: the journal was opened for reading only`)
      signal?.throwIfAborted()
      const onAbort = (): void => {
        waiting.aborted = true
        reject(signal?.reason)
      }
      const forget = (): void => signal?.removeEventListener('abort', onAbort)
      const waiting: Waiting = {
        decide,
        durable,
        aborted: false,
        resolve: (value) => {
          forget()
          resolve(value as T)
        },
        reject: (error) => {
          forget()
          reject(error)
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#queue.push(waiting)
      this.#pump ??= this.#run()
    })
  }

  append(events: readonly StoreEvent[], options?: CommitOptions): Promise<readonly number[]> {
    return this.transact(() => ({ events, value: events.map((_, i) => this.lastSeq + 1 + i) }), options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pump
    await this.#nextSync?.catch(() => undefined)
    await this.#runningSync.catch(() => undefined)
    const log = this.#log
    this.#log = undefined
    if (log === undefined) return
    try {
      if (!this.#readOnly && this.#broken === undefined) {
        if (log.position.seq - this.#snapshotSeq >= SNAPSHOT_AT_END) log.snapshot()
        else log.markHead()
      }
    } catch {
      // both only make the next opening faster or better informed; a full disk must not hide what was being done
    }
    log.close()
    this.#lock?.dispose()
  }

  /** Works until nobody waits. Calls made in the same turn of the event loop share the first group. */
  async #run(): Promise<void> {
    await Promise.resolve()
    try {
      while (this.#queue.length > 0) await this.#nextGroup()
    } finally {
      this.#pump = undefined
    }
  }

  async #nextGroup(): Promise<void> {
    const lock = this.#lock!
    const wait = new LockWait(lock, this.#options.lockTimeoutMs ?? 60_000, join(this.journalDirectory, 'lock'))
    let decided: readonly Decided[] = []
    try {
      if (this.#broken !== undefined) throw this.#broken
      while (!lock.tryAcquire()) {
        await wait.pause()
        this.#queue = this.#queue.filter((waiting) => !waiting.aborted)
        if (this.#queue.length === 0) return
      }
      // No await from here to the release: the lock is never held across a turn of the event loop.
      this.#longestLockWaitMs = Math.max(this.#longestLockWaitMs, wait.elapsedMs())
      try {
        decided = this.#commit(lock)
      } finally {
        lock.release()
      }
    } catch (error) {
      this.#rejectAll(storeError(error, 'write to the journal of', this.#directory))
      return
    }
    this.#acknowledge(decided)
    if (this.#open().position.seq - this.#snapshotSeq >= SNAPSHOT_EVERY) await this.#takeSnapshot()
    // a long queue must not keep timers and sockets waiting
    if (this.#queue.length > 0) await nextTurn()
  }

  /** Under the lock: catches up, decides, writes. */
  #commit(lock: DirectoryLock): readonly Decided[] {
    const log = this.#open()
    log.catchUp()
    if (this.#probeFirst) log.probe()
    this.#probeFirst = false
    const decided: Decided[] = []
    const group = log.begin()
    const began = performance.now()
    const taken: Waiting[] = []
    try {
      while (this.#queue.length > taken.length && group.bytes < GROUP_BYTES) {
        if (taken.length % 64 === 63 && performance.now() - began > GROUP_MS) break
        const waiting = this.#queue[taken.length]!
        taken.push(waiting)
        if (waiting.aborted) continue
        let lines: ReturnType<typeof group.encode>
        let value: unknown
        try {
          const decision = waiting.decide()
          lines = group.encode(decision.events)
          value = decision.value
        } catch (error) {
          waiting.reject(error)
          // the group may be decided once more, and this one has its answer
          waiting.aborted = true
          continue
        }
        group.add(lines)
        decided.push({ waiting, value, wrote: lines.length > 0 })
      }
      if (group.bytes > 0 && !lock.isHeld()) throw new LostLock()
      group.write()
    } catch (error) {
      this.#rebuild(log)
      // the decisions were made on a past that is no more: they are made again
      if (error instanceof LostLock) return []
      this.#probeFirst = true
      const failure = storeError(error, 'append to', log.path)
      for (const { waiting } of decided) waiting.reject(failure)
      this.#queue.splice(0, taken.length)
      return []
    }
    this.#queue.splice(0, taken.length)
    return decided
  }

  /** The folds saw events that were never written. */
  #rebuild(log: JournalLog): void {
    if (this.#folds.resettable) {
      log.rebuild()
      return
    }
    this.#broken = new StoreError('E_STORE_IO', `${log.path}: an earlier write failed; open the journal again`, {
      suggestions: ['Start the command again once the disk has room'],
    })
  }

  #acknowledge(decided: readonly Decided[]): void {
    const durable: Decided[] = []
    for (const entry of decided) {
      if (entry.wrote && entry.waiting.durable) durable.push(entry)
      else entry.waiting.resolve(entry.value)
    }
    if (durable.length === 0) return
    this.#sync().then(
      () => {
        for (const { waiting, value } of durable) waiting.resolve(value)
      },
      (error: unknown) => {
        for (const { waiting } of durable) waiting.reject(error)
      },
    )
  }

  /** One sync runs at a time; who comes meanwhile shares the next one. */
  #sync(): Promise<void> {
    if (this.#nextSync !== undefined) return this.#nextSync
    const next = this.#runningSync
      .catch(() => undefined)
      .then(() => {
        this.#nextSync = undefined
        this.#runningSync = this.#syncNow()
        return this.#runningSync
      })
    this.#nextSync = next
    return next
  }

  async #syncNow(): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken
    try {
      await this.#open().sync()
    } catch (error) {
      // the kernel forgets the pages that it could not write: a second sync would succeed without them
      this.#broken = storeError(error, 'bring to the disk', this.#open().path)
      throw this.#broken
    }
  }

  async #takeSnapshot(): Promise<void> {
    this.#snapshotSeq = this.#open().position.seq
    try {
      await this.#sync()
      this.#open().snapshot()
    } catch (error) {
      this.#options.log?.warn({ error }, 'no snapshot of the journal could be written')
    }
  }

  #rejectAll(error: StoreError): void {
    const all = this.#queue
    this.#queue = []
    for (const waiting of all) waiting.reject(error)
  }

  #open(): JournalLog {
    if (this.#log === undefined) throw new StoreError('E_STORE_IO', `the journal of ${this.#directory} is not open`)
    return this.#log
  }

  #makeDirectory(): void {
    try {
      fs.mkdirSync(this.journalDirectory, { recursive: true })
    } catch (cause) {
      const { code, message } = storeError(cause, 'make', this.journalDirectory)
      throw new StoreError(code === 'E_STORE_FULL' ? code : 'E_RUN_DIRECTORY', message, { cause, data: { directory: this.#directory } })
    }
  }

  #now(): number {
    return this.#options.clock?.now() ?? Date.now()
  }
}

/** Another host took the lock while this process stood still. */
class LostLock extends Error {}
