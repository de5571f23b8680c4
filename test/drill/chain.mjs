/**
 * Broadcasts to real ssh hosts, and everything that can go wrong at random moments: agents and hosts that die, hang, are cut off or slow,
 * disks that are full, sources that change, clients that nobody invited, bytes that are flipped, and we ourselves killed. What lies on the
 * disks of the hosts is the judge.
 *
 * `doubled` counts processes and folders that stay, `lost` hosts that were hit by nothing and have not everything, `wrong` files that are
 * neither old nor right, and results that are not true.
 *
 * `CAHIER_DRILL_MUTANT=<name>` breaks one rule of Cahier (chain/mutant-list.mjs): then the drill must fail.
 * `CAHIER_DRILL_ONLY=<words>` keeps the faults whose names have them (chain/plan.mjs), `CAHIER_DRILL_CASES=<numbers>` those cases.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { disksUnavailable } from '../testbed/disks.mjs'
import { sshHostsUnavailable } from '../testbed/ssh-hosts.mjs'
import { Broadcast, PATIENCE_MS } from './chain/controller.mjs'
import { makeOld, makeSource, survey } from './chain/files.mjs'
import { judge, judgeLeftovers } from './chain/judge.mjs'
import { describe, planCases } from './chain/plan.mjs'
import { Scene } from './chain/scene.mjs'
import { strike, TOO_LATE } from './chain/strikes.mjs'
import { Verdict } from './shared.mjs'

export const what =
  'broadcasts to real ssh hosts that die, hang, are cut, full, slow or tampered with; what lies on their disks is the judge'
export const cases = 60

/** What went wrong is kept for inspection. */
const KEPT = process.env.CAHIER_DRILL_KEEP !== undefined
/** Cases side by side. */
const LANES = 2
/** A broadcast that takes longer is stuck, and ended. */
const STUCK_MS = 120_000
/** How much later than it should something may be on a loaded machine. */
const SLACK_MS = 12_000
/** The other cases cost time, too, not always the same. */
const NOISE_MS = 3000
/** An agent that hears nothing ends after so long. */
const LEASE_MS = 60_000

/** @param {{ seed: number, cases: number, log: (line: string) => void }} options */
export default async function drill({ seed, cases, log }) {
  const verdict = new Verdict()
  const reason = sshHostsUnavailable()
  if (reason !== undefined) {
    log(`there can be no ssh hosts here: ${reason}`)
    return verdict
  }
  const netns = sshHostsUnavailable({ netns: true }) === undefined
  const disks = disksUnavailable() === undefined
  const chosen = process.env.CAHIER_DRILL_CASES?.split(',').map(Number)
  const all = planCases(cases, seed, { only: process.env.CAHIER_DRILL_ONLY, netns, disks })
  const plans = all.filter(({ number }) => chosen?.includes(number) ?? true)
  // Hosts get a /tmp of their own, so that theirs must not be below it.
  const above = netns && tmpdir() === '/tmp' ? '/var/tmp' : tmpdir()
  process.env.TMPDIR = above
  const folder = mkdtempSync(join(above, 'cahier-drill-chain-'))
  const endings = []
  const lane = async () => {
    for (let plan = plans.shift(); plan !== undefined; plan = plans.shift()) {
      const report = (problems, facts) => tell(verdict, log, plan, problems, facts)
      await runCase(join(folder, `case-${plan.number}`), plan, netns, report, endings).catch((error) =>
        report([{ text: String(error?.stack ?? error) }], []),
      )
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  await Promise.all(endings)
  if (verdict.isClean || !KEPT) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
  return verdict
}

function tell(verdict, log, plan, problems, facts) {
  verdict.cases++
  for (const { kind } of problems) if (kind !== undefined) verdict[kind]++
  const texts = problems.map(({ kind, text }) => (kind === undefined ? text : `${kind}: ${text}`))
  log(`case ${plan.number}: ${describe(plan)}: ${texts.length === 0 ? 'good' : texts.slice(0, 6).join('; ')} (${facts.join(', ')})`)
  if (texts.length > 0) verdict.fail(`case ${plan.number} (${describe(plan)}): ${texts.slice(0, 12).join('; ')} (${facts.join(', ')})`)
}

/**
 * What follows the broadcast, a wait for agents that hear nothing any more above all, goes on beside the next case: it is put into
 * `endings`, and reports.
 */
async function runCase(folder, plan, netns, report, endings) {
  mkdirSync(folder)
  const files = makeSource(join(folder, 'source'), plan.source)
  const source = await survey(join(folder, 'source'))
  const total = [...source.values()].reduce((sum, { size }) => sum + size, 0)
  const scene = await Scene.start(folder, plan, netns, total)
  let isEnding = false
  try {
    writeFileSync(join(folder, 'cahier.config.yaml'), `connection: { sshConfig: ${scene.bed.sshConfig}, keepAlive: 1s }\n`)
    for (const [index, name] of scene.names.entries())
      if (plan.old[index] && !plan.fault.includes('disk')) makeOld(scene.targets.get(name), source, plan.source.seed + index)
    const before = new Map()
    for (const name of scene.names) before.set(name, await survey(scene.targets.get(name)))
    const hosts = `h[1-${scene.names.length}]`
    const start = (named = files) => new Broadcast(folder, named, { hosts, ...plan })
    const others = []
    const another = () => others.push(plan.fault === 'the same broadcast twice' ? start() : start(makeBeside(folder, plan)))
    if (plan.fault === 'another broadcast beside') makeBeside(folder, plan)
    const wanted = await survey(join(folder, 'source'))
    const calm = plan.atMost === undefined ? undefined : new Broadcast(folder, files, { hosts, ...plan, to: 'undisturbed' })
    await calm?.ended
    if (calm !== undefined) await Promise.all(scene.names.map((name) => scene.leftovers(name, performance.now() + SLACK_MS, false)))
    scene.begin()
    const first = start()
    let isStuck = false
    const watchdog = setTimeout(
      () => {
        isStuck = true
        for (const one of [first, ...others]) one.kill('SIGKILL')
      },
      stuckAfter(plan, total, calm),
    )
    const blow = await strike(scene, first, { total, folder, files, another })
    const struckAt = performance.now()
    await first.ended
    await Promise.all(others.map(({ ended }) => ended))
    clearTimeout(watchdog)
    const seconds = (performance.now() - struckAt) / 1000
    const facts = [`${first.seconds.toFixed(1)} s`, `${seconds.toFixed(1)} s after the fault`, `hit:${blow.note || ' none'}`]
    const problems = isStuck ? [{ text: 'it was stuck' }] : []
    if (!isStuck && seconds * 1000 > boundOf(plan, total))
      problems.push({ text: `took ${seconds.toFixed(1)} s after the fault, not ${boundOf(plan, total) / 1000}` })
    if (calm !== undefined) {
      facts.unshift(`${calm.seconds.toFixed(1)} s undisturbed`)
      if (calm.code !== 0) problems.push({ kind: 'lost', text: `undisturbed: exit code ${calm.code}: ${calm.errors.slice(0, 300)}` })
      const most = limitOf(plan, calm) / 1000
      if (blow.note !== TOO_LATE && first.seconds > most)
        problems.push({ text: `took ${first.seconds.toFixed(1)} s, not ${most.toFixed(1)}` })
    }
    const changed = plan.fault === 'source changed' ? await survey(join(folder, 'source')) : undefined
    problems.push(...(await judge({ scene, plan, blow, before, source, wanted, changed, first, others, isStuck })))
    isEnding = true
    endings.push(
      finish({ scene, plan, blow, start, folder, wanted, problems })
        .catch((error) => problems.push({ text: String(error?.stack ?? error) }))
        .then(async () => {
          await scene.stop().catch((error) => problems.push({ text: `the hosts could not be ended: ${error}` }))
          if (problems.length === 0 || !KEPT) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
          report(problems, facts)
        }),
    )
  } finally {
    if (!isEnding) await scene.stop()
  }
}

/** Files that only the other broadcast brings. */
function makeBeside(folder, { source }) {
  const path = join(folder, 'source', 'of-the-other')
  writeFileSync(path, Buffer.alloc(3_000_000, source.seed))
  return ['of-the-other']
}

/** Three times what it takes undisturbed on an idle machine, and as long as it is allowed to hope. */
function boundOf({ fault, kinds, rate, forMs, after }, total) {
  const line = (total / ((rate * 1e6) / 8)) * 1000
  if (after !== undefined) return after.times * line + after.moreMs
  return 3 * (1500 + 300 * kinds.length + line) + (fault === 'slow host' ? 20 * 1.3 * line : 0) + forMs + 3 * PATIENCE_MS + SLACK_MS
}

/** What it may take on a machine that does more besides. */
function limitOf({ atMost }, calm) {
  const noise = Math.min(SLACK_MS, NOISE_MS * Math.max(1, loadavg()[0] / (2 * availableParallelism())))
  return atMost.times * calm.seconds * 1000 + atMost.moreMs + noise
}

/** Nothing that ends later is waited for. */
const stuckAfter = (plan, total, calm) => (calm === undefined ? STUCK_MS : Math.max(boundOf(plan, total), limitOf(plan, calm)) + NOISE_MS)

/** Nothing stays; and the same command once more brings what is missing, and leaves no parts. */
async function finish({ scene, plan, blow, start, folder, wanted, problems }) {
  scene.heal()
  problems.push(...(await judgeLeftovers(scene, blow, performance.now() + LEASE_MS + SLACK_MS)))
  if (plan.fault.includes('disk')) return
  const again = start()
  const watchdog = setTimeout(() => again.kill('SIGKILL'), STUCK_MS)
  await again.ended
  clearTimeout(watchdog)
  const now = plan.fault === 'source changed' ? await survey(join(folder, 'source')) : wanted
  const found = await judge({ scene, plan, wanted: now, first: again })
  problems.push(...found.map(({ kind, text }) => ({ kind, text: `run again: ${text}` })))
  problems.push(...(await judgeLeftovers(scene, blow, performance.now() + SLACK_MS)))
}
