#!/usr/bin/env node
/**
 * npm test: everything, in an order that fails early; no step is left out because another failed, unless it needs it.
 * The last line is `N passed, N failed` (and `, N skipped`): the tests of vitest and the steps, one each.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { build, checkNode, install, installSystemPrograms, npm, root, run, seconds, tool } from './steps.mjs'

/** What the tests must cover of packages/*\/src, in percent. What runs in a child process is not counted. */
const COVERAGE = { lines: 80, statements: 80, functions: 80, branches: 70 }
/** Tests that a machine may be unable to run, by their titles; on CI anything else that is skipped is a failure. */
const MAY_BE_SKIPPED = [/\(not as root\)/, /\(needs [^)]+\)/]
/** What root installs before the tests is no excuse there. */
const INSTALLED = /\(needs [^)]*\b(sshd?|ip|slurmctld|slurmdbd|munged|mariadbd|mpirun|rsync|taktuk|busybox)\b[^)]*\)/

checkNode()
const isCi = /^(1|true)$/i.test(process.env.CI ?? '')
const temporary = mkdtempSync(join(tmpdir(), 'cahier-test-'))
const count = { passed: 0, failed: 0, skipped: 0 }
const failures = []
const done = new Map()
const began = performance.now()

/**
 * @param {string} title
 * @param {readonly string[]} needs titles of steps without which this one says nothing
 * @param {() => Promise<{ ok: boolean, detail: string }>} action
 */
async function step(title, needs, action) {
  const missing = needs.find((name) => done.get(name) !== true)
  if (missing !== undefined) {
    process.stdout.write(`\n== ${title}: not run, it needs "${missing}"\n`)
    return finish(title, false, `not run: "${missing}" failed`)
  }
  process.stdout.write(`\n== ${title}\n`)
  const start = performance.now()
  const { ok, detail } = await action()
  process.stdout.write(`== ${title}: ${ok ? 'passed' : `FAILED (${detail})`} in ${seconds(performance.now() - start)}\n`)
  finish(title, ok, detail)
}

function finish(title, ok, detail) {
  done.set(title, ok)
  count[ok ? 'passed' : 'failed']++
  if (!ok) failures.push(`${title}: ${detail}`)
}

/** Unit, property, end-to-end and documentation tests; counts what vitest says in its JSON. */
async function tests() {
  const json = join(temporary, 'vitest.json')
  const limits = Object.entries(COVERAGE).map(([what, percent]) => `--coverage.thresholds.${what}=${percent}`)
  const result = await run([
    tool('vitest'),
    'run',
    '--coverage',
    ...limits,
    '--reporter=dot',
    '--reporter=json',
    `--outputFile.json=${json}`,
  ])
  let report
  try {
    report = JSON.parse(readFileSync(json, 'utf8'))
  } catch {
    return { ok: false, detail: `vitest left no report (${result.detail})` }
  }
  count.passed += report.numPassedTests
  count.failed += report.numFailedTests
  for (const file of report.testResults) {
    const name = relative(root, file.name)
    if (file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'))
      failures.push(`${name}: ${firstLine(file.message)}`)
    for (const test of file.assertionResults) {
      if (test.status === 'failed') failures.push(`${name}: ${test.fullName}: ${firstLine(test.failureMessages?.[0])}`)
      if (test.status === 'pending' || test.status === 'skipped' || test.status === 'todo') skip(name, test.fullName)
    }
  }
  return result.ok ? result : { ok: false, detail: 'a test failed, or too little is covered: see above' }
}

function skip(file, title) {
  count.skipped++
  const isExpected = MAY_BE_SKIPPED.some((pattern) => pattern.test(title)) && !(process.getuid?.() === 0 && INSTALLED.test(title))
  process.stdout.write(`skipped: ${file}: ${title}\n`)
  if (!isCi || isExpected) return
  count.failed++
  failures.push(`${file}: ${title}: skipped, and nothing may be skipped here`)
}

const firstLine = (text) => (text ?? 'no message').split('\n', 1)[0]
const node = (script, ...args) => run([process.execPath, join(root, script), ...args])

await step('install', [], install)
await step('programs that the tests use', [], installSystemPrograms)
await step('lock file is complete', ['install'], () => run(npm('ci', '--dry-run', '--offline', '--no-fund', '--no-audit')))
await step('build', ['install'], build)
await step('format and lint (biome)', ['install'], () => run([tool('biome'), 'ci', '.']))
await step('lint with types (eslint)', ['build'], () => run([tool('eslint'), '.']))
await step('import layers (dependency-cruiser)', ['install'], () =>
  run([tool('depcruise'), '--config', '.dependency-cruiser.cjs', 'packages/core/src', 'packages/cli/src']),
)
await step('types of tests and examples', ['build'], () => run([tool('tsc'), '-p', 'test/tsconfig.json']))
await step('generated pages are up to date', ['build'], () => node('scripts/docs.mjs', '--check'))
await step('tests', ['build'], tests)
await step('quickstart', ['build'], () => node('scripts/quickstart.mjs', '--directory', join(temporary, 'convection')))
await step('drill: kill, 5 cases', ['build'], () => node('scripts/drill.mjs', 'kill', '--cases', '5'))
await step('drill: orphans, 8 cases', ['build', 'programs that the tests use'], () =>
  node('scripts/drill.mjs', 'orphans', '--cases', '8', '--seed', '22'),
)
await step('drill: slurm, 6 cases', ['build', 'programs that the tests use'], () =>
  node('scripts/drill.mjs', 'slurm', '--cases', '6', '--seed', '875'),
)
await step('drill: chain, 4 cases', ['build', 'programs that the tests use'], () =>
  node('scripts/drill.mjs', 'chain', '--cases', '4', '--seed', '17019'),
)
rmSync(temporary, { recursive: true, force: true })

if (failures.length > 0) process.stdout.write(`\nWhat failed:\n${failures.map((line) => `  ${line}\n`).join('')}`)
process.stdout.write(`\n${seconds(performance.now() - began)}\n`)
process.stdout.write(`${count.passed} passed, ${count.failed} failed${count.skipped > 0 ? `, ${count.skipped} skipped` : ''}\n`)
process.exitCode = count.failed === 0 ? 0 : 1
