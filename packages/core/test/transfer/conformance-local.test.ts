import { afterAll, describe, test } from 'vitest'
import { registerTransfers } from '../../src/conformance/index.js'
import { LocalTransfer } from '../../src/transfer/local/local.js'
import { makeLocalLab } from './transfer-lab.js'

describe('LocalTransfer keeps the promises of a transfer', () => {
  const lab = makeLocalLab()
  afterAll(() => lab[Symbol.asyncDispose]())
  const { supports } = new LocalTransfer()
  registerTransfers({ test, subject: () => Promise.resolve(new LocalTransfer()), lab, supports })
})
