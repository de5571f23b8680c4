import { ConfigError } from '../errors.js'

const HALF_PAIR = /\p{Surrogate}/u

/**
 * The text of a value as a program reads it: text as it is, numbers in their shortest form, `true` and `false`, nothing for
 * null, JSON for lists and maps.
 *
 * @throws ConfigError `E_TEMPLATE_UNSAFE` for text that no file or argument can hold: a NUL character, half a surrogate pair
 */
export function textOfValue(value: unknown): string {
  const text = plainText(value)
  if (text.includes('\0') || HALF_PAIR.test(text)) {
    const what = text.includes('\0') ? 'a NUL character' : 'half a surrogate pair'
    throw new ConfigError('E_TEMPLATE_UNSAFE', `A value holds ${what}, which no argument can: ${JSON.stringify(text.slice(0, 100))}`, {
      suggestions: ['Write the value to a file and give the name of the file'],
    })
  }
  return text
}

function plainText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'object') return jsonTextOf(value)
  return scalarText(value)
}

function scalarText(value: unknown): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

/** JSON as Python and JavaScript read it: big integers by their digits, `NaN` and `Infinity` as words. */
export function jsonTextOf(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map((item) => jsonTextOf(item)).join(',')}]`
  if (typeof value === 'object') {
    const fields = Object.entries(value)
    return `{${fields.map(([key, item]) => `${JSON.stringify(key)}:${jsonTextOf(item)}`).join(',')}}`
  }
  return scalarText(value)
}
