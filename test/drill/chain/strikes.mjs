/** Faults: when they come, and what they do. */
import { closeSync, openSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { signal } from '../../testbed/bed.mjs'
import { makeRandom } from '../shared.mjs'
import { pause } from './scene.mjs'
import { knock } from './strangers.mjs'

export const FILLER = 'filler'
/** The moment did not come, or was over. */
export const TOO_LATE = 'it came too late'
/** What the hosts were made with. */
const FROM_THE_BEGINNING = new Set(['nothing', 'slow host', 'read-only disk', 'flipped byte', 'links refused', 'no way to a host'])
/** How often one looks whether the moment has come. */
const LOOK_MS = 4
const BETWEEN_BREAKS_MS = 300
/** Who has all but what comes in so long has everything before one has looked again. */
const LAST_MS = 30

/**
 * @typedef {object} Blow
 * @property {string[]} hit hosts that need not be done
 * @property {string[]} failed hosts that nothing can help: they must be told as given up
 * @property {string[]} killed hosts on which something could not clean up behind itself
 * @property {string} note
 */

/**
 * Waits for the moment, and strikes. Ends with the fault, or when the command has ended.
 *
 * @param {import('./scene.mjs').Scene} scene
 * @param {import('./controller.mjs').Broadcast} broadcast
 * @param {{ total: number, folder: string, files: readonly string[], another: () => import('./controller.mjs').Broadcast }} context
 * @returns {Promise<Blow>}
 */
export async function strike(scene, broadcast, context) {
  const { plan } = scene
  const isHit = plan.fault === 'read-only disk' || plan.fault === 'no way to a host'
  const failed = plan.fault === 'no way to a host' ? [scene.victim] : []
  const blow = { hit: isHit ? [scene.victim] : [], failed, killed: [], note: '' }
  if (FROM_THE_BEGINNING.has(plan.fault)) return blow
  if (!(await momentComes(scene, broadcast, context.total))) return { ...blow, note: TOO_LATE }
  const began = performance.now()
  await ACTIONS[plan.fault](scene, broadcast, context, blow)
  const struck = Math.round(performance.now() - began)
  return { ...blow, note: `${blow.hit.join(' ')}${blow.note}${struck > 100 ? ` (took ${struck} ms)` : ''}` }
}

async function momentComes(scene, broadcast, total) {
  const { at, fault, rate } = scene.plan
  const wanted = 'front' in at ? at.front * total : 'own' in at ? Math.min(at.own * total, total - (LAST_MS * rate * 1000) / 8) : 0
  // The last one is known when all the others have everything.
  const isLast = fault.startsWith('last ')
  const isThere = () => {
    if ('agents' in at) return scene.agents(scene.victim).length > 0
    if ('front' in at) return scene.arrived(scene.ranking()[0]) >= wanted
    return scene.arrived(isLast ? (scene.ranking().at(-1) ?? '') : scene.victim) >= wanted
  }
  while (!broadcast.isOver) {
    if (isThere()) return true
    if (!('agents' in at) && scene.arrived(scene.victim) > 0) scene.aim()
    await pause(LOOK_MS)
  }
  return false
}

function killAgents(scene, names, blow) {
  blow.hit.push(...names)
  blow.killed.push(...names)
  // One look at everything: each costs time in which the others go on.
  const pids = names.flatMap((name, index) => scene.pidsOf(name, index === 0))
  for (const pid of pids) signal(pid, 'SIGKILL')
}

/** Those that stand one behind the other. */
function neighbours({ plan }, ranking) {
  const first = Math.floor(plan.dice * Math.max(1, ranking.length - 1))
  return ranking.slice(first, first + 2)
}

/** Takes all the room that is left on the disk of a directory. */
function fill(directory) {
  const fd = openSync(join(directory, FILLER), 'w')
  try {
    for (const piece of [1 << 20, 1 << 12]) {
      try {
        for (;;) writeSync(fd, Buffer.alloc(piece))
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error
      }
    }
  } finally {
    closeSync(fd)
  }
}

async function stopAgents(scene, blow, forMs) {
  blow.hit.push(scene.victim)
  const pids = scene.pidsOf(scene.victim, true)
  for (const pid of pids) signal(pid, 'SIGSTOP')
  if (forMs === 0) return
  await sleep(forMs)
  for (const pid of pids) signal(pid, 'SIGCONT')
}

/** @type {Record<string, (scene: any, broadcast: any, context: any, blow: Blow) => unknown>} */
const ACTIONS = {
  'agent killed': (scene, _broadcast, _context, blow) => killAgents(scene, [scene.victim], blow),
  'two neighbours killed': (scene, _broadcast, _context, blow) => killAgents(scene, neighbours(scene, scene.ranking()), blow),
  'first killed': (scene, _broadcast, _context, blow) => killAgents(scene, scene.ranking().slice(0, 1), blow),
  'last killed before its confirmation': (scene, _broadcast, _context, blow) => killAgents(scene, scene.ranking().slice(-1), blow),
  'all but one killed': (scene, _broadcast, _context, blow) => {
    const names = scene.ranking()
    const spared = names[Math.floor(scene.plan.dice * names.length)]
    killAgents(
      scene,
      scene.names.filter((name) => name !== spared),
      blow,
    )
  },
  'agent stopped': (scene, _broadcast, _context, blow) => stopAgents(scene, blow, 0),
  'agent stopped for a while': (scene, _broadcast, _context, blow) => stopAgents(scene, blow, scene.plan.forMs),
  'agent hangs': async (scene, _broadcast, { total }, blow) => {
    await stopAgents(scene, blow, 0)
    if (scene.arrived(scene.victim) < total) blow.failed.push(scene.victim)
    else blow.note = ', when it had everything'
  },
  'links break': (scene, broadcast, _context, blow) => {
    blow.note = ' again and again'
    void (async () => {
      while (!broadcast.isOver) {
        await scene.breakLinks(scene.victim)
        await Promise.race([sleep(BETWEEN_BREAKS_MS), broadcast.ended])
      }
    })()
  },
  'host cut': (scene, _broadcast, _context, blow) => {
    blow.hit.push(scene.victim)
    scene.bed.cutHost(scene.victim)
  },
  'host cut for a while': async (scene, _broadcast, _context, blow) => {
    blow.hit.push(scene.victim)
    scene.bed.cutHost(scene.victim)
    await sleep(scene.plan.forMs)
    scene.bed.thawHost(scene.victim)
  },
  'disk full': (scene, _broadcast, _context, blow) => {
    blow.hit.push(scene.victim)
    fill(scene.targets.get(scene.victim))
  },
  'source changed': (scene, _broadcast, { folder, files }, blow) => {
    blow.hit.push(...scene.names)
    const file = join(folder, 'source', files.at(-1))
    const fd = openSync(file, 'r+')
    writeSync(fd, 'changed', Math.floor(scene.plan.dice * Math.max(0, statSync(file).size - 7)))
    closeSync(fd)
  },
  'uninvited clients': async (scene, broadcast, _context, blow) => {
    const ended = new AbortController()
    void broadcast.ended.then(() => ended.abort())
    // Processes are looked for seldom: that costs more than the knocking.
    let known = []
    let at = Number.NEGATIVE_INFINITY
    const find = () => {
      if (performance.now() - at > 300) {
        known = scene.names.flatMap((name) => scene.agents(name).map(({ pid }) => ({ address: scene.addressOf(name), pid })))
        at = performance.now()
      }
      return known
    }
    const times = await knock(find, makeRandom(scene.plan.source.seed), ended.signal)
    blow.note = ` ${times} knocks`
  },
  'we are killed': async (scene, broadcast, _context, blow) => {
    blow.hit.push(...scene.names)
    broadcast.kill('SIGKILL')
    await broadcast.ended
  },
  'we are interrupted': async (scene, broadcast, _context, blow) => {
    blow.hit.push(...scene.names)
    broadcast.kill('SIGINT')
  },
  'another broadcast beside': (_scene, _broadcast, { another }) => void another(),
  'the same broadcast twice': (scene, _broadcast, { another }, blow) => {
    blow.hit.push(...scene.names)
    another()
  },
}
