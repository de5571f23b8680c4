import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { connectionSchema } from '../../src/model/connection.js'
import type { ProcessSpec } from '../../src/model/process.js'
import { RemoteBackend } from '../../src/process/remote-backend.js'
import type { SshTarget } from '../../src/ssh/connection.js'
import { ConnectionPool } from '../../src/ssh/connection-pool.js'
import { defaultUserKey, type FakeServer, type FakeServerOptions, makeTarget, startFakeServer } from '../ssh/fake-server.js'

const directory = mkdtempSync(join(tmpdir(), 'cahier-remote-'))
const keyFile = join(directory, 'id')
writeFileSync(keyFile, defaultUserKey().private, { mode: 0o600 })
afterAll(() => rmSync(directory, { recursive: true, force: true }))

type Settings = Parameters<typeof connectionSchema.parse>[0]

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

/** Nobody may be there to reap what has lost its parent. */
function alive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

let count = 0

/** A host with a server that behaves as told, and a backend for it. */
async function host(options: FakeServerOptions = {}, settings: object = {}, changes: Partial<SshTarget> = {}) {
  const server = await startFakeServer(options)
  open.push(server)
  count += 1
  const knownHosts = join(directory, `known_hosts.${count}`)
  writeFileSync(knownHosts, server.knownHosts())
  const pool = new ConnectionPool({
    resolve: async (spec, connection) => ({
      target: makeTarget(
        server,
        { knownHostsFiles: [knownHosts], keyFiles: [keyFile] },
        { name: spec.address, connectTimeoutMs: connection.connectTimeout, keepAliveMs: connection.keepAlive, ...changes },
      ),
      connector: 'ssh2',
      why: 'a test says so',
    }),
  })
  open.push(pool)
  const connection = connectionSchema.parse(settings as Settings)
  const backend = new RemoteBackend(pool, { address: 'node1' }, connection)
  const run = async (spec: ProcessSpec | string) => {
    const started = await backend.start(typeof spec === 'string' ? { command: { script: spec } } : spec)
    return started.result
  }
  return { server, pool, connection, backend, run }
}

const RUNNERS = ['perl', 'sh', 'none'] as const

for (const runner of RUNNERS) {
  describe(`RemoteBackend with runner ${runner}`, () => {
    it('runs commands over one login', async () => {
      const { run, pool, server } = await host({}, { runner })
      const results = await Promise.all(Array.from({ length: 40 }, (_, n) => run(`echo ${n}; exit ${n}`)))
      expect(results.map(({ exitCode, stdout }) => [exitCode, stdout.text])).toEqual(results.map((_, n) => [n, `${n}\n`]))
      expect(results[0]).toMatchObject({ outcome: 'exited', host: 'node1' })
      expect(pool.logins).toBe(1)
      expect(server.logins).toBe(1)
      expect(server.mostSessions).toBeLessThanOrEqual(8)
    })

    it('takes 127 and 255 for exit codes, and a missing program for none', async () => {
      const { run } = await host({}, { runner })
      expect(await run('no-such-program 2>/dev/null')).toMatchObject({ outcome: 'exited', exitCode: 127 })
      expect(await run('exit 255')).toMatchObject({ outcome: 'exited', exitCode: 255 })
      expect(await run({ command: ['no-such-program'] })).toMatchObject({
        outcome: 'not-started',
        error: { code: 'E_PROGRAM_NOT_FOUND' },
        host: 'node1',
      })
      expect(await run({ command: ['true'], cwd: '/no/such' })).toMatchObject({ outcome: 'not-started', error: { code: 'E_DIRECTORY' } })
    })

    it('passes over what start-up files print', async () => {
      const rc = join(directory, 'rc')
      writeFileSync(rc, 'echo "H 0 5 motd"; printf "\\377\\376\\0 no line end"; printf noise >&2\n')
      const { run } = await host({ environment: { ENV: rc, BASH_ENV: rc } }, { runner })
      expect(await run('printf out; printf err >&2')).toMatchObject({ exitCode: 0, stdout: { text: 'out' }, stderr: { text: 'err' } })
    })

    it('ends the whole tree at the time limit', async () => {
      const { run } = await host({}, { runner })
      const pidFile = join(directory, `pids-${runner}`)
      const script = `trap "" TERM; setsid sh -c 'echo $$ >> ${pidFile}; trap "" TERM; sleep 1000; :' & echo $$ >> ${pidFile}; sleep 1001; sleep 1002`
      const result = await run({ command: { script }, timeoutMs: 700, graceMs: 300 })
      expect(result).toMatchObject({ outcome: 'timed-out', forced: true, survivors: [] })
      const pids = readFileSync(pidFile, 'utf8').trim().split('\n').map(Number)
      expect(pids).toHaveLength(2)
      expect(pids.filter(alive)).toEqual([])
    })

    it('ends what runs when it is left', async () => {
      const { backend } = await host({}, { runner })
      const running = await backend.start({ command: ['sleep', '1000'] })
      await backend[Symbol.asyncDispose]()
      expect(await running.result).toMatchObject({ outcome: 'signaled', signal: 'SIGTERM' })
      const late = await backend.start({ command: ['true'] })
      expect(await late.result).toMatchObject({ outcome: 'canceled' })
    })

    it('says of a host that is not reached why, as a result', async () => {
      const { server, run } = await host({}, { runner })
      await server.refuse()
      const result = await run('true')
      expect(result).toMatchObject({ outcome: 'unreachable', host: 'node1', error: { code: 'E_HOST_REFUSED' } })
      expect(result.error?.message).toContain('node1')
    })
  })
}
