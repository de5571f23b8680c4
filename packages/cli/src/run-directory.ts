import { readdir, readFile, stat } from 'node:fs/promises'
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
  const [newest] = await listRuns(at)
  if (newest !== undefined) return newest
  throw new ConfigError('E_NOT_FOUND', `there is no run in ${at}`, {
    suggestions: ['Name the run directory, or start a run: cahier run CAMPAIGN'],
    data: { directory: at },
  })
}

/**
 * The run that `cahier run` goes on with: the newest of this campaign file in a folder. Also a finished one, so that
 * asking twice does not do the work twice.
 */
export async function findRunOf(campaignFile: string | undefined, folder = '.'): Promise<string | undefined> {
  for (const directory of await listRuns(resolve(folder))) {
    if ((await campaignOf(directory)) === campaignFile) return directory
  }
  return undefined
}

/** @throws ConfigError `E_ARGUMENT` for a run that a program defined */
export async function campaignFileOf(directory: string): Promise<string> {
  const file = await campaignOf(directory)
  if (typeof file === 'string') return file
  throw new ConfigError('E_ARGUMENT', `${directory} does not say which campaign file it was begun with`, {
    suggestions: ['Name it: --campaign FILE'],
  })
}

async function campaignOf(directory: string): Promise<unknown> {
  try {
    return (JSON.parse(await readFile(join(directory, MANIFEST), 'utf8')) as { campaignFile?: unknown }).campaignFile
  } catch {
    // Torn or not readable: whoever names the directory is told why.
    return null
  }
}

/** Run directories in a folder, newest first. */
async function listRuns(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const runs = await Promise.all(
    entries
      .filter((entry) => entry.isDirectory())
      .map(async ({ name }) => ({ directory: join(folder, name), since: await startedAt(join(folder, name)) })),
  )
  return runs
    .filter((run): run is { directory: string; since: number } => run.since !== undefined)
    .sort((a, b) => b.since - a.since || (a.directory < b.directory ? 1 : -1))
    .map(({ directory }) => directory)
}

async function startedAt(directory: string): Promise<number | undefined> {
  const manifest = await stat(join(directory, MANIFEST)).catch(() => undefined)
  return manifest?.mtimeMs
}
