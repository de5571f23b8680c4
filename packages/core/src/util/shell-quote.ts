import { ConfigError } from '../errors.js'

const PLAIN = /^[A-Za-z0-9_./:@%+,-]+$/

/**
 * Writes a value as one word of a POSIX shell line: the program that the line starts receives the identical bytes.
 *
 * A word that needs no quotes is returned as it is; a word that begins with a dash is one word still, and it is for the
 * line's author to put `--` before it.
 *
 * @throws ConfigError `E_ARGUMENT` when the value holds a NUL character, which no argument can
 */
export function shellQuote(value: string): string {
  if (value.includes('\0')) {
    throw new ConfigError('E_ARGUMENT', `A shell word cannot hold a NUL character: ${JSON.stringify(value.slice(0, 200))}`, {
      suggestions: ['Write the value to a file and give the name of the file'],
    })
  }
  return PLAIN.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`
}
