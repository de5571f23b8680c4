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
  type RunManifest,
  readManifest,
} from '../../engine/manifest.js'
import { Planner } from '../../engine/plan.js'
import { checkWritable, findRuns, kindOfDirectory, makeRunDirectory, runName } from '../../engine/run-directory.js'
import { ConfigError, StoreError } from '../../errors.js'
import { slugOf } from '../../ids.js'
import type { WorkItem } from '../../model/combination.js'
import type { LoadedCampaign, RunEvent, RunSummary } from '../../model/run.js'
import type { Space } from '../../model/space.js'
import { readGitState } from '../../system/git.js'
import { makeLogger } from '../../system/log.js'
import { describeMachine } from '../../system/machine.js'
import { writeFileAtomicSync } from '../../util/atomic-file.js'
import { asLoadedCampaign, type CampaignDefinition } from '../campaign.js'
import { cahierVersion, openServices, type ServiceOptions, type Services } from '../services.js'
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
  await using services = await openServices(loaded.directory, { ...options, defaultSite: [loaded.spec.site].flat()[0] })
  const prepared = prepareCampaign(loaded, services.renderer, { isLocal: services.site.scheduler === 'local' })
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
  const { spec, scripts } = campaign
  const { site, clock, renderer } = services
  const scheduler = await services.scheduler()
  const runId = run.state.campaign?.runId ?? ''
  const poll = options.timing?.pollMs ?? (scheduler.supports.push ? 1000 : 30_000)
  const controller = new Controller({
    spec,
    directory: run.directory,
    planner: new Planner({
      spec,
      runId,
      tagName: run.state.tagName,
      runDirectory: run.directory,
      renderer,
      scripts,
      modules: site.modules,
    }),
    state: run.state,
    store: run.store,
    scheduler,
    collect: campaign.collect ?? makeCollect(spec),
    files,
    site,
    clock,
    log: options.log ?? services.log,
    settings: {
      maxInFlight: options.maxInFlight ?? spec.maxInFlight,
      batch: 256,
      graceMs: options.timing?.graceMs ?? (scheduler.supports.push ? 5000 : 120_000),
      settleGraceMs: options.timing?.settleGraceMs ?? (scheduler.supports.push ? 1000 : 60_000),
      pollMs: poll,
      pollMaxMs: poll * 10,
    },
    emit: options.onEvent ?? (() => undefined),
    version: cahierVersion(),
    checkLease: () => hold.check(),
    signal: options.signal,
    mode: options.mode ?? 'run',
  })
  return await controller.run()
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
      await store.append([{ type: 'campaign', runId, name, revision: 1, definition: items.definition, fingerprint }])
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
    site: { name: services.site.name, scheduler: services.site.scheduler },
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
