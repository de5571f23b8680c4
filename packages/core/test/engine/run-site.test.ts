import { describe, expect, it } from 'vitest'
import type { Planner } from '../../src/engine/plan.js'
import { RunSite } from '../../src/engine/run-site.js'
import type { Scheduler, SchedulerTiming } from '../../src/ports/scheduler.js'
import type { SitePlace } from '../../src/ports/site-place.js'

const QUEUE: SchedulerTiming = { pollMs: 1, pollMaxMs: 1, graceMs: 1, settleGraceMs: 1 }

async function openSite(timing?: SchedulerTiming): Promise<RunSite> {
  const scheduler = { supports: { push: true }, ...(timing === undefined ? {} : { timing }) } as Scheduler
  const place = { isShared: true, open: () => Promise.resolve() } as SitePlace
  const site = new RunSite({ name: 's', place, planner: {} as Planner, openScheduler: () => Promise.resolve(scheduler) })
  await site.open()
  return site
}

describe('a site of a run', () => {
  it('gets few jobs first, and many when its queue has work', async () => {
    const site = await openSite(QUEUE)
    const first = site.batch
    site.noteSubmitted()
    expect(first).toBeLessThanOrEqual(256)
    expect(site.batch).toBeGreaterThan(2 * first)
  })

  it('gets always as many where jobs start at once', async () => {
    const site = await openSite()
    const first = site.batch
    site.noteSubmitted()
    expect(site.batch).toBe(first)
  })
})
