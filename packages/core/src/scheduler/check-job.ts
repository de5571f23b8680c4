import type { ErrorCode } from '../error-codes.js'
import type { JobSpec } from '../model/job.js'

/** Why a job could never run, in the words of a {@link SubmitOutcome}. */
export interface JobFault {
  readonly code: ErrorCode
  readonly message: string
}

/** What a tag may look like: it becomes part of a job's name, of a comment and of a file. */
const TAG_PATTERN = /^[A-Za-z0-9_-]{1,128}$/
const ENVIRONMENT_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
/** Linux refuses a single argument or variable of 128 KiB or more. */
const LONGEST_VALUE_BYTES = 128 * 1024 - 1

/**
 * Checks what no scheduler would ever run well, before anything is sent.
 *
 * @returns the fault, or `undefined` for a job that may be submitted
 */
export function checkJob(job: JobSpec): JobFault | undefined {
  const message = faultOf(job)
  return message === undefined ? undefined : { code: 'E_JOB_INVALID', message }
}

function faultOf(job: JobSpec): string | undefined {
  if (!TAG_PATTERN.test(job.tag)) return `the tag ${quoted(job.tag)} is not made of 1 to 128 letters, digits, "_" and "-"`
  if (!job.directory.startsWith('/')) return `the directory ${quoted(job.directory)} is not absolute`
  if (job.directory.includes('\0')) return `the directory ${quoted(job.directory)} has a NUL byte in it`
  if (!job.script.startsWith('#!')) return 'the script does not begin with a "#!" line'
  // The first line tells: further down a quoted value may hold these bytes, and must keep them.
  if (/^[^\n]*\r\n/.test(job.script)) return 'the script has Windows line ends (CR LF)'
  if (job.script.includes('\0')) return 'the script has a NUL byte in it'
  for (const [name, value] of Object.entries(job.environment ?? {})) {
    if (!ENVIRONMENT_NAME.test(name)) return `${quoted(name)} is not a name that an environment variable can have`
    if (value.includes('\0')) return `the environment variable ${name} has a NUL byte in its value`
    if (Buffer.byteLength(value) + name.length + 1 > LONGEST_VALUE_BYTES) return `the environment variable ${name} is longer than 128 KiB`
  }
  return resourceFault(job)
}

function resourceFault({ resources, graceMs }: JobSpec): string | undefined {
  for (const key of ['cores', 'nodes', 'walltimeMs'] as const) {
    const value = resources[key]
    if (value !== undefined && !(value > 0 && Number.isFinite(value))) return `${key} is ${value}, not a number above 0`
  }
  for (const key of ['cores', 'nodes', 'gpus'] as const) {
    const value = resources[key]
    if (value !== undefined && !Number.isInteger(value)) return `${key} is ${value}, not a whole number`
  }
  for (const key of ['memoryMiB', 'gpus'] as const) {
    const value = resources[key]
    if (value !== undefined && !(value >= 0 && Number.isFinite(value))) return `${key} is ${value}, not a number from 0 on`
  }
  if (graceMs !== undefined && !(graceMs >= 0 && Number.isFinite(graceMs))) return `graceMs is ${graceMs}, not a number from 0 on`
  return undefined
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}
