/**
 * Jobs of `true` on this machine, from campaign to journal: claim, intent, submission, wrapper, exit record, verdict. The peer is
 * GNU parallel with its job log, which is what people use for this.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LocalScheduler, runCampaign } from '../../packages/core/dist/index.js'
import { have, interleave, ratioRow } from './measure.mjs'

export const what = 'jobs per second of `true`: campaign with wrapper, exit record and journal, against GNU parallel -j64 --joblog'

const AT_ONCE = 64
const FEW = 2_000
const MANY = 20_000
/** Enough that the queue is never empty while the controller reads results. */
const IN_FLIGHT = 1_024

/** @param {{ repeat: number, log: (line: string) => void }} options */
export default async function bench({ repeat, log }) {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-bench-jobs-'))
  const scheduler = new LocalScheduler({ directory: join(folder, 'queue'), cores: AT_ONCE })
  try {
    await scheduler.open()
    let run = 0
    const ours = async (jobs) => {
      run += 1
      return await campaignRate(join(folder, `run-${run}`), jobs, scheduler)
    }
    const rows = []
    if (have('parallel')) {
      const rates = await interleave(repeat, { ours: () => ours(FEW), parallel: () => parallelRate(folder, FEW) }, log)
      rows.push(ratioRow({ what: `${FEW} jobs (1/s)`, ours: rates.ours, peer: rates.parallel, better: 'higher', goal: 1.5 }))
    } else log('GNU parallel is not installed (Debian package parallel): no peer')
    const sizes = await interleave(Math.min(repeat, 2), { few: () => ours(FEW), many: () => ours(MANY) }, log)
    rows.push(ratioRow({ what: `${MANY} jobs, against ${FEW} (1/s)`, ours: sizes.many, peer: sizes.few, better: 'higher', goal: 0.9 }))
    return { rows }
  } finally {
    await scheduler.shutDown()
    // At the end only: where many files were just removed, ext4 is slow to make new ones.
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
  }
}

/** Jobs per second of one campaign, with everything that `cahier run` does but the terminal. */
async function campaignRate(directory, jobs, scheduler) {
  const source = `${directory}-campaign`
  mkdirSync(source)
  const file = join(source, 'campaign.yaml')
  writeFileSync(
    file,
    `name: local-jobs\nfactors:\n  n: { range: [0, ${jobs - 1}] }\njob:\n  command: "true"\nresults: {}\ncollect: {}\nmaxInFlight: ${IN_FLIGHT}\n`,
  )
  const start = performance.now()
  const { outcome, counts } = await runCampaign({ campaign: file, directory, scheduler })
  const seconds = (performance.now() - start) / 1000
  if (outcome !== 'complete' || counts.done !== jobs) throw new Error(`the campaign ended ${outcome}: ${JSON.stringify(counts)}`)
  return jobs / seconds
}

function parallelRate(folder, jobs) {
  return new Promise((resolve, reject) => {
    const log = join(folder, 'joblog')
    const start = performance.now()
    const child = spawn('parallel', ['-j', String(AT_ONCE), '--joblog', log, 'true'], { stdio: ['pipe', 'ignore', 'inherit'] })
    child.on('error', reject)
    child.on('exit', (code) =>
      code === 0 ? resolve(jobs / ((performance.now() - start) / 1000)) : reject(new Error(`parallel ended with ${code}`)),
    )
    child.stdin.end(Array.from({ length: jobs }, (_, n) => `${n}\n`).join(''))
  })
}
