/** Four processes share one sweep and are killed at random moments; the ledger that they write tells what they were promised. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ParamSweeper, sweep } from '../../packages/core/dist/index.js'
import { makeRandom } from './shared.mjs'

export const what = 'four processes share a sweep; SIGKILL at random moments: nothing given twice, nothing acknowledged lost'
export const cases = 100

const WORKERS = 4
const SELF = fileURLToPath(import.meta.url)
const numbers = (count) => Array.from({ length: count }, (_, i) => i)

/** One worker: writes `start` before the work and `acked` when it was told that the end is safe. */
async function work(directory, ledger, batch) {
  const file = fs.openSync(ledger, 'a')
  const say = (word, { n, m }) => fs.writeSync(file, `${word} ${n}-${m} ${process.pid}\n`)
  await using_(new ParamSweeper(directory), async (sweeper) => {
    for (;;) {
      const combinations = await sweeper.getNextBatch(batch)
      if (combinations.length === 0) return
      for (const combination of combinations) say('start', combination)
      // the work: long enough to be killed in the middle of it
      await delay(Math.random() * 4)
      await Promise.all(
        combinations.map(async (combination) => {
          await sweeper.done(combination)
          say('acked', combination)
        }),
      )
    }
  })
}

async function using_(resource, action) {
  try {
    return await action(resource)
  } finally {
    await resource.close()
  }
}

export default async ({ seed, cases: kills, log }) => {
  const random = makeRandom(seed)
  const root = fs.mkdtempSync(join(tmpdir(), 'cahier-drill-'))
  const directory = join(root, 'sweep')
  const ledger = join(root, 'ledger')
  const failures = []
  // more than the workers can do while so many kills take place
  const space = sweep({ n: numbers(Math.max(200, kills * 20)), m: numbers(1000) })
  await using_(new ParamSweeper(directory, space), (sweeper) => sweeper.open())
  fs.writeFileSync(ledger, '')
  const start = () => {
    const batch = random() < 0.5 ? 1 : 16
    const child = spawn(process.execPath, [SELF, 'worker', directory, ledger, `${batch}`], { stdio: ['ignore', 'ignore', 'pipe'] })
    let stderr = ''
    child.stderr.on('data', (text) => {
      stderr += text
    })
    const ended = once(child, 'exit').then(([code]) => {
      if (code !== null && code !== 0) failures.push(`worker ${child.pid} ended with ${code}: ${stderr.slice(0, 500)}`)
    })
    return { child, ended, startedAt: fs.statSync(ledger).size }
  }
  const workers = Array.from({ length: WORKERS }, start)
  let made = 0
  for (; made < kills && failures.length === 0; made++) {
    const at = Math.floor(random() * WORKERS)
    const victim = workers[at]
    // not before it is at work, then at any moment
    const mark = `${victim.child.pid}\n`
    const deadline = performance.now() + 60_000
    while (victim.child.exitCode === null && !fs.readFileSync(ledger, 'latin1').slice(victim.startedAt).includes(mark)) {
      if (performance.now() > deadline) {
        failures.push(`worker ${victim.child.pid} did nothing for a minute`)
        break
      }
      await delay(5)
    }
    await delay(random() * 40)
    victim.child.kill('SIGKILL')
    await victim.ended
    workers[at] = start()
    if (made % 20 === 19) log(`${made + 1} kills`)
  }
  for (const { child, ended } of workers) {
    child.kill('SIGKILL')
    await ended
  }
  const acked = new Map()
  let lines = fs.readFileSync(ledger, 'latin1').split('\n')
  lines = lines.slice(0, -1)
  for (const line of lines) {
    const [word, item] = line.split(' ')
    if (word === 'acked') acked.set(item, (acked.get(item) ?? 0) + 1)
  }
  const doubled = [...acked.values()].filter((times) => times > 1).length
  const { lost, wrong } = await using_(new ParamSweeper(directory), async (sweeper) => {
    const before = await sweeper.stats()
    const done = new Set()
    for (const { n, m } of await sweeper.getDone()) done.add(`${n}-${m}`)
    const missing = [...acked.keys()].filter((item) => !done.has(item)).length
    // what the dead held must come back, and with the rest make up the whole
    let rest = 0
    for (;;) {
      const combinations = await sweeper.getNextBatch(10_000)
      if (combinations.length === 0) break
      rest += combinations.filter(({ n, m }) => !done.has(`${n}-${m}`)).length
      await sweeper.done(combinations)
    }
    const after = await sweeper.stats()
    log(`${acked.size} acknowledged, ${before.done} done, ${before.claimed} were held by the dead, ${rest} were left`)
    return { lost: missing + (after.total - before.done - rest), wrong: after.done === after.total ? 0 : 1 }
  })
  if (failures.length === 0 && doubled + lost + wrong === 0) fs.rmSync(root, { recursive: true, force: true })
  else failures.push(`look at ${root}`)
  return { cases: made, doubled, lost, wrong, failures }
}

if (process.argv[1] === SELF && process.argv[2] === 'worker') await work(process.argv[3], process.argv[4], Number(process.argv[5]))
