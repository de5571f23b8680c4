import { isCampaignError, TransferError } from '../errors.js'
import type { CallOptions, Scheduler, SchedulerTiming } from '../ports/scheduler.js'
import type { SitePlace } from '../ports/site-place.js'
import type { Planner } from './plan.js'

/** What a run knows of a site before anything is asked there. */
export interface RunSiteInput {
  readonly name: string
  /** Opens the scheduler, or gives the one that is open. Throws what its opening throws; may be called again then. */
  readonly openScheduler: (options: CallOptions) => Promise<Scheduler>
  readonly place: SitePlace
  readonly planner: Planner
  readonly queue?: string | undefined
  readonly account?: string | undefined
  /** False: its jobs in flight are followed to their ends, and it gets no others. */
  readonly takesWork?: boolean
  /** For tests and unusual sites: over what the scheduler says. */
  readonly timing?: Partial<SchedulerTiming> | undefined
}

/** How patient one is with a scheduler that does not say it: a program of this machine that pushes, or a queue that has to be asked. */
const PUSHED: SchedulerTiming = { pollMs: 1000, pollMaxMs: 10_000, graceMs: 5000, settleGraceMs: 1000 }
const POLLED: SchedulerTiming = { pollMs: 30_000, pollMaxMs: 300_000, graceMs: 120_000, settleGraceMs: 60_000 }

const FIRST_BATCH = 256
const LARGEST_BATCH = 1000

export function timingOf(
  { timing, supports }: Pick<Scheduler, 'timing' | 'supports'>,
  given: Partial<SchedulerTiming> = {},
): SchedulerTiming {
  const own = timing ?? (supports.push ? PUSHED : POLLED)
  return {
    pollMs: given.pollMs ?? own.pollMs,
    pollMaxMs: given.pollMaxMs ?? (given.pollMs === undefined ? own.pollMaxMs : given.pollMs * 10),
    graceMs: given.graceMs ?? own.graceMs,
    settleGraceMs: given.settleGraceMs ?? own.settleGraceMs,
  }
}

/** A site of a run: its queue, where its files lie, and how jobs for it are planned. Opened when it is first needed. */
export class RunSite {
  readonly name: string
  readonly place: SitePlace
  readonly planner: Planner
  readonly queue: string | undefined
  readonly account: string | undefined
  readonly takesWork: boolean
  readonly #input: RunSiteInput
  #scheduler: Scheduler | undefined
  #timing: SchedulerTiming | undefined
  #hasWork = false

  constructor(input: RunSiteInput) {
    this.#input = input
    this.name = input.name
    this.place = input.place
    this.planner = input.planner
    this.queue = input.queue
    this.account = input.account
    this.takesWork = input.takesWork ?? true
  }

  get isOpen(): boolean {
    return this.#scheduler !== undefined
  }

  /** Only of a site that is open. */
  get scheduler(): Scheduler {
    if (this.#scheduler === undefined) throw new Error(`site ${this.name} is not open`)
    return this.#scheduler
  }

  /** Only of a site that is open. */
  get timing(): SchedulerTiming {
    if (this.#timing === undefined) throw new Error(`site ${this.name} is not open`)
    return this.#timing
  }

  /**
   * Jobs submitted at a time: a queue is asked for many at once, in arrays. The first ones are fewer, so that the site has work while the others
   * are made ready.
   */
  get batch(): number {
    return this.scheduler.timing === undefined || !this.#hasWork ? FIRST_BATCH : LARGEST_BATCH
  }

  /** The scheduler has taken jobs. */
  noteSubmitted(): void {
    this.#hasWork = true
  }

  /** Opens scheduler and place. What it throws says nothing about jobs there; may be called again then. */
  async open(options: CallOptions = {}): Promise<void> {
    if (this.#scheduler !== undefined) return
    const scheduler = await this.#input.openScheduler(options)
    await atSite(this, () => this.place.open(options))
    this.#timing = timingOf(scheduler, this.#input.timing)
    this.#scheduler = scheduler
  }
}

/** A disk of the site that is full, or closed to us, is trouble of that site alone: the run's own disk is another one. */
export async function atSite<T>({ name, place }: Pick<RunSite, 'name' | 'place'>, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (place.isShared || !isCampaignError(error) || (error.code !== 'E_STORE_FULL' && error.code !== 'E_RUN_DIRECTORY')) throw error
    throw new TransferError('E_STAGE', `the files of jobs cannot be brought to ${name}: ${error.message}`, {
      suggestions: error.suggestions,
      data: { site: name, code: error.code },
      cause: error,
    })
  }
}
