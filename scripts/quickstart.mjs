#!/usr/bin/env node
/**
 * npm run quickstart [-- --directory DIR]
 *
 * From a fresh clone to a figure, with nothing but Node and npm: installs, builds, runs the convection campaign through the
 * real command line, and ends with the table, the two brackets and the place of the report. Run again, it goes on where it was.
 */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { build, cahier, checkNode, install, root, run, seconds } from './steps.mjs'

checkNode()
const { values } = parseArgs({ options: { directory: { type: 'string', default: join(root, 'runs/convection') } } })
const directory = resolve(values.directory)
const began = performance.now()

/** @param {string} title @param {string} advice @param {() => Promise<{ ok: boolean, detail: string, output: string }>} action */
async function step(title, advice, action) {
  process.stdout.write(`\n== ${title}\n`)
  const start = performance.now()
  const { ok, detail, output } = await action()
  if (!ok) fail(`"${title}" failed (${detail}).\n${output}${advice}`)
  process.stdout.write(`   ${seconds(performance.now() - start)}\n`)
  return output
}

/** @param {string} message @returns {never} */
function fail(message) {
  process.stderr.write(`\nquickstart: ${message}\n`)
  process.exit(1)
}

/** Text in columns, numbers to the right. @param {readonly (readonly string[])[]} lines */
function columns(lines) {
  const widths = lines[0].map((_, at) => Math.max(...lines.map((line) => line[at].length)))
  return lines.map((line) => `  ${line.map((cell, at) => cell.padStart(widths[at])).join('   ')}\n`).join('')
}

/** One line for each Ra at this wave number. @param {readonly Record<string, any>[]} rows */
function table(rows, boundary, k) {
  const here = rows.filter((row) => row.boundary === boundary && row.k === k)
  const lines = [...new Set(here.map((row) => row.Ra))]
    .sort((a, b) => a - b)
    .map((ra) => {
      const at = here.filter((row) => row.Ra === ra)
      const rate = (pr) => at.find((row) => row.Pr === pr)?.growthRate.toFixed(4) ?? '-'
      const times = at.map((row) => row.seconds * 1000)
      const mean = times.reduce((sum, time) => sum + time, 0) / times.length
      const deviation = Math.sqrt(times.reduce((sum, time) => sum + (time - mean) ** 2, 0) / Math.max(1, times.length - 1))
      return [String(ra), rate(0.71), rate(7), `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`]
    })
  return `\n${boundary} plates, k = ${k}\n${columns([['Ra', 'growth rate, Pr = 0.71', 'Pr = 7', 'ms'], ...lines])}`
}

await step('install the dependencies', 'npm printed the reason above; it needs its registry the first time.', install)
await step('build', 'The compiler printed the reason above. A clone without changes must build: please report it.', build)
const output = await step(
  'run the campaign examples/convection',
  `What is done is kept: run the same command again to go on. "npx cahier status ${directory}" says where it stands.`,
  () =>
    run([process.execPath, cahier, 'run', join(root, 'examples/convection/campaign.ts'), '--dir', directory, '--json'], {
      keepOutput: true,
    }),
)

const summary = JSON.parse(output)
const rows = readFileSync(join(directory, 'results.jsonl'), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line))
process.stdout.write(table(rows, 'free-slip', 2.2214) + table(rows, 'no-slip', 3.117))
process.stdout.write(`\nThe layer begins to move where the growth rate changes its sign:\n`)
for (const { text } of summary.findings) process.stdout.write(`  ${text}\n`)
if (summary.findings.length !== 2 || summary.findings.some(({ ok }) => ok !== true))
  fail('the campaign did not enclose both textbook values')
process.stdout.write(`
${rows.length} results in ${seconds(performance.now() - began)}. For other programs: ${join(directory, 'results.csv')}
What was run, and why: examples/convection/README.md
Open this file in a browser:
  ${summary.reportFile ?? fail('the run wrote no report')}
`)
