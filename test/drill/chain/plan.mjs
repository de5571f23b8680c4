/** Which cases a drill has: pure, all choices are made before anything starts, so that a seed gives the same cases. */
import { between, inRounds, makeRandom, pick } from '../shared.mjs'

/**
 * @typedef {{ agents: true } | { front: number } | { own: number }} Moment when all agents are there; when the first host has this part of
 * everything; when the victim has
 *
 * @typedef {object} CasePlan
 * @property {number} number
 * @property {readonly ('py' | 'pl' | 'sh')[]} kinds what can look after files on each host
 * @property {'tcp' | 'ssh'} over
 * @property {'ssh2' | 'openssh'} connector
 * @property {number} rate of the cable of a host, in megabit per second
 * @property {{ seed: number, kind: 'big' | 'several' | 'tree', bytes: number }} source
 * @property {readonly boolean[]} old which hosts have other files under these names
 * @property {string} fault
 * @property {Moment} at
 * @property {number} victim the number of a host
 * @property {number} dice in [0, 1)
 * @property {number} forMs how long it lasts
 */

const ANY = ['agents', 'front', 'own', 'late', 'whole']
const SOON = ['agents', 'front']

/**
 * `at`: moments at which it may come. `netns`: only hosts with a network of their own can have it. `disks`: somebody must be able to
 * mount. `over`: only so.
 */
const FAULTS = {
  'agent killed': { at: ANY },
  'two neighbours killed': { at: SOON },
  'first killed': { at: ['front'] },
  'last killed before its confirmation': { at: ['whole'] },
  'all but one killed': { at: SOON },
  'agent stopped': { at: ANY },
  'agent stopped for a while': { at: ANY, forMs: [200, 8000] },
  'host cut': { at: ANY, netns: true },
  'host cut for a while': { at: ANY, forMs: [200, 8000], netns: true },
  'slow host': { at: ['agents'], netns: true },
  'disk full': { at: ['agents', 'front', 'own', 'late'], disks: true },
  'read-only disk': { at: ['agents'], disks: true },
  'source changed': { at: [...SOON, 'late', 'whole'] },
  'uninvited clients': { at: ['agents'], over: 'tcp' },
  'flipped byte': { at: ['agents'], over: 'tcp', agent: true },
  'we are killed': { at: ANY },
  'we are interrupted': { at: ANY },
  'another broadcast beside': { at: SOON },
  'the same broadcast twice': { at: SOON },
  nothing: { at: ['agents'] },
}

/**
 * @param {number} count @param {number} seed
 * @param {{ only?: string | undefined, netns: boolean, disks: boolean }} circumstances only: a part of the names of the faults that there are to be
 * @returns {CasePlan[]}
 */
export function planCases(count, seed, { only = '', netns, disks }) {
  const random = makeRandom(seed)
  const faults = Object.keys(FAULTS).filter((name) => name.includes(only))
  if (faults.length === 0) throw new Error(`no fault has ${JSON.stringify(only)} in its name; known: ${Object.keys(FAULTS).join(', ')}`)
  const able = faults.filter((name) => (netns || FAULTS[name].netns !== true) && (disks || FAULTS[name].disks !== true))
  if (able.length === 0) return []
  const nextFault = inRounds(random, able)
  const nextMoment = new Map(able.map((name) => [name, inRounds(random, FAULTS[name].at)]))
  return Array.from({ length: count }, (_, index) => {
    const fault = nextFault()
    const { forMs = [0, 0], over, agent } = FAULTS[fault]
    const kinds = Array.from({ length: 4 + Math.floor(random() * 5) }, () => pick(random, ['py', 'pl']))
    const alone = random() < 0.4 ? Math.floor(random() * kinds.length) : undefined
    if (alone !== undefined) kinds[alone] = 'sh'
    const victims = [...kinds.keys()].filter((host) => agent !== true || host !== alone)
    const kind = pick(random, ['big', 'big', 'several', 'tree'])
    return {
      number: index + 1,
      kinds,
      over: over ?? pick(random, ['tcp', 'tcp', 'ssh']),
      connector: pick(random, ['ssh2', 'ssh2', 'openssh']),
      rate: Math.floor(between(random, 100, 200)),
      source: { seed: Math.floor(random() * 2 ** 31), kind, bytes: Math.floor(between(random, 5e6, fault === 'slow host' ? 15e6 : 40e6)) },
      old: kinds.map(() => random() < 0.3),
      fault,
      at: momentOf(nextMoment.get(fault)(), random()),
      victim: pick(random, victims),
      dice: random(),
      forMs: Math.floor(between(random, ...forMs)),
    }
  })
}

function momentOf(kind, dice) {
  if (kind === 'agents') return { agents: true }
  if (kind === 'front') return { front: Number((0.02 + 0.9 * dice).toFixed(3)) }
  if (kind === 'own') return { own: Number((0.02 + 0.9 * dice).toFixed(3)) }
  // The last bytes; and between the last byte and its place.
  return { own: kind === 'late' ? Number((0.95 + 0.045 * dice).toFixed(3)) : 1 }
}

/** One line. @param {CasePlan} plan */
export function describe({ kinds, over, connector, rate, source, fault, at, victim, forMs }) {
  const moment = 'agents' in at ? 'before the first byte' : 'front' in at ? `at ${at.front} of the first` : `at ${at.own} of h${victim + 1}`
  const size = `${(source.bytes / 1e6).toFixed(1)} MB (${source.kind})`
  return `${fault}${forMs > 0 ? ` for ${forMs} ms` : ''} ${moment}; ${size} over ${over}, ${connector}, to ${kinds.join(' ')} at ${rate} mbit`
}
