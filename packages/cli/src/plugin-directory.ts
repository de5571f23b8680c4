import { mkdir, readFile, readlink, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CORE = '@cahier/core'

/** The folder of the core that this CLI runs with. */
export async function findOwnCore(): Promise<string> {
  return await realpath(dirname(fileURLToPath(import.meta.resolve(`${CORE}/package.json`))))
}

/**
 * Makes the plugins share this CLI's core: npm links a `file:` dependency, where it would install a second copy for an
 * adapter's peer dependency, and it refuses an adapter whose range does not fit.
 *
 * @param directory - where oclif keeps plugins, with a `package.json` of its own
 */
export async function seedPlugins(directory: string, core?: string): Promise<void> {
  const own = core ?? (await findOwnCore())
  const file = join(directory, 'package.json')
  const manifest = await readJson(file)
  const dependencies = (manifest['dependencies'] ?? {}) as Record<string, string>
  const wanted = `file:${own}`
  if (dependencies[CORE] === wanted) return
  await mkdir(directory, { recursive: true })
  const oclif = manifest['oclif'] ?? { plugins: [], schema: 1 }
  const seeded = { private: true, ...manifest, oclif, dependencies: { ...dependencies, [CORE]: wanted } }
  await writeFile(file, `${JSON.stringify(seeded, null, 2)}\n`)
}

/**
 * Points the plugins' core at this CLI's own: the CLI may have moved, or been upgraded, since they were installed.
 *
 * @returns true when the link was changed
 */
export async function relinkCore(directory: string, core?: string): Promise<boolean> {
  const link = join(directory, 'node_modules', CORE)
  const present = await readlink(link).catch(() => undefined)
  // Not a link: a copy that someone wanted, or nothing installed at all. Neither is ours to change.
  if (present === undefined) return false
  const own = core ?? (await findOwnCore())
  if ((await realpath(link).catch(() => undefined)) === own) return false
  await rm(link)
  await symlink(own, link)
  await seedPlugins(directory, own)
  return true
}

async function readJson(file: string): Promise<Record<string, unknown>> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
}
