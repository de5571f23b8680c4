/**
 * Seeded random numbers that are the same on every machine and in every version of Cahier, because orders and samples
 * that were drawn once must be drawable again.
 *
 * Seeding: SplitMix64 from the seed (its 64 lowest bits); its first output plus the stream number is the state of a second SplitMix64,
 * whose first two outputs, low half first, are the state of xoshiro128** (Blackman and Vigna, public domain).
 */
export interface Random {
  /** An integer from 0 to 2^32 - 1. */
  uint32(): number
  /** A number from 0 to below 1, with 53 random bits. */
  float(): number
  /** An integer from 0 to below `count` (at most 2^32), all equally likely. */
  below(count: number): number
}

/** @param stream - the same seed gives independent sequences for different streams 0, 1, 2… */
export function makeRandom(seed: number, stream = 0): Random {
  const next = splitMix64(BigInt(stream) + splitMix64(BigInt(seed))())
  return xoshiro128(...halves(next()), ...halves(next()))
}

/** xoshiro128** from a given state that is not all zero. */
export function xoshiro128(s0: number, s1: number, s2: number, s3: number): Random {
  const uint32 = (): number => {
    const product = Math.imul(s1, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0
    const shifted = s1 << 9
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    s3 = (s3 << 11) | (s3 >>> 21)
    return result
  }
  return {
    uint32,
    float: () => ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) / 2 ** 53,
    below(count) {
      // What does not divide evenly is drawn again.
      const even = 2 ** 32 - (2 ** 32 % count)
      let drawn = uint32()
      while (drawn >= even) drawn = uint32()
      return drawn % count
    },
  }
}

/** SplitMix64 (Steele, Lea and Flood 2014): 64-bit integers. */
export function splitMix64(seed: bigint): () => bigint {
  let state = seed
  return () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n)
    let mixed = BigInt.asUintN(64, (state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n)
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn)
    return mixed ^ (mixed >> 31n)
  }
}

/** The numbers 0 … count - 1 in random order: Fisher and Yates, from the last position down, swapping with `below(position + 1)`. */
export function permutation(count: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index)
  for (let position = count - 1; position > 0; position--) {
    const other = random.below(position + 1)
    const kept = order[position]!
    order[position] = order[other]!
    order[other] = kept
  }
  return order
}

function halves(word: bigint): [number, number] {
  return [Number(word & 0xffffffffn), Number(word >> 32n)]
}
