/**
 * 10,000 jobs that wait, and a controller that watches them. The queue shows them once as SLURM does, a line for the whole array, and
 * once as if each were different: a program before squeue asks it for one line per element and lets some of them run.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { limitRow } from '../measure.mjs'
import { campaign, onBed, statusCalls } from './beds.mjs'

const JOBS = 10_000
const INTERVAL_S = 5
const WATCH_S = 40
/** What follows a question is over so soon after it. */
const AFTERWARDS_MS = 2_000
/** With each question so many more run. */
const MORE = 500

/** @param {{ log: (line: string) => void }} options */
export async function measureTracking({ log }) {
  const rows = []
  for (const [title, isEach] of [
    [`${JOBS} tracked jobs, one line of the queue`, false],
    [`${JOBS} tracked jobs, a line each`, true],
  ]) {
    const { polls, pollsPerInterval, perPollMs, idleMs, rssMiB } = await watch(isEach, log)
    log(
      `${title}: ${polls} questions, ${perPollMs.toFixed(0)} ms of CPU each, ${idleMs.toFixed(1)} ms per second between them, ${rssMiB.toFixed(0)} MiB`,
    )
    rows.push(
      limitRow({ what: `${title}: status commands per interval`, ours: pollsPerInterval, better: 'lower', goal: 1, unit: 'commands' }),
      limitRow({ what: `${title}: CPU to ask, parse and conclude`, ours: perPollMs, better: 'lower', goal: 200, unit: 'ms' }),
      limitRow({ what: `${title}: CPU between polls`, ours: idleMs, better: 'lower', goal: 10, unit: 'ms/s' }),
      limitRow({ what: `${title}: resident`, ours: rssMiB, better: 'lower', goal: 300, unit: 'MiB' }),
    )
  }
  return rows
}

function watch(isEach, log) {
  // Nothing starts in a partition that is down.
  const options = { nodes: 1, maxArraySize: JOBS + 1, partitions: ['PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=DOWN'] }
  return onBed(options, async (bed, directory) => {
    const env = isEach ? { ...bed.env, PATH: `${eachInALine(directory, bed)}:${bed.env.PATH}` } : bed.env
    const rhythm = { pollInterval: `${INTERVAL_S}s`, pollIntervalMax: `${INTERVAL_S}s` }
    const figures = await campaign({ env }, { directory, jobs: JOBS, site: { options: rhythm }, stopAfter: WATCH_S })
    const { counts, samples } = figures
    log(`  ${JSON.stringify(counts)} after ${figures.seconds.toFixed(1)} s`)
    if (counts.submitted + counts.running !== JOBS) throw new Error(`not all jobs were tracked: ${JSON.stringify(counts)}`)
    const last = samples.at(-1).atMs
    const from = last - (WATCH_S - 2) * 1000
    const polls = statusCalls(bed, from).filter(({ atMs }) => atMs <= last - AFTERWARDS_MS)
    // From question to question: whole intervals only.
    const spanMs = polls.at(-1).atMs - polls[0].atMs
    const at = (time) => samples.findLast(({ atMs }) => atMs <= time) ?? samples[0]
    const busy = polls.reduce((sum, { atMs }) => sum + at(atMs + AFTERWARDS_MS).cpuMs - at(atMs - 100).cpuMs, 0)
    const idle = polls.slice(1).map(({ atMs }, index) => [at(polls[index].atMs + AFTERWARDS_MS), at(atMs - 100)])
    const idleCpu = idle.reduce((sum, [first, second]) => sum + second.cpuMs - first.cpuMs, 0)
    const idleSpan = idle.reduce((sum, [first, second]) => sum + second.atMs - first.atMs, 0)
    return {
      polls: polls.length,
      pollsPerInterval: (polls.length - 1) / (spanMs / 1000 / INTERVAL_S),
      perPollMs: busy / polls.length,
      idleMs: idleCpu / (idleSpan / 1000),
      rssMiB: Math.max(...samples.map(({ rssMiB }) => rssMiB)),
    }
  })
}

/** A folder with a squeue that shows each element in a line of its own. What it prints is made once all are there; its own question is not counted. */
function eachInALine(directory, bed) {
  const folder = join(directory, 'bin')
  mkdirSync(folder)
  const file = join(folder, 'squeue')
  writeFileSync(
    file,
    `#!/bin/sh
[ "$(cat '${folder}/lines' 2>/dev/null | wc -l)" -ge ${JOBS} ] || SLURM_JOB_ID=1 '${bed.directory}/bin/squeue' -r "$@" >'${folder}/lines'
read -r up rest </proc/uptime; printf '%s squeue each\\n' "$up" >>'${bed.directory}/calls.log'
calls=$(cat '${folder}/calls' 2>/dev/null || echo 0); echo $((calls + 1)) >'${folder}/calls'
exec awk -v n=$((calls * ${MORE})) 'NR <= n { sub(/PENDING/, "RUNNING") } { print }' '${folder}/lines'
`,
  )
  chmodSync(file, 0o755)
  return folder
}
