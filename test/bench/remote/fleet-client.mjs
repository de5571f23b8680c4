/** A process of its own that runs a command on very many hosts and keeps all connections; says what each costs in memory. */
import { createHash } from 'node:crypto'
import { openRemotes, repeatAtOnce, runOn } from './api.mjs'

const { addresses, sshConfig, runner, lines } = JSON.parse(process.argv[2])
const gc = () => globalThis.gc?.()
const { backends, close } = openRemotes(addresses, { sshConfig, runner, connectTimeout: '60s' })
const script = `i=0; while [ $i -lt ${lines} ]; do echo "line $i"; i=$((i+1)); done; echo end >&2`
const expected = createHash('sha256')
  .update(Array.from({ length: lines }, (_, index) => `line ${index}\n`).join(''))
  .digest('hex')

/** True when every byte came. */
async function answer(backend) {
  const hash = createHash('sha256')
  let errors = ''
  await runOn(
    backend,
    { command: { script }, spillTo: false },
    {
      onOutput: (stream, chunk) => {
        if (stream === 'stdout') hash.update(chunk)
        else errors += Buffer.from(chunk).toString('latin1')
      },
    },
  )
  return hash.digest('hex') === expected && errors === 'end\n'
}

// What the first host costs is the cost of the program.
const first = backends.slice(0, 4)
await Promise.all(first.map(answer))
gc()
const before = process.memoryUsage().rss
let peak = before
const sampling = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage().rss)
}, 50)
let whole = first.length
let failed = 0
const start = performance.now()
await repeatAtOnce(backends.length - first.length, 256, async (index) => {
  try {
    if (await answer(backends[index + first.length])) whole++
  } catch (error) {
    failed++
    if (failed <= 3) process.stderr.write(`${error.message}\n`)
  }
})
const seconds = (performance.now() - start) / 1000
// And again over the connections that are there, all at once.
let again = 0
await Promise.all(backends.map(async (backend) => (await answer(backend).catch(() => false)) && again++))
clearInterval(sampling)
const hosts = backends.length - first.length
const result = { whole, again, failed, seconds, mibPerHost: (Math.max(peak, process.memoryUsage().rss) - before) / 1048576 / hosts }
process.stdout.write(`${JSON.stringify(result)}\n`)
await close()
