#!/usr/bin/env node
/**
 * npm run quickstart [-- --directory DIR]
 *
 * From a fresh clone to a figure, with nothing but Node and npm: installs, builds, runs the convection campaign through the
 * real command line, and says where the report is. Run again, it goes on where it was.
 */
import { existsSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { build, cahier, checkNode, install, root, run, seconds } from './steps.mjs'

checkNode()
const { values } = parseArgs({ options: { directory: { type: 'string', default: join(root, 'runs/convection') } } })
const directory = resolve(values.directory)
const began = performance.now()

/** @param {string} title @param {string} advice @param {() => Promise<{ ok: boolean, detail: string }>} action */
async function step(title, advice, action) {
  process.stdout.write(`\n== ${title}\n`)
  const start = performance.now()
  const { ok, detail } = await action()
  if (ok) return process.stdout.write(`   ${seconds(performance.now() - start)}\n`)
  process.stderr.write(`\nquickstart: "${title}" failed (${detail}).\n${advice}\n`)
  process.exit(1)
}

await step('install the dependencies', 'npm printed the reason above; it needs its registry the first time.', install)
await step('build', 'The compiler printed the reason above. A clone without changes must build: please report it.', build)
await step(
  'run the campaign examples/convection',
  `What is done is kept: run the same command again to go on. "node packages/cli/bin/run.js status ${directory}" says where it stands.`,
  () => run([process.execPath, cahier, 'run', join(root, 'examples/convection/campaign.ts'), '--dir', directory]),
)

const report = join(directory, 'report.html')
if (!existsSync(report)) {
  process.stderr.write(`quickstart: the campaign ended, and ${report} is not there\n`)
  process.exit(1)
}
process.stdout.write(`
Done in ${seconds(performance.now() - began)}. Open this file in a browser:
  ${report}
The table for other programs: ${relative(process.cwd(), join(directory, 'results.csv'))}
What was run, and why: examples/convection/README.md
`)
