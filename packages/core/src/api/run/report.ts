import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RunManifest, readManifest } from '../../engine/manifest.js'
import { itemId } from '../../engine/submit.js'
import { messageOf } from '../../errors.js'
import type { CampaignSpec, Finding, ResultRow } from '../../model/campaign.js'
import type { ResultRecord } from '../../model/result.js'
import { resultFieldsOf } from '../../report/result-schema.js'
import { columnsOf, tableRows } from '../../report/table.js'
import type { ReportInput, ResultField } from '../../report/types.js'
import { writeReportFiles } from '../../report/write-report.js'
import { reportItem } from './items.js'
import type { OpenRun } from './open-run.js'

/** What a report needs of a campaign. */
export interface ReportedCampaign {
  readonly name: string
  readonly factors: readonly string[]
  readonly spec: Pick<CampaignSpec, 'description' | 'results' | 'collect' | 'report' | 'analyse'>
}

export interface WrittenReport {
  /** `report.html`; `undefined` when there is neither a result nor a failure yet. */
  readonly file: string | undefined
  readonly figures: readonly string[]
  readonly tables: readonly string[]
  readonly findings: readonly Finding[]
}

export const NO_REPORT: WrittenReport = { file: undefined, figures: [], tables: [], findings: [] }

/** Records of everything that is done, in order of the sweep. */
export function recordsOf(run: OpenRun): ResultRecord[] {
  return [...run.state.records(itemId)]
}

/** Writes tables, figures and `report.html` of what is done so far. */
export async function writeRunReport(run: OpenRun, campaign: ReportedCampaign, now: number): Promise<WrittenReport> {
  const records = recordsOf(run)
  const failures = run.state.recentFailures(50).map((index) => reportItem(run, index))
  if (records.length === 0 && failures.length === 0) return NO_REPORT
  const columns = columnsOf(records, { factors: campaign.factors, results: fieldsOf(campaign.spec).map((field) => field.name) })
  const findings = records.length === 0 ? [] : await analyse(campaign.spec, [...tableRows(records, columns)])
  const manifest = readManifest(run.directory)
  const input: ReportInput = {
    campaign: { name: campaign.name, description: campaign.spec.description },
    factors: campaign.factors,
    results: fieldsOf(campaign.spec),
    records,
    counts: run.state.counts(),
    figures: campaign.spec.report,
    findings,
    failures,
    notes: readNotes(run.directory),
    provenance: {
      ...(manifest === undefined ? {} : provenanceOf(manifest)),
      directory: run.directory,
      startedAt: run.state.startedAt,
      endedAt: run.state.closedAt,
    },
    generatedAt: now,
  }
  const written = await writeReportFiles(run.directory, input)
  return { ...written, findings }
}

/** The campaign's own analysis; one that fails becomes a finding, the report is written all the same. */
async function analyse(spec: ReportedCampaign['spec'], rows: readonly ResultRow[]): Promise<readonly Finding[]> {
  if (spec.analyse === undefined) return []
  try {
    const findings: unknown = await spec.analyse(rows)
    if (Array.isArray(findings) && findings.every(isFinding)) return findings
    throw new TypeError('it returned something else than a list of { title, text }')
  } catch (error) {
    return [{ title: 'The analysis failed', text: `analyse of ${rows.length} rows: ${messageOf(error)}`, ok: false }]
  }
}

function isFinding(value: unknown): value is Finding {
  const { title, text } = (value ?? {}) as { title?: unknown; text?: unknown }
  return typeof title === 'string' && typeof text === 'string'
}

export function fieldsOf(spec: ReportedCampaign['spec']): readonly ResultField[] {
  return spec.results === undefined ? Object.keys(spec.collect).map((name) => ({ name })) : resultFieldsOf(spec.results)
}

function provenanceOf(manifest: RunManifest): ReportInput['provenance'] {
  return {
    command: manifest.commandLine.join(' '),
    cahierVersion: manifest.versions.cahier,
    nodeVersion: manifest.versions.node,
    host: String(manifest.machine['host'] ?? ''),
    site: (manifest.sites ?? [manifest.site]).map(({ name }) => name).join(', '),
    scheduler: [...new Set((manifest.sites ?? [manifest.site]).map(({ scheduler }) => scheduler))].join(', '),
    gitCommit: manifest.git?.commit ?? undefined,
    gitDirty: manifest.git === null ? undefined : manifest.git.changes.length > 0,
  }
}

function readNotes(directory: string): string {
  try {
    return readFileSync(join(directory, 'notes.md'), 'utf8')
  } catch {
    return ''
  }
}
