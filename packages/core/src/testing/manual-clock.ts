import type { Clock } from '../ports/clock.js'

export interface ManualClockOptions {
  /** Where the wall clock begins, in milliseconds since 1970. Default: the first second of 2026, UTC. */
  readonly now?: number
  /** True: time passes by itself as soon as everything waits, so that no test does. Default false: only {@link ManualClock.advance} moves it. */
  readonly eager?: boolean
}

interface Sleeper {
  readonly due: number
  readonly wake: () => void
}

/**
 * A clock that a test moves.
 *
 * @example
 * const clock = new ManualClock()
 * const waiting = poll({ clock })
 * await clock.advance(30_000)
 */
export class ManualClock implements Clock {
  readonly #eager: boolean
  #now: number
  #monotonic = 0
  /** In order of their ends; of equal ends the first to come is first. */
  #sleepers: Sleeper[] = []

  constructor({ now = Date.UTC(2026, 0, 1), eager = false }: ManualClockOptions = {}) {
    this.#now = now
    this.#eager = eager
  }

  /** How many sleeps have not ended. */
  get sleeping(): number {
    return this.#sleepers.length
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#monotonic
  }

  sleep(ms: number, { signal }: { readonly signal?: AbortSignal | undefined; readonly unref?: boolean } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const onAbort = (): void => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper)
        reject(signal?.reason)
      }
      const sleeper: Sleeper = {
        due: this.#monotonic + Math.max(0, ms),
        wake: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      const after = this.#sleepers.findIndex((other) => other.due > sleeper.due)
      this.#sleepers.splice(after < 0 ? this.#sleepers.length : after, 0, sleeper)
      if (this.#eager) setImmediate(() => this.#wakeNext(Number.POSITIVE_INFINITY))
    })
  }

  /** Lets time pass. Each sleep that ends within it sees the moment of its own end, and what it starts is run before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms
    await turn()
    while (this.#wakeNext(end)) await turn()
    this.#move(end)
  }

  /** Sets the wall clock, as a person or a time server does; durations are not touched. */
  setWallClock(now: number): void {
    this.#now = now
  }

  #wakeNext(end: number): boolean {
    const [first] = this.#sleepers
    if (first === undefined || first.due > end) return false
    this.#sleepers.shift()
    this.#move(first.due)
    first.wake()
    return true
  }

  #move(to: number): void {
    if (to <= this.#monotonic) return
    this.#now += to - this.#monotonic
    this.#monotonic = to
  }
}

/** Until what is ready to run has run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
