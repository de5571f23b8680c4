import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type RunManifest, readManifest, sourceDirectory } from '../../engine/manifest.js'
import { checkRunDirectory } from '../../engine/run-directory.js'
import { RunState, type RunStateOptions } from '../../engine/run-state.js'
import { StoreError } from '../../errors.js'
import type { WorkItem } from '../../model/combination.js'
import type { LoadedCampaign } from '../../model/run.js'
import type { Clock } from '../../ports/clock.js'
import type { Logger } from '../../ports/logger.js'
import { JournalStore } from '../../store/journal-store.js'
import { spaceFromDefinition } from '../../sweep/space-json.js'
import { loadCampaign } from '../campaign.js'

/** A run directory with its journal open. */
export interface OpenRun extends AsyncDisposable {
  readonly directory: string
  readonly store: JournalStore
  readonly state: RunState
}

export interface OpenRunOptions extends RunStateOptions {
  readonly readOnly?: boolean
  readonly clock?: Clock
  readonly log?: Logger
}

/** Opens the journal of a directory that exists. */
export async function openJournal(directory: string, options: OpenRunOptions = {}): Promise<OpenRun> {
  const { readOnly = false, clock, log, history = false } = options
  const store = new JournalStore(directory, { ...(clock === undefined ? {} : { clock }), ...(log === undefined ? {} : { log }) })
  const state = new RunState((definition) => spaceFromDefinition<WorkItem>(definition), { history })
  store.fold(state.fold, { reset: state.reset })
  await store.open({ readOnly })
  return {
    directory,
    store,
    state,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
    },
  }
}

/** The same for a directory that must be that of a run, with a campaign in its journal. */
export async function openRun(directory: string, options: OpenRunOptions = {}): Promise<OpenRun> {
  const path = checkRunDirectory(directory)
  const run = await openJournal(path, options)
  if (run.state.campaign !== undefined) return run
  await run[Symbol.asyncDispose]()
  throw new StoreError('E_RUN_DIRECTORY', `the run in ${path} was never begun: its journal holds no campaign`, {
    suggestions: ['Run the campaign in this directory: cahier run <file> --dir <directory>'],
  })
}

/** The campaign of a run: its file where it still is (figures may have been edited since), else the copy that the run keeps. */
export async function campaignOfRun(
  run: OpenRun,
): Promise<{ readonly campaign: LoadedCampaign | undefined; readonly manifest: RunManifest | undefined }> {
  const manifest = readManifest(run.directory)
  const original = manifest?.campaignFile ?? undefined
  const revision = run.state.campaign?.revision ?? 1
  const kept = original === undefined ? undefined : join(sourceDirectory(run.directory, revision), basename(original))
  for (const file of [original, kept]) {
    if (file === undefined || !existsSync(file)) continue
    try {
      return { campaign: await loadCampaign(file), manifest }
    } catch (error) {
      if (file === kept) throw error
    }
  }
  return { campaign: undefined, manifest }
}
