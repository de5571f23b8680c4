import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, SchedulerError, systemCodeOf } from '../errors.js'
import type { ExitRecord, JobPlace } from '../model/job.js'
import { exitRecordSchema } from '../model/job.js'

/** The file that the wrapper leaves in the job's directory, once and whole. */
export const EXIT_RECORD_FILE = 'exit.json'

/**
 * Reads an exit record.
 *
 * @param tag - the job that is asked about: a record of another job, left in a directory that was used twice, is not its own
 * @returns `undefined` when the text is no record of this job; it is never half a record, because the wrapper renames it into place
 */
export function parseExitRecord(text: string, tag: string): ExitRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const parsed = exitRecordSchema.safeParse(value)
  return parsed.success && parsed.data.tag === tag ? parsed.data : undefined
}

/**
 * Reads the exit record of a job from this machine's files.
 *
 * @returns `undefined` when there is none (yet)
 * @throws SchedulerError `E_SCHEDULER_SILENT` when the file exists and cannot be read: that says nothing about the job
 */
export async function readExitRecord(job: JobPlace): Promise<ExitRecord | undefined> {
  const file = join(job.directory, EXIT_RECORD_FILE)
  try {
    return parseExitRecord(await readFile(file, 'utf8'), job.tag)
  } catch (cause) {
    const code = systemCodeOf(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new SchedulerError('E_SCHEDULER_SILENT', `the exit record ${file} cannot be read: ${messageOf(cause)}`, {
      suggestions: ['Make the job directory readable again: the job itself is not concerned'],
      data: { file, tag: job.tag },
      cause,
    })
  }
}
