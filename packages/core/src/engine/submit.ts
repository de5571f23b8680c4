import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isCampaignError, messageOf } from '../errors.js'
import { combinationId, shortId, slugOf } from '../ids.js'
import type { WorkItem } from '../model/combination.js'
import type { JobDependency, JobSpec } from '../model/job.js'
import { makeAttemptDirectory } from './attempt-files.js'
import type { RunContext, Unsent, Watch } from './context.js'
import type { JobKey, RunJournalEvent, VerdictEvent } from './events.js'
import type { PlannedAttempt, PrepareNeed } from './plan.js'

/** `1f3a9c0b2d/r2`, as `cahier why` takes it. */
export function itemId(item: WorkItem): string {
  return `${shortId(combinationId(item.combination))}/r${item.repetition}`
}

/** `cores-8_python-3.6_1f3a9c0b2d r2`. */
export function itemLabel(item: WorkItem, repetitions: number): string {
  return repetitions === 1 ? slugOf(item.combination) : `${slugOf(item.combination)} r${item.repetition}`
}

/** What a round of submitting came to. */
export interface SubmitRound {
  /** Jobs that got an intent. */
  readonly claimed: number
  /** Those of them of which it is to be found out first whether they were submitted before. */
  readonly uncertain: readonly Watch[]
  /** Failures to count for the circuit breaker: one line each. */
  readonly failures: readonly string[]
}

/**
 * Claims work: chooses items, makes their directories, writes the intents durably. Nothing is given to the scheduler yet.
 */
export class Claiming {
  readonly #context: RunContext
  /** Intents that the scheduler has not taken, in order. */
  unsent: Unsent[] = []

  constructor(context: RunContext) {
    this.#context = context
  }

  /** Chooses at most `room` items and makes them unsent jobs, with the prepare stages that they need before them. */
  async claim(room: number): Promise<SubmitRound> {
    const { state, planner, scheduler, spec } = this.#context
    const hasPrepare = spec.prepare.length > 0
    const prepares = new Map<string, PrepareNeed>()
    const doomed = new Map<number, string>()
    let accepted = 0
    const accept = (index: number): boolean => {
      if (!hasPrepare) return true
      if (accepted + prepares.size >= room) return false
      let isReady = true
      for (const need of planner.needsOf(this.#item(index).combination)) {
        const prepareState = state.prepareState(need.key)
        if (prepareState === 'done') continue
        if (prepareState === 'failed') {
          doomed.set(index, `not run: ${need.key} failed`)
          return true
        }
        if (prepareState === 'todo' && accepted + prepares.size < room) prepares.set(need.key, need)
        // With dependencies the queue does the waiting; without, we do.
        if (!scheduler.supports.dependencies || this.#context.watches.get(need.key)?.handle === undefined) isReady = false
      }
      if (isReady) accepted += 1
      return isReady
    }
    const indexes = state.nextTodo(room, accept)
    const events: RunJournalEvent[] = []
    const intents: (readonly [JobKey, number])[] = []
    const verdicts: RunJournalEvent[] = []
    const failures: string[] = []
    const jobs: { readonly watch: Watch; readonly spec: JobSpec | undefined }[] = []
    const refuse = (key: JobKey, attempt: number, outcome: 'upstream-failed' | 'not-submitted', detail: string): void => {
      intents.push([key, attempt])
      verdicts.push({ type: 'verdict', k: key, a: attempt, o: outcome, d: detail })
      if (outcome === 'not-submitted') failures.push(detail)
      if (typeof key === 'number') {
        const item = this.#item(key)
        this.#context.emit({ type: 'item', item: itemId(item), label: itemLabel(item, spec.repetitions), state: 'failed', detail })
      }
    }
    let given = 0
    try {
      for (const need of prepares.values()) {
        const job = this.#make(need.key, (attempt) => planner.planPrepare(need, attempt), need.key.replace('prepare:', ''), [], refuse)
        if (job === undefined) continue
        intents.push([need.key, job.watch.attempt])
        jobs.push(job)
      }
      for (; given < indexes.length; given += 1) {
        const index = indexes[given] as number
        const doom = doomed.get(index)
        if (doom !== undefined) {
          refuse(index, state.lastAttempt(index) + 1, 'upstream-failed', doom)
          continue
        }
        const item = this.#item(index)
        const needs = hasPrepare ? planner.needsOf(item.combination).map((need) => need.key) : []
        const plan = (attempt: number): PlannedAttempt => planner.planItem(item, attempt, (key) => state.lastAttempt(key))
        const job = this.#make(index, plan, itemLabel(item, spec.repetitions), needs, refuse)
        if (job === undefined) continue
        intents.push([index, job.watch.attempt])
        jobs.push(job)
      }
    } catch (error) {
      state.giveBack(indexes)
      throw error
    }
    if (intents.length === 0) return { claimed: 0, uncertain: [], failures }
    events.push({ type: 'intents', jobs: intents }, ...verdicts)
    try {
      await this.#context.write(events)
    } catch (error) {
      state.giveBack(indexes)
      throw error
    }
    for (const job of jobs) this.#context.watches.set(job.watch.key, job.watch)
    for (const { watch, spec: job } of jobs) if (job !== undefined) this.unsent.push({ watch, spec: job })
    const uncertain = jobs.flatMap((job) => (job.spec === undefined ? [job.watch] : []))
    if (uncertain.length > 0)
      this.#context.log.info({ jobs: uncertain.length }, 'directories of unknown attempts found: looking for their jobs')
    return { claimed: intents.length, uncertain, failures }
  }

  #item(index: number): WorkItem {
    const { items } = this.#context.state
    if (items === undefined) throw new Error('the journal holds no campaign')
    return items.at(index)
  }

  /**
   * Plans an attempt and makes its directory. A directory that exists although the journal knows nothing of it (the journal
   * was repaired, or a controller ended in this moment) may belong to a job that was submitted: then there is no `spec`, and
   * the newest of them is looked up before anything else.
   */
  #make(
    key: JobKey,
    plan: (attempt: number) => PlannedAttempt,
    label: string,
    needs: readonly string[],
    refuse: (key: JobKey, attempt: number, outcome: 'not-submitted', detail: string) => void,
  ): { readonly watch: Watch; readonly spec: JobSpec | undefined } | undefined {
    const { state, directory: root, files, spec, site } = this.#context
    let earlier: Watch | undefined
    // One that went out of sight without a record is looked for once more before another attempt is made.
    const lost = state.lostAttempt(key)
    for (let attempt = lost ?? state.lastAttempt(key) + 1; ; attempt += 1) {
      let planned: PlannedAttempt
      try {
        planned = plan(attempt)
      } catch (error) {
        if (earlier !== undefined) return { watch: earlier, spec: undefined }
        refuse(key, attempt, 'not-submitted', messageOf(error))
        return undefined
      }
      const directory = join(root, planned.directory)
      const watch: Watch = { key, attempt, tag: planned.tag, directory, label, handle: undefined, needs, silentSince: undefined }
      if (lost !== undefined) return { watch: { ...watch, isSecondLook: true }, spec: undefined }
      if (existsSync(directory)) {
        earlier = watch
        continue
      }
      if (earlier !== undefined) return { watch: earlier, spec: undefined }
      if (!makeAttemptDirectory(directory, planned.parameters, files)) continue
      const queue = spec.job.queue ?? site.queue
      const account = spec.job.account ?? site.account
      return {
        watch,
        spec: {
          tag: planned.tag,
          name: planned.name,
          script: planned.script,
          directory,
          environment: planned.environment,
          resources: planned.resources,
          ...(queue === undefined ? {} : { queue }),
          ...(account === undefined ? {} : { account }),
        },
      }
    }
  }
}

/** What became of giving jobs to the scheduler. */
export interface SendRound {
  readonly sent: number
  /** Submissions of which nobody knows what became. */
  readonly uncertain: readonly Watch[]
  /** Jobs that can never run: one line each, counted by the circuit breaker. */
  readonly failures: readonly string[]
  /** The scheduler does not take more for now; its words. */
  readonly pushedBack: string | undefined
}

/** Gives the unsent jobs to the scheduler, at most `batch` of them, and records what it answered. */
export async function sendJobs(context: RunContext, claiming: Claiming): Promise<SendRound> {
  const { scheduler, settings, watches, emit, log, state } = context
  const failed: VerdictEvent[] = []
  const failures: string[] = []
  const batch: Unsent[] = []
  const kept: Unsent[] = []
  const dropped: RunJournalEvent[] = []
  const doomed: VerdictEvent[] = []
  for (const job of claiming.unsent) {
    const { watch } = job
    const missing = watch.needs.filter((key) => state.prepareState(key) !== 'done' && watches.get(key)?.handle === undefined)
    const failedNeed = missing.find((key) => state.prepareState(key) === 'failed')
    if (failedNeed !== undefined) {
      watches.delete(watch.key)
      doomed.push({ type: 'verdict', k: watch.key, a: watch.attempt, o: 'upstream-failed', d: `not run: ${failedNeed} failed` })
    } else if (missing.some((key) => state.prepareState(key) === 'todo')) {
      // Its prepare stage ended while the scheduler took no jobs, and is to be tried again: the job is planned anew after that.
      watches.delete(watch.key)
      const d = 'not given to the scheduler: its prepare stage is tried again'
      dropped.push({ type: 'verdict', k: watch.key, a: watch.attempt, o: 'not-submitted', d, again: true, void: true })
    } else if (batch.length >= settings.batch || missing.length > 0) kept.push(job)
    else batch.push(job)
  }
  claiming.unsent = [...batch, ...kept]
  if (dropped.length + doomed.length > 0) await context.write([...dropped, ...doomed])
  reportRefused(context, doomed)
  if (batch.length === 0) return { sent: 0, uncertain: [], failures, pushedBack: undefined }
  const outcomes = await scheduler.submit(batch.map((job) => withDependencies(context, job)))
  const submitted: [JobKey, number, string][] = []
  const uncertain: Watch[] = []
  const back: Unsent[] = []
  let pushedBack: string | undefined
  batch.forEach((job, position) => {
    const { watch } = job
    const outcome = outcomes[position]
    if (outcome?.outcome === 'submitted') {
      watch.handle = outcome.handle
      submitted.push([watch.key, watch.attempt, outcome.handle.nativeId])
      return
    }
    if (outcome?.outcome === 'rejected') {
      back.push(job)
      pushedBack = outcome.message
    } else if (outcome?.outcome === 'invalid') {
      watches.delete(watch.key)
      failures.push(outcome.message)
      failed.push({ type: 'verdict', k: watch.key, a: watch.attempt, o: 'not-submitted', d: `${outcome.code}: ${outcome.message}` })
      log.warn({ job: watch.label, error: outcome.message }, 'job refused for good')
    } else {
      uncertain.push(watch)
      log.warn({ job: watch.label, tag: watch.tag, error: outcome?.message }, 'submission uncertain')
    }
  })
  claiming.unsent = [...back, ...kept]
  if (submitted.length > 0) await context.write([{ type: 'submitted', jobs: submitted }], { durable: false })
  if (failed.length > 0) await context.write(failed)
  const quiet = state.size > 200
  for (const job of batch) {
    const { watch } = job
    if (watch.handle === undefined) continue
    const { nativeId } = watch.handle
    const dependsOn = watch.needs.flatMap((key) => watches.get(key)?.handle?.nativeId ?? [])
    const fields = { job: nativeId, ...(dependsOn.length === 0 ? {} : { dependsOn }) }
    if (quiet) log.debug({ ...fields, label: watch.label }, 'job submitted')
    else {
      if (typeof watch.key === 'number') log.info({}, `treating ${watch.key + 1}/${state.size} in ${watch.label}`)
      log.info(fields, 'job submitted')
    }
    const item = typeof watch.key === 'number' ? state.items?.at(watch.key) : undefined
    emit({ type: 'submitted', item: item === undefined ? String(watch.key) : itemId(item), label: watch.label, nativeId, dependsOn })
  }
  reportRefused(context, failed)
  return { sent: submitted.length, uncertain, failures, pushedBack }
}

function reportRefused({ state, spec, emit }: RunContext, verdicts: readonly VerdictEvent[]): void {
  for (const { k, d: detail } of verdicts) {
    const item = typeof k === 'number' ? state.items?.at(k) : undefined
    if (item !== undefined) emit({ type: 'item', item: itemId(item), label: itemLabel(item, spec.repetitions), state: 'failed', detail })
  }
}

function withDependencies(context: RunContext, job: Unsent): JobSpec {
  const dependencies = job.watch.needs.flatMap((key): JobDependency[] => {
    const handle = context.watches.get(key)?.handle
    return handle === undefined || context.state.prepareState(key) === 'done' ? [] : [{ kind: 'afterok', on: handle }]
  })
  return dependencies.length === 0 ? job.spec : { ...job.spec, dependencies }
}

/** True for the errors after which a scheduler is asked again later. */
export function isSilence(error: unknown): boolean {
  return (
    isCampaignError(error) &&
    (error.code === 'E_SCHEDULER_SILENT' || error.code === 'E_SUBMIT_REJECTED' || error.code === 'E_SUBMIT_UNCERTAIN')
  )
}
