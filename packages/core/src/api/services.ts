import { readFileSync } from 'node:fs'
import { CLOCK, campaignScope, LOG, programScope, RENDERER, SCHEDULER } from '../di/wiring.js'
import { ConfigError } from '../errors.js'
import type { AdapterSources } from '../plugins/adapter-registry.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { Scheduler } from '../ports/scheduler.js'
import type { TemplateRenderer } from '../ports/template-renderer.js'
import { type NamedSite, readSites, siteOf } from './site-config.js'

/** What a program may give instead of what is found by itself. */
export interface ServiceOptions {
  /** Name of a site of the configuration, or a site made by the program. Default: that of the configuration, else `local`. */
  readonly site?: string | NamedSite | undefined
  /** A scheduler made by the program; the site then gives account, queue and modules only. It is not closed by the run. */
  readonly scheduler?: Scheduler | undefined
  /** Adapters of the program, and folders where adapter packages are looked for beside the campaign's. */
  readonly adapters?: AdapterSources | undefined
  readonly clock?: Clock | undefined
  readonly log?: Logger | undefined
}

/** Everything that a run needs from the outside. */
export interface Services extends AsyncDisposable {
  readonly site: NamedSite
  readonly clock: Clock
  readonly log: Logger
  readonly renderer: TemplateRenderer
  /** Finds out whether the site's scheduler can be used, without asking the site anything. Throws AdapterError. */
  checkScheduler(): Promise<void>
  /** Made and opened when it is first asked for. */
  scheduler(): Promise<Scheduler>
}

/** The default wiring: this machine's clock and processes, the site's scheduler, Liquid templates. */
export async function openServices(
  directory: string,
  options: ServiceOptions & { readonly defaultSite?: string | undefined } = {},
): Promise<Services> {
  const { adapters, log, scheduler, clock } = options
  const site = typeof options.site === 'object' ? options.site : siteOf(await readSites(directory), options.site ?? options.defaultSite)
  // The wrong machine would be worse than none.
  if (site.host !== undefined && site.scheduler === 'local' && scheduler === undefined) {
    throw new ConfigError(
      'E_NOT_SUPPORTED',
      `site ${site.name} is on ${site.host}, but the scheduler local starts jobs on this machine only`,
      {
        suggestions: [`Name the scheduler of ${site.host}, or leave host out for this machine`],
      },
    )
  }
  const program = programScope({ clock })
  const scope = campaignScope(program, { directory, site, adapters, log, scheduler })
  return {
    site,
    clock: scope.resolve(CLOCK),
    log: scope.resolve(LOG),
    renderer: scope.resolve(RENDERER),
    checkScheduler: () => scope.resolve(SCHEDULER).check(),
    scheduler: () => scope.resolve(SCHEDULER).get(),
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]()
    },
  }
}

let version: string | undefined

/** The version of this copy of Cahier. */
export function cahierVersion(): string {
  version ??= (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version
  return version
}
