import { ConfigError } from '../errors.js'
import { settlesWithin } from '../util/async.js'
import { Action, type ActionOptions, ProcessesAction } from './action.js'
import type { Host } from './host.js'
import { type KillOptions, nameOf, Process, type WaitOptions } from './process.js'
import { type ProcessOptions, toMs } from './process-options.js'
import { type ExecutionStatistics, mergeStatistics } from './statistics.js'

/** Local processes at a time when nothing else is said. */
const DEFAULT_CONCURRENCY = 64

export interface LocalOptions extends ActionOptions {
  /** Processes at a time; default 64. */
  readonly concurrency?: number
  /** Given to every process. */
  readonly process?: ProcessOptions
}

/**
 * One or several processes on this machine.
 *
 * @param commands - one string for one shell command, or a list of commands, each a string or a list of words
 */
export class Local extends ProcessesAction {
  constructor(commands: string | readonly (string | readonly string[])[], options: LocalOptions = {}) {
    const list = typeof commands === 'string' ? [commands] : commands
    const name = list.length === 1 ? nameOf(list[0] as string) : `${list.length} local commands`
    super(
      name,
      list.map((command) => new Process(command, options.process)),
      checkConcurrency(options.concurrency ?? DEFAULT_CONCURRENCY),
      options,
    )
  }
}

export function checkConcurrency(value: number): number {
  if (Number.isInteger(value) && value >= 1) return value
  throw new ConfigError('E_ARGUMENT', `concurrency must be a whole number of 1 or more, not ${value}`)
}

export interface GroupOptions extends ActionOptions {
  /** Reports show one line for the group. */
  readonly hideMembers?: boolean
}

/** What groups have in common: members instead of processes. */
abstract class ActionGroup extends Action {
  readonly actions: readonly Action[]
  readonly #hideMembers: boolean

  constructor(actions: readonly Action[], options: GroupOptions, kind: string) {
    super(`${kind} ${actions.length} actions`, options)
    this.actions = [...actions]
    this.#hideMembers = options.hideMembers === true
  }

  get processes(): readonly Process[] {
    return this.actions.flatMap((action) => action.processes)
  }

  override get badHosts(): readonly Host[] {
    return this.actions.flatMap((action) => action.badHosts)
  }
  override get ok(): boolean {
    return !this.timedOut && this.actions.every((action) => action.ok)
  }
  override get finishedOk(): boolean {
    return this.ended && !this.timedOut && this.actions.every((action) => action.finishedOk)
  }

  override stats(): ExecutionStatistics {
    return mergeStatistics(
      this.name,
      this.actions.map((action) => action.stats()),
      !this.#hideMembers,
    )
  }

  protected stop(signal: NodeJS.Signals, options: KillOptions): void {
    for (const action of this.actions) action.kill(signal, options)
  }

  protected async forget(): Promise<void> {
    await Promise.all(this.actions.map((action) => action.reset()))
  }
}

/** Starts its members at once, and ends when all of them have ended. */
export class ParallelActions extends ActionGroup {
  constructor(actions: readonly Action[], options: GroupOptions = {}) {
    super(actions, options, 'ParallelActions')
  }

  protected async live(): Promise<void> {
    await Promise.all(this.actions.map((action) => action.run()))
  }
}

export interface SequentialOptions extends GroupOptions {
  /** Starts nothing more after a member that is not `ok`. Default false. */
  readonly stopOnFailure?: boolean
}

/** Starts each member when the one before has ended. Killing it ends the whole sequence. */
export class SequentialActions extends ActionGroup {
  readonly #stopOnFailure: boolean

  constructor(actions: readonly Action[], options: SequentialOptions = {}) {
    super(actions, options, 'SequentialActions')
    this.#stopOnFailure = options.stopOnFailure === true
  }

  protected async live(): Promise<void> {
    for (const action of this.actions) {
      if (this.stopping) return
      await action.run()
      if (this.#stopOnFailure && !action.ok) return
    }
  }
}

/** What can be waited for. */
export type Waitable = Process | Action

/**
 * Waits until all have ended, or for the time given.
 *
 * @returns those that have ended, in the order given
 * @throws ProcessError `E_PROCESS_STATE` when one was not started
 */
export async function waitAll<T extends Waitable>(items: readonly T[], options: WaitOptions = {}): Promise<T[]> {
  const all = Promise.all(items.map((item) => item.wait()))
  return settle(items, all, options)
}

/** Waits until at least one has ended, or for the time given; returns those that have ended. No items: returns at once. */
export async function waitAny<T extends Waitable>(items: readonly T[], options: WaitOptions = {}): Promise<T[]> {
  if (items.length === 0) return []
  return settle(items, Promise.race(items.map((item) => item.wait())), options)
}

/** Waits for one process or action, or for all of a list. */
export async function wait<T extends Waitable>(items: T | readonly T[], options: WaitOptions = {}): Promise<T[]> {
  return waitAll(Array.isArray(items) ? (items as readonly T[]) : [items as T], options)
}

async function settle<T extends Waitable>(items: readonly T[], moment: Promise<unknown>, options: WaitOptions): Promise<T[]> {
  if (options.timeout === undefined) await moment
  else {
    // A failure must reach the caller, the passing of the time must not.
    if (await settlesWithin(moment, toMs(options.timeout))) await moment
  }
  return items.filter((item) => item.ended)
}
