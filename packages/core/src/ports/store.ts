/** What a caller appends: a type and JSON-safe fields. */
export interface StoreEvent {
  readonly type: string
  readonly [field: string]: unknown
}

/** An event as it stands in the log: with its sequence number (1, 2, 3…, no gap) and the wall clock of its writer. */
export type StoredEvent = StoreEvent & { readonly seq: number; readonly at: number }

/** A function that is shown every event once, in order of sequence, whoever wrote it. It must not throw. */
export type Fold = (event: StoredEvent) => void

/** What a fold can do beside looking at events. All of it is optional. */
export interface FoldOptions {
  /** The name of its part in a snapshot. Needed with `save` and `load`. */
  readonly name?: string
  /**
   * Forgets everything that was seen; the log follows again from its first event. Without it, a write that failed leaves
   * the store unusable until it is opened anew, because the fold has seen events that were never written.
   */
  readonly reset?: () => void
  /** What `load` makes the same state of again; JSON-safe. Called between two events. */
  readonly save?: () => unknown
  /** Takes what `save` gave instead of the events up to there. False when it cannot: then `reset` and all the events follow. */
  readonly load?: (saved: unknown) => boolean
}

/** What a decision wants written, and what its caller gets once that is durable. */
export interface Decision<T> {
  readonly events: readonly StoreEvent[]
  readonly value: T
}

export interface CommitOptions {
  /** Resolve only after fsync. Default true. Claims and heartbeats may pass false: they survive a kill, not a power cut. */
  readonly durable?: boolean
  readonly signal?: AbortSignal | undefined
}

/**
 * An append-only event log shared by several processes, possibly on several hosts.
 *
 * @remarks For adapters: what `transact` acknowledged is never lost, and no two writers decide on different pasts.
 */
export interface Store extends AsyncDisposable {
  /** Sequence number of the last event that the folds have seen; 0 for an empty log. */
  readonly lastSeq: number
  /** Registers a fold. Folds registered before {@link open} see the log from its first event. */
  fold(fold: Fold, options?: FoldOptions): void
  /** Reads the whole log through the folds. Throws StoreError `E_JOURNAL_DAMAGED`, `E_JOURNAL_NEWER`, `E_STORE_IO`. */
  open(options?: { readonly readOnly?: boolean; readonly signal?: AbortSignal | undefined }): Promise<void>
  /** Shows the folds what others have appended since. */
  refresh(): Promise<void>
  /**
   * Decides and appends under the lock: the folds are up to date when `decide` runs, and see its events before the next
   * decision. Decisions of one process that wait at the same time share one lock, one write and one fsync.
   * `decide` is synchronous, may be called again after a lost lock, and may throw: then nothing is written for it.
   */
  transact<T>(decide: () => Decision<T>, options?: CommitOptions): Promise<T>
  /** Appends without deciding: `transact` with constant events. Returns their sequence numbers. */
  append(events: readonly StoreEvent[], options?: CommitOptions): Promise<readonly number[]>
}
