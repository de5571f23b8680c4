/**
 * A computation on the machines of a lab that have no scheduler: the program goes to all of them, each computes with a seed of its own, and
 * what comes home becomes a table and a figure.
 *
 *   npx jiti percolation.ts [TRIALS]      of each size on each machine, 100 unless said otherwise
 *
 * Results lie in percolation/. When a machine was down, run it again later: only those are asked that have no result yet.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  Broadcast,
  filterBadHosts,
  foldHosts,
  formatSpread,
  Get,
  hosts,
  Remote,
  renderLineFigure,
  summarise,
  type TransferAction,
  useConfiguration,
} from '@cahier/core'

const EXACT = 0.592746
const folder = 'percolation'
const trials = Number(process.argv[2] ?? 100)
if (!Number.isInteger(trials) || trials < 1) throw new Error(`TRIALS is a number from 1 on, not ${process.argv[2]}`)

await useConfiguration()
const lab = hosts('@lab')
const machines = lab.map(({ address }, index) => ({ address, seed: index + 1, name: `seed-${index + 1}-${trials}.csv` }))
const seed = ({ address }: { readonly address: string }) => machines.find((one) => one.address === address)?.seed ?? 0
const isHere = ({ address, name }: { readonly address: string; readonly name: string }) => existsSync(join(folder, address, name))

let open = machines.filter((machine) => !isHere(machine)).map(({ address }) => address)
const values = { seed, trials }
const result = 'percolation/seed-{{seed}}-{{trials}}.csv'
const program = fileURLToPath(new URL('percolation.py', import.meta.url))
await onAll('sent', () => new Broadcast(program, open, { to: folder, create: true }))
await onAll('computed', () => new Remote(['python3', `${folder}/percolation.py`, '{{seed}}', '{{trials}}', result], open, { values }))
await onAll('fetched', () => new Get(result, open, { to: `${folder}/{{host}}`, create: true, values }))

const done = machines.filter(isHere)
const rows = done.flatMap(({ address, name }) =>
  readFileSync(join(folder, address, name), 'utf8')
    .trim()
    .split(/\r?\n/)
    .slice(1)
    .map((line) => ({ size: Number(line.split(',')[0]), threshold: Number(line.split(',')[2]), machine: address })),
)
console.log(`\nsize  threshold          (${EXACT} without end)`)
for (const { group, n, mean = 0, interval } of summarise(rows, { by: 'size', metric: 'threshold' })) {
  const half = interval === undefined ? undefined : interval[1] - mean
  const spread = half === undefined ? '' : ` ± ${formatSpread(half, half)}`
  console.log(`${String(group.size).padStart(4)}  ${formatSpread(mean, half)}${spread}  (${n} trials)`)
}
mkdirSync(folder, { recursive: true })
writeFileSync(
  join(folder, 'percolation.svg'),
  renderLineFigure(
    rows,
    { kind: 'line', x: 'size', y: 'threshold', scale: 'log-x', title: 'Share of open sites at which water finds a way' },
    { marks: [{ axis: 'y', value: EXACT, label: `${EXACT}` }] },
  ),
)
console.log(`Figure: ${join(folder, 'percolation.svg')}`)
const missing = machines.filter((machine) => !isHere(machine)).map(({ address }) => address)
if (missing.length > 0) console.log(`No result yet of ${foldHosts(missing)}: run it again`)
process.exitCode = missing.length === 0 ? 0 : 1

/** One step on all machines on which nothing has gone wrong so far. What goes wrong on one is told, and stops no other. */
async function onAll(what: string, make: () => Remote | TransferAction): Promise<void> {
  if (open.length === 0) return
  const action = await make().run()
  const good = filterBadHosts(action, open).map(({ address }) => address)
  console.log(`${what}: ${foldHosts(good) || 'none'}`)
  for (const [index, address] of open.entries()) {
    if (!good.includes(address)) console.log(`NOT ${what}: ${address}: ${whyOf(action, index)}`)
  }
  open = good
}

function whyOf(action: Remote | TransferAction, index: number): string | undefined {
  if (!(action instanceof Remote)) return action.results[index]?.error?.message
  const process = action.processes[index]
  return process?.errorReason?.message ?? process?.stderr.trim().split('\n').at(-1)
}
