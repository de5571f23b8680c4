import type { SchedulerDialect, Submission } from '../../ports/scheduler-dialect.js'
import type { SmallFile } from '../../ports/site-files.js'
import { CANCEL_FILE, SUBMISSION_FILE } from '../../util/job-files.js'
import { shellQuote } from '../../util/shell-quote.js'
import { renderWrapper, SCRIPT_FILE } from '../job-wrapper.js'
import { groupRoot, isSingle, type JobGroup, type PlaceOfFiles, type ReadyJob } from './group-jobs.js'

const WRAPPER_FILE = 'wrapper.sh'
/** In the run directory: where jobs say that they have ended. */
const ENDED_FOLDER = 'ended'
/** How often a pack looks for {@link CANCEL_FILE}, in seconds. */
const CANCEL_LOOK_SECONDS = 5

/** Where a job stands in a submission of several. */
export interface GroupPlace {
  readonly tag: string
  readonly element: number
  readonly member: number | undefined
}

export function announcementFolder(job: PlaceOfFiles): string {
  return `${groupRoot(job)}/${ENDED_FOLDER}`
}

/** Holds what each element of a submission is to do: `0.sh`, `1.sh`… */
function elementsFolder({ scriptFile }: Submission): string {
  return scriptFile.replace(/\.sh$/, '')
}

/** The script that the scheduler gets: the wrapper of a single job, or what starts that of one of several. */
export function renderSubmissionScript(group: JobGroup, submission: Submission, dialect: SchedulerDialect): string {
  const head = dialect.head(submission)
  const [[first]] = group.elements as [[ReadyJob]]
  return isSingle(group) ? renderJobWrapper(first, dialect, head) : renderDispatcher(group, submission, head, dialect.arrayIndex)
}

/**
 * The files of a submission, all of them, before anything is submitted.
 *
 * @param lines - earlier lines of {@link SUBMISSION_FILE} by tag; those of this submission are added
 */
export function submissionFiles(
  group: JobGroup,
  submission: Submission,
  dialect: SchedulerDialect,
  lines: Map<string, readonly string[]>,
): readonly SmallFile[] {
  const files: SmallFile[] = []
  const single = isSingle(group)
  const packed = isPacked(group)
  const folder = elementsFolder(submission)
  group.elements.forEach((members, element) => {
    if (packed) files.push({ path: `${folder}/${element}.sh`, data: renderPack(members) })
    members.forEach((ready, member) => {
      const { job } = ready
      files.push({ path: `${job.directory}/${SCRIPT_FILE}`, data: job.script, mode: 0o755 })
      if (single) return
      const path = packed ? `${job.directory}/${WRAPPER_FILE}` : `${folder}/${element}.sh`
      files.push({ path, data: renderJobWrapper(ready, dialect, []) })
      const place = `${submission.tag} ${element}${packed ? `/${member}` : ''}`
      const all = [...(lines.get(job.tag) ?? []), place]
      lines.set(job.tag, all)
      files.push({ path: `${job.directory}/${SUBMISSION_FILE}`, data: `${all.join('\n')}\n` })
    })
  })
  files.push({ path: submission.scriptFile, data: renderSubmissionScript(group, submission, dialect), mode: 0o755 })
  return files
}

/** True when the group's jobs are members of packs, also where the last pack has one only. */
export function isPacked({ elements }: JobGroup): boolean {
  return elements.some((members) => members.length > 1)
}

/** Reads the lines of {@link SUBMISSION_FILE}; what is no such line is passed over. */
export function parseSubmissionFile(text: string): readonly GroupPlace[] {
  return text.split('\n').flatMap((line) => {
    const [, tag, element, member] = /^([A-Za-z0-9_-]{1,128}) (\d+)(?:\/(\d+))?$/.exec(line) ?? []
    if (tag === undefined) return []
    return [{ tag, element: Number(element), member: member === undefined ? undefined : Number(member) }]
  })
}

function renderJobWrapper({ job, user }: ReadyJob, dialect: SchedulerDialect, directives: readonly string[]): string {
  const names = {
    ...(user.stdout === undefined ? {} : { stdout: user.stdout }),
    ...(user.stderr === undefined ? {} : { stderr: user.stderr }),
  }
  return renderWrapper(job, {
    directives,
    ...(dialect.startNumber === undefined ? {} : { startNumber: dialect.startNumber }),
    announce: `${announcementFolder(job)}/${job.tag}.json`,
    clock: announcementFolder(job),
    tellsAll: true,
    ...(Object.keys(names).length === 0 ? {} : { outputNames: names }),
    ...(job.manifest === undefined ? {} : { manifest: job.manifest }),
  })
}

/**
 * Goes on as the element that the scheduler names, in the same process. The scheduler brings this text to every element, which reads all of it:
 * so it names none of them, and what is theirs lies in files of their own.
 */
function renderDispatcher(group: JobGroup, submission: Submission, head: readonly string[], arrayIndex = '0'): string {
  return [
    '#!/bin/sh',
    ...head,
    `# Runs the ${isPacked(group) ? 'jobs of a pack one after the other' : 'job of one element'}.`,
    `cahier_element=${shellQuote(elementsFolder(submission))}/${group.elements.length === 1 ? 0 : arrayIndex}.sh`,
    '[ -r "$cahier_element" ] || exit 125',
    '. "$cahier_element"\n',
  ].join('\n')
}

function renderPack(members: readonly ReadyJob[]): string {
  return `set -- ${members.map(({ job }) => shellQuote(job.directory)).join(' ')}\n${PACK}`
}

/**
 * The jobs of a pack share one allocation: the request to end goes to the one that runs, and none is begun after it. Who wants to
 * end one of them alone leaves a file in its directory, which a helper looks for now and then.
 */
const PACK = `cahier_worst=0 cahier_child= cahier_over=
cahier_tell() {
  cahier_over=yes
  [ -z "$cahier_child" ] || kill -s "$1" "$cahier_child" 2>/dev/null
}
trap 'cahier_tell TERM' TERM INT
trap 'cahier_tell USR1' USR1
(
  trap 'kill "$cahier_sleep" 2>/dev/null; exit 0' TERM
  trap '' INT USR1
  while :; do
    sleep ${CANCEL_LOOK_SECONDS} &
    cahier_sleep=$!
    wait "$cahier_sleep"
    for dir do
      [ -e "$dir/${CANCEL_FILE}" ] && [ ! -e "$dir/exit.json" ] || continue
      for cahier_running in "$dir"/running "$dir"/running.*; do
        [ -r "$cahier_running" ] && read -r cahier_pid cahier_rest <"$cahier_running" && kill -s TERM "$cahier_pid"
      done
    done
  done
) </dev/null >/dev/null 2>&1 &
cahier_helper=$!
for dir do
  [ -z "$cahier_over" ] || break
  cahier_passed=
  [ ! -e "$dir/${CANCEL_FILE}" ] || cahier_passed=yes
  /bin/sh "$dir/${WRAPPER_FILE}" &
  cahier_child=$!
  wait "$cahier_child"
  cahier_code=$?
  while kill -s 0 "$cahier_child" 2>/dev/null; do
    wait "$cahier_child"
    cahier_code=$?
  done
  cahier_child=
  [ -n "$cahier_passed" ] || [ "$cahier_code" -le "$cahier_worst" ] || cahier_worst=$cahier_code
done
kill -s TERM "$cahier_helper" 2>/dev/null
exit "$cahier_worst"
`
