/** For the tests of programs and adapters: a clock that the test moves, and a scheduler that runs nothing. */

export { ManualClock, type ManualClockOptions } from './manual-clock.js'
export { MemoryScheduler, type MemorySchedulerOptions, type PlayedJob, type SubmitFault } from './memory-scheduler.js'
