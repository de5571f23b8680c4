import { describe, expect, it } from 'vitest'
import { makeDeferred } from '../../src/util/async.js'
import { SharedTask } from '../../src/util/shared-task.js'

describe('SharedTask', () => {
  it('gives one result to all who wait', async () => {
    let runs = 0
    const task = new SharedTask(async () => {
      runs += 1
      return 'done'
    })
    expect(await Promise.all([task.wait(), task.wait()])).toEqual(['done', 'done'])
    expect(await task.wait()).toBe('done')
    expect(runs).toBe(1)
  })

  it('gives one failure to all who wait', async () => {
    const task = new SharedTask(() => Promise.reject(new Error('no')))
    await expect(task.wait()).rejects.toThrow('no')
    await expect(task.wait()).rejects.toThrow('no')
  })

  it('goes on for the others when one gives up, and ends with the last', async () => {
    const answer = makeDeferred<string>()
    let seen: AbortSignal | undefined
    const task = new SharedTask((signal) => {
      seen = signal
      return answer.promise
    })
    const [first, second] = [new AbortController(), new AbortController()]
    const one = task.wait(first.signal)
    const two = task.wait(second.signal)
    first.abort(new Error('enough'))
    await expect(one).rejects.toThrow('enough')
    expect(seen?.aborted).toBe(false)
    second.abort(new Error('enough too'))
    await expect(two).rejects.toThrow('enough too')
    expect(seen?.aborted).toBe(true)
    answer.resolve('late')
    await task.over()
  })

  it('refuses a signal that was aborted before', async () => {
    const task = new SharedTask(() => Promise.resolve('done'))
    await expect(task.wait(AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  })
})
