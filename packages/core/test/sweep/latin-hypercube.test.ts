import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import type { Space } from '../../src/model/space.js'
import { latinHypercube, type SampledFactor } from '../../src/sweep/latin-hypercube.js'
import { spaceFromDefinition } from '../../src/sweep/space-json.js'

describe('latinHypercube', () => {
  it('has one point in each part of each factor', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.maxSafeInteger(),
        fc.double({ min: -1e6, max: 1e6, noNaN: true }),
        (count, seed, min) => {
          const space = latinHypercube({ a: [min, min + 1], b: { min: 1e-3, max: 1e3, scale: 'log' } }, count, { seed })
          const points = [...space]
          // Rounding may move a point onto the border of its part, and a little beyond.
          const areSpread = (shares: number[]) =>
            shares.sort((one, other) => one - other).every((share, part) => Math.abs(share * count - part - 0.5) <= 0.5 + 1e-7)
          expect(points.length).toBe(count)
          expect(areSpread(points.map(({ a }) => a - min))).toBe(true)
          expect(areSpread(points.map(({ b }) => (Math.log10(b) + 3) / 6))).toBe(true)
          expect(points.every(({ a, b }) => a >= min && a <= min + 1 && b >= 1e-3 && b <= 1e3)).toBe(true)
        },
      ),
    )
  })

  it('draws the same points for the same seed, for ever', () => {
    const points = (seed: number) => [...latinHypercube({ a: [0, 1], b: [0, 10] }, 3, { seed })]
    expect(points(7)).toMatchInlineSnapshot(`
      [
        {
          "a": 0.85506530829455,
          "b": 4.8429131136916,
        },
        {
          "a": 0.41151100222032,
          "b": 8.7591153952123,
        },
        {
          "a": 0.22698424556429,
          "b": 0.5275424088238,
        },
      ]
    `)
    expect(points(8)).not.toEqual(points(7))
  })

  it('gives integers, all about equally often', () => {
    const space = latinHypercube({ n: { min: 1, max: 4, integer: true }, x: [0, 1] }, 400, { seed: 1 })
    const counts = [1, 2, 3, 4].map((n) => [...space].filter((point) => point.n === n).length)
    expect(counts).toEqual([100, 100, 100, 100])
  })

  it('gives fewer points when integers coincide', () => {
    const space = latinHypercube({ n: { min: 1, max: 3, integer: true } }, 100, { seed: 1 })
    expect([...space].map(({ n }) => n).sort()).toEqual([1, 2, 3])
  })

  it('is a space like others', () => {
    const space = latinHypercube({ a: [0, 1] }, 5, { seed: 1 })
    expectTypeOf(space).toEqualTypeOf<Space<{ readonly a: number }>>()
    expect([...spaceFromDefinition(space.definition)]).toEqual([...space])
    expect([...space].map((point) => space.indexOf(point))).toEqual([0, 1, 2, 3, 4])
  })

  it.each<[SampledFactor, number, number]>([
    [[1, 1], 3, 1],
    [[2, 1], 3, 1],
    [[0, NaN], 3, 1],
    [[0, Infinity], 3, 1],
    [{ min: 0, max: 1, scale: 'log' }, 3, 1],
    [{ min: 0.5, max: 2, integer: true }, 3, 1],
    [{ min: 0, max: 1, scale: 'cubic' as 'log' }, 3, 1],
    [[0, 1], 0, 1],
    [[0, 1], 1.5, 1],
    [[0, 1], 3, 0.5],
  ])('refuses %j with %d points and seed %d', (factor, count, seed) => {
    expect(() => latinHypercube({ a: factor }, count, { seed })).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})
