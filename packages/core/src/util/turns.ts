import { setImmediate as turn } from 'node:timers/promises'

/** So long one works without waiting before others have their turn. */
const TURN_MS = 10

/** For work that never waits by itself, and may take long. */
export class Turns {
  #since = performance.now()

  /**
   * To be awaited now and then.
   *
   * @param signal - is looked at when others have had their turn
   * @returns undefined when it is not time
   * @throws the reason of the signal
   */
  pause(signal?: AbortSignal): Promise<void> | undefined {
    if (performance.now() - this.#since < TURN_MS) return undefined
    return turn().then(() => {
      signal?.throwIfAborted()
      this.#since = performance.now()
    })
  }
}
