import { resolve } from 'node:path'
import type { Clock } from '../../ports/clock.js'
import type { ProcessBackend } from '../../ports/process-backend.js'
import type { Scheduler } from '../../ports/scheduler.js'
import type { SiteFiles } from '../../ports/site-files.js'
import { openServices, type ServiceOptions } from '../services.js'
import { type NamedSite, readSiteFiles, readSites, siteOf } from '../site-config.js'

/** What commands about jobs and sites are told beside their subject. */
export interface SiteAccessOptions extends ServiceOptions {
  /** Beside what the configuration is looked for, and where `cahier-jobs` is; default: the current folder. */
  readonly directory?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** One site, open. */
export interface SiteAccess extends AsyncDisposable {
  readonly site: NamedSite
  readonly clock: Clock
  readonly processes: ProcessBackend
  readonly files: SiteFiles
  /** Throws AdapterError when the scheduler's adapter cannot be used. */
  checkScheduler(): Promise<void>
  /** Opened when it is first asked for. */
  scheduler(): Promise<Scheduler>
}

export function folderOf({ directory }: SiteAccessOptions): string {
  return resolve(directory ?? '.')
}

/** @param site - default: the configuration's default site. @throws ConfigError `E_NOT_FOUND`, `E_SITE_INVALID`, `E_NOT_SUPPORTED` */
export async function openAccess(site: SiteAccessOptions['site'], options: SiteAccessOptions): Promise<SiteAccess> {
  const { adapters, clock, log, scheduler, signal } = options
  const services = await openServices(folderOf(options), { site, adapters, clock, log, scheduler })
  const [used] = services.sites
  if (used === undefined) throw new RangeError('services without a site')
  return {
    site: used.site,
    clock: services.clock,
    processes: used.processes,
    files: used.files,
    checkScheduler: () => used.checkScheduler(),
    scheduler: () => used.scheduler({ signal }),
    [Symbol.asyncDispose]: () => services[Symbol.asyncDispose](),
  }
}

/**
 * The sites that a command without a site is about: those that the configuration names, and this machine where it is the default.
 *
 * @param names - only these
 * @throws ConfigError `E_NOT_FOUND` with the nearest known name
 */
export async function usedSites(folder: string, names: readonly string[] | undefined): Promise<NamedSite[]> {
  const config = await readSites(folder)
  if (names !== undefined && names.length > 0) return [...new Set(names)].map((name) => siteOf(config, name))
  const named = new Set((await readSiteFiles(folder)).flatMap((file) => Object.keys(file.config.sites)))
  return Object.keys(config.sites)
    .filter((name) => named.has(name) || name === config.defaultSite)
    .map((name) => siteOf(config, name))
}
