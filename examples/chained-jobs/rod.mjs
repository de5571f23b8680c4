/**
 * A rod of length 1 cools by diffusion, its ends kept at 0: dT/dt = d²T/dx², T = sin(πx) at t = 0.
 *
 * Begins with the state of the job before, when `--from` names its folder; goes on until `--until`; leaves `state.json` for the
 * job after.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { from: { type: 'string', default: '' }, until: { type: 'string' } } })
const until = Number(values.until)
const POINTS = 101

const fresh = () => ({ time: 0, temperature: Array.from({ length: POINTS }, (_, i) => Math.sin((Math.PI * i) / (POINTS - 1))) })
let { time, temperature } = values.from === '' ? fresh() : JSON.parse(readFileSync(join(values.from, 'state.json'), 'utf8'))
process.stdout.write(`from t = ${time} to ${until}\n`)

// Explicit steps, stable below half a squared mesh; the last one of this job is cut to end at `until`.
const dx = 1 / (POINTS - 1)
const steps = Math.ceil((until - time) / (0.4 * dx * dx))
const factor = (until - time) / steps / (dx * dx)
for (let step = 0; step < steps; step++) {
  temperature = temperature.map((t, i) =>
    i === 0 || i === POINTS - 1 ? 0 : t + factor * (temperature[i - 1] - 2 * t + temperature[i + 1]),
  )
}
time = until

const amplitude = temperature[(POINTS - 1) / 2]
writeFileSync('state.part', JSON.stringify({ time, amplitude, temperature }))
renameSync('state.part', 'state.json')
process.stdout.write(`steps: ${steps}\namplitude: ${amplitude}\n`)
