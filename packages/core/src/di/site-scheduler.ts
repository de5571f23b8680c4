import type { CallOptions, Scheduler } from '../ports/scheduler.js'

/** The scheduler of a site: its adapter is imported, made and opened when it is first asked for. A failed opening may be tried again. */
export class SiteScheduler implements AsyncDisposable {
  readonly #make: () => Promise<Scheduler>
  readonly #given: Scheduler | undefined
  #made: Scheduler | undefined
  #opened: Promise<Scheduler> | undefined

  /** @param given - a scheduler of the program, used as it is and never ended here */
  constructor(make: () => Promise<Scheduler>, given?: Scheduler) {
    this.#make = make
    this.#given = given
  }

  /**
   * Finds out whether there can be a scheduler, before anything is begun with it: imports and makes it, asks the site nothing.
   *
   * @throws AdapterError when the adapter is missing, broken, or its options are wrong
   */
  async check(): Promise<void> {
    if (this.#given === undefined && this.#opened === undefined) this.#made ??= await this.#make()
  }

  /**
   * The scheduler, opened or not: for what asks the site nothing.
   *
   * @throws AdapterError as {@link check}
   */
  async unopened(): Promise<Scheduler> {
    if (this.#given !== undefined) return this.#given
    if (this.#opened !== undefined) return await this.#opened
    this.#made ??= await this.#make()
    return this.#made
  }

  /** @throws AdapterError when the adapter is missing, broken, or its options are wrong; whatever its `open` throws */
  async get(options: CallOptions = {}): Promise<Scheduler> {
    if (this.#given !== undefined) return this.#given
    const opening = this.#opened ?? this.#open(options)
    this.#opened = opening
    try {
      return await opening
    } catch (error) {
      if (this.#opened === opening) this.#opened = undefined
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const scheduler = await this.#opened?.catch(() => undefined)
    await scheduler?.[Symbol.asyncDispose]()
    await this.#made?.[Symbol.asyncDispose]()
  }

  async #open(options: CallOptions): Promise<Scheduler> {
    const scheduler = this.#made ?? (await this.#make())
    this.#made = undefined
    try {
      await scheduler.open(options)
    } catch (error) {
      await scheduler[Symbol.asyncDispose]()
      throw error
    }
    return scheduler
  }
}
