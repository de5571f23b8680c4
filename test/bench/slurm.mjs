/** Campaigns on a real SLURM of this machine, against what people write by hand, and what they cost. */
import { slurmUnavailable } from '../testbed/slurm.mjs'
import { timeMs } from './measure.mjs'
import { measureCalls, measureEnds } from './slurm/politeness.mjs'
import { measureArrays, measureSingles } from './slurm/throughput.mjs'
import { measureTracking } from './slurm/tracking.mjs'

export const what = 'campaigns on SLURM: arrays, single jobs, 10,000 tracked jobs, how soon an end is known, calls and logins'

const PARTS = {
  arrays: measureArrays,
  singles: measureSingles,
  tracking: measureTracking,
  ends: measureEnds,
  calls: measureCalls,
}

/** CAHIER_BENCH_PARTS: names of {@link PARTS}, with commas between them, for a bench of some only. */
export default async function ({ repeat, log }) {
  const reason = slurmUnavailable()
  if (reason !== undefined) throw new Error(`there can be no SLURM here: ${reason}`)
  const wanted = process.env.CAHIER_BENCH_PARTS?.split(',') ?? Object.keys(PARTS)
  const rows = []
  for (const name of wanted) {
    log(`-- ${name}`)
    const elapsed = await timeMs(async () => {
      rows.push(...(await PARTS[name]({ repeat, log })))
    })
    log(`-- ${name}: ${(elapsed / 1000).toFixed(1)} s`)
  }
  return { rows }
}
