import { RsyncMover } from '../../src/transfer/rsync/rsync.js'
import { StarTransfer } from '../../src/transfer/star/star.js'
import { ALL_TRANSFER_PROMISES, conformsOverSsh } from './ssh-conformance.js'

conformsOverSsh({
  name: 'StarTransfer with rsync',
  make: (context) => new StarTransfer(context, { name: 'rsync', mover: new RsyncMover() }),
  supports: ALL_TRANSFER_PROMISES,
})
