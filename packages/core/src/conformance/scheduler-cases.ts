import { cancelCases } from './cases/cancel.js'
import { dependencyCases } from './cases/dependencies.js'
import { faultCases } from './cases/faults.js'
import { observeCases } from './cases/observe.js'
import { queueCases } from './cases/queue.js'
import { runCases } from './cases/run.js'
import { submitCases } from './cases/submit.js'
import type { SchedulerCase } from './types.js'

/** Every promise of the `Scheduler` port that can be tried from outside. */
export const schedulerCases: readonly SchedulerCase[] = [
  ...submitCases,
  ...runCases,
  ...observeCases,
  ...cancelCases,
  ...dependencyCases,
  ...faultCases,
  ...queueCases,
]
