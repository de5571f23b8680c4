import { pathToFileURL } from 'node:url'
import { resolve as resolveModule } from 'import-meta-resolve'
import { AdapterError, type CampaignError, isCampaignError, messageOf, systemCodeOf } from '../errors.js'
import type { AdapterHost, AdapterModule } from '../ports/adapter.js'
import type { Scheduler } from '../ports/scheduler.js'
import type { Transfer } from '../ports/transfer.js'
import { nearestName } from '../util/nearest.js'
import { checkApi, checkDescriptor, checkOptions } from './descriptor.js'
import { OFFICIAL_ADAPTERS } from './official.js'
import { type AdapterOrigin, type AdapterPackage, type PackageRoot, type PackageSurvey, surveyRoot } from './packages.js'

export type AdapterKind = AdapterModule['kind']

/** Where a registry looks, in this order. */
export interface AdapterSources {
  /** Descriptors passed by an embedding program. */
  readonly given?: readonly AdapterModule[] | undefined
  /** Descriptors of core itself. */
  readonly builtIn?: readonly AdapterModule[] | undefined
  /** Folders whose `package.json` lists packages: the campaign's, the CLI's plugins, the CLI itself. */
  readonly roots?: readonly PackageRoot[] | undefined
}

/** One adapter, known without importing it. */
export interface AdapterListing {
  readonly kind: AdapterKind
  readonly name: string
  readonly origin: AdapterOrigin
  /** `undefined` for one that is part of core or of the program. */
  readonly package: string | undefined
  readonly version: string | undefined
  readonly directory: string | undefined
  /** False when the same name is found earlier, so that this one is never used. */
  readonly used: boolean
}

/** What `cahier adapters doctor` says about one package or descriptor. */
export interface AdapterDiagnosis {
  /** `scheduler/slurm`, or the name of a package whose manifest cannot be read. */
  readonly subject: string
  readonly origin: AdapterOrigin
  readonly package: string | undefined
  readonly version: string | undefined
  readonly directory: string | undefined
  /** `undefined`: it can be used. */
  readonly problem: CampaignError | undefined
}

interface Source {
  readonly key: string
  readonly origin: AdapterOrigin
  readonly descriptor?: unknown
  readonly package?: AdapterPackage
}

/**
 * Finds adapters by the name that a site's configuration uses.
 *
 * Static manifests are read first and nothing is imported until it is needed, so that a broken adapter concerns only
 * the campaigns that use it.
 */
export class AdapterRegistry {
  readonly #sources: AdapterSources
  #surveys: Promise<readonly (PackageSurvey & { readonly root: PackageRoot })[]> | undefined

  constructor(sources: AdapterSources) {
    this.#sources = sources
  }

  /** Everything that could be used, in the order in which names are looked up. Imports nothing. */
  async list(): Promise<readonly AdapterListing[]> {
    const seen = new Set<string>()
    return (await this.#all()).map(({ key, origin, package: pack }) => {
      const used = !seen.has(key)
      seen.add(key)
      const [kind, name] = key.split('/') as [AdapterKind, string]
      return { kind, name, origin, package: pack?.name, version: pack?.version, directory: pack?.directory, used }
    })
  }

  /**
   * Imports and checks the adapter of a name.
   *
   * @throws AdapterError `E_ADAPTER_MISSING`, `E_ADAPTER_API`, `E_ADAPTER_LOAD`, `E_ADAPTER_INVALID`
   */
  async load(kind: AdapterKind, name: string): Promise<AdapterModule> {
    const all = await this.#all()
    const source = all.find(({ key }) => key === `${kind}/${name}`)
    if (source === undefined) throw await this.#missing(kind, name, all)
    return await loadSource(source)
  }

  /**
   * Makes the scheduler of a site. Does no I/O beyond importing the adapter: opening is `scheduler.open()`.
   *
   * @throws AdapterError as {@link load}, and `E_ADAPTER_OPTIONS`
   */
  async createScheduler(name: string, options: unknown, host: AdapterHost): Promise<Scheduler> {
    return (await this.#create('scheduler', name, options, host)) as Scheduler
  }

  /** The same for a transfer. */
  async createTransfer(name: string, options: unknown, host: AdapterHost): Promise<Transfer> {
    return (await this.#create('transfer', name, options, host)) as Transfer
  }

  /** Imports and checks everything, and says what is wrong with each. */
  async doctor(): Promise<readonly AdapterDiagnosis[]> {
    const loaded = await Promise.all(
      (await this.#all()).map(async (source) => ({
        subject: source.key,
        origin: source.origin,
        package: source.package?.name,
        version: source.package?.version,
        directory: source.package?.directory,
        problem: await loadSource(source).then(
          () => undefined,
          (error: unknown) => asAdapterError(error, source.package?.name ?? 'the program'),
        ),
      })),
    )
    const unreadable = (await this.#survey()).flatMap(({ root, broken }) =>
      broken.map(({ name, directory, error }) => ({
        subject: name,
        origin: root.origin,
        package: name,
        version: undefined,
        directory,
        problem: error,
      })),
    )
    return [...loaded, ...unreadable]
  }

  async #create(kind: AdapterKind, name: string, options: unknown, host: AdapterHost): Promise<Scheduler | Transfer> {
    const adapter = await this.load(kind, name)
    const checked = checkOptions(adapter, options)
    try {
      return adapter.create(checked, host)
    } catch (cause) {
      throw asAdapterError(cause, `${kind}/${name}`)
    }
  }

  async #all(): Promise<readonly Source[]> {
    const { given = [], builtIn = [] } = this.#sources
    return [
      ...given.map((descriptor) => ({ key: keyOf(descriptor), origin: 'program' as const, descriptor })),
      ...builtIn.map((descriptor) => ({ key: keyOf(descriptor), origin: 'built-in' as const, descriptor })),
      ...(await this.#survey()).flatMap(({ packages }) =>
        packages.flatMap((pack) => pack.statement.provides.map((key) => ({ key, origin: pack.origin, package: pack }))),
      ),
    ]
  }

  async #survey(): Promise<readonly (PackageSurvey & { readonly root: PackageRoot })[]> {
    this.#surveys ??= Promise.all((this.#sources.roots ?? []).map(async (root) => ({ root, ...(await surveyRoot(root)) })))
    return await this.#surveys
  }

  async #missing(kind: AdapterKind, name: string, all: readonly Source[]): Promise<AdapterError> {
    const available = [...new Set(all.filter(({ key }) => key.startsWith(`${kind}/`)).map(({ key }) => key.slice(kind.length + 1)))]
    const surveys = await this.#survey()
    const official = OFFICIAL_ADAPTERS[`${kind}/${name}`]
    const near = nearestName(name, available)
    const notInstalled = surveys.flatMap((survey) => survey.notInstalled)
    const broken = surveys.flatMap((survey) => survey.broken)
    return new AdapterError(
      'E_ADAPTER_MISSING',
      `no installed package provides the ${kind} "${name}" (there is: ${available.join(', ') || 'none'})`,
      {
        suggestions: [
          ...(near === undefined ? [] : [`Write "${near}" if that is what you mean`]),
          installLine(kind, name, official),
          ...notInstalled.map(
            ({ name: listed, listedIn }) => `${listed} is listed in ${listedIn} and not installed: run npm install there`,
          ),
          ...(broken.length === 0 ? [] : [`Run "cahier adapters doctor": ${broken.length} of the installed packages cannot be read`]),
        ],
        data: { kind, name, available, notInstalled, broken: broken.map((one) => one.name) },
      },
    )
  }
}

function installLine(kind: AdapterKind, name: string, official: (typeof OFFICIAL_ADAPTERS)[string] | undefined): string {
  if (official === undefined) return `Install a package that provides ${kind}/${name}: cahier plugins install <package>`
  const command = `cahier plugins install ${official.package}`
  return official.written
    ? `Install it: ${command}`
    : `${official.package} is its place and holds no code yet in this version; once it is published: ${command}`
}

function keyOf(descriptor: unknown): string {
  const { kind, name } = (descriptor ?? {}) as { readonly kind?: unknown; readonly name?: unknown }
  return `${String(kind)}/${String(name)}`
}

async function loadSource({ key, descriptor, package: pack }: Source): Promise<AdapterModule> {
  if (pack === undefined) return checkDescriptor(descriptor, `the program, ${key},`)
  checkApi(pack.statement.adapterApi, pack.name)
  const exported = await importPackage(pack)
  const candidates: readonly unknown[] = Array.isArray(exported) ? exported : [exported]
  const found = candidates.find((candidate) => keyOf(candidate) === key)
  if (found !== undefined) return checkDescriptor(found, pack.name)
  // One descriptor without kind or name is better answered by what it lacks than by "not found".
  const only = candidates.length === 1 ? checkDescriptor(candidates[0], pack.name) : undefined
  const names = only === undefined ? candidates.map(keyOf) : [keyOf(only)]
  throw new AdapterError(
    'E_ADAPTER_INVALID',
    `${pack.name} says in its package.json that it provides ${key}, and exports ${names.join(', ') || 'nothing'}`,
    { suggestions: [`Tell its authors, or remove it: cahier plugins uninstall ${pack.name}`], data: { package: pack.name, key, names } },
  )
}

async function importPackage(pack: AdapterPackage): Promise<unknown> {
  try {
    const module = (await import(entryOf(pack))) as { readonly default?: unknown }
    return module.default
  } catch (cause) {
    const missing = systemCodeOf(cause) === 'ERR_MODULE_NOT_FOUND'
    throw new AdapterError('E_ADAPTER_LOAD', `${pack.name} failed while it was imported: ${messageOf(cause)}`, {
      suggestions: [
        missing
          ? `Install it again, something that it imports is not there: cahier plugins install ${pack.name}`
          : 'See the cause with --debug',
        `Everything that does not need ${pack.name} works without it`,
      ],
      data: { package: pack.name, version: pack.version, directory: pack.directory },
      cause,
    })
  }
}

/** The URL of what `import` of the package by its name would load, seen from inside the package. */
function entryOf({ name, directory, manifest }: AdapterPackage): string {
  const base = pathToFileURL(`${directory}/package.json`).href
  if (manifest.exports !== undefined && manifest.exports !== null) return resolveModule(name, base)
  return new URL(manifest.main ?? 'index.js', base).href
}

function asAdapterError(error: unknown, from: string): CampaignError {
  return isCampaignError(error) ? error : new AdapterError('E_ADAPTER_LOAD', `${from} failed: ${messageOf(error)}`, { cause: error })
}
