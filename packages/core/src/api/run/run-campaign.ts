import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { asStoreError, type InputFile } from '../../engine/attempt-files.js'
import { compareItems } from '../../engine/compare-items.js'
import type { Collect } from '../../engine/context.js'
import { Controller, type ControllerEnd } from '../../engine/controller.js'
import {
  campaignAsData,
  changedParts,
  hashOf,
  inputFiles,
  keepSources,
  MANIFEST_FILE,
  type ManifestSite,
  type RunManifest,
  readManifest,
} from '../../engine/manifest.js'
import { Planner } from '../../engine/plan.js'
import { checkWritable, findRuns, kindOfDirectory, makeRunDirectory, runName } from '../../engine/run-directory.js'
import { RunSite } from '../../engine/run-site.js'
import { ConfigError, isCampaignError, StoreError } from '../../errors.js'
import { slugOf } from '../../ids.js'
import type { WorkItem } from '../../model/combination.js'
import type { LoadedCampaign, RunEvent, RunSummary } from '../../model/run.js'
import type { Space } from '../../model/space.js'
import { readGitState } from '../../system/git.js'
import { makeLogger } from '../../system/log.js'
import { describeMachine } from '../../system/machine.js'
import { writeFileAtomicSync } from '../../util/atomic-file.js'
import { asLoadedCampaign, type CampaignDefinition } from '../campaign.js'
import { cahierVersion, openServices, type ServiceOptions, type Services, type SiteServices } from '../services.js'
import type { NamedSite } from '../site-config.js'
import { makeCollect } from './collect.js'
import { type Hold, takeHold } from './hold.js'
import { type OpenRun, openJournal } from './open-run.js'
import { type PreparedCampaign, prepareCampaign } from './prepared.js'
import { NO_REPORT, writeRunReport } from './report.js'

export interface RunCampaignOptions extends ServiceOptions {
  /** A file, what `defineCampaign` returned, or a campaign that was loaded. */
  readonly campaign: string | CampaignDefinition | LoadedCampaign
  /** Made when it does not exist, continued when it is that of a run. Default: see `fresh`. */
  readonly directory?: string | undefined
  /**
   * Without a directory: false (default) continues the newest run of this campaign file in the current folder when work
   * remains in it; true starts another, `<campaign>_YYYYMMDD-HHMMSS`.
   */
  readonly fresh?: boolean | undefined
  readonly maxInFlight?: number | undefined
  /** Goes on although the campaign differs from what the run was started with. */
  readonly acceptChanges?: boolean | undefined
  readonly onEvent?: ((event: RunEvent) => void) | undefined
  /** Aborted: claim nothing more and detach; jobs go on, and a later controller adopts them. */
  readonly signal?: AbortSignal | undefined
  /** For tests and unusual sites. */
  readonly timing?: RunTiming | undefined
}

export interface RunTiming {
  readonly graceMs?: number
  readonly settleGraceMs?: number
  readonly pollMs?: number
}

/**
 * Runs a campaign: everything that is not done yet, then tables, figures and report.
 *
 * @returns also for a run that is paused or detached, or of which items failed: `outcome` says which
 * @throws ConfigError before anything runs; `E_CAMPAIGN_CHANGED` with the difference; StoreError `E_RUN_HELD` naming the holder,
 * `E_RUN_DIRECTORY`, `E_JOURNAL_DAMAGED`; AdapterError
 */
export async function runCampaign(options: RunCampaignOptions): Promise<RunSummary> {
  const loaded = await asLoadedCampaign(options.campaign)
  await using services = await openServices(loaded.directory, { ...options, defaultSite: loaded.spec.site })
  const prepared = prepareCampaign(loaded, services.renderer, { isLocal: isLocal(services) })
  await services.checkScheduler()
  const directory = await chooseDirectory(prepared, options, services)
  using log = makeLogger({ file: join(directory, 'log.ndjson'), clock: services.clock })
  await using hold = await takeHold(directory)
  await using run = await openJournal(directory, { clock: services.clock, log })
  const files = await enter(run, prepared, services, options.acceptChanges === true)
  log.info({ arguments: process.argv.slice(1) }, 'command line arguments')
  log.info({ directory }, 'run in directory')
  const end = await drive(run, prepared, services, hold, files, { ...options, log })
  // On a full disk there is no room for it, and what is done is safe in the journal.
  const isFull = end.pause?.reason === 'disk-full'
  const report = isFull ? NO_REPORT : await writeRunReport(run, prepared, services.clock.now())
  for (const finding of report.findings) log.info({ text: finding.text }, finding.title)
  log.info({ outcome: end.outcome }, end.outcome === 'complete' ? 'engine completed' : 'engine ended')
  const counts = run.state.counts()
  if (report.file !== undefined) options.onEvent?.({ type: 'report', file: report.file })
  options.onEvent?.({ type: 'finished', counts, outcome: end.outcome })
  return { directory, outcome: end.outcome, counts, pause: end.pause, reportFile: report.file, findings: report.findings }
}

/** What a controller needs of a campaign. */
export interface DrivenCampaign extends Pick<PreparedCampaign, 'spec' | 'scripts'> {
  /** Default: as the campaign says. */
  readonly collect?: Collect
}

/** Gives a run to a controller until it ends, pauses or is detached. */
export async function drive(
  run: OpenRun,
  campaign: DrivenCampaign,
  services: Services,
  hold: Hold,
  files: readonly InputFile[],
  options: Pick<RunCampaignOptions, 'maxInFlight' | 'onEvent' | 'signal' | 'timing' | 'log'> & { readonly mode?: 'run' | 'stop' },
): Promise<ControllerEnd> {
  const { spec } = campaign
  const { clock } = services
  const defaultSite = defaultSiteOf(run, services)
  const controller = new Controller({
    spec,
    directory: run.directory,
    sites: sitesOf(run, services, defaultSite, options.mode === 'stop').map((site) =>
      runSite(site, { run, campaign, services, files, timing: options.timing, defaultSite, takesWork: services.sites.includes(site) }),
    ),
    defaultSite,
    state: run.state,
    store: run.store,
    collect: campaign.collect ?? makeCollect(spec),
    files,
    clock,
    log: options.log ?? services.log,
    settings: { maxInFlight: options.maxInFlight ?? spec.maxInFlight },
    emit: options.onEvent ?? (() => undefined),
    version: cahierVersion(),
    checkLease: () => hold.check(),
    signal: options.signal,
    mode: options.mode ?? 'run',
  })
  return await controller.run()
}

/** The site of all jobs of which the journal names none. Journals of older versions never do: then it is that of the manifest. */
function defaultSiteOf({ state, directory }: OpenRun, { sites, site }: Services): string {
  if (state.site !== undefined) return state.site
  const begun = readManifest(directory)?.site.name
  return begun !== undefined && sites.some((one) => one.site.name === begun) ? begun : site.name
}

/**
 * The sites that share the work, and those where jobs of this run are in flight; to stop, only these.
 *
 * @throws ConfigError `E_NOT_FOUND` for jobs in flight at a site that nobody describes any more
 */
function sitesOf({ state }: OpenRun, services: Services, defaultSite: string, isStop: boolean): SiteServices[] {
  const names = new Map<string, number>()
  for (const { site = defaultSite } of state.flights.values()) names.set(site, (names.get(site) ?? 0) + 1)
  const shared = services.sites.filter(({ site }) => !isStop || names.has(site.name))
  for (const { site } of services.sites) names.delete(site.name)
  const others = [...names].map(([name, jobs]): SiteServices => {
    try {
      return services.siteNamed(name)
    } catch (cause) {
      if (!isCampaignError(cause) || cause.code !== 'E_NOT_FOUND') throw cause
      throw new ConfigError(
        'E_NOT_FOUND',
        `${jobs} jobs of this run are in flight at the site ${name}, which the configuration does not have`,
        {
          suggestions: [
            `Describe the site ${name} in cahier.config again, or give its name to the site that it is now`,
            ...cause.suggestions,
          ],
          data: { site: name, jobs, ...cause.data },
          cause,
        },
      )
    }
  })
  return [...shared, ...others]
}

function runSite(
  services: SiteServices,
  parts: {
    readonly run: OpenRun
    readonly campaign: DrivenCampaign
    readonly services: Services
    readonly files: readonly InputFile[]
    readonly timing: RunTiming | undefined
    readonly defaultSite: string
    readonly takesWork: boolean
  },
): RunSite {
  const { run, campaign, files, timing, defaultSite, takesWork } = parts
  const { spec, scripts } = campaign
  const { site } = services
  const runId = run.state.campaign?.runId ?? ''
  const place = services.place({ directory: run.directory, runId, inputs: files, fetch: spec.fetch })
  const planner = new Planner({
    spec,
    runId,
    tagName: run.state.tagName,
    // Known once the place is open; nothing is planned before.
    get runDirectory() {
      return place.root
    },
    renderer: parts.services.renderer,
    scripts,
    modules: site.modules,
    site: site.name === defaultSite ? undefined : site.name,
  })
  const { name, queue, account } = site
  return new RunSite({ name, queue, account, place, planner, timing, takesWork, openScheduler: (call) => services.scheduler(call) })
}

/** True when every job runs on this machine: then its programs can be looked up. */
export function isLocal({ sites }: Services): boolean {
  return sites.every(({ site }) => site.scheduler === 'local')
}

async function chooseDirectory(campaign: PreparedCampaign, options: RunCampaignOptions, { clock }: Services): Promise<string> {
  if (options.directory !== undefined) return useDirectory(resolve(options.directory))
  const here = process.cwd()
  const [newest] = options.fresh === true ? [] : findRuns(here, campaign.name, campaign.file)
  if (newest !== undefined && (await hasWork(newest))) return newest
  return makeRunDirectory(here, runName(campaign.name, clock.now()))
}

function useDirectory(directory: string): string {
  switch (kindOfDirectory(directory)) {
    case 'run':
    case 'empty':
      checkWritable(directory)
      return directory
    case 'absent': {
      const name = directory.split('/').at(-1) ?? ''
      const parent = resolve(directory, '..')
      return makeRunDirectory(parent, name)
    }
    case 'other':
      throw new StoreError('E_RUN_DIRECTORY', `${directory} exists and is no run directory`, {
        suggestions: ['Name a directory that does not exist, is empty, or belongs to a run'],
        data: { directory },
      })
  }
}

async function hasWork(directory: string): Promise<boolean> {
  try {
    await using run = await openJournal(directory, { readOnly: true })
    const { todo, submitted, running } = run.state.counts()
    return todo + submitted + running > 0
  } catch {
    // A run that cannot be read is not continued by itself; naming its directory shows why.
    return false
  }
}

/** Begins a run, or checks that the campaign is the one that it was begun with. */
async function enter(run: OpenRun, campaign: PreparedCampaign, services: Services, acceptChanges: boolean): Promise<readonly InputFile[]> {
  const { state, store, directory } = run
  const { spec, items, fingerprint, name } = campaign
  const before = state.campaign
  try {
    if (before === undefined) {
      // The journal may have lost its beginning, and jobs carry the name that this run had.
      const runId = readManifest(directory)?.runId ?? randomBytes(5).toString('hex')
      const files = keepSources(directory, 1, campaign, campaign.scripts)
      await writeManifest(directory, runId, campaign, services)
      const site = services.site.name
      await store.append([{ type: 'campaign', runId, name, revision: 1, definition: items.definition, fingerprint, site }])
      return files
    }
    const changed = changedParts(before.fingerprint, fingerprint)
    if (changed.length === 0) return inputFiles(directory, before.revision, spec)
    if (!acceptChanges) throw describeChange(run, items, changed)
    const revision = before.revision + 1
    const files = keepSources(directory, revision, campaign, campaign.scripts)
    await store.append([{ type: 'campaign', runId: before.runId, name, revision, definition: items.definition, fingerprint }])
    return files
  } catch (error) {
    throw asStoreError(error, directory)
  }
}

function describeChange(run: OpenRun, items: Space<WorkItem>, changed: readonly string[]): ConfigError {
  const lines: string[] = []
  const { items: before } = run.state
  const difference = before === undefined || !changed.includes('sweep') ? undefined : compareItems(before, items)
  if (difference !== undefined) {
    const name = (item: WorkItem): string => `${slugOf(item.combination)} r${item.repetition}`
    const some = (mark: string, count: number, examples: readonly WorkItem[]): string =>
      `${mark}${count} work items${examples.length === 0 ? '' : ` (${examples.map(name).join(', ')}${count > examples.length ? ', …' : ''})`}`
    lines.push(some('+', difference.added, difference.examplesAdded), some('-', difference.removed, difference.examplesRemoved))
    lines.push(`=${difference.kept} work items`)
  }
  const others = changed.filter((part) => part !== 'sweep')
  if (others.length > 0) lines.push(`changed: ${others.join(', ')}`)
  return new ConfigError(
    'E_CAMPAIGN_CHANGED',
    `the campaign differs from the one that ${run.directory} was begun with: ${lines.join('; ')}`,
    {
      suggestions: [
        'Go on with the changed campaign, keeping what is done: add --accept-changes',
        'Start another run: add --new',
        'Undo the edit',
      ],
      data: { changed, added: difference?.added ?? 0, removed: difference?.removed ?? 0, kept: difference?.kept ?? items.size },
    },
  )
}

function manifestSite({ name, scheduler, host }: NamedSite): ManifestSite {
  return { name, scheduler, ...(host === undefined ? {} : { host }) }
}

async function writeManifest(directory: string, runId: string, campaign: PreparedCampaign, services: Services): Promise<void> {
  const git = await readGitState(campaign.directory)
  const { user: _user, ...machine } = describeMachine()
  if (git !== undefined && git.diff !== '') writeFileAtomicSync(join(directory, 'source.patch'), git.diff)
  const manifest: RunManifest = {
    version: 1,
    runId,
    campaign: campaignAsData(campaign.spec),
    campaignFile: campaign.file ?? null,
    campaignHash: campaign.file === undefined || !existsSync(campaign.file) ? null : hashOf(readFileSync(campaign.file)),
    site: manifestSite(services.site),
    ...(services.sites.length > 1 ? { sites: services.sites.map(({ site }) => manifestSite(site)) } : {}),
    versions: { cahier: cahierVersion(), node: process.version },
    machine,
    git:
      git === undefined
        ? null
        : {
            commit: git.commit ?? null,
            branch: git.branch ?? null,
            changes: git.changes,
            diffHash: git.diff === '' ? null : hashOf(git.diff),
          },
    commandLine: process.argv.slice(1),
    createdAt: services.clock.now(),
  }
  writeFileAtomicSync(join(directory, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`, { durable: true })
}
