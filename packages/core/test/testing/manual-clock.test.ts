import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/testing/index.js'

describe('ManualClock', () => {
  it('ends sleeps in the order of their ends, each at its own moment', async () => {
    const clock = new ManualClock({ now: 1_000_000 })
    const seen: [string, number, number][] = []
    const sleeper = async (name: string, ms: number): Promise<void> => {
      await clock.sleep(ms)
      seen.push([name, clock.monotonic(), clock.now()])
    }
    const all = Promise.all([sleeper('late', 300), sleeper('soon', 100), sleeper('also soon', 100)])
    await clock.advance(99)
    expect([seen, clock.sleeping]).toEqual([[], 3])
    await clock.advance(1000)
    await all
    expect(seen).toEqual([
      ['soon', 100, 1_000_100],
      ['also soon', 100, 1_000_100],
      ['late', 300, 1_000_300],
    ])
    expect([clock.monotonic(), clock.now(), clock.sleeping]).toEqual([1099, 1_001_099, 0])
  })

  it('runs what a sleeper does next, also when that sleeps again', async () => {
    const clock = new ManualClock()
    let rounds = 0
    void (async () => {
      for (; rounds < 100; rounds += 1) await clock.sleep(10)
    })()
    await clock.advance(55)
    expect(rounds).toBe(5)
  })

  it('rejects an aborted sleep with the reason, before and during it', async () => {
    const clock = new ManualClock()
    const stop = new AbortController()
    const sleep = clock.sleep(10, { signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(sleep).rejects.toThrow('enough')
    await expect(clock.sleep(10, { signal: stop.signal })).rejects.toThrow('enough')
    expect(clock.sleeping).toBe(0)
  })

  it('keeps durations when the wall clock is set back', async () => {
    const clock = new ManualClock({ now: 5000 })
    await clock.advance(10)
    clock.setWallClock(0)
    await clock.advance(10)
    expect([clock.now(), clock.monotonic()]).toEqual([10, 20])
  })

  it('lets time pass by itself when it is eager', async () => {
    const clock = new ManualClock({ eager: true })
    await Promise.race([clock.sleep(3_600_000), clock.sleep(60_000)])
    expect(clock.monotonic()).toBe(60_000)
    for (let day = 0; day < 10; day += 1) await clock.sleep(86_400_000)
    expect(clock.monotonic()).toBe(60_000 + 864_000_000)
  })
})
