import { startTimer } from '../util/async.js'

/** A time limit that does not run on while somebody is asked. */
export class PausableTimer {
  readonly #action: () => void
  #left: number
  #since: number
  #cancel: () => void
  #pauses = 0

  constructor(ms: number, action: () => void) {
    this.#left = ms
    this.#action = action
    this.#since = performance.now()
    this.#cancel = startTimer(ms, action)
  }

  pause(): void {
    this.#pauses += 1
    if (this.#pauses > 1) return
    this.#left -= performance.now() - this.#since
    this.#cancel()
  }

  resume(): void {
    this.#pauses -= 1
    if (this.#pauses > 0) return
    this.#since = performance.now()
    this.#cancel = startTimer(this.#left, this.#action)
  }

  stop(): void {
    this.#pauses = Number.POSITIVE_INFINITY
    this.#cancel()
  }
}
