import { ConfigError } from '@cahier/core/spi'

/** One word is text for a shell there, as with ssh; several are executed there as they are, without a shell. */
export function readWords(words: readonly string[]): string | readonly string[] {
  const [first] = words
  if (first === undefined || first === '') {
    throw new ConfigError('E_ARGUMENT', 'there is no command to run', {
      suggestions: [
        "Write it behind two dashes: cahier exec -w 'node[1-4]' -- uptime; what stands before them is hosts and flags",
        "Or give a script: --script check.sh -w 'node[1-4]'",
      ],
    })
  }
  return words.length === 1 ? first : words
}

/**
 * The same command on a terminal of this size, which shows what is typed.
 *
 * @param size - of the terminal here
 */
export function terminalCommand(
  command: string | readonly string[],
  { rows, columns }: { readonly rows: number; readonly columns: number },
): string | readonly string[] {
  const prepare = `stty echo${rows > 0 && columns > 0 ? ` rows ${rows} cols ${columns}` : ''} 2>/dev/null`
  return typeof command === 'string' ? `${prepare}\n${command}` : ['/bin/sh', '-c', `${prepare}; exec "$@"`, 'sh', ...command]
}

const SHELLS = /^(?:sh|ash|bash|dash|ksh|mksh|zsh)$/

/**
 * The command that reads a script from its standard input: the interpreter that the script's first line names, else `/bin/sh`.
 *
 * @param args - what the script gets as its arguments
 */
export function scriptCommand(script: Uint8Array, args: readonly string[]): readonly string[] {
  const line = /^#![ \t]*([^\r\n]+)/.exec(Buffer.from(script.subarray(0, 512)).toString('utf8'))?.[1]?.trim()
  const interpreter = line === undefined ? ['/bin/sh'] : splitOnce(line)
  const [program = '', argument = ''] = interpreter
  const isShell = SHELLS.test(baseName(baseName(program) === 'env' ? argument : program))
  return isShell ? [...interpreter, '-s', '--', ...args] : [...interpreter, '-', ...args]
}

/** As the kernel does it: the program, and all the rest as one argument. */
function splitOnce(line: string): string[] {
  const [, program = line, rest = ''] = /^(\S+)(?:\s+(.*))?$/.exec(line) ?? []
  return rest === '' ? [program] : [program, rest]
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
