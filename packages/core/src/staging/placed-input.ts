/** A file that every job of a run gets. */
export interface PlacedInput {
  /** In the job's directory. */
  readonly name: string
  /** Absolute, on this machine. */
  readonly path: string
  readonly bytes: number
}

/** Larger files are linked to the one that the run or the site keeps, which nobody may write to; smaller ones are copied. */
export const LINKED_FROM_BYTES = 1 << 20
