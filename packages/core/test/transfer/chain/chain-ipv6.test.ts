import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sshHostsUnavailable } from '../../../../../test/testbed/ssh-hosts.mjs'
import { copyOptionsSchema } from '../../../src/model/transfer.js'
import { ChainTransfer } from '../../../src/transfer/chain/chain-transfer.js'
import { HostLab, noise } from '../host-lab.js'

const HOSTS = ['h1', 'h2', 'h3']
const ports = await freePorts(HOSTS.length)
const reason = ports === undefined ? 'needs IPv6' : sshHostsUnavailable()

/** Ports of `::1` that were free a moment ago; undefined where there is no such address. */
async function freePorts(count: number): Promise<number[] | undefined> {
  const servers = Array.from({ length: count }, () => createServer())
  try {
    return await Promise.all(
      servers.map(
        (server) =>
          new Promise<number>((resolve, reject) => {
            server.once('error', reject).listen(0, '::1', () => resolve((server.address() as { port: number }).port))
          }),
      ),
    )
  } catch {
    return undefined
  } finally {
    for (const server of servers) server.close()
  }
}

interface Socket {
  readonly local: number
  readonly remote: number
  readonly isListening: boolean
  readonly isOwn: boolean
}

/** Those of `::1`. @source proc(5), /proc/net/tcp6: state 01 is established, 0A listens; field 10 is the inode */
function sockets(): Socket[] {
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
    .filter(([, local, , state]) => local?.startsWith(`${'0'.repeat(24)}01000000:`) && (state === '01' || state === '0A'))
    .map(([, local = '', remote = '', state, , , , , , inode]) => ({
      local: Number.parseInt(local.slice(33), 16),
      remote: Number.parseInt(remote.slice(33), 16),
      isListening: state === '0A',
      isOwn: own.has(`socket:[${inode}]`),
    }))
}

describe.skipIf(reason !== undefined)(`a chain of hosts with addresses of version 6 (${reason ?? 'needs sshd'})`, () => {
  let lab: HostLab
  beforeAll(async () => {
    const overrides = Object.fromEntries(HOSTS.map((name, at) => [name, { sshdLines: [`ListenAddress [::1]:${ports?.[at]}`] }]))
    lab = await HostLab.start(HOSTS.length, { overrides })
  })
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  it.each(['ssh2', 'openssh'] as const)('leads from host to host, reached with %s', async (connector) => {
    const folder = lab.newFolder()
    const config = join(folder, 'config')
    const names = HOSTS.map((name, at) => `Host ${name}6\n  HostName ::1\n  Port ${ports?.[at]}\n  HostKeyAlias ${name}\n`)
    writeFileSync(config, names.join('') + readFileSync(lab.bed.sshConfig, 'utf8'))
    // At the limit below, long enough that its middle is told, not its end only.
    const content = noise(3_000_000)
    writeFileSync(join(folder, 'data'), content)
    const before = new Set(sockets().flatMap(({ isListening, local }) => (isListening ? [local] : [])))
    let links: Socket[] | undefined
    await using transfer = new ChainTransfer(lab.context, { order: 'given' })
    const results = await transfer.put(
      {
        files: [join(folder, 'data')],
        ends: HOSTS.map((name) => lab.end(`${name}6`, join(folder, name), { sshConfig: config, connector })),
        policy: copyOptionsSchema.parse({ create: true, limit: 2e6 }),
      },
      {
        onProgress: ({ index, bytes }) => {
          if (index !== 2 || bytes < 300_000 || links !== undefined) return
          const all = sockets()
          const doors = new Set(all.flatMap(({ isListening, local }) => (isListening && !before.has(local) ? [local] : [])))
          links = all.filter(({ remote, isListening }) => !isListening && doors.has(remote))
        },
      },
    )
    expect(results.map(({ outcome, verified }) => [outcome, verified])).toEqual(HOSTS.map(() => ['done', 'sha256']))
    for (const name of HOSTS) expect(readFileSync(join(folder, name, 'data')).equals(content)).toBe(true)
    // One begins here, the others at hosts.
    expect(links?.map(({ isOwn }) => isOwn).sort()).toEqual([false, false, true])
  })
})
