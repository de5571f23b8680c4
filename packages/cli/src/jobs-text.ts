import { relative } from 'node:path'
import type { OrderedJob, ShownJob, SiteJobs, SubmittedSiteJob } from '@cahier/core'
import type { Core } from './base-command.js'
import { readError } from './error-text.js'
import { paint } from './style.js'
import { formatFilledTable } from './table.js'

/** A path as one types it from here. */
function nearPath(path: string): string {
  const near = relative('', path)
  return near.startsWith('..') ? path : near || '.'
}

/** What was submitted, and how to go on with it. */
export function formatSubmitted(job: SubmittedSiteJob, core: Pick<Core, 'shellQuote'>): string {
  const { nativeId, site, scheduler, directory, siteDirectory, host, found } = job
  const near = nearPath(directory)
  return [
    `${found ? 'Found' : 'Submitted'} job ${nativeId} on ${site} (scheduler ${scheduler})`,
    `  directory  ${near}`,
    ...(siteDirectory === directory ? [] : [`${`  on ${site}`.padEnd(11)}  ${siteDirectory}`]),
    `  output     cahier jobs logs ${core.shellQuote(near)}`,
    ...(host === undefined
      ? []
      : [
          `  files      cahier get ${core.shellQuote(`${siteDirectory}/*`)} -w ${core.shellQuote(host)} --site ${core.shellQuote(site)} --to ${core.shellQuote(near)}`,
        ]),
    `  end it     cahier jobs cancel ${core.shellQuote(near)}`,
  ].join('\n')
}

export interface JobListOptions {
  /** Also what has ended and is still shown. */
  readonly all: boolean
  readonly width?: number | undefined
}

/** The queues of sites, one below the other; the name of a site only where there are several. */
export function formatJobs(sites: readonly SiteJobs[], core: Pick<Core, 'formatDate'>, options: JobListOptions): string {
  return sites
    .map((site) => {
      const { width } = options
      const inner = sites.length === 1 || width === undefined ? width : width - 2
      const text = site.error === undefined ? formatQueue(site.jobs, core, { ...options, width: inner }) : formatFault(site.error)
      if (sites.length === 1) return text
      return `${site.site}: scheduler ${site.scheduler}${site.host === undefined ? '' : ` on ${site.host}`}\n${text.replaceAll(/^(?=.)/gm, '  ')}`
    })
    .join('\n\n')
}

function formatQueue(jobs: readonly ShownJob[], core: Pick<Core, 'formatDate'>, { all, width }: JobListOptions): string {
  const shown = all ? jobs : jobs.filter(({ state }) => state !== 'ended')
  const ended = jobs.length - shown.length
  const more = ended === 0 ? '' : `${ended} ${ended === 1 ? 'job has' : 'jobs have'} ended: --all shows them`
  if (shown.length === 0) return more === '' ? 'no jobs' : `no jobs; ${more}`
  const rows = shown.map((job) => [
    job.elements > 1 ? `${job.nativeId} (${job.elements})` : job.nativeId,
    job.name,
    job.rawState,
    job.reason === undefined || job.reason === 'None' ? '' : job.reason,
    job.queue ?? '',
    timeOf(job, core),
    ownerOf(job),
  ])
  const table = formatFilledTable(['id', 'name', 'state', 'reason', 'queue', 'time', 'from'], rows, { width, shrink: [1, 3, 6] })
  return [table, ...advices(shown), ...(more === '' ? [] : [more])].join('\n')
}

/** What to do about jobs that wait for somebody, once for each trouble. */
function advices(jobs: readonly ShownJob[]): string[] {
  const lines = jobs.flatMap(({ rawState, reason, advice }) => (advice === undefined ? [] : [`${reason ?? rawState}: ${advice}`]))
  return [...new Set(lines)]
}

/** The moment that counts for its state. */
function timeOf({ state, submittedAt, startedAt, endedAt }: ShownJob, core: Pick<Core, 'formatDate'>): string {
  if (state === 'ended') return endedAt === undefined ? '' : `ended ${shortDate(endedAt, core)}`
  if (startedAt !== undefined && state !== 'pending' && state !== 'held') return `since ${shortDate(startedAt, core)}`
  return submittedAt === undefined ? '' : `submitted ${shortDate(submittedAt, core)}`
}

/** Without its day when that is today. */
function shortDate(at: number, core: Pick<Core, 'formatDate'>): string {
  const [day, time = ''] = core.formatDate(at).split(' ')
  const [today] = core.formatDate(Date.now()).split(' ')
  return day === today ? time : `${day} ${time}`
}

function ownerOf({ campaign, directory }: ShownJob): string {
  if (campaign === undefined) return directory === undefined ? '' : nearPath(directory)
  return directory === undefined ? `campaign ${campaign}` : `campaign ${campaign}, ${nearPath(directory)}`
}

function formatFault(error: unknown): string {
  const { code, message, suggestions } = readError(error)
  return [`${paint('red', '✗')} ${code ?? 'Error'}: ${message}`, ...suggestions.map((tip) => `  Try: ${tip}`)].join('\n')
}

const WORDS = {
  cancel: { done: 'has ended', asked: 'was asked to end' },
  hold: { done: 'is held', asked: 'was asked to wait' },
  release: { done: 'may run', asked: 'was let go' },
  requeue: { done: 'is in the queue again', asked: 'was put back' },
} as const

/** What became of each job that was named, a line each. */
export function formatOrdered(order: keyof typeof WORDS, jobs: readonly OrderedJob[]): string {
  const ids = jobs.map(({ job, nativeId }) => (nativeId === null || nativeId === job ? job : `${job} (${nativeId})`))
  const wide = Math.max(...ids.map((id) => id.length), 0)
  return jobs
    .map(({ nativeId, outcome, seen }, index) => {
      const still = nativeId?.includes('/')
        ? 'when its turn in the pack comes, it is passed over'
        : `the queue still says ${seen ?? 'nothing'}`
      const words = {
        done: `${WORDS[order].done}${seen === null ? '' : `: ${seen}`}`,
        asked: `${WORDS[order].asked}; ${still}${order === 'hold' ? ': only what waits can be held' : ''}`,
        'was-ended': `had ended before${seen === null ? '' : `: ${seen}`}`,
        'not-known': 'is not known: the queue does not show it',
      }[outcome]
      return `${(ids[index] ?? '').padEnd(wide)}  ${words}`
    })
    .join('\n')
}
