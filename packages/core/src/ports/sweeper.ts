/** Counts of one moment; they add up to `total`. */
export interface SweepStats {
  readonly total: number
  readonly todo: number
  readonly claimed: number
  readonly done: number
  readonly skipped: number
  readonly failed: number
  /** Finished or given up items that the present sweep no longer has; not part of `total`. */
  readonly orphaned: number
}

/** The expiring right to work on one item. Leaving its scope without a word gives the item back. */
export interface Claim<T> extends AsyncDisposable {
  readonly item: T
  /** Position of the item in the sweep. */
  readonly index: number
  /** Grows with every claim of this sweep: a later claim of the same item has a larger one. */
  readonly token: number
  /** Throws StoreError `E_CLAIM_LOST` when the lease had expired and the item went to another worker. */
  done(): Promise<void>
  skip(reason: string): Promise<void>
  fail(reason: string): Promise<void>
  /** Gives the item back. */
  cancel(): Promise<void>
}

export interface NextOptions<T> {
  /** Takes the first item in order for which this is true. */
  readonly filter?: (item: T) => boolean
  readonly signal?: AbortSignal | undefined
}

/** A persistent to-do list over the items of a sweep, shared by several workers. */
export interface Sweeper<T> extends AsyncDisposable {
  next(options?: NextOptions<T>): Promise<Claim<T> | undefined>
  nextBatch(count: number, options?: NextOptions<T>): Promise<readonly Claim<T>[]>
  stats(): SweepStats
}
