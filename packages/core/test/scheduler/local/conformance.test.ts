import { afterAll, describe, test } from 'vitest'
import { register, schedulerCases } from '../../../src/conformance/index.js'
import { localAdapter } from '../../../src/scheduler/local/index.js'
import { makeLocalLab } from './lab.js'

describe('the local scheduler keeps the promises of the Scheduler port', { timeout: 180_000 }, () => {
  const lab = { ...makeLocalLab(), patienceMs: 90_000 }
  afterAll(() => lab[Symbol.asyncDispose]())
  const { supports } = localAdapter
  const freezes = schedulerCases.filter(({ needs }) => needs?.includes('freeze'))
  // A frozen daemon is waited for this long.
  register({ test, subject: () => lab.connect({ answerTimeoutMs: 5_000 }), lab, supports, cases: freezes })
  register({ test, subject: () => lab.connect(), lab, supports, cases: schedulerCases.filter((one) => !freezes.includes(one)) })
})
