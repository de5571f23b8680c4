import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { sshHostsUnavailable } from '../../../../test/testbed/ssh-hosts.mjs'
import { SftpMover } from '../../src/transfer/sftp/sftp.js'
import { StarTransfer } from '../../src/transfer/star/star.js'
import { ALL_TRANSFER_PROMISES, conformsOverSsh } from './ssh-conformance.js'

const folder = sshHostsUnavailable() === undefined ? mkdtempSync(join(tmpdir(), 'cahier-sftp-only-')) : ''
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const loginShell = join(folder, 'login-shell')
if (folder !== '') {
  const text = `#!/bin/sh\ncase $2 in */sftp-server) exec $2 ;; esac\necho 'This service allows sftp connections only.'\nexit 1\n`
  writeFileSync(loginShell, text, { mode: 0o755, flag: 'wx' })
}

conformsOverSsh({
  name: 'StarTransfer to accounts that give only sftp',
  make: (context) => new StarTransfer(context, { name: 'sftp', mover: new SftpMover() }),
  supports: ALL_TRANSFER_PROMISES,
  settings: { loginShell },
  // Times of its protocol are whole seconds from 1970 on.
  fields: { timeStepMs: 1000, earliestMs: 0 },
})
