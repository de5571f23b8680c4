import type { JobObservation } from '../model/job.js'
import type { StuckJobs } from '../model/run.js'
import type { JobKey } from './events.js'
import { goneItem, type RunState, type Waiting } from './run-state.js'
import { itemId } from './submit.js'

/** Of a job that waits and of which the scheduler says why. @param before - what was said of it: that it says nothing more is news, too */
export function waitingOf(observation: JobObservation | undefined, before: Waiting | undefined): Waiting | undefined {
  if (observation === undefined || (observation.state !== 'pending' && observation.state !== 'held')) return undefined
  const { state, rawState, reason = '', advice } = observation
  const isStuck = state === 'held' || advice !== undefined
  if (reason === '' && !isStuck && before === undefined) return undefined
  return { words: `${rawState} ${reason}`.trim().slice(0, 300), isStuck, advice }
}

/** Jobs with the same key are in the same trouble. */
export function troubleOf({ words, isStuck, advice }: Waiting): string | undefined {
  return isStuck ? (advice ?? words) : undefined
}

/** Troubles of two sites are two. */
function keyOf({
  site,
  words,
  advice,
}: {
  readonly site?: string | undefined
  readonly words: string
  readonly advice?: string | undefined
}) {
  return `${site} ${advice ?? words}`
}

/** Native ids that are named. */
const NAMED = 3

/** All jobs in flight that wait for somebody, folded over sites and troubles. */
export function stuckJobs(state: RunState): readonly StuckJobs[] {
  const { flights, site: first } = state
  const groups = new Map<string, { -readonly [Key in keyof StuckJobs]: StuckJobs[Key] } & { nativeIds: string[] }>()
  for (const { key, site = first, waiting, isRunning, nativeId } of flights.values()) {
    if (waiting === undefined || isRunning || !waiting.isStuck) continue
    const { words, advice, at } = waiting
    const trouble = keyOf({ site, words, advice })
    const group = groups.get(trouble)
    if (group === undefined) {
      groups.set(trouble, {
        ...(site === undefined ? {} : { site }),
        words,
        ...(advice === undefined ? {} : { advice }),
        jobs: 1,
        nativeIds: nativeId === undefined ? [] : [nativeId],
        item: nameOf(state, key),
        since: at,
      })
      continue
    }
    group.jobs += 1
    group.since = Math.min(group.since, at)
    if (nativeId !== undefined && group.nativeIds.length < NAMED) group.nativeIds.push(nativeId)
  }
  return [...groups.values()]
}

function nameOf({ items }: RunState, key: JobKey): string {
  const item = typeof key === 'number' ? items?.at(key) : goneItem(key)
  return item === undefined ? String(key) : itemId(item)
}

/** Some reasons come and go with every cycle of a scheduler. */
const QUIET_MS = 600_000
/** So many times as many jobs are news. */
const MANY_MORE = 10

/** What of the jobs that are stuck is worth a line: each trouble once, and again when it comes back or has grown, though not too often. */
export class StuckNews {
  readonly #told = new Map<string, { readonly at: number; readonly jobs: number; wasGone: boolean }>()

  /** @param now - milliseconds */
  take(stuck: readonly StuckJobs[], now: number): readonly StuckJobs[] {
    const present = new Map(stuck.map((group) => [keyOf(group), group]))
    for (const [key, told] of this.#told) if (!present.has(key)) told.wasGone = true
    const news: StuckJobs[] = []
    for (const [key, group] of present) {
      const told = this.#told.get(key)
      const isChanged = told === undefined || ((told.wasGone || group.jobs >= told.jobs * MANY_MORE) && now - told.at >= QUIET_MS)
      if (!isChanged) continue
      this.#told.set(key, { at: now, jobs: group.jobs, wasGone: false })
      news.push(group)
    }
    return news
  }
}
