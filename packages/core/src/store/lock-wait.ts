import { setTimeout as delay } from 'node:timers/promises'
import { StoreError } from '../errors.js'
import type { DirectoryLock } from './directory-lock.js'

/** Tries that block the thread for fractions of a millisecond, because the lock is held for about as long. */
const SHORT_TRIES = 8
const SHORTEST_MS = 0.05
/** How often to look whether the holder still lives. */
const LOOK_EVERY_MS = 10

const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** The pauses between the tries for a lock: short ones first, then timers with jitter. Always on the machine's own clock. */
export class LockWait {
  readonly #lock: DirectoryLock
  readonly #timeoutMs: number
  readonly #path: string
  readonly #began = performance.now()
  #tries = 0
  #nextLookMs = LOOK_EVERY_MS / 2

  constructor(lock: DirectoryLock, timeoutMs: number, path: string) {
    this.#lock = lock
    this.#timeoutMs = timeoutMs
    this.#path = path
  }

  elapsedMs(): number {
    return performance.now() - this.#began
  }

  /** @throws StoreError `E_LOCK_TIMEOUT` */
  async pause(): Promise<void> {
    this.#tries++
    if (this.elapsedMs() > this.#timeoutMs) throw this.#timeout()
    const turn = this.#tries % (SHORT_TRIES + 1)
    if (turn !== 0) {
      Atomics.wait(sleeper, 0, 0, SHORTEST_MS * turn)
      return
    }
    if (this.elapsedMs() > this.#nextLookMs) {
      this.#nextLookMs = this.elapsedMs() + LOOK_EVERY_MS
      this.#lock.breakIfStale()
    }
    await delay(1 + Math.random() * 2)
  }

  #timeout(): StoreError {
    const holder = this.#lock.holder()
    const who = holder === undefined ? 'an unknown process' : `process ${holder.pid} on ${holder.host}`
    return new StoreError('E_LOCK_TIMEOUT', `wait ${this.#timeoutMs} ms for ${this.#path}: ${who} has it`, {
      suggestions: ['Check whether that process is stopped or hangs on its file system, and end it', 'Start again: nothing was written'],
      data: holder === undefined ? {} : { host: holder.host, pid: holder.pid },
    })
  }
}
