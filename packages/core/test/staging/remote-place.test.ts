import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import fs, { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { connectionSchema } from '../../src/model/connection.js'
import type { Clock } from '../../src/ports/clock.js'
import type { ProcessBackend } from '../../src/ports/process-backend.js'
import { LocalBackend } from '../../src/process/local-backend.js'
import { RemoteBackend } from '../../src/process/remote-backend.js'
import { renderWrapper } from '../../src/scheduler/job-wrapper.js'
import { ConnectionPool } from '../../src/ssh/connection-pool.js'
import { RemoteFiles } from '../../src/staging/remote-files.js'
import { RemotePlace, type RemotePlaceOptions } from '../../src/staging/remote-place.js'
import { SharedPlace } from '../../src/staging/shared-place.js'
import { systemClock } from '../../src/system/clock.js'
import { TAR_END, tarHeader, tarPadding } from '../../src/util/tar-write.js'
import { CountingBackend, scratch, toolbox } from './files-bed.js'

const reason = sshHostsUnavailable()
const withCode = (code: string): unknown => expect.objectContaining({ code })
const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

const local = (): ProcessBackend => {
  const backend = new LocalBackend()
  open.push(backend)
  return backend
}
/** A machine with the tools of busybox. */
const onBusybox = (): ProcessBackend => {
  const folder = toolbox('busybox', [
    'tar',
    'mv',
    'rm',
    'cp',
    'ln',
    'ls',
    'find',
    'mkdir',
    'chmod',
    'sha256sum',
    'cksum',
    'wc',
    'sleep',
    'tail',
  ])
  const inner = local()
  return {
    start: (spec, options) => {
      const [, ...words] = spec.command as readonly string[]
      return inner.start({ ...spec, command: [join(folder, 'sh'), ...words], env: { PATH: folder } }, options)
    },
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  }
}

interface Input {
  readonly name: string
  readonly data: string | Uint8Array
  readonly mode?: number
}

interface Bed {
  readonly place: RemotePlace
  readonly counting: CountingBackend
  /** The run directory, here. */
  readonly here: string
  /** What stands for it there. */
  there(): string
}

interface BedOptions extends Partial<Omit<RemotePlaceOptions, 'inputs'>> {
  readonly inputs?: readonly Input[]
  readonly work?: string
  readonly backend?: ProcessBackend
  readonly here?: string
}

function makeBed({
  inputs = [],
  work = scratch(),
  backend = local(),
  here = scratch(),
  clock = systemClock,
  ...more
}: BedOptions = {}): Bed {
  const counting = new CountingBackend(backend)
  const source = scratch()
  const placed = inputs.map(({ name, data, mode = 0o644 }) => {
    const path = join(source, name)
    writeFileSync(path, data, { mode })
    return { name, path, bytes: statSync(path).size }
  })
  const place = new RemotePlace({
    files: new RemoteFiles({ processes: counting, clock }),
    processes: counting,
    clock,
    runDirectory: here,
    runName: 'scaling_20261122',
    runId: 'abc123',
    workDirectory: work,
    inputs: placed,
    ...more,
  })
  return { place, counting, here, there: () => place.root }
}

/** Runs a job there as a scheduler would. */
function runJob(there: string, directory: string, lines: string, exclude: readonly string[] = []): number | null {
  const place = join(there, directory)
  writeFileSync(join(place, 'job.sh'), `#!/bin/sh\n${lines}\n`, { mode: 0o755 })
  const job = { tag: 't', name: 't', script: '#!/bin/sh\n', directory: place, resources: {} }
  return spawnSync('/bin/sh', ['-c', renderWrapper(job, { manifest: { exclude: ['parameters.json', ...exclude] } })]).status
}

const attempt = (directory: string) => ({ directory, parameters: `{"at":${JSON.stringify(directory)}}\n` })
const fetched = (directory: string) => ({ directory, tag: 't' })
const below = (directory: string): string[] =>
  (readdirSync(directory, { recursive: true, withFileTypes: true }) as fs.Dirent[])
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort()
const LARGE = Buffer.alloc((1 << 20) + 1, 'large')

let bed: (SshHosts & AsyncDisposable) | undefined
beforeAll(async () => {
  if (reason === undefined) bed = await startSshHosts(2, {})
}, 60_000)
afterAll(() => bed?.stop())

function remote(name: string, settings: object = {}, hosts = bed): RemoteBackend {
  const pool = new ConnectionPool()
  const connection = connectionSchema.parse({ sshConfig: hosts?.sshConfig, connector: 'ssh2', ...settings })
  const backend = new RemoteBackend(pool, { address: name }, connection)
  open.push(pool, backend)
  return backend
}

const SUBJECTS: readonly (readonly [string, () => ProcessBackend, boolean])[] = [
  ['a shell', local, false],
  ['busybox', onBusybox, spawnSync('busybox', ['true']).error !== undefined],
  [`a host${reason === undefined ? '' : ' (needs sshd)'}`, () => remote('h1'), reason !== undefined],
]

for (const [title, makeBackend, isSkipped] of SUBJECTS) {
  describe.skipIf(isSkipped)(`the place of a run at a site that sees none of our files: ${title}`, () => {
    it('makes its root below the work directory, with nothing to bring in two exchanges', async () => {
      const { place, counting, there } = makeBed({ backend: makeBackend(), work: `${scratch()}/not there/yet` })
      await place.open()
      expect(there()).toMatch(/\/not there\/yet\/scaling_20261122-abc123$/)
      expect(statSync(there()).isDirectory()).toBe(true)
      expect(counting.count).toBe(2)
    })

    it('brings each content once, and gives it to jobs under its names', async () => {
      const work = scratch()
      const inputs = [
        { name: 'bench.py', data: 'print()\n', mode: 0o755 },
        { name: "it's a $mesh", data: LARGE },
        { name: '.hidden', data: 'dots' },
        { name: 'program', data: Buffer.concat([LARGE, LARGE]), mode: 0o755 },
      ]
      const first = makeBed({ backend: makeBackend(), work, inputs })
      await first.place.open()
      expect(first.counting.count).toBe(3)
      const store = join(work, 'inputs')
      const keys = [`${sha256('print()\n')}.x`, sha256(LARGE), sha256('dots'), `${sha256(Buffer.concat([LARGE, LARGE]))}.x`]
      expect(readdirSync(store).sort()).toEqual(keys.sort())
      expect(statSync(join(store, sha256(LARGE))).mode & 0o777).toBe(0o444)

      const second = makeBed({ backend: makeBackend(), work, inputs, runId: 'other' })
      await second.place.open()
      expect(second.counting.count).toBe(2)
      await second.place.stage([attempt('combinations/a/r1-a1'), attempt('combinations/b c/r1-a1')])
      expect(second.counting.count).toBe(3)
      const place = join(second.there(), 'combinations/b c/r1-a1')
      expect(below(place)).toEqual(['.hidden', 'bench.py', "it's a $mesh", 'parameters.json', 'program'])
      expect(readFileSync(join(place, 'parameters.json'), 'utf8')).toBe('{"at":"combinations/b c/r1-a1"}\n')
      expect(readFileSync(join(place, 'bench.py'), 'utf8')).toBe('print()\n')
      expect(statSync(join(place, 'bench.py')).mode & 0o777).toBe(0o755)
      expect(statSync(join(place, 'program')).mode & 0o777).toBe(0o555)
      expect(readFileSync(join(place, "it's a $mesh")).equals(LARGE)).toBe(true)
      expect(statSync(join(place, "it's a $mesh")).ino).toBe(statSync(join(store, sha256(LARGE))).ino)
      // A job that writes into its small input changes nobody else's.
      writeFileSync(join(place, 'bench.py'), 'spoilt')
      expect(readFileSync(join(second.there(), 'combinations/a/r1-a1/bench.py'), 'utf8')).toBe('print()\n')
      await second.place.stage([attempt('combinations/c/r1-a1')])
      expect(readFileSync(join(second.there(), 'combinations/c/r1-a1/bench.py'), 'utf8')).toBe('print()\n')
    })

    it('takes new contents of its inputs in the middle of a run', async () => {
      const work = scratch()
      const one = makeBed({ backend: makeBackend(), work, inputs: [{ name: 'in', data: 'one' }] })
      await one.place.open()
      await one.place.stage([attempt('a')])
      const two = makeBed({ backend: makeBackend(), work, inputs: [{ name: 'in', data: 'two' }] })
      await two.place.open()
      await two.place.stage([attempt('b')])
      expect([readFileSync(join(one.there(), 'a/in'), 'utf8'), readFileSync(join(one.there(), 'b/in'), 'utf8')]).toEqual(['one', 'two'])
    })

    it('makes 256 attempts in one exchange, and the same again', async () => {
      const { place, counting, there } = makeBed({
        backend: makeBackend(),
        inputs: [
          { name: 'in', data: 'x' },
          { name: 'big', data: LARGE },
        ],
      })
      await place.open()
      const before = counting.count
      const attempts = Array.from({ length: 256 }, (_, i) => attempt(`combinations/n-${i}/r1-a1`))
      await place.stage(attempts)
      expect(counting.count - before).toBe(1)
      for (const { directory, parameters } of attempts) {
        expect(readFileSync(join(there(), directory, 'parameters.json'), 'utf8')).toBe(parameters)
        expect(readdirSync(join(there(), directory)).sort()).toEqual(['big', 'in', 'parameters.json'])
      }
      await place.stage(attempts)
      await place.stage([])
      expect(counting.count - before).toBe(2)
    }, 180_000)

    it('brings home what jobs left, in one exchange, and asks no more about it', async () => {
      const { place, counting, here, there } = makeBed({ backend: makeBackend(), inputs: [{ name: 'in', data: 'x' }] })
      await place.open()
      await place.stage([attempt('a/r1-a1'), attempt('b/r1-a1')])
      expect(
        runJob(
          there(),
          'a/r1-a1',
          "echo out; mkdir -p 'sub dir/deep'; echo data >'sub dir/deep/x y'; echo '#!/bin/sh' >run; chmod +x run",
          ['in'],
        ),
      ).toBe(0)
      expect(runJob(there(), 'b/r1-a1', 'echo b; ln stdout job_7.out; echo err >&2; ln -s /etc/passwd link; exit 3', ['in'])).toBe(3)
      const before = counting.count
      const outcomes = await place.fetch([fetched('a/r1-a1'), fetched('b/r1-a1')])
      expect(outcomes).toEqual([
        { ok: true, files: 4, bytes: 19 },
        { ok: true, files: 3, bytes: 8 },
      ])
      expect(counting.count - before).toBe(1)
      expect(below(here)).toEqual([
        ...['exit.json', 'manifest', 'run', 'stderr', 'stdout', 'sub dir/deep/x y'].map((name) => `a/r1-a1/${name}`),
        ...['exit.json', 'job_7.out', 'manifest', 'stderr', 'stdout'].map((name) => `b/r1-a1/${name}`),
      ])
      expect(readFileSync(join(here, 'a/r1-a1/sub dir/deep/x y'), 'utf8')).toBe('data\n')
      expect(statSync(join(here, 'a/r1-a1/run')).mode & 0o100).toBe(0o100)
      expect(readFileSync(join(here, 'b/r1-a1/job_7.out'), 'utf8')).toBe('b\n')
      expect(readdirSync(join(here, 'a'))).toEqual(['r1-a1'])
      expect(await place.fetch([fetched('a/r1-a1'), fetched('b/r1-a1')])).toEqual(outcomes)
      expect(counting.count - before).toBe(1)
    })

    it('brings home what the patterns say, and what always comes', async () => {
      const { place, here, there } = makeBed({ backend: makeBackend(), fetch: ['*.dat', 'out/[ab]?', 'folder', "it's"] })
      await place.open()
      await place.stage([attempt('a')])
      runJob(
        there(),
        'a',
        `mkdir -p out folder/x sub; for f in 1.dat sub/2.dat .dat dat out/a1 out/c1 out/a folder/x/y sub/folder "it's" big; do echo x >"$f"; done`,
      )
      expect(await place.fetch([fetched('a')])).toMatchObject([{ ok: true }])
      expect(below(join(here, 'a'))).toEqual(
        ['.dat', '1.dat', 'exit.json', 'folder/x/y', "it's", 'manifest', 'out/a1', 'stderr', 'stdout', 'sub/2.dat', 'sub/folder'].sort(),
      )
    })

    it('takes nothing that does not fit its manifest, and all of it when it does', async () => {
      const { place, here, there } = makeBed({ backend: makeBackend() })
      await place.open()
      await place.stage([attempt('a')])
      runJob(there(), 'a', 'echo data >result; echo other >second')
      const result = join(there(), 'a/result')
      const spoil = [
        ['result has 2 bytes, and in its manifest 5', () => writeFileSync(result, 'da')],
        ['result has other content than when its manifest was made', () => writeFileSync(result, 'DATA\n')],
        ['result stands in its manifest and is not there', () => fs.rmSync(result)],
      ] as const
      for (const [detail, action] of spoil) {
        action()
        expect(await place.fetch([fetched('a')])).toEqual([{ ok: false, detail }])
        expect(below(here)).toEqual([])
      }
      writeFileSync(result, 'data\n')
      writeFileSync(join(there(), 'a/later'), 'not of the job')
      expect(await place.fetch([fetched('a')])).toMatchObject([{ ok: true, files: 4 }])
      expect(below(here)).toEqual(['exit.json', 'manifest', 'result', 'second', 'stderr', 'stdout'].map((name) => `a/${name}`))
    })

    it('checks sums of cksum as well', async () => {
      const { place, there } = makeBed({ backend: makeBackend() })
      await place.open()
      await place.stage([attempt('a')])
      runJob(there(), 'a', 'echo data >result')
      const sums = execFileSync('cksum', ['./result', './stdout', './stderr'], { cwd: join(there(), 'a'), encoding: 'utf8' })
      writeFileSync(join(there(), 'a/manifest'), `cahier-manifest 1\n${sums}end 0\n`)
      writeFileSync(join(there(), 'a/result'), 'DATA\n')
      expect(await place.fetch([fetched('a')])).toMatchObject([{ ok: false }])
      writeFileSync(join(there(), 'a/result'), 'data\n')
      expect(await place.fetch([fetched('a')])).toMatchObject([{ ok: true }])
    })

    it('takes what a killed job left as it is', async () => {
      const { place, here, there } = makeBed({ backend: makeBackend() })
      await place.open()
      await place.stage([attempt('a')])
      runJob(there(), 'a', 'echo out; echo data >result; kill -KILL $PPID')
      expect(await place.fetch([fetched('a'), fetched('b')])).toEqual([
        { ok: true, files: 3, bytes: 9 },
        { ok: false, detail: 'its directory is not there' },
      ])
      expect(below(here)).toEqual(['a/result', 'a/stderr', 'a/stdout'])
    })

    it('brings the last words of the scheduler about an array home, to each of its jobs that did not end well', async () => {
      const { place, here, there } = makeBed({ backend: makeBackend(), fetch: ['*.dat'] })
      await place.open()
      const all = ['c/never', 'c/failed', 'c/good', 'c/own', 'c/odd', 'c/quiet']
      await place.stage(all.map(attempt))
      const submissions = join(there(), 'submissions')
      mkdirSync(submissions)
      writeFileSync(join(submissions, 'g-1.log'), `${'of another job\n'.repeat(1000)}slurmstepd: error: couldn't chdir to /scratch\n`)
      writeFileSync(join(submissions, 'g-0.log'), '')
      for (const [n, directory] of all.entries()) writeFileSync(join(there(), directory, 'submission'), `g-0 ${n}\ng-1 ${n}/3\n`)
      runJob(there(), 'c/failed', 'exit 3')
      runJob(there(), 'c/good', 'exit 0')
      writeFileSync(join(there(), 'c/own/scheduler.log'), 'its own words\n')
      writeFileSync(join(there(), 'c/odd/submission'), '../submissions/g-1 0\n')
      writeFileSync(join(there(), 'c/quiet/submission'), 'g-0 0\n')
      expect(await place.fetch(all.map(fetched))).toEqual(all.map(() => expect.objectContaining({ ok: true })))
      for (const directory of ['c/never', 'c/failed']) {
        const words = readFileSync(join(here, directory, 'scheduler.log'), 'utf8')
        expect(words.split('\n')[0]).toBe(`# the end of ${submissions}/g-1.log`)
        expect(words.endsWith("slurmstepd: error: couldn't chdir to /scratch\n")).toBe(true)
        expect(words.length).toBeLessThan(10_000)
      }
      expect(readFileSync(join(here, 'c/own/scheduler.log'), 'utf8')).toBe('its own words\n')
      for (const directory of ['c/good', 'c/odd', 'c/quiet']) expect(existsSync(join(here, directory, 'scheduler.log'))).toBe(false)
    })

    it('waits for a manifest that is late, but not for ever', async () => {
      const { place, here, there } = makeBed({ backend: makeBackend() })
      await place.open()
      await place.stage([attempt('a'), attempt('b')])
      for (const directory of ['a', 'b']) runJob(there(), directory, 'echo out')
      const manifest = readFileSync(join(there(), 'a/manifest'))
      writeFileSync(join(there(), 'a/manifest'), manifest.subarray(0, 40))
      fs.rmSync(join(there(), 'b/manifest'))
      const both = [fetched('a'), fetched('b')]
      expect(await place.fetch(both)).toEqual([
        { ok: false, detail: 'its manifest cannot be used: it is cut off' },
        { ok: false, detail: 'its manifest is not there' },
      ])
      writeFileSync(join(there(), 'a/manifest'), manifest)
      expect(await place.fetch(both)).toMatchObject([{ ok: true }, { ok: false }])
      expect(await place.fetch(both)).toMatchObject([{ ok: true }, { ok: false }])
      expect(await place.fetch(both)).toMatchObject([{ ok: true }, { ok: true }])
      expect(existsSync(join(here, 'b/stdout'))).toBe(true)
    })

    it('brings names of any bytes home as they are', async () => {
      const { place, here, there } = makeBed({ backend: makeBackend() })
      await place.open()
      await place.stage([attempt('a')])
      const bytes = Buffer.from([0x6e, 0xff, 0xfe, 0x0a, 0x5c])
      writeFileSync(Buffer.concat([Buffer.from(`${there()}/a/`), bytes]), 'odd')
      runJob(there(), 'a', `echo x >' '; echo x >'-rf'; echo x >'é'`)
      expect(await place.fetch([fetched('a')])).toMatchObject([{ ok: true, files: 6 }])
      expect(readFileSync(Buffer.concat([Buffer.from(`${here}/a/`), bytes]), 'utf8')).toBe('odd')
    })
  })
}

describe('the place of a run at a site that sees none of our files', () => {
  it.each(['../x', '/x', 'a/../b', '', '-x', '.', 'a/'])('refuses %j as the directory of an attempt', async (directory) => {
    const { place, counting } = makeBed()
    await place.open()
    const before = counting.count
    await expect(place.stage([attempt(directory)])).rejects.toEqual(withCode('E_ARGUMENT'))
    await expect(place.fetch([fetched(directory)])).rejects.toEqual(withCode('E_ARGUMENT'))
    expect(counting.count).toBe(before)
  })

  it.each(['../x', 'a/b', '', '..'])('refuses an input with the name %j', (name) => {
    const processes = local()
    const files = new RemoteFiles({ processes, clock: systemClock })
    const run = { runDirectory: '/', runName: 'a', runId: 'b', workDirectory: '/tmp', inputs: [{ name, path: '/etc/passwd', bytes: 1 }] }
    expect(() => new RemotePlace({ files, processes, clock: systemClock, ...run })).toThrow(withCode('E_ARGUMENT') as Error)
  })

  it.each([
    ['leads out of the directory', 'name', '../../evil'],
    ['has a place of its own', 'name', '/tmp/cahier-evil'],
    ['is a link to something else', 'link', '../../../../etc/passwd'],
  ])('takes nothing from a site that sends what %s', async (_what, kind, value) => {
    const { place, here } = makeBed({
      backend: sendsInstead(() => [
        control('begin 0'),
        file('./stdout', 'fine'),
        kind === 'name' ? file(value, 'evil') : linkEntry('./link', value),
        control('end 0 0'),
      ]),
    })
    await place.open()
    const [outcome] = await place.fetch([fetched('a/r1')])
    expect(outcome).toMatchObject({ ok: false, detail: expect.stringContaining(value) })
    expect(below(here)).toEqual([])
    expect(existsSync('/tmp/cahier-evil')).toBe(false)
  })

  it('does not believe a manifest that names what lies elsewhere', async () => {
    const { place, here } = makeBed({
      backend: sendsInstead(() => [
        control('begin 0'),
        file('./manifest', 'cahier-manifest 1\n3 ./../x\nend 0\n'),
        file('./exit.json', '{}\n'),
        control('end 0 0'),
      ]),
    })
    await place.open()
    expect(await place.fetch([fetched('a')])).toMatchObject([{ ok: false, detail: expect.stringContaining('../x') }])
    expect(below(here)).toEqual([])
  })

  it('says that a site sends no archive', async () => {
    const { place } = makeBed({ backend: sendsInstead(() => [Buffer.from('tar: not today\n'.repeat(100))]) })
    await place.open()
    await expect(place.fetch([fetched('a')])).rejects.toEqual(withCode('E_FETCH'))
  })

  it('waits for what another controller brings, so that nothing is brought twice', async () => {
    const work = scratch()
    const inputs = [{ name: 'big', data: randomBytes(40 << 20) }]
    const beds = [0, 1, 2].map((n) => makeBed({ work, inputs, runId: `run${n}` }))
    await Promise.all(beds.map(({ place }) => place.open()))
    const uploads = beds.flatMap(({ counting }) => counting.specs).filter(({ stdin }) => stdin === 'pipe')
    expect(uploads.length).toBe(1)
    expect(readdirSync(join(work, 'inputs'))).toEqual([sha256(inputs[0]!.data)])
    for (const { place, there } of beds) {
      await place.stage([attempt('a')])
      expect(statSync(join(there(), 'a/big')).size).toBe(40 << 20)
    }
  }, 60_000)

  it('brings what another controller gave up bringing', async () => {
    const work = scratch()
    mkdirSync(join(work, 'inputs/.upload'), { recursive: true })
    writeFileSync(join(work, 'inputs/.upload/owner'), 'somebody\n')
    writeFileSync(join(work, 'inputs/.upload/half'), 'half')
    // A clock that runs four hundred times as fast.
    const fast: Clock = {
      now: () => Date.now(),
      monotonic: () => performance.now() * 400,
      sleep: (ms, options) => systemClock.sleep(ms / 400, options),
    }
    const { place } = makeBed({ work, clock: fast, inputs: [{ name: 'in', data: 'x' }] })
    await place.open()
    expect(readdirSync(join(work, 'inputs'))).toEqual([sha256('x')])
  }, 60_000)

  it('says that the disk of the site is full, and leaves nothing there', async (context) => {
    const work = scratch()
    if (!mountSmall(work, '4m')) return context.skip('only root may mount a small file system')
    const { place } = makeBed({ work, inputs: [{ name: 'big', data: randomBytes(8 << 20) }] })
    await expect(place.open()).rejects.toEqual(withCode('E_STORE_FULL'))
    expect(readdirSync(join(work, 'inputs'))).toEqual([])
    const { place: small, there } = makeBed({ work, inputs: [{ name: 'in', data: 'x' }] })
    await small.open()
    fill(work)
    const directory = 'a/r1-a1'
    const parameters = 'x'.repeat(100_000)
    await expect(small.stage([{ directory, parameters }])).rejects.toEqual(withCode('E_STORE_FULL'))
    fs.rmSync(join(work, 'filler'))
    await small.stage([{ directory, parameters }])
    expect(readFileSync(join(there(), directory, 'parameters.json'), 'utf8')).toBe(parameters)
  })

  it('says that the disk here is full, and leaves no half file', async (context) => {
    const here = scratch()
    if (!mountSmall(here, '2m')) return context.skip('only root may mount a small file system')
    const { place, there } = makeBed({ here })
    await place.open()
    await place.stage([attempt('a'), attempt('b')])
    runJob(there(), 'a', 'head -c 8000000 /dev/zero >result')
    runJob(there(), 'b', 'echo small')
    await expect(place.fetch([fetched('a')])).rejects.toEqual(withCode('E_STORE_FULL'))
    expect(below(here)).toEqual([])
    expect(readdirSync(here)).toEqual([])
    expect(await place.fetch([fetched('b')])).toMatchObject([{ ok: true }])
  })

  it('says that nothing may be written there', async (context) => {
    const work = scratch()
    if (!mountSmall(work, '1m')) return context.skip('only root may mount a small file system')
    execFileSync('mount', ['-o', 'remount,ro', work])
    const { place } = makeBed({ work })
    await expect(place.open()).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
  })

  it('removes what a controller that was killed had begun to fetch', async () => {
    const { place, here, there } = makeBed()
    await place.open()
    await place.stage([attempt('x/r1-a1')])
    runJob(there(), 'x/r1-a1', 'echo out')
    mkdirSync(join(here, 'x/.r1-a1.fetch-old'), { recursive: true })
    writeFileSync(join(here, 'x/.r1-a1.fetch-old/half'), 'half')
    expect(await place.fetch([fetched('x/r1-a1')])).toMatchObject([{ ok: true }])
    expect(readdirSync(join(here, 'x'))).toEqual(['r1-a1'])
  })

  it('says of a work directory that stands for nothing what is wrong', async () => {
    const { place } = makeBed({ workDirectory: '$CAHIER_NOT_SET/x' })
    await expect(place.open()).rejects.toEqual(withCode('E_SITE_INVALID'))
  })

  it('says which input cannot be read', async () => {
    const { place } = makeBed()
    const lost = new RemotePlace({
      files: new RemoteFiles({ processes: local(), clock: systemClock }),
      processes: local(),
      clock: systemClock,
      runDirectory: '/tmp',
      runName: 'a',
      runId: 'b',
      workDirectory: scratch(),
      inputs: [{ name: 'in', path: '/no such file', bytes: 1 }],
    })
    await expect(lost.open()).rejects.toThrow('/no such file')
    await expect(lost.open()).rejects.toEqual(withCode('E_STAGE'))
    expect(() => place.root).toThrow()
  })
})

function fill(directory: string): void {
  const filler = fs.openSync(join(directory, 'filler'), 'w')
  expect(() => {
    for (;;) fs.writeSync(filler, Buffer.alloc(4096))
  }).toThrow(expect.objectContaining({ code: 'ENOSPC' }))
  fs.closeSync(filler)
}

const control = (words: string): Buffer => Buffer.from(`cahier ${words}`.padEnd(512))
const file = (name: string, text: string): Buffer =>
  Buffer.concat([tarHeader(name, text.length, 0o644, 0), Buffer.from(text), tarPadding(text.length), TAR_END])
function linkEntry(name: string, target: string): Buffer {
  const header = tarHeader(name, 0, 0o644, 0)
  header.write('1', 156)
  header.write(target, 157, 'latin1')
  let sum = 8 * 32
  for (let i = 0; i < 512; i += 1) if (i < 148 || i >= 156) sum += header[i] as number
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

/** A site that answers every request for files with these bytes. */
function sendsInstead(make: () => readonly Buffer[]): ProcessBackend {
  const inner = local()
  const path = join(scratch(), 'sent')
  writeFileSync(path, Buffer.concat(make()))
  return {
    start: (spec, options) => {
      const text = typeof spec.stdin === 'object' ? Buffer.from(spec.stdin.text).toString('latin1') : ''
      if (!text.includes('cahier begin')) return inner.start(spec, options)
      return inner.start({ ...spec, command: ['/bin/sh', '-c', 'cat >/dev/null; exec cat "$0"', path] }, options)
    },
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  }
}

/** Does something once when so many bytes have gone through, in either direction. */
function tripwire(inner: ProcessBackend) {
  let left = Number.POSITIVE_INFINITY
  let action = (): void => {}
  const pass = (bytes: number): void => {
    left -= bytes
    if (left > 0) return
    left = Number.POSITIVE_INFINITY
    action()
  }
  const backend: ProcessBackend = {
    async start(spec, options = {}) {
      const onOutput = (stream: 'stdout' | 'stderr', chunk: Uint8Array): unknown => {
        pass(chunk.length)
        return options.onOutput?.(stream, chunk)
      }
      const running = await inner.start(spec, { ...options, onOutput })
      return new Proxy(running, {
        get(target, key) {
          if (key === 'write')
            return (data: Uint8Array) => {
              pass(data.length)
              return target.write(data)
            }
          const value: unknown = Reflect.get(target, key, target)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    },
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  }
  return {
    backend,
    arm(bytes: number, then: () => void) {
      left = bytes
      action = then
    },
  }
}

function closeHost(hosts: SshHosts): void {
  hosts.stopHost('h1')
  hosts.dropSessions('h1')
}

function mountSmall(directory: string, size: string): boolean {
  if (process.getuid?.() !== 0) return false
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'cahier-test', directory])
  if (status === 0) onTestFinished(() => void execFileSync('umount', ['-l', directory]))
  return status === 0
}

describe.skipIf(reason !== undefined)('the place of a run on a host (needs sshd)', () => {
  it.each(['sh', 'none'])(
    'brings and fetches the same with runner %s',
    async (runner) => {
      const { place, here, there } = makeBed({ backend: remote('h2', { runner }), inputs: [{ name: 'in', data: randomBytes(2_000_000) }] })
      await place.open()
      await place.stage([attempt('a')])
      runJob(there(), 'a', 'cat in in >result', ['in'])
      expect(await place.fetch([fetched('a')])).toEqual([{ ok: true, files: 3, bytes: 4_000_000 }])
      expect(below(here)).toEqual(['exit.json', 'manifest', 'result', 'stderr', 'stdout'].map((name) => `a/${name}`))
    },
    60_000,
  )

  const CUTS = [
    ['that closes its connections', (hosts: SshHosts) => closeHost(hosts), (hosts: SshHosts) => hosts.startHost('h1')],
    ['of which nothing is heard', (hosts: SshHosts) => hosts.cutHost('h1'), (hosts: SshHosts) => hosts.thawHost('h1')],
  ] as const
  const impatient = { lease: '3s', keepAlive: '1s' }

  it.each(CUTS)(
    'brings its inputs whole when it was cut off in their middle by a host %s',
    async (_what, cut, mend) => {
      await using own = await startSshHosts(1, {})
      const work = scratch()
      const data = randomBytes(24 << 20)
      const wire = tripwire(remote('h1', impatient, own))
      const { place } = makeBed({ work, backend: wire.backend, inputs: [{ name: 'big', data }] })
      wire.arm(8 << 20, () => cut(own))
      await expect(place.open()).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
      expect(readdirSync(join(work, 'inputs')).filter((name) => !name.startsWith('.'))).toEqual([])
      await mend(own)
      await place.open()
      expect(readdirSync(join(work, 'inputs'))).toEqual([sha256(data)])
      expect(sha256(readFileSync(join(work, 'inputs', sha256(data))))).toBe(sha256(data))
    },
    120_000,
  )

  it.each(CUTS)(
    'has fetched nothing when it is cut off in the middle by a host %s, and everything later',
    async (_what, cut, mend) => {
      await using own = await startSshHosts(1, {})
      const wire = tripwire(remote('h1', impatient, own))
      const { place, here, there } = makeBed({ backend: wire.backend })
      await place.open()
      await place.stage([attempt('a')])
      runJob(there(), 'a', 'head -c 40000000 /dev/urandom >result')
      wire.arm(8 << 20, () => cut(own))
      await expect(place.fetch([fetched('a')])).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
      expect(readdirSync(here)).toEqual([])
      await mend(own)
      expect(await place.fetch([fetched('a')])).toMatchObject([{ ok: true, files: 3 }])
      expect(readFileSync(join(here, 'a/result')).equals(readFileSync(join(there(), 'a/result')))).toBe(true)
    },
    120_000,
  )
})

describe('the place of a run whose jobs see our files', () => {
  it('is the run directory, where nothing is moved', async () => {
    const here = scratch()
    const input = join(scratch(), 'in')
    writeFileSync(input, 'text')
    const place = new SharedPlace({ runDirectory: here, inputs: [{ name: 'in', path: input, bytes: 4 }] })
    await place.open()
    expect([place.root, place.isShared]).toEqual([here, true])
    await place.stage([attempt('a/r1-a1')])
    writeFileSync(join(here, 'a/r1-a1/in'), 'changed by the job')
    await place.stage([attempt('a/r1-a1')])
    expect(below(here)).toEqual(['a/r1-a1/in', 'a/r1-a1/parameters.json'])
    expect(readFileSync(join(here, 'a/r1-a1/in'), 'utf8')).toBe('changed by the job')
    expect(readFileSync(input, 'utf8')).toBe('text')
    expect(await place.fetch([fetched('a/r1-a1')])).toEqual([{ ok: true, files: 0, bytes: 0 }])
  })

  it('says when a directory cannot be made', async () => {
    const here = scratch()
    writeFileSync(join(here, 'a'), '')
    await expect(new SharedPlace({ runDirectory: here }).stage([attempt('a/r1')])).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
  })
})
