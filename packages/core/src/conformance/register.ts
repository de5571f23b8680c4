import type { Scheduler, SchedulerSupports } from '../ports/scheduler.js'
import { schedulerCases } from './scheduler-cases.js'
import type { SchedulerCase, SchedulerLab } from './types.js'

/** As much of a test runner as is needed; vitest's and jest's `test` and `node:test`'s fit. */
export interface TestFunction {
  (title: string, run: () => Promise<void>): unknown
  readonly skip: (title: string, run: () => Promise<void>) => unknown
}

export interface RegisterOptions {
  readonly test: TestFunction
  /** Opens the scheduler that is tried. Called for each case. */
  subject(): Promise<Scheduler>
  readonly lab: SchedulerLab
  /** What the adapter declares. */
  readonly supports: Partial<SchedulerSupports>
  /** Default: all. */
  readonly cases?: readonly SchedulerCase[]
}

/** Makes a test of every case of the `Scheduler` port. */
export function register({ test, subject, lab, supports, cases = schedulerCases }: RegisterOptions): void {
  for (const one of cases) {
    const title = `${one.id}: ${one.title}`
    const obstacle = obstacleOf(one, lab, supports)
    const run = async (): Promise<void> => {
      await using scheduler = await subject()
      await one.run({ scheduler, lab, supports })
    }
    if (obstacle === 'not meant') continue
    if (obstacle === undefined) test(title, run)
    else test.skip(`${title} (skipped: ${obstacle})`, run)
  }
}

function obstacleOf(one: SchedulerCase, lab: SchedulerLab, supports: Partial<SchedulerSupports>): string | undefined {
  if (one.declared !== undefined && supports[one.declared] !== true) return 'not meant'
  if (one.undeclared !== undefined && supports[one.undeclared] === true) return 'not meant'
  const missing = one.needs?.filter((ability) => lab[ability] === undefined) ?? []
  return missing.length === 0 ? undefined : `this lab cannot do ${missing.join(', ')}`
}
