import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePorts, isPortFree } from '../../../../../test/testbed/bed.mjs'
import { portsOf } from '../../../../../test/testbed/proc.mjs'
import { sshHostsUnavailable } from '../../../../../test/testbed/ssh-hosts.mjs'
import { copyOptionsSchema } from '../../../src/model/transfer.js'
import { ChainTransfer } from '../../../src/transfer/chain/chain-transfer.js'
import { HostLab, noise } from '../host-lab.js'

const HOSTS = ['h1', 'h2', 'h3']
const hasAddress = await isPortFree(0, '::1')
const reason = hasAddress ? sshHostsUnavailable() : 'needs IPv6'

/** Connections of `::1` that lead to these ports: whether each begins in this program. @source proc(5), /proc/net/tcp6 */
function connectionsTo(ports: readonly number[]): boolean[] {
  const own = new Set(
    readdirSync('/proc/self/fd').map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        return ''
      }
    }),
  )
  return readFileSync('/proc/net/tcp6', 'latin1')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , remote = '', state]) => state === ESTABLISHED && ports.map(asRemote).includes(remote))
    .map((words) => own.has(`socket:[${words[9]}]`))
}
const ESTABLISHED = '01'
const asRemote = (port: number): string => `${'0'.repeat(24)}01000000:${port.toString(16).toUpperCase().padStart(4, '0')}`

describe.skipIf(reason !== undefined)(`a chain of hosts with addresses of version 6 (${reason ?? 'needs sshd'})`, () => {
  let lab: HostLab
  let ports: readonly number[]
  beforeAll(async () => {
    ports = await freePorts('::1', HOSTS.length)
    const overrides = Object.fromEntries(HOSTS.map((name, at) => [name, { sshdLines: [`ListenAddress [::1]:${ports[at]}`] }]))
    lab = await HostLab.start(HOSTS.length, { overrides })
  })
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  it.each(['ssh2', 'openssh'] as const)('leads from host to host, reached with %s', async (connector) => {
    const folder = lab.newFolder()
    const config = join(folder, 'config')
    const names = HOSTS.map((name, at) => `Host ${name}6\n  HostName ::1\n  Port ${ports[at]}\n  HostKeyAlias ${name}\n`)
    writeFileSync(config, names.join('') + readFileSync(lab.bed.sshConfig, 'utf8'))
    // At the limit below, long enough that its middle is told, not its end only.
    const content = noise(3_000_000)
    writeFileSync(join(folder, 'data'), content)
    let links: readonly boolean[] = []
    await using transfer = new ChainTransfer(lab.context, { order: 'given' })
    const results = await transfer.put(
      {
        files: [join(folder, 'data')],
        ends: HOSTS.map((name) => lab.end(`${name}6`, join(folder, name), { sshConfig: config, connector })),
        policy: copyOptionsSchema.parse({ create: true, limit: 1e6 }),
      },
      {
        // Links come to stand one after the other.
        onProgress: ({ index, phase }) => {
          if (index !== 2 || phase !== 'moving' || links.length === HOSTS.length) return
          links = connectionsTo(HOSTS.flatMap((name) => lab.bed.processes(name).flatMap(({ pid }) => portsOf(pid))))
        },
      },
    )
    expect(results.map(({ outcome, verified }) => [outcome, verified])).toEqual(HOSTS.map(() => ['done', 'sha256']))
    for (const name of HOSTS) expect(readFileSync(join(folder, name, 'data')).equals(content)).toBe(true)
    // One begins here, the others at hosts.
    expect([...links].sort()).toEqual([false, false, true])
  })
})
