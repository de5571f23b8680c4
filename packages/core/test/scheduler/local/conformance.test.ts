import { afterAll, describe, test } from 'vitest'
import { register } from '../../../src/conformance/index.js'
import { localAdapter } from '../../../src/scheduler/local/index.js'
import { makeLocalLab } from './lab.js'

describe('the local scheduler keeps the promises of the Scheduler port', () => {
  const lab = makeLocalLab()
  afterAll(() => lab[Symbol.asyncDispose]())
  // A frozen daemon is waited for this long.
  register({ test, subject: () => lab.connect({ answerTimeoutMs: 3_000 }), lab, supports: localAdapter.supports })
})
