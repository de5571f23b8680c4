import type { CommandAnswer, QueueFacts, SchedulerFacts, SiteCommand } from '@cahier/core/spi'
import { adviceFor, whatItSaid } from './parse.js'
import { readWalltime } from './user-resources.js'

/** @source sinfo(1) -o, Slurm 22.05: partition, availability, time limit, job size, nodes, CPUs, memory, gres, state, CPUs by state */
const PARTITION_FORMAT = '%P|%a|%l|%s|%D|%c|%m|%G|%T|%C'
/** @source sinfo(1), NODE STATE CODES, Slurm 22.05; a mark behind the word says more: `*` not responding, `~` powered off */
const UP = /^(?:idle|alloc|allocated|mix|mixed|comp|completing|plnd|planned|resv|reserved|maint)[~#%$@+!^-]?$/i

/** What SLURM is asked once: its configuration and its partitions. */
export function probeCommands(cluster: readonly string[]): readonly SiteCommand[] {
  return [
    { argv: ['scontrol', ...cluster, 'show', 'config'], env: { SLURM_TIME_FORMAT: undefined } },
    // Nodes that differ stand on lines of their own, partitions that are hidden as well.
    { argv: ['sinfo', ...cluster, '--noheader', '--all', '--exact', `--format=${PARTITION_FORMAT}`], env: { SINFO_PARTITION: undefined } },
  ]
}

/** SLURM's own defaults, to plan with. @source slurm.conf(5), Slurm 22.05 */
export const ASSUMED: SchedulerFacts = {
  version: 'slurm',
  maxArraySize: 1001,
  maxJobs: 10_000,
  accounting: true,
  keepsEndedMs: 300_000,
  queues: [],
  notes: [],
}

export function readProbe(
  answers: readonly CommandAnswer[],
): { readonly facts: SchedulerFacts } | { readonly silent: string; readonly suggestions?: readonly string[] } {
  for (const [at, program] of (['scontrol', 'sinfo'] as const).entries()) {
    const answer = answers[at]
    if (answer === undefined || answer.exitCode !== 0 || answer.stdout.trim() === '') {
      return { silent: `${program}: ${answer === undefined ? 'not asked' : whatItSaid(answer)}`, ...adviceFor(answer?.stderr ?? '') }
    }
  }
  const config = readConfig(answers[0]!.stdout)
  return { facts: { ...factsOf(config), queues: readPartitions(answers[1]!.stdout) } }
}

/** Reads `Key = value` lines. */
export function readConfig(text: string): ReadonlyMap<string, string> {
  const lines = text.split('\n').map((line) => /^([A-Za-z_]\w*(?:\[\d+\])?)\s*=\s?(.*)$/.exec(line.trim()))
  return new Map(lines.flatMap((found) => (found === null ? [] : [[found[1]!, found[2]!.trim()] as const])))
}

function factsOf(config: ReadonlyMap<string, string>): Omit<SchedulerFacts, 'queues'> {
  const cluster = config.get('ClusterName')
  const age = readNumber(config.get('MinJobAge'))
  const jobs = readNumber(config.get('MaxJobCount'))
  const storage = config.get('AccountingStorageType') ?? ''
  return {
    version: `slurm ${config.get('SLURM_VERSION') ?? 'of unknown version'}`,
    ...(cluster !== undefined && cluster !== '(null)' && { cluster }),
    // 0 switches arrays off; one element is no array.
    maxArraySize: Math.max(1, readNumber(config.get('MaxArraySize')) ?? ASSUMED.maxArraySize),
    ...(jobs !== undefined && { maxJobs: jobs }),
    accounting: storage !== '' && !/none$|^\(null\)$/.test(storage),
    ...(age !== undefined && { keepsEndedMs: age * 1000 }),
    notes: notesOf(config),
  }
}

/** Defaults are passed over: what a user should know is where this site differs. */
function notesOf(config: ReadonlyMap<string, string>): string[] {
  const notes: string[] = []
  const kill = readNumber(config.get('KillWait'))
  if (kill !== undefined && kill < 10)
    notes.push(`A job that has reached its walltime is killed ${kill} s after it was told to end (KillWait).`)
  const age = readNumber(config.get('MinJobAge'))
  if (age !== undefined && age > 0 && age < 60) notes.push(`The queue forgets a job ${age} s after its end (MinJobAge).`)
  const limits = config.get('EnforcePartLimits')
  if (limits === 'NO') notes.push('Jobs that ask for more than their partition has are taken, and never start (EnforcePartLimits=NO).')
  if (config.get('JobRequeue') === '0')
    notes.push('Jobs are not started again after a node failure (JobRequeue=0); options.requeue asks for it.')
  const preempt = config.get('PreemptMode')
  if (preempt !== undefined && !/^(?:OFF|GANG)$/i.test(preempt))
    notes.push(`Jobs may have to make room for others (PreemptMode=${preempt}).`)
  const enforced = config.get('AccountingStorageEnforce') ?? ''
  if (/limits|qos|associations|safe/.test(enforced))
    notes.push(`Accounts and their limits are enforced (${enforced}): "sacctmgr show assoc user=$USER" shows yours.`)
  return notes
}

/** Puts the lines of one partition together: of nodes that differ the largest counts. */
function readPartitions(text: string): QueueFacts[] {
  const queues = new Map<string, QueueFacts>()
  for (const line of text.split('\n')) {
    const fields = line.trim().split('|')
    if (fields.length < 10 || fields[0] === '') continue
    const queue = partitionLine(fields)
    const known = queues.get(queue.name)
    queues.set(queue.name, known === undefined ? queue : joined(known, queue))
  }
  return [...queues.values()]
}

function partitionLine(fields: readonly string[]): QueueFacts {
  const [partition = '', available = '', limit = '', size = '', count = '', cpus = '', memory = '', gres = '', state = '', byState = ''] =
    fields
  const nodes = readNumber(count) ?? 0
  const walltime = readWalltime(limit)
  const maxNodes = /^\d+(?:-(\d+))?$/.exec(size)
  const most = readNumber(maxNodes?.[1] ?? (maxNodes === null ? undefined : size))
  const mebibytes = readNumber(memory)
  const gpus = gpusOf(gres)
  const up = UP.test(state)
  const idle = readNumber(byState.split('/')[1])
  return {
    name: partition.replace(/\*$/, ''),
    isDefault: partition.endsWith('*'),
    isUp: available === 'up',
    ...(walltime !== undefined && { maxWalltimeMs: walltime }),
    ...(most !== undefined && { maxNodes: most }),
    nodes,
    coresPerNode: readNumber(cpus) ?? 0,
    // 1 is what SLURM says of a node whose memory was never configured.
    ...(mebibytes !== undefined && mebibytes > 1 && { memoryMiBPerNode: mebibytes }),
    ...(gpus > 0 && { gpusPerNode: gpus }),
    nodesUp: up ? nodes : 0,
    coresIdle: up ? (idle ?? 0) : 0,
  }
}

function joined(a: QueueFacts, b: QueueFacts): QueueFacts {
  const memory = Math.max(a.memoryMiBPerNode ?? 0, b.memoryMiBPerNode ?? 0)
  const gpus = Math.max(a.gpusPerNode ?? 0, b.gpusPerNode ?? 0)
  return {
    ...a,
    nodes: a.nodes + b.nodes,
    coresPerNode: Math.max(a.coresPerNode, b.coresPerNode),
    ...(memory > 0 && { memoryMiBPerNode: memory }),
    ...(gpus > 0 && { gpusPerNode: gpus }),
    nodesUp: a.nodesUp + b.nodesUp,
    coresIdle: (a.coresIdle ?? 0) + (b.coresIdle ?? 0),
  }
}

/** `gpu:a100:4(S:0-1),gpu:v100:2` are six. */
function gpusOf(gres: string): number {
  const parts = gres.replaceAll(/\([^)]*\)/g, '').split(',')
  const counts = parts.flatMap((part) => /^gpu(?::[\w.-]+)*?:(\d+)$/.exec(part)?.[1] ?? [])
  return counts.reduce((total, count) => total + Number(count), 0)
}

/** The number that a text begins with: `300 sec`, `4+`. */
function readNumber(text: string | undefined): number | undefined {
  const found = /^\d{1,15}/.exec(text ?? '')
  return found === null ? undefined : Number(found[0])
}
