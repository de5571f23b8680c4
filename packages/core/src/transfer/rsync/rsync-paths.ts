import type { ByteName } from '../../util/byte-names.js'
import type { ReachedHost } from '../mover.js'
import { ShellSession, shellWord } from '../shell/shell-session.js'

/** An absolute path without what means nothing in it. `..` stays: what it leads to depends on links. */
export function cleanPath(path: ByteName): ByteName {
  return `/${path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`
}

/**
 * The same paths without `..`, which rsync does not take: the directories that it leads to are asked there.
 *
 * @param paths - absolute, clean
 * @returns for each, undefined when such a directory is gone
 */
export async function resolvePaths(
  host: ReachedHost,
  paths: readonly ByteName[],
  signal: AbortSignal,
): Promise<readonly (ByteName | undefined)[]> {
  const prefixes = [...new Set(paths.flatMap((path) => prefixOf(path) ?? []))]
  if (prefixes.length === 0) return paths
  const program = prefixes.map((prefix) => `cd -P -- ${shellWord(prefix)} && pwd -P; printf '\\0'`).join('\n')
  const chunks: Buffer[] = []
  const session = await ShellSession.start(host.pooled, program, (chunk) => chunks.push(chunk), { signal })
  session.end()
  const { lost } = await session.closed
  if (lost !== undefined) throw lost
  const answers = Buffer.concat(chunks).toString('latin1').split('\0')
  const resolved = new Map(prefixes.map((prefix, at) => [prefix, (answers[at] ?? '').replace(/\n$/, '')]))
  return paths.map((path) => {
    const prefix = prefixOf(path)
    if (prefix === undefined) return path
    const directory = resolved.get(prefix)
    return directory?.startsWith('/') === true ? cleanPath(`${directory}${path.slice(prefix.length)}`) : undefined
  })
}

/** Up to the last `..`. */
function prefixOf(path: ByteName): ByteName | undefined {
  return /^(.*\/\.\.)(?:\/|$)/s.exec(path)?.[1]
}
