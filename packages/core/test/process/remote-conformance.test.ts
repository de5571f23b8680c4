import { afterAll, beforeAll, describe, test } from 'vitest'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { type ProcessSupports, registerProcesses } from '../../src/conformance/index.js'
import { connectionSchema } from '../../src/model/connection.js'
import { RemoteBackend } from '../../src/process/remote-backend.js'
import { ConnectionPool } from '../../src/ssh/connection-pool.js'
import { makeProcessLab } from './process-lab.js'
import { ALL_PROMISES, SHELL_PROMISES } from './process-promises.js'

interface Way {
  readonly connector: 'ssh2' | 'openssh'
  readonly runner: 'perl' | 'sh' | 'none'
  readonly supports: Partial<ProcessSupports>
}

const WAYS: readonly Way[] = [
  { connector: 'ssh2', runner: 'perl', supports: ALL_PROMISES },
  { connector: 'ssh2', runner: 'sh', supports: SHELL_PROMISES },
  { connector: 'ssh2', runner: 'none', supports: ALL_PROMISES },
  { connector: 'openssh', runner: 'perl', supports: ALL_PROMISES },
  { connector: 'openssh', runner: 'sh', supports: SHELL_PROMISES },
  { connector: 'openssh', runner: 'none', supports: SHELL_PROMISES },
]

const reason = sshHostsUnavailable()

describe.skipIf(reason !== undefined)(`RemoteBackend${reason === undefined ? '' : ` (${reason})`}`, () => {
  let bed: SshHosts & AsyncDisposable
  beforeAll(async () => {
    bed = await startSshHosts(1)
  })
  afterAll(() => bed?.stop())

  for (const { connector, runner, supports } of WAYS) {
    describe(`over ${connector} with runner ${runner} keeps the promises of a process backend (needs sshd)`, () => {
      const lab = makeProcessLab({ host: 'h1' })
      let pool: ConnectionPool
      beforeAll(() => {
        pool = new ConnectionPool()
      })
      afterAll(async () => {
        lab[Symbol.dispose]()
        await pool[Symbol.asyncDispose]()
      })
      const subject = () => {
        const connection = connectionSchema.parse({ connector, runner, sshConfig: bed.sshConfig })
        return Promise.resolve(new RemoteBackend(pool, { address: 'h1' }, connection))
      }
      registerProcesses({ test, subject, lab, supports })
    })
  }
})
