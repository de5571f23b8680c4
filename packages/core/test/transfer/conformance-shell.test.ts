import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { CatMover } from '../../src/transfer/shell/cat.js'
import { StarTransfer } from '../../src/transfer/star/star.js'
import { ALL_TRANSFER_PROMISES, conformsOverSsh } from './ssh-conformance.js'

const isThere = spawnSync('busybox', ['true']).status === 0
const folder = isThere ? mkdtempSync(join(tmpdir(), 'cahier-busybox-')) : ''
afterAll(() => {
  if (isThere) rmSync(folder, { recursive: true, force: true })
})
// Beside the tools, never among them: those are links to the one program of this machine.
const tools = join(folder, 'bin')
const loginShell = join(folder, 'login-shell')
if (isThere) {
  mkdirSync(tools)
  execFileSync('busybox', ['--install', '-s', tools])
  // What it is given names /bin/sh, which is another shell here.
  const text = `#!/bin/sh\nexport PATH=${tools}\nc=$(printf '%s' "$2" | sed 's#/bin/sh#${tools}/sh#')\nexec ${tools}/sh -c "$c"\n`
  writeFileSync(loginShell, text, { mode: 0o755, flag: 'wx' })
}

conformsOverSsh({
  name: 'StarTransfer to hosts with busybox alone',
  make: (context) => new StarTransfer(context, { name: 'cat', mover: new CatMover(), kinds: ['sh'] }),
  supports: ALL_TRANSFER_PROMISES,
  settings: { loginShell },
  // Its touch knows whole seconds.
  fields: { timeStepMs: 1000 },
  missing: isThere ? undefined : 'needs busybox',
})
