import type { ProcessBackend } from '../ports/process-backend.js'
import type { Scheduler, SchedulerSupports } from '../ports/scheduler.js'
import type { Transfer, TransferSupports } from '../ports/transfer.js'
import { processCases } from './process-cases.js'
import type { ProcessCase, ProcessLab, ProcessLabAbility, ProcessSupports } from './process-types.js'
import { schedulerCases } from './scheduler-cases.js'
import { transferCases } from './transfer-cases.js'
import type { TransferCase, TransferLab, TransferLabAbility } from './transfer-types.js'
import type { LabAbility, SchedulerCase, SchedulerLab } from './types.js'

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

export interface RegisterProcessOptions {
  readonly test: TestFunction
  /** Opens the backend that is tried. Called for each case. */
  subject(): Promise<ProcessBackend>
  readonly lab: ProcessLab
  /** What the backend declares. */
  readonly supports: Partial<ProcessSupports>
  /** Default: all. */
  readonly cases?: readonly ProcessCase[]
}

export interface RegisterTransferOptions {
  readonly test: TestFunction
  /** Opens the transfer that is tried. Called for each case. */
  subject(): Promise<Transfer>
  readonly lab: TransferLab
  /** What the driver declares. */
  readonly supports: Partial<TransferSupports>
  /** Default: all. */
  readonly cases?: readonly TransferCase[]
}

/** Makes a test of every case of the `Scheduler` port. */
export function register({ test, subject, lab, supports, cases = schedulerCases }: RegisterOptions): void {
  registerEach<LabAbility, SchedulerSupports, SchedulerCase>(test, cases, lab, supports, async (one) => {
    await using scheduler = await subject()
    await one.run({ scheduler, lab, supports })
  })
}

/** Makes a test of every case of the `ProcessBackend` port. */
export function registerProcesses({ test, subject, lab, supports, cases = processCases }: RegisterProcessOptions): void {
  registerEach<ProcessLabAbility, ProcessSupports, ProcessCase>(test, cases, lab, supports, async (one) => {
    await using backend = await subject()
    await one.run({ backend, lab, supports })
  })
}

/** Makes a test of every case of the `Transfer` port. */
export function registerTransfers({ test, subject, lab, supports, cases = transferCases }: RegisterTransferOptions): void {
  registerEach<TransferLabAbility, TransferSupports, TransferCase>(test, cases, lab, supports, async (one) => {
    await using transfer = await subject()
    await one.run({ transfer, lab, supports })
  })
}

/** What is asked of a case of any port before it is tried. */
interface Conditions<Ability extends string, Supports> {
  readonly id: string
  readonly title: string
  readonly needs?: readonly Ability[]
  readonly declared?: keyof Supports
  readonly undeclared?: keyof Supports
}

function registerEach<Ability extends string, Supports, Case extends Conditions<Ability, Supports>>(
  test: TestFunction,
  cases: readonly Case[],
  lab: { readonly [Name in Ability]?: unknown },
  supports: Partial<Supports>,
  run: (one: Case) => Promise<void>,
): void {
  for (const one of cases) {
    const title = `${one.id}: ${one.title}`
    if (one.declared !== undefined && supports[one.declared] !== true) continue
    if (one.undeclared !== undefined && supports[one.undeclared] === true) continue
    const missing = one.needs?.filter((ability) => lab[ability] === undefined) ?? []
    if (missing.length === 0) test(title, () => run(one))
    else test.skip(`${title} (needs a lab that can do ${missing.join(', ')})`, () => run(one))
  }
}
