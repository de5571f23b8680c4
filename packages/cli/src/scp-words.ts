import { existsSync } from 'node:fs'

/** What scp writes as one word: the host, and the path there. A single letter is a drive of Windows. */
const FAR = /^((?:[^@/\s:]+@)?[^@/\s:]{2,}):(.*)$/s

/** How a command is written. @param verb - put, get or broadcast */
export function usageExample(verb: string): string {
  return `Write it as in: cahier ${verb} data.tar -w 'node[1-4]'${verb === 'get' ? '' : ' --to /scratch'}`
}

/**
 * What would help somebody whose command line was not understood, if anybody can tell.
 *
 * @param words - the arguments of the command
 * @param thrown - of the parser
 */
export function suggestUsage(
  verb: string,
  words: readonly string[],
  thrown: { readonly message: string; readonly flags?: unknown },
): string | undefined {
  if (Array.isArray(thrown.flags)) {
    const file = words.find((word) => word.startsWith('-') && existsSync(word))
    return file === undefined ? undefined : `Write ./${file} for the file of this name`
  }
  return /Missing required flag/.test(thrown.message) ? (asOfScp(verb, words) ?? usageExample(verb)) : undefined
}

/** The command for words as scp takes them, such as `data node1:dir`. */
function asOfScp(verb: string, words: readonly string[]): string | undefined {
  const flag = words.findIndex((word) => word.startsWith('-'))
  const operands = flag < 0 ? words : words.slice(0, flag)
  const far = operands.map((word) => FAR.exec(word))
  const last = far.at(-1)
  if (last != null && far.slice(0, -1).every((one) => one === null) && operands.length > 1) {
    const [, host = '', path = ''] = last
    return `Write: cahier ${verb === 'get' ? 'put' : verb} ${operands.slice(0, -1).map(quoted).join(' ')} -w ${quoted(host)} --to ${quoted(path === '' ? '.' : path)}`
  }
  const [first] = far
  if (first == null) return undefined
  const hosts = far.flatMap((one) => (one === null ? [] : [one[1] ?? '']))
  const paths = far.flatMap((one) => (one === null ? [] : [one[2] ?? '']))
  const to = last === null ? ` --to ${quoted(operands.at(-1) ?? '.')}` : ''
  if (hosts.length < operands.length - 1 || paths.includes('') || new Set(hosts).size > 1) return undefined
  return `Write: cahier get ${paths.map(quoted).join(' ')} -w ${quoted(hosts[0] ?? '')}${to}`
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
