/** What the parts of the bench share: a fresh bed for each figure, and campaigns on it. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startSlurm } from '../../testbed/slurm.mjs'

const CAMPAIGN = fileURLToPath(new URL('campaign.mjs', import.meta.url))

/**
 * A bed of its own for one figure: what ended before is still shown for minutes, and would be read by whoever comes later.
 *
 * @template T
 * @param {import('../../testbed/slurm.mjs').SlurmOptions} options
 * @param {(bed: import('../../testbed/slurm.mjs').SlurmBed, directory: string) => Promise<T>} action directory: new, for its files
 * @returns {Promise<T>}
 */
export async function onBed(options, action) {
  const directory = mkdtempSync(join(tmpdir(), 'cahier-bench-slurm-'))
  try {
    const bed = await startSlurm(options)
    try {
      return await action(bed, directory)
    } finally {
      await bed.stop()
    }
  } finally {
    rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
  }
}

/**
 * @typedef {{ seconds: number, counts: Record<string, number>, outcome: string, known: number[], samples: { atMs: number, cpuMs: number, rssMiB: number }[] }} CampaignFigures
 *
 * @param {{ env: Readonly<Record<string, string>> }} bed
 * @param {{ directory: string, jobs: number, command?: string, site?: object, maxInFlight?: number, stopAfter?: number }} input see campaign.mjs
 * @returns {Promise<CampaignFigures>}
 */
export async function campaign(bed, input) {
  const whole = { command: 'true', site: {}, maxInFlight: input.jobs, ...input }
  // CAHIER_BENCH_PROFILE: a folder for profiles of the controller.
  const profile = process.env.CAHIER_BENCH_PROFILE
  const options = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  const child = spawn(process.execPath, [...options, CAMPAIGN, JSON.stringify(whole)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...bed.env },
  })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk))
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (code !== 0) throw new Error(`the campaign ended with ${code}`)
  const figures = JSON.parse(stdout.trimEnd().split('\n').at(-1))
  const wanted = input.stopAfter === undefined ? 'complete' : 'detached'
  if (figures.outcome !== wanted) throw new Error(`the campaign ended ${figures.outcome}: ${JSON.stringify(figures.counts)}`)
  return figures
}

/** Questions about jobs, to the queue or to the accounting; what is asked once about the site itself is none. */
export function statusCalls(bed, since) {
  return bed
    .callList(since)
    .filter(({ command, args }) => command === 'squeue' || command === 'sacct' || (command === 'scontrol' && /\bjobs?\b/.test(args)))
}
