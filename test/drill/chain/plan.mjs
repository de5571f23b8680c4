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
 * @property {{ times: number, moreMs: number } | undefined} atMost how long all may take, by what the same takes undisturbed
 * @property {{ times: number, moreMs: number } | undefined} after how long after the fault, by what the cable takes for everything
 * @property {number | undefined} stallMs when a host is given up by whoever does not know the chain
 */

const ANY = ['agents', 'front', 'own', 'late', 'whole']
const SOON = ['agents', 'front']

/** A moment in the content can be hit when all of it takes so long. */
const SEEN_S = 1.2
/** What is promised when one dies. */
const SOON_OVER = { times: 1.5, moreMs: 3000 }
/** Each new link over ssh is a login. */
const LOGINS_OVER = { times: 3, moreMs: 3000 }
/** After what it waits before it gives a silent host up, and lets it go. */
const GIVEN_UP = { times: 1.5, moreMs: 3000 + 9000 + 5000 }

/**
 * `at`: moments at which it may come. `netns`: only hosts with a network of their own can have it. `disks`: somebody must be able to
 * mount. `over`: only so. `agent`: to a host that passes on. `bytes`: of the source, at least and at most.
 */
const FAULTS = {
  'agent killed': { at: ANY, atMost: SOON_OVER },
  'two neighbours killed': { at: SOON, atMost: SOON_OVER },
  'first killed': { at: ['front'], atMost: SOON_OVER },
  'last killed before its confirmation': { at: ['whole'] },
  'all but one killed': { at: SOON },
  'agent stopped': { at: ANY },
  'agent stopped for a while': { at: ANY, forMs: [200, 8000] },
  'agent hangs': { at: ['own'], agent: true, atMost: GIVEN_UP, stallMs: 100_000 },
  'links refused': { at: ['agents'], over: 'ssh', agent: true, bytes: [5e6, 20e6], atMost: LOGINS_OVER },
  'links break': { at: ['early'], over: 'tcp', agent: true, netns: true, bytes: [35e6, 40e6], after: { times: 1.5, moreMs: 3000 } },
  'no way to a host': { at: ['agents'], over: 'ssh', agent: true, bytes: [5e6, 20e6], atMost: GIVEN_UP },
  'host cut': { at: ANY, netns: true },
  'host cut for a while': { at: ANY, forMs: [200, 8000], netns: true },
  'slow host': { at: ['agents'], netns: true, bytes: [5e6, 15e6] },
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
    const { forMs = [0, 0], over, agent, bytes = [5e6, 40e6], atMost, after, stallMs } = FAULTS[fault]
    const kinds = Array.from({ length: 4 + Math.floor(random() * 5) }, () => pick(random, ['py', 'pl']))
    const alone = random() < 0.4 ? Math.floor(random() * kinds.length) : undefined
    if (alone !== undefined) kinds[alone] = 'sh'
    const victims = [...kinds.keys()].filter((host) => agent !== true || host !== alone)
    const kind = pick(random, ['big', 'big', 'several', 'tree'])
    const rate = Math.floor(between(random, 100, 200))
    const moment = nextMoment.get(fault)()
    // What is over in the blink of an eye is over before anybody has looked.
    const least = moment === 'agents' ? 0 : (rate * 1e6 * SEEN_S) / 8
    return {
      number: index + 1,
      kinds,
      over: over ?? pick(random, ['tcp', 'tcp', 'ssh']),
      connector: pick(random, ['ssh2', 'ssh2', 'openssh']),
      rate,
      source: { seed: Math.floor(random() * 2 ** 31), kind, bytes: Math.floor(Math.max(least, between(random, ...bytes))) },
      old: kinds.map(() => random() < 0.3),
      fault,
      at: momentOf(moment, random()),
      victim: pick(random, victims),
      dice: random(),
      forMs: Math.floor(between(random, ...forMs)),
      atMost,
      after,
      stallMs,
    }
  })
}

function momentOf(kind, dice) {
  if (kind === 'agents') return { agents: true }
  if (kind === 'front') return { front: Number((0.02 + 0.9 * dice).toFixed(3)) }
  if (kind === 'early') return { own: Number((0.02 + 0.2 * dice).toFixed(3)) }
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
