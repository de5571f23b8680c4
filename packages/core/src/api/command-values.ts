import { ConfigError } from '../errors.js'
import { fillShell } from '../template/shell-fill.js'
import { nearestName } from '../util/nearest.js'
import { textOfValue } from '../util/value-text.js'
import { Host } from './host.js'

/**
 * What stands at one place of a command: a list, of which each host takes the entry of its own position (begun again from the
 * front when there are more hosts), a function of host and position, or one value for all.
 */
export type CommandValue =
  | readonly unknown[]
  | ((host: Host, index: number) => unknown)
  | string
  | number
  | bigint
  | boolean
  | RawText
  | Host

export type CommandValues = Readonly<Record<string, CommandValue>>

/** Text that is pasted into a shell line as it is. */
export class RawText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/**
 * Marks shell text that a command takes as it is, instead of a value that is one word whatever it holds. Never do this with text
 * from elsewhere: it is run.
 *
 * ```ts
 * const values = { what: [raw('uname -a'), raw('df -h | tail -1')] }
 * ```
 */
export function raw(text: string): RawText {
  return new RawText(text)
}

type Part = string | { readonly name: string }

/** Where the values of a command go. */
export interface CommandPlaces {
  readonly command: string | readonly string[]
  /** Of a string the one text, of a list one text for each word. */
  readonly texts: readonly (readonly Part[])[]
}

/** Left to right: the escape, the two forms of the host, a brace that belongs to the shell (`${{{n}}}`), a place, and what is none. */
const PLACE = /\{\{\{\{|\{\{\{\s*host\s*\}\}\}|\{(?=\{\{)|\{\{\s*([A-Za-z_][\w-]*)\s*\}\}|\{\{/g

/**
 * Finds the places `{{name}}` of a command. `{{host}}` (also `{{{host}}}`) is the address of the host; `{{{{` stands for `{{`.
 *
 * @throws ConfigError `E_ARGUMENT` for a name without values, with the nearest that has some; for what looks like a place and is
 * none (nothing is evaluated); for values that are no list, function or plain value
 */
export function parseCommand(command: string | readonly string[], values: CommandValues): CommandPlaces {
  checkValues(values)
  const texts = (typeof command === 'string' ? [command] : command).map((text) => parseText(text, values))
  return { command, texts }
}

export function checkValues(values: CommandValues): void {
  for (const [name, value] of Object.entries(values)) checkValue(name, value)
}

/**
 * A text with places that no shell reads, as the name of a file: what comes in is put in as it is.
 *
 * @param what - for messages: `the command`
 * @returns the text of one host
 * @throws ConfigError as {@link parseCommand}
 */
export function parseWord(text: string, values: CommandValues, what: string): (host: Host, index: number) => string {
  const parts = parseText(text, values, what)
  return (host, index) =>
    parts
      .map((part) =>
        typeof part === 'string' ? part : textOf(part.name === 'host' ? host.address : pick(part.name, values[part.name], host, index)),
      )
      .join('')
}

function parseText(text: string, values: CommandValues, what = 'the command'): Part[] {
  const parts: Part[] = []
  let at = 0
  for (const found of text.matchAll(PLACE)) {
    parts.push(text.slice(at, found.index))
    at = found.index + found[0].length
    const [token, name] = found
    if (token === '{{{{') parts.push('{{')
    else if (token === '{') parts.push('{')
    else if (token === '{{') refuseText(text, found.index, what)
    else parts.push({ name: checkName(name ?? 'host', values, what) })
  }
  parts.push(text.slice(at))
  return parts.filter((part) => part !== '')
}

function checkName(name: string, values: CommandValues, what: string): string {
  if (name === 'host' || Object.hasOwn(values, name)) return name
  const names = [...Object.keys(values), 'host']
  const near = nearestName(name, names)
  throw new ConfigError('E_ARGUMENT', `${what} has a place {{${name}}}, for which there are no values`, {
    suggestions: [
      near === undefined ? `Give values: { ${name}: […] }; known here: ${names.join(', ')}` : `Did you mean {{${near}}}?`,
      `Write {{{{ for two braces that ${what} shall hold`,
    ],
    data: { known: names },
  })
}

function refuseText(text: string, at: number, what: string): never {
  throw new ConfigError('E_ARGUMENT', `${JSON.stringify(text.slice(at, at + 60))} in ${what} is no place for a value, {{name}}`, {
    suggestions: [
      `Write {{{{ for two braces that ${what} shall hold`,
      'Give what is to be computed as a function: values: { name: (host, index) => … }',
    ],
  })
}

function checkValue(name: string, value: unknown): void {
  const wrong = (what: string): never => {
    throw new ConfigError('E_ARGUMENT', `the values of {{${name}}} are ${what}`, {
      suggestions: ['Give a list, a function (host, index) => value, or one text or number for all hosts'],
    })
  }
  if (name === 'host') wrong('given, but {{host}} is the address of the host')
  if (Array.isArray(value)) {
    if (value.length === 0) wrong('an empty list')
  } else if (value === null || value === undefined) wrong(String(value))
  else if (typeof value === 'object' && !(value instanceof RawText) && !(value instanceof Host)) wrong('an object')
  else if (typeof value === 'symbol') wrong('a symbol')
}

export interface FillOptions {
  /** False for a reader whose quotes are not those of a POSIX shell: then every value must be one plain word. Default true. */
  readonly posix?: boolean
}

/**
 * The command of one host. In a string, each value is quoted so that the program there gets it as it is, wherever its place is; in
 * a list it is put into the word as it is.
 *
 * @throws ConfigError `E_TEMPLATE_UNSAFE` when a value cannot be written safely at its place, `E_ARGUMENT` when there is none
 */
export function fillCommand(
  places: CommandPlaces,
  values: CommandValues,
  host: Host,
  index: number,
  options: FillOptions = {},
): string | readonly string[] {
  const { command, texts } = places
  const find = (name: string): unknown => (name === 'host' ? host.address : pick(name, values[name], host, index))
  if (typeof command === 'string') return fillScript(texts[0] ?? [], find, host, options.posix !== false)
  return texts.map((parts) => parts.map((part) => (typeof part === 'string' ? part : textOf(find(part.name)))).join(''))
}

function pick(name: string, values: CommandValue | undefined, host: Host, index: number): unknown {
  const value = Array.isArray(values)
    ? (values as readonly unknown[])[index % values.length]
    : typeof values === 'function'
      ? values(host, index)
      : values
  if (value !== undefined) return value
  throw new ConfigError('E_ARGUMENT', `there is no value of {{${name}}} for ${host} (host ${index} of the list, counted from 0)`)
}

function textOf(value: unknown): string {
  if (value instanceof RawText) return value.text
  return textOfValue(value instanceof Host ? value.address : value)
}

const PLAIN = /^[A-Za-z0-9_./:=,+@%-]+$/
/** Stands for a value in the text that is read; where it means one is known by its offset. */
const STAND_IN = '\ufffc'

function fillScript(parts: readonly Part[], find: (name: string) => unknown, host: Host, posix: boolean): string {
  const refuse = (filling: { readonly text: string; readonly source: string }, rule: string, remedy: string): never => {
    throw new ConfigError(
      'E_TEMPLATE_UNSAFE',
      `the value ${JSON.stringify(filling.text.slice(0, 100))} of ${filling.source} for ${host} cannot be written into the command: ${rule}`,
      {
        suggestions: [
          // Not the remedies that only templates know.
          ...(remedy === '' || /\bfilter\b|\bcampaign\b| \| /.test(remedy) ? [] : [remedy]),
          'Give the command as a list of words, which no shell reads',
          'Mark shell text that is to be run as it is with raw(…)',
        ],
      },
    )
  }
  let script = ''
  const fillings = new Map<number, { readonly text: string; readonly encoded: boolean; readonly source: string }>()
  for (const part of parts) {
    const value = typeof part === 'string' ? new RawText(part) : find(part.name)
    if (typeof part === 'string' || value instanceof RawText) script += textOf(value)
    else {
      const filling = { text: textOf(value), encoded: false, source: `{{${part.name}}}` }
      if (posix) fillings.set(script.length, filling)
      else if (!PLAIN.test(filling.text)) refuse(filling, 'it is not one plain word, and who reads it there is not a POSIX shell', '')
      script += posix ? STAND_IN : filling.text
    }
  }
  if (fillings.size === 0) return script
  const hole = (_text: string, offset: number) => {
    const filling = fillings.get(offset)
    return filling === undefined ? undefined : { length: STAND_IN.length, filling }
  }
  return fillShell(script, { hole, refuse })
}
