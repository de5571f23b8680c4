import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { canonicalJson } from '../canonical-json.js'
import { isCampaignError, messageOf } from '../errors.js'
import { combinationId, shortId, slugOf } from '../ids.js'
import type { CampaignSpec } from '../model/campaign.js'
import type { WorkItem } from '../model/combination.js'
import type { JobDependency, JobSpec } from '../model/job.js'
import type { SitePlace } from '../ports/site-place.js'
import { keepScript, keepSiteMark, makeAttemptDirectory, readSiteMark } from './attempt-files.js'
import { makeWatch, type SiteContext, type Unsent, type Watch } from './context.js'
import type { JobKey, RunJournalEvent, VerdictEvent } from './events.js'
import type { PlannedAttempt, PrepareNeed } from './plan.js'
import { atSite } from './run-site.js'

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
 * Claims work for one site: chooses items, makes their directories, writes the intents durably. Nothing is given to the scheduler yet.
 */
export class Claiming {
  readonly #context: SiteContext
  /** Intents that the scheduler has not taken, in order. */
  unsent: Unsent[] = []

  constructor(context: SiteContext) {
    this.#context = context
  }

  /** Chooses at most `room` items and makes them unsent jobs, with the prepare stages that they need before them. */
  async claim(room: number): Promise<SubmitRound> {
    const { state, site, siteMark, spec } = this.#context
    const { planner, scheduler } = site
    const hasPrepare = spec.prepare.length > 0
    const prepares = new Map<string, PrepareNeed>()
    const doomed = new Map<number, string>()
    let accepted = 0
    const accept = (index: number): boolean => {
      // One that went out of sight is looked for where it was.
      if (state.lostAttempt(index) !== undefined && this.#context.isElsewhere(state.siteOfLast(index))) return false
      if (this.#context.isElsewhere(this.#markOfUnknown(index))) return false
      if (!hasPrepare) return true
      if (accepted + prepares.size >= room) return false
      let isReady = true
      for (const need of planner.needsOf(this.#item(index).combination)) {
        const prepareState = state.prepareState(need.key)
        if (prepareState === 'done') continue
        if (prepareState === 'failed') {
          if (this.#context.othersCanDo(this.#item(index))) return false
          doomed.set(index, `not run: ${need.key} failed`)
          return true
        }
        if (prepareState === 'todo' && accepted + prepares.size < room) prepares.set(need.key, need)
        // With dependencies the queue does the waiting; without, we do.
        const isQueued = this.#context.watches.get(need.key)?.handle !== undefined && !state.isStale(need.key)
        if (!scheduler.supports.dependencies || !isQueued) isReady = false
      }
      if (isReady) accepted += 1
      return isReady
    }
    const indexes = state.nextTodo(room, accept)
    const events: RunJournalEvent[] = []
    const intents: (readonly [JobKey, number])[] = []
    const verdicts: RunJournalEvent[] = []
    const failures: string[] = []
    const jobs: Made[] = []
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
    events.push({ type: 'intents', jobs: intents, ...(siteMark === undefined ? {} : { site: siteMark }) }, ...verdicts)
    try {
      await this.#context.write(events)
    } catch (error) {
      state.giveBack(indexes)
      throw error
    }
    for (const job of jobs) this.#context.watches.set(job.watch.key, job.watch)
    for (const { unsent } of jobs) if (unsent !== undefined) this.unsent.push(unsent)
    const uncertain = jobs.flatMap((job) => (job.unsent === undefined ? [job.watch] : []))
    if (uncertain.length > 0)
      this.#context.log.info({ jobs: uncertain.length }, 'directories of unknown attempts found: looking for their jobs')
    return { claimed: intents.length, uncertain, failures }
  }

  #item(index: number): WorkItem {
    const { items } = this.#context.state
    if (items === undefined) throw new Error('the journal holds no campaign')
    return items.at(index)
  }

  /** The site of the newest attempt that has a directory and of which the journal knows nothing; that of this lane when there is none. */
  #markOfUnknown(index: number): string | undefined {
    const { state, directory, site, siteMark, othersCanDo } = this.#context
    const item = this.#item(index)
    let mark = siteMark
    if (!othersCanDo(item)) return mark
    for (let attempt = state.lastAttempt(index) + 1; ; attempt += 1) {
      const path = join(directory, site.planner.directoryOf(item, attempt))
      if (!existsSync(path)) return mark
      mark = readSiteMark(path)
    }
  }

  /**
   * Plans an attempt and makes its directory. A directory that exists although the journal knows nothing of it (the journal
   * was repaired, or a controller ended in this moment) may belong to a job that was submitted: then there is nothing to be sent, and
   * the newest of them is looked up before anything else.
   */
  #make(
    key: JobKey,
    plan: (attempt: number) => PlannedAttempt,
    label: string,
    needs: readonly string[],
    refuse: (key: JobKey, attempt: number, outcome: 'not-submitted', detail: string) => void,
  ): Made | undefined {
    const { state, directory: root, files, site, siteMark } = this.#context
    let earlier: Watch | undefined
    // One that went out of sight without a record is looked for once more before another attempt is made.
    const lost = state.siteOfLast(key) === siteMark ? state.lostAttempt(key) : undefined
    for (let attempt = lost ?? state.lastAttempt(key) + 1; ; attempt += 1) {
      let planned: PlannedAttempt
      try {
        planned = plan(attempt)
      } catch (error) {
        if (earlier !== undefined) return { watch: earlier, unsent: undefined }
        refuse(key, attempt, 'not-submitted', messageOf(error))
        return undefined
      }
      const parts = { key, attempt, tag: planned.tag, site, path: planned.directory, label, handle: undefined, needs }
      const watch = makeWatch(root, parts)
      if (lost !== undefined) return { watch: makeWatch(root, { ...parts, isSecondLook: true }), unsent: undefined }
      if (existsSync(watch.directory)) {
        earlier = watch
        continue
      }
      if (earlier !== undefined) return { watch: earlier, unsent: undefined }
      // Where the job does not see our files, they are brought there.
      if (!makeAttemptDirectory(watch.directory, planned.parameters, site.place.isShared ? files : [])) continue
      if (siteMark !== undefined) keepSiteMark(watch.directory, siteMark)
      // The scheduler writes it there; here it says what was submitted.
      if (!site.place.isShared) keepScript(watch.directory, planned.script)
      const spec = this.#specOf(planned, watch)
      return { watch, unsent: { watch, spec, parameters: `${canonicalJson(planned.parameters)}\n`, isStaged: site.place.isShared } }
    }
  }

  #specOf(planned: PlannedAttempt, watch: Watch): JobSpec {
    const { spec, site, files } = this.#context
    return specOfJob(planned, { directory: watch.siteDirectory, site, files, spec, isStage: typeof watch.key === 'string' })
  }
}

interface Made {
  readonly watch: Watch
  /** `undefined`: it is to be found out first whether it was submitted before. */
  readonly unsent: Unsent | undefined
}

/** A planned attempt as its scheduler gets it. */
export function specOfJob(
  planned: PlannedAttempt,
  {
    directory,
    site,
    files,
    spec,
    isStage,
  }: {
    /** Absolute, on the site. */
    readonly directory: string
    readonly site: { readonly place: SitePlace; readonly queue?: string | undefined; readonly account?: string | undefined }
    readonly files: readonly { readonly path: string }[]
    readonly spec: CampaignSpec
    readonly isStage: boolean
  },
): JobSpec {
  const queue = spec.job.queue ?? site.queue
  const account = spec.job.account ?? site.account
  const isPacked = !isStage && spec.job.pack !== undefined
  return {
    tag: planned.tag,
    name: planned.name,
    script: planned.script,
    directory,
    environment: planned.environment,
    resources: planned.resources,
    runDirectory: site.place.root,
    ...(queue === undefined ? {} : { queue }),
    ...(account === undefined ? {} : { account }),
    ...(planned.options === undefined ? {} : { options: planned.options }),
    ...(isPacked ? { pack: spec.job.pack } : {}),
    // What was brought there is not brought home again.
    ...(site.place.isShared ? {} : { manifest: { exclude: ['parameters.json', ...files.map(({ path }) => basename(path))] } }),
  } as JobSpec
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
  /** Some were not sent because others like them were refused for good. */
  readonly isKeptBack: boolean
}

/**
 * Gives the unsent jobs to the scheduler of the site, at most `batch` of them, and records what it answered. Their directories there are made
 * ready first.
 */
export async function sendJobs(context: SiteContext, claiming: Claiming): Promise<SendRound> {
  const { site, watches, emit, log, state, signal } = context
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
    const item = typeof watch.key === 'number' ? state.items?.at(watch.key) : undefined
    if (failedNeed !== undefined && item !== undefined && context.othersCanDo(item)) {
      watches.delete(watch.key)
      const d = `not given to ${site.name}: ${failedNeed} failed there`
      dropped.push({ type: 'verdict', k: watch.key, a: watch.attempt, o: 'not-submitted', d, again: true, void: true })
    } else if (failedNeed !== undefined) {
      watches.delete(watch.key)
      doomed.push({ type: 'verdict', k: watch.key, a: watch.attempt, o: 'upstream-failed', d: `not run: ${failedNeed} failed` })
    } else if (missing.some((key) => state.prepareState(key) === 'todo')) {
      // Its prepare stage ended while the scheduler took no jobs, and is to be tried again: the job is planned anew after that.
      watches.delete(watch.key)
      const d = 'not given to the scheduler: its prepare stage is tried again'
      dropped.push({ type: 'verdict', k: watch.key, a: watch.attempt, o: 'not-submitted', d, again: true, void: true })
    } else if (batch.length >= site.batch || missing.length > 0) kept.push(job)
    else batch.push(job)
  }
  claiming.unsent = [...batch, ...kept]
  if (dropped.length + doomed.length > 0) await context.write([...dropped, ...doomed])
  reportRefused(context, doomed)
  if (batch.length === 0) return { sent: 0, uncertain: [], failures, pushedBack: undefined, isKeptBack: false }
  const unstaged = batch.filter((job) => !job.isStaged)
  if (unstaged.length > 0) {
    const attempts = unstaged.map(({ watch, parameters }) => ({ directory: watch.path, parameters }))
    await atSite(site, () => site.place.stage(attempts, { signal }))
    for (const job of unstaged) job.isStaged = true
  }
  // Not to be interrupted: what a submission cut short came to would have to be found out.
  const outcomes = await atSite(site, () => site.scheduler.submit(batch.map((job) => withDependencies(context, job))))
  const submitted: [JobKey, number, string][] = []
  const uncertain: Watch[] = []
  const back: Unsent[] = []
  let pushedBack: string | undefined
  let isKeptBack = false
  batch.forEach((job, position) => {
    const { watch } = job
    const outcome = outcomes[position]
    if (outcome?.outcome === 'submitted') {
      watch.handle = outcome.handle
      submitted.push([watch.key, watch.attempt, outcome.handle.nativeId])
      return
    }
    const isBehind = outcome?.outcome === 'invalid' && outcome.code === 'E_UPSTREAM_FAILED'
    if (outcome?.outcome === 'rejected' || (isBehind && watch.needs.some((key) => state.prepareState(key) === 'in-flight'))) {
      // What became of its prepare stage, the scheduler knows already and we are about to see.
      back.push(job)
      if (outcome.code === 'E_SCHEDULER_BREAKER') isKeptBack = true
      else pushedBack = outcome.message
    } else if (isBehind) {
      watches.delete(watch.key)
      failed.push({ type: 'verdict', k: watch.key, a: watch.attempt, o: 'upstream-failed', d: `not run: ${outcome.message}` })
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
  if (submitted.length > 0) site.noteSubmitted()
  return { sent: submitted.length, uncertain, failures, pushedBack, isKeptBack }
}

function reportRefused({ state, spec, emit }: SiteContext, verdicts: readonly VerdictEvent[]): void {
  for (const { k, d: detail } of verdicts) {
    const item = typeof k === 'number' ? state.items?.at(k) : undefined
    if (item !== undefined) emit({ type: 'item', item: itemId(item), label: itemLabel(item, spec.repetitions), state: 'failed', detail })
  }
}

function withDependencies(context: SiteContext, job: Unsent): JobSpec {
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
