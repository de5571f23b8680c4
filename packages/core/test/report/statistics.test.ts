import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { statisticsOf, summarise } from '../../src/report/statistics.js'
import { studentQuantile } from '../../src/report/student.js'

describe('studentQuantile', () => {
  // Tables of the t distribution (NIST, and R's qt to ten digits).
  it.each([
    [0.975, 1, 12.7062047362],
    [0.975, 2, 4.3026527297],
    [0.975, 3, 3.1824463053],
    [0.975, 4, 2.7764451052],
    [0.975, 5, 2.5705818356],
    [0.975, 9, 2.2621571628],
    [0.975, 10, 2.228138852],
    [0.975, 20, 2.0859634473],
    [0.975, 29, 2.0452296421],
    [0.975, 30, 2.0422724563],
    [0.975, 100, 1.9839715185],
    [0.975, 1000, 1.9623390808],
    [0.95, 5, 2.0150483733],
    [0.995, 10, 3.1692726726],
    [0.9, 7, 1.4149239276],
  ])('at %f with %i degrees of freedom is %f', (p, degrees, wanted) => {
    expect(studentQuantile(p, degrees)).toBeCloseTo(wanted, 8)
  })
})

describe('statisticsOf', () => {
  it('knows the textbook values', () => {
    const { n, mean, median, sd, interval, min, max } = statisticsOf([2, 4, 4, 4, 5, 5, 7, 9])
    expect([n, mean, median, min, max]).toEqual([8, 5, 4.5, 2, 9])
    expect(sd).toBeCloseTo(2.1380899353, 9)
    expect(interval![0]).toBeCloseTo(5 - (2.3646242516 * 2.1380899353) / Math.sqrt(8), 8)
  })
  it('has no interval for one value, and nothing for none', () => {
    expect(statisticsOf([3])).toMatchObject({ n: 1, mean: 3, median: 3, sd: undefined, interval: undefined, outliers: [] })
    expect(statisticsOf([])).toMatchObject({ n: 0, missing: 0, mean: undefined, interval: undefined })
  })
  it('counts what is not a finite number as missing', () => {
    expect(statisticsOf([1, Number.NaN, null, undefined, 'a', Infinity, 3n])).toMatchObject({ n: 2, missing: 5, mean: 2 })
  })
  it('flags outliers and keeps them in the mean', () => {
    expect(statisticsOf([1, 1.1, 0.9, 1, 50])).toMatchObject({ outliers: [50], max: 50 })
    expect(statisticsOf([1, 1, 50]).outliers).toEqual([])
  })
  it('is exact for equal values and stable far from zero', () => {
    expect(statisticsOf([0.1, 0.1, 0.1])).toMatchObject({ mean: 0.1, sd: 0 })
    expect(statisticsOf([1e9 + 1, 1e9 + 2, 1e9 + 3])).toMatchObject({ mean: 1e9 + 2, sd: 1 })
    expect(statisticsOf([1.7e308, 1.7e308]).mean).toBe(1.7e308)
  })
  it('knows one zero', () => {
    expect(statisticsOf([-0, 0, 1])).toEqual(statisticsOf([0, -0, 1]))
    expect(Object.is(statisticsOf([-0]).min, 0)).toBe(true)
  })
  it('keeps the mean between the smallest and the largest, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true, min: -1e100, max: 1e100 }), { minLength: 2, maxLength: 30 }), (values) => {
        const all = statisticsOf(values)
        expect(all.mean).toBeGreaterThanOrEqual(all.min!)
        expect(all.mean).toBeLessThanOrEqual(all.max!)
        expect(all.sd).toBeGreaterThanOrEqual(0)
        expect(statisticsOf([...values].reverse())).toEqual(all)
      }),
    )
  })
})

describe('summarise', () => {
  it('groups by typed values, in order of first appearance', () => {
    const rows = [{ c: 2, s: 1 }, { c: '2', s: 5 }, { c: 1, s: 3 }, { c: 2, s: 3 }, { s: 9 }]
    const summary = summarise(rows, { by: 'c', metric: 's' })
    expect(summary.map(({ group, n, mean }) => [group['c'], n, mean])).toEqual([
      [2, 2, 2],
      ['2', 1, 5],
      [1, 1, 3],
      [undefined, 1, 9],
    ])
  })
})
