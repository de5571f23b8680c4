import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { ConfigError } from '@cahier/core/spi'
import { Args, Flags } from '@oclif/core'
import type { Core } from './base-command.js'

/** What all commands about jobs of a site have. */
export const jobFlags = {
  site: Flags.string({ description: 'Site of cahier.config. Default: that of the directories that are named, else the default site.' }),
  dir: Flags.string({ description: 'Folder with cahier.config and cahier-jobs.', default: '.' }),
}

/** Of those that name jobs of one site and say what they are to do. */
export const jobArgs = {
  job: Args.string({ description: 'Ids, or directories that "cahier jobs submit" made; all of one site.', required: true }),
}

/** How these end. */
export const ORDER_EXIT_CODE = 'Exit code 1 when a job is not known to the queue, or when it is not seen to be as it was ordered.'

/** @throws ConfigError `E_ARGUMENT` that names the flag */
export function readDuration(core: Pick<Core, 'parseDuration'>, flag: string, text: string): number {
  return readUnit(flag, text, core.parseDuration)
}

/** @throws ConfigError `E_ARGUMENT` that names the flag */
export function readSizeMiB(core: Pick<Core, 'parseSizeMiB'>, flag: string, text: string): number {
  return readUnit(flag, text, core.parseSizeMiB)
}

function readUnit(flag: string, text: string, read: (text: string) => number): number {
  try {
    return read(text)
  } catch (cause) {
    const { message, suggestions = [] } = cause as Error & { readonly suggestions?: readonly string[] }
    throw new ConfigError('E_ARGUMENT', `--${flag}: ${message}`, { suggestions, cause })
  }
}

/**
 * Options of the scheduler as they are written on a command line: `qos=debug`, `exclusive=true`, `nice=100`. Numbers and true or false are
 * that; `"…"` around a value makes it a text; a name that is given twice has a list.
 *
 * @throws ConfigError `E_ARGUMENT`
 */
export function readOptions(pairs: readonly string[]): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const key = pair.slice(0, at).trim()
    if (at < 1 || key === '') {
      throw new ConfigError('E_ARGUMENT', `-o ${pair}: a name and a value are wanted`, { suggestions: ['Write it as in: -o qos=debug'] })
    }
    const value = readValue(pair.slice(at + 1))
    options[key] = key in options ? [options[key], value].flat() : value
  }
  return options
}

function readValue(text: string): unknown {
  if (/^(true|false|-?(0|[1-9]\d{0,14})(\.\d+)?)$/.test(text)) return JSON.parse(text) as unknown
  return /^".*"$/s.test(text) ? text.slice(1, -1) : text
}

/** A directory is meant from where the command is written, not from `--dir`. */
export function nearSelectors(words: readonly string[]): string[] {
  return words.map((word) => (existsSync(word) ? resolve(word) : word))
}

/** @throws ConfigError `E_ARGUMENT` */
export function requireJobs(words: readonly string[], command: string): readonly string[] {
  if (words.length > 0) return words
  throw new ConfigError('E_ARGUMENT', 'no job is named', {
    suggestions: [`Write it as in: cahier jobs ${command} 1234`, 'See the ids with: cahier jobs list'],
  })
}
