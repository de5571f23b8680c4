/** Which cases a drill has: pure, all choices are made before anything starts, so that a seed gives the same cases. */
import { between, inRounds, makeRandom, pick } from '../shared.mjs'
import { QUEUE_FAULTS, SBATCH_FAULTS } from './commands.mjs'

/** The clusters side by side; cases of one lane come one after the other. */
export const LANES = [
  { name: 'no accounting, forgets after 2 s', accounting: 'none', minJobAge: 2 },
  { name: 'accounting, forgets after 2 s', accounting: 'dbd', minJobAge: 2 },
  { name: 'no accounting, forgets after 5 min', accounting: 'none', minJobAge: 300 },
]

/**
 * @typedef {object} Strike
 * @property {string} kind
 * @property {{ ms: number } | { lines: number, ms: number } | { submits: number, ms: number }} at after the start of the case, or so long
 * after the ledger has so many lines, or after so many submissions
 * @property {number} forMs how long it lasts
 * @property {string} [mode]
 * @property {number} dice in [0, 1): which node, which job
 */

/** Of each kind how long it lasts; `needs` what the cluster must have; `submits`: its moments are counted in submissions, too. */
const KINDS = {
  'controller killed': { forMs: [300, 4000], submits: true },
  'controller frozen': { forMs: [1000, 9000], submits: true },
  'controller restarted': { forMs: [300, 3000], submits: true },
  'munge stopped': { forMs: [1000, 5000], submits: true },
  'accounting stopped': { forMs: [2000, 9000], accounting: true },
  'accounting frozen': { forMs: [2000, 9000], accounting: true },
  'node killed': { forMs: [500, 12_000] },
  'node set down': { forMs: [0, 0] },
  'slurmd restarted, its jobs go on': { forMs: [200, 2000] },
  'job requeued': { forMs: [0, 0] },
  'jobs preempted': { forMs: [300, 1500] },
  'ids reset': { forMs: [0, 1000] },
  'we are killed': { forMs: [0, 3000], submits: true },
  'we are killed and come back late': { forMs: [8000, 16_000], submits: true },
  'sbatch misbehaves': { forMs: [0, 0], modes: Object.keys(SBATCH_FAULTS) },
  'squeue misbehaves': { forMs: [1000, 9000], modes: Object.keys(QUEUE_FAULTS) },
  'sacct misbehaves': { forMs: [1000, 9000], modes: Object.keys(QUEUE_FAULTS), accounting: true },
}

const CODES = [1, 2, 3, 7, 42, 111, 125, 137, 143, 200, 255]

/** @param {number} count @param {number} seed @param {string} [only] a part of the names of the kinds that there are to be */
export function planCases(count, seed, only = '') {
  const random = makeRandom(seed)
  const kinds = Object.keys(KINDS).filter((kind) => kind.includes(only))
  if (kinds.length === 0)
    throw new Error(`no kind of strike has ${JSON.stringify(only)} in its name; known: ${Object.keys(KINDS).join(', ')}`)
  const nextKind = inRounds(random, kinds)
  const modes = new Map(Object.entries(KINDS).map(([kind, { modes }]) => [kind, modes === undefined ? undefined : inRounds(random, modes)]))
  const load = LANES.map(() => 0)
  return Array.from({ length: count }, (_, index) => {
    const kind = nextKind()
    const able = LANES.flatMap((lane, number) => (KINDS[kind].accounting !== true || lane.accounting === 'dbd' ? [number] : []))
    const lane = able.reduce((best, number) => (load[number] < load[best] ? number : best))
    load[lane]++
    const shape = planShape(random)
    const others = kinds.filter((name) => KINDS[name].accounting !== true || LANES[lane].accounting === 'dbd')
    const more = Array.from({ length: pick(random, [0, 1, 1, 2]) }, () => pick(random, others))
    return {
      number: index + 1,
      lane,
      ...shape,
      strikes: [kind, ...more].map((name) => planStrike(random, name, shape, modes.get(name))),
    }
  })
}

/** What the campaign looks like. */
function planShape(random) {
  const size = Math.floor(between(random, 10, 33))
  return {
    arrays: random() < 0.5,
    pack: random() < 0.25 ? pick(random, [2, 3, 5]) : 1,
    prepare: random() < 0.3,
    maxInFlight: random() < 0.3 ? 6 : 1000,
    jobs: Array.from({ length: size }, () => ({
      nap: Number(napOf(random).toFixed(2)),
      code: random() < 0.2 ? pick(random, CODES) : 0,
    })),
  }
}

function napOf(random) {
  const dice = random()
  if (dice < 0.6) return between(random, 0, 0.5)
  return dice < 0.9 ? between(random, 0.5, 2) : between(random, 2, 8)
}

function planStrike(random, kind, shape, nextMode) {
  const { forMs, submits } = KINDS[kind]
  const submissions = shape.arrays ? 1 : Math.ceil(shape.jobs.length / shape.pack)
  const way = random()
  const soonMs = Math.floor(between(random, 0, 400))
  const at =
    // The call after the moment is the one.
    kind === 'sbatch misbehaves'
      ? { submits: Math.floor(random() * submissions), ms: 0 }
      : submits === true && way < 0.5
        ? { submits: 1 + Math.floor(random() * submissions), ms: Math.floor(soonMs / 4) }
        : way < 0.9
          ? { lines: 1 + Math.floor(random() * shape.jobs.length), ms: soonMs }
          : { ms: Math.floor(between(random, 500, 5000)) }
  return {
    kind,
    at,
    forMs: Math.floor(between(random, ...forMs)),
    dice: random(),
    ...(nextMode === undefined ? {} : { mode: nextMode() }),
  }
}

/** One line. */
export function describe({ lane, jobs, arrays, pack, prepare, maxInFlight, strikes }) {
  const parts = [
    arrays ? 'arrays' : 'single jobs',
    pack > 1 ? `packs of ${pack}` : '',
    prepare ? 'prepared' : '',
    maxInFlight < 1000 ? `${maxInFlight} at a time` : '',
  ]
  const blows = strikes.map(({ kind, mode, at, forMs }) => {
    const moment = 'lines' in at ? `line ${at.lines}` : 'submits' in at ? `submission ${at.submits}` : `${at.ms} ms`
    return `${kind}${mode === undefined ? '' : ` (${mode})`} at ${moment}${forMs > 0 ? ` for ${forMs} ms` : ''}`
  })
  return `${jobs.length} jobs, ${parts.filter(Boolean).join(', ')}; ${LANES[lane].name}; ${blows.join(' + ')}`
}
