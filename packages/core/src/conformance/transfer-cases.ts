import { againCases } from './cases/transfer-again.js'
import { faultCases } from './cases/transfer-faults.js'
import { fileCases } from './cases/transfer-files.js'
import { getCases } from './cases/transfer-get.js'
import { progressCases } from './cases/transfer-progress.js'
import type { TransferCase } from './transfer-types.js'

/** Every promise of the `Transfer` port that can be tried from outside. */
export const transferCases: readonly TransferCase[] = [...fileCases, ...againCases, ...faultCases, ...getCases, ...progressCases]
