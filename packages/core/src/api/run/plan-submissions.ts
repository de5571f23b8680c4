import type { Planner } from '../../engine/plan.js'
import { specOfJob } from '../../engine/submit.js'
import type { CampaignSpec } from '../../model/campaign.js'
import type { WorkItem } from '../../model/combination.js'
import type { JobSpec } from '../../model/job.js'
import type { PlannedSubmission } from '../../model/site-report.js'
import type { Scheduler } from '../../ports/scheduler.js'
import type { SiteServices } from '../services.js'

/** So many jobs are put into arrays and packs to see how that goes. */
const PREVIEWED = 10_000

export interface PlanSubmissionsInput {
  readonly site: SiteServices
  /** Opened when it is to say what it really has; else what such schedulers usually have is taken. */
  readonly scheduler: Scheduler
  readonly spec: CampaignSpec
  /** Plans for this site, with its root. */
  readonly planner: Planner
  /** Absolute: stands for the run directory on the site. Where that is decided only when the run begins, `shownRoot` is shown in its place. */
  readonly root: string
  readonly shownRoot: string
  /** What is to be done, in order. */
  readonly items: Iterable<WorkItem>
  /** How many submissions are wanted whole. */
  readonly shown: number
}

export interface PlannedSubmissions {
  readonly submissions: readonly PlannedSubmission[]
  readonly jobsPerSubmission: number | undefined
  /** Upper bound for one job of those that were looked at, as the scheduler would count: with directive lines. */
  readonly coreHoursPerJob: number | undefined
  readonly limits: readonly string[]
  readonly warnings: readonly string[]
}

/** How the jobs of a run would be submitted to one site. Asks nobody. */
export function planSubmissions(input: PlanSubmissionsInput): PlannedSubmissions {
  const { scheduler, site, shown } = input
  if (scheduler.preview === undefined) {
    return { submissions: [], jobsPerSubmission: undefined, coreHoursPerJob: undefined, limits: [], warnings: [] }
  }
  const jobs: JobSpec[] = []
  for (const item of input.items) {
    if (jobs.length >= PREVIEWED) break
    jobs.push(specOf(item, input))
  }
  const planned = jobs.length === 0 ? [] : scheduler.preview(jobs)
  const sent = planned.filter(({ command }) => command !== '')
  const bounded = planned.every(({ coreHours }) => coreHours !== undefined)
  const hours = planned.reduce((sum, { coreHours = 0 }) => sum + coreHours, 0)
  return {
    submissions: planned.slice(0, shown).map((one) => ({
      ...one,
      script: one.script.replaceAll(input.root, input.shownRoot),
      command: one.command.replaceAll(input.root, input.shownRoot),
    })),
    jobsPerSubmission: sent.length === 0 ? undefined : Math.max(...sent.map((one) => one.jobs)),
    coreHoursPerJob: bounded && jobs.length > 0 ? hours / jobs.length : undefined,
    limits: [...countFaults(planned, site.site.name), ...countJobs(scheduler, jobs.length)],
    warnings: [...new Set(planned.flatMap(({ warnings }) => warnings))],
  }
}

function specOf(item: WorkItem, { site, spec, planner, root }: PlanSubmissionsInput): JobSpec {
  const planned = planner.planItem(item, 1)
  const { queue, account } = site.site
  const place = { ...NO_PLACE, root, isShared: site.isShared }
  return specOfJob(planned, { directory: `${root}/${planned.directory}`, site: { place, queue, account }, files: [], spec, isStage: false })
}

/** Nothing is opened, staged or fetched for a plan. */
const NO_PLACE = {
  open: () => Promise.reject(new Error('a plan opens no place')),
  stage: () => Promise.reject(new Error('a plan stages nothing')),
  fetch: () => Promise.reject(new Error('a plan fetches nothing')),
}

/** The same fault of many jobs is one sentence. */
function countFaults(planned: readonly PlannedSubmission[], site: string): string[] {
  const jobs = new Map<string, number>()
  for (const one of planned) for (const fault of one.faults) jobs.set(fault, (jobs.get(fault) ?? 0) + one.jobs)
  return [...jobs].map(([fault, count]) => `${site} would never run ${count} ${count === 1 ? 'job' : 'jobs'}: ${fault}`)
}

function countJobs(scheduler: Scheduler, jobs: number): string[] {
  const most = scheduler.facts?.().maxJobs
  return most === undefined || jobs < most
    ? []
    : [`the queue takes at most ${most} jobs of all users: the others wait here until there is room`]
}
