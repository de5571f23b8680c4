import type { Site } from '../../model/site.js'
import type { PlannedSubmission, QueueFacts, SchedulerFacts, SiteFinding } from '../../model/site-report.js'
import { formatDuration } from '../../units.js'
import { nearestName } from '../../util/nearest.js'

// What follows from what a site said; nothing is asked here.

export function ok(topic: string, text: string): SiteFinding {
  return { topic, verdict: 'ok', text }
}

export function warning(topic: string, text: string, ...suggestions: readonly string[]): SiteFinding {
  return { topic, verdict: 'warning', text, ...(suggestions.length === 0 ? {} : { suggestions }) }
}

export function failed(topic: string, text: string, suggestions: readonly string[] = []): SiteFinding {
  return { topic, verdict: 'failed', text, ...(suggestions.length === 0 ? {} : { suggestions }) }
}

/** What the scheduler said about itself, against what the site's description asks for. */
export function factFindings(facts: SchedulerFacts, site: Pick<Site, 'queue'>): SiteFinding[] {
  const { version, cluster, notes } = facts
  return [
    ok('scheduler', cluster === undefined ? version : `${version}, cluster ${cluster}`),
    limitFinding(facts),
    queueFinding(facts.queues, site.queue),
    accountingFinding(facts),
    ...notes.map((note) => warning('scheduler', note)),
  ]
}

function limitFinding({ maxArraySize, maxJobs, keepsEndedMs }: SchedulerFacts): SiteFinding {
  const parts = [
    maxArraySize > 1 ? `arrays of up to ${maxArraySize} jobs` : 'no arrays',
    ...(maxJobs === undefined ? [] : [`at most ${maxJobs} jobs of all users`]),
    ...(keepsEndedMs === undefined ? [] : [`ended jobs are shown for ${formatDuration(keepsEndedMs)}`]),
  ]
  return ok('limits', parts.join(', '))
}

function accountingFinding({ accounting }: SchedulerFacts): SiteFinding {
  return accounting
    ? ok('accounting', 'on')
    : warning('accounting', 'off: how a job ended is known from the record that it leaves in its directory, and from nothing else')
}

/** @param wanted - the queue that the site's description names */
export function queueFinding(queues: readonly QueueFacts[], wanted: string | undefined): SiteFinding {
  const names = queues.map(({ name }) => name)
  const known = names.length === 0 ? [] : [`Known queues: ${names.join(', ')}`]
  if (wanted === undefined) {
    const standard = queues.find(({ isDefault }) => isDefault)
    if (standard !== undefined) return stateOf(standard, `${standard.name} (the default)`)
    if (queues.length === 0) return warning('queues', 'the scheduler names no queue')
    return failed('queues', 'there is no default queue, and the site names none', ['Add "queue: NAME" to the site', ...known])
  }
  const queue = queues.find(({ name }) => name === wanted)
  if (queue !== undefined) return stateOf(queue, queue.name)
  const near = nearestName(wanted, names)
  return failed('queues', `there is no queue ${wanted}`, [...(near === undefined ? [] : [`Did you mean ${near}?`]), ...known])
}

function stateOf({ isUp, nodes, nodesUp, maxWalltimeMs }: QueueFacts, name: string): SiteFinding {
  if (!isUp) return failed('queues', `${name} takes no jobs now`, ['Name another queue, or wait until it is open again'])
  if (nodesUp === 0) {
    return warning(
      'queues',
      `${name} takes jobs, but none of its ${nodes} nodes is up: they would wait`,
      'Ask the administrators of the site',
    )
  }
  const limit = maxWalltimeMs === undefined ? 'no limit of walltime' : `walltime up to ${formatDuration(maxWalltimeMs)}`
  return ok('queues', `${name}: ${nodesUp} of ${nodes} ${nodes === 1 ? 'node' : 'nodes'} up, ${limit}`)
}

/** What the scheduler has against the smallest job, with the queue and the account of the site. */
export function trialFindings(planned: readonly PlannedSubmission[], { account }: Pick<Site, 'account'>): SiteFinding[] {
  const faults = [...new Set(planned.flatMap((one) => one.faults))]
  const warnings = [...new Set(planned.flatMap((one) => one.warnings))]
  return [
    ...faults.map((fault) => failed('job', `the smallest job would not be taken: ${fault}`)),
    ...warnings.map((text) => warning('job', text)),
    ...(account === undefined || faults.length > 0
      ? []
      : [ok('account', `${account}: whether it may be used is known when a job is submitted (--job does)`)]),
  ]
}

/** From here on a person wonders about dates. */
const ODD_OFFSET_MS = 2000

/**
 * @param offsetMs - positive: the site is ahead
 * @param unsureMs - how far it can be off, either way
 */
export function clockFinding(offsetMs: number, unsureMs: number, where: string): SiteFinding {
  const size = Math.abs(offsetMs)
  if (size - unsureMs < ODD_OFFSET_MS) {
    return ok('clock', size <= unsureMs + 100 ? 'as here' : `${formatDuration(Math.round(size))} ${offsetMs > 0 ? 'ahead' : 'behind'}`)
  }
  const rounded = formatDuration(size >= 60_000 ? Math.round(size / 1000) * 1000 : Math.round(size / 100) * 100)
  return warning(
    'clock',
    `${rounded} ${offsetMs > 0 ? 'ahead of' : 'behind'} this machine: dates of jobs are those of ${where}; nothing is decided by comparing the two`,
    `Have the clocks set by NTP: "date" here and on ${where} shows which one is wrong`,
  )
}
