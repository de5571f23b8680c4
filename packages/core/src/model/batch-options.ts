import { z } from 'zod'
import { parseDuration } from '../units.js'

const duration = (fallback: string, description: string) =>
  z
    .string()
    .default(fallback)
    .transform((text, context) => {
      try {
        return parseDuration(text)
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message })
        return z.NEVER
      }
    })
    .meta({ description: `${description} (default ${fallback})` })

/** Options that every queueing system has; an adapter adds its own: `z.strictObject({ ...batchOptionFields, qos: … })`. */
export const batchOptionFields = {
  pollInterval: duration('30s', 'the shortest time between two status questions; one question is about all jobs'),
  pollIntervalMax: duration('5min', 'between two status questions when jobs have run for long'),
  lostAfter: duration('10min', 'how long a job may be nowhere to be seen, without an exit record, before it counts as lost'),
  settleAfter: duration('2min', 'how long a submission without a clear answer is looked for before it counts as never made'),
  commandTimeout: duration('60s', 'how long one command of the scheduler may take'),
  arrays: z.boolean().default(true).meta({ description: 'true: equal jobs are submitted together as one array' }),
  maxArraySize: z.int().positive().optional().meta({ description: 'elements of one array at most; default: what the scheduler says' }),
  maxQueued: z
    .int()
    .positive()
    .optional()
    .meta({ description: 'jobs of a campaign in this queue at a time; default: no limit but those of the scheduler' }),
  submitsPerSecond: z.number().positive().default(50).meta({ description: 'submissions per second at most' }),
} as const

export const batchOptionsSchema = z.object(batchOptionFields)
export type BatchOptions = z.output<typeof batchOptionsSchema>
