import type { FigureSpec, ResultRow } from '../model/campaign.js'
import type { ItemReport } from '../model/run.js'
import { renderLineFigure } from './figure/line-figure.js'
import { renderRegimeFigure } from './figure/regime-figure.js'
import { escapeText, px } from './figure/svg.js'
import { REPORT_SCRIPT, REPORT_STYLE } from './html-style.js'
import { resultTables } from './html-tables.js'
import { cellText, columnsOf, tableRows } from './table.js'
import type { FigureMeta, ReportInput, ReportProvenance } from './types.js'

/** A figure of the report, drawn. */
export interface DrawnFigure {
  /** File name, `1-seconds-by-cores.svg`. */
  readonly name: string
  readonly svg: string
}

const MOST_FAILURES = 50

/** The figures that a campaign asks for, in its order. */
export function drawFigures(
  rows: readonly ResultRow[],
  input: Pick<ReportInput, 'figures' | 'factors' | 'results'>,
): readonly DrawnFigure[] {
  const units = Object.fromEntries(input.results.filter(({ unit }) => unit !== undefined).map(({ name, unit }) => [name, unit!]))
  const meta: FigureMeta = { units, factors: input.factors }
  return input.figures.map((spec, index) => ({ name: `${index + 1}-${slugOfFigure(spec)}.svg`, svg: drawFigure(rows, spec, meta) }))
}

export function drawFigure(rows: Iterable<ResultRow>, spec: FigureSpec, meta: FigureMeta = {}): string {
  return spec.kind === 'line' ? renderLineFigure(rows, spec, meta) : renderRegimeFigure(rows, spec, meta)
}

function slugOfFigure(spec: FigureSpec): string {
  const words = spec.kind === 'line' ? [spec.y, 'by', spec.x] : [spec.outcome, 'by', spec.x, spec.y]
  return (
    words
      .join('-')
      .replaceAll(/[^A-Za-z0-9_-]+/g, '')
      .slice(0, 80) || spec.kind
  )
}

/**
 * The report of a run as one HTML page that needs nothing else: no network, no other file. Every text of the user is
 * escaped; the page forbids itself to load anything.
 *
 * @param drawn - figures and rows when they were made already
 */
export function renderReport(
  input: ReportInput,
  drawn?: { readonly rows: readonly ResultRow[]; readonly figures: readonly DrawnFigure[] },
): string {
  const rows = drawn?.rows ?? [
    ...tableRows(input.records, columnsOf(input.records, { factors: input.factors, results: input.results.map(({ name }) => name) })),
  ]
  const figures = drawn?.figures ?? drawFigures(rows, input)
  const { campaign } = input
  const title = `${campaign.name}: report`
  const body = [
    `<header><h1>${escapeText(campaign.name)}</h1>`,
    campaign.description === undefined ? '' : `<p class="lead">${escapeText(campaign.description)}</p>`,
    `<p class="muted">${escapeText(whenText(input))}</p>`,
    counts(input),
    '</header>',
    section('Findings', input.findings.map(finding)),
    section('Figures', figures.map(figure)),
    section('Results', [results(input, rows)]),
    section(failureTitle(input), failures(input)),
    section('Notes', notes(input.notes)),
    section('Provenance', [provenance(input.provenance, input)]),
    `<footer>Made by Cahier${input.provenance.cahierVersion === undefined ? '' : ` ${escapeText(input.provenance.cahierVersion)}`} on ${timeText(input.generatedAt)}.</footer>`,
  ]
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${escapeText(title)}</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
<main>
${body.filter((part) => part !== '').join('\n')}
</main>
<script>${REPORT_SCRIPT}</script>
</body>
</html>
`
}

function section(title: string, parts: readonly string[]): string {
  const content = parts.filter((part) => part !== '').join('\n')
  return content === '' ? '' : `<section>\n<h2>${escapeText(title)}</h2>\n${content}\n</section>`
}

const STATES = ['done', 'running', 'submitted', 'failed', 'invalid', 'todo'] as const

function counts({ counts: all }: ReportInput): string {
  const present = STATES.filter((state) => all[state] > 0)
  const share = (state: (typeof STATES)[number]) => px((100 * all[state]) / Math.max(1, all.total))
  const bar = present
    .map((state) => `<span class="${state}" style="width:${share(state)}%" title="${state}: ${all[state]}"></span>`)
    .join('')
  const items = present
    .map((state) => `<li><span class="dot ${state}"></span><b>${all[state]}</b> ${state === 'todo' ? 'to do' : state}</li>`)
    .join('')
  const orphaned = all.orphaned > 0 ? `<li class="muted"><b>${all.orphaned}</b> done before and no longer asked for</li>` : ''
  return `<div class="bar" role="img" aria-label="${all.done} of ${all.total} done">${bar}</div>\n<ul class="counts">${items}<li class="muted">of <b>${all.total}</b></li>${orphaned}</ul>`
}

function finding({ title, text, ok }: ReportInput['findings'][number]): string {
  const [style, sign, spoken] = ok === undefined ? ['', '•', 'note'] : ok ? ['ok', '✓', 'as expected'] : ['not-ok', '✗', 'not as expected']
  return `<div class="finding ${style}"><span class="sign" role="img" aria-label="${spoken}">${sign}</span><div><h3>${escapeText(title)}</h3><p>${escapeText(text)}</p></div></div>`
}

function figure({ name, svg }: DrawnFigure): string {
  return `<figure>\n${svg}<figcaption><a href="figures/${escapeText(encodeURIComponent(name))}">figures/${escapeText(name)}</a></figcaption>\n</figure>`
}

function results(input: ReportInput, rows: readonly ResultRow[]): string {
  const links = 'Every measurement is in <a href="results.csv">results.csv</a> and <a href="results.jsonl">results.jsonl</a>, one row each.'
  if (rows.length === 0) return `<p>No results yet.</p>`
  return `<p>${links}</p>\n${resultTables(input, rows)}`
}

// ---- failures, notes, provenance

function failureTitle({ counts: all, failures: items }: ReportInput): string {
  const total = Math.max(items.length, all.failed + all.invalid)
  return total === 1 ? 'One failure' : `${total} failures`
}

function failures(input: ReportInput): readonly string[] {
  const shown = input.failures.slice(0, MOST_FAILURES).map(failure)
  const total = Math.max(input.failures.length, input.counts.failed + input.counts.invalid)
  if (shown.length > 0 && total > shown.length)
    shown.push(`<p class="muted">${total - shown.length} more: <code>cahier why</code> shows each.</p>`)
  return shown
}

function failure(item: ItemReport): string {
  const place = Object.entries(item.combination).map(([name, value]) => `${name} ${cellText(value)}`)
  const attempts = item.attempts.length > 1 ? `, ${item.attempts.length} attempts` : ''
  const tail = item.tail === undefined || item.tail.trim() === '' ? '' : `<pre>${escapeText(item.tail.trimEnd())}</pre>`
  const head = escapeText([...place, `repetition ${item.repetition}`].join(', ').slice(0, 2000))
  return `<div class="failure"><h3>${head}</h3><p><span class="muted">${escapeText(item.id)}: ${item.state}${attempts}.</span> ${escapeText(item.detail)}</p>${tail}</div>`
}

function notes(text: string): readonly string[] {
  const paragraphs = text.split(/\r?\n\s*\r?\n/).filter((paragraph) => paragraph.trim() !== '')
  return paragraphs.map((paragraph) => `<p class="note">${escapeText(paragraph.trim())}</p>`)
}

function provenance(from: ReportProvenance, { counts: all }: ReportInput): string {
  const git =
    from.gitCommit === undefined ? undefined : `${from.gitCommit}${from.gitDirty === true ? ', with changes that are in no commit' : ''}`
  const lines: readonly (readonly [string, string | undefined])[] = [
    ['Command', from.command],
    ['Directory', from.directory],
    ['Started', from.startedAt === undefined ? undefined : timeText(from.startedAt)],
    ['Ended', from.endedAt === undefined ? undefined : timeText(from.endedAt)],
    ['Host', from.host],
    ['Site', from.site],
    ['Scheduler', from.scheduler],
    ['Git commit', git],
    ['Cahier', from.cahierVersion],
    ['Node', from.nodeVersion],
    ['Work items', String(all.total)],
    ...(from.more ?? []),
  ]
  const shown = lines.filter((line): line is readonly [string, string] => line[1] !== undefined && line[1] !== '')
  return `<dl>${shown.map(([name, value]) => `<dt>${escapeText(name)}</dt><dd>${escapeText(value)}</dd>`).join('\n')}</dl>`
}

function whenText({ provenance: { startedAt, endedAt, host, site }, records }: ReportInput): string {
  const parts = [`${records.length} ${records.length === 1 ? 'result' : 'results'}`]
  if (startedAt !== undefined) parts.push(`started ${timeText(startedAt)}`)
  if (startedAt !== undefined && endedAt !== undefined && endedAt >= startedAt) parts.push(`took ${spanText(endedAt - startedAt)}`)
  const where = site ?? host
  if (where !== undefined) parts.push(`on ${where}`)
  return parts.join(' · ')
}

/** In UTC, so that the same run gives the same page everywhere. */
function timeText(ms: number): string {
  return Number.isFinite(ms) ? `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC` : 'an unknown date'
}

function spanText(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`
}
