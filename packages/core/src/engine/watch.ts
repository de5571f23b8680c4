import { join } from 'node:path'
import { encodeCanonical } from '../canonical-json.js'
import { isCampaignError, messageOf } from '../errors.js'
import type { WorkItem } from '../model/combination.js'
import type { JobObservation, JobResult } from '../model/job.js'
import type { ItemState } from '../model/run.js'
import { lastLine, readTail } from './attempt-files.js'
import { conclude, isSilent } from './conclude.js'
import { type Collected, type EndedJob, placeOf, type SiteContext, type Watch } from './context.js'
import type { VerdictEvent } from './events.js'
import { failureSignature } from './failure-signature.js'
import type { Homecoming } from './homecoming.js'
import { goneItem, type Waiting } from './run-state.js'
import { troubleOf, waitingOf } from './stuck.js'
import { isSilence, itemId, itemLabel } from './submit.js'

/** A job that came to its end in this round. */
export interface Judged {
  readonly watch: Watch
  readonly event: VerdictEvent
  /** For the circuit breaker; `undefined`: it succeeded, or its end says nothing about the campaign. */
  readonly signature: string | undefined
}

/** How many exit records are read at a time. */
const READS = 32
/** Between two entries into the journal about why jobs wait. */
const WORDS_MS = 60_000

/** Exit codes of programs that ended by what a cancel sends: INT, KILL, TERM. */
const ENDED_BY_SIGNAL = [130, 137, 143]

/** A job with what is known about its end. */
interface Ending {
  readonly watch: Watch
  readonly observation: JobObservation | undefined
}

/** Asks the scheduler of a site about everything in flight there and judges what has ended: exit record, files, results, verdict. */
export class Watching {
  readonly #context: SiteContext
  readonly #homecoming: Homecoming
  #wordsAt = Number.NEGATIVE_INFINITY
  /** Troubles of jobs that were written: a new one does not wait for its minute. */
  readonly #troubles = new Set<string>()

  constructor(context: SiteContext, homecoming: Homecoming) {
    this.#context = context
    this.#homecoming = homecoming
  }

  /**
   * @returns what was judged, after it is durable in the journal
   * @throws what `observe` throws: then nothing has changed
   */
  async look(): Promise<readonly Judged[]> {
    const { watches, site, clock, write, log, signal } = this.#context
    const known: Watch[] = []
    const endings: Ending[] = []
    for (const watch of watches.values()) {
      if (watch.handle === undefined || watch.ended !== undefined) continue
      if (watch.handle.nativeId !== '') known.push(watch)
      else {
        // It was found by what it left, which may go again.
        watch.silentSince ??= clock.monotonic()
        endings.push({ watch, observation: { handle: watch.handle, state: 'not-visible', rawState: '' } })
      }
    }
    if (known.length + endings.length === 0) return []
    const observations =
      known.length === 0
        ? []
        : await site.scheduler.observe(
            known.map((watch) => watch.handle as NonNullable<Watch['handle']>),
            { signal },
          )
    const now = clock.monotonic()
    const started: [Watch['key'], number][] = []
    known.forEach((watch, position) => {
      const observation = observations[position]
      if (isSilent(observation)) {
        watch.silentSince ??= now
        endings.push({ watch, observation })
        return
      }
      watch.silentSince = undefined
      // What an earlier controller has written may be over.
      watch.seen = waitingOf(observation, watch.written ?? this.#context.state.flights.get(watch.key)?.waiting)
      // Should it come back into the queue, that is news, also when it waits for the same reason as before.
      if (observation?.state === 'running') watch.written = undefined
      if (observation?.state === 'running' && this.#context.state.flights.get(watch.key)?.isRunning === false)
        started.push([watch.key, watch.attempt])
    })
    if (started.length > 0) await write([{ type: 'started', jobs: started }], { durable: false })
    await this.#writeWaiting(now)
    const judged: Judged[] = []
    const unread: unknown[] = []
    // Prepare stages first: what became of them says what the end of a job means that waited for them.
    const [stages, others] = split(endings, ({ watch }) => itemOf(this.#context, watch) === undefined)
    for (const group of [stages, others]) {
      const ends: Judged[] = []
      for (let from = 0; from < group.length; from += READS) {
        const part = group.slice(from, from + READS)
        const some = await Promise.allSettled(part.map((ending) => this.#conclude(ending, now)))
        some.forEach((end, position) => {
          if (end.status === 'fulfilled') {
            if (end.value !== undefined) ends.push(end.value)
          } else if (isSilence(end.reason)) {
            // One job's directory that cannot be read says nothing about the others.
            log.debug({ job: part[position]?.watch.label, error: messageOf(end.reason) }, 'exit record not readable')
            unread.push(end.reason)
          } else throw end.reason
        })
      }
      judged.push(...(await this.#write(ends)))
    }
    if (unread.length > 0 && unread.length === endings.length) throw unread[0]
    return judged
  }

  /** Judges the jobs whose files have come home, or will not. */
  async takeHome(): Promise<readonly Judged[]> {
    const home = this.#homecoming.take()
    const judged: Judged[] = []
    for (const group of split(home, (watch) => itemOf(this.#context, watch) === undefined)) {
      const ends: Judged[] = []
      for (let from = 0; from < group.length; from += READS) {
        ends.push(...(await Promise.all(group.slice(from, from + READS).map((watch) => this.#judgeAtHome(watch)))))
      }
      judged.push(...(await this.#write(ends)))
    }
    return judged
  }

  async #write(ends: readonly Judged[]): Promise<readonly Judged[]> {
    await this.#giveUp(ends)
    if (ends.length > 0) await this.#context.write(ends.map((one) => one.event))
    for (const { watch, event } of ends) {
      this.#context.watches.delete(watch.key)
      report(this.#context, watch, event)
    }
    return ends
  }

  /**
   * Schedulers, and their administrators, put jobs back into the queue also after they were shown as ended. Who left no record of its own end is
   * not to begin again, now that its work item may. One that is lost is looked for first.
   */
  async #giveUp(ends: readonly Judged[]): Promise<void> {
    const { site, write } = this.#context
    const { scheduler } = site
    const open = ends.filter(({ event }) => isWithoutEnd(event))
    if (open.length === 0 || scheduler.giveUp === undefined) return
    // Only who still drives the run says that they are over.
    await write([], { durable: false })
    try {
      await scheduler.giveUp(open.map(({ watch }) => placeOf(watch)))
    } catch (error) {
      if (!isCampaignError(error)) throw error
      this.#context.log.debug({ jobs: open.length, error: error.message }, 'ended jobs could not be kept from starting again')
    }
  }

  async #conclude({ watch, observation }: Ending, now: number): Promise<Judged | undefined> {
    const { site, signal } = this.#context
    const exit = await site.scheduler.exitRecord(placeOf(watch), { signal })
    const silentMs = watch.silentSince === undefined ? 0 : now - watch.silentSince
    const result = conclude({ exit, observation, silentMs, graceMs: site.timing.graceMs })
    if (result === undefined || (result.outcome === 'upstream-failed' && needsInFlight(this.#context, watch))) return undefined
    if (isAway(this.#context, watch, result)) {
      this.#homecoming.add(watch, result)
      return undefined
    }
    return decide(this.#context, watch, await collectFrom(this.#context, watch, result), result)
  }

  async #judgeAtHome(watch: Watch): Promise<Judged> {
    const { result, home } = watch.ended as EndedJob
    if (home?.ok !== false) return decide(this.#context, watch, await collectFrom(this.#context, watch, result), result)
    const detail = `its files could not be brought home: ${home.detail}`
    if (result.outcome === 'succeeded') return decide(this.#context, watch, { ok: false, detail }, result)
    return decide(this.#context, watch, undefined, { ...result, detail: `${result.detail}; ${detail}` })
  }

  /** Why jobs wait, when that has changed: for a user who asks while nobody else can. */
  async #writeWaiting(now: number): Promise<void> {
    const changed = [...this.#context.watches.values()].filter(({ seen, written }) => seen !== undefined && seen.words !== written?.words)
    const troubles = changed.flatMap(({ seen }) => (seen === undefined ? [] : (troubleOf(seen) ?? [])))
    const isNew = troubles.some((trouble) => !this.#troubles.has(trouble))
    if (changed.length === 0 || (!isNew && now - this.#wordsAt < WORDS_MS)) return
    for (const trouble of troubles) this.#troubles.add(trouble)
    const groups = new Map<string, { readonly seen: Waiting; readonly jobs: [Watch['key'], number][] }>()
    for (const watch of changed) {
      const { seen, key, attempt } = watch
      if (seen === undefined) continue
      watch.written = seen
      const group = groups.get(seen.words)
      if (group === undefined) groups.set(seen.words, { seen, jobs: [[key, attempt]] })
      else group.jobs.push([key, attempt])
    }
    this.#wordsAt = now
    await this.#context.write(
      [...groups.values()].map(({ seen: { words, isStuck, advice }, jobs }) => ({
        type: 'waiting' as const,
        words,
        jobs,
        ...(isStuck ? { stuck: true } : {}),
        ...(advice === undefined ? {} : { advice }),
      })),
      { durable: false },
    )
  }
}

/** True when only the scheduler says that it is over, or when it was told to end: then a further start would run it again. */
function isWithoutEnd({ o, x }: VerdictEvent): boolean {
  return o !== 'succeeded' && o !== 'invalid' && o !== 'lost' && !(o === 'failed' && x !== undefined)
}

function split<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  const parts: [T[], T[]] = [[], []]
  for (const one of all) parts[isFirst(one) ? 0 : 1].push(one)
  return parts
}

/** True when a job has left files on its site that we want here. What a prepare stage made stays where the jobs need it. */
function isAway(context: SiteContext, watch: Watch, { outcome }: JobResult): boolean {
  if (context.site.place.isShared || outcome === 'upstream-failed' || outcome === 'not-submitted') return false
  return outcome !== 'succeeded' || itemOf(context, watch) !== undefined
}

/** True while it is not known what becomes of the prepare stages of a job: one that failed may be tried again. */
function needsInFlight({ state }: SiteContext, { needs }: Watch): boolean {
  return needs.some((key) => state.prepareState(key) === 'in-flight') && !needs.some((key) => state.prepareState(key) === 'failed')
}

/** Reads the results of a job that succeeded; a prepare stage has none. */
async function collectFrom(context: SiteContext, watch: Watch, result: JobResult): Promise<Collected | undefined> {
  if (result.outcome !== 'succeeded') return undefined
  const item = itemOf(context, watch)
  if (item === undefined) return undefined
  try {
    return await context.collect({ directory: watch.directory, ...item })
  } catch (error) {
    return { ok: false, detail: messageOf(error) }
  }
}

/** The work item of a watch; `undefined` for a prepare stage. */
function itemOf(context: SiteContext, watch: Watch): WorkItem | undefined {
  return typeof watch.key === 'number' ? context.state.items?.at(watch.key) : goneItem(watch.key)
}

function decide(context: SiteContext, watch: Watch, collected: Collected | undefined, result: JobResult): Judged {
  const { state, spec } = context
  const flight = state.flights.get(watch.key)
  const upstream = watch.needs.find((key) => state.prepareState(key) === 'failed')
  let outcome: VerdictEvent['o'] = result.outcome
  let detail = result.detail
  if (collected?.ok === false) {
    outcome = 'invalid'
    detail = collected.detail
  } else if (upstream !== undefined && result.proof !== 'exit-record') {
    outcome = 'upstream-failed'
    detail = `not run: ${upstream} failed`
  }
  const isOk = outcome === 'succeeded'
  const line = isOk ? '' : lastLine(readTail(join(watch.directory, 'stderr')))
  if (!isOk && outcome !== 'invalid' && line !== '') detail = `${detail}: ${line.slice(0, 300)}`
  // Gone without a word after it was asked to end: it is looked for once more before another attempt is made.
  const wasEnded =
    outcome === 'canceled' ||
    outcome === 'lost' ||
    outcome === 'killed' ||
    (outcome === 'failed' && ENDED_BY_SIGNAL.includes(result.exitCode ?? 0))
  const wasAsked = flight?.isCanceled === true && wasEnded
  // The prepare stage that it waited for failed and is, or was, tried again: so is this job, which did not run.
  const item = itemOf(context, watch)
  const isElsewhere = upstream !== undefined && item !== undefined && context.othersCanDo(item)
  const isBehind = outcome === 'upstream-failed' && (isElsewhere || (upstream === undefined && watch.needs.length > 0))
  const retried = !isOk && mayTryAgain(spec.retry, outcome) && state.countedAttempts(watch.key) < spec.retry.attempts
  const event: VerdictEvent = {
    type: 'verdict',
    k: watch.key,
    a: watch.attempt,
    o: outcome,
    d: detail,
    ...(result.exitCode === undefined ? {} : { x: result.exitCode }),
    ...(result.startedAt === undefined ? {} : { s: result.startedAt }),
    ...(result.endedAt === undefined ? {} : { e: result.endedAt }),
    ...(result.host === undefined ? {} : { h: result.host }),
    ...(collected?.ok === true ? { v: encodeCanonical(collected.values) as Record<string, unknown> } : {}),
    ...(wasAsked || isBehind || retried ? { again: true } : {}),
    ...(wasAsked || isBehind ? { void: true } : {}),
  }
  const counts = !isOk && !wasAsked && outcome !== 'upstream-failed' && outcome !== 'canceled'
  // The line of an invalid result stands in the detail, that of a failed program in its stderr; of one that never ran there is the scheduler's.
  const words = outcome === 'invalid' || line === '' ? detail : line
  return { watch, event, signature: counts ? failureSignature(outcome, result.exitCode, words) : undefined }
}

function mayTryAgain(retry: SiteContext['spec']['retry'], outcome: VerdictEvent['o']): boolean {
  return (retry.on as readonly string[]).includes(outcome)
}

function report({ state, emit, log, spec }: SiteContext, watch: Watch, event: VerdictEvent): void {
  if (typeof watch.key !== 'number') {
    if (event.o === 'succeeded') log.info({ stage: watch.label }, 'prepare stage done')
    else log.warn({ stage: watch.label, outcome: event.o, detail: event.d, directory: watch.directory }, 'prepare stage failed')
    return
  }
  const item = state.items?.at(watch.key)
  if (item === undefined) return
  const itemState: ItemState = state.stateOf(watch.key)
  const fields = { label: watch.label, outcome: event.o, job: watch.handle?.nativeId, detail: event.d }
  if (event.o === 'succeeded') log.debug(fields, 'attempt succeeded')
  else log.warn({ ...fields, directory: watch.directory, attempt: watch.attempt }, 'attempt did not succeed')
  emit({ type: 'item', item: itemId(item), label: itemLabel(item, spec.repetitions), state: itemState, detail: event.d })
}
