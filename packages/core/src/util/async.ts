/** A promise with its two ends outside, which Node 20 lacks. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T | PromiseLike<T>) => void
  readonly reject: (reason: unknown) => void
}

export function makeDeferred<T>(): Deferred<T> {
  let resolve!: Deferred<T>['resolve']
  let reject!: Deferred<T>['reject']
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue
    reject = onError
  })
  return { promise, resolve, reject }
}

/** Node's timers fire at once beyond this. */
const LONGEST_TIMER = 2_147_483_647

/** `setTimeout` for any number of milliseconds. Returns what cancels it. */
export function startTimer(ms: number, action: () => void): () => void {
  let timer: NodeJS.Timeout
  const arm = (left: number): void => {
    timer = left > LONGEST_TIMER ? setTimeout(() => arm(left - LONGEST_TIMER), LONGEST_TIMER) : setTimeout(action, Math.max(0, left))
  }
  arm(ms)
  return () => clearTimeout(timer)
}

/**
 * Waits for `promise` at most `ms`.
 *
 * @returns true when it settled, false when the time ended first
 */
export async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let cancel: (() => void) | undefined
  const late = new Promise<false>((resolve) => {
    cancel = startTimer(ms, () => resolve(false))
  })
  try {
    return await Promise.race([
      promise.then(
        () => true,
        () => true,
      ),
      late,
    ])
  } finally {
    cancel?.()
  }
}

/** A call, because the compiler takes a property that was false once to be false for ever. */
export function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}
