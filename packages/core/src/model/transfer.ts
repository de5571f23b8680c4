import { z } from 'zod'
import { parseSize } from '../units.js'

/**
 * What became of one host's copy.
 *
 * - `done`: every file asked for is there, under its final name, verified.
 * - `skipped-same`: it was all there already; nothing was moved.
 * - `failed`: at least one file is not there as asked; never a wrong one under a final name. `error` says the first reason.
 * - `unreachable`: nobody could be asked on that host, or its connection was lost.
 */
export type TransferOutcome = 'done' | 'skipped-same' | 'failed' | 'unreachable'

/** How it is known that what lies there is what was sent. */
export type Verification =
  /** By the SHA-256 of each file, or of the one stream that they came in. */
  | 'sha256'
  /** By size only: nobody there could compute a digest. */
  | 'size'
  /** By size and time, because nothing had to be moved. */
  | 'time'
  | 'none'

/** A file that is not there as asked. */
export interface FileFailure {
  /** Readable; for messages. */
  readonly file: string
  readonly code: string
  readonly message: string
}

/** A file that was left out by policy, with the policy in words: `socket`, `named pipe`, `device`, `symbolic link`. */
export interface LeftOut {
  readonly file: string
  readonly why: string
}

/** What became of one host. */
export interface TransferResult {
  /** As it was given; `undefined` stands for this machine. */
  readonly host: string | undefined
  readonly outcome: TransferOutcome
  /** Bytes of content that were moved to (or from) this host; what it had already is not counted. */
  readonly bytes: number
  /** Regular files that are there now because of this transfer. */
  readonly files: number
  /** Regular files that were there already. */
  readonly same: number
  readonly seconds: number
  readonly verified: Verification
  /** The driver that did it. */
  readonly via: string
  readonly error?: { readonly code: string; readonly message: string; readonly suggestions?: readonly string[] }
  /** Of `failed`: each file with its reason, at most 1,000. */
  readonly failures?: readonly FileFailure[]
  readonly leftOut?: readonly LeftOut[]
  /** `get`: where the files lie here. */
  readonly directory?: string
}

const bytesPerSecond = z.union([z.number(), z.string()]).transform((value, context) => {
  try {
    const bytes = typeof value === 'number' ? value : parseSize(value.replace(/\/s$/, ''))
    if (bytes > 0) return bytes
    context.addIssue({ code: 'custom', message: `expected more than 0 bytes per second, not ${JSON.stringify(value)}` })
  } catch (error) {
    context.addIssue({ code: 'custom', message: `${(error as Error).message}: expected bytes per second, as 20MB/s` })
  }
  return z.NEVER
})

/** How files are copied, whatever moves them. */
export const copyOptionsSchema = z.strictObject({
  create: z.boolean().default(false).meta({ description: 'make the target directory, and those above it, when it is not there' }),
  as: z
    .string()
    .min(1)
    .refine(
      (name) => !name.includes('/') && name !== '.' && name !== '..' && !name.includes('\0'),
      'expected a name without a slash: the directory is said with "to"',
    )
    .optional()
    .meta({ description: 'name of the one source in the target directory, instead of its own' }),
  links: z
    .enum(['keep', 'follow', 'skip'])
    .default('keep')
    .meta({ description: 'symbolic links inside a source: copied as links, replaced by what they point to, or left out' }),
  special: z.enum(['skip', 'refuse']).default('skip').meta({
    description: 'sockets, named pipes and devices inside a source: left out and named in the result, or an error before anything is moved',
  }),
  checksum: z.boolean().default(false).meta({ description: 'what is the same is told by SHA-256, not by size and time' }),
  resume: z
    .boolean()
    .default(true)
    .meta({ description: 'what came of a file in an interrupted transfer is kept, and the next one goes on from there' }),
  limit: bytesPerSecond.optional().meta({ description: 'bytes per second that this machine sends or receives in all, as 20MB/s' }),
})
/** As written: every part may be left out. */
export type CopyOptions = z.input<typeof copyOptionsSchema>
/** Complete. */
export type CopyPolicy = z.output<typeof copyOptionsSchema>
