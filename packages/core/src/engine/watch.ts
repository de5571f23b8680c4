import { join } from 'node:path'
import { encodeCanonical } from '../canonical-json.js'
import { messageOf } from '../errors.js'
import type { WorkItem } from '../model/combination.js'
import type { JobObservation, JobResult } from '../model/job.js'
import type { ItemState } from '../model/run.js'
import { lastLine, readTail } from './attempt-files.js'
import { conclude, isSilent } from './conclude.js'
import type { Collected, RunContext, Watch } from './context.js'
import type { VerdictEvent } from './events.js'
import { failureSignature } from './failure-signature.js'
import { goneItem } from './run-state.js'
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

/**
 * Asks the scheduler about everything in flight and judges what has ended: exit record, results, verdict.
 *
 * @returns what was judged, after it is durable in the journal
 * @throws what `observe` throws: then nothing has changed
 */
export async function watchJobs(context: RunContext, options: { readonly signal?: AbortSignal } = {}): Promise<readonly Judged[]> {
  const { watches, scheduler, clock, settings, state, write, log } = context
  const known: Watch[] = []
  const recorded: Watch[] = []
  for (const watch of watches.values()) {
    if (watch.handle === undefined) continue
    if (watch.handle.nativeId === '') recorded.push(watch)
    else known.push(watch)
  }
  if (known.length + recorded.length === 0) return []
  const observations =
    known.length === 0
      ? []
      : await scheduler.observe(
          known.map((watch) => watch.handle as NonNullable<Watch['handle']>),
          options,
        )
  const now = clock.monotonic()
  const started: [Watch['key'], number][] = []
  const silent: [Watch, JobObservation | undefined][] = recorded.map((watch) => [watch, undefined])
  known.forEach((watch, position) => {
    const observation = observations[position]
    if (isSilent(observation)) {
      watch.silentSince ??= now
      silent.push([watch, observation])
      return
    }
    watch.silentSince = undefined
    if (observation?.state === 'running' && state.flights.get(watch.key)?.isRunning === false) started.push([watch.key, watch.attempt])
  })
  if (started.length > 0) await write([{ type: 'started', jobs: started }], { durable: false })
  const judged: Judged[] = []
  const unread: unknown[] = []
  const isStage = ([watch]: (typeof silent)[number]): boolean => itemOf(context, watch) === undefined
  // Prepare stages first: what became of them says what the end of a job means that waited for them.
  for (const group of [silent.filter(isStage), silent.filter((one) => !isStage(one))]) {
    const ends: Judged[] = []
    for (let from = 0; from < group.length; from += READS) {
      const part = group.slice(from, from + READS)
      const some = await Promise.allSettled(part.map(([watch, observation]) => judge(context, watch, observation, now, settings.graceMs)))
      some.forEach((end, position) => {
        if (end.status === 'fulfilled') {
          if (end.value !== undefined) ends.push(end.value)
        } else if (isSilence(end.reason)) {
          // One job's directory that cannot be read says nothing about the others.
          log.debug({ job: part[position]?.[0].label, error: messageOf(end.reason) }, 'exit record not readable')
          unread.push(end.reason)
        } else throw end.reason
      })
    }
    if (ends.length > 0) await write(ends.map((one) => one.event))
    for (const { watch, event } of ends) {
      watches.delete(watch.key)
      report(context, watch, event)
    }
    judged.push(...ends)
  }
  if (unread.length > 0 && unread.length === silent.length) throw unread[0]
  return judged
}

async function judge(
  context: RunContext,
  watch: Watch,
  observation: JobObservation | undefined,
  now: number,
  graceMs: number,
): Promise<Judged | undefined> {
  const exit = await context.scheduler.exitRecord({ directory: watch.directory, tag: watch.tag })
  const result = conclude({ exit, observation, silentMs: watch.silentSince === undefined ? 0 : now - watch.silentSince, graceMs })
  if (result === undefined || (result.outcome === 'upstream-failed' && needsInFlight(context, watch))) return undefined
  return decide(context, watch, await collectFrom(context, watch, result), result)
}

/** True while it is not known what becomes of the prepare stages of a job: one that failed may be tried again. */
function needsInFlight({ state }: RunContext, { needs }: Watch): boolean {
  return needs.some((key) => state.prepareState(key) === 'in-flight') && !needs.some((key) => state.prepareState(key) === 'failed')
}

/** Reads the results of a job that succeeded; a prepare stage has none. */
async function collectFrom(context: RunContext, watch: Watch, result: JobResult): Promise<Collected | undefined> {
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
export function itemOf(context: RunContext, watch: Watch): WorkItem | undefined {
  return typeof watch.key === 'number' ? context.state.items?.at(watch.key) : goneItem(watch.key)
}

function decide(context: RunContext, watch: Watch, collected: Collected | undefined, result: JobResult): Judged {
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
  const wasAsked = flight?.isCanceled === true && (outcome === 'canceled' || outcome === 'killed')
  // The prepare stage that it waited for failed and is, or was, tried again: so is this job, which did not run.
  const isBehind = outcome === 'upstream-failed' && upstream === undefined && watch.needs.length > 0
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
  // The line of an invalid result stands in the detail; that of a failed program in its stderr.
  return { watch, event, signature: counts ? failureSignature(outcome, result.exitCode, outcome === 'invalid' ? detail : line) : undefined }
}

function mayTryAgain(retry: RunContext['spec']['retry'], outcome: VerdictEvent['o']): boolean {
  return (retry.on as readonly string[]).includes(outcome)
}

function report({ state, emit, log, spec }: RunContext, watch: Watch, event: VerdictEvent): void {
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
