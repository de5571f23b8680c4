import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { ConfigError, messageOf, systemCodeOf } from '../../errors.js'
import type { JobSpec } from '../../model/job.js'
import { writeFileAtomic } from '../../util/atomic-file.js'

/** Beside `job.sh` in the directory of a job that `submitJob` made. */
export const JOB_FILE = 'job.json'
/** Holds the directories of such jobs. */
export const JOBS_FOLDER = 'cahier-jobs'

const recordSchema = z.object({
  version: z.literal(1),
  tag: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
  name: z.string(),
  site: z.string(),
  scheduler: z.string(),
  /** Absolute, on the site: where the job runs. */
  directory: z.string(),
  /** Milliseconds since 1970, this machine's clock. */
  createdAt: z.number(),
  /** `intent`: it is about to be submitted, or was when this program ended. `uncertain`: whether it was queued is open. */
  state: z.enum(['intent', 'submitted', 'uncertain']),
  nativeId: z.string().optional(),
  /** What the scheduler said of an uncertain submission. */
  message: z.string().optional(),
  /** The job as it was given to the scheduler, but for its script, which stands in `job.sh`. */
  job: z.record(z.string(), z.unknown()),
})

/** What is known of a job that was submitted by itself, not by a campaign. */
export type JobRecord = Omit<z.output<typeof recordSchema>, 'job'> & {
  readonly job: Omit<JobSpec, 'tag' | 'name' | 'script' | 'directory'>
}

/** Written before the submission and after it; survives a power cut. */
export async function writeJobRecord(directory: string, record: JobRecord): Promise<void> {
  await writeFileAtomic(join(directory, JOB_FILE), `${JSON.stringify(record, null, 2)}\n`, { durable: true })
}

/**
 * @returns `undefined` when the directory has none
 * @throws ConfigError `E_NOT_FOUND` when it has one that cannot be read
 */
export function readJobRecord(directory: string): JobRecord | undefined {
  const file = join(directory, JOB_FILE)
  try {
    return recordSchema.parse(JSON.parse(readFileSync(file, 'utf8'))) as JobRecord
  } catch (cause) {
    const code = systemCodeOf(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new ConfigError('E_NOT_FOUND', `${file} does not describe a job: ${messageOf(cause).split('\n')[0]}`, { cause })
  }
}

/** A job's directory on this machine, and what stands in it. */
export interface KnownJob {
  /** Absolute. */
  readonly directory: string
  readonly record: JobRecord
}

/** The jobs that were submitted from a folder, oldest first. Directories that cannot be read are passed over. */
export function readKnownJobs(folder: string): KnownJob[] {
  const parent = resolve(folder, JOBS_FOLDER)
  if (!existsSync(parent)) return []
  const known = readdirSync(parent).flatMap((name): KnownJob[] => {
    const directory = join(parent, name)
    try {
      const record = readJobRecord(directory)
      return record === undefined ? [] : [{ directory, record }]
    } catch {
      return []
    }
  })
  return known.sort((a, b) => a.record.createdAt - b.record.createdAt)
}

export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
