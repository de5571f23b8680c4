import { join } from 'node:path'
import type { Site } from '../model/site.js'
import { AdapterRegistry } from '../plugins/adapter-registry.js'
import { checkOptions } from '../plugins/descriptor.js'
import type { PackageRoot } from '../plugins/packages.js'
import type { AdapterHost, AdapterModule } from '../ports/adapter.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import type { Scheduler } from '../ports/scheduler.js'
import type { TemplateRenderer } from '../ports/template-renderer.js'
import { LocalBackend } from '../process/local-backend.js'
import { localAdapter } from '../scheduler/local/index.js'
import { JournalStore } from '../store/journal-store.js'
import { systemClock } from '../system/clock.js'
import { type LineSink, makeLogger, type OpenLogger } from '../system/log.js'
import { LiquidRenderer } from '../template/liquid-renderer.js'
import { Scope, token } from './scope.js'

// One for the program.
export const CLOCK = token<Clock>('Clock')
export const ADAPTERS = token<AdapterRegistry>('Adapters')
export const RENDERER = token<TemplateRenderer>('TemplateRenderer')
export const PROCESSES = token<ProcessBackend>('ProcessBackend')

// One for each run of a campaign.
export const LOG = token<Logger>('Log')
export const STORE = token<JournalStore>('Store')
export const ADAPTER_HOST = token<AdapterHost>('AdapterHost')
export const SCHEDULER = token<Scheduler>('Scheduler')

/** Where adapters are looked for. What is absent is not looked at. */
export interface AdapterPlaces {
  /** Descriptors passed by an embedding program. */
  readonly given?: readonly AdapterModule[] | undefined
  /** Folder of the campaign file: packages that its `package.json` lists. */
  readonly campaignDirectory?: string | undefined
  /** Folder in which the command line keeps what `cahier plugins install` brought. */
  readonly pluginDirectory?: string | undefined
  /** Folder of the program that ships the official adapters as its own dependencies. */
  readonly officialDirectory?: string | undefined
}

/** The registry over these places, in the order in which a name is looked up; core's own adapters come with it. */
export function openAdapters({ given, campaignDirectory, pluginDirectory, officialDirectory }: AdapterPlaces = {}): AdapterRegistry {
  const places = [
    ['campaign', campaignDirectory],
    ['plugins', pluginDirectory],
    ['official', officialDirectory],
  ] as const
  const roots: PackageRoot[] = places.flatMap(([origin, directory]) => (directory === undefined ? [] : [{ origin, directory }]))
  return new AdapterRegistry({ given, builtIn: [localAdapter], roots })
}

/** What a program has once. */
export function programScope({
  clock = systemClock,
  adapters = {},
}: {
  readonly clock?: Clock
  readonly adapters?: AdapterPlaces
} = {}): Scope {
  return new Scope('program')
    .bindValue(CLOCK, clock)
    .bind(ADAPTERS, [], () => openAdapters(adapters))
    .bind(RENDERER, [], () => new LiquidRenderer())
    .bind(PROCESSES, [], () => new LocalBackend())
}

/** What the services of one run need to know. */
export interface CampaignServices {
  /** Run directory: the journal and the log are there. */
  readonly directory: string
  readonly site: Pick<Site, 'scheduler' | 'options'>
  /** Shows the notebook lines of the log; a library says nothing by itself. */
  readonly terminal?: LineSink | undefined
}

/**
 * The services of one run, checked before anything is made. Ends with the run: the scheduler and the journal are closed,
 * jobs go on.
 *
 * @throws AdapterError when the site's scheduler is missing, broken, or its options are wrong
 */
export async function campaignScope(program: Scope, { directory, site, terminal }: CampaignServices): Promise<Scope> {
  // Importing is the one thing that a factory could not wait for.
  const adapter = await program.resolve(ADAPTERS).load('scheduler', site.scheduler)
  const options = checkOptions(adapter, site.options)
  const scope = program
    .child('campaign')
    .bind(LOG, [CLOCK], (clock): OpenLogger => makeLogger({ file: join(directory, 'log.ndjson'), terminal, clock }))
    .bind(STORE, [CLOCK], (clock) => new JournalStore(directory, { clock }))
    .bind(ADAPTER_HOST, [PROCESSES, CLOCK, LOG], (processes, clock, log) => ({ processes, clock, log }))
    .bind(SCHEDULER, [ADAPTER_HOST], (host) => adapter.create(options, host) as Scheduler)
  scope.check()
  return scope
}
