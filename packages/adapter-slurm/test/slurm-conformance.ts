import { register, type SchedulerLab, schedulerCases } from '@cahier/core/conformance'
import type { Scheduler } from '@cahier/core/spi'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { slurmUnavailable } from '../../../test/testbed/slurm.mjs'
import slurm from '../src/index.js'
import { type SlurmLab, startSlurmLab } from './slurm-lab.js'

/** Two of the cases wait for three times the shortest walltime and a minute. */
const TIMEOUT_MS = 300_000
const SHORTEST_WALLTIME_MS = 60_000

/** The suite of the `Scheduler` port over a real SLURM. Two files call it: a minute of it is waiting, and they can wait side by side. */
export function describeBed(accounting: 'none' | 'dbd', wanted: (id: string) => boolean): void {
  const what = accounting === 'dbd' ? 'with accounting' : 'without accounting'
  const { supports } = slurm
  const reason = slurmUnavailable({ accounting })
  describe.skipIf(reason !== undefined)(
    `a real SLURM ${what} keeps the promises of the Scheduler port${reason === undefined ? '' : ` (${reason})`}`,
    () => {
      let lab: SlurmLab | undefined
      beforeAll(async () => {
        lab = await startSlurmLab({ accounting })
      }, TIMEOUT_MS)
      afterAll(() => lab?.[Symbol.asyncDispose]())
      const subject = async (): Promise<Scheduler> => {
        if (lab === undefined) throw new Error('the bed is not up')
        const scheduler = lab.connect()
        await scheduler.open()
        return scheduler
      }
      const patient = Object.assign((title: string, run: () => Promise<void>) => test(title, run, TIMEOUT_MS), {
        skip: (title: string, run: () => Promise<void>) => test.skip(title, run),
      })
      register({ test: patient, subject, lab: later(() => lab), supports, cases: schedulerCases.filter(({ id }) => wanted(id)) })
    },
  )
}

/** The abilities of a lab that is made when the tests begin: which there are is asked before. */
function later(lab: () => SlurmLab | undefined): SchedulerLab {
  const now = (): SlurmLab => {
    const made = lab()
    if (made === undefined) throw new Error('the bed is not up')
    return made
  }
  const call =
    <Name extends Exclude<keyof SchedulerLab, 'patienceMs' | 'job' | 'shortestWalltimeMs' | 'allCores'>>(name: Name) =>
    (...args: Parameters<NonNullable<SchedulerLab[Name]>>): never =>
      (now()[name] as (...args: unknown[]) => never)(...args)
  return {
    patienceMs: 180_000,
    allCores: 16,
    shortestWalltimeMs: SHORTEST_WALLTIME_MS,
    makeDirectory: call('makeDirectory'),
    readFile: call('readFile'),
    killScheduler: call('killScheduler'),
    freeze: call('freeze'),
    purge: call('purge'),
    acceptUnsaid: call('acceptUnsaid'),
    chatter: call('chatter'),
    disguise: call('disguise'),
    killJob: call('killJob'),
    reconnect: call('reconnect'),
  }
}
