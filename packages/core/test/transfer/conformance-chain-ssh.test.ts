import { ChainTransfer } from '../../src/transfer/chain/chain-transfer.js'
import { ALL_TRANSFER_PROMISES, conformsOverSsh } from './ssh-conformance.js'

conformsOverSsh({
  name: 'ChainTransfer over ssh',
  // The hosts know each other by the configuration of the test bed, as their users' own one would say it.
  make: (context, bed) => new ChainTransfer(context, { over: 'ssh', hopCommand: ['ssh', '-F', bed.plainConfig] }),
  supports: { ...ALL_TRANSFER_PROMISES, get: false },
})
