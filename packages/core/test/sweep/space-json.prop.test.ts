import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyText } from '../../../../test/any-text.js'
import type { FactorSpec, FactorsSpec } from '../../src/model/campaign.js'
import type { Combination, Level } from '../../src/model/combination.js'
import type { Space } from '../../src/model/space.js'
import { withRepetitions } from '../../src/sweep/derived-spaces.js'
import { listSpace } from '../../src/sweep/list-space.js'
import { spaceFromDefinition } from '../../src/sweep/space-json.js'
import { sweep } from '../../src/sweep/sweep.js'

const level: fc.Arbitrary<Level> = fc.oneof(
  // Integers that may have lost digits are refused.
  fc.double().filter((n) => !(Number.isInteger(n) && Math.abs(n) > 2 ** 53 && Math.abs(n) < 1e21)),
  anyText({ maxLength: 6 }),
  fc.boolean(),
  fc.constantFrom<Level>(null, NaN, -0, 0, 1n, '$number'),
  fc.array(fc.integer(), { maxLength: 2 }),
  fc.record({ $number: fc.constant('NaN') }),
)
const list = fc.uniqueArray(level, {
  minLength: 1,
  maxLength: 4,
  comparator: (a, b) => (typeof a === 'object' && typeof b === 'object' ? JSON.stringify(a) === JSON.stringify(b) : Object.is(a, b)),
})

/** Factors with sub-factors; names grow with the path, so that none collide. */
const factorsBelow = (path: string, depth: number): fc.Arbitrary<FactorsSpec> => {
  const factor = (name: string): fc.Arbitrary<FactorSpec> => {
    const levels = fc.uniqueArray(fc.constantFrom('x', 'y', 'z'), { minLength: 1 })
    const tree = levels.chain((names) => fc.record(Object.fromEntries(names.map((n) => [n, factorsBelow(`${name}${n}`, depth - 1)]))))
    return depth === 0 ? list : fc.oneof({ weight: 2, arbitrary: list }, { weight: 1, arbitrary: tree })
  }
  return fc
    .nat(depth === 0 ? 1 : 3)
    .chain((count) => fc.record(Object.fromEntries(Array.from({ length: count }, (_, i) => [`${path}${i}`, factor(`${path}${i}`)]))))
}
const space: fc.Arbitrary<Space<Combination>> = fc
  .tuple(factorsBelow('f', 2), fc.option(fc.nat(6)), fc.option(fc.maxSafeInteger()))
  .map(([factors, left, seed]) => {
    let count = 0
    return sweep(factors, {
      where: left === null ? undefined : () => count++ % 7 <= left,
      order: seed === null ? 'natural' : { random: seed },
    })
  })
  .filter(({ size }) => size < 3000)

describe('a space, whatever it is made of', () => {
  it('has every item at the position where it finds it, each once', () => {
    fc.assert(
      fc.property(space, (s) => {
        const items = [...s]
        expect(items.length).toBe(s.size)
        for (const [i, item] of items.entries()) {
          expect(s.at(i)).toStrictEqual(item)
          expect(s.indexOf(item)).toBe(i)
          expect(Object.isFrozen(item)).toBe(true)
        }
      }),
      { numRuns: 150 },
    )
  })

  it('is made again from its definition, also through JSON', () => {
    const items = fc.oneof(
      space,
      fc.tuple(space, fc.integer({ min: 1, max: 3 }), fc.nat()).map(([s, n, seed]) => withRepetitions(s, n, { order: { random: seed } })),
      space.map((s) => listSpace([...s])),
    ) as fc.Arbitrary<Space<unknown>>
    fc.assert(
      fc.property(items, (s) => {
        const again = spaceFromDefinition<unknown>(JSON.parse(JSON.stringify(s.definition)))
        expect([...again]).toStrictEqual([...s])
        expect(again.definition).toStrictEqual(s.definition)
      }),
      { numRuns: 150 },
    )
  })
})
