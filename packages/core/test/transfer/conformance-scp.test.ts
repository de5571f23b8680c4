import { ScpMover } from '../../src/transfer/scp/scp.js'
import { StarTransfer } from '../../src/transfer/star/star.js'
import { ALL_TRANSFER_PROMISES, conformsOverSsh } from './ssh-conformance.js'

conformsOverSsh({
  name: 'StarTransfer with scp',
  // Its protocol knows only whole files.
  make: (context) => new StarTransfer(context, { name: 'scp', mover: new ScpMover(), resume: false }),
  supports: { ...ALL_TRANSFER_PROMISES, resume: false },
})
