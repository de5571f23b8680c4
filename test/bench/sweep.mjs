/** The persistent sweep: how fast it is made, opened, claimed from and acknowledged to. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { JournalStore, JournalSweeper, ParamSweeper, sweep } from '../../packages/core/dist/index.js'
import { limitRow, median, ratioRow } from './measure.mjs'

export const what = 'a sweep of 10^6 combinations: create, open, claims and acknowledged ends per second, lock waits'

const SELF = fileURLToPath(import.meta.url)
/** Execo's ParamSweeper, claims and ends per second, as published for 10^4 to 10^5 combinations. */
const EXECO_PAIRS = 133
const EXECO_OPEN_MS = 4600

const numbers = (count) => Array.from({ length: count }, (_, i) => i)
const million = () => sweep({ a: numbers(100), b: numbers(100), c: numbers(100) })
const hundredThousand = () => sweep({ a: numbers(100), b: numbers(1000) })

/** Steps that run in a process of their own, so that one's memory is not the other's. */
const STEPS = {
  /** Milliseconds to make a sweep of 10^6 combinations. */
  async create(directory) {
    const start = performance.now()
    const sweeper = new ParamSweeper(directory, million())
    await sweeper.open()
    const ms = performance.now() - start
    await sweeper.close()
    return { ms }
  },

  /** Milliseconds and memory to open one that is done, with a snapshot or by its events alone. */
  async open(directory) {
    const start = performance.now()
    const sweeper = new ParamSweeper(directory)
    const { done, total } = await sweeper.stats()
    const ms = performance.now() - start
    const { maxRSS } = process.resourceUsage()
    if (done !== total) throw new Error(`${done} of ${total} done`)
    // not closed in order: that would write a snapshot
    return { ms, mb: maxRSS / 1000 }
  },

  /** Makes all of them done, with an event for each claim and each end. */
  async fill(directory) {
    const store = new JournalStore(directory)
    const sweeper = new JournalSweeper(store, million(), { directory: store.journalDirectory })
    await store.open()
    await sweeper.open()
    const one = async () => {
      for (let claim = await sweeper.next(); claim !== undefined; claim = await sweeper.next()) await claim.done()
    }
    await Promise.all(numbers(512).map(one))
    await sweeper[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
    return {}
  },

  /** Claims and durable ends per second. */
  async pairs(directory, { width, batch, seconds }) {
    const store = new JournalStore(directory)
    const sweeper = new JournalSweeper(store, undefined, { directory: store.journalDirectory })
    await store.open()
    await sweeper.open()
    process.send({ ready: true })
    await once(process, 'message')
    const start = performance.now()
    const end = start + seconds * 1000
    let pairs = 0
    const one = async () => {
      while (performance.now() < end) {
        const claims = await sweeper.nextBatch(batch)
        if (batch === 1) await claims[0].done()
        else await sweeper.finishAll(claims, 'done')
        pairs += claims.length
      }
    }
    await Promise.all(numbers(width).map(one))
    const rate = pairs / ((performance.now() - start) / 1000)
    const wait = store.longestLockWaitMs
    await sweeper[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
    return { rate, wait }
  },

  /** Microseconds for a claim while so many are in progress. */
  async claim(directory) {
    const store = new JournalStore(directory)
    const sweeper = new JournalSweeper(store, undefined, { directory: store.journalDirectory })
    await store.open()
    await sweeper.open()
    const times = { few: [], many: [] }
    const measure = async (list) => {
      for (let round = 0; round < 300; round++) {
        const start = performance.now()
        const claim = await sweeper.next()
        list.push((performance.now() - start) * 1000)
        await claim.cancel()
      }
    }
    await sweeper.nextBatch(10)
    await measure(times.few)
    await sweeper.nextBatch(100_000 - 10)
    await measure(times.many)
    await sweeper[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
    return { few: median(times.few), many: median(times.many) }
  },
}

function begin(step, directory, options = {}) {
  const child = fork(SELF, ['step', step, directory, JSON.stringify(options)])
  let ready = () => {}
  const isReady = new Promise((resolve) => {
    ready = resolve
  })
  const result = new Promise((resolve, reject) => {
    child.on('message', (message) => (message.ready ? ready() : resolve(message.result)))
    child.on('exit', (code) => reject(new Error(`the step ${step} ended with ${code}`)))
  })
  return { child, isReady, result }
}

const run = (step, directory, options) => begin(step, directory, options).result

/** Rate of all processes together, and the worst wait for the lock. */
async function together(directory, processes, options) {
  const all = numbers(processes).map(() => begin('pairs', directory, { ...options, seconds: 2 }))
  await Promise.all(all.map(({ isReady }) => isReady))
  for (const { child } of all) child.send('go')
  const results = await Promise.all(all.map(({ result }) => result))
  return { rate: results.reduce((sum, { rate }) => sum + rate, 0), wait: Math.max(...results.map(({ wait }) => wait)) }
}

export default async ({ repeat, log }) => {
  const root = fs.mkdtempSync(join(tmpdir(), 'cahier-bench-'))
  const found = {}
  const note = (name, value) => {
    found[name] ??= []
    found[name].push(value)
  }
  try {
    const full = join(root, 'full')
    log('filling 10^6 combinations, an event for each claim and each end')
    await run('fill', full)
    const snapshot = join(full, 'journal', 'snapshot.json')
    const kept = fs.readFileSync(snapshot)
    for (let round = 0; round < repeat; round++) {
      const fresh = (name) => join(root, `${name}-${round}`)
      note('create', (await run('create', fresh('create'))).ms)
      fs.writeFileSync(snapshot, kept)
      const opened = await run('open', full)
      note('open', opened.ms)
      note('memory', opened.mb)
      fs.rmSync(snapshot)
      const replayed = await run('open', full)
      note('replay', replayed.ms)
      note('replayMemory', replayed.mb)
      await prepare(fresh('pairs'))
      note('one', (await together(fresh('pairs'), 1, { width: 64, batch: 1 })).rate)
      const single = await together(fresh('pairs'), 4, { width: 1, batch: 1 })
      note('four', single.rate)
      const batched = await together(fresh('pairs'), 4, { width: 1, batch: 16 })
      note('batches', batched.rate)
      note('wait', Math.max(single.wait, batched.wait))
      await prepare(fresh('claim'), million())
      const { few, many } = await run('claim', fresh('claim'))
      note('few', few)
      note('many', many)
      for (const name of ['create', 'pairs', 'claim']) fs.rmSync(fresh(name), { recursive: true, force: true })
      const last = Object.entries(found).map(([name, list]) => `${name} ${Math.round(list.at(-1))}`)
      log(`round ${round + 1}/${repeat}: ${last.join(', ')}`)
    }
  } finally {
    fs.rmSync(root, { recursive: true, force: true })
  }
  const m = Object.fromEntries(Object.entries(found).map(([name, list]) => [name, median(list)]))
  return {
    rows: [
      limitRow({ what: '10^6 combinations: create', ours: m.create, better: 'lower', goal: 1000, unit: 'ms' }),
      limitRow({ what: '10^6 done: open', ours: m.open, better: 'lower', goal: 3000, unit: 'ms' }),
      limitRow({ what: '10^6 done: memory', ours: m.memory, better: 'lower', goal: 300, unit: 'MB' }),
      limitRow({ what: '10^6 done, 2 × 10^6 events, no snapshot: open', ours: m.replay, better: 'lower', goal: 6000, unit: 'ms' }),
      limitRow({ what: '10^6 done, no snapshot: memory', ours: m.replayMemory, better: 'lower', goal: 300, unit: 'MB' }),
      ratioRow({ what: '10^6 done: open, ms, against execo (published)', ours: m.open, peer: EXECO_OPEN_MS, better: 'lower', goal: 1 }),
      limitRow({ what: 'one process, 64 in flight', ours: m.one, better: 'higher', goal: 5000, unit: 'claim + durable done/s' }),
      limitRow({ what: 'four processes, one at a time', ours: m.four, better: 'higher', goal: 2000, unit: 'claim + durable done/s' }),
      limitRow({ what: 'four processes, batches of 16', ours: m.batches, better: 'higher', goal: 20_000, unit: 'claim + durable done/s' }),
      ratioRow({
        what: 'four processes one at a time, /s, against execo (published)',
        ours: m.four,
        peer: EXECO_PAIRS,
        better: 'higher',
        goal: 1,
      }),
      ratioRow({
        what: 'a claim with 100,000 in progress, µs, against one with 10',
        ours: m.many,
        peer: m.few,
        better: 'lower',
        goal: 1.25,
      }),
      limitRow({
        what: 'longest wait for the lock, four processes',
        ours: Math.max(...found.wait),
        better: 'lower',
        goal: 2000,
        unit: 'ms',
      }),
    ],
  }
}

async function prepare(directory, space = hundredThousand()) {
  const sweeper = new ParamSweeper(directory, space)
  await sweeper.open()
  await sweeper.close()
}

if (process.argv[1] === SELF && process.argv[2] === 'step') {
  const result = await STEPS[process.argv[3]](process.argv[4], JSON.parse(process.argv[5]))
  process.send({ result }, () => process.exit(0))
}
