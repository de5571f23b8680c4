import type { AskedItem, ItemReport, SchedulerWords } from '@cahier/core'
import type { Core } from './base-command.js'

/** The words of the scheduler, each line marked, and where there are more of them. */
export function formatWords({ text, file, isOfGroup }: SchedulerWords): string {
  const title = `the scheduler wrote${isOfGroup ? ', of all jobs that were submitted together' : ''} (${file}):`
  return [title, ...text.split('\n').map((line) => `  | ${line}`)].join('\n')
}

/** What the queue said a moment ago. */
export function formatAsked(asked: AskedItem | undefined, core: Pick<Core, 'formatDate'>): string {
  if (asked === undefined) return 'the queue was not asked: there is no job'
  const { nativeId, site, line } = asked
  if (line === undefined) return `the queue of ${site} does not show the job ${nativeId} (any more)`
  const { rawState, reason, advice, queue, host, startedAt, elements } = line
  const facts = [
    ...(queue === undefined ? [] : [`queue ${queue}`]),
    ...(host === undefined ? [] : [`on ${host}`]),
    ...(startedAt === undefined ? [] : [`since ${core.formatDate(startedAt)}`]),
    ...(elements > 1 ? [`with ${elements - 1} others`] : []),
  ]
  const why = reason === undefined || reason === 'None' ? '' : ` (${reason})`
  const said = `the queue of ${site} says now of ${line.nativeId}: ${rawState}${why}${facts.length === 0 ? '' : `, ${facts.join(', ')}`}`
  return advice === undefined ? said : `${said}\n  ${advice}`
}

/** What a person would do next. @param asked - the queue was asked already */
export function adviceFor({ id, isStage, state, attempts, detail }: ItemReport, asked: boolean): string[] {
  const last = attempts.at(-1)
  if (state === 'submitted' || state === 'running') return asked ? [] : [`cahier why ${id} --ask`]
  if (last === undefined || (state !== 'failed' && state !== 'invalid')) return []
  // A stage is tried again with the work items that wait for it.
  const again = `cahier retry${isStage ? '' : ` ${id}`}, then cahier run`
  switch (last.outcome) {
    case 'timed-out':
      return [`Ask for more time (job.resources.walltime), then ${again}`]
    case 'out-of-memory':
      return [`Ask for more memory (job.resources.memory), then ${again}`]
    case 'upstream-failed':
      return [`Mend what it waited for first: ${stageIn(detail) ?? 'cahier status names what failed'}; then ${again}`]
    case 'not-submitted':
      return [
        `Mend what the scheduler refused${last.site === undefined ? '' : `, see what there is: cahier sites check ${last.site}`}; then ${again}`,
      ]
    case 'lost':
      return [`Look into ${last.directory}: what the job wrote is there, its end is not; then ${again}`]
    case 'killed':
    case 'canceled':
      return [again]
    default:
      return [`Mend it, then ${again}`]
  }
}

/** The stage that did not let an item begin, as `why` takes it. */
function stageIn(detail: string): string | undefined {
  const [, stage] = /^not run: (prepare:\S+) failed/.exec(detail) ?? []
  return stage === undefined ? undefined : `cahier why ${stage} tells more`
}
