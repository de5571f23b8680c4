import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dealJobs, longestRow, type SiteLoad } from '../../src/engine/deal-jobs.js'

const site = (more: Partial<SiteLoad> = {}): SiteLoad => ({ takes: true, waiting: 0, running: 0, ...more })
const loads = fc.array(fc.record({ takes: fc.boolean(), waiting: fc.nat(50), running: fc.nat(50) }), { minLength: 2, maxLength: 5 })

describe('dealJobs', () => {
  it('gives a single site all that there is room for, however many wait there', () => {
    expect(dealJobs([site({ waiting: 5000 })], 1000)).toEqual([1000])
    expect(dealJobs([site({ takes: false })], 1000)).toEqual([0])
  })

  it.each([
    ['equally where nothing is known yet', [site(), site()], 10, [5, 5]],
    ['to the one that runs more', [site({ running: 9 }), site()], 11, [10, 1]],
    ['to the one with the shorter row', [site({ waiting: 10 }), site()], 6, [0, 6]],
    ['nothing to one that takes none', [site({ takes: false }), site()], 6, [0, 6]],
    ['no longer row than a slow site may have', [site(), site({ takes: false })], 1000, [16, 0]],
    ['twice what runs at most', [site({ running: 100, waiting: 150 }), site({ waiting: 16 })], 1000, [50, 0]],
  ] as [string, SiteLoad[], number, number[]][])('deals %s', (_how, sites, room, given) => {
    expect(dealJobs(sites, room)).toEqual(given)
  })

  it('never gives more than there is room for, nor to a site that takes none, nor beyond the longest row', () => {
    fc.assert(
      fc.property(loads, fc.nat(300), (sites, room) => {
        const given = dealJobs(sites, room)
        expect(given.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(room)
        sites.forEach(({ takes, waiting, running }, index) => {
          const jobs = given[index] as number
          if (!takes) expect(jobs).toBe(0)
          if (jobs > 0) expect(waiting + jobs).toBeLessThanOrEqual(longestRow(running))
        })
      }),
    )
  })

  it('leaves nothing undealt while a site that takes jobs has a short row', () => {
    fc.assert(
      fc.property(loads, fc.nat(300), (sites, room) => {
        const given = dealJobs(sites, room)
        const left = room - given.reduce((sum, one) => sum + one, 0)
        if (left === 0) return
        sites.forEach(({ takes, waiting, running }, index) => {
          if (takes) expect(waiting + (given[index] as number)).toBeGreaterThanOrEqual(longestRow(running))
        })
      }),
    )
  })
})
