import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { makeRandom, permutation, splitMix64, xoshiro128 } from '../../src/util/random.js'

describe('makeRandom', () => {
  it('is xoshiro128**, as published with its test vectors', () => {
    const random = xoshiro128(1, 2, 3, 4)
    const expected = [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804]
    expect(expected.map(() => random.uint32())).toEqual(expected)
  })

  it('is seeded with SplitMix64', () => {
    const next = splitMix64(1234567n)
    expect([next(), next(), next()]).toEqual([6457827717110365317n, 3203168211198807973n, 9817491932198370423n])
  })

  it('never changes', () => {
    const random = makeRandom(42)
    expect([random.uint32(), random.uint32(), random.float(), random.below(100)]).toMatchInlineSnapshot(`
      [
        1552505907,
        4113083374,
        0.9293785172014063,
        92,
      ]
    `)
    expect([...permutation(10, makeRandom(42, 1))]).toMatchInlineSnapshot(`
      [
        2,
        3,
        5,
        4,
        9,
        7,
        8,
        6,
        0,
        1,
      ]
    `)
  })

  it('differs between streams and between seeds', () => {
    const first = (seed: number, stream: number) => makeRandom(seed, stream).uint32()
    expect(new Set([first(0, 0), first(0, 1), first(1, 0), first(-1, 0), first(2 ** 40, 0)]).size).toBe(5)
  })

  it('draws all numbers below a bound about equally often', () => {
    const random = makeRandom(7)
    const counts = new Array<number>(10).fill(0)
    for (let i = 0; i < 100_000; i++) counts[random.below(10)]!++
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500)
  })
})

describe('permutation', () => {
  it('has every number once', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.maxSafeInteger(), (count, seed) => {
        expect([...permutation(count, makeRandom(seed))].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i))
      }),
    )
  })

  it('gives every order of three about equally often', () => {
    const counts = new Map<string, number>()
    for (let seed = 0; seed < 6000; seed++) {
      const key = permutation(3, makeRandom(seed)).join('')
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    expect(counts.size).toBe(6)
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })
})
