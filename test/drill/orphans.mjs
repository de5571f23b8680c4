/**
 * Process trees that do not want to end, on real ssh hosts, and everything that ends a command: cancel, abort, time limit, SIGKILL of
 * the controller, a network that is cut. Nothing of the tree may be left, on the host or here; canaries beside it must live. The
 * ledger is /proc: every process of a tree carries a token of its own in its environment.
 *
 * `wrong` counts orphans, `lost` canaries that died.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { commandLine, findProcesses } from '../testbed/proc.mjs'
import { MARK } from '../testbed/ssh-host-files.mjs'
import { sshHostsUnavailable, startSshHosts } from '../testbed/ssh-hosts.mjs'
import { inRounds, makeRandom, pick, Verdict } from './shared.mjs'

export const what = 'ends stubborn process trees on ssh hosts in every way there is, and looks for what is left'
export const cases = 60

const LANES = 4
/** Short, so that cases are; and longer than a loaded machine may stand still. */
const LEASE_MS = 6000
const KEEP_ALIVE_MS = 1500
/** How much later than promised something may be on a loaded machine. */
const SLACK_MS = 15_000
const controller = fileURLToPath(new URL('orphans/controller.mjs', import.meta.url))

/** A process that goes on until somebody ends it; it ignores what it can when it is stubborn. */
const loop = (stubborn) => `sh -c '${stubborn ? 'trap "" TERM INT HUP; ' : ''}while :; do sleep 1; done'`
const quiet = '</dev/null >/dev/null 2>&1'

/** Children that a command may leave, and how many lasting processes (without the `sleep` of a loop) each is. */
const CHILDREN = {
  plain: (stubborn) => `${loop(stubborn)} ${quiet} &`,
  // Keeps the output of the command open.
  holder: (stubborn) => `${loop(stubborn)} </dev/null &`,
  setsid: (stubborn) => `setsid ${loop(stubborn)} ${quiet} &`,
  'double fork': (stubborn) => `( ( exec ${loop(stubborn)} ${quiet} & ) & )`,
  daemon: (stubborn) => `( setsid sh -c '( exec "$@" & )' sh ${loop(stubborn)} ${quiet} & )`,
}

/** What ends a command, and what may then be said of it; undefined: nobody is left to say it. */
const FAULTS = {
  // By a channel alone the system client says 255 for every signal.
  kill: ['signaled', 'exited'],
  abort: ['canceled'],
  'time limit': ['timed-out'],
  'SIGKILL of the controller': undefined,
  cut: ['unreachable'],
}

/** Without a runner nothing on the host can notice that we are gone. */
const PROMISED = { perl: Object.keys(FAULTS), sh: Object.keys(FAULTS), none: ['kill', 'abort', 'time limit'] }

/** All tokens begin so. */
const TOKENS = `cahier-drill-${process.pid}-`
/** So long what one lane has seen in /proc is good enough for the others. */
const LOOK_MS = 50
let look = { at: Number.NEGATIVE_INFINITY, found: new Map() }

/** Processes that carry the token. @param {string} token @param {boolean} [anew] not what was seen a moment ago */
function processesWith(token, anew = false) {
  if (anew || performance.now() - look.at > LOOK_MS) look = { found: findProcesses(TOKENS), at: performance.now() }
  return [...look.found].filter(([, text]) => text.includes(token)).map(([pid]) => pid)
}

/**
 * @param {{ seed: number, cases: number, log: (line: string) => void }} options
 */
export default async function drill({ seed, cases, log }) {
  const verdict = new Verdict()
  const reason = sshHostsUnavailable()
  if (reason !== undefined) {
    log(`there can be no ssh hosts here: ${reason}`)
    return verdict
  }
  const netns = sshHostsUnavailable({ netns: true }) === undefined
  const bed = await startSshHosts(LANES, { netns })
  try {
    await runAll(bed, planCases(cases, seed), verdict, log)
  } finally {
    await bed.stop()
  }
  return verdict
}

/** Each host is a lane: one case after the other, beside those of the other hosts. */
async function runAll(bed, plans, verdict, log) {
  log(
    `${bed.hosts.length} hosts, each ${bed.isIsolated ? 'in namespaces of its own; a cut pulls its cable' : 'on a loopback address; a cut stops its sshd'}`,
  )
  const took = new Map()
  const lane = async (name) => {
    const canary = await startCanary(bed, name)
    for (let plan = plans.shift(); plan !== undefined; plan = plans.shift()) {
      const { problems, leftMs } = await runCase(bed, name, plan).catch((error) => ({ problems: [String(error?.stack ?? error)] }))
      verdict.cases++
      if (leftMs !== undefined) took.set(plan.fault, [...(took.get(plan.fault) ?? []), leftMs])
      if (processesWith(canary).length === 0) {
        verdict.lost++
        problems.push('lost: the canary on the host died')
        await startCanary(bed, name, canary)
      }
      // The same process may be complained of twice.
      verdict.wrong += new Set(problems.map((problem) => /^orphan [^:]*: (\d+)/.exec(problem)?.[1]).filter(Boolean)).size
      for (const problem of problems) {
        if (problem.startsWith('lost: a command beside')) verdict.lost++
        verdict.fail(`case ${plan.number} (${describe(plan)}) on ${name}: ${problem}`)
      }
      const ending = problems.length > 0 ? problems.join('; ') : `gone after ${leftMs} ms`
      log(`case ${plan.number}: ${describe(plan)}: ${ending}`)
    }
  }
  // A lane that cannot go on is a failure, and no end for the others.
  const given = (name) => (error) => verdict.fail(`the lane of ${name} ended: ${error?.stack ?? error}`)
  await Promise.all(bed.hosts.map(({ name }) => lane(name).catch(given(name))))
  for (const [fault, times] of took) log(`${fault}: everything gone after at most ${Math.max(...times)} ms`)
}

const describe = ({ fault, connector, runner, children, stubborn }) =>
  `${fault}, ${connector}, runner ${runner}, ${stubborn ? 'stubborn ' : ''}command with ${children.map((child) => `${child.stubborn ? 'stubborn ' : ''}${child.kind}`).join(', ')}`

/** All choices are made before anything starts, so that the same seed gives the same cases whoever is faster. */
function planCases(cases, seed) {
  const random = makeRandom(seed)
  const ways = ['ssh2', 'openssh'].flatMap((connector) =>
    Object.entries(PROMISED).flatMap(([runner, faults]) => faults.map((fault) => ({ connector, runner, fault }))),
  )
  const nextWay = inRounds(random, ways)
  return Array.from({ length: cases }, (_, index) => {
    return {
      number: index + 1,
      ...nextWay(),
      stubborn: random() < 0.5,
      children: Array.from({ length: 1 + Math.floor(random() * 4) }, () => ({
        kind: pick(random, Object.keys(CHILDREN)),
        stubborn: random() < 0.6,
      })),
      token: `${TOKENS}${index + 1}`,
      graceMs: Math.floor(100 + random() * 900),
      /** The fault comes while the tree is still growing. */
      early: random() < 0.2,
      waitMs: Math.floor(random() * 500),
      limitMs: Math.floor(1500 + random() * 1500),
    }
  })
}

/** Started by hand, as it were: same user, same host, no Cahier. Returns its token. */
async function startCanary(bed, name, token = `${TOKENS}canary-${name}.`) {
  const script = `DRILL_TOKEN=${token} setsid ${loop(true)} ${quiet} &`
  const ssh = spawn('ssh', ['-F', bed.sshConfig, name, script], { stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = await once(ssh, 'exit')
  if (!(await until(() => processesWith(token, true).length > 0, SLACK_MS))) throw new Error(`no canary on ${name}: ssh ended with ${code}`)
  return token
}

/** @returns {Promise<{ problems: string[], leftMs?: number }>} leftMs: from the fault until nothing was left */
async function runCase(bed, name, plan) {
  const { token, fault } = plan
  const beside = `${token}-beside`
  const local = `${token}-controller`
  const script = `${plan.stubborn ? 'trap "" TERM INT HUP\n' : ''}${plan.children.map(({ kind, stubborn }) => CHILDREN[kind](stubborn)).join('\n')}
echo up
while :; do sleep 1; done`
  const spec = { command: { script, shell: '/bin/sh' }, env: { DRILL_TOKEN: `${token}.` }, graceMs: plan.graceMs, spillTo: false }
  const other = { command: ['sleep', '1000'], env: { DRILL_TOKEN: beside }, graceMs: plan.graceMs }
  const job = {
    host: { address: name },
    connection: {
      sshConfig: bed.sshConfig,
      connector: plan.connector,
      runner: plan.runner,
      lease: LEASE_MS,
      keepAlive: KEEP_ALIVE_MS,
    },
    specs: [fault === 'time limit' ? { ...spec, timeoutMs: plan.limitMs } : spec, other],
  }
  const child = spawn(process.execPath, [controller], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // Its own helpers here, such as ssh, are found by it.
    env: { ...process.env, DRILL_TOKEN: local },
  })
  const problems = []
  const events = []
  let errors = ''
  child.stdin.on('error', () => {})
  child.stderr.on('data', (chunk) => (errors += chunk))
  createInterface({ input: child.stdout }).on('line', (line) => events.push(JSON.parse(line)))
  const exited = once(child, 'exit')
  const order = (line) => child.stdin.write(`${line}\n`)
  const find = (event, index) => events.find((each) => each.event === event && each.index === index)
  try {
    order(JSON.stringify(job))
    const isUp = () =>
      find('started', 0) !== undefined &&
      processesWith(beside).length > 0 &&
      (plan.early || processesWith(`${token}.`).filter((pid) => commandLine(pid).startsWith('sh -c')).length >= plan.children.length)
    if (fault === 'time limit') {
      await until(() => find('ended', 0) !== undefined, plan.limitMs + plan.graceMs + SLACK_MS)
    } else if (!(await until(isUp, SLACK_MS))) {
      problems.push(`the tree did not come up: ${JSON.stringify(events)} ${errors.slice(-600)}`)
      return { problems }
    }
    await sleep(fault === 'time limit' || plan.early ? 0 : plan.waitMs)
    const began = performance.now()
    if (fault === 'kill' || fault === 'abort') order(fault)
    else if (fault === 'cut') bed.cutHost(name)
    else if (fault !== 'time limit') child.kill('SIGKILL')

    if (FAULTS[fault] === undefined) {
      // What it had started here, such as ssh, goes with it, whatever still runs on the host.
      const here = () => processesWith(local)
      await untilLasting(() => here().length === 0, SLACK_MS)
      for (const pid of here()) problems.push(`orphan here: ${pid} ${commandLine(pid)}`)
    }
    const endsAll = fault === 'cut' || FAULTS[fault] === undefined
    const leaseMs = endsAll ? LEASE_MS : 0
    const left = (anew) => [...processesWith(`${token}.`, anew), ...(endsAll ? processesWith(beside) : [])]
    const expected = FAULTS[fault]
    if (expected !== undefined && fault !== 'cut') {
      // Whoever says that it has ended has looked: from then on nothing is left.
      await until(() => find('ended', 0) !== undefined, plan.graceMs + SLACK_MS)
      for (const pid of left(true)) problems.push(`orphan after the result: ${pid} ${commandLine(pid)}`)
    }
    await untilLasting(() => left().length === 0, leaseMs + plan.graceMs + SLACK_MS)
    const leftMs = Math.round(performance.now() - began)
    for (const pid of left()) problems.push(`orphan on the host: ${pid} ${commandLine(pid)}`)

    if (expected !== undefined) {
      await until(() => find('ended', 0) !== undefined, SLACK_MS)
      const end = find('ended', 0)
      if (!expected.includes(end?.outcome))
        problems.push(`the outcome is ${JSON.stringify(end)}, not ${expected.join(' or ')}; ${errors.slice(-600)}`)
      else if (fault !== 'cut' && end.survivors.length > 0) problems.push(`survivors: ${end.survivors}`)
    }
    const isBesideGone = () => find('ended', 1) !== undefined || (find('started', 1) !== undefined && processesWith(beside).length === 0)
    if ((fault === 'kill' || fault === 'time limit') && isBesideGone())
      problems.push('lost: a command beside it, over the same connection, died')
    if (fault === 'cut') bed.thawHost(name)
    // What comes back after the cut has nothing to come back to.
    if (child.exitCode === null && child.signalCode === null) order('leave')
    if (!(await Promise.race([exited.then(() => true), sleep(SLACK_MS, false, { ref: false })]))) {
      problems.push(`the controller does not end: ${JSON.stringify(events)}`)
      child.kill('SIGKILL')
      await exited
    }
    // Now nothing of ours is left anywhere: no helper here, no runner there.
    const runners = () =>
      [...findProcesses(`${MARK}=${bed.directory}/${name}\0`)]
        .filter(([pid, text]) => text.includes('SSH_CONNECTION=') && !text.includes(TOKENS) && !commandLine(pid).startsWith('sshd'))
        .map(([pid]) => pid)
    const anywhere = () => [...[`${token}.`, beside, local].flatMap((each) => processesWith(each)), ...runners()]
    await untilLasting(() => anywhere().length === 0, leaseMs + plan.graceMs + SLACK_MS)
    for (const pid of anywhere()) problems.push(`orphan at the end: ${pid} ${commandLine(pid)}`)
    return { problems, leftMs }
  } finally {
    bed.thawHost(name)
    child.kill('SIGKILL')
    look = { ...look, at: Number.NEGATIVE_INFINITY }
    for (const pid of [`${token}.`, beside, local].flatMap((each) => processesWith(each))) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    }
  }
}

async function until(holds, withinMs) {
  for (const end = performance.now() + withinMs; !holds(); ) {
    if (performance.now() > end) return false
    await sleep(50)
  }
  return true
}

/** A process that is just becoming another program shows no environment for a moment: one look is not enough. */
async function untilLasting(holds, withinMs) {
  let looks = 0
  return until(() => {
    looks = holds() ? looks + 1 : 0
    return looks === 3
  }, withinMs)
}
