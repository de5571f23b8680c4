import { SftpMover } from '../../src/transfer/sftp/sftp.js'
import { StarTransfer } from '../../src/transfer/star/star.js'
import { ALL_TRANSFER_PROMISES, conformsOverSsh } from './ssh-conformance.js'

conformsOverSsh({
  name: 'StarTransfer with sftp',
  make: (context) => new StarTransfer(context, { name: 'sftp', mover: new SftpMover() }),
  supports: ALL_TRANSFER_PROMISES,
})
