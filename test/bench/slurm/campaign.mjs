/**
 * One campaign in a process of its own, as `cahier run` would drive it without its terminal. Prints one line of JSON:
 * `{ seconds, counts, outcome, known, samples }`.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import slurm from '../../../packages/adapter-slurm/dist/index.js'
import { readItems, runCampaign } from '../../../packages/core/dist/index.js'

/**
 * `command` is the job's; `stopAfter`: seconds after the last submission, the jobs stay. `known`: for each job seconds from the last line
 * of its output, a time, until the controller knew that it is done. `samples`: what this process had used, twice a second.
 *
 * @type {{ directory: string, jobs: number, command: string, site: object, maxInFlight: number, stopAfter?: number }}
 */
const { directory, jobs, command, site, maxInFlight, stopAfter } = JSON.parse(process.argv[2])

const source = join(directory, 'source')
mkdirSync(source)
const file = join(source, 'campaign.yaml')
writeFileSync(
  file,
  `name: slurm-bench
factors:
  n: { range: [0, ${jobs - 1}] }
job:
  command: ${JSON.stringify(command)}
results: {}
collect: {}
maxInFlight: ${maxInFlight}
`,
)

const samples = []
const ends = new Map()
const leave = new AbortController()
const sampler = setInterval(() => {
  const { user, system } = process.cpuUsage()
  samples.push({ atMs: Date.now(), cpuMs: (user + system) / 1000, rssMiB: process.memoryUsage.rss() / 2 ** 20 })
}, 500)

const run = join(directory, 'run')
const start = performance.now()
let submitted = 0
const { outcome, counts } = await runCampaign({
  campaign: file,
  directory: run,
  site: { name: 'bed', options: {}, modules: [], ...site, scheduler: 'slurm' },
  adapters: { given: [slurm].flat() },
  signal: leave.signal,
  onEvent: (event) => {
    if (event.type === 'item' && event.state === 'done') ends.set(event.item, Date.now() / 1000)
    if (event.type === 'submitted' && ++submitted === jobs && stopAfter !== undefined) setTimeout(() => leave.abort(), stopAfter * 1000)
  },
})
const seconds = (performance.now() - start) / 1000
clearInterval(sampler)

const known = []
if (ends.size > 0) {
  for (const { id, attempts } of await readItems(run)) {
    const last = Number(
      readFileSync(join(attempts.at(-1).directory, 'stdout'), 'utf8')
        .trim()
        .split('\n')
        .at(-1),
    )
    if (ends.has(id) && last > 0) known.push(ends.get(id) - last)
  }
}
process.stdout.write(`${JSON.stringify({ seconds, counts, outcome, known, samples })}\n`)
