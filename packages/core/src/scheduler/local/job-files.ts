import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../../errors.js'
import type { ExitRecord, JobSpec } from '../../model/job.js'
import { GIVEN_UP_FILE } from '../../util/job-files.js'
import { EXIT_RECORD_FILE, parseExitRecord } from '../exit-record.js'
import { RUNNING_FILE, SCRIPT_FILE } from '../job-wrapper.js'

// The daemon reads and writes these few hundred bytes at once, on its own machine: a turn through Node's thread pool costs more.

export function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}

/** Puts the user's script into the job's directory. One that is there and the same is left alone: it may be running. */
export function writeScript({ directory, script }: JobSpec): void {
  const file = join(directory, SCRIPT_FILE)
  try {
    writeFileSync(file, script, { mode: 0o755, flag: 'wx' })
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error
    if (readFileSync(file, 'utf8') === script && (statSync(file).mode & 0o100) !== 0) return
    writeFileSync(`${file}.new`, script, { mode: 0o755 })
    renameSync(`${file}.new`, file)
  }
}

export function readRecordNow({ directory, tag }: JobSpec): ExitRecord | undefined {
  const text = readIfThere(join(directory, EXIT_RECORD_FILE))
  return text === undefined ? undefined : parseExitRecord(text, tag)
}

export function isGivenUp({ directory }: JobSpec): boolean {
  return existsSync(join(directory, GIVEN_UP_FILE))
}

export interface RunningMark {
  readonly pid?: number
  readonly startedAt?: number
  /** Of the process, in ticks since a boot; from wrappers whose environment does not show the job's tag. */
  readonly birth?: { readonly ticks: string; readonly boot: string }
}

/**
 * What the wrapper wrote when it took the job: `undefined` when none did or when it has ended, no `pid` when it was just making or
 * ending the file, or was cut off in that moment.
 */
export function readRunning({ directory }: JobSpec): RunningMark | undefined {
  const text = readIfThere(join(directory, RUNNING_FILE))
  if (text === undefined) return undefined
  const [pid, seconds, , ticks, boot] = text.trimEnd().split(' ')
  if (!(Number(pid) > 0 && text.endsWith('\n'))) return {}
  const mark = { pid: Number(pid), startedAt: Math.round(Number(seconds) * 1000) }
  return ticks === undefined || boot === undefined ? mark : { ...mark, birth: { ticks, boot } }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}
