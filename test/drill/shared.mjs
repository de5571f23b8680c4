/** What drills share: choices that a seed repeats, and the verdict that they end with. */

/** Failures that are told in full; the others are counted. */
const TOLD = 20

/** Numbers in [0, 1), the same for the same seed. @param {number} seed @returns {() => number} */
export function makeRandom(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** @template T @param {() => number} random @param {readonly T[]} list @returns {T} */
export const pick = (random, list) => list[Math.floor(random() * list.length)]

/** A number from `low` to below `high`. @param {() => number} random @param {number} low @param {number} high */
export const between = (random, low, high) => low + random() * (high - low)

/** A shuffled copy. @template T @param {() => number} random @param {readonly T[]} list @returns {T[]} */
export function shuffle(random, list) {
  const copy = [...list]
  for (let index = copy.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1))
    ;[copy[index], copy[other]] = [copy[other], copy[index]]
  }
  return copy
}

/**
 * An endless list in which everything comes once before anything comes again.
 *
 * @template T @param {() => number} random @param {readonly T[]} list @returns {() => T}
 */
export function inRounds(random, list) {
  let round = []
  return () => {
    if (round.length === 0) round = shuffle(random, list)
    return round.pop()
  }
}

/** What a drill comes to, as `scripts/drill.mjs` prints it. */
export class Verdict {
  cases = 0
  /** Full runs of a work item beyond the first. */
  doubled = 0
  /** Said to be done and without an end in the ledger, or with an end and never concluded. */
  lost = 0
  /** Results or exit codes that are not what they must be. */
  wrong = 0
  failures = []

  /** Counts it and tells it. @param {'doubled' | 'lost' | 'wrong'} kind @param {string} text */
  blame(kind, text) {
    this[kind]++
    this.fail(`${kind}: ${text}`)
  }

  /** @param {string} text */
  fail(text) {
    if (this.failures.length < TOLD) this.failures.push(text)
    else this.#untold++
    if (this.#untold > 0) this.failures[TOLD] = `and ${this.#untold} more`
  }

  #untold = 0

  get isClean() {
    return this.doubled + this.lost + this.wrong + this.failures.length === 0
  }
}
