import { SchedulerError } from '../errors.js'
import type { JobSpec } from '../model/job.js'
import { CANCEL_FILE, GIVEN_UP_FILE, MANIFEST_FILE } from '../util/job-files.js'
import { shellQuote } from '../util/shell-quote.js'
import { checkJob } from './check-job.js'
import { EXIT_RECORD_FILE } from './exit-record.js'
import { renderAnnouncement, renderClock, renderManifest, renderOutputNames } from './wrapper-extras.js'

/** The user's script in the job's directory; whoever submits writes it there, executable. */
export const SCRIPT_FILE = 'job.sh'
export const STDOUT_FILE = 'stdout'
export const STDERR_FILE = 'stderr'
/**
 * Made by the first start, and renamed to be the exit record at its end; the n-th start of a requeued job makes `running.<n>`.
 * Holds `<pid> <seconds since 1970> <host>`, and where the helper wraps the job ` <start of the process> <boot>`. One file instead of two: making one is the dearest thing that a short job does.
 */
export const RUNNING_FILE = 'running'
/** How the wrapper ends when this start of the job was made before, by a wrapper that has the job or had it. */
export const REFUSED_EXIT_CODE = 111
const DEFAULT_GRACE_MS = 10_000
/** Names that some shell makes read-only or computes itself: they reach the script through `env`, not through `export`. */
const SHELLS_OWN =
  /^(_|PPID|UID|EUID|GROUPS|FUNCNAME|LINENO|OPTIND|OPTARG|RANDOM|SRANDOM|SECONDS|SHELLOPTS|DIRSTACK|HISTCMD|HOSTNAME|PWD|OLDPWD|IFS|PIPESTATUS|COMP_.*|BASH.*|EPOCH.*|cahier_.*)$/

export interface WrapperOptions {
  /** Lines for the scheduler, written right after the `#!` line. */
  readonly directives?: readonly string[]
  /**
   * A shell expression for the number of this start, where a scheduler starts the same job again by itself
   * (`$((${SLURM_RESTART_COUNT:-0} + 1))`). Default 1: a second start is refused.
   */
  readonly startNumber?: string
  /**
   * Absolute; once the exit record is in place its line is written here too, by the shell itself. Where the folder is missing nothing
   * happens: the record is the truth, and this only the news of it.
   */
  readonly announce?: string
  /**
   * Absolute: a folder that the jobs of one submission share. Those on one host tell each other there what its clock said, in a hidden file:
   * then most of them need not run `date`.
   */
  readonly clock?: string
  /**
   * Names that the user wants for the output, from the job's directory, as shell text inside double quotes: `job_${SLURM_JOB_ID}.out`. They
   * exist beside `stdout` and `stderr` from the start: as hard links, where there are none as symbolic links.
   */
  readonly outputNames?: { readonly stdout?: string; readonly stderr?: string }
  /**
   * The scheduler asks all processes of a job to end, the script's too: then a script that ended badly may only have heard it first, and
   * the wrapper waits a moment for its own request before it calls that a failure.
   */
  readonly tellsAll?: boolean
  /** The list of the job's files is left in `manifest`, before the exit record; without these names and the wrapper's own. */
  readonly manifest?: { readonly exclude: readonly string[] }
}

/** The times of a job as its wrapper counts them, in whole seconds. */
export function wrapperSeconds({ resources, graceMs = DEFAULT_GRACE_MS }: JobSpec): {
  readonly walltime: number | undefined
  readonly grace: number
} {
  return {
    walltime: resources.walltimeMs === undefined ? undefined : Math.floor(resources.walltimeMs / 1000),
    grace: Math.max(1, Math.ceil(graceMs / 1000)),
  }
}

/**
 * Writes the script that a scheduler really runs: one POSIX shell program for all of them.
 *
 * It starts the user's `job.sh` in the job's directory with its output in `stdout` and `stderr`, waits, and leaves `exit.json`
 * (written under another name, then renamed). Signals that it understands: TERM and INT ask for the end (reason `canceled`, or `timeout` when
 * the walltime has passed but for a twentieth: the scheduler began to count before us), USR1 says that the walltime is over (reason `timeout`); the whole process group gets one TERM, and
 * the script a KILL after the grace. INT is passed on as TERM because a shell starts background processes with INT ignored.
 *
 * It never runs a job twice: with an exit record in the directory it does nothing, and each start has a file that only one
 * wrapper can make. A start that left its file and no exit record was cut off (node failure), one whose record says `canceled` or `timeout` was
 * told to end (preemption): the next one runs only when the scheduler itself counts it as another start, and then keeps the earlier
 * output and record aside as `stdout.<n>`, `stderr.<n>`, `exit.<n>.json`. In a directory with `given-up` nothing is run any more: who gives a
 * job up writes that file and then looks for `running`, a start does it the other way round, so one of them sees the other.
 *
 * The environment may give `CAHIER_STARTED_AT` (seconds since 1970) and `CAHIER_HOST`, which saves two commands. The job sees
 * `CAHIER_TAG` and `CAHIER_START`, the number of this start.
 *
 * `assets/runner.pl` does the same steps in the same order for jobs of the local scheduler: a change here is a change there, and
 * the tests of the wrapper run over both. Directives, announcements, names for the output, manifests and the look for later starts are for batch
 * systems: only here.
 *
 * @returns text with LF line ends; needs `mv` and `date`, for names `ln`, for a manifest `find`, `wc` and
 * `sha256sum` or `cksum`
 * @throws SchedulerError `E_JOB_INVALID` for a job that {@link checkJob} refuses
 */
export function renderWrapper(job: JobSpec, options: WrapperOptions = {}): string {
  const { directives = [], startNumber = '1', outputNames, tellsAll = false } = options
  const fault = checkJob(job)
  if (fault !== undefined) throw new SchedulerError(fault.code, `job ${JSON.stringify(job.tag)} cannot be run: ${fault.message}`)
  const { walltime = '', grace } = wrapperSeconds(job)
  const settings = [`cahier_tag=${job.tag}`, `cahier_start=${startNumber}`, `cahier_walltime=${walltime}`, `cahier_grace=${grace}`]
  return [
    '#!/bin/sh',
    ...directives,
    '# Runs job.sh once and leaves exit.json.',
    `cd ${shellQuote(job.directory)} || exit 125`,
    ...settings,
    renderFunctions(options),
    renderTaking(options),
    ...(outputNames === undefined ? [] : renderOutputNames(outputNames)),
    ...(tellsAll ? [CANCELED_BEFORE] : []),
    BEGIN,
    ...renderStart(job.environment ?? {}),
    renderAfter(tellsAll),
  ].join('\n')
}

/** The job's own variables are set in the script's process only: a PATH or an IFS among them must not reach the wrapper. */
function renderStart(environment: Readonly<Record<string, string>>): string[] {
  const entries = Object.entries(environment)
  const exports = entries.filter(([name]) => !SHELLS_OWN.test(name)).map(([name, value]) => `  export ${name}=${shellQuote(value)}`)
  const others = entries.filter(([name]) => SHELLS_OWN.test(name)).map(([name, value]) => `${name}=${shellQuote(value)}`)
  const env = others.length === 0 ? '' : `/usr/bin/env ${others.join(' ')} `
  return ['{', ...exports, `  exec ${env}./${SCRIPT_FILE}`, `} </dev/null >${STDOUT_FILE} 2>${STDERR_FILE} &`]
}

/**
 * Every external command costs as much as the shell itself, so times come from `/proc/uptime` and the host from the environment or
 * `/proc`. Braces around a redirection keep its failure from ending the shell.
 */
function renderFunctions({ announce, manifest, clock }: WrapperOptions): string {
  return `export CAHIER_TAG="$cahier_tag" CAHIER_START="$cahier_start"
cahier_up() {
  cahier_up=
  [ -r /proc/uptime ] || return 0
  read -r cahier_up cahier_rest </proc/uptime
  case $cahier_up in
  [1-9]*.[0-9][0-9]) cahier_up=\${cahier_up%.*}\${cahier_up#*.} ;;
  *) cahier_up= ;;
  esac
}
cahier_elapsed() {
  if [ -n "$cahier_up0" ]; then
    cahier_up
    cahier_took=$((cahier_up - cahier_up0))
  else
    cahier_took=$((($(date +%s) - \${cahier_began%.*}) * 100))
  fi
}
cahier_line() {
  printf '{"version":1,"tag":"%s","exitCode":%d,"reason":"%s","startedAt":%d.%s,"endedAt":%d.%02d,"host":"%s","start":%d}\\n' \\
    "$cahier_tag" "$2" "$3" "\${cahier_began%.*}" "$cahier_part" \\
    "$((cahier_total / 100))" "$((cahier_total % 100))" "$cahier_host" "$cahier_start" >"$1"
}
${clock === undefined ? '' : `${renderClock(clock)}\n`}${manifest === undefined ? '' : `${renderManifest(manifest.exclude)}\n`}cahier_record() {
  cahier_elapsed
  case $cahier_began in
  *.*) cahier_part=\${cahier_began#*.}00 ;;
  *) cahier_part=00 ;;
  esac
  while [ "\${#cahier_part}" -gt 2 ]; do cahier_part=\${cahier_part%?}; done
  cahier_total=$((\${cahier_began%.*} * 100 + 1$cahier_part - 100 + cahier_took))
${manifest === undefined ? '' : '  [ "$2" = not-started ] || { cahier_manifest "$2"; } 2>/dev/null\n'}  cahier_pause=1
  until cahier_line "$cahier_marker" "$1" "$2" &&
    mv -f "$cahier_marker" ${EXIT_RECORD_FILE}; do
    [ "$cahier_pause" -le 64 ] || exit 74
    sleep "$cahier_pause"
    cahier_pause=$((cahier_pause * 2))
  done
${announce === undefined ? '' : `${renderAnnouncement(announce)}\n`}  exit "$1"
}
cahier_end() {
  [ -z "$cahier_reason" ] || return 0
  trap '' TERM INT USR1
  cahier_reason=$1
  if [ "$1" = canceled ] && [ -n "$cahier_walltime" ]; then
    cahier_elapsed
    [ "$cahier_took" -lt "$((cahier_walltime * 95))" ] || cahier_reason=timeout
  fi
  [ -n "$cahier_child" ] || return 0
  cahier_told=yes
  kill -s TERM -- "-$$" 2>/dev/null || kill -s TERM "$cahier_child" 2>/dev/null
}
cahier_requeued() {
  [ "$cahier_start" -gt 1 ] && read -r cahier_last <${EXIT_RECORD_FILE} || return 1
  case $cahier_last in
  *'"start":'"$cahier_start"'}'*) return 1 ;;
  *'"reason":"canceled"'* | *'"reason":"timeout"'*) return 0 ;;
  esac
  return 1
}`
}

/** Up to the moment when this start has the job, and its output files. */
function renderTaking({ manifest, clock, startNumber }: WrapperOptions): string {
  const kept = [STDOUT_FILE, STDERR_FILE, ...(manifest === undefined ? [] : [MANIFEST_FILE])]
  return `if [ -f ${EXIT_RECORD_FILE} ]; then cahier_requeued || exit 0; fi
cahier_up
cahier_up0=$cahier_up
cahier_host=\${CAHIER_HOST:-}
if [ -z "$cahier_host" ] && [ -r /proc/sys/kernel/hostname ]; then read -r cahier_host </proc/sys/kernel/hostname; fi
case $cahier_host in
'' | *[!A-Za-z0-9._-]*) cahier_host=unknown ;;
esac
cahier_began=\${CAHIER_STARTED_AT:-}
case $cahier_began in
'' | *[!0-9.]* | *.*.* | .*) ${clock === undefined ? 'cahier_began=$(date +%s)' : 'cahier_now'} ;;
esac
unset CAHIER_STARTED_AT CAHIER_HOST
cahier_reason= cahier_child= cahier_told= cahier_later=
trap 'cahier_end canceled' TERM INT
trap 'cahier_end timeout' USR1
cahier_marker=${RUNNING_FILE}
[ "$cahier_start" -eq 1 ] || cahier_marker=${RUNNING_FILE}.$cahier_start
set -C
{ printf '%d %s %s\\n' "$$" "$cahier_began" "$cahier_host" >"$cahier_marker"; } 2>/dev/null || exit ${REFUSED_EXIT_CODE}
set +C
${startNumber === undefined ? '' : `${LATER_START}\n`}if [ -n "$cahier_later" ] || [ -e ${GIVEN_UP_FILE} ] || { [ -f ${EXIT_RECORD_FILE} ] && ! cahier_requeued; }; then
  rm -f "$cahier_marker"
  exit ${REFUSED_EXIT_CODE}
fi
if [ "$cahier_start" -gt 1 ]; then
  [ ! -f ${EXIT_RECORD_FILE} ] || mv -f ${EXIT_RECORD_FILE} "exit.$((cahier_start - 1)).json"
${kept.map((name) => `  mv -f ${name} "${name}.$((cahier_start - 1))"`).join('\n')}
fi 2>/dev/null
[ -x ${SCRIPT_FILE} ] || cahier_record 127 not-started
{ true >${STDOUT_FILE} && true >${STDERR_FILE}; } 2>/dev/null || cahier_record 126 not-started`
}

/** A member of a pack that was canceled before its turn: its end is told like any other. */
const CANCELED_BEFORE = `[ ! -e ${CANCEL_FILE} ] || cahier_end canceled`

/**
 * A controller that comes back from an old state may have forgotten that it had counted a start, and begin an earlier one beside it.
 * Names in `running.*` that are no numbers are none of ours; without any the pattern stands for itself.
 */
const LATER_START = `for cahier_other in ${RUNNING_FILE}.*; do
  cahier_other=\${cahier_other#${RUNNING_FILE}.}
  case $cahier_other in
  '' | *[!0-9]*) ;;
  *) [ "$cahier_other" -le "$cahier_start" ] || cahier_later=yes ;;
  esac
done`

const BEGIN = `[ -z "$cahier_reason" ] || cahier_record 143 "$cahier_reason"`

/**
 * A scheduler that signals all processes of a job may have ended the script before our own signal arrives: after a TERM that nobody here
 * knows of, it gets a second for that. Else the end would count as the script's own, and a requeue after a preemption would run nothing.
 *
 * A `wait` that a signal interrupts returns more than 128, like one whose child was ended by a signal: the second `wait` tells.
 * Where the first had the child's own code already, the shell knows the child no more and says 127.
 */
function renderAfter(tellsAll: boolean): string {
  return `cahier_child=$!
cahier_code=143 cahier_alive=yes
if [ -z "$cahier_reason" ]; then
  wait "$cahier_child"
  cahier_code=$?
${tellsAll ? `${LATE_REQUEST}\n` : ''}  if [ -n "$cahier_reason" ]; then kill -s 0 "$cahier_child" 2>/dev/null || cahier_alive=; fi
${tellsAll ? '' : `${LATE_TERM}\n`}fi
if [ -n "$cahier_reason" ]; then
  [ -n "$cahier_told" ] || kill -s TERM "$cahier_child" 2>/dev/null
  (
    trap 'kill -s KILL "$cahier_sleep"; exit' USR2
    sleep "$cahier_grace" </dev/null >/dev/null 2>&1 &
    cahier_sleep=$!
    wait "$cahier_sleep"
    kill -s KILL "$cahier_child"
  ) 2>/dev/null &
  cahier_killer=$!
  wait "$cahier_child"
  cahier_again=$?
  kill -s USR2 "$cahier_killer" 2>/dev/null
  if [ -n "$cahier_alive" ] || [ "$cahier_again" -ne 127 ]; then cahier_code=$cahier_again; fi
fi
cahier_record "$cahier_code" "\${cahier_reason:-exited}"
`
}

/** Where only the wrapper is told, a script that ended by TERM may still have been told by whoever tells the wrapper next. */
const LATE_TERM = `  if [ -z "$cahier_reason" ] && [ "$cahier_code" -eq 143 ]; then
    cahier_alive=
    sleep 1 </dev/null >/dev/null 2>&1 &
    wait "$!"
  fi`

/**
 * A script that ended by what schedulers send is the likelier to have been told so. The wait ends with the request; a kill that was meant for
 * all processes ends the wrapper in it, which then leaves no record of an end that was not the script's own.
 */
const LATE_REQUEST = `  if [ -z "$cahier_reason" ] && [ "$cahier_code" -ne 0 ]; then
    cahier_pause=0.2
    case $cahier_code in
    129 | 130 | 137 | 143) cahier_pause=1 ;;
    esac
    { sleep "$cahier_pause" || sleep 1; } </dev/null >/dev/null 2>&1 &
    wait "$!"
  fi`
