import { afterAll, describe, expect, it } from 'vitest'
import { processCases } from '../../packages/core/src/conformance/index.js'
import { LocalBackend } from '../../packages/core/src/process/local-backend.js'
import { makeProcessLab } from '../../packages/core/test/process/process-lab.js'
import { ALL_PROMISES } from '../../packages/core/test/process/process-promises.js'
import { processMutants } from './process-backends.js'

describe('the conformance suite of process backends', () => {
  const lab = makeProcessLab({ patienceMs: 4_000 })
  afterAll(() => lab[Symbol.dispose]())

  it.each(processMutants)('notices a backend that $fault ($caughtBy)', async ({ caughtBy, make }) => {
    const one = processCases.find(({ id }) => id === caughtBy)
    expect(one).toBeDefined()
    await using inner = new LocalBackend()
    await expect(one?.run({ backend: make(inner), lab, supports: ALL_PROMISES })).rejects.toThrow()
  })

  it('has every id once', () => {
    const ids = processCases.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('says of each case what goes wrong without it', () => {
    for (const { id, why } of processCases) expect(why, id).toMatch(/^\S.{20,}[.]$/s)
  })
})
