#!/usr/bin/env node
/**
 * npm test: everything, in an order that fails early; no step is left out because another failed, unless it needs it.
 * Short steps run beside each other. The last line is `N passed, N failed` (and `, N skipped`): the tests of vitest and the
 * steps, one each.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { build, checkNode, install, installSystemPrograms, npm, root, run, seconds, tool } from './steps.mjs'

/** What the tests must cover of packages/*\/src, in percent. What runs in a child process is not counted. */
const COVERAGE = { lines: 80, statements: 80, functions: 80, branches: 70 }
/** So many files of tests that fail may have been unlucky; more are broken. */
const FEW = 5
/** Tests that a machine may be unable to run, by their titles; on CI anything else that is skipped is a failure. */
const MAY_BE_SKIPPED = [/\(not as root\)/, /\(needs [^)]+\)/]
/** What root installs before the tests is no excuse there. */
const INSTALLED = /\(needs [^)]*\b(sshd?|ip|slurmctld|slurmdbd|munged|mariadbd|mpirun|rsync|taktuk|busybox)\b[^)]*\)/

checkNode()
const isCi = /^(1|true)$/i.test(process.env.CI ?? '')
const temporary = mkdtempSync(join(tmpdir(), 'cahier-test-'))
const count = { passed: 0, failed: 0, skipped: 0 }
const failures = []
/** Tests that failed, and passed alone. */
const unsteady = []
const done = new Map()
const began = performance.now()

/**
 * @typedef {[title: string, needs: readonly string[], action: (log?: number) => Promise<{ ok: boolean, detail: string }>]} Step
 * needs: titles of steps without which this one says nothing; log: an open file for what it writes, if not our output
 *
 * @param {Step} step
 */
async function step(...[title, needs, action]) {
  if (!isReady(title, needs)) return
  process.stdout.write(`\n== ${title}\n`)
  await timed(title, action)
}

/**
 * Steps that do not need each other, the longest first: as many at once as there are cores, and at least two, for the drills wait
 * most of the time. What a step writes is shown when it has ended.
 *
 * @param {readonly Step[]} steps
 */
async function together(...steps) {
  const waiting = [...steps]
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [title, needs, action] = next
      if (!isReady(title, needs)) continue
      const path = join(temporary, `${title.replace(/\W+/g, '-')}.log`)
      const log = openSync(path, 'a')
      const written = () => `\n== ${title}\n${readFileSync(path, 'utf8')}`
      await timed(title, () => action(log), written)
      closeSync(log)
    }
  }
  await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, lane))
}

function isReady(title, needs) {
  const missing = needs.find((name) => done.get(name) !== true)
  if (missing === undefined) return true
  process.stdout.write(`\n== ${title}: not run, it needs "${missing}"\n`)
  finish(title, false, `not run: "${missing}" failed`)
  return false
}

/** @param {() => string} [written] what the step wrote, when that was not shown yet */
async function timed(title, action, written = () => '') {
  const start = performance.now()
  const { ok, detail } = await action()
  const verdict = `${ok ? 'passed' : `FAILED (${detail})`} in ${seconds(performance.now() - start)}`
  process.stdout.write(`${written()}== ${title}: ${verdict}\n`)
  finish(title, ok, detail)
}

function finish(title, ok, detail) {
  done.set(title, ok)
  count[ok ? 'passed' : 'failed']++
  if (!ok) failures.push(`${title}: ${detail}`)
}

/** Unit, property, end-to-end and documentation tests. */
async function tests() {
  const first = await vitest('tests', '--coverage', '--coverage.reportOnFailure')
  const second = await secondLook(first)
  for (const file of first.files.map((one) => second.files.find(({ name }) => name === one.name) ?? one)) {
    for (const { name, fullName, status, failureMessages } of testsOf(file)) {
      if (status === 'passed') count.passed++
      else if (status !== 'failed') skip(name, fullName)
      else {
        count.failed++
        failures.push(`${name}: ${fullName}: ${firstLine(failureMessages[0])}`)
      }
    }
  }
  for (const message of [...first.outside, ...second.outside]) failures.push(`outside of all tests: ${firstLine(message)}`)
  if (!first.ok && !second.ok)
    return { ok: false, detail: first.files.length > 0 ? 'a test failed: see below' : `no report (${first.detail})` }
  const missing = uncovered()
  return { ok: missing === '', detail: `too little is covered: ${missing}` }
}

/**
 * @param {string} title of the report
 * @param {readonly string[]} args
 */
async function vitest(title, ...args) {
  const [json, unhandled] = ['files', 'outside'].map((what) => join(temporary, `${title}-${what}.json`))
  const reporters = ['dot', 'json', join(root, 'scripts/unhandled-reporter.mjs')].map((name) => `--reporter=${name}`)
  const { ok, detail } = await run([tool('vitest'), 'run', ...args, ...reporters, `--outputFile.json=${json}`], {
    env: { UNHANDLED_FILE: unhandled },
  })
  const outside = readJson(unhandled) ?? ['vitest did not come to its end']
  const files = readJson(json)?.testResults ?? []
  return { ok: ok && files.length > 0 && outside.length === 0, detail, files, outside }
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

/**
 * Most tests drive real programs on a machine that others use too. When few files failed, and nothing went wrong outside of tests, they
 * run once more, alone: what passes then is named at the end as a fault to be looked into. A property that was found to be false is
 * false, however often it is tried.
 *
 * @returns the files as they are now; none when nothing is to be looked at
 */
async function secondLook({ files, outside }) {
  const failed = files.filter(({ status }) => status === 'failed')
  const faults = failed.flatMap(testsOf).filter(({ status }) => status === 'failed')
  const isFalse = faults.some(({ failureMessages }) => failureMessages.some((message) => message.includes('Property failed after')))
  if (failed.length === 0 || failed.length > FEW || outside.length > 0 || isFalse) return { ok: false, files: [], outside: [] }
  process.stdout.write(`\n== a second look at ${failed.map(({ name }) => relative(root, name)).join(', ')}\n`)
  const again = await vitest('again', '--maxWorkers=1', ...failed.map(({ name }) => name))
  const passed = new Set(
    again.files.flatMap(testsOf).flatMap(({ name, fullName, status }) => (status === 'passed' ? `${name}: ${fullName}` : [])),
  )
  for (const { name, fullName, failureMessages, isFile } of faults) {
    if (passed.has(`${name}: ${fullName}`) || (isFile && again.ok)) unsteady.push(`${name}: ${fullName}: ${firstLine(failureMessages[0])}`)
  }
  return again
}

/** The tests of a file, and the file itself as one when it failed without any of them. */
function testsOf({ name: path, status, message, assertionResults }) {
  const name = relative(root, path)
  const tests = assertionResults.map((test) => ({ ...test, name }))
  if (status !== 'failed' || tests.some((test) => test.status === 'failed')) return tests
  return [...tests, { name, fullName: 'the file', status, failureMessages: [message || 'what is done before its tests'], isFile: true }]
}

/** What is covered too little, in words. */
function uncovered() {
  const total = readJson(join(root, 'coverage/coverage-summary.json'))?.total
  return Object.entries(COVERAGE)
    .map(([what, percent]) => [what, percent, total?.[what]?.pct ?? 0])
    .filter(([, percent, found]) => found < percent)
    .map(([what, , found]) => `${found} % of ${what}`)
    .join(', ')
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
/** A program whose output is shown at its end. @param {readonly string[]} command */
const program =
  (...command) =>
  (log) =>
    run(command, { log })
const node = (script, ...args) => program(process.execPath, join(root, script), ...args)
const drill = (...args) => node('scripts/drill.mjs', ...args)

await step('install', [], install)
await step('programs that the tests use', [], installSystemPrograms)
await step('build', ['install'], build)
await together(
  ['lint with types (eslint)', ['build'], program(tool('eslint'), '.')],
  ['types of tests and examples', ['build'], program(tool('tsc'), '-p', 'test/tsconfig.json')],
  [
    'import layers (dependency-cruiser)',
    ['install'],
    program(tool('depcruise'), '--config', '.dependency-cruiser.cjs', 'packages/core/src', 'packages/cli/src'),
  ],
  ['lock file is complete', ['install'], program(...npm('ci', '--dry-run', '--offline', '--no-fund', '--no-audit'))],
  ['format and lint (biome)', ['install'], program(tool('biome'), 'ci', '.')],
  ['generated pages are up to date', ['build'], node('scripts/docs.mjs', '--check')],
)
await step('tests', ['build'], tests)
await together(
  ['drill: slurm, 6 cases', ['build', 'programs that the tests use'], drill('slurm', '--cases', '6', '--seed', '875')],
  ['quickstart', ['build'], node('scripts/quickstart.mjs', '--directory', join(temporary, 'convection'))],
  ['drill: kill, 5 cases', ['build'], drill('kill', '--cases', '5')],
  ['drill: orphans, 8 cases', ['build', 'programs that the tests use'], drill('orphans', '--cases', '8', '--seed', '22')],
  ['drill: chain, 4 cases', ['build', 'programs that the tests use'], drill('chain', '--cases', '4', '--seed', '76875')],
)
rmSync(temporary, { recursive: true, force: true })

if (failures.length > 0) process.stdout.write(`\nWhat failed:\n${failures.map((line) => `  ${line}\n`).join('')}`)
if (unsteady.length > 0) {
  process.stdout.write('\nWhat failed, and passed alone (a fault all the same: of the test, or of what it tests):\n')
  process.stdout.write(unsteady.map((line) => `  ${line}\n`).join(''))
}
process.stdout.write(`\n${seconds(performance.now() - began)}\n`)
process.stdout.write(`${count.passed} passed, ${count.failed} failed${count.skipped > 0 ? `, ${count.skipped} skipped` : ''}\n`)
process.exitCode = count.failed === 0 ? 0 : 1
