/** A level: a JSON value. NaN, infinities, -0 and big integers are allowed and have a stated encoding in canonical JSON. */
export type Level = string | number | bigint | boolean | null | readonly Level[] | { readonly [key: string]: Level }

/** One member of a sweep: factor name to level. Frozen; key order does not count for identity. */
export type Combination = Readonly<Record<string, Level>>

/** Combination and repetition: what is run once. `repetition` counts from 1. */
export interface WorkItem<C extends Combination = Combination> {
  readonly combination: C
  readonly repetition: number
}
