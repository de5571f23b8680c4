import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { ResultRow } from '../model/campaign.js'
import { writeFileAtomic } from '../util/atomic-file.js'
import { drawFigures, renderReport } from './html.js'
import { columnsOf, csvChunks, jsonlChunks, tableRows } from './table.js'
import type { ReportFiles, ReportInput } from './types.js'

/**
 * Writes `results.csv`, `results.jsonl`, `figures/*.svg` and `report.html` into a run directory. Each file is replaced in one
 * step, the page last, so that a reader never sees a half of one; figures of an earlier report that is no more are removed.
 *
 * @throws the system's error when the directory cannot be written
 */
export async function writeReportFiles(directory: string, input: ReportInput): Promise<ReportFiles> {
  const root = resolve(directory)
  const columns = columnsOf(input.records, { factors: input.factors, results: input.results.map(({ name }) => name) })
  const rows = [...tableRows(input.records, columns)]
  const tables = [join(root, 'results.csv'), join(root, 'results.jsonl')]
  await writeChunks(tables[0]!, csvChunks(rows, columns.all))
  await writeChunks(tables[1]!, jsonlChunks(rows))
  const drawn = drawFigures(rows, input)
  const figures = drawn.map(({ name }) => join(root, 'figures', name))
  if (drawn.length > 0) await mkdir(join(root, 'figures'), { recursive: true })
  for (const [index, { svg }] of drawn.entries()) await writeFileAtomic(figures[index]!, svg)
  await removeOthers(join(root, 'figures'), new Set(drawn.map(({ name }) => name)))
  const file = join(root, 'report.html')
  await writeFileAtomic(file, renderReport(input, { rows, figures: drawn }))
  return { file, figures, tables }
}

/** The tidy table into one file, without the whole text in memory; replaced in one step. */
export async function writeTable(
  file: string,
  format: 'csv' | 'jsonl',
  rows: Iterable<ResultRow>,
  columns?: readonly string[],
): Promise<void> {
  await writeChunks(resolve(file), format === 'csv' ? csvChunks(rows, columns) : jsonlChunks(rows))
}

async function writeChunks(file: string, chunks: Iterable<string>): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file).slice(0, 200)}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`)
  try {
    const handle = await open(temporary, 'wx', 0o666)
    try {
      for (const chunk of chunks) await handle.writeFile(chunk)
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw error
  }
}

/** Only what this module names like this: `3-seconds-by-cores.svg`. */
async function removeOthers(directory: string, keep: ReadonlySet<string>): Promise<void> {
  const names = await readdir(directory).catch(() => [])
  for (const name of names) {
    if (/^\d+-[A-Za-z0-9_-]+\.svg$/.test(name) && !keep.has(name)) await unlink(join(directory, name))
  }
}
