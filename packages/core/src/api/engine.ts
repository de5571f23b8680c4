import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { makeRunDirectory, runName } from '../engine/run-directory.js'
import { ConfigError, isCampaignError, messageOf } from '../errors.js'
import type { Combination } from '../model/combination.js'
import type { JobResult } from '../model/job.js'
import type { Logger } from '../ports/logger.js'
import { JournalStore } from '../store/journal-store.js'
import { type LogLevel, makeLogger, silentLogger } from '../system/log.js'
import { nearestName } from '../util/nearest.js'
import { shellQuote } from '../util/shell-quote.js'
import { type EngineJob, EngineJobs, type SubmitJobOptions, type SubmittedJob } from './engine-jobs.js'
import { ParamSweeper, type Sweeps } from './param-sweeper.js'
import { takeHold } from './run/hold.js'
import { openServices, type ServiceOptions } from './services.js'

/** An option of an engine: `--name value` on its command line. */
export interface EngineOption {
  readonly type: 'string' | 'number' | 'boolean'
  readonly default?: string | number | boolean
  /** One letter. */
  readonly short?: string
  readonly description: string
}

export interface EngineStartOptions extends ServiceOptions {
  /** Where the directory of the run is made; default: the current one. */
  readonly parent?: string
  /** Gets the lines of the lab notebook; default: stdout. `false`: nobody. */
  readonly write?: ((line: string) => void) | false
  readonly signal?: AbortSignal
}

export interface EngineEnd {
  readonly outcome: 'completed' | 'interrupted' | 'help'
  readonly directory: string | undefined
}

const BASE_OPTIONS: Readonly<Record<string, EngineOption>> = {
  continue: { type: 'string', short: 'c', description: 'continue the run in this directory; it is made when it does not exist' },
  site: { type: 'string', short: 's', description: 'site whose scheduler is used' },
  level: { type: 'string', short: 'l', default: 'info', description: 'lowest level shown: debug, info, warn or error' },
  help: { type: 'boolean', short: 'h', description: 'shows this text' },
}

/**
 * Base class of imperative campaigns: a subclass overrides {@link init} and {@link run}, and says `await new Mine().main()`.
 *
 * Every run has a directory, a log in it, and a journal that makes jobs and sweeps survive: `-c DIR` goes on where an earlier
 * start stopped.
 *
 * ```ts
 * class Chained extends Engine {
 *   async run() {
 *     const first = await this.submit({ command: ['./step.sh', '1'] })
 *     const second = await this.submit({ command: ['./step.sh', '2'] }, { after: first })
 *     await this.waitJobs([first, second])
 *   }
 * }
 * ```
 */
export class Engine {
  /** What `--help` says first. */
  static readonly description: string = ''
  /** Options of this engine and of its subclasses: each class adds its own. */
  static readonly options: Readonly<Record<string, EngineOption>> = {}

  /** Words of the command line that are no options. */
  args: readonly string[] = []
  /** Values of the options. */
  options: Readonly<Record<string, string | number | boolean | undefined>> = {}
  /** Name of the directory of the run. */
  runName = ''
  /** Absolute; exists when `init` is called. */
  resultDir = ''
  log: Logger = silentLogger
  /** Aborted when the run is interrupted. */
  signal: AbortSignal = new AbortController().signal
  #jobs: EngineJobs | undefined
  readonly #sweepers: ParamSweeper<never>[] = []

  /** Called once before {@link run}, for each class of the hierarchy, base classes first. Do not call `super.init()`. */
  async init(): Promise<void> {}

  /** The workflow. */
  async run(): Promise<void> {}

  /** Called at the end, also after a failure. */
  async teardown(): Promise<void> {}

  /** Name of the run: class and date. */
  setupRunName(): string {
    return runName(this.constructor.name, Date.now())
  }

  /**
   * Runs the engine.
   *
   * @param argv - words of the command line; default: those of the process
   * @throws what `init` or `run` throws, after `teardown`
   */
  async start(argv: readonly string[] = process.argv.slice(2), options: EngineStartOptions = {}): Promise<EngineEnd> {
    const write = options.write === false ? undefined : (options.write ?? ((line: string) => process.stdout.write(`${line}\n`)))
    this.#parse(argv)
    if (this.options['help'] === true) {
      write?.(this.#helpText())
      return { outcome: 'help', directory: undefined }
    }
    this.#makeDirectory(options.parent ?? process.cwd())
    using log = makeLogger({
      file: join(this.resultDir, 'log.ndjson'),
      level: this.options['level'] as LogLevel,
      terminal: write === undefined ? undefined : { write: (text: string) => write(text.replace(/\n$/, '')) },
    })
    this.log = log
    const ends = new AbortController()
    const interrupt = (): void => ends.abort(new ConfigError('E_ABORTED', 'the engine was interrupted'))
    options.signal?.addEventListener('abort', interrupt, { once: true })
    if (options.signal?.aborted === true) interrupt()
    process.once('SIGINT', interrupt)
    this.signal = ends.signal
    const words = [process.argv[1] === undefined ? this.constructor.name : process.argv[1], ...argv]
    log.info({ arguments: words }, 'command line arguments')
    log.info({}, `command line: ${words.map((word) => shellQuote(word)).join(' ')}`)
    log.info({}, `run in directory ${this.resultDir}`)
    try {
      await using _hold = await takeHold(this.resultDir)
      await using store = new JournalStore(this.resultDir, { log })
      const site = this.options['site'] === undefined ? options.site : String(this.options['site'])
      await using services = await openServices(dirname(process.argv[1] ?? process.cwd()), { ...options, site, log })
      const [used] = services.sites
      if (used === undefined) throw new RangeError('services without a site')
      this.#jobs = new EngineJobs({
        directory: this.resultDir,
        runName: this.constructor.name,
        store,
        scheduler: () => services.scheduler(),
        place: (runId) => used.place({ directory: this.resultDir, runId, inputs: [] }),
        renderer: services.renderer,
        clock: services.clock,
        log,
        site: services.site,
      })
      store.fold(this.#jobs.fold, { reset: this.#jobs.reset })
      await store.open()
      await this.#jobs.open(randomBytes(5).toString('hex'))
      await this.#runAll()
      if (ends.signal.aborted) return this.#interrupted(log)
      log.info({}, 'engine completed')
      return { outcome: 'completed', directory: this.resultDir }
    } catch (error) {
      if (ends.signal.aborted) return this.#interrupted(log)
      log.error({ error }, 'engine interrupted')
      throw error
    } finally {
      process.removeListener('SIGINT', interrupt)
      options.signal?.removeEventListener('abort', interrupt)
    }
  }

  /**
   * The engine as a program: {@link start} with the command line of the process, an error as a message and an exit code. 130: interrupted;
   * 2: the command line cannot be read.
   */
  async main(): Promise<void> {
    try {
      const { outcome } = await this.start()
      if (outcome === 'interrupted') process.exitCode = 130
    } catch (error) {
      const { code, suggestions } = isCampaignError(error) ? error : { code: undefined, suggestions: [] }
      // With a log, the message stands in it.
      const lines = this.log === silentLogger ? [`Error${code === undefined ? '' : ` ${code}`}: ${messageOf(error)}`] : []
      process.stderr.write([...lines, ...suggestions.map((tip) => `  Try: ${tip}`)].map((line) => `${line}\n`).join(''))
      process.exitCode = code === 'E_ARGUMENT' ? 2 : 1
    }
  }

  /** Gives a job to the site's scheduler, once: when the run is continued, a job of the same name is found again. */
  async submit(job: EngineJob, options: SubmitJobOptions = {}): Promise<SubmittedJob> {
    const jobs = this.#started()
    this.signal.throwIfAborted()
    return await jobs.submit(job, options, this.signal)
  }

  /** Waits until all have ended. Results in the order of the jobs; a failed job is a result, not an exception. */
  async waitJobs(jobs: readonly SubmittedJob[]): Promise<readonly JobResult[]> {
    return await this.#started().wait(jobs, this.signal)
  }

  /** A persistent to-do list in the directory of the run. */
  sweeper<C = Combination>(name: string, sweeps: Sweeps<C>): ParamSweeper<C> {
    const made = new ParamSweeper<C>(join(this.resultDir, name), sweeps)
    this.#sweepers.push(made as unknown as ParamSweeper<never>)
    return made
  }

  async #runAll(): Promise<void> {
    try {
      for (const init of this.#inits()) await init.call(this)
      await this.run()
    } finally {
      try {
        await this.teardown()
      } finally {
        for (const made of this.#sweepers) await made[Symbol.asyncDispose]()
      }
    }
  }

  #interrupted(log: Logger): EngineEnd {
    log.warn({}, 'engine interrupted')
    return { outcome: 'interrupted', directory: this.resultDir }
  }

  #started(): EngineJobs {
    if (this.#jobs === undefined) throw new ConfigError('E_ARGUMENT', 'jobs are submitted in init or run, after start')
    return this.#jobs
  }

  /** The classes from the base to the instance's own. */
  #classes(): (typeof Engine)[] {
    const classes: (typeof Engine)[] = []
    for (
      let at = this.constructor as typeof Engine;
      typeof at === 'function' && at !== Function.prototype;
      at = Object.getPrototypeOf(at) as typeof Engine
    ) {
      classes.unshift(at)
      if (at === Engine) break
    }
    return classes
  }

  #inits(): (() => Promise<void>)[] {
    return this.#classes().flatMap((one) => (Object.hasOwn(one.prototype, 'init') ? [one.prototype.init] : []))
  }

  #declared(): Record<string, EngineOption> {
    return Object.assign({}, BASE_OPTIONS, ...this.#classes().map((one) => (Object.hasOwn(one, 'options') ? one.options : {}))) as Record<
      string,
      EngineOption
    >
  }

  #parse(argv: readonly string[]): void {
    const declared = this.#declared()
    let parsed: { values: Record<string, unknown>; positionals: string[] }
    try {
      parsed = parseArgs({
        args: [...argv],
        allowPositionals: true,
        options: Object.fromEntries(
          Object.entries(declared).map(([name, { type, short }]) => [
            name,
            { type: type === 'boolean' ? ('boolean' as const) : ('string' as const), ...(short === undefined ? {} : { short }) },
          ]),
        ),
      })
    } catch (cause) {
      const unknown = /'--?([^'\s]+)/.exec(messageOf(cause))?.[1]
      const nearest = unknown === undefined ? undefined : nearestName(unknown, Object.keys(declared))
      throw new ConfigError('E_ARGUMENT', `the command line cannot be read: ${messageOf(cause).split('. ')[0]}`, {
        suggestions: [nearest === undefined ? 'See --help' : `Did you mean --${nearest}?`],
        cause,
      })
    }
    const options: Record<string, string | number | boolean | undefined> = {}
    for (const [name, { type, default: fallback }] of Object.entries(declared)) {
      const given = parsed.values[name]
      const value = given ?? fallback
      options[name] = type === 'number' && value !== undefined ? toNumber(name, value) : (value as string | boolean | undefined)
    }
    const level = String(options['level'])
    if (!['debug', 'info', 'warn', 'error'].includes(level)) {
      throw new ConfigError('E_ARGUMENT', `--level is debug, info, warn or error, not ${level}`)
    }
    this.options = Object.freeze(options)
    this.args = Object.freeze(parsed.positionals)
  }

  #makeDirectory(parent: string): void {
    const given = this.options['continue']
    if (typeof given === 'string') {
      this.resultDir = resolve(parent, given)
      this.runName = basename(this.resultDir)
      mkdirSync(this.resultDir, { recursive: true })
      return
    }
    this.resultDir = makeRunDirectory(resolve(parent), this.setupRunName())
    this.runName = basename(this.resultDir)
  }

  #helpText(): string {
    const { description } = this.constructor as typeof Engine
    const rows = Object.entries(this.#declared()).map(([name, option]) => {
      const flags = `  ${option.short === undefined ? '   ' : `-${option.short},`} --${name}${option.type === 'boolean' ? '' : ` <${option.type}>`}`
      return `${flags.padEnd(30)} ${option.description}${option.default === undefined ? '' : ` (default: ${String(option.default)})`}`
    })
    return [...(description === '' ? [] : [description, '']), 'Options:', ...rows].join('\n')
  }
}

function toNumber(name: string, value: unknown): number {
  const number = typeof value === 'number' ? value : Number(String(value).trim() === '' ? Number.NaN : value)
  if (Number.isFinite(number)) return number
  throw new ConfigError('E_ARGUMENT', `--${name} wants a number, not ${JSON.stringify(value)}`)
}
