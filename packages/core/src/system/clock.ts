import type { Clock } from '../ports/clock.js'

/** The longest delay that Node's timers take; a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The machine's own clocks. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, { signal, unref = false } = {}) {
    signal?.throwIfAborted()
    let left = Math.max(0, ms)
    do {
      const part = Math.min(left, LONGEST_TIMER_MS)
      await timer(part, signal, unref)
      left -= part
    } while (left > 0)
  },
}

function timer(ms: number, signal: AbortSignal | undefined, unref: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(handle)
      reject(signal?.reason)
    }
    const handle = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    if (unref) handle.unref()
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
