/**
 * The daemon of a local queue with 200 jobs is killed with SIGKILL at random moments; every question starts the next one. Each job
 * writes a start line and an end line to a ledger, and the ledger judges.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { LocalScheduler } from '../../packages/core/dist/scheduler/local/local-scheduler.js'
import { makeRandom, Verdict } from './shared.mjs'

export const what = 'kills the daemon of the local scheduler with SIGKILL at random moments of a 200-job queue'
export const cases = 50

const JOBS = 200
const CORES = 8
/** Daemons killed for one queue; then it is finished, judged and thrown away. */
const KILLS = 10
const FINISH_MS = 120_000

/** One append of one short line is atomic on a local file system. */
const scriptFor = (n, ledger) => `#!/bin/sh
printf 'start %s\\n' ${n} >>'${ledger}'
sleep 0.0${(n * 7) % 10}
printf 'end %s\\n' ${n} >>'${ledger}'
exit ${codeFor(n)}
`
const codeFor = (n) => (n % 17 === 0 ? 3 : 0)

/**
 * @param {{ seed: number, cases: number, log: (line: string) => void }} options `cases`: how many times a daemon is killed
 */
export default async function drill({ seed, cases, log }) {
  const random = makeRandom(seed)
  const verdict = new Verdict()
  for (let round = 1; verdict.cases < cases && verdict.failures.length === 0; round++) {
    const folder = mkdtempSync(join(tmpdir(), 'cahier-drill-queue-'))
    const before = verdict.doubled + verdict.lost + verdict.wrong
    await oneQueue(folder, Math.min(KILLS, cases - verdict.cases), random, verdict)
    if (verdict.doubled + verdict.lost + verdict.wrong === before && verdict.failures.length === 0) {
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
    } else log(`kept for inspection: ${folder}`)
    log(`round ${round}: ${verdict.cases} kills so far; ${verdict.doubled} doubled, ${verdict.lost} lost, ${verdict.wrong} wrong`)
  }
  return verdict
}

async function oneQueue(folder, kills, random, verdict) {
  const queue = join(folder, 'queue')
  const ledger = join(folder, 'ledger')
  writeFileSync(ledger, '')
  const jobs = Array.from({ length: JOBS }, (_, n) => {
    const directory = join(folder, 'jobs', String(n))
    mkdirSync(directory, { recursive: true })
    return { tag: `drill-${n}`, name: `drill ${n}`, script: scriptFor(n, ledger), directory, resources: {} }
  })
  const scheduler = new LocalScheduler({ directory: queue, cores: CORES, idleMs: 30_000 })
  try {
    await scheduler.open()
    const handles = submitAll(scheduler, jobs)
    for (let kill = 0; kill < kills; kill++) {
      // Half of the kills come at a random time, half a moment after jobs have ended.
      if (random() < 0.5) await sleep(random() * 400)
      else await grows(ledger, random() * 20)
      const pid = daemonOf(queue)
      if (pid === undefined) continue
      process.kill(pid, 'SIGKILL')
      verdict.cases += 1
      // The next question starts the next daemon, which has to find out where it is.
      if (random() < 0.7) await scheduler.find([jobs[0]])
    }
    await finish(scheduler, jobs, await handles, ledger, verdict)
  } catch (error) {
    verdict.fail(`${error.message} (${folder})`)
  } finally {
    await scheduler.shutDown().catch((error) => verdict.fail(`the queue could not be shut down: ${error.message}`))
  }
}

/** In parts, so that daemons are killed while they take jobs, too. What is uncertain is looked up, as the port wants. */
async function submitAll(scheduler, jobs) {
  const handles = new Map()
  for (let from = 0; from < jobs.length; from += 20) {
    const part = jobs.slice(from, from + 20)
    for (const outcome of await scheduler.submit(part)) {
      if (outcome.outcome === 'submitted') handles.set(outcome.handle.tag, outcome.handle)
    }
    await sleep(20)
  }
  const missing = jobs.filter(({ tag }) => !handles.has(tag))
  for (const [tag, handle] of await scheduler.find(missing)) handles.set(tag, handle)
  return handles
}

async function finish(scheduler, jobs, handles, ledger, verdict) {
  const known = [...handles.values()]
  const deadline = performance.now() + FINISH_MS
  let observations
  do {
    observations = await scheduler.observe(known)
    if (performance.now() > deadline) throw new Error('the queue did not end in time')
    await sleep(20)
  } while (observations.some(({ state }) => state !== 'ended'))
  const lines = readFileSync(ledger, 'utf8').split('\n')
  for (const [n, job] of jobs.entries()) {
    const starts = lines.filter((line) => line === `start ${n}`).length
    const ends = lines.filter((line) => line === `end ${n}`).length
    if (starts > 1 || ends > 1) verdict.doubled += 1
    if (ends === 0) verdict.lost += 1
    const record = await scheduler.exitRecord(job)
    const seen = observations.find(({ handle }) => handle.tag === job.tag)
    if (record?.exitCode !== codeFor(n) || seen?.exitCode !== codeFor(n)) verdict.wrong += 1
  }
}

/** Waits until the ledger has grown, and a moment more. */
async function grows(ledger, thenMs) {
  const before = readFileSync(ledger, 'utf8').length
  for (let round = 0; round < 500 && readFileSync(ledger, 'utf8').length === before; round++) await sleep(2)
  await sleep(thenMs)
}

/** The one that has the newest lock, if it lives. */
function daemonOf(queue) {
  const numbers = readdirSync(queue).flatMap((name) => (/^lock\.\d+$/.test(name) ? [Number(name.slice(5))] : []))
  if (numbers.length === 0) return undefined
  const { pid } = JSON.parse(readFileSync(join(queue, `lock.${Math.max(...numbers)}`), 'utf8'))
  return existsSync(`/proc/${pid}`) ? pid : undefined
}
