import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { connectionSchema } from '../../src/model/connection.js'
import type { ProcessBackend } from '../../src/ports/process-backend.js'
import type { SiteFiles } from '../../src/ports/site-files.js'
import { LocalBackend } from '../../src/process/local-backend.js'
import { RemoteBackend } from '../../src/process/remote-backend.js'
import { ConnectionPool } from '../../src/ssh/connection-pool.js'
import { LocalFiles } from '../../src/staging/local-files.js'
import { RemoteFiles } from '../../src/staging/remote-files.js'
import { systemClock } from '../../src/system/clock.js'
import { CountingBackend, scratch, toolbox, until } from './files-bed.js'

const reason = sshHostsUnavailable()
const withCode = (code: string): unknown => expect.objectContaining({ code })
let bed: (SshHosts & AsyncDisposable) | undefined
const shells = ['tcsh', 'fish', 'zsh'].filter((name) => spawnSync(name, ['-c', 'true']).error === undefined)
beforeAll(async () => {
  if (reason !== undefined) return
  const noise = Buffer.from('motd \xff\xfe\0 F 1 /x\n no line end', 'latin1')
  const overrides = {
    h1: { rcNoise: noise },
    ...Object.fromEntries(shells.map((shell, i) => [`h${i + 2}`, { loginShell: `/usr/bin/${shell}`, rcNoise: noise }])),
  }
  bed = await startSshHosts(1 + shells.length, { overrides })
}, 60_000)
afterAll(() => bed?.stop())

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

function remoteTo(name: string, settings: object = {}): ProcessBackend {
  const pool = new ConnectionPool()
  const connection = connectionSchema.parse({ sshConfig: bed?.sshConfig, connector: 'ssh2', ...settings })
  const backend = new RemoteBackend(pool, { address: name }, connection)
  open.push(pool, backend)
  return backend
}

interface Subject {
  readonly title: string
  readonly skip?: boolean
  make(): { readonly files: SiteFiles; readonly counting: CountingBackend }
}

const over = (title: string, make: () => ProcessBackend, skip = false): Subject => ({
  title,
  skip,
  make() {
    const counting = new CountingBackend(make())
    return { files: new RemoteFiles({ processes: counting, clock: systemClock }), counting }
  },
})
const local = (): ProcessBackend => {
  const backend = new LocalBackend()
  open.push(backend)
  return backend
}
/** A machine whose shell and tools are others. */
const withTools = (shell: string, tools: readonly string[]): ProcessBackend => {
  const folder = toolbox(shell, tools)
  const inner = local()
  return {
    start: (spec, options) => {
      const [, ...words] = spec.command as readonly string[]
      return inner.start({ ...spec, command: [join(folder, 'sh'), ...words], env: { PATH: `${folder}:${process.env['PATH']}` } }, options)
    },
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  }
}
const needs = (name: string): boolean => spawnSync(name, ['-c', 'true']).error !== undefined
const SUBJECTS: readonly Subject[] = [
  {
    title: 'this machine',
    make: () => ({ files: new LocalFiles({ clock: systemClock }), counting: new CountingBackend(local()) }),
  },
  over('dash', () => withTools('dash', []), needs('dash')),
  over('bash', () => withTools('bash', []), needs('bash')),
  over('busybox', () => withTools('busybox', ['tar', 'mv', 'rm', 'sed', 'sleep', 'env']), needs('busybox')),
  over(`a host${reason === undefined ? '' : ' (needs sshd)'}`, () => remoteTo('h1'), reason !== undefined),
]

for (const subject of SUBJECTS) {
  const isLocal = subject.title === 'this machine'
  describe.skipIf(subject.skip === true)(`the files of a site: ${subject.title}`, () => {
    it('writes files with their folders and modes, and reads them, in one exchange each', async () => {
      const directory = scratch()
      const { files, counting } = subject.make()
      await files.write([
        { path: join(directory, 'a', 'job.sh'), data: '#!/bin/sh\n', mode: 0o755 },
        { path: join(directory, 'a', "it's $x `y` \\z"), data: 'é\n' },
        { path: join(directory, 'b c', 'd', 'x'), data: new Uint8Array([1, 0, 255]) },
        { path: join(directory, 'b c', 'd', 'n'.repeat(200)), data: '' },
      ])
      expect(readFileSync(join(directory, 'b c', 'd', 'x'))).toEqual(Buffer.from([1, 0, 255]))
      expect(statSync(join(directory, 'a', 'job.sh')).mode & 0o777).toBe(0o755)
      expect(statSync(join(directory, 'b c', 'd', 'x')).mode & 0o777).toBe(0o644)
      const paths = ["a/it's $x `y` \\z", 'a', 'nothing', `b c/d/${'n'.repeat(200)}`, 'a/job.sh', 'a/job.sh/below', 'a/job.sh']
      expect(await files.read(paths.map((path) => join(directory, path)))).toEqual([
        'é\n',
        undefined,
        undefined,
        '',
        '#!/bin/sh\n',
        undefined,
        '#!/bin/sh\n',
      ])
      expect(readdirSync(join(directory, 'a')).sort()).toEqual(["it's $x `y` \\z", 'job.sh'])
      expect(readdirSync(join(directory, 'b c', 'd')).length).toBe(2)
      if (!isLocal) expect(counting.count).toBe(2)
    })

    it('replaces a file in one step', async () => {
      const directory = scratch()
      const { files } = subject.make()
      const path = join(directory, 'x')
      writeFileSync(path, 'old')
      const before = statSync(path).ino
      await files.write([{ path, data: 'new' }])
      expect(readFileSync(path, 'utf8')).toBe('new')
      expect(statSync(path).ino).not.toBe(before)
    })

    it('reads two names of one file', async () => {
      const directory = scratch()
      const { files } = subject.make()
      writeFileSync(join(directory, 'a'), 'text')
      execFileSync('ln', [join(directory, 'a'), join(directory, 'b')])
      expect(await files.read([join(directory, 'a'), join(directory, 'b')])).toEqual(['text', 'text'])
    })

    it('writes and reads five hundred files in two exchanges', async () => {
      const directory = scratch()
      const { files, counting } = subject.make()
      const all = Array.from({ length: 500 }, (_, i) => ({ path: join(directory, `d${i % 250}`, `f${i}`), data: `text ${i}\n` }))
      await files.write(all)
      expect(await files.read(all.map(({ path }) => path))).toEqual(all.map(({ data }) => data))
      if (!isLocal) expect(counting.count).toBe(2)
    }, 60_000)

    it('asks nobody about nothing', async () => {
      const { files, counting } = subject.make()
      await files.write([])
      expect(await files.read([])).toEqual([])
      expect(counting.count).toBe(0)
    })

    it('says that a folder cannot be made below a file, and leaves nothing', async () => {
      const directory = scratch()
      const { files } = subject.make()
      writeFileSync(join(directory, 'file'), '')
      const wrong = { path: join(directory, 'file', 'x'), data: '' }
      await expect(files.write([wrong])).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
      await expect(files.write([wrong])).rejects.toThrow(join(directory, 'file').slice(1))
      expect(readdirSync(directory)).toEqual(['file'])
    })

    it.skipIf(process.getuid?.() === 0)('says that a folder may not be written to (not as root)', async () => {
      const directory = scratch()
      const { files } = subject.make()
      chmodSync(directory, 0o500)
      onTestFinished(() => chmodSync(directory, 0o700))
      await expect(files.write([{ path: join(directory, 'x'), data: '' }])).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
    })

    it('says that a disk may not be written to, and that it is full', async (context) => {
      const directory = scratch()
      if (process.getuid?.() !== 0 || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'cahier-test', directory]).status !== 0) {
        return context.skip('only root may mount a small file system')
      }
      onTestFinished(() => void execFileSync('umount', ['-l', directory]))
      const { files } = subject.make()
      const path = join(directory, 'a', 'x')
      await files.write([{ path, data: 'small' }])
      await expect(files.write([{ path, data: 'x'.repeat(300_000) }])).rejects.toEqual(withCode('E_STORE_FULL'))
      expect(readFileSync(path, 'utf8')).toBe('small')
      expect(readdirSync(join(directory, 'a'))).toEqual(['x'])
      execFileSync('mount', ['-o', 'remount,ro', directory])
      await expect(files.write([{ path, data: 'new' }])).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
      expect(await files.read([path])).toEqual(['small'])
    })

    it('resolves a home, a variable and what is absolute', async () => {
      const { files } = subject.make()
      // The home of a test host is its own.
      const [home] = isLocal || !subject.title.startsWith('a host') ? [homedir()] : [await files.resolve('~')]
      expect(home).toMatch(/^\//)
      expect(await files.resolve('~')).toBe(home)
      expect(await files.resolve("~/a b/it's")).toBe(join(home, "a b/it's"))
      expect(await files.resolve('$HOME/runs/')).toBe(join(home, 'runs'))
      expect(await files.resolve('${HOME}')).toBe(home)
      expect(await files.resolve('/a b/$HOME/~')).toBe('/a b/$HOME/~')
      await expect(files.resolve('$CAHIER_NOT_SET/x')).rejects.toEqual(withCode('E_SITE_INVALID'))
    })

    it('reports each file of a folder once, when its last line is complete', async () => {
      const directory = scratch()
      const { files } = subject.make()
      const seen: [string, string][] = []
      await using watch = files.watch((path, text) => seen.push([path, text]))
      const folder = join(directory, 'ended')
      watch.setDirectories([folder])
      await until(() => watch.isLive, 'it looks')
      mkdirSync(folder)
      writeFileSync(join(folder, 'half'), 'line\nhalf of a l')
      writeFileSync(join(folder, 'empty'), '')
      writeFileSync(join(folder, 'whole'), '{"a": "\\\\n é"}\n')
      await until(() => seen.length > 0, 'a file is reported')
      expect(seen).toEqual([[join(folder, 'whole'), '{"a": "\\\\n é"}\n']])
      writeFileSync(join(folder, 'half'), 'line\nanother\n')
      await until(() => seen.length > 1, 'a second file is reported')
      expect(seen[1]).toEqual([join(folder, 'half'), 'line\nanother\n'])
      await until(() => readdirSync(folder).length === 1, 'what was reported is removed')
      // The same name again is another piece of news.
      writeFileSync(join(folder, '.whole'), 'second\n')
      renameSync(join(folder, '.whole'), join(folder, 'whole'))
      await until(() => seen.length > 2, 'a third file is reported')
      expect(seen[2]).toEqual([join(folder, 'whole'), 'second\n'])
    })

    it('looks into other folders when it is told to', async () => {
      const [one, two] = [scratch(), scratch()]
      const { files } = subject.make()
      const seen: string[] = []
      await using watch = files.watch((path) => seen.push(path))
      watch.setDirectories([one])
      writeFileSync(join(one, 'a'), '1\n')
      await until(() => seen.length === 1, 'the first folder is looked into')
      watch.setDirectories([two])
      writeFileSync(join(two, 'b'), '1\n')
      await until(() => seen.length === 2, 'the second folder is looked into')
      expect(seen).toEqual([join(one, 'a'), join(two, 'b')])
    })
  })
}

const PLACES: readonly (readonly [string, string, object])[] = [
  ['without perl', 'h1', { runner: 'sh' }],
  ['without a runner', 'h1', { runner: 'none' }],
  ...shells.map((shell, i) => [`where everybody has ${shell}`, `h${i + 2}`, {}] as const),
]
describe.skipIf(reason !== undefined)('the files of hosts (needs sshd)', () => {
  it.each(PLACES)(
    'are the same on one %s',
    async (_what, name, settings) => {
      const directory = scratch()
      const files = new RemoteFiles({ processes: remoteTo(name, settings), clock: systemClock })
      const seen: [string, string][] = []
      await using watch = files.watch((path, text) => seen.push([path, text]))
      watch.setDirectories([join(directory, 'ended')])
      const path = join(directory, 'ended', "it's $x")
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
      await files.write([
        { path, data: '{"a": "\\n é"}\n' },
        { path: join(directory, 'bytes'), data: bytes, mode: 0o755 },
      ])
      expect(readFileSync(join(directory, 'bytes')).equals(bytes)).toBe(true)
      await until(() => seen.length > 0, 'the file is reported')
      expect(seen).toEqual([[path, '{"a": "\\n é"}\n']])
      expect(await files.read([join(directory, 'none'), '/etc/hostname'])).toEqual([undefined, readFileSync('/etc/hostname', 'utf8')])
      expect(await files.resolve('~/x')).toMatch(/^\/.*\/x$/)
      await expect(files.write([{ path: join(directory, 'bytes', 'x'), data: '' }])).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
    },
    60_000,
  )
})

describe.skipIf(reason !== undefined)('the files of a host whose connection fails (needs sshd)', () => {
  it('says that nobody was asked, and why', async () => {
    await using own = await startSshHosts(1, {})
    own.stopHost('h1')
    const pool = new ConnectionPool()
    const backend = new RemoteBackend(pool, { address: 'h1' }, connectionSchema.parse({ sshConfig: own.sshConfig, connectTimeout: '10s' }))
    open.push(pool, backend)
    const files = new RemoteFiles({ processes: backend, clock: systemClock })
    await expect(files.read(['/etc/passwd'])).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT', data: { code: 'E_HOST_REFUSED' } })
    await expect(files.resolve('~')).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    await expect(files.write([{ path: '/tmp/cahier-none/x', data: '' }])).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    expect(existsSync('/tmp/cahier-none')).toBe(false)
  })

  it.each([
    [
      'that closes its connections',
      (hosts: SshHosts) => {
        hosts.stopHost('h1')
        hosts.dropSessions('h1')
      },
      (hosts: SshHosts) => hosts.startHost('h1'),
    ],
    ['of which nothing is heard', (hosts: SshHosts) => hosts.cutHost('h1'), (hosts: SshHosts) => hosts.thawHost('h1')],
  ] as const)(
    'watches again when a host is back %s',
    async (_what, cut, mend) => {
      await using own = await startSshHosts(1, {})
      const directory = scratch()
      const pool = new ConnectionPool()
      const settings = { sshConfig: own.sshConfig, lease: '3s', connectTimeout: '10s', keepAlive: '1s' }
      const backend = new RemoteBackend(pool, { address: 'h1' }, connectionSchema.parse(settings))
      open.push(pool, backend)
      const files = new RemoteFiles({ processes: backend, clock: systemClock })
      const seen: string[] = []
      await using watch = files.watch((_, text) => seen.push(text))
      watch.setDirectories([directory])
      await until(() => watch.isLive, 'it looks')
      cut(own)
      await until(() => !watch.isLive, 'it knows that it does not look')
      writeFileSync(join(directory, 'a'), 'meanwhile\n')
      await mend(own)
      await until(() => seen.length > 0, 'it has seen what came meanwhile')
      expect(seen).toEqual(['meanwhile\n'])
      expect(watch.isLive).toBe(true)
    },
    60_000,
  )
})
