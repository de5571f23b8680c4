import { existsSync } from 'node:fs'
import { basename, join, posix, relative, resolve } from 'node:path'
import { ConfigError, SchedulerError } from '../../errors.js'
import { DEFAULT_WORK_DIRECTORY } from '../../model/site.js'
import { STDERR_FILE, STDOUT_FILE } from '../../scheduler/job-wrapper.js'
import { readItems } from '../run/read-run.js'
import type { NamedJob } from './choose-jobs.js'
import type { SiteAccess } from './site-access.js'

export interface JobOutputOptions {
  readonly stream?: 'stdout' | 'stderr'
  /** Only so many lines from its end; default: all. */
  readonly lines?: number | undefined
  /** Until the job has ended. */
  readonly follow?: boolean
  readonly signal?: AbortSignal | undefined
  readonly onOutput: (chunk: Uint8Array) => unknown
}

/** How the reading of a job's output ended. */
export interface JobOutputEnd {
  /** Absolute, on the site. */
  readonly file: string
  /** False: there is no such file (yet): the job has not started. */
  readonly exists: boolean
  readonly bytes: number
  /** Of one that was followed and ended without a record, so that nothing more will come: the scheduler's word for it. */
  readonly gone?: string
}

const NO_FILE = 66
const LOST_RECORD_S = 3

/**
 * One program on the site for the whole of it: what comes is what the file gets. With `follow` it waits for the file, and goes on until the
 * exit record is there and what the job had written last was read.
 */
const SCRIPT = `cd "$1" || exit ${NO_FILE}
if [ "$4" = follow ]; then
  until [ -e "$2" ] || [ -e exit.json ]; do sleep 1; done
fi
[ -e "$2" ] || exit ${NO_FILE}
if [ "$4" != follow ]; then
  if [ "$3" = all ]; then exec cat "$2"; fi
  exec tail -n "$3" "$2"
fi
if [ "$3" = all ]; then set -- "$1" "$2" +1; fi
tail -n "$3" -f "$2" &
tail=$!
trap 'kill "$tail" 2>/dev/null; exit' TERM INT HUP
until [ -e exit.json ]; do sleep 1; kill -0 "$tail" 2>/dev/null || exit; done
sleep ${LOST_RECORD_S}
kill "$tail" 2>/dev/null
wait "$tail" 2>/dev/null
exit 0`

/** Reads what a job has written, from the site. */
export async function readOutput(
  { processes, site }: Pick<SiteAccess, 'processes' | 'site'>,
  directory: string,
  { stream = 'stdout', lines, follow = false, signal, onOutput }: JobOutputOptions,
): Promise<JobOutputEnd> {
  const name = stream === 'stderr' ? STDERR_FILE : STDOUT_FILE
  let bytes = 0
  const running = await processes.start(
    {
      command: ['/bin/sh', '-c', SCRIPT, 'sh', directory, name, lines === undefined ? 'all' : String(lines), follow ? 'follow' : 'once'],
      keepBytes: 4096,
      spillTo: false,
    },
    {
      signal,
      onOutput: (from, chunk) => {
        if (from === 'stderr') return undefined
        bytes += chunk.length
        return onOutput(chunk)
      },
    },
  )
  const result = await running.result
  const file = `${directory}/${name}`
  if (result.outcome === 'exited' && result.exitCode === 0) return { file, exists: true, bytes }
  if (result.outcome === 'exited' && result.exitCode === NO_FILE) return { file, exists: false, bytes }
  if (signal?.aborted === true) return { file, exists: true, bytes }
  throw new SchedulerError('E_SCHEDULER_SILENT', `the output ${file} could not be read on ${site.name}: ${reasonOf(result)}`, {
    suggestions: result.error?.suggestions ?? [`See whether the site answers: cahier sites check ${site.name}`],
    data: { code: result.error?.code },
  })
}

function reasonOf({
  outcome,
  exitCode,
  stderr,
  error,
}: Awaited<import('../../ports/process-backend.js').RunningProcess['result']>): string {
  return error?.message ?? (stderr.text.trim() || `${outcome}${exitCode === undefined ? '' : ` with exit code ${exitCode}`}`)
}

/**
 * Where a job has its files: by its record, or by the journals of the runs in this folder.
 *
 * @param runs - directories by the ids of runs
 * @returns `isHere`: on this machine, although the site does not see it: it was fetched
 * @throws ConfigError `E_NOT_FOUND`
 */
export async function directoryOf(
  { site, files }: Pick<SiteAccess, 'site' | 'files'>,
  { known, nativeId, selector }: NamedJob,
  folder: string,
  runs: ReadonlyMap<string, string>,
): Promise<{ readonly directory: string; readonly isHere: boolean }> {
  if (known !== undefined) return { directory: known.record.directory, isHere: false }
  for (const [id, run] of runs) {
    for (const { attempts } of await readItems(run).catch(() => [])) {
      const attempt = attempts.find((one) => one.nativeId === nativeId && (one.site ?? site.name) === site.name)
      if (attempt === undefined) continue
      const { directory } = attempt
      if (files.isShared || outputDirectory('/', directory) !== undefined) return { directory, isHere: !files.isShared }
      return { directory: await siteDirectoryOf({ site, files }, { id, run }, directory), isHere: false }
    }
  }
  throw new ConfigError('E_NOT_FOUND', `where the job ${selector} of ${site.name} has its files is not known in ${folder}`, {
    suggestions: [
      'Go to the folder that it was submitted from',
      'Name its directory: the one with the files stdout and stderr',
      'For a job of a campaign: cahier why ITEM',
    ],
  })
}

/** What stands on the site for a directory of a run. */
export async function siteDirectoryOf(
  { site, files }: Pick<SiteAccess, 'site' | 'files'>,
  { id, run }: { readonly id: string; readonly run: string },
  directory: string,
): Promise<string> {
  if (files.isShared) return directory
  const work = await files.resolve(site.workDirectory ?? DEFAULT_WORK_DIRECTORY)
  return posix.join(work, `${basename(run)}-${id}`, relative(run, directory))
}

/** A directory of this machine with the output of a job, whoever made it: an attempt of a run, for one. */
export function outputDirectory(folder: string, selector: string): string | undefined {
  const directory = resolve(folder, selector)
  return existsSync(join(directory, STDOUT_FILE)) || existsSync(join(directory, STDERR_FILE)) ? directory : undefined
}
