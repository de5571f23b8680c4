import { resolve } from 'node:path'
import { factorNames } from '../../engine/check-campaign.js'
import type { CampaignSpec } from '../../model/campaign.js'
import type { Combination } from '../../model/combination.js'
import type { Space } from '../../model/space.js'
import { columnsOf, tableRows, tableToCsv, tableToJsonl } from '../../report/table.js'
import { writeFileAtomic } from '../../util/atomic-file.js'
import { campaignOfRun, type OpenRun, openRun } from './open-run.js'
import { fieldsOf, type ReportedCampaign, recordsOf, type WrittenReport, writeRunReport } from './report.js'

/** Writes tables, figures and report of a run again, with the figures and the analysis that the campaign file has now. */
export async function writeReport(directory: string): Promise<WrittenReport> {
  await using run = await openRun(directory, { readOnly: true })
  return await writeRunReport(run, await reportedCampaign(run), Date.now())
}

export interface ExportOptions {
  readonly format: 'csv' | 'jsonl'
  /** A file; default: nothing is written, the text is returned. */
  readonly to?: string | undefined
}

/** The tidy table: one row per attempt that counts. */
export async function exportResults(
  directory: string,
  { format, to }: ExportOptions,
): Promise<{ readonly rows: number; readonly file: string | undefined; readonly text: string }> {
  await using run = await openRun(directory, { readOnly: true })
  const campaign = await reportedCampaign(run)
  const records = recordsOf(run)
  const columns = columnsOf(records, { factors: campaign.factors, results: fieldsOf(campaign.spec).map((field) => field.name) })
  const rows = tableRows(records, columns)
  const text = format === 'csv' ? tableToCsv(rows, columns.all) : tableToJsonl(rows)
  const file = to === undefined ? undefined : resolve(to)
  if (file !== undefined) await writeFileAtomic(file, text)
  return { rows: records.length, file, text }
}

async function reportedCampaign(run: OpenRun): Promise<ReportedCampaign> {
  const { campaign, manifest } = await campaignOfRun(run)
  const { items } = run.state
  const factors = items === undefined ? [] : factorNames(combinationsOf(items)).all
  const name = run.state.campaign?.name ?? ''
  if (campaign !== undefined) return { name, factors, spec: campaign.spec }
  // Defined by a program: what the manifest could keep of it.
  const data = (manifest?.campaign ?? {}) as Partial<CampaignSpec>
  return {
    name,
    factors,
    spec: {
      description: data.description,
      results: undefined,
      collect: {},
      report: data.report ?? [],
      analyse: undefined,
    },
  }
}

function combinationsOf(items: NonNullable<OpenRun['state']['items']>): Space<Combination> {
  return {
    size: items.size,
    at: (index) => items.at(index).combination,
    indexOf: () => -1,
    definition: items.definition,
    *[Symbol.iterator]() {
      for (const item of items) yield item.combination
    },
  }
}
