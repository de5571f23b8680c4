/**
 * Commands for taktuk's standard input. Its separators are changed to characters that text does not hold; where it does, an escape goes
 * before them. So everything else passes as it is, line ends and blanks included.
 *
 * @source taktuk(1) 3.7.7, `-O`, `-C`, `-E`, "COMMANDS"
 */
const BETWEEN_WORDS = '\x1f'
const BETWEEN_COMMANDS = '\x1e'
const ESCAPE = '\x1d'

/** Only for this machine: hosts are not sent words but messages. */
export const SEPARATOR_OPTIONS: readonly string[] = ['-M', '-O', BETWEEN_WORDS, '-M', '-C', BETWEEN_COMMANDS, '-M', '-E', ESCAPE]

const SPECIAL = /[\x1d-\x1f]/g

/** A set of hosts by their ranks, as `1-3/7`. */
export function renderSet(ranks: readonly number[]): string {
  const sorted = [...ranks].sort((a, b) => a - b)
  const parts: [number, number][] = []
  for (const rank of sorted) {
    const last = parts.at(-1)
    if (last !== undefined && rank <= last[1] + 1) last[1] = rank
    else parts.push([rank, rank])
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join('/')
}

function command(words: readonly string[]): Buffer {
  return Buffer.from(`${words.join(BETWEEN_WORDS)}${BETWEEN_COMMANDS}`, 'latin1')
}

/** A parameter between brackets. @param text - one character per byte, at least one */
function parameter(text: string): string {
  const escaped = text.replace(SPECIAL, `${ESCAPE}$&`)
  // Alone between separators it would close itself.
  return ['[', escaped === ']' ? `${ESCAPE}]` : escaped, ']'].join(BETWEEN_WORDS)
}

/** @param line - one character per byte */
export function execWords(set: string, channel: number, line: string): Buffer {
  return command([set, 'exec', 'target', `${channel}`, parameter(line)])
}

/** @param data - at least one byte */
export function inputWords(set: string, channel: number, data: Uint8Array): Buffer {
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1')
  return command([set, 'input', 'target', `${channel}`, 'data', parameter(text)])
}

export function closeWords(set: string, channel: number): Buffer {
  return command([set, 'input', 'target', `${channel}`, 'close'])
}
