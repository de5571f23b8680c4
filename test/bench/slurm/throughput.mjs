/**
 * 1,000 combinations of `true`, against what people write by hand, who look twice a second whether all has ended. Jobs of ours tell their ends
 * themselves: the queue is asked as seldom as ever.
 */
import { interleave, ratioRow } from '../measure.mjs'
import { campaign, onBed } from './beds.mjs'

const JOBS = 1_000
const WAIT = 'while squeue -h | grep -q .; do sleep 0.5; done'
const BY_HAND = {
  arrays: `sbatch --parsable --array=1-${JOBS} -o out/%a job.sh`,
  singles: `for i in $(seq ${JOBS}); do sbatch --parsable -o out/%j job.sh; done`,
}
/** Of a controller that has this queue for itself; all else, how often it asks for the state of jobs too, is as for everybody. */
const OWN_QUEUE = { submitsPerSecond: 1_000 }

/** @param {{ repeat: number, log: (line: string) => void }} options */
export async function measureArrays({ repeat, log }) {
  const { ours, sbatch } = await interleave(repeat, { ours: () => ourSeconds({}, log), sbatch: () => secondsByHand(BY_HAND.arrays) }, log)
  return [ratioRow({ what: `${JOBS} jobs over arrays (s), against one sbatch --array`, ours, peer: sbatch, better: 'lower', goal: 1.15 })]
}

/** @param {{ repeat: number, log: (line: string) => void }} options */
export async function measureSingles({ repeat, log }) {
  const { ours, loop } = await interleave(
    repeat,
    { ours: () => ourSeconds({ ...OWN_QUEUE, arrays: false }, log), loop: () => secondsByHand(BY_HAND.singles) },
    log,
  )
  return [ratioRow({ what: `${JOBS} single jobs (s), against a loop of sbatch`, ours, peer: loop, better: 'lower', goal: 1.1 })]
}

function ourSeconds(options, log) {
  return onBed({}, async (bed, directory) => {
    const { seconds, counts, samples } = await campaign(bed, { directory, jobs: JOBS, site: { options } })
    if (counts.done !== JOBS) throw new Error(`not all jobs were done: ${JSON.stringify(counts)}`)
    log(
      `  ours: ${seconds.toFixed(1)} s, CPU of the controller ${((samples.at(-1)?.cpuMs ?? 0) / 1000).toFixed(1)} s, ${JSON.stringify(bed.calls())}`,
    )
    return seconds
  })
}

/** From the first submission until the queue shows nothing more. */
function secondsByHand(submit) {
  return onBed({}, async (bed, directory) => {
    const script = `printf '#!/bin/sh\\ntrue\\n' >job.sh && mkdir out && ${submit} >ids && ${WAIT} && ls out | wc -l`
    const start = performance.now()
    const { exitCode, stdout, stderr } = await bed.run(['sh', '-c', script], { cwd: directory, timeoutMs: 600_000 })
    const seconds = (performance.now() - start) / 1000
    if (exitCode !== 0 || Number(stdout) !== JOBS) throw new Error(`by hand: ${stdout} of ${JOBS} jobs left output; ${stderr}`)
    return seconds
  })
}
