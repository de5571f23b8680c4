/**
 * The controller of a 300-combination campaign is killed with SIGKILL at random moments and started again, then allowed to
 * finish. Each job writes a start line and an end line to a ledger, and the ledger judges.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { makeRandom, Verdict } from './shared.mjs'

export const what = 'kills the controller with SIGKILL at random moments of a 300-combination campaign and resumes it'

const cahier = fileURLToPath(new URL('../../packages/cli/bin/run.js', import.meta.url))
const COMBINATIONS = 300
const FINISH_MS = 600_000
const valueFor = (n) => n * 7 + 1

/** One append of one short line is atomic on a local file system; a line names the work item and the process. */
const JOB = `#!/bin/sh
printf 'start %s %s\\n' "$1" "$$" >> "$2"
sleep "0.$(($1 * 7 % 10))"
echo "value=$(($1 * 7 + 1))"
printf 'end %s %s\\n' "$1" "$$" >> "$2"
`

const CAMPAIGN = `name: kill-drill
factors:
  n: { range: [0, ${COMBINATIONS - 1}] }
files: [work.sh]
job:
  command: [sh, work.sh, '{{ n }}', LEDGER]
results:
  value: { type: integer, positive: true }
collect:
  value: { from: stdout, pattern: 'value=(\\d+)' }
# Few at a time, so that a dead controller is missed.
maxInFlight: 8
`

/**
 * @param {{ seed: number, cases: number, log: (line: string) => void }} options `cases`: how many times a controller is killed
 */
export default async function drill({ seed, cases, log }) {
  const random = makeRandom(seed)
  const folder = mkdtempSync(join(tmpdir(), 'cahier-drill-kill-'))
  const verdict = new Verdict()
  try {
    for (let round = 1; verdict.cases < cases; round++) {
      const before = verdict.cases
      // With many kills the jobs go slowly, so that all kills fall into one campaign.
      const run = prepare(join(folder, `round-${round}`), join(folder, 'queue'), cases > 20 ? 2 : 8)
      await killAgainAndAgain(run, cases - verdict.cases, random, verdict, log)
      await finishAndJudge(run, verdict)
      log(
        `round ${round}: ${verdict.cases - before} kills, then finished; ${verdict.doubled} doubled, ${verdict.lost} lost, ${verdict.wrong} wrong`,
      )
      if (verdict.failures.length > 0 || verdict.cases === before) break
    }
    if (verdict.cases < cases && verdict.failures.length === 0) verdict.fail(`only ${verdict.cases} controllers could be killed`)
  } finally {
    // What went wrong is kept to be looked at. The queue ends by itself.
    if (verdict.isClean) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
    else log(`kept for inspection: ${folder}`)
  }
  return verdict
}

/** A folder with campaign, job and site; the run directory is made by the first controller. */
function prepare(folder, queue, cores) {
  const ledger = join(folder, 'ledger')
  mkdirSync(folder)
  writeFileSync(ledger, '')
  writeFileSync(join(folder, 'work.sh'), JOB)
  writeFileSync(join(folder, 'campaign.yaml'), CAMPAIGN.replace('LEDGER', JSON.stringify(ledger)))
  const site = { scheduler: 'local', options: { directory: queue, cores, idleMs: 3000 } }
  writeFileSync(join(folder, 'cahier.config.yaml'), JSON.stringify({ sites: { drill: site }, defaultSite: 'drill' }))
  return { folder, ledger, directory: join(folder, 'run') }
}

/** A controller as its user starts it. */
function startController({ folder, directory }) {
  const child = spawn(process.execPath, [cahier, 'run', 'campaign.yaml', '--dir', directory], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (output += chunk))
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve({ code, signal }))
  })
  return { child, ended, output: () => output }
}

/** Half of the kills come at a random time after the start, half a moment after the ledger has grown by some lines. */
async function killAgainAndAgain(run, atMost, random, verdict, log) {
  for (let kills = 0; kills < atMost; ) {
    const began = performance.now()
    const controller = startController(run)
    const moment = random() < 0.5 ? sleep(random() * 1800) : ledgerGrows(run.ledger, 1 + Math.floor(random() * 8), random() * 50)
    const first = await Promise.race([moment.then(() => 'moment'), controller.ended])
    if (first === 'moment') controller.child.kill('SIGKILL')
    const { code, signal } = await controller.ended
    if (signal === 'SIGKILL') {
      kills++
      verdict.cases++
      log(`kill ${verdict.cases} after ${Math.round(performance.now() - began)} ms, ${count(run.ledger).ends.size} combinations ended`)
    } else if (code === 0) {
      return
    } else {
      verdict.fail(`a resumed controller ended with ${code ?? signal}: ${controller.output().slice(-600)}`)
      return
    }
  }
}

async function ledgerGrows(ledger, lines, thenMs) {
  const goal = readLines(ledger).length + lines
  const until = performance.now() + 20_000
  while (readLines(ledger).length < goal && performance.now() < until) await sleep(5)
  await sleep(thenMs)
}

async function finishAndJudge(run, verdict) {
  const last = await runToEnd(run)
  if (last.code !== 0) verdict.fail(`the last controller ended with ${last.code ?? last.signal}: ${last.output.slice(-600)}`)
  const { ends, starts } = count(run.ledger)
  const rows = readResults(join(run.directory, 'results.jsonl'))
  for (let n = 0; n < COMBINATIONS; n++) {
    const runs = ends.get(n) ?? 0
    const found = rows.filter((row) => row.n === n)
    if (runs > 1) verdict.blame('doubled', `${n} ran ${runs} times to its end`)
    if (runs === 0)
      verdict.blame('lost', `${n} never ran to its end (started ${starts.get(n) ?? 0} times), results ${JSON.stringify(found)}`)
    else if (found.length === 0) verdict.blame('lost', `${n} ran, and its result is not in the table`)
    if (found.length > 1 || found.some((row) => row.value !== valueFor(n)))
      verdict.blame('wrong', `${n} should give ${valueFor(n)}, not ${JSON.stringify(found)}`)
  }
  // A campaign that is finished has nothing left to run.
  const linesBefore = readLines(run.ledger).length
  const again = await runToEnd(run)
  if (again.code !== 0 || readLines(run.ledger).length !== linesBefore) {
    verdict.fail(`a finished campaign was run again: ${readLines(run.ledger).length - linesBefore} new lines, exit code ${again.code}`)
  }
}

async function runToEnd(run) {
  const controller = startController(run)
  const timer = setTimeout(() => controller.child.kill('SIGTERM'), FINISH_MS)
  const { code, signal } = await controller.ended
  clearTimeout(timer)
  return { code, signal, output: controller.output() }
}

/** How many times each combination started and ended. */
function count(ledger) {
  const starts = new Map()
  const ends = new Map()
  for (const line of readLines(ledger)) {
    const [word, n] = line.split(' ')
    const tally = word === 'start' ? starts : ends
    tally.set(Number(n), (tally.get(Number(n)) ?? 0) + 1)
  }
  return { starts, ends }
}

function readLines(file) {
  return existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : []
}

/** Flat rows of n and value, wherever the table keeps them. */
function readResults(file) {
  return readLines(file).map((line) => {
    const row = JSON.parse(line)
    return { n: Number(row.n ?? row.combination?.n), value: row.value ?? row.values?.value }
  })
}
