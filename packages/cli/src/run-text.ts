import { join, relative } from 'node:path'
import type {
  CollectedAgain,
  ItemReport,
  PlannedJob,
  PlannedSubmission,
  RepairReport,
  RunCounts,
  RunEvent,
  RunPause,
  RunPlan,
  RunStatus,
  RunSummary,
  StoppedRun,
  StuckJobs,
  SweepChange,
} from '@cahier/core'
import type { Core } from './base-command.js'

/** Above this number of work items a line for each job would bury everything else. */
const FEW_ITEMS = 50

/** `120 of 300 done, 8 running, 168 to do, 2 failed`: only what is not zero. */
export function formatCounts(counts: RunCounts): string {
  const parts = [
    [counts.running, 'running'],
    [counts.submitted, 'submitted'],
    [counts.todo, 'to do'],
    [counts.failed, 'failed'],
    [counts.invalid, 'invalid'],
    [counts.orphaned, 'done before and no longer asked for'],
  ] as const
  return [`${counts.done} of ${counts.total} done`, ...parts.filter(([n]) => n > 0).map(([n, what]) => `${n} ${what}`)].join(', ')
}

/** Items that will not change any more. */
export function finishedOf(counts: RunCounts): number {
  return counts.done + counts.failed + counts.invalid
}

export function formatPause({ reason, detail }: RunPause): string {
  return `Paused (${reason}): ${detail}`
}

/** Jobs that will not start by themselves: which, why, and what to do. */
export function formatStuck({ site, words, advice, jobs, nativeIds }: StuckJobs): string {
  const ids = nativeIds.length === 0 ? '' : `: ${nativeIds.join(', ')}${jobs > nativeIds.length ? ', …' : ''}`
  const which = `${jobs} ${jobs === 1 ? 'job' : 'jobs'}${site === undefined ? '' : ` on ${site}`}${ids}`
  return `Stuck (${which}): ${words}${advice === undefined ? '' : `: ${advice}`}`
}

/** A combination on one line: `cores=8 python=system`. */
export function formatCombination(combination: ItemReport['combination']): string {
  return Object.entries(combination)
    .map(([name, level]) => `${name}=${level === null ? 'null' : formatLevel(level)}`)
    .join(' ')
}

/** One level or result; nothing for nothing. */
export function formatLevel(level: unknown): string {
  if (level === null || level === undefined) return ''
  return typeof level === 'object' ? JSON.stringify(level) : String(level)
}

/**
 * What a lab notebook would say of an event; `undefined` when it would say nothing.
 *
 * @param items - work items of the run: with few, every job has its line
 */
export function notebookText(event: RunEvent, items: number, core: Pick<Core, 'formatSubmission'>): string | undefined {
  switch (event.type) {
    case 'started':
      return event.resumed
        ? `Run resumed: ${event.directory} (${formatCounts(event.counts)})`
        : `Run started: ${event.directory} (${event.counts.total} work items)`
    case 'submitted':
      return items <= FEW_ITEMS || event.item.startsWith('prepare:')
        ? `${core.formatSubmission(event.nativeId, event.dependsOn)} (${event.label})`
        : undefined
    case 'item':
      if (event.state === 'failed' || event.state === 'invalid') return `Job ${event.state}: ${event.label}: ${event.detail}`
      return event.state === 'done' && items <= FEW_ITEMS ? `Job done: ${event.label}` : undefined
    case 'counts':
      return undefined
    case 'paused':
      return formatPause(event.pause)
    case 'stuck':
      return formatStuck(event.stuck)
    case 'report':
      return `Report written: ${event.file}`
    case 'finished':
      return `Run ${event.outcome}: ${formatCounts(event.counts)}`
  }
}

/** Of jobs that could not begin for one reason. */
export function unrunText(count: number, detail: string): string {
  const [, stage] = /^not run: (prepare:\S+) failed/.exec(detail) ?? []
  return `Jobs failed: ${count}, ${detail}${stage === undefined ? '' : ` (see: cahier why ${stage})`}`
}

/**
 * `run` in the end: findings, where things are, what to do next.
 *
 * @param file - the campaign file as it was named, for the command that resumes
 */
export function formatSummary(summary: RunSummary, file: string | undefined, core: Pick<Core, 'shellQuote'>): string {
  const lines: string[] = []
  for (const { title, text, ok } of summary.findings) lines.push(`${ok === undefined ? '' : ok ? '[ok] ' : '[NOT MET] '}${title}: ${text}`)
  if (summary.pause !== undefined) lines.push(formatPause(summary.pause))
  lines.push(`${summary.outcome}: ${formatCounts(summary.counts)}`, `run     ${summary.directory}`)
  if (summary.reportFile !== undefined) {
    if (summary.counts.done > 0) lines.push(`table   ${join(summary.directory, 'results.csv')}`)
    lines.push(`report  ${summary.reportFile}`)
  }
  // With the directory: without it these commands take the newest run here, which may be another one.
  const near = relative('', summary.directory) || '.'
  const run = core.shellQuote(near.startsWith('..') ? summary.directory : near)
  const words = file === undefined ? '' : `${core.shellQuote(file)} `
  if (summary.outcome === 'detached')
    lines.push(
      'Jobs go on.',
      `  resume    cahier run ${words}--dir ${run}`,
      `  look      cahier status ${run}`,
      `  end them  cahier stop ${run} --cancel-jobs`,
    )
  else if (summary.counts.failed + summary.counts.invalid > 0)
    lines.push(
      `  what failed  cahier status ${run}`,
      `  why          cahier why ${run} ITEM`,
      `  try again    cahier retry ${run}, then cahier run ${words}--dir ${run}`,
    )
  return lines.join('\n')
}

export function formatStatus(status: RunStatus, core: Pick<Core, 'formatDate'>): string {
  const { holder, pause } = status
  const isLeft = status.state === 'idle' || status.state === 'paused'
  const lines = [
    `${status.campaign}: ${status.state}`,
    `  ${formatCounts(status.counts)}`,
    `  ${status.directory}`,
    ...(status.startedAt === undefined ? [] : [`  started ${core.formatDate(status.startedAt)}`]),
    ...(status.endedAt === undefined ? [] : [`  ${isLeft ? 'left' : 'ended'} ${core.formatDate(status.endedAt)}`]),
    ...(holder === undefined ? [] : [`  driven by process ${holder.pid} on ${holder.host} since ${core.formatDate(holder.since)}`]),
    ...(pause === undefined ? [] : [`  ${formatPause(pause)} (since ${core.formatDate(pause.since)})`]),
    ...status.stuck.map((stuck) => `  ${formatStuck(stuck)} (since ${core.formatDate(stuck.since)})`),
    ...(isLeft ? ['  nobody drives it now; "cahier run" goes on with it'] : []),
  ]
  if (status.failures.length > 0) {
    lines.push('newest failures (cahier why ITEM tells more):')
    for (const { id, isStage, combination, state, detail } of status.failures)
      lines.push(`  ${id}  ${isStage ? '' : `${formatCombination(combination)}  `}${state}: ${detail}`)
  }
  return lines.join('\n')
}

/** The repetitions or stages that a selector fits, one line each, and which of them is shown. */
export function formatMatches(matches: readonly ItemReport[], shown: string): string {
  const lines = matches
    .slice(0, FEW_ITEMS)
    .map(({ id, state, detail }) => `${id === shown ? '>' : ' '} ${id}  ${state}${detail === '' ? '' : `: ${detail}`}`)
  const more = matches.length > lines.length ? [`  and ${matches.length - lines.length} more`] : []
  return [`${matches.length} ${matches[0]?.isStage ? 'stages' : 'repetitions'} fit; of ${shown}:`, ...lines, ...more, ''].join('\n')
}

/** All that is known about one work item, for `why`. */
export function formatItem(item: ItemReport, core: Pick<Core, 'formatDate'>): string {
  const date = (at: number | undefined): string => (at === undefined ? 'not yet' : core.formatDate(at))
  const lines = [
    item.isStage
      ? `${item.id}  stage that work items wait for`
      : `${item.id}  ${formatCombination(item.combination)}  repetition ${item.repetition}`,
    `${item.state}: ${item.detail}`,
    ...item.attempts.flatMap((attempt) => [
      `attempt ${attempt.attempt}: ${attempt.outcome ?? 'no outcome yet'}${attempt.exitCode === undefined ? '' : `, exit code ${attempt.exitCode}`}`,
      ...(attempt.detail === item.detail ? [] : [`  ${attempt.detail}`]),
      `  job ${attempt.nativeId ?? '(no id)'}${attempt.site === undefined ? '' : ` on ${attempt.site}`}, tag ${attempt.tag}`,
      ...(attempt.waiting === undefined || attempt.outcome !== undefined
        ? []
        : [`  waits: ${attempt.waiting.words} (so it was ${date(attempt.waiting.at)})`]),
      `  submitted ${date(attempt.submittedAt)}, started ${date(attempt.startedAt)}, ended ${date(attempt.endedAt)}`,
      `  ${attempt.directory}`,
    ]),
  ]
  if (item.tail !== undefined && item.tail !== '')
    lines.push(
      'last output:',
      ...item.tail
        .trimEnd()
        .split('\n')
        .map((line) => `  | ${line}`),
    )
  return lines.join('\n')
}

export function formatPlan(plan: RunPlan, core: Pick<Core, 'formatDuration'>): string {
  const factors = plan.factors.map(({ name, levels }) => `${name} (${levels})`).join(' × ')
  const difference = plan.difference
  const lines = [
    `${plan.campaign} on ${plan.sites.map(siteText).join(' and ')}`,
    `  factors       ${factors === '' ? 'none' : factors}`,
    `  work items    ${plan.combinations} combinations × ${plan.repetitions} ${plan.repetitions === 1 ? 'repetition' : 'repetitions'} = ${plan.items}`,
    `  to do         ${plan.toDo} (${plan.alreadyDone} done already)`,
    ...submissionCount(plan),
    `  core-hours    ${plan.coreHours === undefined ? 'not known: a job has no walltime' : `at most ${formatNumber(plan.coreHours)}`}`,
    ...(plan.directory === undefined ? [] : [`  directory     ${plan.directory}`]),
    ...(difference === undefined
      ? []
      : [`  difference    +${difference.added} =${difference.kept} -${difference.removed} against what this run did before`]),
    ...plan.limits.map((limit) => `  limit         ${limit}`),
    ...plan.warnings.map((warning) => `  warning       ${warning}`),
  ]
  for (const sample of plan.samples) {
    const asked = askedFor(sample.resources, core)
    lines.push(
      '',
      `job ${sample.id}  ${formatCombination(sample.combination)}${asked === '' ? '' : `  (${asked})`}`,
      `  in ${sample.directory}`,
    )
    lines.push('--- script ---', sample.script.replace(/\n$/, ''), '--- end ------')
  }
  for (const submission of plan.submissions) lines.push('', ...submissionLines(submission))
  return lines.join('\n')
}

/** `2 nodes, 8 cores, 1h`; what is not asked for is not named: the site decides it, or the script. */
function askedFor(resources: PlannedJob['resources'], core: Pick<Core, 'formatDuration'>): string {
  const { nodes, tasks, cores, gpus, memoryMiB, walltimeMs } = resources
  const counts = { node: nodes, task: tasks, core: cores, GPU: gpus }
  return [
    ...Object.entries(counts).map(([what, count]) => (count === undefined ? '' : `${count} ${what}${count === 1 ? '' : 's'}`)),
    memoryMiB === undefined ? '' : `${memoryMiB} MiB`,
    walltimeMs === undefined ? '' : core.formatDuration(walltimeMs),
  ]
    .filter((part) => part !== '')
    .join(', ')
}

function siteText({ name, scheduler, host }: RunPlan['sites'][number]): string {
  return `${name} (scheduler ${scheduler}${host === undefined ? '' : ` on ${host}`})`
}

function submissionCount({ toDo, jobsPerSubmission }: RunPlan): string[] {
  if (jobsPerSubmission === undefined || toDo === 0) return []
  if (jobsPerSubmission <= 1) return [`  submissions   ${toDo} of one job each`]
  const count = Math.ceil(toDo / jobsPerSubmission)
  return [`  submissions   ${count === 1 ? `1 of all ${toDo} jobs` : `${count} of up to ${jobsPerSubmission} jobs`}`]
}

function submissionLines({ tag, jobs, command, script, faults, warnings }: PlannedSubmission): string[] {
  const lines = [`submission of ${jobs === 1 ? `the job ${tag}` : `${jobs} jobs, the first is ${tag}`}`]
  lines.push(...faults.map((fault) => `  fault         ${fault}`), ...warnings.map((warning) => `  warning       ${warning}`))
  if (command !== '') lines.push(`  ${command}`)
  return [...lines, '--- submitted ---', ...shorten(script.replace(/\n$/, '').split('\n')), '--- end ---------']
}

/** An array has a line for each of its jobs, which may be thousands. */
function shorten(lines: readonly string[]): readonly string[] {
  const [first, last] = [40, 10]
  if (lines.length <= first + last + 1) return lines
  return [...lines.slice(0, first), `… ${lines.length - first - last} lines more; --json has them all …`, ...lines.slice(-last)]
}

function formatNumber(value: number): string {
  return value >= 100 ? String(Math.ceil(value)) : String(Math.ceil(value * 100) / 100)
}

/** What `stop` did, and what became of the jobs. */
export function formatStop({ how, jobs, status }: StoppedRun, cancelJobs: boolean): string {
  const left = status.counts.submitted + status.counts.running
  const what = {
    asked: 'The controller has stopped.',
    'taken-over': 'The controller was gone before it had ended the jobs; this command did it.',
    driven: 'Nobody drove the run.',
    idle: 'Nobody drove the run.',
  }[how]
  const fate =
    jobs === 0
      ? 'No job was in flight.'
      : cancelJobs
        ? `${jobs} ${jobs === 1 ? 'job was' : 'jobs were'} in flight and asked to end${left === 0 ? '; all have.' : `; ${left} still go on.`}`
        : `${left} ${left === 1 ? 'job goes' : 'jobs go'} on; end them with: cahier stop --cancel-jobs`
  return `${what} ${fate}\n${formatCounts(status.counts)}`
}

/** What reading results again came to. */
export function formatCollected({ valid, invalid, missing }: CollectedAgain): string {
  const lost = missing === 0 ? '' : `\nThe files of ${missing} are gone; nothing was changed there.`
  if (valid + invalid === 0) return `No result to read again.${lost}`
  const bad = invalid === 0 ? '' : `, ${invalid} invalid: cahier why latest`
  return `${valid} ${valid === 1 ? 'result' : 'results'} read${bad}${lost}${valid === 0 ? '' : '\nTables and figures of them: cahier report'}`
}

/** The difference that an edit makes: `+` is new, `=` stays, `-` is set aside. */
export function formatChange({ added, kept, removed, applied, counts }: SweepChange): string {
  const lines = [`+${added} =${kept} -${removed} work items`]
  lines.push(applied ? `applied: ${formatCounts(counts)}` : added + removed === 0 ? 'nothing to change' : 'not applied: add --apply')
  return lines.join('\n')
}

export function formatRepair({ repaired, events, salvaged, copy, dropped }: RepairReport): string {
  if (!repaired) return `The journal is whole: ${events} events. Nothing was changed.`
  return [
    `The journal has ${events} events now; ${salvaged} of them stood after the damage.`,
    ...dropped.map((part) => `  lost: ${part.bytes} bytes at ${part.offset}: ${part.reason}`),
    `  as it was: ${copy}`,
  ].join('\n')
}
