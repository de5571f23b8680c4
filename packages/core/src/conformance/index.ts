/** The promises of Cahier's ports as tests that any adapter runs; the guide "Write an adapter" says how. */
export type { RegisterOptions, TestFunction } from './register.js'
export { register } from './register.js'
export { schedulerCases } from './scheduler-cases.js'
export type { LabAbility, SchedulerCase, SchedulerLab, SchedulerWorld } from './types.js'
