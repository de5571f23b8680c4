import type { JobSpec } from '../../model/job.js'
import type { PlannedSubmission, SchedulerFacts } from '../../model/site-report.js'
import type { SchedulerDialect, SiteCommand, UserDirectives } from '../../ports/scheduler-dialect.js'
import { shellQuote } from '../../util/shell-quote.js'
import { type GroupLimits, groupJobs, type JobGroup, jobsOf, type ReadyJob, submissionOf } from './group-jobs.js'
import { rowIdOf } from './native-id.js'
import { prepareJob } from './prepare.js'
import { renderSubmissionScript } from './submission-files.js'

export interface PreviewParts {
  readonly dialect: SchedulerDialect
  readonly siteOptions: Readonly<Record<string, unknown>>
  readonly facts: SchedulerFacts
  readonly limits: GroupLimits
}

/** How jobs would be submitted, exactly: scripts, commands, and what is wrong with them. Those with a fault of their own stand last. */
export function planSubmissions(parts: PreviewParts, jobs: readonly JobSpec[]): readonly PlannedSubmission[] {
  const { dialect, siteOptions, facts, limits } = parts
  const ready: ReadyJob[] = []
  const faulty: PlannedSubmission[] = []
  for (const spec of jobs) {
    const prepared = prepareJob(spec, dialect, siteOptions)
    if ('fault' in prepared) {
      const { fault, user } = prepared
      faulty.push({ script: spec.script, command: '', jobs: 1, tag: spec.tag, faults: [fault.message], warnings: warningsOf(user) })
    } else {
      const dependencies = (spec.dependencies ?? []).map(({ kind, on }) => ({ kind, ids: [rowIdOf(on.nativeId)] }))
      ready.push({ ...prepared, dependencies })
    }
  }
  const planned = groupJobs(ready, limits).map((group): PlannedSubmission => {
    const submission = submissionOf(group, 0)
    const [first] = jobsOf(group) as [ReadyJob]
    const fault = dialect.check(submission, facts)
    const command = dialect.submit(submission)
    return {
      script: renderSubmissionScript(group, submission, dialect),
      command: commandLine(command),
      jobs: jobsOf(group).length,
      tag: first.job.tag,
      ...coreHoursOf(group),
      faults: fault === undefined ? [] : [[fault.message, ...(fault.suggestions ?? [])].join('; ')],
      warnings: warningsOf(first.user),
    }
  })
  return [...planned, ...faulty]
}

/** As a line for a shell. */
function commandLine({ argv, env = {} }: SiteCommand): string {
  const unset = Object.keys(env).filter((name) => env[name] === undefined)
  const set = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${shellQuote(value)}`]))
  const removed = unset.length === 0 ? [] : ['env', ...unset.flatMap((name) => ['-u', name])]
  return [...removed, ...set, ...argv.map((word) => shellQuote(word))].join(' ')
}

function coreHoursOf(group: JobGroup): { readonly coreHours?: number } {
  let hours = 0
  for (const { job } of jobsOf(group)) {
    const { cores = 1, nodes = 1, tasks = 1, walltimeMs } = job.resources
    if (walltimeMs === undefined) return {}
    hours += (Math.max(cores * nodes, tasks) * walltimeMs) / 3_600_000
  }
  return { coreHours: hours }
}

function warningsOf(user: UserDirectives | undefined): readonly string[] {
  return (user?.ignored ?? []).map(({ line, why }) => `not obeyed: ${line} (${why})`)
}
