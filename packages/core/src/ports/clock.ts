/** The only source of time. Dates are wall clock milliseconds, durations are monotonic; the two are never subtracted. */
export interface Clock {
  /** Milliseconds since 1970, from the wall clock. For dates only. */
  now(): number
  /** Milliseconds from an arbitrary origin, never going back. For durations only. */
  monotonic(): number
  /** Resolves after `ms`, or rejects with the signal's reason. Never keeps the event loop alive when `unref` is true. */
  sleep(ms: number, options?: { readonly signal?: AbortSignal | undefined; readonly unref?: boolean }): Promise<void>
}
