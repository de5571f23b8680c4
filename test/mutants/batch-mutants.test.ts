import { afterAll, describe, expect, it } from 'vitest'
import { schedulerCases } from '../../packages/core/src/conformance/index.js'
import { makeFakeQueue } from '../../packages/core/test/scheduler/batch/fake-queue.js'
import { dialectMutants } from './batch.js'

/** So long an answer that nobody gives is waited for. */
const PATIENCE_MS = 3_000

describe('the conformance suite, over a batch system', () => {
  const queue = makeFakeQueue({ commandTimeout: PATIENCE_MS })
  afterAll(() => queue[Symbol.asyncDispose]())
  const lab = { ...queue, patienceMs: PATIENCE_MS }

  it.each(dialectMutants)('notices a dialect that $fault ($caughtBy)', async ({ caughtBy, make }) => {
    const one = schedulerCases.find(({ id }) => id === caughtBy)
    expect(one).toBeDefined()
    await using scheduler = queue.connect({ dialect: make(queue.dialect) })
    await expect((async () => one?.run({ scheduler, lab, supports: scheduler.supports }))()).rejects.toThrow()
  })
})
