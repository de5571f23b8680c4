import { afterAll, describe, test } from 'vitest'
import { register } from '../../../src/conformance/index.js'
import { makeFakeQueue } from './fake-queue.js'

// Two hundred jobs are two hundred shells, which a busy machine has to begin first.
describe('a batch scheduler keeps the promises of the Scheduler port', { timeout: 180_000 }, () => {
  const lab = makeFakeQueue()
  afterAll(() => lab[Symbol.asyncDispose]())
  const subject = async () => {
    const scheduler = lab.connect()
    await scheduler.open()
    return scheduler
  }
  register({
    test,
    subject,
    lab: { ...lab, shortestWalltimeMs: 1_000, patienceMs: 90_000 },
    supports: { arrays: true, dependencies: true, accounting: true, push: true, hold: true },
  })
})
