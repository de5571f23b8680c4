import { stat } from 'node:fs/promises'
import { ConfigError } from '@cahier/core/spi'
import { Args, Flags } from '@oclif/core'
import { findRunDirectory } from './run-directory.js'

const WHICH = 'Run directory, or a folder with runs in it (then the newest). Default: the present folder.'

/** The run that a command is about, as its only word. */
export const runArgument = Args.string({ description: WHICH })

/** The same for commands that are about something else first. */
export const runFlag = Flags.string({ description: WHICH })

/**
 * Divides the words of a command into its run and its own operands: `why ITEM`, `why --dir RUN ITEM` and `why RUN ITEM`.
 *
 * @param atLeast - operands that the command needs: with more words than these, a first word that is a folder is the run
 */
export async function splitWords(
  words: readonly string[],
  dir: string | undefined,
  atLeast: number,
): Promise<{ directory: string; operands: readonly string[] }> {
  const [first, ...others] = words
  const named = dir === undefined && first !== undefined && others.length >= atLeast && (await isFolder(first))
  return { directory: await findRunDirectory(named ? first : dir), operands: named ? others : words }
}

/** The one operand of a command. */
export function onlyWord(operands: readonly string[], name: string, example: string): string {
  const [word] = operands
  if (word !== undefined && operands.length === 1) return word
  throw new ConfigError(
    'E_ARGUMENT',
    operands.length === 0 ? `${name} is missing` : `one ${name} was expected, not ${operands.length} words: ${operands.join(' ')}`,
    {
      suggestions: [`Write it as in: ${example}`],
    },
  )
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false
}
