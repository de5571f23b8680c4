import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { connectionSchema } from '../../src/model/connection.js'
import type { ProcessResult, ProcessSpec } from '../../src/model/process.js'
import type { StartOptions } from '../../src/ports/process-backend.js'
import { RemoteBackend } from '../../src/process/remote-backend.js'
import { ConnectionPool } from '../../src/ssh/connection-pool.js'
import { makeDeferred } from '../../src/util/async.js'

const reason = sshHostsUnavailable()

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

function poolFor(bed: SshHosts, settings: object = {}) {
  const pool = new ConnectionPool()
  open.push(pool)
  const connection = connectionSchema.parse({ sshConfig: bed.sshConfig, connector: 'ssh2', ...settings })
  const backends = new Map<string, RemoteBackend>()
  const on = async (name: string, spec: ProcessSpec | string, options: StartOptions = {}): Promise<ProcessResult> => {
    let backend = backends.get(name)
    if (backend === undefined) {
      backend = new RemoteBackend(pool, { address: name }, connection)
      backends.set(name, backend)
    }
    return (await backend.start(typeof spec === 'string' ? { command: { script: spec } } : spec, options)).result
  }
  return { pool, on }
}

describe.skipIf(reason !== undefined)(`RemoteBackend on real hosts (needs sshd${reason === undefined ? '' : `: ${reason}`})`, () => {
  const shells = ['csh', 'tcsh', 'fish', 'zsh', 'bash'].flatMap((name) => findProgram(name))
  let bed: SshHosts & AsyncDisposable
  beforeAll(async () => {
    const noise = Buffer.from('motd \xff\xfe\0 H 0 5 x\n no line end', 'latin1')
    const overrides = {
      h1: { maxSessions: 1 },
      h2: { maxStartups: '10:30:100' },
      h3: { maxSessions: 10, rcNoise: noise },
      ...Object.fromEntries(shells.map((shell, index) => [`h${index + 4}`, { loginShell: shell, rcNoise: noise }])),
    }
    bed = await startSshHosts(3 + shells.length, { overrides })
  })
  afterAll(() => bed?.stop())

  it('logs in 200 times, 64 at a time, on a server with the usual MaxStartups', async () => {
    let next = 0
    const results: ProcessResult[] = []
    const worker = async (): Promise<void> => {
      while (next < 200) {
        next += 1
        // Pools that do not know of each other, as many programs would be.
        await using pool = new ConnectionPool()
        const backend = new RemoteBackend(
          pool,
          { address: 'h2' },
          connectionSchema.parse({ sshConfig: bed.sshConfig, runner: 'none', connectTimeout: '120s' }),
        )
        results.push(await (await backend.start({ command: ['true'] })).result)
      }
    }
    await Promise.all(Array.from({ length: 64 }, worker))
    expect(results.filter(({ exitCode }) => exitCode !== 0).map(({ error }) => error)).toEqual([])
    expect(results).toHaveLength(200)
  }, 240_000)

  it.each(['perl', 'sh', 'none'])(
    'runs 200 commands over one login with runner %s, whatever MaxSessions says',
    async (runner) => {
      for (const name of ['h1', 'h3']) {
        const before = bed.logins(name)
        const { pool, on } = poolFor(bed, { runner })
        const results = await Promise.all(Array.from({ length: 200 }, (_, n) => on(name, `echo ${n}`)))
        expect(results.map(({ stdout, error }) => error ?? stdout.text)).toEqual(results.map((_, n) => `${n}\n`))
        expect(pool.logins).toBe(1)
        expect(bed.logins(name) - before).toBe(1)
        await pool[Symbol.asyncDispose]()
      }
    },
    240_000,
  )

  it.each(shells.map((shell, index) => [shell, `h${index + 4}`] as const))(
    'a login shell %s that talks changes nothing',
    async (_shell, name) => {
      for (const runner of ['perl', 'sh', 'none']) {
        const { on } = poolFor(bed, { runner })
        const words = ['printf', '%s|', "it's", '$HOME', '!!', 'back\\slash', 'two\nlines', '*'] as const
        expect(await on(name, { command: words, env: { A: '!x' } })).toMatchObject({
          stdout: { text: `${words.slice(2).join('|')}|` },
          stderr: { text: '' },
        })
        expect(await on(name, 'exit 255')).toMatchObject({ outcome: 'exited', exitCode: 255 })
        expect(await on(name, { command: ['cat'], stdin: { text: 'in' }, pty: true })).toMatchObject({
          stdout: { text: 'in' },
          exitCode: 0,
        })
      }
    },
  )

  it('has a terminal on request, which hangs up at the end', async () => {
    const { on } = poolFor(bed)
    const result = await on('h3', { command: { script: 'test -t 0 && test -t 1 && echo out; echo err >&2; tty' }, pty: true })
    expect(result).toMatchObject({ exitCode: 0, stderr: { text: '' } })
    expect(result.stdout.text).toMatch(/^out\nerr\n\/dev\/pts\/\d+\n$/)
    const stopped = await on('h3', { command: ['sleep', '1000'], pty: true, timeoutMs: 300 })
    expect(stopped).toMatchObject({ outcome: 'timed-out', survivors: [] })
    // The only session is the runner's, and must be given up for the terminal.
    expect(await on('h1', 'echo first')).toMatchObject({ stdout: { text: 'first\n' } })
    expect(await on('h1', { command: ['tty'], pty: true })).toMatchObject({ exitCode: 0 })
    expect(await on('h1', 'echo last')).toMatchObject({ stdout: { text: 'last\n' } })
  })

  it('a host that never answers does not keep the others from theirs', async () => {
    bed.freezeHost('h2')
    try {
      const { on } = poolFor(bed, { connectTimeout: '60s' })
      const late = on('h2', 'echo late')
      const names = bed.hosts.map(({ name }) => name).filter((name) => name !== 'h2')
      const good = await Promise.all(names.map((name) => on(name, 'echo there')))
      expect(good.map(({ stdout }) => stdout.text)).toEqual(names.map(() => 'there\n'))
      // It was waited for all the time.
      bed.thawHost('h2')
      expect(await late).toMatchObject({ exitCode: 0, stdout: { text: 'late\n' } })
      bed.freezeHost('h2')
      const began = performance.now()
      const never = await poolFor(bed, { connectTimeout: '2s' }).on('h2', 'true')
      expect(never).toMatchObject({ outcome: 'unreachable', host: 'h2', error: { code: 'E_HOST_TIMEOUT' } })
      expect(performance.now() - began).toBeGreaterThan(1_900)
    } finally {
      bed.thawHost('h2')
    }
  })

  it('takes up again when the connection is cut in mid-command', async () => {
    const { on, pool } = poolFor(bed)
    const directory = mkdtempSync(join(tmpdir(), 'cahier-sshd-'))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    const go = join(directory, 'go')
    const script = `n=0; while [ $n -lt 400 ]; do echo line $n; n=$((n+1)); [ $n -ne 200 ] || until [ -e ${go} ]; do sleep 0.05; done; done; exit 7`
    const shown = makeDeferred<void>()
    const running = on('h3', script, { onOutput: () => shown.resolve() })
    await shown.promise
    bed.dropSessions('h3')
    writeFileSync(go, '')
    const result = await running
    expect(result).toMatchObject({ outcome: 'exited', exitCode: 7 })
    expect(result.stdout.text).toBe(Array.from({ length: 400 }, (_, n) => `line ${n}\n`).join(''))
    expect(pool.logins).toBe(2)
  })
})

function findProgram(name: string): string[] {
  try {
    return [execFileSync('/bin/sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim()]
  } catch {
    return []
  }
}
