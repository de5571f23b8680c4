import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backOff, pollInterval } from '../../../src/scheduler/batch/poll-rhythm.js'

const rhythm = fc.record({ floorMs: fc.integer({ min: 1, max: 3_600_000 }), longestMs: fc.integer({ min: 1, max: 3_600_000 }) })

describe('the rhythm of questions', () => {
  it('never asks more often than the floor, nor less often than the longest interval', () => {
    fc.assert(
      fc.property(rhythm, fc.double({ min: 0, max: 1e12, noNaN: true }), (one, age) => {
        const interval = pollInterval(one, age)
        expect(interval).toBeGreaterThanOrEqual(one.floorMs)
        expect(interval).toBeLessThanOrEqual(Math.max(one.floorMs, one.longestMs))
      }),
    )
  })

  it('asks less often the longer nothing changes', () => {
    const usual = { floorMs: 30_000, longestMs: 300_000 }
    expect([0, 60_000, 480_000, 1_200_000, 36_000_000].map((age) => pollInterval(usual, age))).toEqual([
      30_000, 30_000, 60_000, 150_000, 300_000,
    ])
  })

  it('comes back to a silent scheduler after the floor at the earliest and about ten minutes at the latest', () => {
    fc.assert(
      fc.property(rhythm, fc.integer({ min: 1, max: 10_000 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (one, tries, random) => {
        const wait = backOff(one, tries, random)
        expect(wait).toBeGreaterThanOrEqual(one.floorMs)
        expect(wait).toBeLessThanOrEqual(Math.max(one.floorMs, 750_000))
      }),
    )
    expect([1, 2, 3, 4, 20].map((tries) => backOff({ floorMs: 30_000, longestMs: 300_000 }, tries, 0.5))).toEqual([
      30_000, 60_000, 120_000, 240_000, 600_000,
    ])
  })
})
