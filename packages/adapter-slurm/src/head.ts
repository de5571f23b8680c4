import type { JobResources, Submission } from '@cahier/core/spi'
import { parseSizeMiB } from '@cahier/core/spi'
import { optionsOf } from './directives.js'
import { extraLine, type SlurmJobOptions } from './options.js'
import { directiveWord } from './sbatch-options.js'
import { readAsked } from './user-resources.js'

/** SLURM's default for the time between TERM and KILL at the end of the walltime. @source slurm.conf(5) KillWait, Slurm 22.05 */
const KILL_WAIT_MS = 30_000
/** The longest time before the end that `--signal` takes. @source sbatch(1) --signal, Slurm 22.05 */
const LONGEST_NOTICE_S = 65_535

/** Options that say the same thing in other ways: where a script has one of them, none of ours is given. */
const TASKS = [
  'ntasks',
  'ntasks-per-node',
  'ntasks-per-socket',
  'ntasks-per-core',
  'ntasks-per-gpu',
  'cpus-per-task',
  'cpus-per-gpu',
  'mincpus',
]
const MEMORY = ['mem', 'mem-per-cpu', 'mem-per-gpu']
const GPUS = ['gpus', 'gpus-per-node', 'gpus-per-task', 'gpus-per-socket', 'gres']

type Directive = readonly [name: string, value?: string]

/**
 * The directive lines of a submission, without what identifies it: ours, then `options.extra`, then those of the script. Of two that
 * say the same sbatch obeys the last one; of two that exclude each other ours are left out.
 */
export function renderHead(submission: Submission): readonly string[] {
  const options = submission.options as SlurmJobOptions
  const extra = (options.extra ?? []).map(extraLine)
  const theirs = optionsOf([...extra, ...submission.userLines])
  const ours = [...resourceDirectives(submission, options, theirs), ...optionDirectives(submission, options)]
  const lines = ours
    .filter(([name]) => !theirs.has(name) && !(name.endsWith('requeue') && (theirs.has('requeue') || theirs.has('no-requeue'))))
    .map(([name, value]) => `#SBATCH --${name}${value === undefined ? '' : `=${directiveWord(value)}`}`)
  return [...lines, ...extra, ...submission.userLines]
}

/** What the script's lines and `options.extra` ask for, over the resources of the job. */
export function askedResources({ resources, userLines, options }: Submission): JobResources {
  const extra = ((options as SlurmJobOptions).extra ?? []).map(extraLine)
  return { ...resources, ...readAsked(optionsOf([...extra, ...userLines])).resources }
}

function resourceDirectives(submission: Submission, options: SlurmJobOptions, theirs: ReadonlyMap<string, string>): Directive[] {
  const has = (names: readonly string[]): boolean => names.some((name) => theirs.has(name))
  const asked = askedResources(submission)
  const { memoryMiB, walltimeMs, gpus } = asked
  const nodes = asked.nodes ?? 1
  const directives: Directive[] = has(TASKS) ? nodesOnly(submission.resources) : layout(asked, options)
  if (!has(MEMORY)) {
    // 0 would be all memory of the node.
    if (memoryMiB !== undefined && memoryMiB > 0) directives.push(['mem', `${Math.ceil(memoryMiB)}M`])
    else if (options.memPerCpu !== undefined) directives.push(['mem-per-cpu', `${parseSizeMiB(options.memPerCpu)}M`])
  }
  if (!has(GPUS)) {
    const gres = [gpus !== undefined && gpus > 0 ? `gpu:${Math.ceil(gpus / nodes)}` : undefined, options.gres].filter(
      (each) => each !== undefined,
    )
    if (gres.length > 0) directives.push(['gres', gres.join(',')])
  }
  if (walltimeMs !== undefined) directives.push(['time', String(Math.ceil(walltimeMs / 60_000))])
  directives.push(...notice(submission, walltimeMs))
  return directives
}

function nodesOnly({ nodes }: JobResources): Directive[] {
  return nodes === undefined ? [] : [['nodes', String(nodes)]]
}

/** Cores are those of one node. Without tasks one program runs there and uses them; with tasks they are shared out among those of a node. */
function layout({ cores, tasks, nodes }: JobResources, { tasksPerNode }: SlurmJobOptions): Directive[] {
  if (tasks === undefined) {
    if (cores === undefined && nodes === undefined && tasksPerNode === undefined) return []
    const perNode = tasksPerNode ?? 1
    const where: Directive[] =
      nodes === undefined
        ? [['ntasks', String(perNode)]]
        : [
            ['nodes', String(nodes)],
            ['ntasks-per-node', String(perNode)],
          ]
    if (nodes === undefined && perNode > 1) where.unshift(['nodes', '1'])
    return [...where, ['cpus-per-task', String(share(cores ?? perNode, perNode))]]
  }
  // Cores without nodes are those of the only one.
  const on = nodes ?? (cores === undefined ? undefined : 1)
  const perNode = tasksPerNode ?? (on === undefined ? undefined : Math.ceil(tasks / on))
  return [
    ...(on === undefined ? [] : ([['nodes', String(on)]] as const)),
    ['ntasks', String(tasks)],
    ...(perNode === undefined ? [] : ([['ntasks-per-node', String(perNode)]] as const)),
    ...(cores === undefined || perNode === undefined ? [] : ([['cpus-per-task', String(share(cores, perNode))]] as const)),
  ]
}

/** Whole cores of each; more would be more than was asked for, and perhaps than there are. */
function share(cores: number, tasks: number): number {
  return Math.max(1, Math.floor(cores / tasks))
}

/**
 * At the end of the walltime SLURM sends TERM and waits KillWait, 30 s by default, before the KILL: enough for most. A longer grace is
 * made by a signal in time, which SLURM may send up to a minute early.
 *
 * @source sbatch(1) --signal, Slurm 22.05: "may be sent up to 60 seconds earlier than specified"
 */
function notice({ graceMs }: Submission, walltimeMs: number | undefined): Directive[] {
  if (graceMs <= KILL_WAIT_MS || walltimeMs === undefined || walltimeMs <= graceMs) return []
  return [['signal', `B:USR1@${Math.min(Math.ceil(graceMs / 1000), LONGEST_NOTICE_S)}`]]
}

function optionDirectives({ queue, account }: Submission, options: SlurmJobOptions): Directive[] {
  const { exclusive, requeue, nice, mailType } = options
  const texts: (readonly [string, string | undefined])[] = [
    ['partition', queue],
    ['account', account],
    ['qos', options.qos],
    ['constraint', options.constraint],
    ['reservation', options.reservation],
    ['licenses', options.licenses],
    ['begin', options.begin],
    ['nice', nice === undefined ? undefined : String(nice)],
    ['mail-user', options.mailUser],
    ['mail-type', typeof mailType === 'object' ? mailType.join(',') : mailType],
    ['comment', options.comment],
    ['exclusive', typeof exclusive === 'string' ? exclusive : undefined],
  ]
  return [
    ...texts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
    ...(exclusive === true ? [['exclusive'] as const] : []),
    ...(requeue === undefined ? [] : [[requeue ? 'requeue' : 'no-requeue'] as const]),
  ]
}
