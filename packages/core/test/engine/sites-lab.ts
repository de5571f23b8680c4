import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { makeCollect } from '../../src/api/run/collect.js'
import { type OpenRun, openJournal } from '../../src/api/run/open-run.js'
import { Controller, type ControllerEnd } from '../../src/engine/controller.js'
import { Planner } from '../../src/engine/plan.js'
import { readCampaign } from '../../src/engine/read-campaign.js'
import { RunSite } from '../../src/engine/run-site.js'
import { SchedulerError } from '../../src/errors.js'
import type { CampaignInput, CampaignSpec } from '../../src/model/campaign.js'
import type { WorkItem } from '../../src/model/combination.js'
import type { JobSpec } from '../../src/model/job.js'
import type { RunEvent } from '../../src/model/run.js'
import type { Space } from '../../src/model/space.js'
import type { Scheduler } from '../../src/ports/scheduler.js'
import type { FetchedAttempt, FetchOutcome, SitePlace, StagedAttempt } from '../../src/ports/site-place.js'
import { withRepetitions } from '../../src/sweep/derived-spaces.js'
import { sweep } from '../../src/sweep/sweep.js'
import { systemClock } from '../../src/system/clock.js'
import { silentLogger } from '../../src/system/log.js'
import { LiquidRenderer } from '../../src/template/liquid-renderer.js'
import { MemoryScheduler, type MemorySchedulerOptions, type PlayedJob } from '../../src/testing/memory-scheduler.js'

export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'cahier-sites-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A place whose files are real, in another directory of this machine. */
export class ElsewherePlace implements SitePlace {
  readonly isShared = false
  readonly root: string
  readonly #home: string
  readonly asked = { open: 0, stage: 0, fetch: 0 }
  readonly fetched: string[] = []
  /** While true nothing is answered. */
  silent = false
  /** One is used up by each attempt that is fetched. */
  readonly faults: string[] = []

  constructor(root: string, home: string) {
    this.root = root
    this.#home = home
  }

  async open(): Promise<void> {
    this.#ask('open')
    mkdirSync(this.root, { recursive: true })
  }

  async stage(attempts: readonly StagedAttempt[]): Promise<void> {
    this.#ask('stage')
    for (const { directory, parameters } of attempts) {
      mkdirSync(join(this.root, directory), { recursive: true })
      writeFileSync(join(this.root, directory, 'parameters.json'), parameters)
    }
  }

  async fetch(attempts: readonly FetchedAttempt[]): Promise<readonly FetchOutcome[]> {
    this.#ask('fetch')
    return attempts.map(({ directory }) => {
      const fault = this.faults.shift()
      if (fault !== undefined) return { ok: false, detail: fault }
      this.fetched.push(directory)
      cpSync(join(this.root, directory), join(this.#home, directory), { recursive: true })
      return { ok: true, files: readdirSync(join(this.root, directory)).length, bytes: 0 }
    })
  }

  #ask(question: keyof ElsewherePlace['asked']): void {
    this.asked[question] += 1
    if (this.silent) throw new SchedulerError('E_SCHEDULER_SILENT', 'the connection is gone', { data: { code: 'E_CONNECTION_LOST' } })
  }
}

/** Ends a controller at a chosen step between it and the world, before or after that step has had its effect. */
export class Death {
  steps = 0
  readonly #at: number

  constructor(at: number) {
    this.#at = at
  }

  get hasCome(): boolean {
    return this.steps >= this.#at
  }

  /** The same object for a controller that is going to die. */
  of<T extends object>(target: T, methods: readonly (keyof T)[]): T {
    return new Proxy(target, {
      get: (_, name) => {
        const member: unknown = Reflect.get(target, name, target)
        if (typeof member !== 'function') return member
        if (!methods.includes(name as keyof T)) return member.bind(target)
        return async (...args: unknown[]) => {
          this.#step()
          const answer: unknown = await member.apply(target, args)
          this.#step()
          return answer
        }
      },
    })
  }

  #step(): void {
    this.steps += 1
    if (this.hasCome) throw new Error('killed')
  }
}

function sharedPlace(root: string): SitePlace {
  return {
    root,
    isShared: true,
    open: async () => undefined,
    stage: async () => undefined,
    fetch: async () => [],
  }
}

/** Every job leaves the square of its level, and the site that it ran on. */
export const levelOf = (job: JobSpec): number => Number(job.environment?.['CAHIER_FACTOR_n'])
export const isPrepare = (job: JobSpec): boolean => job.directory.includes('/prepare/')
export const square = (job: JobSpec): PlayedJob => (isPrepare(job) ? {} : { stdout: `square=${levelOf(job) ** 2}\n` })

export const squares = (more: Partial<CampaignInput> = {}): CampaignInput => ({
  name: 'squares',
  factors: { n: [1, 2, 3, 4, 5, 6] },
  job: { command: ['expr', '{{ n }}'] },
  results: { square: { type: 'integer', positive: true } },
  collect: { square: { from: 'stdout', pattern: 'square=(\\S+)' } },
  ...more,
})

export interface LabSite {
  readonly name: string
  readonly scheduler: MemoryScheduler
  /** Absent: the run directory itself. */
  readonly place?: ElsewherePlace
  readonly takesWork?: boolean
  /** Throws what stands against opening it. */
  readonly opening?: () => void
}

export function memory(options: MemorySchedulerOptions = {}): MemoryScheduler {
  return new MemoryScheduler({ play: square, ...options })
}

/** One run over several sites, driven by a controller that can be left and taken up again. */
export class SitesLab {
  readonly directory = join(scratch(), 'run')
  readonly elsewhere = scratch()
  readonly events: RunEvent[] = []

  constructor() {
    mkdirSync(this.directory, { recursive: true })
  }

  place(name: string): ElsewherePlace {
    return new ElsewherePlace(join(this.elsewhere, name), this.directory)
  }

  async drive(
    sites: readonly LabSite[],
    options: {
      readonly campaign?: CampaignInput
      readonly signal?: AbortSignal
      readonly mode?: 'run' | 'stop'
      readonly maxInFlight?: number
      readonly graceMs?: number
      readonly onEvent?: (event: RunEvent) => void
      readonly death?: Death
      /** As journals were before sites had names in them. */
      readonly isOld?: boolean
    } = {},
  ): Promise<ControllerEnd> {
    const spec = readCampaign(options.campaign ?? squares(), 'test')
    const items: Space<WorkItem> = withRepetitions(sweep(spec.factors), spec.repetitions)
    await using run = await openJournal(this.directory)
    const { state, store } = run
    const [first] = sites as [LabSite]
    if (state.campaign === undefined) {
      const site = options.isOld === true ? {} : { site: first.name }
      await store.append([
        { type: 'campaign', runId: 'lab', name: spec.name, revision: 1, definition: items.definition, fingerprint: {}, ...site },
      ])
    }
    const defaultSite = state.site ?? first.name
    const controller = new Controller({
      spec,
      directory: this.directory,
      sites: sites.map((site) => this.#site(site, spec, defaultSite, options.graceMs ?? 30, options.death)),
      defaultSite,
      state,
      store: options.death?.of(store, ['transact', 'append']) ?? store,
      collect: makeCollect(spec),
      files: [],
      clock: systemClock,
      log: silentLogger,
      settings: { maxInFlight: options.maxInFlight ?? 1000 },
      emit: (event) => {
        this.events.push(event)
        options.onEvent?.(event)
      },
      version: 'test',
      checkLease: () => undefined,
      signal: options.signal,
      mode: options.mode ?? 'run',
    })
    return await controller.run()
  }

  async read<T>(look: (run: OpenRun) => T): Promise<T> {
    await using run = await openJournal(this.directory, { readOnly: true, history: true })
    return look(run)
  }

  #site(
    { name, scheduler, place, takesWork = true, opening }: LabSite,
    spec: CampaignSpec,
    defaultSite: string,
    graceMs: number,
    death?: Death,
  ): RunSite {
    const plain = place ?? sharedPlace(this.directory)
    const used = death?.of(plain, ['open', 'stage', 'fetch']) ?? plain
    const planner = new Planner({
      spec,
      runId: 'lab',
      tagName: 'squares',
      runDirectory: used.root,
      renderer: new LiquidRenderer(),
      scripts: new Map(),
      modules: [],
      site: name === defaultSite ? undefined : name,
    })
    const openScheduler = async (): Promise<Scheduler> => {
      opening?.()
      return death?.of<Scheduler>(scheduler, ['submit', 'find', 'observe', 'exitRecord', 'cancel']) ?? scheduler
    }
    return new RunSite({ name, place: used, planner, takesWork, openScheduler, timing: { pollMs: 2, graceMs, settleGraceMs: 20 } })
  }

  isHome(path: string): boolean {
    return existsSync(join(this.directory, path))
  }
}

/** Jobs of a site by the level of their only factor. */
export const levels = (scheduler: MemoryScheduler): number[] =>
  scheduler.entries.filter(({ job }) => !isPrepare(job)).map(({ job }) => levelOf(job))
export const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)
