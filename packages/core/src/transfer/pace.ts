import { setTimeout as pause } from 'node:timers/promises'

/** So much may pass at once after a rest. */
const BURST_MS = 100

/** Bounds the bytes per second of everything that asks it: one for a transfer, shared by its hosts. Without a limit it never waits. */
export class Pace {
  readonly bytesPerSecond: number | undefined
  /** When what was granted so far would have passed at the limit, in milliseconds of the monotonic clock. */
  #free = 0

  constructor(bytesPerSecond?: number) {
    this.bytesPerSecond = bytesPerSecond
  }

  /** Resolves when the bytes may pass. @throws the reason of the signal */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    if (this.bytesPerSecond === undefined) return
    const now = performance.now()
    this.#free = Math.max(this.#free, now - BURST_MS) + (bytes / this.bytesPerSecond) * 1000
    const wait = this.#free - now
    if (wait > 0) await pause(wait, undefined, { signal })
  }
}
