import { formatDuration, nearestName, type QueueFacts, type SchedulerFacts, type Submission } from '@cahier/core/spi'
import { optionsOf } from './directives.js'
import { askedResources } from './head.js'
import { extraLine, type SlurmJobOptions } from './options.js'

type Fault = { readonly message: string; readonly suggestions?: readonly string[] }

/**
 * Finds what this site would never run. What the script's own lines say counts, as they win. Nodes that are down count as there.
 *
 * @returns `undefined` where nothing is known against it, and where the partitions are not known
 */
export function checkSubmission(submission: Submission, facts: SchedulerFacts): Fault | undefined {
  const theirs = optionsOf([...((submission.options as SlurmJobOptions).extra ?? []).map(extraLine), ...submission.userLines])
  const queue = theirs.get('partition') ?? submission.queue
  return (
    checkTexts(submission, queue) ??
    checkDependencies(submission, theirs) ??
    checkArray(submission, facts) ??
    checkQueues(submission, queue, facts.queues)
  )
}

/** They become words of directive lines. */
function checkTexts({ account, logFile, directory }: Submission, queue: string | undefined): Fault | undefined {
  for (const [what, text] of Object.entries({ queue, account, directory, 'log file': logFile })) {
    if (text !== undefined && (text === '' || /[\x00-\x1f\x7f]/.test(text)))
      return { message: `the ${what} ${JSON.stringify(text)} is empty or has control characters in it` }
  }
  return undefined
}

function checkDependencies({ dependencies, options }: Submission, theirs: ReadonlyMap<string, string>): Fault | undefined {
  const own = theirs.get('dependency')
  const wanted = dependencies.length > 0 || (options as SlurmJobOptions).singleton !== undefined
  if (own?.includes('?') !== true || !wanted) return undefined
  return {
    message: `the script waits for one of several jobs (--dependency=${own}) and the campaign for others: SLURM cannot do both`,
    suggestions: ['Write the dependencies of the script with commas, or leave them to the campaign'],
  }
}

function checkArray({ array }: Submission, { maxArraySize }: SchedulerFacts): Fault | undefined {
  if (array === undefined || array.size <= maxArraySize) return undefined
  return {
    message: `an array of ${array.size} is larger than this site takes: ${maxArraySize} (MaxArraySize)`,
    suggestions: ['Leave options.maxArraySize of the site out, so that arrays are as large as the site takes'],
  }
}

function checkQueues(submission: Submission, queue: string | undefined, queues: readonly QueueFacts[]): Fault | undefined {
  if (queues.length === 0) return undefined
  // Several may be named: SLURM takes the one that starts the job first.
  const names = queue?.split(',').filter((name) => name !== '')
  const unknown = names?.find((name) => !queues.some((each) => each.name === name))
  if (unknown !== undefined) return unknownQueue(unknown, queues)
  const candidates = names === undefined ? queues.filter(({ isDefault }) => isDefault) : queues.filter(({ name }) => names.includes(name))
  if (candidates.length === 0) {
    return {
      message: 'this site has no default partition',
      suggestions: [`Set queue of the site or of the job to one of ${queues.map(({ name }) => name).join(', ')}`],
    }
  }
  const faults = candidates.map((each) => checkQueue(submission, each))
  return faults.every((fault) => fault !== undefined) ? faults[0] : undefined
}

function unknownQueue(name: string, queues: readonly QueueFacts[]): Fault {
  const known = queues.map((each) => each.name)
  const nearest = nearestName(name, known)
  return {
    message: `this site has no partition "${name}"`,
    suggestions: [nearest === undefined ? `Name one of ${known.join(', ')} as queue` : `Write queue: ${nearest}`],
  }
}

function checkQueue(submission: Submission, queue: QueueFacts): Fault | undefined {
  const { walltimeMs, nodes = 1, cores = 1, memoryMiB = 0, gpus = 0, tasks } = askedResources(submission)
  const inQueue = `partition ${queue.name}`
  const suggestions = ['Ask for less, or name another queue: "cahier sites check" shows them']
  if (walltimeMs !== undefined && queue.maxWalltimeMs !== undefined && Math.ceil(walltimeMs / 60_000) * 60_000 > queue.maxWalltimeMs) {
    return {
      message: `a walltime of ${formatDuration(walltimeMs)} is longer than ${inQueue} allows: ${formatDuration(queue.maxWalltimeMs)}`,
      suggestions,
    }
  }
  const most = Math.min(queue.maxNodes ?? Infinity, queue.nodes)
  if (nodes > most) return { message: `${nodes} nodes are more than ${inQueue} gives to one job: ${most}`, suggestions }
  if (queue.coresPerNode > 0 && cores > queue.coresPerNode) {
    return { message: `${cores} cores on a node are more than any node of ${inQueue} has: ${queue.coresPerNode}`, suggestions }
  }
  if (queue.coresPerNode > 0 && (tasks ?? 0) > queue.coresPerNode * most && !overcommits(submission)) {
    return { message: `${tasks} tasks are more than ${inQueue} has cores for: ${queue.coresPerNode * most}`, suggestions }
  }
  if (queue.memoryMiBPerNode !== undefined && memoryMiB > queue.memoryMiBPerNode) {
    return { message: `${memoryMiB} MiB of memory are more than any node of ${inQueue} has: ${queue.memoryMiBPerNode} MiB`, suggestions }
  }
  if (gpus > 0 && Math.ceil(gpus / nodes) > (queue.gpusPerNode ?? 0)) {
    return {
      message: `${Math.ceil(gpus / nodes)} GPUs on a node are more than any node of ${inQueue} has: ${queue.gpusPerNode ?? 0}`,
      suggestions,
    }
  }
  return undefined
}

function overcommits({ userLines, options }: Submission): boolean {
  return optionsOf([...((options as SlurmJobOptions).extra ?? []).map(extraLine), ...userLines]).has('overcommit')
}
