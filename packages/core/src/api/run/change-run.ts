import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { compareItems, type SpaceDifference } from '../../engine/compare-items.js'
import { keepSources } from '../../engine/manifest.js'
import { checkRunDirectory } from '../../engine/run-directory.js'
import { ConfigError, StoreError } from '../../errors.js'
import type { ItemState, LoadedCampaign, RunCounts } from '../../model/run.js'
import { formatDate } from '../../system/notebook.js'
import { asLoadedCampaign, type CampaignDefinition } from '../campaign.js'
import { openServices, type ServiceOptions } from '../services.js'
import { type CollectedAgain, collectAgain } from './collect-again.js'
import { takeHold } from './hold.js'
import { openRun } from './open-run.js'
import { prepareCampaign } from './prepared.js'
import { chooseItems } from './read-run.js'
import { isLocal } from './run-campaign.js'

export interface RetryItemsOptions {
  /** Selectors as for `whyItem`. */
  readonly items?: readonly string[] | undefined
  /** Default, without items: `failed` and `invalid`; with `collectOnly` only `invalid`. */
  readonly states?: readonly ItemState[] | undefined
  /**
   * Starts nothing again: reads the files of the last attempt whose job succeeded with `collect` and `results` as the campaign has them
   * now. For a pattern that was wrong, or a schema that was too strict.
   */
  readonly collectOnly?: boolean | undefined
  /** With `collectOnly`: the campaign. Default: the file that the run was begun with. */
  readonly campaign?: string | CampaignDefinition | LoadedCampaign | undefined
}

/** What {@link retryItems} did. */
export interface RetriedItems {
  /** Work items that were put back, or (with `collectOnly`) whose results were read again. */
  readonly count: number
  /** With `collectOnly`: what came of it. */
  readonly collected?: CollectedAgain
}

/**
 * Puts failed, invalid or (when named) done work back on the list; a controller that runs takes it up.
 *
 * @throws ConfigError `E_NOT_FOUND`; with `collectOnly` also what a campaign that does not fit throws, and StoreError `E_RUN_HELD` while
 * a controller drives the run
 */
export async function retryItems(directory: string, options: RetryItemsOptions = {}): Promise<RetriedItems> {
  if (options.collectOnly === true) {
    const collected = await collectAgain(directory, options)
    return { count: collected.valid + collected.invalid, collected }
  }
  await using run = await openRun(directory)
  const { state, store } = run
  const states = options.states ?? (options.items === undefined ? ['failed', 'invalid'] : ['failed', 'invalid', 'done'])
  const candidates = chooseItems(run, options.items)
  return await store.transact(() => {
    const keys: (number | string)[] = []
    for (const index of candidates) {
      const now = state.stateOf(index)
      if ((now === 'failed' || now === 'invalid' || now === 'done') && states.includes(now)) keys.push(index)
    }
    const count = keys.length
    if (count > 0) keys.push(...state.failedPrepares())
    return { events: count === 0 ? [] : [{ type: 'retry', keys }], value: { count } }
  })
}

/** Adds a dated line to the notebook of a run; the report shows it. */
export async function addNote(directory: string, text: string): Promise<{ readonly file: string }> {
  const file = join(checkRunDirectory(directory), 'notes.md')
  const words = text.replace(/\s+/g, ' ').trim()
  if (words === '') throw new ConfigError('E_ARGUMENT', 'an empty note says nothing', { suggestions: ['Give the text of the note'] })
  try {
    appendFileSync(file, `- ${formatDate(Date.now())} ${words}\n`)
  } catch (cause) {
    throw new StoreError('E_RUN_DIRECTORY', `the note could not be written to ${file}`, { cause })
  }
  return { file }
}

/** The sweep of a run, as the journal knows it. */
export interface ShownSweep {
  readonly campaign: string
  readonly directory: string
  readonly items: number
  readonly counts: RunCounts
  readonly revision: number
  readonly definition: Readonly<Record<string, unknown>>
}

export async function showSweep(directory: string): Promise<ShownSweep> {
  await using run = await openRun(directory, { readOnly: true })
  const { state } = run
  return {
    campaign: state.campaign?.name ?? '',
    directory: run.directory,
    items: state.size,
    counts: state.counts(),
    revision: state.campaign?.revision ?? 0,
    definition: state.campaign?.definition ?? { kind: 'none' },
  }
}

export interface SetSweepOptions extends ServiceOptions {
  readonly campaign: string | CampaignDefinition | LoadedCampaign
  /** False: only shows the difference. */
  readonly apply: boolean
}

export interface SweepChange extends SpaceDifference {
  readonly applied: boolean
  readonly counts: RunCounts
}

/** Shows what an edited campaign would change, and changes it when asked: done work is kept, what is no longer wanted is set aside. */
export async function setSweep(directory: string, options: SetSweepOptions): Promise<SweepChange> {
  const path = checkRunDirectory(directory)
  const loaded = await asLoadedCampaign(options.campaign)
  await using services = await openServices(loaded.directory, { ...options, defaultSite: loaded.spec.site })
  const campaign = prepareCampaign(loaded, services.renderer, { isLocal: isLocal(services) })
  if (!options.apply) {
    await using run = await openRun(path, { readOnly: true })
    return { ...compareItems(run.state.items ?? campaign.items, campaign.items), applied: false, counts: run.state.counts() }
  }
  await using _hold = await takeHold(path)
  await using run = await openRun(path)
  const before = run.state.campaign
  const difference = compareItems(run.state.items ?? campaign.items, campaign.items)
  const revision = (before?.revision ?? 0) + 1
  keepSources(path, revision, campaign, campaign.scripts)
  await run.store.append([
    {
      type: 'campaign',
      runId: before?.runId ?? '',
      name: campaign.name,
      revision,
      definition: campaign.items.definition,
      fingerprint: campaign.fingerprint,
    },
  ])
  return { ...difference, applied: true, counts: run.state.counts() }
}

/** Puts the items in these states back on the list; `done` too when it is named. */
export async function resetSweep(
  directory: string,
  options: { readonly states: readonly ItemState[] },
): Promise<{ readonly count: number }> {
  const known: readonly ItemState[] = ['failed', 'invalid', 'done']
  const wrong = options.states.find((state) => !known.includes(state))
  if (wrong !== undefined) {
    throw new ConfigError('E_ARGUMENT', `work items in the state ${wrong} cannot be put back`, {
      suggestions: [`Use ${known.join(', ')}; what is in flight is ended with: cahier stop --cancel-jobs`],
    })
  }
  return await retryItems(directory, { states: options.states })
}
