/** A time limit that does not run on while somebody is asked. */
export class PausableTimer {
  readonly #action: () => void
  #left: number
  #since: number
  #timer: NodeJS.Timeout | undefined
  #pauses = 0

  constructor(ms: number, action: () => void) {
    this.#left = ms
    this.#action = action
    this.#since = performance.now()
    this.#timer = setTimeout(action, ms)
  }

  pause(): void {
    this.#pauses += 1
    if (this.#pauses > 1) return
    this.#left -= performance.now() - this.#since
    clearTimeout(this.#timer)
  }

  resume(): void {
    this.#pauses -= 1
    if (this.#pauses > 0) return
    this.#since = performance.now()
    this.#timer = setTimeout(this.#action, Math.max(0, this.#left))
  }

  stop(): void {
    this.#pauses = Number.POSITIVE_INFINITY
    clearTimeout(this.#timer)
  }
}
