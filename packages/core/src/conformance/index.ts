/** The promises of Cahier's ports as tests that any adapter runs; the guide "Write an adapter" says how. */
export { processCases } from './process-cases.js'
export type { ProcessCase, ProcessLab, ProcessLabAbility, ProcessSupports, ProcessWorld } from './process-types.js'
export type { RegisterOptions, RegisterProcessOptions, RegisterTransferOptions, TestFunction } from './register.js'
export { register, registerProcesses, registerTransfers } from './register.js'
export { schedulerCases } from './scheduler-cases.js'
export { transferCases } from './transfer-cases.js'
export type { LabDirectory, LabHost, TransferCase, TransferLab, TransferLabAbility, TransferWorld } from './transfer-types.js'
export type { LabAbility, SchedulerCase, SchedulerLab, SchedulerWorld } from './types.js'
