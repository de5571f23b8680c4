import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Candidate, chooseStarts } from '../../../src/scheduler/local/choose-starts.js'

const job = (cores: number, walltimeMs = Number.POSITIVE_INFINITY, memoryMiB = 0): Candidate => ({ cores, walltimeMs, memoryMiB })
const free = (cores: number, memoryMiB = 1_000) => ({ cores, memoryMiB })
const all = Number.POSITIVE_INFINITY

describe('chooseStarts', () => {
  it('starts in order what fits', () => {
    const ready = [job(1), job(2), job(1)]
    expect(chooseStarts(ready, [], free(3), 0, all)).toEqual(ready.slice(0, 2))
    expect(chooseStarts(ready, [], free(4), 0, all)).toEqual(ready)
    expect(chooseStarts(ready, [], free(4), 0, 1)).toEqual(ready.slice(0, 1))
  })

  it('counts memory as it counts cores', () => {
    const ready = [job(1, all, 600), job(1, all, 600)]
    expect(chooseStarts(ready, [], free(8), 0, all)).toEqual(ready.slice(0, 1))
  })

  it('lets a small job pass a blocked one when it ends before that could start', () => {
    const [big, short, long] = [job(4), job(1, 100), job(1, 10_000)]
    const running = [{ ...job(2, 1_000), startedAt: 0 }]
    expect(chooseStarts([big, short, long], running, free(2), 0, all)).toEqual([short])
  })

  it('lets a small job pass when the blocked one will not need its cores', () => {
    const [big, small, other] = [job(3), job(1), job(1)]
    const running = [{ ...job(2, 1_000), startedAt: 0 }]
    expect(chooseStarts([big, small, other], running, free(2), 0, all)).toEqual([small])
  })

  it('does not delay a blocked job for ever when nothing says how long jobs take', () => {
    const running = [{ ...job(1), startedAt: 0 }]
    expect(chooseStarts([job(2), job(1), job(1)], running, free(1), 0, all)).toEqual([])
  })

  it('never starts more than fits, and never nothing when the first one fits', () => {
    const candidates = fc.array(fc.record({ cores: fc.integer({ min: 1, max: 8 }), memoryMiB: fc.nat(500), walltimeMs: fc.nat(1_000) }))
    fc.assert(
      fc.property(candidates, candidates, fc.nat(8), (ready, active, cores) => {
        const running = active.map((one) => ({ ...one, startedAt: 0 }))
        const chosen = chooseStarts(ready, running, free(cores), 10, all)
        expect(chosen.reduce((sum, one) => sum + one.cores, 0)).toBeLessThanOrEqual(cores)
        expect(chosen.reduce((sum, one) => sum + one.memoryMiB, 0)).toBeLessThanOrEqual(1_000)
        expect(new Set(chosen).size).toBe(chosen.length)
        if (ready[0] !== undefined && ready[0].cores <= cores) expect(chosen[0]).toBe(ready[0])
      }),
    )
  })
})
