import { z } from 'zod'

/** Options of the local scheduler. What is absent is taken from the machine, or left as the running daemon has it. */
export const localSchedulerOptions = z.strictObject({
  cores: z
    .int()
    .min(1)
    .max(100_000)
    .optional()
    .meta({ description: 'cores that jobs may have together; default: those of this machine; more than it has is allowed' }),
  memoryMiB: z
    .number()
    .min(1)
    .optional()
    .meta({ description: 'memory in MiB that jobs may ask for together; default: that of this machine' }),
  directory: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'where the queue is kept; default: $XDG_STATE_HOME/cahier/local-<host>; another directory is another queue' }),
  idleMs: z
    .int()
    .min(0)
    .default(60_000)
    .meta({ description: 'the daemon ends itself after this time in ms without a job and without a client' }),
  retentionMs: z
    .int()
    .min(0)
    .optional()
    .meta({ description: 'an ended job stays visible for this time in ms, as long as it is one of the last 20,000; default: 600000' }),
  answerTimeoutMs: z
    .int()
    .min(100)
    .default(30_000)
    .meta({ description: 'the scheduler counts as silent when a question is not answered within this time in ms' }),
})

export type LocalSchedulerOptions = z.output<typeof localSchedulerOptions>
