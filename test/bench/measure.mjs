/** What benches share: both sides measured in one run, one after the other, again and again; medians at the end. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** @param {readonly number[]} numbers at least one */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * Milliseconds that one call took, on the monotonic clock.
 *
 * @param {() => unknown} action
 */
export async function timeMs(action) {
  const start = performance.now()
  await action()
  return performance.now() - start
}

/**
 * Runs every side once per round, in turn, so that a noisy minute of the machine hits all of them; the order is reversed
 * in every second round.
 *
 * @template {string} Side
 * @param {number} repeat rounds, at least 1
 * @param {Readonly<Record<Side, () => number | undefined | Promise<number | undefined>>>} sides each returns its own
 *   figure (a rate, a time), or undefined to be timed in milliseconds
 * @param {(line: string) => void} [log]
 * @returns {Promise<Record<Side, number>>} medians
 */
export async function interleave(repeat, sides, log = () => {}) {
  const names = /** @type {Side[]} */ (Object.keys(sides))
  const figures = /** @type {Record<Side, number[]>} */ (Object.fromEntries(names.map((name) => [name, []])))
  for (let round = 0; round < repeat; round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      let own
      const elapsed = await timeMs(async () => {
        own = await sides[name]()
      })
      figures[name].push(own ?? elapsed)
    }
    log(`round ${round + 1}/${repeat}: ${names.map((name) => `${name} ${round3(figures[name][round])}`).join(', ')}`)
  }
  return /** @type {Record<Side, number>} */ (Object.fromEntries(names.map((name) => [name, median(figures[name])])))
}

/**
 * A row of a bench's table for a ratio. `ratio` is always ours / peer; say with `better` which way is good.
 *
 * @param {{ what: string, ours: number, peer: number, better: 'higher' | 'lower', goal: number }} figures `goal`: the ratio to reach (`higher`) or not to exceed (`lower`)
 */
export function ratioRow({ what, ours, peer, better, goal }) {
  const ratio = ours / peer
  const met = better === 'higher' ? ratio >= goal : ratio <= goal
  return { what, ours: round3(ours), peer: round3(peer), ratio: round3(ratio), goal: `${better === 'higher' ? '≥' : '≤'} ${goal} ×`, met }
}

/**
 * A row for an absolute limit; it has no peer.
 *
 * @param {{ what: string, ours: number, better: 'higher' | 'lower', goal: number, unit: string }} figures
 */
export function limitRow({ what, ours, better, goal, unit }) {
  const met = better === 'higher' ? ours >= goal : ours <= goal
  return {
    what: `${what} (${unit})`,
    ours: round3(ours),
    peer: null,
    ratio: null,
    goal: `${better === 'higher' ? '≥' : '≤'} ${goal} ${unit}`,
    met,
  }
}

/**
 * A row without a goal.
 *
 * @param {{ what: string, ours: number, peer?: number, unit: string }} figures
 */
export function plainRow({ what, ours, peer, unit }) {
  const ratio = peer === undefined ? null : round3(ours / peer)
  return { what: `${what} (${unit})`, ours: round3(ours), peer: peer === undefined ? null : round3(peer), ratio, goal: null, met: null }
}

/** True when PATH has this program. @param {string} program */
export function have(program) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Three significant figures, as a number. @param {number} value */
export function round3(value) {
  return Number(value.toPrecision(value >= 1000 ? 4 : 3))
}
