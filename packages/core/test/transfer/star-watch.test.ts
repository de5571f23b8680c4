import { describe, expect, it } from 'vitest'
import type { TransferProgress } from '../../src/ports/transfer.js'
import { ManualClock } from '../../src/testing/manual-clock.js'
import { Pace } from '../../src/transfer/pace.js'
import { StarWatch } from '../../src/transfer/star/star-watch.js'

function setUp(signal?: AbortSignal) {
  const clock = new ManualClock()
  const told: TransferProgress[] = []
  const watch = new StarWatch('h1', 3, { signal, onProgress: (one) => told.push(one) }, { clock, pace: new Pace() })
  return { clock, told, watch }
}

describe('StarWatch', () => {
  it('ends the copy with a host that took and said nothing for a minute', async () => {
    const { clock, watch } = setUp()
    watch.guard()
    await clock.advance(40_000)
    watch.onBytes(1)
    await clock.advance(59_000)
    expect(watch.signal.aborted).toBe(false)
    await clock.advance(1_001)
    expect(watch.signal.aborted).toBe(true)
    expect(watch.stalled).toMatchObject({ code: 'E_COPY_STALLED', message: expect.stringContaining('h1') })
    expect(watch.isGivenUp).toBe(false)
  })

  it('waits for a host that answers while it works, however long', async () => {
    const { clock, watch } = setUp()
    let heard = 0
    watch.guard(() => heard)
    for (let minute = 0; minute < 20; minute += 1) {
      await clock.advance(50_000)
      heard = clock.monotonic()
    }
    expect(watch.signal.aborted).toBe(false)
    await clock.advance(60_001)
    expect(watch.stalled).toBeDefined()
  })

  it('expects nothing of a host that waits for others, until it is its turn again', async () => {
    const { clock, watch } = setUp()
    watch.guard(() => 0)
    await clock.advance(30_000)
    watch.rest()
    await clock.advance(3_600_000)
    expect(watch.signal.aborted).toBe(false)
    watch.guard()
    await clock.advance(59_000)
    expect(watch.stalled).toBeUndefined()
    await clock.advance(1_001)
    expect(watch.stalled).toMatchObject({ code: 'E_COPY_STALLED' })
  })

  it('does not take what looks after files for what moves them', async () => {
    const { clock, watch } = setUp()
    watch.guard(() => clock.monotonic())
    watch.phase('moving')
    await clock.advance(60_001)
    expect(watch.stalled).toBeDefined()
  })

  it('waits while content moves for a mover that answers, and not for one that does not', async () => {
    const { clock, watch } = setUp()
    let heard = 0
    watch.guard(() => heard, true)
    watch.phase('moving')
    await clock.advance(50_000)
    heard = clock.monotonic()
    await clock.advance(59_000)
    expect(watch.stalled).toBeUndefined()
    await clock.advance(1_001)
    expect(watch.stalled).toMatchObject({ code: 'E_COPY_STALLED' })
  })

  it('ends with the signal of the caller, also one that was aborted before', () => {
    const controller = new AbortController()
    const { watch } = setUp(controller.signal)
    controller.abort()
    expect(watch.signal.aborted).toBe(true)
    expect(watch.isGivenUp).toBe(true)
    expect(setUp(AbortSignal.abort()).watch.signal.aborted).toBe(true)
  })

  it('tells each phase, bytes at most five times a second, and never more than there is', async () => {
    const { clock, told, watch } = setUp()
    watch.phase('connecting')
    watch.begin(100, 1_000)
    watch.phase('moving')
    for (let n = 0; n < 100; n += 1) {
      watch.onBytes(20)
      await clock.advance(10)
    }
    expect(told[0]).toEqual({ index: 3, phase: 'connecting', bytes: 0, total: undefined })
    expect(told.length).toBeGreaterThanOrEqual(5)
    expect(told.length).toBeLessThanOrEqual(8)
    expect(told.at(-1)).toEqual({ index: 3, phase: 'moving', bytes: 1_000, total: 1_000 })
    expect(watch.moved).toBe(2_000)
  })
})
