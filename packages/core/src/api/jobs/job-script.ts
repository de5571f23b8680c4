import { readFileSync } from 'node:fs'
import { ConfigError, messageOf } from '../../errors.js'
import { shellQuote } from '../../util/shell-quote.js'

/**
 * Reads a batch script of the user.
 *
 * @throws ConfigError `E_ARGUMENT` for a file that cannot be read, and for one that a scheduler would refuse: no `#!` line, Windows line
 * ends, a NUL byte
 */
export function readBatchScript(file: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ConfigError('E_ARGUMENT', `the script ${file} cannot be read: ${messageOf(cause)}`, {
      suggestions: ['Name a file of this machine', 'For a command write it behind two dashes: cahier jobs submit -- hostname'],
      cause,
    })
  }
  const fault = scriptFault(text)
  if (fault === undefined) return text.endsWith('\n') ? text : `${text}\n`
  throw new ConfigError('E_ARGUMENT', `the script ${file} cannot be submitted: ${fault.message}`, {
    suggestions: [fault.cure.replaceAll('FILE', shellQuote(file))],
  })
}

function scriptFault(text: string): { readonly message: string; readonly cure: string } | undefined {
  if (text.trim() === '')
    return { message: 'it is empty', cure: 'Write the commands of the job into FILE, with #!/bin/sh as its first line' }
  if (text.includes('\0'))
    return { message: 'it has a NUL byte in it', cure: 'Name the script, not a program: a program goes behind two dashes' }
  if (/^[^\n]*\r\n/.test(text))
    return { message: 'it has Windows line ends (CR LF)', cure: "Turn them into Unix ones: sed -i 's/\\r$//' FILE" }
  if (!text.startsWith('#!'))
    return { message: 'its first line does not name a shell', cure: 'Put this line at the top of FILE: #!/bin/sh' }
  return undefined
}

/** The script for a command: one word is text for a shell, several are a program with its arguments. */
export function scriptOfCommand(words: readonly string[]): string {
  return `#!/bin/sh\n${words.length === 1 ? String(words[0]) : `exec ${words.map(shellQuote).join(' ')}`}\n`
}
