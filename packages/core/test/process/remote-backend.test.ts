import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { connectionSchema } from '../../src/model/connection.js'
import type { ProcessSpec } from '../../src/model/process.js'
import { RemoteBackend } from '../../src/process/remote-backend.js'
import type { SshTarget } from '../../src/ssh/connection.js'
import { ConnectionPool } from '../../src/ssh/connection-pool.js'
import { makeDeferred } from '../../src/util/async.js'
import { defaultUserKey, type FakeServerOptions, makeTarget, startFakeServer } from '../ssh/fake-server.js'

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

/** Starts a script; `shown` resolves as soon as something of what it prints has come. */
async function startShown(backend: RemoteBackend, script: string) {
  const shown = makeDeferred<void>()
  const { result } = await backend.start({ command: { script } }, { onOutput: () => shown.resolve() })
  return { result, shown: shown.promise }
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
      let pids: number[] = []
      // A busy machine may not have begun all of it by then.
      for (let timeoutMs = 700; pids.length < 2 && timeoutMs < 30_000; timeoutMs *= 4) {
        writeFileSync(pidFile, '')
        const result = await run({ command: { script }, timeoutMs, graceMs: 300 })
        pids = readFileSync(pidFile, 'utf8').trim().split('\n').map(Number)
        if (pids.length === 2) expect(result).toMatchObject({ outcome: 'timed-out', forced: true, survivors: [] })
      }
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
      expect(result.error?.suggestions).toEqual([expect.stringContaining('Look whether sshd runs there')])
    })
  })
}

describe('RemoteBackend whose connection is cut', () => {
  it.each(['perl', 'sh'] as const)(
    'with runner %s: reports a command that was to end soon after its grace, and leaves at once',
    async (runner) => {
      const { server, backend } = await host({}, { runner })
      const running = await backend.start({ command: ['sleep', '1000'], timeoutMs: 700, graceMs: 300 })
      const begun = performance.now()
      server.freeze()
      const result = await running.result
      expect(result).toMatchObject({ outcome: 'unreachable', host: 'node1', error: { code: 'E_CONNECTION_LOST' } })
      expect(result.error?.message).toMatch(/^node1 gave no sign of life when the time limit .* it ends when its lease has passed$/)
      expect(performance.now() - begun).toBeGreaterThan(4_900)
      const ended = performance.now()
      // Without the bound: forty seconds until the connection is known to be dead.
      expect(ended - begun).toBeLessThan(25_000)
      await backend[Symbol.asyncDispose]()
      // Without the bound: fifteen for the runner's good-bye.
      expect(performance.now() - ended).toBeLessThan(12_000)
      server.thaw()
    },
  )

  for (const runner of ['perl', 'sh'] as const) {
    it(`takes up again with runner ${runner}: every byte, nothing twice`, async () => {
      const { run, backend, server, pool } = await host({}, { runner })
      const [log, go] = [join(directory, `starts-${runner}`), join(directory, `go-${runner}`)]
      const script = `echo start >> ${log}; n=0; while [ $n -lt 300 ]; do echo line $n; n=$((n+1)); [ $n -ne 150 ] || until [ -e ${go} ]; do sleep 0.05; done; done; exit 7`
      const commands = await Promise.all([startShown(backend, script), startShown(backend, script)])
      await Promise.all(commands.map(({ shown }) => shown))
      server.cut()
      writeFileSync(go, '')
      const running = Promise.all(commands.map(({ result }) => result))
      const expected = Array.from({ length: 300 }, (_, n) => `line ${n}\n`).join('')
      for (const result of await running) {
        expect(result).toMatchObject({ outcome: 'exited', exitCode: 7 })
        expect(result.stdout.text).toBe(expected)
      }
      expect(readFileSync(log, 'utf8')).toBe('start\nstart\n')
      expect(pool.logins).toBe(2)
      expect(await run('echo after')).toMatchObject({ stdout: { text: 'after\n' } })
      expect(pool.logins).toBe(2)
    })
  }

  it('gives up when the lease has passed, and says so', async () => {
    const { backend, server } = await host({}, { lease: '4s' })
    const running = await startShown(backend, 'echo begun; sleep 60')
    await running.shown
    await server.refuse()
    server.cut()
    const result = await running.result
    expect(result).toMatchObject({
      outcome: 'unreachable',
      host: 'node1',
      error: { code: 'E_CONNECTION_LOST' },
      stdout: { text: 'begun\n' },
    })
    expect(result.error?.message).toMatch(/node1.*within 4 s.*refuse/)
  })

  it('without a runner the command is lost, and the next one has a new connection', async () => {
    const { run, backend, server, pool } = await host({}, { runner: 'none' })
    const running = await startShown(backend, 'echo begun; sleep 60')
    await running.shown
    server.cut()
    expect(await running.result).toMatchObject({
      outcome: 'unreachable',
      error: { code: 'E_CONNECTION_LOST' },
      stdout: { text: 'begun\n' },
    })
    expect(await run('echo after')).toMatchObject({ exitCode: 0, stdout: { text: 'after\n' } })
    expect(pool.logins).toBe(2)
  })

  it('a connection that was dead for long is made anew for the next command', async () => {
    const { run, server, pool } = await host()
    expect(await run('true')).toMatchObject({ exitCode: 0 })
    server.cut()
    expect(await run('echo again')).toMatchObject({ exitCode: 0, stdout: { text: 'again\n' } })
    expect(pool.logins).toBe(2)
  })
})

describe('RemoteBackend', () => {
  it('says of commands whose runner was killed that nobody saw their end, and ends what they left', async () => {
    const { run, pool } = await host({}, { runner: 'perl' })
    const pids = join(directory, 'left')
    const stubborn = `setsid sh -c 'trap "" TERM; echo $$ >>${pids}; while :; do sleep 0.1; done'`
    const wait = `while [ $(wc -l <${pids}) -lt 2 ]; do sleep 0.05; done`
    const killed = await run(`sleep 1000 & echo $! $$ >>${pids}; ${stubborn} & ${wait}; kill -9 $PPID; sleep 1000`)
    expect(killed).toMatchObject({ outcome: 'unreachable', error: { code: 'E_RUNNER' } })
    expect(killed.error?.message).toContain('node1')
    expect(killed.error?.message).toContain('what still ran of them was ended')
    const left = readFileSync(pids, 'utf8').split(/\s+/).filter(Boolean).map(Number)
    expect(left).toHaveLength(3)
    expect(left.filter(alive)).toEqual([])
    expect(await run('echo again')).toMatchObject({ exitCode: 0, stdout: { text: 'again\n' } })
    expect(pool.logins).toBe(1)
  })

  it('takes sh where there is no perl, and channels where there is neither, and remembers it', async () => {
    const fakes = join(directory, 'no-perl')
    mkdirSync(fakes)
    writeFileSync(join(fakes, 'perl'), '#!/bin/sh\nexit 127\n', { mode: 0o755 })
    const { run, server } = await host({ environment: { PATH: `${fakes}:${process.env['PATH']}` } })
    expect(await run('echo out')).toMatchObject({ exitCode: 0, stdout: { text: 'out\n' } })
    expect(await run('echo out')).toMatchObject({ exitCode: 0, stdout: { text: 'out\n' } })
    expect(server.commands.map((line) => line.slice(0, 12))).toEqual(['exec perl -e', 'exec /bin/sh'])
  })

  it('does not replace a runner that was asked for by name', async () => {
    const fakes = join(directory, 'no-perl-either')
    mkdirSync(fakes)
    writeFileSync(join(fakes, 'perl'), '#!/bin/sh\necho no perl here >&2\nexit 127\n', { mode: 0o755 })
    const { run } = await host({ environment: { PATH: `${fakes}:${process.env['PATH']}` } }, { runner: 'perl' })
    const result = await run('true')
    expect(result).toMatchObject({ outcome: 'unreachable', error: { code: 'E_RUNNER' } })
    expect(result.error?.message).toContain('no perl here')
  })

  it.each([false, true])('quotes what an account without a shell says, with a terminal: %s', async (pty) => {
    const { run } = await host({
      run: (_command, channel) => {
        channel.stderr.write('Could not chdir to home directory /nowhere\r\n')
        channel.write('This account is currently not available.\r\n')
        channel.exit(1)
        channel.end()
      },
    })
    const result = await run({ command: { script: 'true' }, pty })
    expect(result).toMatchObject({ outcome: 'unreachable', error: { code: 'E_RUNNER' } })
    expect(result.error?.message).toMatch(/exit code 1, saying "This account is currently not available\.; Could not chdir .*nowhere"$/)
  })

  it('shares one runner between backends, and names the host as each wrote it', async () => {
    const { pool, connection, backend, run, server } = await host()
    const other = new RemoteBackend(pool, { address: 'node1', user: 'tester' }, connection)
    expect(await run('true')).toMatchObject({ host: 'node1' })
    expect(await (await other.start({ command: ['true'] })).result).toMatchObject({ host: 'tester@node1', exitCode: 0 })
    expect(server.sessions).toBe(1)
    await other[Symbol.asyncDispose]()
    expect(await run('true')).toMatchObject({ exitCode: 0 })
    expect(server.sessions).toBe(1)
    await backend[Symbol.asyncDispose]()
  })

  it('works where a server gives one session', async () => {
    for (const runner of RUNNERS) {
      const { run } = await host({ maxSessions: 1 }, { runner })
      const results = await Promise.all(Array.from({ length: 12 }, (_, n) => run(`echo ${n}`)))
      expect(results.map(({ stdout }) => stdout.text)).toEqual(results.map((_, n) => `${n}\n`))
      expect(await run({ command: { script: 'trap "" TERM; sleep 1000' }, timeoutMs: 300, graceMs: 300 })).toMatchObject({
        outcome: 'timed-out',
      })
    }
  })

  it('a host that never answers is unreachable after its time, and its command can be given up before', async () => {
    const { run, backend } = await host({ answer: 'silent' }, { connectTimeout: '500ms' })
    const result = await run('true')
    expect(result).toMatchObject({ outcome: 'unreachable', error: { code: 'E_HOST_TIMEOUT' }, startedAt: undefined })
    expect(result.durationMs).toBeGreaterThanOrEqual(490)
    const control = new AbortController()
    const started = backend.start({ command: ['true'] }, { signal: control.signal })
    control.abort()
    expect(await (await started).result).toMatchObject({ outcome: 'canceled', host: 'node1' })
  })

  it('keeps bytes that are no text, and counts what is sent to handlers', async () => {
    const { backend } = await host()
    const chunks: Buffer[] = []
    const script = 'n=0; while [ $n -lt 2000 ]; do printf "\\377\\376\\0\\001 and text without a line end"; n=$((n+1)); done'
    const running = await backend.start(
      { command: { script }, keepBytes: 1000 },
      { onOutput: (_stream, chunk) => chunks.push(Buffer.from(chunk)) },
    )
    const { stdout } = await running.result
    const all = Buffer.concat(chunks)
    expect(all.equals(Buffer.from('\xff\xfe\0\x01 and text without a line end'.repeat(2000), 'latin1'))).toBe(true)
    expect(readFileSync(stdout.file as string).equals(all)).toBe(true)
  })
})

describe("RemoteBackend with runner: 'raw'", () => {
  it('sends the text as it is, and nothing else', async () => {
    const { run, server } = await host(
      {
        run: (command, channel) => {
          channel.write(`you said: ${command}`)
          channel.exit(3)
          channel.end()
        },
      },
      { runner: 'raw' },
    )
    expect(await run('show version | include "it\'s"')).toMatchObject({
      exitCode: 3,
      stdout: { text: 'you said: show version | include "it\'s"' },
    })
    expect(await run({ command: ['show', 'version'] })).toMatchObject({ stdout: { text: 'you said: show version' } })
    expect(server.commands).toHaveLength(2)
  })

  it.each<[string, ProcessSpec]>([
    ['a word that would need quotes', { command: ['show', 'a b'] }],
    ['a directory', { command: ['show'], cwd: '/tmp' }],
    ['variables', { command: ['show'], env: { A: '1' } }],
    ['files for the output', { command: ['show'], outputFiles: { stdout: '/tmp/a', stderr: '/tmp/b' } }],
  ])('refuses %s', async (_what, spec) => {
    const { run, server } = await host({}, { runner: 'raw' })
    expect(await run(spec)).toMatchObject({ outcome: 'not-started', error: { code: 'E_NOT_SUPPORTED' } })
    expect(server.connections).toBe(0)
  })

  it('ends a command by closing its channel', async () => {
    const { run } = await host({ run: () => {} }, { runner: 'raw' })
    expect(await run({ command: ['wait'], timeoutMs: 200, graceMs: 100 })).toMatchObject({ outcome: 'timed-out' })
  })
})
