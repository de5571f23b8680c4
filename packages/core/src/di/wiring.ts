import type { Site } from '../model/site.js'
import { AdapterRegistry, type AdapterSources } from '../plugins/adapter-registry.js'
import type { AdapterHost } from '../ports/adapter.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import type { Scheduler } from '../ports/scheduler.js'
import type { SiteFiles } from '../ports/site-files.js'
import type { TemplateRenderer } from '../ports/template-renderer.js'
import { LocalBackend } from '../process/local-backend.js'
import { BatchScheduler } from '../scheduler/batch/batch-scheduler.js'
import { localAdapter } from '../scheduler/local/index.js'
import { LocalFiles } from '../staging/local-files.js'
import { RemoteFiles } from '../staging/remote-files.js'
import { systemClock } from '../system/clock.js'
import { silentLogger } from '../system/log.js'
import { LiquidRenderer } from '../template/liquid-renderer.js'
import { makeFleetKit } from './fleet-kit.js'
import { Scope, token } from './scope.js'
import { SiteScheduler } from './site-scheduler.js'

// One for the program.
export const CLOCK = token<Clock>('Clock')
export const RENDERER = token<TemplateRenderer>('TemplateRenderer')
export const PROCESSES = token<ProcessBackend>('ProcessBackend')

// One for each site of a campaign.
export const LOG = token<Logger>('Log')
const SITE = token<CampaignSite>('Site')
export const ADAPTERS = token<AdapterRegistry>('Adapters')
const SITE_PROCESSES = token<ProcessBackend>('SiteProcesses')
export const SITE_FILES = token<SiteFiles>('SiteFiles')
export const ADAPTER_HOST = token<AdapterHost>('AdapterHost')
export const SCHEDULER = token<SiteScheduler>('SiteScheduler')

type CampaignSite = Pick<Site, 'scheduler' | 'options'> & Partial<Pick<Site, 'host' | 'sharedFiles'>>

/**
 * The adapters that a campaign can use, in the order in which a name is looked up; core's own come with them.
 *
 * @param directory - of the campaign: packages that its `package.json` lists are looked at
 * @param sources - what the program gives, and further folders
 */
export function openAdapters(directory: string, { given, builtIn = [], roots = [] }: AdapterSources = {}): AdapterRegistry {
  return new AdapterRegistry({ given, builtIn: [localAdapter, ...builtIn], roots: [{ origin: 'campaign', directory }, ...roots] })
}

/** What a program has once. */
export function programScope({ clock = systemClock }: { readonly clock?: Clock | undefined } = {}): Scope {
  return new Scope('program')
    .bindValue(CLOCK, clock)
    .bind(RENDERER, [], () => new LiquidRenderer())
    .bind(PROCESSES, [], () => new LocalBackend())
}

/** What the services of one campaign need to know. */
export interface CampaignServices {
  /** Folder of the campaign. */
  readonly directory: string
  readonly site: CampaignSite
  readonly adapters?: AdapterSources | undefined
  /** A library says nothing by itself: silent by default. */
  readonly log?: Logger | undefined
  /** A scheduler made by the program, instead of the site's. Who made it also ends it. */
  readonly scheduler?: Scheduler | undefined
  /** Starts processes on the machine through which the site is used; default: this one. Who made it also ends it. */
  readonly processes?: ProcessBackend | undefined
}

/** True when its jobs see the files of this machine under the same names. */
export function sharesFiles({ host, sharedFiles }: Partial<Pick<Site, 'host' | 'sharedFiles'>>): boolean {
  return sharedFiles ?? host === undefined
}

/**
 * The services of one campaign at one site, checked before anything is made.
 *
 * @throws AdapterError `E_WIRING`
 */
export function campaignScope(program: Scope, options: CampaignServices): Scope {
  const { directory, site, adapters, log = silentLogger, scheduler, processes } = options
  const scope = program
    .child('campaign')
    .bindValue(LOG, log)
    .bindValue(SITE, site)
    .bind(ADAPTERS, [], () => openAdapters(directory, adapters))
  if (processes !== undefined) scope.bindValue(SITE_PROCESSES, processes)
  const backend = processes === undefined ? PROCESSES : SITE_PROCESSES
  scope
    .bind(SITE_FILES, [SITE, backend, CLOCK], (used, started, clock) =>
      sharesFiles(used) ? new LocalFiles({ clock }) : new RemoteFiles({ processes: started, clock }),
    )
    .bind(ADAPTER_HOST, [backend, SITE_FILES, CLOCK, LOG], lend)
    .bind(
      SCHEDULER,
      [SITE, ADAPTERS, ADAPTER_HOST],
      (used, registry, host) => new SiteScheduler(() => registry.createScheduler(used.scheduler, used.options, host), scheduler),
    )
  scope.check()
  return scope
}

/** What core lends to an adapter that is used without a site: everything is of this machine. */
export function adapterHost(given: { readonly log?: Logger | undefined; readonly processes?: ProcessBackend | undefined }): AdapterHost {
  const { log = silentLogger, processes = new LocalBackend() } = given
  return lend(processes, new LocalFiles({ clock: systemClock }), systemClock, log)
}

function lend(processes: ProcessBackend, files: SiteFiles, clock: Clock, log: Logger): AdapterHost {
  return {
    processes,
    files,
    clock,
    log,
    batchScheduler: (dialect, options) => new BatchScheduler({ dialect, options, processes, files, clock, log }),
    fleet: makeFleetKit({ processes, clock, log }),
  }
}
