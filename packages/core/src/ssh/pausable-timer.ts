import { startTimer } from '../util/async.js'

/** A time limit that does not run on while somebody is asked; 0: none. */
export class PausableTimer {
  readonly #action: () => void
  #left: number
  #since = 0
  #cancel = (): void => {}
  #pauses = 0
  #passed = false

  constructor(ms: number, action: () => void) {
    this.#left = ms
    this.#action = action
    if (ms <= 0) this.#pauses = Number.POSITIVE_INFINITY
    else this.#run()
  }

  /** True when the time was over. */
  get passed(): boolean {
    return this.#passed
  }

  pause(): void {
    this.#pauses += 1
    if (this.#pauses > 1) return
    this.#left -= performance.now() - this.#since
    this.#cancel()
  }

  resume(): void {
    this.#pauses -= 1
    if (this.#pauses === 0) this.#run()
  }

  stop(): void {
    this.#pauses = Number.POSITIVE_INFINITY
    this.#cancel()
  }

  #run(): void {
    this.#since = performance.now()
    this.#cancel = startTimer(this.#left, () => {
      this.#passed = true
      this.#pauses = Number.POSITIVE_INFINITY
      this.#action()
    })
  }
}
