import { spawn } from 'node:child_process'
import { HelperBackend, LocalBackend, Process } from '../../packages/core/dist/index.js'
import { interleave, ratioRow } from './measure.mjs'

export const what = 'starting processes: single ones and in bulk, against bare child_process.spawn'

const COUNT = 2000
const AT_ONCE = 64

/** Runs `true` again and again, some at a time; returns how many per second. */
async function rate(runOne) {
  const start = performance.now()
  let left = COUNT
  const worker = async () => {
    while (left > 0) {
      left -= 1
      await runOne()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return COUNT / ((performance.now() - start) / 1000)
}

const bare = () =>
  new Promise((resolve, reject) => {
    const child = spawn('true', [], { stdio: 'pipe' })
    child.stdout.resume()
    child.stderr.resume()
    child.once('error', reject)
    child.once('close', resolve)
  })

async function through(backend) {
  const result = await (await backend.start({ command: ['true'] })).result
  if (result.outcome !== 'exited' || result.exitCode !== 0) throw new Error(`true did not succeed: ${JSON.stringify(result)}`)
}

export default async function ({ repeat, log }) {
  const local = new LocalBackend()
  const helper = new HelperBackend()
  try {
    await through(helper)
    return { rows: await measure(local, helper, repeat, log) }
  } finally {
    await helper[Symbol.asyncDispose]()
    await local[Symbol.asyncDispose]()
  }
}

async function measure(local, helper, repeat, log) {
  const sides = {
    bare: () => rate(bare),
    process: () => rate(async () => (await new Process(['true'], { backend: local }).run()).exitCode),
    helper: () => rate(() => through(helper)),
    'helper, 1 GB held': async () => {
      // Touched, so that it is really there; held until the end of this measure only.
      const held = Buffer.alloc(1 << 30, 1)
      const result = await rate(() => through(helper))
      if (held[held.length - 1] !== 1) throw new Error('unreachable')
      return result
    },
  }
  const medians = await interleave(Math.max(5, repeat), sides, log)
  const title = `${COUNT} x true, ${AT_ONCE} at a time`
  return [
    ratioRow({ what: `${title}: Process (per second)`, ours: medians.process, peer: medians.bare, better: 'higher', goal: 0.6 }),
    ratioRow({ what: `${title}: helper (per second)`, ours: medians.helper, peer: medians.bare, better: 'higher', goal: 1.5 }),
    ratioRow({
      what: `${title}: helper while this program holds 1 GB, against helper alone (per second)`,
      ours: medians['helper, 1 GB held'],
      peer: medians.helper,
      better: 'higher',
      // "No slower", within what two measures of the same thing differ by.
      goal: 0.9,
    }),
  ]
}
