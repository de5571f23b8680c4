import { afterAll, beforeAll, describe, test } from 'vitest'
import { type SshHosts, startSshHosts } from '../../../test/testbed/ssh-hosts.mjs'
import { type ProcessSupports, registerProcesses } from '../../core/src/conformance/index.js'
import { adapterHost } from '../../core/src/di/wiring.js'
import { makeProcessLab } from '../../core/test/process/process-lab.js'
import { type TaktukBackends, taktukBackends } from '../src/index.js'
import { taktukUnavailable } from './taktuk-bed.js'

const reason = taktukUnavailable()

/** The status comes when the output is at its end, and there is no terminal. */
const supports: Partial<ProcessSupports> = {
  exactSignals: true,
  namedSignals: true,
  startFailures: true,
  liveOutput: true,
  stdinPipe: true,
  outputFiles: true,
  wholeTree: true,
}

describe.skipIf(reason !== undefined)(
  `processes through taktuk keep the promises of a process backend (${reason ?? 'real taktuk'})`,
  () => {
    const lab = makeProcessLab({ host: 'h1' })
    let bed: SshHosts & AsyncDisposable
    let tree: TaktukBackends
    beforeAll(async () => {
      bed = await startSshHosts(1)
      tree = taktukBackends({ core: adapterHost({}), hosts: [{ address: 'h1' }], connection: { sshConfig: bed.sshConfig } })
    })
    afterAll(async () => {
      await tree[Symbol.asyncDispose]()
      lab[Symbol.dispose]()
      await bed?.stop()
    })
    // One tree for all cases; each ends what it started.
    const subject = () => Promise.resolve(tree.backendOf({ address: 'h1' }))
    registerProcesses({ test, subject, lab, supports })
  },
)
