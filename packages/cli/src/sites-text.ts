import type { ListedSite, QueueFacts, SiteFinding, SiteReport } from '@cahier/core'
import type { Core } from './base-command.js'
import { paint } from './style.js'
import { formatFilledTable, wrapText } from './table.js'

const MARKS = { ok: ['✓', 'green'], warning: ['!', 'yellow'], failed: ['✗', 'red'] } as const

/** The sites of a configuration. @param home - a path below it is shown with ~ */
export function formatSites(sites: readonly ListedSite[], home: string, width?: number): string {
  const rows = sites.map(({ name, host, scheduler, queue, account, isDefault, file }) => [
    `${name}${isDefault ? ' *' : ''}`,
    host ?? '(this machine)',
    scheduler,
    queue ?? '',
    account ?? '',
    file === null ? '(always there)' : file.startsWith(`${home}/`) ? `~${file.slice(home.length)}` : file,
  ])
  const table = formatFilledTable(['site', 'host', 'scheduler', 'queue', 'account', 'described in'], rows, { width, shrink: [1, 5] })
  return `${table}\n* is used when none is named`
}

/** What was found at one site: a line each, the cures below what is wrong, then its queues. */
export function formatReport(report: SiteReport, core: Pick<Core, 'formatDuration'>, width?: number): string {
  const { site, host, scheduler, findings, facts } = report
  const topics = Math.max(...findings.map(({ topic }) => topic.length), 0)
  const lines = [`${site}: scheduler ${scheduler}${host === undefined ? '' : ` on ${host}`}`]
  for (const finding of findings) lines.push(...findingLines(finding, topics, width))
  if (facts !== undefined && facts.queues.length > 0) lines.push('', indent(formatQueues(facts.queues, core, width)))
  return lines.join('\n')
}

function findingLines({ topic, verdict, text, suggestions = [] }: SiteFinding, topics: number, width: number | undefined): string[] {
  const [mark, colour] = MARKS[verdict]
  const column = topics + 6
  return [
    `  ${paint(colour, mark)} ${topic.padEnd(topics)}  ${wrapText(text, column, width)}`,
    ...suggestions.map((tip) => `${' '.repeat(column)}Try: ${wrapText(tip, column + 5, width)}`),
  ]
}

function formatQueues(queues: readonly QueueFacts[], core: Pick<Core, 'formatDuration'>, width: number | undefined): string {
  const rows = queues.map((queue) => [
    `${queue.name}${queue.isDefault ? ' *' : ''}`,
    queue.isUp ? 'up' : 'down',
    `${queue.nodesUp} of ${queue.nodes}`,
    String(queue.coresPerNode),
    queue.memoryMiBPerNode === undefined ? '' : `${queue.memoryMiBPerNode} MiB`,
    queue.gpusPerNode === undefined ? '' : String(queue.gpusPerNode),
    queue.coresIdle === undefined ? '' : String(queue.coresIdle),
    queue.maxWalltimeMs === undefined ? 'no limit' : core.formatDuration(queue.maxWalltimeMs),
  ])
  const heads = ['queue', 'state', 'nodes up', 'cores', 'memory', 'GPUs', 'idle cores', 'walltime']
  return formatFilledTable(heads, rows, { width: width === undefined ? undefined : width - 2, shrink: [0] })
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ')
}
