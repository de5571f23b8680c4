import { existsSync } from 'node:fs'
import { encodeCanonical } from '../../canonical-json.js'
import type { Collect, Collected } from '../../engine/context.js'
import type { CollectedEvent, RunJournalEvent } from '../../engine/events.js'
import { changedParts, keepSources, readManifest } from '../../engine/manifest.js'
import { checkRunDirectory } from '../../engine/run-directory.js'
import type { Verdict } from '../../engine/run-state.js'
import { ConfigError, messageOf } from '../../errors.js'
import type { WorkItem } from '../../model/combination.js'
import type { ItemState, LoadedCampaign } from '../../model/run.js'
import { LiquidRenderer } from '../../template/liquid-renderer.js'
import { asLoadedCampaign, type CampaignDefinition, loadCampaign } from '../campaign.js'
import { makeCollect } from './collect.js'
import { takeHold } from './hold.js'
import { attemptDirectory } from './items.js'
import { type OpenRun, openRun } from './open-run.js'
import { type PreparedCampaign, prepareCampaign } from './prepared.js'
import { chooseItems } from './read-run.js'

export interface CollectAgainOptions {
  readonly items?: readonly string[] | undefined
  readonly states?: readonly ItemState[] | undefined
  /** Default: the file that the run was begun with. */
  readonly campaign?: string | CampaignDefinition | LoadedCampaign | undefined
}

/** What came of reading results again. */
export interface CollectedAgain {
  /** Work items that have a result now. */
  readonly valid: number
  readonly invalid: number
  /** Their files are gone: nothing changed. */
  readonly missing: number
}

/** A work item with the last of its attempts whose job succeeded. */
interface Reread {
  readonly key: number
  readonly item: WorkItem
  readonly verdict: Verdict
  readonly directory: string
}

/** Attempts read at a time. Each such group is durable before the next is begun. */
const GROUP = 32
/** Parts of a campaign that say how results are read and checked. */
const RULES = ['results', 'collect']

/**
 * Reads the files of attempts whose jobs succeeded once more, with the rules that the campaign has now, and records what they say.
 *
 * @remarks Starts no job. Needs the run for itself: a controller that drives it judges by the rules that it began with. When nothing
 * else of the campaign was edited, the run goes on with these rules.
 */
export async function collectAgain(directory: string, options: CollectAgainOptions): Promise<CollectedAgain> {
  const path = checkRunDirectory(directory)
  const campaign = prepareCampaign(await presentCampaign(path, options), new LiquidRenderer(), { isLocal: false })
  const collect = makeCollect(campaign.spec)
  await using _hold = await takeHold(path)
  await using run = await openRun(path, { history: true })
  const found = attemptsOf(run, options)
  const count = { valid: 0, invalid: 0, missing: found.filter((one) => !existsSync(one.directory)).length }
  const there = found.filter((one) => existsSync(one.directory))
  if (there.length > 0) await takeRules(run, campaign)
  for (let from = 0; from < there.length; from += GROUP) {
    const group = there.slice(from, from + GROUP)
    const read = await Promise.all(group.map((one) => readResults(collect, one)))
    const events: RunJournalEvent[] = []
    group.forEach((one, position) => {
      const collected = read[position] as Collected
      count[collected.ok ? 'valid' : 'invalid'] += 1
      const event = judgeAgain(one, collected)
      if (isNews(event, one.verdict)) events.push(event)
    })
    if (events.length > 0) await run.store.append(events)
  }
  return count
}

async function presentCampaign(path: string, { campaign }: CollectAgainOptions): Promise<LoadedCampaign> {
  if (campaign !== undefined) return await asLoadedCampaign(campaign)
  const file = readManifest(path)?.campaignFile ?? undefined
  if (file !== undefined) return await loadCampaign(file)
  throw new ConfigError('E_CAMPAIGN_NOT_FOUND', `the campaign of ${path} was defined by a program and cannot be loaded from here`, {
    suggestions: ['Let that program call retryItems with its campaign'],
  })
}

function attemptsOf(run: OpenRun, { items, states }: CollectAgainOptions): Reread[] {
  const wanted = states ?? (items === undefined ? ['invalid'] : ['invalid', 'failed', 'done'])
  const found: Reread[] = []
  for (const key of chooseItems(run, items)) {
    const now = run.state.stateOf(key)
    const item = run.state.items?.at(key)
    if (item === undefined || !wanted.includes(now) || !['invalid', 'failed', 'done'].includes(now)) continue
    const verdict = run.state.historyOf(key).findLast((one) => ['succeeded', 'invalid'].includes(one.verdict?.outcome ?? ''))?.verdict
    if (verdict !== undefined) found.push({ key, item, verdict, directory: attemptDirectory(run, item, verdict.attempt) })
  }
  return found
}

/** Edited rules become those of the run. Any other edit is left to who continues the run. */
async function takeRules(run: OpenRun, campaign: PreparedCampaign): Promise<void> {
  const before = run.state.campaign
  if (before === undefined) return
  const changed = changedParts(before.fingerprint, campaign.fingerprint)
  if (changed.length === 0 || !changed.every((part) => RULES.includes(part))) return
  const revision = before.revision + 1
  keepSources(run.directory, revision, campaign, campaign.scripts)
  const { runId, definition } = before
  await run.store.append([{ type: 'campaign', runId, name: campaign.name, revision, definition, fingerprint: campaign.fingerprint }])
}

async function readResults(collect: Collect, { directory, item }: Reread): Promise<Collected> {
  try {
    return await collect({ directory, ...item })
  } catch (error) {
    return { ok: false, detail: messageOf(error) }
  }
}

function judgeAgain({ key, verdict }: Reread, collected: Collected): CollectedEvent {
  const { attempt, exitCode, startedAt, endedAt, host } = verdict
  return {
    type: 'collected',
    k: key,
    a: attempt,
    o: collected.ok ? 'succeeded' : 'invalid',
    d: collected.ok ? 'results read again' : collected.detail,
    ...(exitCode === undefined ? {} : { x: exitCode }),
    ...(startedAt === undefined ? {} : { s: startedAt }),
    ...(endedAt === undefined ? {} : { e: endedAt }),
    ...(host === undefined ? {} : { h: host }),
    ...(collected.ok ? { v: encodeCanonical(collected.values) as Record<string, unknown> } : {}),
  }
}

function isNews(event: CollectedEvent, { outcome, detail, values }: Verdict): boolean {
  if (event.o !== outcome) return true
  return event.o === 'succeeded' ? JSON.stringify(event.v) !== JSON.stringify(values) : event.d !== detail
}
