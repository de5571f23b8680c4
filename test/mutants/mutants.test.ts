import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { schedulerCases } from '../../packages/core/src/conformance/index.js'
import { makeLocalLab } from '../../packages/core/test/scheduler/local/lab.js'
import { schedulerMutants } from './schedulers.js'

describe('the conformance suite', () => {
  const lab = makeLocalLab()
  // The start of a daemon is given more time than its answers.
  beforeAll(async () => (await lab.connect())[Symbol.asyncDispose]())
  afterAll(() => lab[Symbol.asyncDispose]())

  it.each(schedulerMutants)('notices a scheduler that $fault ($caughtBy)', async ({ caughtBy, make }) => {
    const one = schedulerCases.find(({ id }) => id === caughtBy)
    expect(one).toBeDefined()
    await using inner = await lab.connect({ answerTimeoutMs: 2_000 })
    const scheduler = make(inner)
    await expect(one?.run({ scheduler, lab: { ...lab, patienceMs: 2_000 }, supports: scheduler.supports })).rejects.toThrow()
  })

  it('has every id once', () => {
    const ids = schedulerCases.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })
})
