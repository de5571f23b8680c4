import { type Deferred, makeDeferred } from '../../util/async.js'

/** Lets everybody through in the order of their numbers, when all are there or have said that they will not come. */
export class Gate {
  readonly #missing: Set<number>
  readonly #waiting = new Map<number, Deferred<void>>()

  constructor(numbers: Iterable<number>) {
    this.#missing = new Set(numbers)
  }

  async enter(number: number): Promise<void> {
    const turn = makeDeferred<void>()
    this.#waiting.set(number, turn)
    this.pass(number)
    await turn.promise
  }

  /** This one is not waited for. */
  pass(number: number): void {
    this.#missing.delete(number)
    if (this.#missing.size > 0) return
    const waiting = [...this.#waiting].sort(([a], [b]) => a - b)
    this.#waiting.clear()
    // When also the last one waits: who waits is woken in this order.
    queueMicrotask(() => {
      for (const [, turn] of waiting) turn.resolve()
    })
  }
}
