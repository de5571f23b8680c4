/**
 * Campaigns on real SLURM clusters, and everything that can go wrong at random moments: the controller killed, frozen, restarted; our own
 * controller killed, between the acceptance of a job and its record too; nodes that die, jobs that are requeued and preempted, munge and
 * accounting that are down, ids that begin anew, commands that accept and say nothing. The ledger that the jobs write is the judge.
 *
 * `CAHIER_DRILL_MUTANT=<name>` breaks one rule of Cahier in the controllers (slurm/mutant-list.mjs): then the drill must fail.
 * `CAHIER_DRILL_ONLY=<words>` keeps the strikes whose names have them (slurm/plan.mjs).
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { slurmUnavailable, startSlurm } from '../testbed/slurm.mjs'
import { Verdict } from './shared.mjs'
import { Campaign } from './slurm/campaign.mjs'
import { judgeItem, valueFor } from './slurm/ledger.mjs'
import { describe, LANES, planCases } from './slurm/plan.mjs'
import { heal, releaseHeld, strikeAll } from './slurm/strikes.mjs'

export const what =
  'campaigns on real SLURM while controllers, nodes, accounting and we ourselves fail; each job ran to its end exactly once'
export const cases = 40

/** A case that takes longer is a failure. */
const CASE_MS = 300_000
/** What is left in a queue when a campaign is over has so long to show what it is. */
const DRAIN_MS = 90_000

/** Problems of one case that are told; all are counted. */
const TOLD = 6

/** @param {{ seed: number, cases: number, log: (line: string) => void }} options */
export default async function drill({ seed, cases, log }) {
  const verdict = new Verdict()
  const reason = slurmUnavailable({ accounting: 'dbd' })
  if (reason !== undefined) {
    log(`there can be no SLURM here: ${reason}`)
    return verdict
  }
  const plans = planCases(cases, seed, process.env.CAHIER_DRILL_ONLY)
  const folder = mkdtempSync(join(tmpdir(), 'cahier-drill-slurm-'))
  const lane = async (number) => {
    const mine = plans.filter((plan) => plan.lane === number)
    if (mine.length === 0) return
    const bed = await startSlurm(bedOptions(LANES[number]))
    try {
      for (const plan of mine) await runCase(bed, plan, join(folder, `case-${plan.number}`), verdict, log)
    } finally {
      await bed.stop()
    }
  }
  // A lane that cannot go on is a failure, and no end for the others.
  const given = (number) => (error) => verdict.fail(`the lane ${LANES[number].name} ended: ${error?.stack ?? error}`)
  await Promise.all(LANES.map((_, number) => lane(number).catch(given(number))))
  if (verdict.isClean) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
  else log(`kept for inspection: ${folder}`)
  return verdict
}

/** Jobs of the partition `urgent` put those of `main` back into the queue. */
const bedOptions = ({ accounting, minJobAge }) => ({
  accounting,
  minJobAge,
  partitions: [
    'PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP OverSubscribe=NO PriorityTier=1 PreemptMode=REQUEUE',
    'PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefaultTime=1 State=UP OverSubscribe=NO PriorityTier=10 PreemptMode=OFF',
  ],
  config: ['PreemptType=preempt/partition_prio', 'PreemptMode=REQUEUE'],
})

async function runCase(bed, plan, folder, verdict, log) {
  const began = performance.now()
  mkdirSync(folder)
  const campaign = new Campaign(folder, plan, bed)
  const strikes = strikeAll(bed, campaign, plan.strikes)
  strikes.catch(() => {})
  const stuck = await campaign.drive(began + CASE_MS)
  campaign.isOver = true
  const facts = [`${((performance.now() - began) / 1000).toFixed(1)} s`, `${campaign.deaths} deaths`]
  const problems = stuck === undefined ? [] : [{ kind: undefined, text: `${stuck}\n${await stateOf(bed, campaign)}` }]
  const { blows, notes } = await strikes
  await heal(bed)
  const left = await drain(bed)
  if (left !== undefined) problems.push({ kind: undefined, text: `left in the queue when the campaign was over: ${left}` })
  // Results come into the table at the end: of a run that has none nothing can be said about them.
  problems.push(...(await judge(campaign, plan, blows)).filter(({ kind }) => stuck === undefined || kind !== 'wrong'))
  // A campaign that is over has nothing left to run.
  if (problems.length === 0) problems.push(...(await runAgain(bed, campaign)))
  verdict.cases++
  for (const { kind } of problems) if (kind !== undefined) verdict[kind]++
  const texts = problems.slice(0, TOLD).map(({ kind, text }) => (kind === undefined ? text : `${kind}: ${text}`))
  if (problems.length > TOLD) texts.push(`and ${problems.length - TOLD} more`)
  log(`case ${plan.number}: ${describe(plan)}: ${texts.length === 0 ? 'good' : texts.join('; ')} (${[...facts, ...notes].join(', ')})`)
  if (texts.length === 0) return
  const state = stuck === undefined ? `\n${await stateOf(bed, campaign)}` : ''
  verdict.fail(`case ${plan.number} (${describe(plan)}): ${texts.join('; ')}${state}`)
}

/** Every job ran to its end exactly once, and what is known of it is true. */
async function judge(campaign, { jobs, prepare }, blows) {
  const ledgers = campaign.readLedgers()
  const { items, directories } = await campaign.readItems()
  const nothing = { starts: [], beside: [] }
  const circumstances = { blows, leftOpen: ({ tag, start }) => isLeftOpen(directories.get(tag), start) }
  const problems = []
  const blame = (name, found) => problems.push(...found.map(({ kind, text }) => ({ kind, text: `${name} ${text}` })))
  for (const [n, { code }] of jobs.entries()) {
    blame(`job ${n}`, judgeItem(ledgers.get(String(n)) ?? nothing, code, items.get(n), valueFor(n), circumstances))
  }
  if (!prepare) return problems
  const stage = ledgers.get('prepare') ?? nothing
  const last = stage.starts.findLast(({ endedAt }) => endedAt !== undefined)
  blame('prepare', judgeItem(stage, 0, { state: 'done', detail: '', tag: last?.tag }, undefined, { blows, leftOpen: () => true }))
  for (const n of jobs.keys()) {
    const first = ledgers.get(String(n))?.starts[0]
    if (first !== undefined && last !== undefined && first.at < last.endedAt)
      blame(`job ${n}`, [{ kind: 'wrong', text: 'was started before its prepare stage had ended' }])
  }
  return problems
}

/** True when this start left its marker, or a record that says that it was told to end. */
function isLeftOpen(directory, start) {
  if (directory === undefined) return false
  if (existsSync(join(directory, start === 1 ? 'running' : `running.${start}`))) return true
  return ['exit.json', `exit.${start}.json`].some((name) => {
    const file = join(directory, name)
    if (!existsSync(file)) return false
    const record = JSON.parse(readFileSync(file, 'utf8'))
    return (record.start ?? 1) === start && record.reason !== 'exited'
  })
}

async function runAgain(bed, campaign) {
  const lines = campaign.ledgerLines()
  const { code, output } = await campaign.runOnce(performance.now() + 120_000)
  await drain(bed)
  if (campaign.ledgerLines() !== lines) return [{ kind: 'doubled', text: 'a finished campaign was run again' }]
  if (code === 0 || code === 3) return []
  return [{ kind: undefined, text: `a finished campaign, run again, ended with ${code}: ${output.slice(-300)}` }]
}

/** Waits until the queue is empty, so that whatever was in it has shown what it is. @returns {Promise<string | undefined>} what stays */
async function drain(bed) {
  const end = performance.now() + DRAIN_MS
  for (;;) {
    const { exitCode, stdout } = await bed.run(['squeue', '-h', '-o', '%i %T %r %j'])
    if (exitCode === 0 && stdout.trim() === '') return undefined
    // What is still held has run: it must see that when it is released.
    await releaseHeld(bed)
    if (performance.now() > end) {
      await bed.run([
        'scancel',
        ...stdout
          .split('\n')
          .flatMap((line) => line.split(' ', 1))
          .filter(Boolean),
      ])
      return stdout.trim().replaceAll('\n', '; ')
    }
    await sleep(200)
  }
}

/** What one wants to see of a case that went wrong: the ends of log and journal, the queue, the ledger. */
async function stateOf(bed, campaign) {
  const tail = (text, lines) => text.trimEnd().split('\n').slice(-lines).join('\n')
  const read = (file, lines) => (existsSync(file) ? `--- ${file}\n${tail(readFileSync(file, 'utf8'), lines)}` : `--- no ${file}`)
  const journal = join(campaign.directory, 'journal')
  const newest = existsSync(journal) ? readdirSync(journal).sort().at(-1) : undefined
  const { stdout, stderr } = await bed.run(['squeue', '-h', '-t', 'all', '-o', '%i %T %r %S %e %j'])
  const ledger = readdirSync(campaign.ledger).map(
    (name) => `${name}: ${readFileSync(join(campaign.ledger, name), 'utf8').trimEnd().replaceAll('\n', ' | ')}`,
  )
  return [
    read(join(campaign.directory, 'log.ndjson'), 25),
    ...(newest === undefined ? [] : [read(join(journal, newest), 12)]),
    `--- squeue\n${tail(stdout + stderr, 30)}`,
    `--- ledger\n${ledger.join('\n')}`,
  ].join('\n')
}
