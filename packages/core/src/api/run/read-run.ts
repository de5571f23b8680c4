import { setTimeout as delay } from 'node:timers/promises'
import { parseCanonicalJson } from '../../canonical-json.js'
import { checkRunDirectory } from '../../engine/run-directory.js'
import { StuckNews, stuckJobs } from '../../engine/stuck.js'
import { itemId } from '../../engine/submit.js'
import { ConfigError } from '../../errors.js'
import { combinationId } from '../../ids.js'
import type { ItemReport, ItemState, RunEvent, RunHolder, RunStatus } from '../../model/run.js'
import { readHolder } from './hold.js'
import { reportItem, reportStage } from './items.js'
import { type OpenRun, openRun } from './open-run.js'

const SHOWN_FAILURES = 10

/** Where a run stands: a fold of its journal. Writes nothing, so it works on a full disk and beside a running controller. */
export async function readStatus(directory: string): Promise<RunStatus> {
  const path = checkRunDirectory(directory)
  // Looked at first: what the last one wrote before it was gone stands in the journal then.
  const holder = readHolder(path)
  await using run = await openRun(path, { readOnly: true })
  return statusOf(run, holder)
}

export function statusOf(run: OpenRun, holder: RunHolder | undefined): RunStatus {
  const { state, directory } = run
  const counts = state.counts()
  const isFinished = counts.todo + counts.submitted + counts.running === 0
  const { pause } = state
  return {
    campaign: state.campaign?.name ?? '',
    directory,
    counts,
    startedAt: state.startedAt,
    endedAt: state.closedAt,
    state:
      holder !== undefined
        ? pause === undefined
          ? 'running'
          : 'paused'
        : isFinished
          ? 'finished'
          : pause !== undefined
            ? 'paused'
            : 'idle',
    holder,
    pause,
    stuck: stuckJobs(state),
    failures: [
      ...state.failedPrepares().map((key) => reportStage(run, key)),
      ...state.recentFailures(SHOWN_FAILURES).map((index) => reportItem(run, index)),
    ],
    ...sitesOf(run),
  }
}

/** The sites that the newest controller used, and those with jobs in flight. Unknown in journals that name none. */
function sitesOf({ state }: OpenRun): Pick<RunStatus, 'sites'> {
  const first = state.site ?? state.sites[0]
  if (first === undefined) return {}
  const sites = new Map(state.sites.map((name) => [name, { submitted: 0, running: 0 }]))
  for (const { key, site = first, isRunning } of state.flights.values()) {
    if (typeof key !== 'number') continue
    const counts = sites.get(site) ?? { submitted: 0, running: 0 }
    counts[isRunning ? 'running' : 'submitted'] += 1
    sites.set(site, counts)
  }
  return { sites: [...sites].map(([name, counts]) => ({ name, ...counts, pause: state.sitePauses.get(name) })) }
}

/** Every work item, or those in one state, in order of the sweep. */
export async function readItems(directory: string, options: { readonly state?: ItemState | undefined } = {}): Promise<ItemReport[]> {
  await using run = await openRun(directory, { readOnly: true, history: true })
  const { state } = run
  const reports: ItemReport[] = []
  for (let index = 0; index < state.size; index += 1) {
    if (options.state === undefined || state.stateOf(index) === options.state) reports.push(reportItem(run, index, { tail: false }))
  }
  return reports
}

/**
 * Everything about one work item, or about a prepare stage.
 *
 * @param selector - `1f3a9c0b2d/r2`, the beginning of an id, `latest` (the newest failure), a position from 1, or a combination as JSON or
 * as `cores=8,python=system`; or a prepare stage, `prepare:compile`
 * @returns of several repetitions the last that failed, else the first, and in `matches` all of them
 * @throws ConfigError `E_NOT_FOUND` when nothing fits, `E_ARGUMENT` when several combinations do
 */
export async function whyItem(directory: string, selector: string): Promise<ExplainedItem> {
  await using run = await openRun(directory, { readOnly: true, history: true })
  const wanted = selector.trim()
  if (wanted.startsWith('prepare:')) return whyStage(run, wanted)
  const found = fittingItems(run, wanted)
  // Of several repetitions the one that asks for an explanation.
  const chosen = found.findLast((index) => ['failed', 'invalid'].includes(run.state.stateOf(index))) ?? found[0]!
  const item = reportItem(run, chosen)
  return found.length === 1 ? item : { ...item, matches: found.map((index) => reportItem(run, index, { tail: false })) }
}

/** A stage by its name stands for all that it was done for: levels and sites. */
function whyStage(run: OpenRun, wanted: string): ExplainedItem {
  const { state } = run
  const tried = state.triedPrepares()
  const found = tried.filter((key) => key === wanted || key.startsWith(`${wanted}:`) || key.startsWith(`${wanted}@`))
  const chosen = found.findLast((key) => state.prepareState(key) === 'failed') ?? found[0]
  if (chosen === undefined) {
    throw new ConfigError('E_NOT_FOUND', `no prepare stage that was begun in ${run.directory} fits ${JSON.stringify(wanted)}`, {
      suggestions: [tried.length === 0 ? 'None was begun yet' : `Begun were: ${tried.join(', ')}`],
    })
  }
  const stage = reportStage(run, chosen)
  return found.length === 1 ? stage : { ...stage, matches: found.map((key) => reportStage(run, key, { tail: false })) }
}

export interface ExplainedItem extends ItemReport {
  /** All repetitions (or stages) that fit, without their output, when it is more than one. */
  readonly matches?: readonly ItemReport[]
}

/** The items that fit: one combination, at least one repetition. */
function fittingItems(run: OpenRun, selector: string): readonly number[] {
  const found = findItems(run, selector)
  const [first] = found
  if (first === undefined) {
    throw new ConfigError('E_NOT_FOUND', `no work item of ${run.directory} fits ${JSON.stringify(selector)}`, {
      suggestions: ['List them with: cahier status', 'Use the id that status prints, 1f3a9c0b2d/r1, or cores=8,python=system'],
    })
  }
  const { items } = run.state
  const combinations = new Set(found.map((index) => combinationId(items?.at(index).combination ?? {})))
  if (combinations.size > 1) {
    const ids = found.slice(0, 5).map((index) => (items === undefined ? '' : itemId(items.at(index))))
    throw new ConfigError(
      'E_ARGUMENT',
      `${JSON.stringify(selector)} fits ${found.length} work items: ${ids.join(', ')}${found.length > 5 ? ', …' : ''}`,
      {
        suggestions: ['Give more of the id'],
      },
    )
  }
  return found
}

/** All items that a selector fits. */
function findItems(run: OpenRun, selector: string): number[] {
  const { state } = run
  const { items } = state
  if (items === undefined) return []
  const wanted = selector.trim()
  if (wanted === 'latest') return state.recentFailures(1)
  const matches = matcherOf(wanted)
  const found: number[] = []
  if (/^[0-9]{1,7}$/.test(wanted) && Number(wanted) >= 1 && Number(wanted) <= items.size) return [Number(wanted) - 1]
  for (let index = 0; index < items.size; index += 1) if (matches(items.at(index))) found.push(index)
  return found
}

/**
 * The items that any of the selectors fits, each once; without selectors all.
 *
 * @throws ConfigError `E_NOT_FOUND` for a selector that fits none
 */
export function chooseItems(run: OpenRun, selectors: readonly string[] | undefined): number[] {
  if (selectors === undefined) return Array.from({ length: run.state.size }, (_, index) => index)
  const chosen = selectors.flatMap((selector) => {
    const found = findItems(run, selector)
    if (found.length > 0) return found
    throw new ConfigError('E_NOT_FOUND', `no work item of ${run.directory} fits ${JSON.stringify(selector)}`)
  })
  return [...new Set(chosen)]
}

function matcherOf(
  wanted: string,
): (item: { readonly combination: Readonly<Record<string, unknown>>; readonly repetition: number }) => boolean {
  const id = /^([0-9a-f]{4,64})(?:\/r(\d+))?$/.exec(wanted)
  if (id !== null) {
    const [, start = '', repetition] = id
    return (item) =>
      combinationId(item.combination).startsWith(start) && (repetition === undefined || item.repetition === Number(repetition))
  }
  if (wanted.startsWith('{')) {
    const key = combinationId(parseCanonicalJson(wanted) as Record<string, unknown>)
    return (item) => combinationId(item.combination) === key
  }
  const pairs = wanted.split(',').map((pair) => {
    const at = pair.indexOf('=')
    return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()] as const
  })
  if (!wanted.includes('=')) return () => false
  return (item) =>
    pairs.every(([name, text]) =>
      name === 'repetition' ? String(item.repetition) === text : name in item.combination && String(item.combination[name]) === text,
    )
}

export interface AttachOptions {
  readonly onEvent?: ((event: RunEvent) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** How often the journal is looked at; default 500 ms. */
  readonly everyMs?: number | undefined
}

/** Follows a run without touching it, until it ends, nobody drives it any more, or the signal is aborted. */
export async function attachRun(directory: string, options: AttachOptions = {}): Promise<RunStatus> {
  const { onEvent, signal, everyMs = 500 } = options
  await using run = await openRun(directory, { readOnly: true })
  onEvent?.({ type: 'started', directory: run.directory, counts: run.state.counts(), resumed: true })
  const news = new StuckNews()
  let before = ''
  for (;;) {
    // In this order: when nobody drives it, what the last one wrote before it was gone stands in the journal.
    const holder = readHolder(run.directory)
    await run.store.refresh()
    const status = statusOf(run, holder)
    const pauses = status.pause === undefined ? (status.sites ?? []).flatMap(({ pause }) => pause ?? []) : [status.pause]
    const text = JSON.stringify([status.counts, pauses])
    if (text !== before) {
      onEvent?.({ type: 'counts', counts: status.counts })
      for (const pause of pauses) onEvent?.({ type: 'paused', pause })
    }
    before = text
    for (const stuck of news.take(status.stuck, performance.now())) onEvent?.({ type: 'stuck', stuck })
    if (status.holder === undefined || signal?.aborted === true) {
      if (status.state === 'finished') {
        const failed = status.counts.failed + status.counts.invalid > 0
        onEvent?.({ type: 'finished', counts: status.counts, outcome: failed ? 'incomplete' : 'complete' })
      }
      return status
    }
    await delay(everyMs, undefined, { signal }).catch(() => undefined)
  }
}
