import type { SchedulerDialect, SiteCommand, Submission } from '@cahier/core/spi'
import { checkSubmission } from './check.js'
import { optionsOf, readDirectives } from './directives.js'
import { literalFileName } from './file-names.js'
import { renderHead } from './head.js'
import { foldIds } from './ids.js'
import { checkJobOptions, extraLine, type SlurmJobOptions, type SlurmOptions } from './options.js'
import {
  ACCOUNTING_FIELDS,
  QUEUE_FORMAT,
  readAccounting,
  readCancel,
  readDetails,
  readOrder,
  readQueue,
  readSubmit,
  SEPARATOR,
  TAG_MARK,
} from './parse.js'
import { ASSUMED, probeCommands, readProbe } from './probe.js'

/** Times as seconds since 1970, and names of arrays whole. @source squeue(1), sacct(1), ENVIRONMENT VARIABLES, Slurm 22.05 */
const READABLE = { SLURM_TIME_FORMAT: '%s', SLURM_BITSTR_LEN: '0' } as const
/** Filters that a user may have set for squeue, and that would hide jobs. What an option says wins over the others of its kind. */
const NO_FILTERS = Object.fromEntries(
  ['ACCOUNT', 'ARRAY', 'LICENSES', 'NAMES', 'PARTITION', 'QOS', 'SORT'].map((name) => [`SQUEUE_${name}`, undefined]),
)
/** Variables that win over directive lines. @source sbatch(1), INPUT ENVIRONMENT VARIABLES, Slurm 22.05 */
const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  account: ['SBATCH_ACCOUNT'],
  partition: ['SBATCH_PARTITION'],
  qos: ['SBATCH_QOS'],
  reservation: ['SBATCH_RESERVATION'],
  constraint: ['SBATCH_CONSTRAINT'],
  time: ['SBATCH_TIMELIMIT'],
  mem: ['SBATCH_MEM_PER_NODE', 'SBATCH_MEM_PER_CPU', 'SBATCH_MEM_PER_GPU'],
  'mem-per-cpu': ['SBATCH_MEM_PER_NODE', 'SBATCH_MEM_PER_CPU', 'SBATCH_MEM_PER_GPU'],
  gres: ['SBATCH_GRES', 'SBATCH_GPUS', 'SBATCH_GPUS_PER_NODE', 'SBATCH_GPUS_PER_TASK'],
  exclusive: ['SBATCH_EXCLUSIVE'],
  requeue: ['SBATCH_REQUEUE', 'SBATCH_NO_REQUEUE'],
  'no-requeue': ['SBATCH_REQUEUE', 'SBATCH_NO_REQUEUE'],
  signal: ['SBATCH_SIGNAL'],
}

/** The language of SLURM, in its text forms: `--json` is not built in everywhere, and tells no failures and wrong exit codes where it is. */
export function slurmDialect(site: SlurmOptions): SchedulerDialect {
  const cluster: readonly string[] = site.cluster === undefined ? [] : ['-M', site.cluster]
  const accounting = (filter: string, since: number): SiteCommand => ({
    argv: [
      'sacct',
      ...cluster,
      '--noheader',
      '--parsable2',
      '--allocations',
      // A job that SLURM started again has a record for each start.
      '--duplicates',
      `--delimiter=${SEPARATOR}`,
      `--starttime=${utc(since)}`,
      // Else it is now, which leaves out jobs that are to begin later, and is an error when a clock is ahead.
      '--endtime=2099-01-01T00:00:00',
      filter,
      `--format=${ACCOUNTING_FIELDS}`,
    ],
    env: { ...READABLE, TZ: 'UTC' },
  })
  return {
    name: 'slurm',
    supports: { arrays: true, dependencies: true, accounting: true, hold: true },
    startNumber: '$((${SLURM_RESTART_COUNT:-0} + 1))',
    arrayIndex: '$SLURM_ARRAY_TASK_ID',
    probe: { commands: probeCommands(cluster), parse: readProbe },
    assumed: ASSUMED,
    readDirectives,
    jobOptions: (options) => checkJobOptions(site, options),
    check: checkSubmission,
    head: renderHead,
    submit: (submission) => submitCommand(submission, cluster),
    parseSubmit: readSubmit,
    elementId: (nativeId, index) => `${nativeId}_${index}`,

    queue: () => ({
      argv: ['squeue', ...cluster, '--me', '--all', '--states=all', '--noheader', `--format=${QUEUE_FORMAT}`],
      env: { ...READABLE, ...NO_FILTERS },
    }),
    parseQueue: readQueue,
    // scontrol shows one job at a time; one that is not known does not keep it from the others.
    details: (nativeIds) => ({
      argv: ['sh', '-c', `for id do scontrol ${cluster.map((word) => `${word} `).join('')}-o show job "$id"; done`, 'sh', ...nativeIds],
      env: READABLE,
    }),
    parseDetails: readDetails,
    accounting: (nativeIds, since) => accounting(`--jobs=${nativeIds.join(',')}`, since),
    accountingByTag: (tags, since) => accounting(`--name=${tags.join(',')}`, since),
    parseAccounting: readAccounting,

    cancel: (nativeIds) => ({ argv: ['scancel', ...cluster, ...foldIds(nativeIds)], env: NO_CANCEL_FILTERS }),
    parseCancel: readCancel,
    order: (order, nativeIds) => ({ argv: ['scontrol', ...cluster, order, foldIds(nativeIds).join(',')] }),
    parseOrder: readOrder,
  }
}

/** @source scancel(1), ENVIRONMENT VARIABLES, Slurm 22.05 */
const NO_CANCEL_FILTERS = Object.fromEntries(
  ['ACCOUNT', 'BATCH', 'CTLD', 'FULL', 'HURRY', 'INTERACTIVE', 'NAME', 'PARTITION', 'QOS', 'STATE', 'USER', 'VERBOSE', 'WCKEY'].map(
    (name) => [`SCANCEL_${name}`, undefined],
  ),
)

/** What identifies the job stands on the command line: no line of a script and no variable wins over that. */
function submitCommand(submission: Submission, cluster: readonly string[]): SiteCommand {
  const { tag, directory, scriptFile, logFile, array, userLines } = submission
  const options = submission.options as SlurmJobOptions
  const lines = renderHead(submission)
  const theirs = optionsOf([...(options.extra ?? []).map(extraLine), ...userLines])
  const comment =
    options.singleton !== undefined ? `${TAG_MARK}${tag}` : options.comment === undefined && !theirs.has('comment') ? tag : undefined
  const throttle = options.arrayThrottle === undefined ? '' : `%${options.arrayThrottle}`
  const dependency = dependencyOf(submission, options, theirs)
  return {
    argv: [
      'sbatch',
      ...cluster,
      '--parsable',
      `--job-name=${options.singleton ?? tag}`,
      ...(comment === undefined ? [] : [`--comment=${comment}`]),
      `--output=${literalFileName(logFile)}`,
      `--error=${literalFileName(logFile)}`,
      '--open-mode=append',
      `--chdir=${directory}`,
      ...(array === undefined ? [] : [`--array=0-${array.size - 1}${throttle}`]),
      ...(dependency === '' ? [] : [`--dependency=${dependency}`]),
      scriptFile,
    ],
    env: withoutVariables(lines),
  }
}

/** All of them together, with those of the script, which the command line would hide. */
function dependencyOf({ dependencies }: Submission, { singleton }: SlurmJobOptions, theirs: ReadonlyMap<string, string>): string {
  const ours = dependencies.filter(({ ids }) => ids.length > 0).map(({ kind, ids }) => `${kind}:${ids.join(':')}`)
  if (singleton !== undefined) ours.push('singleton')
  if (ours.length === 0) return ''
  const own = theirs.get('dependency')
  return [...ours, ...(own === undefined || own === '' ? [] : [own])].join(',')
}

/**
 * Without the user's defaults for what a line says, without those that would make several jobs of one or wait for its end, and without the
 * number of starts of a job that we are in ourselves, which would be handed on.
 */
function withoutVariables(lines: readonly string[]): Readonly<Record<string, undefined>> {
  const names = [...optionsOf(lines).keys()].flatMap((name) => VARIABLES[name] ?? [])
  return Object.fromEntries(['SBATCH_ARRAY_INX', 'SBATCH_WAIT', 'SLURM_RESTART_COUNT', ...names].map((name) => [name, undefined]))
}

/** Whole seconds, rounded down. */
function utc(ms: number): string {
  return new Date(Math.floor(Math.max(0, ms) / 1000) * 1000).toISOString().slice(0, 19)
}
