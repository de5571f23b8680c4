import { afterEach, describe, expect, it } from 'vitest'
import type { CommandAnswer, JobRow } from '../../../src/ports/scheduler-dialect.js'
import { type FakeQueue, makeFakeQueue } from './fake-queue.js'
import { makeSpec, submitAll } from './fake-steps.js'

const open: FakeQueue[] = []
afterEach(async () => {
  for (const queue of open.splice(0)) await queue[Symbol.asyncDispose]()
})

describe('looking for batch jobs of an earlier program', () => {
  it.each(['first', 'last'])('finds the elements of an array of which a part was canceled, whose line stands %s', async (place) => {
    const queue = makeFakeQueue()
    open.push(queue)
    const jobs = [0, 1, 2].map(() => makeSpec(queue, 'while [ ! -e go ]; do sleep 0.1; done'))
    {
      await using scheduler = queue.connect()
      await submitAll(scheduler, jobs)
    }
    // Canceled while it waited: that part is no element of its own any more.
    const withRest = (answer: CommandAnswer): ReturnType<typeof queue.dialect.parseQueue> => {
      const parsed = queue.dialect.parseQueue(answer)
      if (!('rows' in parsed)) return parsed
      const left = parsed.rows.filter(({ nativeId }) => nativeId !== '1_2')
      const { tag = '' } = left[0] as JobRow
      const rest: JobRow = { nativeId: '1', tag, state: 'ended', rawState: 'CANCELLED', end: 'canceled' }
      return { rows: place === 'first' ? [rest, ...left] : [...left, rest] }
    }
    await using later = queue.connect({ dialect: { ...queue.dialect, parseQueue: withRest } })
    const found = await later.find(jobs)
    expect(jobs.map(({ tag }) => found.get(tag)?.nativeId)).toEqual(['1_0', '1_1', '1_2'])
    const seen = await later.observe([...found.values()])
    expect(seen.map(({ state }) => state === 'ended')).toEqual([false, false, true])
  })
})
