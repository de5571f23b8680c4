import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Collect } from '../../engine/context.js'
import { changedParts, fingerprintOf, MANIFEST_FILE, type RunManifest, readManifest, sourceDirectory } from '../../engine/manifest.js'
import { checkRunDirectory } from '../../engine/run-directory.js'
import { ConfigError, isCampaignError, messageOf, StoreError } from '../../errors.js'
import type { CampaignSpec } from '../../model/campaign.js'
import type { RunEvent, RunStatus } from '../../model/run.js'
import type { Logger } from '../../ports/logger.js'
import { makeLogger } from '../../system/log.js'
import { loadCampaign } from '../campaign.js'
import { openServices, type ServiceOptions } from '../services.js'
import { makeCollect } from './collect.js'
import { type Hold, readHolder, takeHold } from './hold.js'
import { type OpenRun, openRun } from './open-run.js'
import { statusOf } from './read-run.js'
import { type DrivenCampaign, drive, type RunTiming } from './run-campaign.js'

export interface StopRunOptions extends ServiceOptions {
  /** Cancels what is in flight; its work items go back to the list. Default false: jobs go on. */
  readonly cancelJobs?: boolean | undefined
  readonly onEvent?: ((event: RunEvent) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** For tests and unusual sites. */
  readonly timing?: RunTiming | undefined
}

export interface StoppedRun {
  /**
   * `asked`: the controller that drives the run was asked and has stopped; `taken-over`: it was asked and was gone (killed, or left by
   * itself) before it had canceled the jobs, so this call did; `driven`: nobody drove it, so this call did; `idle`: nothing was to be
   * stopped.
   */
  readonly how: 'asked' | 'taken-over' | 'driven' | 'idle'
  /** Jobs that were in flight before. */
  readonly jobs: number
  readonly status: RunStatus
}

const LOOK_MS = 200

/** Stops a run: nothing more is claimed; jobs are canceled, and their ends waited for, only when that is asked. */
export async function stopRun(directory: string, options: StopRunOptions = {}): Promise<StoppedRun> {
  const cancelJobs = options.cancelJobs === true
  const path = checkRunDirectory(directory)
  let before: number | undefined
  for (;;) {
    if (readHolder(path) !== undefined) {
      const asked = await askHolder(path, cancelJobs, options)
      before ??= asked.jobs
      const isOver = !cancelJobs || asked.left === 0 || options.signal?.aborted === true
      if (isOver) return { how: 'asked', jobs: before, status: asked.status }
    }
    const hold = await takeOver(path, before !== undefined)
    if (hold !== undefined) return await stopHeld(path, hold, before, options)
  }
}

/** Writes the wish to stop, and waits until nobody drives the run: because it was heard, or because the controller died. */
async function askHolder(
  path: string,
  cancelJobs: boolean,
  { signal, onEvent }: StopRunOptions,
): Promise<{ readonly jobs: number; readonly left: number; readonly status: RunStatus }> {
  await using run = await openRun(path)
  const jobs = run.state.flights.size
  const ask = async (): Promise<number> => (await run.store.append([{ type: 'stop', cancelJobs }]))[0] ?? 0
  let wish = await ask()
  while (readHolder(path) !== undefined && signal?.aborted !== true) {
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined)
    await run.store.refresh()
    onEvent?.({ type: 'counts', counts: run.state.counts() })
    if (run.state.openedSeq < wish) continue
    // Another controller has begun since. It takes no wishes that are older than itself.
    if (!cancelJobs) break
    wish = await ask()
  }
  await run.store.refresh()
  return { jobs, left: run.state.flights.size, status: statusOf(run, readHolder(path)) }
}

/** @returns `undefined`: after our question somebody else was faster, who is to be asked */
async function takeOver(path: string, wasAsked: boolean): Promise<Hold | undefined> {
  try {
    return await takeHold(path)
  } catch (error) {
    if (wasAsked && isCampaignError(error) && error.code === 'E_RUN_HELD' && readHolder(path) !== undefined) return undefined
    throw error
  }
}

/** Held for the time of this call only: the status that is returned does not count it. */
async function stopHeld(path: string, held: Hold, before: number | undefined, options: StopRunOptions): Promise<StoppedRun> {
  await using hold = held
  await using run = await openRun(path)
  const left = run.state.flights.size
  const jobs = before ?? left
  if (options.cancelJobs !== true || left === 0) {
    return { how: before === undefined ? 'idle' : 'asked', jobs, status: statusOf(run, undefined) }
  }
  const manifest = readManifest(path)
  checkSiteKnown(path, manifest, options)
  const home = manifest?.campaignFile == null ? process.cwd() : dirname(manifest.campaignFile)
  await using services = await openServices(home, { ...options, site: options.site ?? manifest?.site.name })
  using log = makeLogger({ file: join(path, 'log.ndjson'), clock: services.clock })
  const campaign = await campaignToStop(run, manifest, log)
  await drive(run, campaign, services, hold, [], { ...options, log, mode: 'stop' })
  return { how: before === undefined ? 'driven' : 'taken-over', jobs, status: statusOf(run, undefined) }
}

/** A scheduler that is not the one the jobs were given to would know none of them, and they would count as lost. */
function checkSiteKnown(path: string, manifest: RunManifest | undefined, { site, scheduler }: StopRunOptions): void {
  if (site !== undefined || scheduler !== undefined) return
  if (manifest === undefined) {
    throw new StoreError('E_RUN_DIRECTORY', `${path} has no ${MANIFEST_FILE} that can be read: it is not known where its jobs run`, {
      suggestions: ['Continue the run and stop it from there: cahier run <campaign> --dir <directory>'],
      data: { directory: path },
    })
  }
  if (manifest.campaignFile !== null) return
  throw new ConfigError(
    'E_CAMPAIGN_NOT_FOUND',
    `the campaign of ${path} and its site were defined by a program and cannot be loaded from here`,
    {
      suggestions: ['Stop it from that program'],
    },
  )
}

/**
 * What is needed to end jobs: the copy of the campaign that the run keeps, whatever its file says by now; the file, where the copy cannot
 * be loaded by itself and its rules are still those of the run; else what the manifest tells. Jobs that succeed in the last moment
 * have no rules for their results then, and wait for them as invalid ones.
 */
async function campaignToStop(run: OpenRun, manifest: RunManifest | undefined, log: Logger): Promise<DrivenCampaign> {
  const { campaign } = run.state
  const original = manifest?.campaignFile ?? undefined
  const kept = original === undefined ? undefined : join(sourceDirectory(run.directory, campaign?.revision ?? 1), basename(original))
  for (const file of [kept, original]) {
    if (file === undefined || !existsSync(file)) continue
    try {
      const { spec } = await loadCampaign(file)
      const collect = makeCollect(spec)
      if (file === kept || hasRulesOf(run, spec)) return { spec, collect, scripts: new Map() }
    } catch (error) {
      log.info({ file, error: messageOf(error) }, 'campaign not readable: jobs are canceled without it')
    }
  }
  return { spec: specOfManifest(manifest), collect: collectLater, scripts: new Map() }
}

/** Whether results are read and checked as the run does it. */
function hasRulesOf({ state }: OpenRun, spec: CampaignSpec): boolean {
  const { fingerprint = {}, definition = { kind: 'none' } } = state.campaign ?? {}
  const changed = changedParts(fingerprint, fingerprintOf({ ...spec, files: [] }, definition, '/', new Map()))
  return !['results', 'collect', 'prepare'].some((part) => changed.includes(part))
}

const collectLater: Collect = () => ({
  ok: false,
  detail: 'its results were not read: the campaign could not be loaded when the run was stopped; read them with: cahier retry --collect',
})

/** The parts that say which jobs there are and what becomes of them. */
function specOfManifest(manifest: RunManifest | undefined): CampaignSpec {
  const data = (manifest?.campaign ?? {}) as Partial<CampaignSpec>
  const { attempts = 1, on = [] } = data.retry ?? {}
  return {
    name: data.name ?? '',
    factors: {},
    repetitions: data.repetitions ?? 1,
    order: 'natural',
    files: [],
    prepare: data.prepare ?? [],
    job: {},
    collect: {},
    report: [],
    maxInFlight: 1,
    // What came home is not to be run again because it was not read.
    retry: { attempts, on: on.filter((outcome) => outcome !== 'invalid') },
    breaker: { identical: 0 },
  }
}
