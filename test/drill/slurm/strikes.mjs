/** What the drill does to a cluster and to a campaign, and how it is undone. */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { QUEUE_FAULTS, SBATCH_FAULTS } from './commands.mjs'

/** Seconds since the machine was started, as the jobs write them. */
export const secondsSinceStart = () => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0])

/** Longer than any job of the drill takes. */
const HELD_MS = 10_000
const HELD = 'launch failed requeued held'

/** A moment of a strike that has not come after so long does not come. */
const WAIT_MS = 40_000

/**
 * What happens to the cluster happens one after the other; what happens to us happens at any moment.
 *
 * @type {Record<string, (bed: any, strike: import('./plan.mjs').Strike) => Promise<unknown>>}
 */
const ON_CLUSTER = {
  'controller killed': async (bed, { forMs }) => {
    await bed.killController()
    await sleep(forMs)
    await bed.startController()
  },
  'controller frozen': async (bed, { forMs }) => {
    const thaw = bed.freezeController()
    await sleep(forMs)
    thaw()
  },
  'controller restarted': async (bed, { forMs }) => {
    await bed.stopController()
    await sleep(forMs)
    await bed.startController()
  },
  'munge stopped': async (bed, { forMs }) => {
    await bed.stopMunge()
    await sleep(forMs)
    await bed.startMunge()
  },
  'accounting stopped': async (bed, { forMs }) => {
    await bed.stopAccounting()
    await sleep(forMs)
    await bed.startAccounting()
  },
  'accounting frozen': async (bed, { forMs }) => {
    const thaw = bed.freezeAccounting()
    await sleep(forMs)
    thaw()
  },
  'node killed': async (bed, { forMs, dice }) => {
    const name = nodeOf(bed, dice)
    await bed.killNode(name)
    await sleep(forMs)
    await bed.startNode(name)
  },
  'node set down': (bed, { dice }) => bed.downNode(nodeOf(bed, dice)),
  'slurmd restarted, its jobs go on': async (bed, { forMs, dice }) => {
    const name = nodeOf(bed, dice)
    await bed.killNode(name, { onlyDaemon: true })
    await sleep(forMs)
    await bed.startNode(name)
  },
  'job requeued': async (bed, { dice }) => {
    const { stdout } = await bed.run(['squeue', '-h', '-r', '-t', 'running', '-o', '%i'])
    const ids = stdout.split('\n').filter(Boolean)
    if (ids.length === 0) return 'nothing ran'
    const { exitCode, stderr } = await bed.run(['scontrol', 'requeue', ids[Math.floor(dice * ids.length)]])
    return exitCode === 0 ? undefined : stderr.trim()
  },
  'jobs preempted': async (bed, { forMs, dice }) => {
    const nodes = String(1 + Math.floor(dice * bed.nodes.length))
    const wrap = `sleep ${forMs / 1000}`
    const { exitCode, stderr } = await bed.run([
      'sbatch',
      '-p',
      'urgent',
      '-N',
      nodes,
      '--exclusive',
      '-J',
      'urgent',
      '-o',
      '/dev/null',
      '--wrap',
      wrap,
    ])
    return exitCode === 0 ? undefined : stderr.trim()
  },
  'ids reset': async (bed, { forMs }) => {
    await bed.stopController()
    const state = join(bed.directory, 'ctld')
    for (const file of readdirSync(state)) rmSync(join(state, file), { recursive: true })
    await sleep(forMs)
    await bed.startController()
  },
}

/** Jobs may be ended from outside, so many seconds after it began and after it was over. */
const ENDS_JOBS = {
  'controller killed': 20,
  'controller restarted': 20,
  'node killed': 15,
  'node set down': 5,
  'slurmd restarted, its jobs go on': 5,
  'job requeued': 5,
  'jobs preempted': 10,
  'ids reset': 30,
}

const ON_US = {
  'we are killed': async (campaign, { forMs }) => (campaign.kill(forMs) ? undefined : 'nobody was there'),
  'sbatch misbehaves': async ({ commands }, { mode }) => commands.once('sbatch', SBATCH_FAULTS[mode]),
  'squeue misbehaves': ({ commands }, strike) => misbehave(commands, 'squeue', strike),
  'sacct misbehaves': ({ commands }, strike) => misbehave(commands, 'sacct', strike),
}
ON_US['we are killed and come back late'] = ON_US['we are killed']

const nodeOf = (bed, dice) => bed.nodes[Math.floor(dice * bed.nodes.length)]

async function misbehave(commands, name, { mode, forMs }) {
  commands.always(name, QUEUE_FAULTS[mode])
  await sleep(forMs)
  commands.always(name)
}

/**
 * Strikes when the moments come, and resolves when everything is healed.
 *
 * @param {any} bed
 * @param {import('./campaign.mjs').Campaign} campaign
 * @param {readonly import('./plan.mjs').Strike[]} strikes
 * @returns {Promise<{ blows: { from: number, to: number }[], notes: string[] }>}
 */
export async function strikeAll(bed, campaign, strikes) {
  const blows = []
  const notes = []
  let last = Promise.resolve()
  /** Whatever could not be done to the cluster must not keep the next from being done. */
  const inTurn = (act) => {
    const turn = last.then(() => (campaign.isOver ? 'too late' : act()))
    last = turn.catch(() => {})
    return turn
  }
  const one = async (strike) => {
    const { kind } = strike
    if (!(await moment(campaign, strike))) return void notes.push(`${kind}: its moment did not come`)
    const from = secondsSinceStart()
    const note = await (ON_US[kind] === undefined ? inTurn(() => ON_CLUSTER[kind](bed, strike)) : ON_US[kind](campaign, strike))
    if (note !== undefined) notes.push(`${kind}: ${note}`)
    if (ENDS_JOBS[kind] !== undefined) blows.push({ from, to: secondsSinceStart() + ENDS_JOBS[kind] })
  }
  const administrator = administer(bed, campaign)
  const ends = await Promise.allSettled(strikes.map(one))
  await administrator
  const failed = ends.find(({ status }) => status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return { blows, notes }
}

/** Waits for it. @returns {Promise<boolean>} false: the campaign was over before */
async function moment(campaign, { at }) {
  const began = performance.now()
  const hasCome = () => {
    if ('lines' in at) return campaign.ledgerLines() >= at.lines
    if ('submits' in at) return campaign.commands.calls('sbatch') >= at.submits
    return true
  }
  while (!hasCome()) {
    if (campaign.isOver || performance.now() - began > WAIT_MS) return false
    await sleep(20)
  }
  await sleep(at.ms)
  return true
}

/**
 * After a death without warning the controller starts jobs that run already; the nodes refuse, it drains them, and holds those jobs when that
 * was not the first time. An administrator puts both right, jobs after a while: nothing of them may be alive then.
 */
async function administer(bed, campaign) {
  const since = new Map()
  while (!campaign.isOver) {
    await resumeNodes(bed)
    await releaseHeld(bed, (id) => {
      if (!since.has(id)) since.set(id, performance.now())
      return performance.now() - since.get(id) > HELD_MS
    })
    await sleep(1000)
  }
}

/** Lets jobs go that the controller holds because no node took them. @param {any} bed @param {(id: string) => boolean} [which] */
export async function releaseHeld(bed, which = () => true) {
  const { stdout } = await bed.run(['squeue', '-h', '-r', '-t', 'pending', '-o', '%i %r'])
  const ids = stdout.split('\n').flatMap((line) => (line.endsWith(HELD) ? line.split(' ', 1) : []))
  for (const id of ids.filter(which)) await bed.run(['scontrol', 'release', id])
}

async function resumeNodes(bed) {
  const { stdout } = await bed.run(['sinfo', '-h', '-N', '-o', '%N %T'])
  const drained = stdout.split('\n').flatMap((line) => (/ drain/.test(line) ? line.split(' ', 1) : []))
  if (drained.length > 0) await bed.run(['scontrol', 'update', `nodename=${drained.join(',')}`, 'state=resume'])
}

/** Everything of the cluster works again. */
export async function heal(bed) {
  await bed.startMunge()
  await bed.startController()
  await resumeNodes(bed)
  for (const name of bed.nodes) await bed.startNode(name)
}
