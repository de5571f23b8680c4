#!/usr/bin/env node
/**
 * npm run bench -- <name> [--repeat N] [--parts A,B] [--megabytes N] [--seed N] [--json]
 *
 * Measures against peers side by side and prints ratios. Without a name: lists what there is. A goal that is missed is shown
 * and does not fail: these are measures, not tests. Parts, sizes and seeds are for benches that have such.
 */
import { list, load, readCommandLine } from './harness.mjs'

const { name, known, json, repeat, ...flags } = readCommandLine('bench', ['repeat', 'megabytes', 'seed'], ['measure.mjs'], ['parts'])
if (name === undefined) {
  await list('bench', known, json)
} else {
  const bench = await load('bench', name)
  const log = (line) => process.stderr.write(`${line}\n`)
  const rounds = Math.max(1, repeat ?? bench.rounds ?? 5)
  log(`${name}: ${bench.what} (${rounds} rounds, medians)`)
  const { rows } = await bench.default({ ...flags, repeat: rounds, log })
  const text = (value) => (value === null || value === undefined ? '-' : String(value))
  const table = [['what', 'ours', 'peer', 'ratio', 'goal', 'met']].concat(
    rows.map((row) => [
      row.what,
      text(row.ours),
      text(row.peer),
      text(row.ratio),
      text(row.goal),
      row.met === null ? '-' : row.met ? 'yes' : 'NO',
    ]),
  )
  const widths = table[0].map((_, column) => Math.max(...table.map((line) => line[column].length)))
  for (const line of table)
    process.stdout.write(
      `${line
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd()}\n`,
    )
  if (json) process.stdout.write(`${JSON.stringify({ name, rows })}\n`)
}
