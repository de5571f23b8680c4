import { ChainTransfer } from '../../src/transfer/chain/chain-transfer.js'
import { ALL_TRANSFER_PROMISES, conformsOverSsh } from './ssh-conformance.js'

conformsOverSsh({
  name: 'ChainTransfer',
  make: (context) => new ChainTransfer(context),
  supports: { ...ALL_TRANSFER_PROMISES, get: false },
})
