/** The interval between questions is this part of the time since anything changed. */
const AGE_PART = 8
const LONGEST_BACKOFF_MS = 10 * 60_000

export interface Rhythm {
  readonly floorMs: number
  readonly longestMs: number
}

/** How long to wait between two questions when nothing has changed for so long. */
export function pollInterval({ floorMs, longestMs }: Rhythm, unchangedMs: number): number {
  return Math.min(Math.max(floorMs, longestMs), Math.max(floorMs, unchangedMs / AGE_PART))
}

/**
 * How long to wait after so many questions in a row without an answer (1 and more).
 *
 * @param random - from 0 to below 1: several controllers must not come back together
 */
export function backOff({ floorMs }: Rhythm, tries: number, random: number): number {
  const steps = floorMs * 2 ** Math.min(tries - 1, 30)
  return Math.max(floorMs, Math.min(LONGEST_BACKOFF_MS, steps) * (0.75 + random / 2))
}
