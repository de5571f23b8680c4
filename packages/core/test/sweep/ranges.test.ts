import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { geom, igeom, linear, range } from '../../src/sweep/ranges.js'

const refused = expect.objectContaining({ code: 'E_ARGUMENT' })

describe('geom', () => {
  it.each<[[number, number, number], number[]]>([
    [
      [1, 1000, 4],
      [1, 10, 100, 1000],
    ],
    [
      [100, 1, 3],
      [100, 10, 1],
    ],
    [
      [1, 16, 5],
      [1, 2, 4, 8, 16],
    ],
    [
      [0.001, 1000, 7],
      [0.001, 0.01, 0.1, 1, 10, 100, 1000],
    ],
    [
      [-1, -100, 3],
      [-1, -10, -100],
    ],
    [[5, 9, 1], [5]],
    [[3, 3, 4], [3]],
    [
      [1e-300, 1e300, 3],
      [1e-300, 1, 1e300],
    ],
  ])('makes of %j the values %j', (args, values) => {
    expect(geom(...args)).toEqual(values)
  })

  it.each([
    [0, 1, 3],
    [1, 0, 3],
    [-1, 1, 3],
    [1, 2, 0],
    [1, 2, -1],
    [1, 2, 2.5],
    [1, 2, NaN],
    [NaN, 2, 3],
    [1, Infinity, 3],
    [1, 2, 1e9],
  ])('refuses (%d, %d, %d)', (min, max, count) => {
    expect(() => geom(min, max, count)).toThrow(refused)
  })

  it('has as many values as asked, exact at both ends and in one direction', () => {
    const bound = fc.double({ min: 1e-9, max: 1e9, noNaN: true })
    fc.assert(
      fc.property(bound, bound, fc.integer({ min: 2, max: 50 }), (min, max, count) => {
        fc.pre(Math.abs(min / max - 1) > 1e-6)
        const values = geom(min, max, count)
        expect([values.length, values[0], values.at(-1)]).toEqual([count, min, max])
        for (let i = 1; i < count; i++) expect(Math.sign(values[i]! - values[i - 1]!)).toBe(Math.sign(max - min))
      }),
    )
  })
})

describe('igeom', () => {
  it.each<[[number, number, number], number[]]>([
    [
      [1, 16, 5],
      [1, 2, 4, 8, 16],
    ],
    [
      [1, 20, 5],
      [1, 2, 4, 9, 20],
    ],
    [
      [1, 10, 10],
      [1, 2, 3, 4, 5, 6, 8, 10],
    ],
    [
      [1, 100, 10],
      [1, 2, 3, 5, 8, 13, 22, 36, 60, 100],
    ],
    [
      [10, 1, 3],
      [10, 3, 1],
    ],
    [
      [5, 7, 20],
      [5, 6, 7],
    ],
    [[1, 1, 5], [1]],
    [
      [-10, -1, 3],
      [-10, -3, -1],
    ],
  ])('makes of %j the integers %j', (args, values) => {
    expect(igeom(...args)).toEqual(values)
  })

  it.each([
    [1.5, 9.7, 3],
    [0, 9, 3],
    [1, 2 ** 60, 3],
  ])('refuses (%d, %d, %d)', (min, max, count) => {
    expect(() => igeom(min, max, count)).toThrow(refused)
  })
})

describe('linear', () => {
  it.each<[[number, number, number], number[]]>([
    [
      [0, 1, 11],
      [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
    ],
    [
      [1, 0, 3],
      [1, 0.5, 0],
    ],
    [
      [-1, 1, 5],
      [-1, -0.5, 0, 0.5, 1],
    ],
    [[2, 9, 1], [2]],
    [[0, 0, 3], [0]],
    [
      [1e9, 1e9 + 1, 3],
      [1e9, 1e9 + 0.5, 1e9 + 1],
    ],
    [
      [1e20, 3e20, 3],
      [1e20, 2e20, 3e20],
    ],
  ])('makes of %j the values %j', (args, values) => {
    expect(linear(...args)).toEqual(values)
  })

  it('shows no noise beside 0', () => {
    expect(linear(-1, 1, 2001).slice(998, 1003)).toEqual([-0.002, -0.001, 0, 0.001, 0.002])
  })

  it('keeps values apart that rounding would join', () => {
    expect(new Set(linear(1, 1 + 1e-14, 11)).size).toBe(11)
  })
})

describe('range', () => {
  it.each<[[number, number, number?], number[]]>([
    [
      [1, 4],
      [1, 2, 3, 4],
    ],
    [
      [1, 7, 2],
      [1, 3, 5, 7],
    ],
    [
      [1, 8, 2],
      [1, 3, 5, 7],
    ],
    [
      [3, 1],
      [3, 2, 1],
    ],
    [
      [10, 0, -5],
      [10, 5, 0],
    ],
    [[4, 4], [4]],
  ])('makes of %j the integers %j', (args, values) => {
    expect(range(...args)).toEqual(values)
  })

  it.each([
    [1, 5, 0],
    [1, 5, -1],
    [5, 1, 1],
    [0, 1, 0.1],
    [0.5, 3, 1],
    [0, 1e12, 1],
    [0, NaN, 1],
  ])('refuses (%d, %d, %d)', (first, last, step) => {
    expect(() => range(first, last, step)).toThrow(refused)
  })
})
