import { describe, expect, it } from 'vitest'
import { filterSpace, shuffleSpace, withRepetitions } from '../../src/sweep/derived-spaces.js'
import { listSpace } from '../../src/sweep/list-space.js'
import { range } from '../../src/sweep/ranges.js'
import { sweep } from '../../src/sweep/sweep.js'

const refused = (code: string) => expect.objectContaining({ code })

describe('withRepetitions', () => {
  it('passes over all combinations before any is repeated', () => {
    const items = withRepetitions(sweep({ a: [1, 2] }), 2)
    expect([...items]).toEqual([
      { combination: { a: 1 }, repetition: 1 },
      { combination: { a: 2 }, repetition: 1 },
      { combination: { a: 1 }, repetition: 2 },
      { combination: { a: 2 }, repetition: 2 },
    ])
    expect([...items].map((item) => items.indexOf(item))).toEqual([0, 1, 2, 3])
    expect(Object.isFrozen(items.at(0))).toBe(true)
  })

  it('draws an order for every pass', () => {
    const space = sweep({ a: range(1, 20) })
    const items = withRepetitions(space, 3, { order: { random: 5 } })
    const all = [...items]
    const passes = [0, 1, 2].map((pass) => all.slice(pass * 20, pass * 20 + 20))
    for (const [i, pass] of passes.entries()) {
      expect(pass.every(({ repetition }) => repetition === i + 1)).toBe(true)
      expect(pass.map(({ combination }) => combination.a).sort((a, b) => a - b)).toEqual(range(1, 20))
    }
    expect(new Set(passes.map((pass) => pass.map(({ combination }) => combination.a).join())).size).toBe(3)
    expect(all.map((item) => items.indexOf(item))).toEqual(range(0, 59))
  })

  it('does not have what is not in it', () => {
    const items = withRepetitions(sweep({ a: [1] }), 2)
    const not = [0, 3, 1.5, NaN].map((repetition) => items.indexOf({ combination: { a: 1 }, repetition }))
    expect([...not, items.indexOf({ combination: { a: 2 as 1 }, repetition: 1 })]).toEqual([-1, -1, -1, -1, -1])
  })

  it.each([0, -1, 1.5, NaN, 1e7])('refuses %d repetitions', (repetitions) => {
    expect(() => withRepetitions(sweep({ a: [1] }), repetitions)).toThrow(refused('E_ARGUMENT'))
  })
})

describe('listSpace', () => {
  it('keeps the order and finds items by value', () => {
    const space = listSpace([{ a: 3 }, { a: 1, b: 'x' }, { a: -0 }])
    expect([space.size, space.at(1), space.indexOf({ b: 'x', a: 1 }), space.indexOf({ a: 0 })]).toEqual([3, { a: 1, b: 'x' }, 1, -1])
    expect(Object.isFrozen(space.at(0))).toBe(true)
  })

  it('does not follow later changes of what it was given', () => {
    const item = { a: 1 }
    const space = listSpace([item])
    item.a = 2
    expect(space.at(0)).toEqual({ a: 1 })
  })

  it('may be empty', () => {
    expect(listSpace([]).size).toBe(0)
  })

  it('refuses equal items', () => {
    expect(() => listSpace([{ a: 1, b: 2 }, { c: 1 }, { b: 2, a: 1 }])).toThrow(
      expect.objectContaining({ code: 'E_FACTOR_VALUE', data: { first: 0, second: 2 } }),
    )
  })

  it('refuses what has no canonical form', () => {
    expect(() => listSpace([{ a: undefined }])).toThrow(refused('E_FACTOR_VALUE'))
  })
})

describe('filterSpace and shuffleSpace', () => {
  it('can be put on top of each other', () => {
    const space = shuffleSpace(
      filterSpace(sweep({ a: range(1, 100) }), ({ a }) => a % 3 === 0),
      9,
    )
    const items = [...space]
    expect(items.map(({ a }) => a).sort((x, y) => x - y)).toEqual(range(3, 99, 3))
    expect(items.map((item) => space.indexOf(item))).toEqual(range(0, 32))
    expect(space.indexOf({ a: 4 })).toBe(-1)
  })
})
