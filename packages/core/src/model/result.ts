import type { Combination } from './combination.js'

/** One attempt that counts: its place in the sweep, its results and how it ran. */
export interface ResultRecord {
  readonly id: string
  readonly combination: Combination
  readonly repetition: number
  readonly attempt: number
  /** Checked by the campaign's schema. */
  readonly values: Readonly<Record<string, unknown>>
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  readonly host: string | undefined
}
