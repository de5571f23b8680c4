import { resolve } from 'node:path'
import { factorNames } from '../../engine/check-campaign.js'
import type { CampaignSpec, ResultRow } from '../../model/campaign.js'
import type { Combination } from '../../model/combination.js'
import type { Space } from '../../model/space.js'
import { columnsOf, tableRows, tableToCsv, tableToJsonl } from '../../report/table.js'
import { writeTable } from '../../report/write-report.js'
import { storeError } from '../../store/store-error.js'
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

/**
 * The tidy table: one row per attempt that counts.
 *
 * @returns `text` is empty when the table went to a file: it may be larger than a text can be
 * @throws StoreError `E_STORE_FULL`, `E_STORE_IO` when the file cannot be written
 */
export async function exportResults(
  directory: string,
  { format, to }: ExportOptions,
): Promise<{ readonly rows: number; readonly file: string | undefined; readonly text: string }> {
  await using run = await openRun(directory, { readOnly: true })
  const campaign = await reportedCampaign(run)
  const records = recordsOf(run)
  const columns = columnsOf(records, { factors: campaign.factors, results: fieldsOf(campaign.spec).map((field) => field.name) })
  const rows = tableRows(records, columns)
  if (to === undefined) {
    const text = format === 'csv' ? tableToCsv(rows, columns.all) : tableToJsonl(rows)
    return { rows: records.length, file: undefined, text }
  }
  const file = resolve(to)
  try {
    await writeTable(file, format, rows, columns.all)
  } catch (error) {
    throw storeError(error, 'write the table to', file)
  }
  return { rows: records.length, file, text: '' }
}

/** The results of a run as rows, for tables and statistics. */
export interface RunResults {
  /** Columns of `rows` that are factors, in order. */
  readonly factors: readonly string[]
  /** Columns of `rows` that are results, in order. */
  readonly results: readonly string[]
  readonly rows: readonly ResultRow[]
}

/** One row per attempt that counts, from the journal alone: the campaign file is not read. */
export async function readResults(directory: string): Promise<RunResults> {
  await using run = await openRun(directory, { readOnly: true })
  const records = recordsOf(run)
  const columns = columnsOf(records)
  return { factors: columns.factors, results: columns.results, rows: [...tableRows(records, columns)] }
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
