import { dirname, join, resolve } from 'node:path'
import { AdapterError, messageOf } from '../errors.js'
import { type AdapterStatement, type PackageManifest, readManifest, readStatement } from './manifest.js'

/** Where adapters came from, in the order in which a name is looked up. */
export type AdapterOrigin = 'program' | 'built-in' | 'campaign' | 'plugins' | 'official'

/** A folder whose `package.json` lists packages, some of which may hold adapters. */
export interface PackageRoot {
  readonly origin: AdapterOrigin
  readonly directory: string
}

/** An adapter package, known by its manifest alone. */
export interface AdapterPackage {
  readonly origin: AdapterOrigin
  readonly name: string
  readonly version: string | undefined
  readonly directory: string
  readonly manifest: PackageManifest
  readonly statement: AdapterStatement
}

/** What the packages listed by one root turned out to be. */
export interface PackageSurvey {
  readonly packages: readonly AdapterPackage[]
  /** Packages whose manifest cannot be understood. */
  readonly broken: readonly { readonly name: string; readonly directory: string; readonly error: AdapterError }[]
  /** Listed and not there. */
  readonly notInstalled: readonly { readonly name: string; readonly listedIn: string }[]
}

const NOTHING: PackageSurvey = { packages: [], broken: [], notInstalled: [] }

/**
 * Looks at the packages that a folder lists, without importing any.
 *
 * Only names listed in the nearest `package.json` are looked at: `node_modules` is never scanned.
 */
export async function surveyRoot({ origin, directory }: PackageRoot): Promise<PackageSurvey> {
  let nearest: Awaited<ReturnType<typeof nearestManifest>>
  try {
    nearest = await nearestManifest(directory, origin === 'campaign')
  } catch (error) {
    return { ...NOTHING, broken: [{ name: directory, directory, error: asAdapterError(error) }] }
  }
  if (nearest === undefined) return NOTHING
  const candidates = [...(await listedPackages(nearest)), ...linkedPackages(nearest)]
  const looked = await Promise.all(candidates.map(async (candidate) => ({ candidate, found: await look(candidate, origin) })))
  return {
    packages: looked.flatMap(({ found }) => (found !== undefined && 'statement' in found ? [found] : [])),
    broken: looked.flatMap(({ found }) => (found !== undefined && 'error' in found ? [found] : [])),
    notInstalled: candidates.flatMap(({ name, directory: at, listedIn }) => (at === undefined ? [{ name, listedIn }] : [])),
  }
}

interface Located {
  readonly directory: string
  readonly manifest: PackageManifest
}

interface Candidate {
  readonly name: string
  readonly directory: string | undefined
  readonly listedIn: string
}

/** A campaign belongs to the package around it; the other roots are packages themselves. */
async function nearestManifest(directory: string, upwards: boolean): Promise<Located | undefined> {
  for (let at = resolve(directory); ; at = dirname(at)) {
    const manifest = await readManifest(at)
    if (manifest !== undefined) return { directory: at, manifest }
    if (!upwards || dirname(at) === at) return undefined
  }
}

async function listedPackages({ directory, manifest }: Located): Promise<readonly Candidate[]> {
  const names = new Set([
    ...Object.keys(manifest.dependencies),
    ...Object.keys(manifest.optionalDependencies),
    ...Object.keys(manifest.devDependencies),
  ])
  return await Promise.all([...names].map(async (name) => ({ name, directory: await locate(name, directory), listedIn: directory })))
}

/** `cahier plugins link` notes a folder instead of a dependency. */
function linkedPackages({ directory, manifest }: Located): readonly Candidate[] {
  return (manifest.oclif?.plugins ?? []).flatMap((entry) => {
    const { type, name, root } = (typeof entry === 'object' && entry !== null ? entry : {}) as Record<string, unknown>
    return type === 'link' && typeof root === 'string'
      ? [{ name: typeof name === 'string' ? name : root, directory: root, listedIn: directory }]
      : []
  })
}

/** Follows Node's rule for a bare name. Asked for directly, since many packages do not export their `package.json`. */
async function locate(name: string, from: string): Promise<string | undefined> {
  for (let at = from; ; at = dirname(at)) {
    const directory = join(at, 'node_modules', name)
    try {
      if ((await readManifest(directory)) !== undefined) return directory
    } catch {
      return directory
    }
    if (dirname(at) === at) return undefined
  }
}

async function look(
  { name, directory }: Candidate,
  origin: AdapterOrigin,
): Promise<AdapterPackage | PackageSurvey['broken'][number] | undefined> {
  if (directory === undefined) return undefined
  try {
    const manifest = await readManifest(directory)
    const statement = manifest === undefined ? undefined : readStatement(manifest, directory)
    if (manifest === undefined || statement === undefined) return undefined
    return { origin, name: manifest.name ?? name, version: manifest.version, directory, manifest, statement }
  } catch (error) {
    return { name, directory, error: asAdapterError(error) }
  }
}

function asAdapterError(error: unknown): AdapterError {
  return error instanceof AdapterError ? error : new AdapterError('E_ADAPTER_INVALID', messageOf(error), { cause: error })
}
