import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { ADAPTER_HOST, CLOCK, campaignScope, programScope, RENDERER, SCHEDULER, SITE_FILES, sharesFiles } from '../di/wiring.js'
import type { InputFile } from '../engine/attempt-files.js'
import { ConfigError } from '../errors.js'
import { parseHost } from '../model/host.js'
import { DEFAULT_WORK_DIRECTORY, type SiteConfig } from '../model/site.js'
import type { AdapterSources } from '../plugins/adapter-registry.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import type { CallOptions, Scheduler } from '../ports/scheduler.js'
import type { SiteFiles } from '../ports/site-files.js'
import type { SitePlace } from '../ports/site-place.js'
import type { TemplateRenderer } from '../ports/template-renderer.js'
import { RemotePlace } from '../staging/remote-place.js'
import { SharedPlace } from '../staging/shared-place.js'
import { silentLogger } from '../system/log.js'
import { connectionOf, mergeConnections, remoteBackend } from './connections.js'
import { type NamedSite, readSites, siteOf } from './site-config.js'

/** What a program may give instead of what is found by itself. */
export interface ServiceOptions {
  /**
   * Names of sites of the configuration (`a,b` is two), or sites made by the program: those that share the work. Default: that of the
   * configuration, else `local`.
   */
  readonly site?: string | NamedSite | readonly (string | NamedSite)[] | undefined
  /** A scheduler made by the program, for the first site, which then gives account, queue and modules only. It is not closed by the run. */
  readonly scheduler?: Scheduler | undefined
  /** Adapters of the program, and folders where adapter packages are looked for beside the campaign's. */
  readonly adapters?: AdapterSources | undefined
  readonly clock?: Clock | undefined
  readonly log?: Logger | undefined
}

/** What a place is made for. */
export interface PlaceInput {
  /** The run directory here, absolute. */
  readonly directory: string
  readonly runId: string
  readonly inputs: readonly InputFile[]
  /** Names and patterns of what comes home; absent: everything. */
  readonly fetch?: readonly string[] | undefined
}

/** Everything that is used of one site. */
export interface SiteServices {
  readonly site: NamedSite
  /** Its jobs see the files of this machine. */
  readonly isShared: boolean
  /** Starts processes on the machine through which the site is used: this one, or its host. */
  readonly processes: ProcessBackend
  readonly files: SiteFiles
  /** Finds out whether the site's scheduler can be used, without asking the site anything. Throws AdapterError. */
  checkScheduler(): Promise<void>
  /** Made and opened when it is first asked for. */
  scheduler(options?: CallOptions): Promise<Scheduler>
  /** The scheduler as it is before anybody asked the site: only for what asks nothing. */
  unopenedScheduler(): Promise<Scheduler>
  /** Where a run has its files there. */
  place(input: PlaceInput): SitePlace
}

/** Everything that a run needs from the outside. */
export interface Services extends AsyncDisposable {
  /** Of all sites, in order; at least one. */
  readonly sites: readonly SiteServices[]
  /** The first one. */
  readonly site: NamedSite
  readonly clock: Clock
  readonly log: Logger
  readonly renderer: TemplateRenderer
  /** Those of all sites. */
  checkScheduler(): Promise<void>
  /** That of the first site. */
  scheduler(): Promise<Scheduler>
  /** One more site, for jobs that are in flight there. Throws ConfigError `E_NOT_FOUND`. */
  siteNamed(name: string): SiteServices
}

/** The default wiring: this machine's clock and processes, the scheduler of each site, Liquid templates. */
export async function openServices(
  directory: string,
  options: ServiceOptions & { readonly defaultSite?: string | readonly string[] | undefined } = {},
): Promise<Services> {
  const { adapters, log, scheduler, clock } = options
  const wanted = namesOf(options.site ?? options.defaultSite)
  const isGiven = wanted.length > 0 && wanted.every((one) => typeof one === 'object')
  const config: SiteConfig | undefined = isGiven ? undefined : await readSites(directory)
  const find = (one: string | NamedSite | undefined): NamedSite => (typeof one === 'object' ? one : siteOf(config as SiteConfig, one))
  const named = wanted.length === 0 ? [find(undefined)] : wanted.map(find)
  const doubled = named.find((site, index) => named.findIndex((other) => other.name === site.name) !== index)
  if (doubled !== undefined) throw new ConfigError('E_ARGUMENT', `the site ${doubled.name} is named twice`)
  const program = programScope({ clock })
  const open = (site: NamedSite, given?: Scheduler): SiteServices => {
    checkSite(site, given)
    const processes = siteProcesses(site, config)
    const scope = campaignScope(program, { directory, site, adapters, log, scheduler: given, processes })
    return {
      site,
      isShared: sharesFiles(site),
      get processes() {
        return scope.resolve(ADAPTER_HOST).processes
      },
      get files() {
        return scope.resolve(SITE_FILES)
      },
      checkScheduler: () => scope.resolve(SCHEDULER).check(),
      scheduler: (call) => scope.resolve(SCHEDULER).get(call),
      unopenedScheduler: () => scope.resolve(SCHEDULER).unopened(),
      place: ({ directory: runDirectory, runId, inputs: files, fetch }) => {
        const inputs = files.map(({ path, bytes }) => ({ name: basename(path), path, bytes }))
        if (sharesFiles(site)) return new SharedPlace({ runDirectory, inputs })
        return new RemotePlace({
          files: scope.resolve(SITE_FILES),
          processes: scope.resolve(ADAPTER_HOST).processes,
          clock: scope.resolve(CLOCK),
          runDirectory,
          runName: basename(runDirectory),
          runId,
          workDirectory: site.workDirectory ?? DEFAULT_WORK_DIRECTORY,
          inputs,
          fetch,
        })
      },
    }
  }
  const sites = named.map((site, index) => open(site, index === 0 ? scheduler : undefined))
  const [first] = sites as [SiteServices]
  return {
    sites,
    site: first.site,
    clock: program.resolve(CLOCK),
    log: log ?? silentLogger,
    renderer: program.resolve(RENDERER),
    async checkScheduler() {
      for (const site of sites) await site.checkScheduler()
    },
    scheduler: () => first.scheduler(),
    siteNamed(name) {
      const known = sites.find(({ site }) => site.name === name)
      if (known !== undefined) return known
      return open(siteOf(config ?? NOTHING_CONFIGURED, name))
    },
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]()
    },
  }
}

const NOTHING_CONFIGURED: SiteConfig = { sites: {}, defaultSite: 'local', groups: {} }

/** `a,b` is two names. */
function namesOf(given: ServiceOptions['site']): (string | NamedSite)[] {
  if (given === undefined) return []
  const all: readonly (string | NamedSite)[] = Array.isArray(given) ? given : [given as string | NamedSite]
  return all.flatMap((one): (string | NamedSite)[] =>
    typeof one === 'string'
      ? one
          .split(',')
          .map((name) => name.trim())
          .filter((name) => name !== '')
      : [one],
  )
}

/** The wrong machine would be worse than none. */
function checkSite(site: NamedSite, given: Scheduler | undefined): void {
  if (site.host === undefined || site.scheduler !== 'local' || given !== undefined) return
  throw new ConfigError(
    'E_NOT_SUPPORTED',
    `site ${site.name} is on ${site.host}, but the scheduler local starts jobs on this machine only`,
    {
      suggestions: [`Name the scheduler of ${site.host}, or leave host out for this machine`],
    },
  )
}

/** The connection of the site over that of the whole file. */
function siteProcesses(site: NamedSite, config: Pick<SiteConfig, 'connection'> | undefined): ProcessBackend | undefined {
  if (site.host === undefined) return undefined
  return remoteBackend(parseHost(site.host), connectionOf(mergeConnections(config?.connection, site.connection)))
}

let version: string | undefined

/** The version of this copy of Cahier. */
export function cahierVersion(): string {
  version ??= (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version
  return version
}
