import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalJson } from '../canonical-json.js'
import { conclude, isSilent } from '../engine/conclude.js'
import { finishTemplate } from '../engine/plan.js'
import { planResources } from '../engine/resources.js'
import { timingOf } from '../engine/run-site.js'
import { ConfigError, SchedulerError, TransferError } from '../errors.js'
import { makeTag } from '../ids.js'
import type { ResourcesSpec } from '../model/campaign.js'
import type { Combination } from '../model/combination.js'
import type { DependencyKind, JobHandle, JobPlace, JobResult, JobSpec, SubmitOutcome } from '../model/job.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { Scheduler } from '../ports/scheduler.js'
import type { SitePlace } from '../ports/site-place.js'
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
  /** What only the scheduler of the site knows, over the options of the site. */
  readonly options?: Readonly<Record<string, unknown>>
}

/** A job that the scheduler has. */
export interface SubmittedJob extends JobHandle {
  readonly name: string
  /** Absolute, here: what the job left is there when it was waited for. */
  readonly directory: string
  /** The same directory as jobs see it: another name where the site does not see our files. */
  readonly siteDirectory: string
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
  /** It was never submitted, because of what became of the jobs that it was to wait for. */
  upstream: string | undefined
  /** How it ended, once somebody has waited for it. */
  result: JobResult | undefined
}

const MAX_BACKOFF_MS = 60_000
/** Between two tries to bring files home that did not fit their manifest. */
const FETCH_PAUSE_MS = 1000

export interface EngineJobsInput {
  readonly directory: string
  readonly runName: string
  readonly store: Store
  readonly scheduler: () => Promise<Scheduler>
  /** Where the files of the run lie for its jobs. */
  readonly place: (runId: string) => SitePlace
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
  #place: Promise<SitePlace> | undefined

  constructor(deps: EngineJobsInput) {
    this.#deps = deps
  }

  readonly fold = (event: StoredEvent): void => {
    if (event.type === 'engine') this.#nonce = event['nonce'] as string
    if (event.type === 'engine-intent')
      this.#known.set(event['name'] as string, { tag: event['tag'] as string, nativeId: undefined, upstream: undefined, result: undefined })
    if (event.type === 'engine-refused') this.#known.delete(event['name'] as string)
    const known = this.#known.get(event['name'] as string)
    if (event.type === 'engine-submitted' && known !== undefined) known.nativeId = event['nativeId'] as string
    if (event.type === 'engine-ended' && known !== undefined) known.result = event['result'] as JobResult
    if (event.type === 'engine-upstream-failed' && known !== undefined) known.upstream = event['detail'] as string
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
    const place = await this.#openPlace(signal)
    const path = `jobs/${name}`
    const directory = join(this.#deps.directory, path)
    const siteDirectory = `${place.root}/${path}`
    const tag =
      this.#known.get(name)?.tag ?? makeTag({ campaign: this.#deps.runName, id: name, repetition: 0, attempt: 1, nonce: this.#nonce })
    const asSubmitted = (nativeId: string): SubmittedJob => ({ scheduler: scheduler.name, nativeId, tag, name, directory, siteDirectory })
    const at: JobPlace = { tag, directory: siteDirectory, runDirectory: place.root }
    const known = this.#known.get(name)
    if (known?.upstream !== undefined) return asSubmitted('')
    const found = known === undefined ? undefined : (known.nativeId ?? (await this.#settle(name, at, scheduler, signal)))
    if (found !== undefined) {
      if (found !== '') scheduler.adopt?.([{ ...at, handle: { scheduler: scheduler.name, nativeId: found, tag } }])
      log.info({ job: found }, 'job of an earlier start found')
      return asSubmitted(found)
    }
    const wanted = options.after === undefined ? [] : [options.after].flat()
    const kind = options.kind ?? 'afterok'
    const spec = this.#specOf(job, name, at, wanted, kind, place)
    mkdirSync(directory, { recursive: true })
    await store.append([{ type: 'engine-intent', name, tag }])
    const never = (detail: string): Promise<SubmittedJob> => this.#neverSubmitted(name, detail).then(() => asSubmitted(''))
    const upstream = await this.#lookAtEnded(wanted, kind, scheduler)
    if (upstream !== undefined) return await never(upstream)
    if (!place.isShared) await place.stage([{ directory: path, parameters: `${canonicalJson(job.values ?? {})}\n` }], { signal })
    const outcome = await this.#send(spec, scheduler, signal)
    if (outcome?.outcome === 'uncertain') {
      log.warn({ job: name, tag, error: outcome.message }, 'submission uncertain')
      const queued = await this.#settle(name, at, scheduler, signal)
      if (queued !== undefined) return asSubmitted(queued)
    }
    if (outcome?.outcome === 'invalid' && outcome.code === 'E_UPSTREAM_FAILED') return await never(outcome.message)
    if (outcome === undefined || outcome.outcome !== 'submitted') {
      // Nothing was queued, so nothing has to be looked up when the run is continued.
      if (outcome?.outcome === 'invalid') await store.append([{ type: 'engine-refused', name }])
      throw new SchedulerError(
        outcome?.outcome === 'invalid' ? 'E_JOB_INVALID' : 'E_SUBMIT_UNCERTAIN',
        `the job ${name} was not submitted: ${outcome?.message ?? 'no answer'}`,
        { suggestions: ['Continue the run with -c: a job that was queued all the same is found again'] },
      )
    }
    const { nativeId } = outcome.handle
    await store.append([{ type: 'engine-submitted', name, nativeId }])
    const dependsOn = wanted.flatMap((one) => (one.nativeId === '' ? [] : [one.nativeId]))
    log.info({ job: nativeId, ...(dependsOn.length === 0 ? {} : { dependsOn }) }, 'job submitted')
    return asSubmitted(nativeId)
  }

  #openPlace(signal: AbortSignal | undefined): Promise<SitePlace> {
    const opening = this.#place ?? this.#makePlace(signal)
    this.#place = opening
    opening.catch(() => {
      if (this.#place === opening) this.#place = undefined
    })
    return opening
  }

  async #makePlace(signal: AbortSignal | undefined): Promise<SitePlace> {
    const place = this.#deps.place(this.#nonce)
    await place.open({ signal })
    return place
  }

  /** Waits while the scheduler takes no jobs: a limit, which others of our jobs may have to leave first. */
  async #send(spec: JobSpec, scheduler: Scheduler, signal: AbortSignal | undefined): Promise<SubmitOutcome | undefined> {
    const { clock, log } = this.#deps
    for (let tries = 0; ; tries += 1) {
      const [outcome] = await scheduler.submit([spec])
      if (outcome?.outcome !== 'rejected') return outcome
      log.info({ job: spec.name, reason: outcome.message }, 'the scheduler takes no more jobs for now')
      await clock.sleep(Math.min(timingOf(scheduler).pollMs * 2 ** Math.min(tries, 10), MAX_BACKOFF_MS), { signal })
    }
  }

  async #neverSubmitted(name: string, detail: string): Promise<void> {
    await this.#deps.store.append([{ type: 'engine-upstream-failed', name, detail }])
    this.#deps.log.warn({ job: name, detail }, 'job not submitted: one that it depends on ended badly')
  }

  /** Of jobs that have no place in the queue any more, or never had one: why this one can never start. */
  async #lookAtEnded(after: readonly SubmittedJob[], kind: DependencyKind, scheduler: Scheduler): Promise<string | undefined> {
    for (const job of after) {
      if (job.nativeId !== '') continue
      const exit = this.#known.get(job.name)?.upstream === undefined ? await scheduler.exitRecord(await this.#placeOf(job)) : undefined
      const isGood = exit?.exitCode === 0 && exit.reason === 'exited'
      if ((kind === 'afterok' || kind === 'aftercorr') && !isGood) return `${job.name} did not end well`
      if (kind === 'afternotok' && isGood) return `${job.name} ended well`
    }
    return undefined
  }

  async #placeOf({ tag, siteDirectory }: SubmittedJob): Promise<JobPlace> {
    return { tag, directory: siteDirectory, runDirectory: (await this.#openPlace(undefined)).root }
  }

  /**
   * Finds out whether a job was queued. That it was not is believed when the scheduler says so twice, the second time after the
   * grace, and there is no exit record either.
   */
  async #settle(name: string, at: JobPlace, scheduler: Scheduler, signal: AbortSignal | undefined): Promise<string | undefined> {
    const { clock, store } = this.#deps
    for (let asked = 0; asked < 2; asked += 1) {
      if (asked > 0) await clock.sleep(timingOf(scheduler).settleGraceMs, { signal })
      const handle = (await scheduler.find([at], { signal })).get(at.tag)
      const isOver = handle === undefined && (await scheduler.exitRecord(at, { signal })) !== undefined
      if (handle === undefined && !isOver) continue
      const nativeId = handle?.nativeId ?? ''
      await store.append([{ type: 'engine-submitted', name, nativeId }])
      return nativeId
    }
    return undefined
  }

  #specOf(
    job: EngineJob,
    name: string,
    { tag, directory }: JobPlace,
    wanted: readonly SubmittedJob[],
    kind: DependencyKind,
    place: SitePlace,
  ): JobSpec {
    const after = wanted.filter((one) => one.nativeId !== '')
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
      runDirectory: place.root,
      ...(after.length === 0 ? {} : { dependencies: after.map((on) => ({ kind, on: handleOf(on) })) }),
      ...(job.options === undefined ? {} : { options: job.options }),
      ...(place.isShared ? {} : { manifest: { exclude: ['parameters.json'] } }),
      ...(queue === undefined ? {} : { queue }),
      ...(account === undefined ? {} : { account }),
    }
  }

  /**
   * Waits for the end of all of them. Results in the order of the jobs; failures are values.
   *
   * @throws TransferError `E_FETCH` when what a job left could not be brought home from its site
   */
  async wait(jobs: readonly SubmittedJob[], signal?: AbortSignal): Promise<readonly JobResult[]> {
    const scheduler = await this.#deps.scheduler()
    const place = await this.#openPlace(signal)
    const timing = timingOf(scheduler)
    const results = new Map<SubmittedJob, JobResult>()
    const silentSince = new Map<SubmittedJob, number>()
    let backoff = timing.pollMs
    const all = [...new Set(jobs)]
    for (const job of all) {
      const { upstream, result } = this.#known.get(job.name) ?? {}
      if (result !== undefined) results.set(job, result)
      else if (upstream !== undefined) results.set(job, { outcome: 'upstream-failed', proof: 'submission', detail: `not run: ${upstream}` })
    }
    while (results.size < all.length) {
      signal?.throwIfAborted()
      const open = all.filter((job) => !results.has(job))
      try {
        const ended = await this.#look(open, silentSince, scheduler, signal)
        if (!place.isShared) await this.#bringHome([...ended.keys()], place, scheduler, signal)
        // The queue forgets; what was given up as lost may yet be found.
        const known = [...ended].filter(([, { outcome }]) => outcome !== 'lost')
        if (known.length > 0) {
          await this.#deps.store.append(known.map(([{ name }, result]) => ({ type: 'engine-ended', name, result })))
        }
        for (const [job, result] of ended) {
          results.set(job, result)
          this.#tell(job, result)
        }
        backoff = timing.pollMs
        if (ended.size > 0) continue
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'E_SCHEDULER_SILENT') throw error
        this.#deps.log.warn({ error }, 'the scheduler is silent: waiting')
        await this.#deps.clock.sleep(backoff, { signal })
        backoff = Math.min(backoff * 2, MAX_BACKOFF_MS)
        continue
      }
      await this.#untilChange(scheduler, timing.pollMs, signal)
    }
    return jobs.map((job) => results.get(job) as JobResult)
  }

  /** What can be concluded now. */
  async #look(
    open: readonly SubmittedJob[],
    silentSince: Map<SubmittedJob, number>,
    scheduler: Scheduler,
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<SubmittedJob, JobResult>> {
    const { clock } = this.#deps
    const { graceMs } = timingOf(scheduler)
    const queued = open.filter((job) => job.nativeId !== '')
    const seen = queued.length === 0 ? [] : await scheduler.observe(queued.map(handleOf), { signal })
    const observations = new Map(queued.map((job, position) => [job, seen[position]]))
    const ended = new Map<SubmittedJob, JobResult>()
    for (const job of open) {
      const observation = observations.get(job)
      if (job.nativeId !== '' && !isSilent(observation)) {
        silentSince.delete(job)
        continue
      }
      const since = silentSince.get(job) ?? clock.monotonic()
      silentSince.set(job, since)
      const exit = await scheduler.exitRecord(await this.#placeOf(job), { signal })
      const result = conclude({ exit, observation, silentMs: clock.monotonic() - since, graceMs })
      if (result !== undefined) ended.set(job, result)
    }
    return ended
  }

  /** Until what each of them left is here. */
  async #bringHome(ended: readonly SubmittedJob[], place: SitePlace, scheduler: Scheduler, signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#deps
    const since = clock.monotonic()
    let away = ended
    while (away.length > 0) {
      const attempts = away.map(({ name, tag }) => ({ directory: `jobs/${name}`, tag }))
      const outcomes = await place.fetch(attempts, { signal })
      const [first] = away.flatMap(({ name }, position) => {
        const outcome = outcomes[position]
        return outcome?.ok === false ? [`${name}: ${outcome.detail}`] : []
      })
      away = away.filter((_, position) => outcomes[position]?.ok === false)
      if (first === undefined) return
      if (clock.monotonic() - since >= timingOf(scheduler).graceMs) {
        throw new TransferError('E_FETCH', `what ${away.length} jobs left could not be brought home: ${first}`, {
          suggestions: ['Continue the run with -c: it is fetched again'],
        })
      }
      await clock.sleep(FETCH_PAUSE_MS, { signal })
    }
  }

  #tell(job: SubmittedJob, result: JobResult): void {
    const fields = { job: job.nativeId, outcome: result.outcome, detail: result.detail }
    if (result.outcome === 'succeeded') this.#deps.log.info(fields, 'job ended')
    else this.#deps.log.warn(fields, 'job ended')
  }

  async #untilChange(scheduler: Scheduler, pollMs: number, signal: AbortSignal | undefined): Promise<void> {
    const sleep = this.#deps.clock.sleep(pollMs, { signal })
    if (scheduler.changed === undefined) return await sleep
    const ends = new AbortController()
    sleep.catch(() => undefined)
    const change = scheduler.changed({ signal: ends.signal })
    change.catch(() => undefined)
    await Promise.race([change, sleep]).finally(() => ends.abort())
  }
}

function handleOf({ scheduler, nativeId, tag }: SubmittedJob): JobHandle {
  return { scheduler, nativeId, tag }
}
