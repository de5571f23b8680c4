import { ConfigError } from './errors.js'
import { nearestName } from './util/nearest.js'

/** Durations in milliseconds and sizes in bytes, read from text with units. What is rounded is rounded up: never less than was asked. */

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const DURATION_UNITS: Readonly<Record<string, number>> = unitTable([
  [1, 'ms millisecond milliseconds'],
  [SECOND, 's sec second seconds'],
  [MINUTE, 'm min minute minutes'],
  [HOUR, 'h hour hours'],
  [DAY, 'd day days'],
  [7 * DAY, 'w week weeks'],
])

/** A letter alone is binary, as in `sbatch --mem=4G`. */
const SIZE_UNITS: Readonly<Record<string, number>> = unitTable([
  [1, 'B'],
  [1e3, 'kB KB'],
  [1e6, 'MB'],
  [1e9, 'GB'],
  [1e12, 'TB'],
  [1e15, 'PB'],
  [2 ** 10, 'KiB k K'],
  [2 ** 20, 'MiB M'],
  [2 ** 30, 'GiB G'],
  [2 ** 40, 'TiB T'],
  [2 ** 50, 'PiB P'],
])

/**
 * Reads a duration: `90s`, `1h30m`, `10min`, `1.5h`, `2d`, `250ms`, `02:00:00` (hours, minutes, seconds), `1-02:00:00` and
 * `1-02:00` (days before the dash).
 *
 * @returns milliseconds, rounded up
 * @throws ConfigError `E_UNIT`: no unit, an unknown unit, or `10:30`, which some schedulers read as minutes and some as hours
 */
export function parseDuration(text: string): number {
  if (typeof text !== 'string') throw withoutUnit('duration', text, [`${String(text)}s`, `${String(text)}min`])
  const trimmed = text.trim()
  const clock = /^(?:(\d{1,6})-)?(\d{1,6})(?::(\d{1,2}))?(?::(\d{1,2}(?:\.\d{1,9})?))?$/.exec(trimmed)
  if (clock && (clock[1] !== undefined || clock[3] !== undefined)) return parseClock(text, clock)
  return readQuantities('duration', text, DURATION_UNITS, ['90s', '10min', '1h30m', '2d', '02:00:00'])
}

/**
 * Reads a size: `500MB` is 500 × 10^6 bytes, `4GiB` is 4 × 2^30; a letter without B is binary, `4G` = `4GiB`, as schedulers
 * mean it.
 *
 * @returns bytes, rounded up
 * @throws ConfigError `E_UNIT`
 */
export function parseSize(text: string): number {
  if (typeof text !== 'string') throw withoutUnit('size', text, [`${String(text)}MB`, `${String(text)}GiB`])
  return readQuantities('size', text, SIZE_UNITS, ['500MB', '4GiB'], 1)
}

/** Reads a size like {@link parseSize}, in MiB, rounded up. */
export function parseSizeMiB(text: string): number {
  return Math.ceil(parseSize(text) / 2 ** 20)
}

/** Writes milliseconds so that {@link parseDuration} reads the same: `1h30min`, `250ms`, `0s`. A fraction of a millisecond is rounded up. */
export function formatDuration(ms: number): string {
  const whole = wholeNumber(ms, 'a duration')
  let rest = whole
  let text = ''
  for (const [unit, length] of [
    ['d', DAY],
    ['h', HOUR],
    ['min', MINUTE],
    ['s', SECOND],
    ['ms', 1],
  ] as const) {
    const count = Math.floor(rest / length)
    if (count > 0) text += `${count}${unit}`
    rest -= count * length
  }
  return text === '' ? '0s' : text
}

/** Writes milliseconds as `HH:MM:SS`, hours without end: the form of a walltime that every scheduler reads. Rounded up to a second. */
export function formatClockTime(ms: number): string {
  const seconds = Math.ceil(wholeNumber(ms, 'a duration') / SECOND)
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  return parts.map((part) => String(part).padStart(2, '0')).join(':')
}

/** Writes bytes so that {@link parseSize} reads the same: the shortest exact one of `4GiB`, `500MB`, `1234B`. */
export function formatSize(bytes: number): string {
  const whole = wholeNumber(bytes, 'a size')
  let best = `${whole}B`
  if (whole === 0) return best
  for (const unit of ['kB', 'MB', 'GB', 'TB', 'PB', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']) {
    const factor = SIZE_UNITS[unit]!
    const digits = String(whole / factor)
    if (whole % factor === 0 && digits.length < best.length - unit.length + 1) best = digits + unit
  }
  return best
}

/** Writes bytes for people, rounded, in powers of ten: `512 B`, `1.5 kB`, `100 MB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const
  let value = Math.max(0, bytes)
  let step = 0
  // 999.6 would be written as 1000.
  while (value >= 999.5 && step < units.length - 1) {
    value /= 1000
    step++
  }
  const digits = step > 0 && value < 9.95 ? value.toFixed(1).replace(/\.0$/, '') : String(Math.round(value))
  return `${digits} ${units[step]}`
}

function parseClock(text: string, [, days, first, second, third]: RegExpExecArray): number {
  if (days === undefined && third === undefined) {
    throw new ConfigError('E_UNIT', `the duration ${JSON.stringify(text)} can mean hours and minutes or minutes and seconds`, {
      suggestions: [`Write "${first}:${second}:00" or "${first}h${second}min"`, `Write "00:${first}:${second}" or "${first}min${second}s"`],
      data: { text },
    })
  }
  const minutes = Number(second ?? 0)
  const ms = divideUp(...decimal(third ?? '0', SECOND))
  if (minutes > 59 || Number(third ?? 0) >= 60 || (days !== undefined && Number(first) > 23)) {
    throw unreadable('duration', text, 'minutes and seconds go up to 59, hours after days up to 23', ['1-02:00:00', '36:00:00'])
  }
  return checkSafe('duration', text, Number(days ?? 0) * DAY + Number(first) * HOUR + minutes * MINUTE + ms)
}

/** Reads `1h30m`: numbers with units, larger units first, each at most once. */
function readQuantities(
  what: string,
  text: string,
  units: Readonly<Record<string, number>>,
  examples: readonly string[],
  most = Infinity,
): number {
  const trimmed = text.trim()
  if (/^\d+(\.\d+)?$/.test(trimmed)) throw withoutUnit(what, text, examples)
  const pattern = /\s*(\d{1,30}(?:\.\d{1,30})?)\s*([A-Za-z]+)/y
  let numerator = 0n
  let denominator = 1n
  let previous = Infinity
  let count = 0
  while (pattern.lastIndex < trimmed.length) {
    const match = pattern.exec(trimmed)
    if (!match || count >= most) throw unreadable(what, text, 'it is not a number with a unit', examples)
    const [, digits = '', word = ''] = match
    const unit = Object.hasOwn(units, word) ? units[word]! : undefined
    if (unit === undefined) {
      const near = nearestName(word, Object.keys(units))
      throw unreadable(what, text, `there is no unit ${JSON.stringify(word)}`, near === undefined ? examples : [digits + near])
    }
    if (unit >= previous) throw unreadable(what, text, 'larger units come first and each of them once', examples)
    previous = unit
    const [top, bottom] = decimal(digits, unit)
    // Exact fractions: 1.1s is 1100 ms, not 1101 for the noise of a multiplication.
    numerator = numerator * bottom + top * denominator
    denominator *= bottom
    count++
  }
  if (count === 0) throw unreadable(what, text, 'it is empty', examples)
  return checkSafe(what, text, divideUp(numerator, denominator))
}

/** `1.25` × unit as an exact fraction. */
function decimal(digits: string, unit: number): [bigint, bigint] {
  const [whole = '0', fraction = ''] = digits.split('.')
  return [BigInt(whole + fraction) * BigInt(unit), 10n ** BigInt(fraction.length)]
}

function divideUp(numerator: bigint, denominator: bigint): number {
  return Number((numerator + denominator - 1n) / denominator)
}

function checkSafe(what: string, text: string, value: number): number {
  if (!Number.isSafeInteger(value)) throw unreadable(what, text, 'it is too large', [])
  return value
}

function wholeNumber(value: number, what: string): number {
  const whole = Math.ceil(value)
  if (Number.isSafeInteger(whole) && whole >= 0) return whole + 0
  throw new ConfigError('E_UNIT', `${what} of ${value} cannot be written`)
}

function unitTable(rows: readonly (readonly [number, string])[]): Record<string, number> {
  return Object.fromEntries(rows.flatMap(([factor, names]) => names.split(' ').map((name) => [name, factor])))
}

function withoutUnit(what: string, value: unknown, examples: readonly string[]): ConfigError {
  return new ConfigError('E_UNIT', `the ${what} ${JSON.stringify(value) ?? String(value)} has no unit`, {
    suggestions: [`Say which unit is meant: ${examples.join(', ')}`],
    data: { value: String(value) },
  })
}

function unreadable(what: string, text: string, why: string, examples: readonly string[]): ConfigError {
  return new ConfigError('E_UNIT', `the ${what} ${JSON.stringify(text.slice(0, 200))} cannot be read: ${why}`, {
    suggestions: examples.length === 0 ? [] : [`Write it like ${examples.join(', ')}`],
    data: { text: text.slice(0, 200) },
  })
}
