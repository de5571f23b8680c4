import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { ConfigError } from '@cahier/core/spi'

/** The manifest that makes a folder a run directory. */
const MANIFEST = 'cahier.json'

/**
 * Finds the run that is meant.
 *
 * @param given - a run directory, a folder with runs in it, or nothing for the present folder
 * @returns the folder itself when it is a run, else the newest run in it
 * @throws ConfigError `E_NOT_FOUND`
 */
export async function findRunDirectory(given: string | undefined): Promise<string> {
  const at = resolve(given ?? '.')
  if ((await startedAt(at)) !== undefined) return at
  const entries = await readdir(at, { withFileTypes: true }).catch(() => [])
  const runs = await Promise.all(
    entries.filter((entry) => entry.isDirectory()).map(async ({ name }) => ({ name, since: await startedAt(join(at, name)) })),
  )
  const newest = runs
    .filter((run): run is { name: string; since: number } => run.since !== undefined)
    .sort((a, b) => b.since - a.since || (a.name < b.name ? 1 : -1))[0]
  if (newest !== undefined) return join(at, newest.name)
  throw new ConfigError('E_NOT_FOUND', `there is no run in ${at}`, {
    suggestions: ['Name the run directory, or start a run: cahier run CAMPAIGN'],
    data: { directory: at },
  })
}

async function startedAt(directory: string): Promise<number | undefined> {
  const manifest = await stat(join(directory, MANIFEST)).catch(() => undefined)
  return manifest?.mtimeMs
}
