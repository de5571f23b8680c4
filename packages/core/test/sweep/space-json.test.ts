import { describe, expect, it } from 'vitest'
import type { SpaceDefinition } from '../../src/model/space.js'
import { withRepetitions } from '../../src/sweep/derived-spaces.js'
import { decodeKept, encodeKept } from '../../src/sweep/kept.js'
import { range } from '../../src/sweep/ranges.js'
import { spaceFromDefinition } from '../../src/sweep/space-json.js'
import { sweep } from '../../src/sweep/sweep.js'

describe('the definition of a space', () => {
  it('stays as it is: run directories hold it', () => {
    const space = sweep({ a: [1, NaN], s: { cg: { tol: [1n] }, lu: {} }, b: ['x', 'y'], c: [{ z: 1 }, null] }, { zip: [['b', 'c']] })
    expect(space.definition).toEqual({
      kind: 'product',
      axes: [
        { names: ['a'], levels: [[1], [{ $number: 'NaN' }]] },
        {
          names: ['s'],
          levels: [['cg'], ['lu']],
          sub: [[{ names: ['tol'], levels: [[{ $bigint: '1' }]] }], null],
        },
        {
          names: ['b', 'c'],
          levels: [
            ['x', { z: 1 }],
            ['y', null],
          ],
        },
      ],
    })
    const filtered = sweep({ a: range(1, 9) }, { where: ({ a }) => a === 2 || a > 5, order: { random: 7 } })
    expect(withRepetitions(filtered, 2).definition).toEqual({
      kind: 'repeated',
      repetitions: 2,
      of: {
        kind: 'shuffled',
        seed: 7,
        of: { kind: 'subset', kept: { runs: [1, 1, 3, 4] }, of: sweep({ a: range(1, 9) }).definition },
      },
    })
  })

  it('holds no item of a product', () => {
    const factor = range(1, 100)
    expect(JSON.stringify(sweep({ a: factor, b: factor, c: factor }).definition).length).toBeLessThan(3000)
  })

  it('holds one bit for each item of a ragged filter', () => {
    const space = sweep({ a: range(0, 999), b: range(0, 99) }, { where: ({ a, b }) => (a * b) % 2 === 0 })
    expect(JSON.stringify(space.definition).length).toBeLessThan(25_000)
    expect([...spaceFromDefinition(space.definition)]).toEqual([...space])
  })

  const product = sweep({ a: [1, 2] }).definition
  it.each([
    ['nothing', undefined],
    ['another kind', { kind: 'sphere' }],
    ['no kind', {}],
    ['a product without axes', { kind: 'product' }],
    ['a list without items', { kind: 'list' }],
    ['a list with equal items', { kind: 'list', items: [1, 1] }],
    ['a subset of nothing', { kind: 'subset', kept: { runs: [] } }],
    ['a subset that is larger', { kind: 'subset', of: product, kept: { runs: [1, 2] } }],
    ['a subset with bits outside', { kind: 'subset', of: product, kept: { bits: '/w==' } }],
    ['odd runs', { kind: 'subset', of: product, kept: { runs: [1] } }],
    ['negative runs', { kind: 'subset', of: product, kept: { runs: [-1, 1] } }],
    ['a shuffle without a seed', { kind: 'shuffled', of: product }],
    ['no repetition', { kind: 'repeated', of: product, repetitions: 0 }],
  ])('is refused when it is %s', (_, definition) => {
    expect(() => spaceFromDefinition(definition as unknown as SpaceDefinition)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})

describe('encodeKept', () => {
  it.each<[string, number[]]>([
    ['nothing', []],
    ['the first', [0]],
    ['a later one', [5]],
    ['a run', [0, 1, 2]],
    ['single ones', [0, 2, 4, 6]],
    ['every other one', range(0, 4000, 2)],
    ['two far apart', [0, 1_000_000]],
  ])('keeps %s', (_, positions) => {
    expect([...decodeKept(encodeKept(Uint32Array.from(positions)), 1_000_001)]).toEqual(positions)
  })
})
