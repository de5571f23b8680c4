import { inputCases } from './cases/process-input.js'
import { lifeCases } from './cases/process-life.js'
import { outputCases } from './cases/process-output.js'
import { resultCases } from './cases/process-results.js'
import { stopCases } from './cases/process-stop.js'
import type { ProcessCase } from './process-types.js'

/** Every promise of the `ProcessBackend` port that can be tried from outside. The machine needs a POSIX shell and its utilities. */
export const processCases: readonly ProcessCase[] = [...resultCases, ...inputCases, ...outputCases, ...stopCases, ...lifeCases]
