import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../test/testbed/ssh-hosts.mjs'
import { BIN, cleanEnvironment, makeFolder, start } from './cahier.js'

const reason = sshHostsUnavailable()
/** Of a file that is copied under a limit. */
const SLOW_BYTES = 20_000_000

describe.skipIf(reason !== undefined)(`cahier put, get and broadcast${reason === undefined ? ' (needs sshd)' : ` (${reason})`}`, () => {
  let bed: SshHosts & AsyncDisposable
  let folder: string

  beforeAll(async () => {
    bed = await startSshHosts(3)
    folder = makeFolder({
      'cahier.config.yaml': `connection: { sshConfig: ${bed.sshConfig} }\ngroups: { all: 'h[1-3]' }\n`,
      a: 'one\n',
      'tree/b': 'two\n',
      slow: 'y'.repeat(SLOW_BYTES),
    })
    mkdirSync(join(folder, '.home'), { recursive: true })
    symlinkSync('b', join(folder, 'tree/link'))
  })
  afterAll(async () => {
    await bed?.stop()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  const cahier = (...args: string[]) => start(args, { cwd: folder }).ended
  const home = (name: string): string => bed.hosts.find((host) => host.name === name)?.home ?? ''
  const rows = (stdout: string): string[][] =>
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/))

  it('put files to hosts, and do nothing where they are already', async () => {
    const first = await cahier('put', 'a', 'tree', '-w', '@all', '--to', 'in/{{host}}', '--create')
    expect(rows(first.stdout)).toEqual([
      ['host', 'outcome', 'files', 'bytes', 'seconds', 'rate', 'verified'],
      ...['h1', 'h2', 'h3'].map((host) => [host, 'done', '2', '8 B', expect.any(String), expect.any(String), 'sha256']),
    ])
    expect([first.code, first.stderr.split('\n')]).toEqual([
      0,
      [
        'via sftp: 8 B to 3 hosts, too little for a chain to be faster',
        expect.stringMatching(/^3 hosts: 3 ok, 24 B in \d+\.\d s \(\d+ k?B\/s\)$/),
        '',
      ],
    ])
    for (const host of ['h1', 'h2', 'h3']) {
      expect(readFileSync(join(home(host), 'in', host, 'tree/link'), 'utf8')).toBe('two\n')
      expect(readdirSync(join(home(host), 'in', host))).toEqual(['a', 'tree'])
    }
    writeFileSync(join(home('h2'), 'in/h2/a'), 'eno\n')
    const again = await cahier('put', 'a', 'tree', '-w', '@all', '--to', 'in/{{host}}')
    expect(
      rows(again.stdout)
        .slice(1)
        .map(([host, outcome, files]) => [host, outcome, files]),
    ).toEqual([
      ['h1', 'same', '0 + 2 same'],
      ['h2', 'done', '1 + 1 same'],
      ['h3', 'same', '0 + 2 same'],
    ])
    expect(readFileSync(join(home('h2'), 'in/h2/a'), 'utf8')).toBe('one\n')
  })

  it('get files into a directory for each host, or into one', async () => {
    for (const name of ['h1', 'h2']) writeFileSync(join(home(name), `out-${name}.log`), `of ${name}`)
    expect((await cahier('get', 'out-*.log', '-w', 'h[1-2]')).code).toBe(0)
    expect(readFileSync(join(folder, 'h2/out-h2.log'), 'utf8')).toBe('of h2')
    expect((await cahier('get', 'out-{{host}}.log', '-w', 'h[1-2]', '--to', 'logs', '--create')).code).toBe(0)
    expect(readdirSync(join(folder, 'logs')).sort()).toEqual(['out-h1.log', 'out-h2.log'])
    expect((await cahier('get', 'out-h1.log', '-w', 'h1', '--as', 'mine')).code).toBe(0)
    expect(readFileSync(join(folder, 'mine'), 'utf8')).toBe('of h1')
  })

  it('broadcast over a chain, and say why', async () => {
    writeFileSync(join(folder, 'large'), Buffer.alloc(3_000_000, 'x'))
    const { code, stdout, stderr } = await cahier('broadcast', 'large', '-w', '@all', '--to', '.', '--json')
    expect([code, stderr]).toEqual([0, ''])
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines).toHaveLength(4)
    for (const line of lines.slice(0, 3)) {
      expect(line).toMatchObject({
        host: expect.stringMatching(/^h[1-3]$/),
        outcome: 'done',
        via: 'chain',
        bytes: 3_000_000,
        verified: 'sha256',
      })
    }
    const choices = [{ via: 'chain', why: '3 MB to 3 hosts (sftp would send 9 MB from here)' }]
    expect(lines[3]).toEqual({ hosts: 3, done: 3, same: 0, failed: 0, unreachable: 0, choices, exitCode: 0 })
  })

  it('list failures with their causes, and the others are complete', async () => {
    bed.stopHost('h3')
    mkdirSync(join(home('h1'), 'there'))
    const { code, stdout, stderr } = await cahier('put', 'a', '-w', '@all,nowhere.invalid', '--to', 'there', '--via', 'sftp')
    await bed.startHost('h3')
    expect(code).toBe(255)
    expect(
      rows(stdout)
        .slice(1)
        .map((row) => [row[0], row[1], row.at(-1)]),
    ).toEqual([
      ['h1', 'done', 'sha256'],
      ['h2', 'failed', 'E_TARGET_MISSING'],
      ['h3', 'not reached', 'E_HOST_REFUSED'],
      ['nowhere.invalid', 'not reached', 'E_HOST_NAME'],
    ])
    const lines = stderr.split('\n').filter((line) => !line.startsWith('  Try: '))
    expect(lines).toEqual([
      expect.stringMatching(/^h2: E_TARGET_MISSING: .*there/),
      expect.stringMatching(/^h3: not reached, E_HOST_REFUSED: .*h3/),
      expect.stringMatching(/^nowhere\.invalid: not reached, E_HOST_NAME: /),
      expect.stringMatching(/^4 hosts: 1 ok, 1 failed, 2 not reached, 4 B in /),
      '',
    ])
    expect(stderr).toMatch(/ {2}Try: .*--create/)
    expect((await cahier('put', 'a', '-w', 'h2', '--to', 'there')).code).toBe(1)
  })

  it('name special files that were left out, and refuse them when asked to', async () => {
    const special = mkdtempSync(join(folder, 's-'))
    const name = special.slice(folder.length + 1)
    const server = createServer().listen(join(special, 'sock'))
    try {
      const put = await cahier('put', name, '-w', 'h[1-2]', '--to', '.')
      expect([put.code, put.stderr]).toEqual([0, expect.stringContaining(`left out: ${name}/sock (socket)\n`)])
      const refused = await cahier('put', name, '-w', 'h1', '--to', 'elsewhere', '--create', '--special', 'refuse')
      expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('E_SOURCE_SPECIAL')])
      expect(existsSync(join(home('h1'), 'elsewhere'))).toBe(false)
    } finally {
      server.close()
    }
  })

  it.concurrent.each<[string, string[], RegExp]>([
    ['words as scp takes them', ['put', 'a', 'h1:dir'], /Try: Write: cahier put a -w h1 --to dir/],
    ['a limit of nothing', ['put', 'a', '-w', 'h1', '--to', '.', '--limit', '0MB/s'], /limit: .*more than 0/],
    ['a home of another user', ['put', 'a', '-w', 'h1', '--to', '~jo/x'], /E_ARGUMENT[\s\S]*absolute/],
    ['an unknown flag', ['put', 'a', '-w', 'h1', '--to', '.', '--crate'], /--create/],
    ['no directory', ['put', 'a', '-w', 'h1'], /Missing required flag to/],
    ['no file', ['put', '-w', 'h1', '--to', '.'], /no file to copy/],
    ['no host', ['put', 'a', '--to', '.'], /Missing required flag hosts/],
    ['an empty host set', ['put', 'a', '-w', 'h1', '-x', '@all', '--to', '.'], /no host is left of h1/],
    ['a host set of nothing', ['put', 'a', '-w', '', '--to', '.'], /host set \(-w\) is empty/],
    ['one file twice', ['put', './a', 'a', '-w', 'h1', '--to', '.'], /would both become a in h1:\./],
    ['a limit in bits', ['put', 'a', '-w', 'h1', '--to', '.', '--limit', '160Mbit/s'], /expected bytes per second, as 20MB\/s/],
    ['a wrong host set', ['get', 'a', '-w', 'h[1-'], /E_HOST_SET/],
    ['an unknown group', ['get', 'a', '-w', '@al'], /@?all/],
    ['an unknown site', ['get', 'a', '-w', 'h1', '--site', 'moon'], /no site moon/],
    ['a missing source', ['put', 'a', 'none', '-w', 'h1', '--to', '.'], /E_SOURCE_MISSING.*none/],
    ['one name for two', ['put', 'a', 'tree', '-w', 'h1', '--to', '.', '--as', 'x'], /2 files cannot all be named "x"/],
    ['a way that is nearly one', ['put', 'a', '-w', 'h1', '--to', '.', '--via', 'chian'], /no transfer "chian"[\s\S]*Did you mean chain/],
    ['a way that is none', ['put', 'a', '-w', 'h1', '--to', '.', '--via', 'carrierpigeon'], /E_ADAPTER_MISSING/],
    ['a wrong option of an adapter', ['put', 'a', '-w', 'h1', '--to', '.', '--via', 'taktuk', '-o', 'topolgy=flat'], /Write "topology"/],
    ['an option of no adapter', ['put', 'a', '-w', 'h1', '--to', '.', '-o', 'topology=flat'], /not for auto[\s\S]*--via/],
    ['a limit without a unit', ['put', 'a', '-w', 'h1', '--to', '.', '--limit', '5'], /limit: the size "5" has no unit/],
    ['a duration without a unit', ['put', 'a', '-w', 'h1', '--to', '.', '-t', '5'], /E_UNIT/],
    ['a directory here that is a file', ['get', 'x', '-w', 'h1', '--to', 'a'], /E_TARGET_KIND/],
    ['a directory here that is missing', ['get', 'x', '-w', 'h1', '--to', 'none'], /E_TARGET_MISSING[\s\S]*--create/],
    ['several hosts and one directory', ['get', 'x', '-w', '@all', '--to', '.'], /h1:x and h2:x would both become x/],
    ['a chain of a get', ['get', 'x', '-w', 'h1', '--via', 'chain'], /E_NOT_SUPPORTED/],
    ['a key that cannot be read', ['put', 'a', '-w', 'h1', '--to', '.', '-i', 'none.key'], /none\.key cannot be read/],
  ])('refuse %s before a host is asked', async (_title, args, message) => {
    const logins = bed.logins()
    const { code, stdout, stderr } = await cahier(...args)
    expect([code, stdout, stderr]).toEqual([2, '', expect.stringMatching(message)])
    expect(bed.logins()).toBe(logins)
  })

  it('go on where nobody can take the table, and say so', async () => {
    const child = spawn(
      'sh',
      ['-c', `exec "$0" "$@" >/dev/full`, process.execPath, BIN, 'put', 'a', '-w', 'h1', '--to', 'full', '--create'],
      {
        cwd: folder,
        env: cleanEnvironment(join(folder, '.home')),
      },
    )
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'close')])
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^Error: standard output cannot be written: ENOSPC.*\n$/)])
    expect(readFileSync(join(home('h1'), 'full/a'), 'utf8')).toBe('one\n')
  })

  it('say how the name of a file is given, to who writes it as the directory', async () => {
    writeFileSync(join(home('h1'), 'settled.conf'), '')
    const put = await cahier('put', 'a', '-w', 'h1', '--to', 'settled.conf')
    expect([put.code, put.stderr]).toEqual([1, expect.stringContaining('--to . --as settled.conf')])
  })

  it('write an error as JSON when asked to', async () => {
    const { code, stdout } = await cahier('put', 'none', '-w', 'h[1-2]', '--to', '.', '--json')
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'E_SOURCE_MISSING' } })
  })

  it('end at Ctrl-C, keep what came, and go on from there', async () => {
    const args = ['put', 'slow', '-w', 'h1', '--to', 'cut', '--create']
    const running = start([...args, '--limit', '1MB/s'], { cwd: folder })
    const parts = (): string[] => (existsSync(join(home('h1'), 'cut')) ? readdirSync(join(home('h1'), 'cut')) : [])
    await expect.poll(() => parts().some((name) => existsSync(join(home('h1'), 'cut', name, '0'))), { timeout: 30_000 }).toBe(true)
    // More than what may be on its way: of that nobody knows yet that it came.
    await expect
      .poll(() => parts().some((name) => statSync(join(home('h1'), 'cut', name, '0')).size > 1_000_000), { timeout: 30_000 })
      .toBe(true)
    running.child.kill('SIGINT')
    const { code, stdout, stderr } = await running.ended
    expect([code, rows(stdout)[1]?.[1]]).toEqual([130, 'failed'])
    expect(stderr).toContain('Ending the copies on all hosts. Ctrl-C again leaves at once.\n')
    expect(stderr).toContain('What came of unfinished files is kept: the same command goes on from there.\n')
    expect(parts()).toEqual([expect.stringMatching(/^\.cahier-/)])
    const again = await cahier(...args, '--json')
    const [result] = again.stdout.split('\n').map((line) => (line === '' ? {} : (JSON.parse(line) as { bytes?: number; outcome?: string })))
    expect(result?.outcome).toBe('done')
    expect(result?.bytes).toBeLessThan(SLOW_BYTES)
    expect(readFileSync(join(home('h1'), 'cut/slow')).equals(readFileSync(join(folder, 'slow')))).toBe(true)
    expect(parts()).toEqual(['slow'])
  })

  it('end at their time limit', async () => {
    const { code, stderr } = await cahier('put', 'slow', '-w', 'h2', '--to', '.', '--limit', '1MB/s', '-t', '2s')
    expect([code, stderr]).toEqual([124, expect.stringContaining('h2: E_ABORTED: the time limit of the transfer has passed\n')])
  })
})
