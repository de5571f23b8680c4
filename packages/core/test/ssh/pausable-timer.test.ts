import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PausableTimer } from '../../src/ssh/pausable-timer.js'

describe('PausableTimer', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  const make = (ms: number) => {
    let times = 0
    const timer = new PausableTimer(ms, () => {
      times += 1
    })
    return { timer, times: () => times }
  }

  it('ends when its time is over', () => {
    const { timer, times } = make(100)
    vi.advanceTimersByTime(99)
    expect([times(), timer.passed]).toEqual([0, false])
    vi.advanceTimersByTime(1)
    expect([times(), timer.passed]).toEqual([1, true])
  })

  it('stands still while somebody is asked, until the last of several questions is answered', () => {
    const { timer, times } = make(100)
    vi.advanceTimersByTime(60)
    timer.pause()
    timer.pause()
    vi.advanceTimersByTime(1000)
    timer.resume()
    vi.advanceTimersByTime(1000)
    timer.resume()
    vi.advanceTimersByTime(39)
    expect(times()).toBe(0)
    vi.advanceTimersByTime(1)
    expect(times()).toBe(1)
  })

  it.each<[string, (timer: PausableTimer) => void]>([
    ['when it was stopped', (timer) => timer.stop()],
    [
      'when it was stopped while somebody was asked',
      (timer) => {
        timer.pause()
        timer.stop()
      },
    ],
  ])('never ends %s, whatever is answered after that', (_, stop) => {
    const { timer, times } = make(100)
    stop(timer)
    timer.pause()
    timer.resume()
    timer.resume()
    vi.advanceTimersByTime(1000)
    expect([times(), timer.passed]).toEqual([0, false])
  })

  it('ends once, also when somebody is asked after that', () => {
    const { timer, times } = make(100)
    vi.advanceTimersByTime(100)
    timer.pause()
    timer.resume()
    vi.advanceTimersByTime(1000)
    expect(times()).toBe(1)
  })

  it('never ends without a limit', () => {
    const { timer, times } = make(0)
    timer.pause()
    timer.resume()
    vi.advanceTimersByTime(1e9)
    expect(times()).toBe(0)
  })
})
