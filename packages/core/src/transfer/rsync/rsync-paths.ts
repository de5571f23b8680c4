import { TransferError } from '../../errors.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
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
 */
export async function resolvePaths(host: ReachedHost, paths: readonly ByteName[], signal: AbortSignal): Promise<readonly ByteName[]> {
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
    if (directory === undefined || !directory.startsWith('/')) {
      throw new TransferError('E_SOURCE_CHANGED', `${readableName(prefix)} was there on ${host.host.address}, and is gone`)
    }
    return cleanPath(`${directory}${path.slice(prefix.length)}`)
  })
}

/** Up to the last `..`. */
function prefixOf(path: ByteName): ByteName | undefined {
  return /^(.*\/\.\.)(?:\/|$)/s.exec(path)?.[1]
}
