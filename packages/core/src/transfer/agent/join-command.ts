import { readFileSync } from 'node:fs'

/**
 * The line for any login shell that carries bytes between a new channel and the socket at which an agent listens (`listen unix`).
 *
 * @param kind - of the agent that listens: what it is written in is there
 * @param path - of the socket, as the agent said it
 * @throws Error when the path could not stand in a command line as it is
 */
export function joinCommand(kind: 'py' | 'pl', path: string): string {
  if (!/^\/[\w./-]+$/.test(path)) throw new Error(`the socket of the agent has an odd name: ${JSON.stringify(path)}`)
  return `exec ${kind === 'py' ? 'python3 -c' : 'perl -e'} '${programOf(kind)}' ${path}`
}

const programs = new Map<string, string>()

function programOf(kind: 'py' | 'pl'): string {
  let line = programs.get(kind)
  if (line === undefined) {
    const text = readFileSync(new URL(`../../../assets/agent-join.${kind}`, import.meta.url), 'utf8')
    line = text
      .split('\n')
      .filter((one) => one !== '' && !one.startsWith('#'))
      .join(' ')
    // What one login shell or another would read in its own way; csh leaves `$!` alone.
    if (/['\\]|(?<!\$)!/.test(line)) throw new Error(`a join may not hold quotes, backslashes or exclamation marks: ${line}`)
    programs.set(kind, line)
  }
  return line
}
