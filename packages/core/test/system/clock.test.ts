import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/system/clock.js'

describe('systemClock', () => {
  it('sleeps for at least the time asked, by the monotonic clock', async () => {
    const start = systemClock.monotonic()
    await systemClock.sleep(20)
    expect(systemClock.monotonic() - start).toBeGreaterThanOrEqual(19)
  })

  it('refuses to begin when the signal is already aborted', async () => {
    await expect(systemClock.sleep(1, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
  })

  it('ends a sleep of years with the reason of the signal, and does not fire at once', async () => {
    const controller = new AbortController()
    const sleep = systemClock.sleep(1e12, { signal: controller.signal })
    const early = await Promise.race([sleep.then(() => 'woke'), systemClock.sleep(20).then(() => 'asleep')])
    controller.abort(new Error('stop'))
    await expect(sleep).rejects.toThrow('stop')
    expect(early).toBe('asleep')
  })
})
