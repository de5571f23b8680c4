import { describe, expect, expectTypeOf, it } from 'vitest'
import { combinationId } from '../../src/ids.js'
import type { FactorsSpec } from '../../src/model/campaign.js'
import type { Combination } from '../../src/model/combination.js'
import type { Space } from '../../src/model/space.js'
import { withRepetitions } from '../../src/sweep/derived-spaces.js'
import { igeom, range } from '../../src/sweep/ranges.js'
import { sweep } from '../../src/sweep/sweep.js'

const refused = (code: string, message = '') => expect.objectContaining({ code, message: expect.stringContaining(message) })
/** For what the compiler would refuse and YAML does not. */
const untyped = (factors: unknown) => sweep(factors as FactorsSpec)

describe('sweep', () => {
  it('crosses factors, the first varying slowest', () => {
    const space = sweep({ a: [1, 2], b: ['x', 'y'] })
    expect([...space]).toEqual([
      { a: 1, b: 'x' },
      { a: 1, b: 'y' },
      { a: 2, b: 'x' },
      { a: 2, b: 'y' },
    ])
    expect(space.size).toBe(4)
  })

  it('has one empty combination without factors', () => {
    expect([...sweep({})]).toEqual([{}])
  })

  it('makes sub-factors only where their level is', () => {
    const space = sweep({
      n: [10, 100],
      solver: { cg: { precond: ['none', 'ilu'], tol: [1e-3, 1e-6] }, direct: { pivot: ['partial', 'full'] }, fft: {} },
    })
    expect(space.size).toBe(14)
    expect([...space].slice(0, 7)).toEqual([
      { n: 10, solver: 'cg', precond: 'none', tol: 1e-3 },
      { n: 10, solver: 'cg', precond: 'none', tol: 1e-6 },
      { n: 10, solver: 'cg', precond: 'ilu', tol: 1e-3 },
      { n: 10, solver: 'cg', precond: 'ilu', tol: 1e-6 },
      { n: 10, solver: 'direct', pivot: 'partial' },
      { n: 10, solver: 'direct', pivot: 'full' },
      { n: 10, solver: 'fft' },
    ])
  })

  it('nests sub-factors as deep as wanted', () => {
    expect([...sweep({ a: { x: { c: { p: { d: [1, 2] }, q: {} } }, y: {} } })]).toEqual([
      { a: 'x', c: 'p', d: 1 },
      { a: 'x', c: 'p', d: 2 },
      { a: 'x', c: 'q' },
      { a: 'y' },
    ])
  })

  it('lets levels that exclude each other share a sub-factor', () => {
    expect(sweep({ solver: { cg: { tol: [1, 2] }, gmres: { tol: [1, 3] } } }).size).toBe(4)
  })

  it('understands generators in words', () => {
    const space = sweep({ a: { igeom: [1, 16, 5] }, b: { range: [1, 3] }, c: { linear: [0, 1, 3] }, d: { geom: [1, 100, 3] } })
    expect(space.size).toBe(5 * 3 * 3 * 3)
    expect(space.at(space.size - 1)).toEqual({ a: 16, b: 3, c: 1, d: 100 })
  })

  it('takes a mapping called like a generator as levels', () => {
    expect([...sweep({ method: { geom: {}, linear: {} } })]).toEqual([{ method: 'geom' }, { method: 'linear' }])
  })

  it('keeps what the condition keeps', () => {
    const space = sweep({ cores: igeom(1, 16, 5), python: ['system', '3.6'] }, { where: (c) => c.cores > 4 || c.python === '3.6' })
    expect([...space].map((c) => `${c.cores} ${c.python}`)).toEqual(['1 3.6', '2 3.6', '4 3.6', '8 system', '8 3.6', '16 system', '16 3.6'])
    expect(space.indexOf({ cores: 8, python: 'system' })).toBe(3)
    expect(space.indexOf({ cores: 1, python: 'system' })).toBe(-1)
  })

  it('may keep nothing', () => {
    const space = sweep({ a: [1] }, { where: () => false })
    expect([space.size, [...space], space.indexOf({ a: 1 })]).toEqual([0, [], -1])
  })

  it('says on which combination a condition failed', () => {
    const where = (c: { a: number }) => {
      if (c.a === 2) throw new Error('boom')
      return true
    }
    expect(() => sweep({ a: [1, 2] }, { where })).toThrow(refused('E_ARGUMENT', '{"a":2}: boom'))
  })

  it('lets zipped factors advance together, at the place of the first', () => {
    const space = sweep({ a: [1, 2], x: ['p', 'q'], b: [10, 20] }, { zip: [['b', 'a']] })
    expect([...space]).toEqual([
      { a: 1, b: 10, x: 'p' },
      { a: 1, b: 10, x: 'q' },
      { a: 2, b: 20, x: 'p' },
      { a: 2, b: 20, x: 'q' },
    ])
    expect(space.indexOf({ x: 'q', b: 20, a: 2 })).toBe(3)
    expect(space.indexOf({ x: 'q', b: 10, a: 2 })).toBe(-1)
  })

  it('lets a level of a zipped factor come twice', () => {
    expect(sweep({ a: [1, 1, 2], b: [1, 2, 1] }, { zip: [['a', 'b']] }).size).toBe(3)
  })

  it('draws an order from a seed, the same for ever', () => {
    const factors = { a: range(1, 5), b: ['x', 'y'] } as const
    const order = (seed: number) => [...sweep(factors, { order: { random: seed } })].map((c) => `${c.a}${c.b}`)
    expect(order(1)).toMatchInlineSnapshot(`
      [
        "5x",
        "4y",
        "3y",
        "1x",
        "2x",
        "3x",
        "4x",
        "1y",
        "5y",
        "2y",
      ]
    `)
    expect(order(1)).toEqual(order(1))
    expect(order(2)).not.toEqual(order(1))
    expect(order(1).sort()).toEqual([...sweep(factors)].map((c) => `${c.a}${c.b}`).sort())
    expect(() => sweep(factors, { order: { random: 0.5 } })).toThrow(refused('E_ARGUMENT', 'seed'))
  })

  it('gives frozen combinations that nobody can change afterwards', () => {
    const grid = [4, 8]
    const space = sweep({ grid: [grid, [1]], deep: [{ x: [1] }] })
    grid.push(16)
    const combination = space.at(0)
    expect(combination).toEqual({ grid: [4, 8], deep: { x: [1] } })
    expect(Object.isFrozen(combination) && Object.isFrozen(combination.grid) && Object.isFrozen(combination.deep.x)).toBe(true)
  })

  it('keeps levels of every kind apart', () => {
    const levels = [1, '1', true, 'true', null, 'null', 1n, NaN, 0, -0, Infinity, '', [1], { a: 1 }] as const
    const space = sweep({ x: levels })
    expect(levels.map((x) => space.indexOf({ x }))).toEqual(levels.map((_, i) => i))
    expect(new Set([...space].map(combinationId)).size).toBe(levels.length)
  })

  it('takes hostile texts as they are', () => {
    const levels = ["'; rm -rf ~", '"', '\n', '$(reboot)', '-rf', '../', '', 'x'.repeat(5000)]
    expect([...sweep({ x: levels })].map((c) => c.x)).toEqual(levels)
  })

  it('is made at once for a million combinations, and for a billion', () => {
    const factor = range(1, 1000)
    const space = sweep({ a: factor, b: factor, c: factor })
    expect(space.size).toBe(1e9)
    expect(space.at(123_456_789)).toEqual({ a: 124, b: 457, c: 790 })
    expect(space.indexOf({ a: 124, b: 457, c: 790 })).toBe(123_456_789)
  })

  it.each([-1, 4, 0.5, NaN, Infinity])('has nothing at position %d', (index) => {
    expect(() => sweep({ a: [1, 2, 3, 4] }).at(index)).toThrow(RangeError)
  })

  it.each([{}, { a: 1 }, { a: 1, b: 3 }, { a: 1, b: 2, c: 3 }, { a: '1', b: 2 }, { a: undefined, b: 2 }, { a: () => 1, b: 2 }])(
    'does not have %o',
    (other) => {
      const space: Space<Combination> = sweep({ a: [1], b: [2] })
      expect(space.indexOf(other as Combination)).toBe(-1)
    },
  )

  it('does not take inherited properties for factors', () => {
    const space: Space<Combination> = sweep({ toString: ['x'] })
    expect(space.indexOf({})).toBe(-1)
    expect(space.indexOf({ toString: 'x' })).toBe(0)
  })
})

describe('sweep, given what cannot be swept', () => {
  it.each([
    ['a list without levels', { a: [] }, 'E_FACTOR_EMPTY', 'factor a has no level'],
    ['a mapping without levels', { a: {} }, 'E_FACTOR_EMPTY', 'factor a has no level'],
    ['an empty sub-factor', { a: { x: { b: [] } } }, 'E_FACTOR_EMPTY', 'b (in a=x)'],
    ['a number for a list', { a: 8 }, 'E_FACTOR_VALUE', 'the number 8'],
    ['a text for a list', { a: 'abc' }, 'E_FACTOR_VALUE', 'the string "abc"'],
    ['null for a list', { a: null }, 'E_FACTOR_VALUE', 'null'],
    ['a set for a list', { a: new Set([1]) }, 'E_FACTOR_VALUE', 'a Set'],
    ['a function', { a: () => 1 }, 'E_FACTOR_VALUE', 'function'],
    ['a level twice', { a: [1, 2, 1] }, 'E_FACTOR_VALUE', 'levels 1 and 3 are both 1'],
    [
      'equal objects',
      {
        a: [
          { x: 1, y: 2 },
          { y: 2, x: 1 },
        ],
      },
      'E_FACTOR_VALUE',
      'levels 1 and 2',
    ],
    ['undefined', { a: [1, undefined] }, 'E_FACTOR_VALUE', 'factor a, level 2'],
    ['a hole', { a: new Array(2) }, 'E_FACTOR_VALUE', 'level 1'],
    ['a date', { a: [new Date(0)] }, 'E_FACTOR_VALUE', 'Date'],
    ['an integer that lost digits', { a: [2 ** 53] }, 'E_FACTOR_VALUE', 'digits may be lost'],
    ['such an integer inside a level', { a: [{ seed: [Number('12345678901234567890')] }] }, 'E_FACTOR_VALUE', 'digits may be lost'],
    ['a sub-factor named like an outer factor', { a: { x: { b: [3] }, y: {} }, b: [7] }, 'E_FACTOR_COLLISION', 'name b'],
    ['the same the other way round', { b: [7], a: { x: { b: [3] }, y: {} } }, 'E_FACTOR_COLLISION', 'name b'],
    ['a sub-factor named like its factor', { a: { x: { a: [3] } } }, 'E_FACTOR_COLLISION', 'name a'],
    ['a collision deep inside', { a: { x: { b: { y: { c: [1] } }, c: [2] } } }, 'E_FACTOR_COLLISION', 'name c'],
    ['sub-factors that are a list', { a: { x: [1, 2], y: [3] } }, 'E_FACTOR_VALUE', 'sub-factors of a=x'],
    ['an unknown generator', { a: { goem: [1, 2, 3] } }, 'E_FACTOR_VALUE', 'goem'],
    ['a generator without its numbers', { a: { geom: [1, 2] } }, 'E_FACTOR_VALUE', '[min, max, count]'],
    ['a generator that fails', { a: { geom: [0, 2, 3] } }, 'E_ARGUMENT', 'geom(0, 2, 3)'],
    ['a name that is empty', { '': [1] }, 'E_FACTOR_VALUE', 'name ""'],
    ['a name that is __proto__', JSON.parse('{"__proto__":[1]}'), 'E_FACTOR_VALUE', '__proto__'],
    ['a list for all factors', [1], 'E_FACTOR_VALUE', 'the factors of a sweep'],
    ['nothing', undefined, 'E_FACTOR_VALUE', 'the factors of a sweep'],
  ])('refuses %s', (_, factors, code, message) => {
    expect(() => untyped(factors)).toThrow(refused(code, message))
  })

  it.each([[1e16], [1e20], [-3.8989228825757185e248], [2 ** 53 - 1], [9007199254740993n], ['9007199254740993']])(
    'takes the large level %o',
    (level) => {
      expect(sweep({ a: [level] }).size).toBe(1)
    },
  )

  it('names the cure for a scalar', () => {
    expect(() => untyped({ cores: 8 })).toThrow(expect.objectContaining({ suggestions: ['Write [8] for a single level'] }))
  })

  it.each([
    [['a', 'c'], 'not a factor'],
    [['a', 'a'], 'twice'],
    [['a', 'long'], 'a has 2, long has 3'],
    [['a', 'tree'], 'has sub-factors'],
  ])('refuses to zip %j', (group, message) => {
    const factors: FactorsSpec = { a: [1, 2], long: [1, 2, 3], tree: { x: {}, y: {} } }
    expect(() => sweep(factors, { zip: [group] })).toThrow(refused('E_ARGUMENT', message))
  })

  it('refuses more combinations than can be counted', () => {
    const factor = range(1, 1000)
    expect(() => sweep({ a: factor, b: factor, c: factor, d: factor, e: factor, f: factor })).toThrow(refused('E_ARGUMENT', '1.0e+18'))
  })

  it('refuses to look at a billion combinations one by one', () => {
    const factor = range(1, 1000)
    expect(() => sweep({ a: factor, b: factor, c: factor }, { where: () => true })).toThrow(refused('E_ARGUMENT', 'filtered'))
    expect(() => sweep({ a: factor, b: factor, c: factor }, { order: { random: 1 } })).toThrow(refused('E_ARGUMENT', 'shuffled'))
  })
})

describe('the type of a combination', () => {
  it('is inferred from the levels', () => {
    const space = sweep({ cores: igeom(1, 16, 5), python: ['system', '3.6'] as const })
    expectTypeOf(space).toEqualTypeOf<Space<{ readonly cores: number; readonly python: 'system' | '3.6' }>>()
  })

  it('needs no "as const"', () => {
    const space = sweep({ python: ['system', '3.6'], on: [true, false], n: [1, 2] })
    expectTypeOf(space.at(0)).toEqualTypeOf<{ readonly python: 'system' | '3.6'; readonly on: boolean; readonly n: 1 | 2 }>()
  })

  it('is a union where levels have sub-factors', () => {
    const space = sweep({ n: [10], solver: { cg: { tol: [1e-3, 1e-6] }, direct: {} } })
    expectTypeOf(space.at(0)).toEqualTypeOf<
      { readonly n: 10; readonly solver: 'cg'; readonly tol: 1e-3 | 1e-6 } | { readonly n: 10; readonly solver: 'direct' }
    >()
    const combination = space.at(0)
    if (combination.solver === 'cg') expectTypeOf(combination.tol).toEqualTypeOf<1e-3 | 1e-6>()
    // @ts-expect-error: direct has no tolerance
    else void combination.tol
  })

  it('knows generators in words, and no factors at all', () => {
    expectTypeOf(sweep({ a: { geom: [1, 2, 3] } }).at(0)).toEqualTypeOf<{ readonly a: number }>()
    expectTypeOf(sweep({}).at(0)).toEqualTypeOf<Readonly<Record<never, never>>>()
  })

  it('is any combination where the factors are not known', () => {
    expectTypeOf(sweep({ a: [1] } as FactorsSpec)).toEqualTypeOf<Space<Combination>>()
  })

  it('reaches conditions, zips and work items', () => {
    const space = sweep({ cores: [1, 2], python: ['a', 'b'] }, { where: (c) => (c.cores as 1 | 2) > 1, zip: [['cores', 'python']] })
    expectTypeOf(withRepetitions(space, 3).at(0).combination).toEqualTypeOf<{ readonly cores: 1 | 2; readonly python: 'a' | 'b' }>()
    // @ts-expect-error: nodes is no factor
    const where = () => sweep({ cores: [1] }, { where: (c) => c.nodes > 1 })
    // @ts-expect-error: nodes is no factor
    const zip = () => sweep({ cores: [1] }, { zip: [['cores', 'nodes']] })
    expect(zip).toThrow()
    expect(where().size).toBe(0)
  })

  it('does not take what cannot be a level', () => {
    // @ts-expect-error: a date is no level
    expect(() => sweep({ a: [new Date()] })).toThrow()
    // @ts-expect-error: a scalar is no list
    expect(() => sweep({ a: 1 })).toThrow()
  })
})
