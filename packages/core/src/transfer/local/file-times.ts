/** Some 280,000 years: what every language takes for a whole number, and writes without an exponent. */
const LARGEST = 9_000_000_000_000_000_000n

/** The time of a change in microseconds since 1970, rounded down, also before 1970. */
export function microsecondsOf(nanoseconds: bigint): number {
  const whole = nanoseconds / 1000n
  const rounded = nanoseconds < 0n && whole * 1000n !== nanoseconds ? whole - 1n : whole
  return Number(rounded > LARGEST ? LARGEST : rounded < -LARGEST ? -LARGEST : rounded)
}

/**
 * What `utimes` and its kin are given for a time.
 *
 * A text, because Node takes a negative number for "now"; half a microsecond more, because a double does not hold each microsecond
 * exactly, and what is behind the last one is cut off, towards 1970.
 *
 * @source Node 20.20 `fs.utimes` (`toUnixTimestamp`), libuv 1.46 `uv__fs_to_timespec`
 */
export function utimesArgument(microseconds: number): string {
  return String((microseconds + (microseconds < 0 ? -0.5 : 0.5)) / 1e6)
}
