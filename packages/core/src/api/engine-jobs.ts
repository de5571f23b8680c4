import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { conclude, isSilent } from '../engine/conclude.js'
import { finishTemplate } from '../engine/plan.js'
import { planResources } from '../engine/resources.js'
import { ConfigError, SchedulerError } from '../errors.js'
import { makeTag } from '../ids.js'
import type { ResourcesSpec } from '../model/campaign.js'
import type { Combination } from '../model/combination.js'
import type { DependencyKind, JobHandle, JobObservation, JobResult, JobSpec } from '../model/job.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { Scheduler } from '../ports/scheduler.js'
import type { Store, StoredEvent } from '../ports/store.js'
import type { TemplateRenderer } from '../ports/template-renderer.js'
import { shellQuote } from '../util/shell-quote.js'

/** A job of an imperative engine. */
export interface EngineJob {
  /** Identity inside the run: a job of this name is submitted once, also when the run is continued. Default: `job-1`, `job-2`… */
  readonly name?: string
  /** An argument list that no shell sees, or a line for `/bin/sh`. */
  readonly command?: readonly string[] | string
  /** Text of a batch script, with `{{ name }}` for `values`. */
  readonly script?: string
  readonly values?: Combination
  readonly placeholders?: 'braces' | 'dollar'
  readonly environment?: Readonly<Record<string, string>>
  readonly resources?: ResourcesSpec
  readonly queue?: string
  readonly account?: string
}

/** A job that the scheduler has. */
export interface SubmittedJob extends JobHandle {
  readonly name: string
  readonly directory: string
}

export interface SubmitJobOptions {
  /** Jobs that must have ended well before (see `kind`). */
  readonly after?: SubmittedJob | readonly SubmittedJob[]
  /** Default `afterok`. */
  readonly kind?: DependencyKind
}

interface Known {
  readonly tag: string
  nativeId: string | undefined
}

/** How long a job may be gone without a record, and how often a scheduler is asked: push, then those that have to be polled. */
const GRACE_MS = 5000
const GRACE_POLLED_MS = 120_000
/** Between two answers that a job was never queued; shorter where the scheduler is a program of this machine. */
const SETTLE_MS = 60_000
const SETTLE_PUSH_MS = 1000
const POLL_MS = 1000
const POLL_POLLED_MS = 30_000
const MAX_BACKOFF_MS = 60_000

export interface EngineJobsInput {
  readonly directory: string
  readonly runName: string
  readonly store: Store
  readonly scheduler: () => Promise<Scheduler>
  readonly renderer: TemplateRenderer
  readonly clock: Clock
  readonly log: Logger
  readonly site: { readonly account?: string | undefined; readonly queue?: string | undefined; readonly modules: readonly string[] }
}

/** Submits and follows the jobs of an imperative engine; remembers them in the run's journal. */
export class EngineJobs {
  readonly #deps: EngineJobsInput
  readonly #known = new Map<string, Known>()
  readonly #used = new Set<string>()
  #nonce = ''
  #count = 0

  constructor(deps: EngineJobsInput) {
    this.#deps = deps
  }

  readonly fold = (event: StoredEvent): void => {
    if (event.type === 'engine') this.#nonce = event['nonce'] as string
    if (event.type === 'engine-intent') this.#known.set(event['name'] as string, { tag: event['tag'] as string, nativeId: undefined })
    if (event.type === 'engine-refused') this.#known.delete(event['name'] as string)
    if (event.type === 'engine-submitted') {
      const known = this.#known.get(event['name'] as string)
      if (known !== undefined) known.nativeId = event['nativeId'] as string
    }
  }

  readonly reset = (): void => {
    this.#nonce = ''
    this.#known.clear()
  }

  /** Begins a run, or continues one. */
  async open(nonce: string): Promise<void> {
    if (this.#nonce === '') await this.#deps.store.append([{ type: 'engine', nonce }])
  }

  async submit(job: EngineJob, options: SubmitJobOptions = {}, signal?: AbortSignal): Promise<SubmittedJob> {
    this.#count += 1
    const name = job.name ?? `job-${this.#count}`
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
      throw new ConfigError('E_ARGUMENT', `${JSON.stringify(name)} cannot name a job: letters, digits, _ . - only`)
    }
    if (this.#used.has(name)) throw new ConfigError('E_ARGUMENT', `there are two jobs named ${name} in this run`)
    this.#used.add(name)
    try {
      return await this.#submitOnce(job, name, options, signal)
    } catch (error) {
      // It may be tried again under its name: what was queued all the same is found by its tag.
      this.#used.delete(name)
      throw error
    }
  }

  async #submitOnce(job: EngineJob, name: string, options: SubmitJobOptions, signal: AbortSignal | undefined): Promise<SubmittedJob> {
    const { store, log } = this.#deps
    const scheduler = await this.#deps.scheduler()
    const directory = join(this.#deps.directory, 'jobs', name)
    const tag =
      this.#known.get(name)?.tag ?? makeTag({ campaign: this.#deps.runName, id: name, repetition: 0, attempt: 1, nonce: this.#nonce })
    const asSubmitted = (nativeId: string): SubmittedJob => ({ scheduler: scheduler.name, nativeId, tag, name, directory })
    const found = await this.#findEarlier(name, tag, directory, scheduler, signal)
    if (found !== undefined) {
      log.info({ job: found }, 'job of an earlier start found')
      return asSubmitted(found)
    }
    const after = options.after === undefined ? [] : [options.after].flat()
    const spec = this.#specOf(job, name, tag, directory, after, options.kind ?? 'afterok')
    mkdirSync(directory, { recursive: true })
    await store.append([{ type: 'engine-intent', name, tag }])
    const [outcome] = await scheduler.submit([spec])
    if (outcome?.outcome === 'uncertain') {
      log.warn({ job: name, tag, error: outcome.message }, 'submission uncertain')
      const queued = await this.#settle(name, tag, directory, scheduler, signal)
      if (queued !== undefined) return asSubmitted(queued)
    }
    if (outcome === undefined || outcome.outcome !== 'submitted') {
      // Nothing was queued, so nothing has to be looked up when the run is continued.
      if (outcome !== undefined && outcome.outcome !== 'uncertain') await store.append([{ type: 'engine-refused', name }])
      const code =
        outcome?.outcome === 'uncertain' ? 'E_SUBMIT_UNCERTAIN' : outcome?.outcome === 'invalid' ? 'E_JOB_INVALID' : 'E_SUBMIT_REJECTED'
      throw new SchedulerError(code, `the job ${name} was not submitted: ${outcome?.message ?? 'no answer'}`, {
        suggestions: ['Continue the run with -c: a job that was queued all the same is found again'],
      })
    }
    const { nativeId } = outcome.handle
    await store.append([{ type: 'engine-submitted', name, nativeId }])
    log.info({ job: nativeId, ...(after.length === 0 ? {} : { dependsOn: after.map((one) => one.nativeId) }) }, 'job submitted')
    return asSubmitted(nativeId)
  }

  /** The native id of a job that an earlier start of this run submitted. */
  async #findEarlier(
    name: string,
    tag: string,
    directory: string,
    scheduler: Scheduler,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const known = this.#known.get(name)
    return known === undefined ? undefined : (known.nativeId ?? (await this.#settle(name, tag, directory, scheduler, signal)))
  }

  /**
   * Finds out whether a job was queued. That it was not is believed when the scheduler says so twice, the second time after the
   * grace, and there is no exit record either.
   */
  async #settle(
    name: string,
    tag: string,
    directory: string,
    scheduler: Scheduler,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const { clock, store } = this.#deps
    for (let asked = 0; asked < 2; asked += 1) {
      if (asked > 0) await clock.sleep(scheduler.supports.push ? SETTLE_PUSH_MS : SETTLE_MS, { signal })
      const handle = (await scheduler.find([{ tag, directory }])).get(tag)
      const isOver = handle === undefined && (await scheduler.exitRecord({ directory, tag })) !== undefined
      if (handle === undefined && !isOver) continue
      const nativeId = handle?.nativeId ?? ''
      await store.append([{ type: 'engine-submitted', name, nativeId }])
      return nativeId
    }
    return undefined
  }

  #specOf(job: EngineJob, name: string, tag: string, directory: string, after: readonly SubmittedJob[], kind: DependencyKind): JobSpec {
    const { site, renderer } = this.#deps
    if ((job.command === undefined) === (job.script === undefined)) {
      throw new ConfigError('E_ARGUMENT', `the job ${name} needs either command or script`)
    }
    const values = job.values ?? {}
    const text = job.script ?? (typeof job.command === 'string' ? job.command : undefined)
    const script =
      text === undefined
        ? ['#!/bin/sh', ...site.modules, `exec ${(job.command as readonly string[]).map(shellQuote).join(' ')}`, ''].join('\n')
        : renderer.render({ text: finishTemplate(text, site.modules), name, placeholders: job.placeholders ?? 'braces' }, values)
    const queue = job.queue ?? site.queue
    const account = job.account ?? site.account
    return {
      tag,
      name,
      script,
      directory,
      environment: { ...job.environment },
      resources: planResources(job.resources, values),
      ...(after.length === 0 ? {} : { dependencies: after.map((on) => ({ kind, on })) }),
      ...(queue === undefined ? {} : { queue }),
      ...(account === undefined ? {} : { account }),
    }
  }

  /** Waits for the end of all of them. Results in the order of the jobs; failures are values. */
  async wait(jobs: readonly SubmittedJob[], signal?: AbortSignal): Promise<readonly JobResult[]> {
    const { clock, log } = this.#deps
    const scheduler = await this.#deps.scheduler()
    const results = new Map<SubmittedJob, JobResult>()
    const silentSince = new Map<SubmittedJob, number>()
    const { push } = scheduler.supports
    const graceMs = push ? GRACE_MS : GRACE_POLLED_MS
    const pollMs = push ? POLL_MS : POLL_POLLED_MS
    let backoff = pollMs
    const wanted = new Set(jobs).size
    while (results.size < wanted) {
      signal?.throwIfAborted()
      const open = [...new Set(jobs)].filter((job) => !results.has(job))
      let seen: readonly JobObservation[]
      try {
        seen = await scheduler.observe(open, { signal })
        backoff = pollMs
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'E_SCHEDULER_SILENT') throw error
        log.warn({ error }, 'the scheduler is silent: waiting')
        await clock.sleep(backoff, { signal })
        backoff = Math.min(backoff * 2, MAX_BACKOFF_MS)
        continue
      }
      const before = results.size
      for (const [position, job] of open.entries()) {
        const observation = seen[position]
        if (!isSilent(observation)) {
          silentSince.delete(job)
          continue
        }
        const since = silentSince.get(job) ?? clock.monotonic()
        silentSince.set(job, since)
        const exit = await scheduler.exitRecord(job)
        const result = conclude({ exit, observation, silentMs: clock.monotonic() - since, graceMs })
        if (result === undefined) continue
        results.set(job, result)
        const fields = { job: job.nativeId, outcome: result.outcome, detail: result.detail }
        if (result.outcome === 'succeeded') log.info(fields, 'job ended')
        else log.warn(fields, 'job ended')
      }
      if (results.size > before || results.size === wanted) continue
      const sleep = clock.sleep(pollMs, { signal })
      if (scheduler.changed === undefined) await sleep
      else {
        const ends = new AbortController()
        sleep.catch(() => undefined)
        const change = scheduler.changed({ signal: ends.signal })
        change.catch(() => undefined)
        await Promise.race([change, sleep]).finally(() => ends.abort())
      }
    }
    return jobs.map((job) => results.get(job) as JobResult)
  }
}
