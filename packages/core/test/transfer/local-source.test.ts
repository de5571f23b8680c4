import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { LocalSource } from '../../src/transfer/local/local-source.js'
import { walkSources } from '../../src/transfer/local/local-walk.js'
import { policyOf, Scratch } from './trees.js'

const scratch = new Scratch()
afterAll(() => scratch.remove())

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')
const LARGE = 3_000_000
/** Has 4096 bytes, says the system, and some digits. */
const LYING = '/sys/devices/system/cpu/online'
/** Takes a lease, and keeps it for a moment when it is asked to give it back. */
const HOLD_LEASE = `
import fcntl, os, signal, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
def release(*_):
    time.sleep(0.1)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
signal.signal(signal.SIGIO, release)
try:
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print('held', flush=True)
except OSError:
    print('none', flush=True)
while True:
    signal.pause()
`

/** Files with these contents, in order, and their source. Entry 0 is the directory. */
async function sourceOf(contents: readonly Buffer[]): Promise<{ folder: string; source: LocalSource; indexes: number[] }> {
  const folder = join(scratch.folder(), 'd')
  mkdirSync(folder)
  for (const [at, content] of contents.entries()) writeFileSync(join(folder, String(at).padStart(4, '0')), content)
  const { manifest, paths } = await walkSources([folder], policyOf())
  return { folder, source: new LocalSource(manifest, paths), indexes: contents.map((_, at) => at + 1) }
}

/** What a file gets for its time there now. */
function clockOf(folder: string): number {
  const probe = join(folder, 'probe')
  writeFileSync(probe, 'x')
  return statSync(probe).ctimeMs
}

const faulty = async (source: LocalSource) => [...(await source.changed())].map(([index, { code }]) => [index, code])

describe('LocalSource', () => {
  it('reads any piece of an entry, up to its end', async () => {
    const content = randomBytes(LARGE)
    const { source } = await sourceOf([content, Buffer.from('small')])
    await using _ = source
    expect((await source.read(1, 0, LARGE)).equals(content)).toBe(true)
    expect((await source.read(1, 1_234_567, 1000)).equals(content.subarray(1_234_567, 1_235_567))).toBe(true)
    expect((await source.read(1, LARGE - 10, 1000)).equals(content.subarray(LARGE - 10))).toBe(true)
    expect((await source.read(2, 2, 1000)).toString()).toBe('all')
    expect(await source.read(2, 5, 10)).toHaveLength(0)
    const into = Buffer.alloc(10, '-')
    expect((await source.read(2, 0, 3, into)).toString()).toBe('sma')
    expect(into.toString()).toBe('sma-------')
    await expect(source.read(0, 0, 1)).rejects.toThrow('no content')
  })

  it('gives the same bytes whatever the pieces are that a stream is read in', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 12 }),
        fc.array(fc.tuple(fc.nat(500), fc.nat(60)), { maxLength: 10 }),
        async (contents, reads) => {
          const { source, indexes } = await sourceOf(contents.map((content) => Buffer.from(content)))
          await using _ = source
          const order = [...indexes].reverse()
          const stream = source.stream([0, ...order])
          const all = Buffer.concat([...contents].reverse())
          expect(stream.size).toBe(all.length)
          for (const [offset, length] of [...reads, [0, all.length], [all.length, 5]] as const) {
            expect((await stream.read(offset, length)).equals(all.subarray(offset, offset + length))).toBe(true)
          }
        },
      ),
      { numRuns: 30 },
    )
  })

  it('reads over the borders of large and small files', async () => {
    const contents = [
      randomBytes(100_000),
      Buffer.alloc(0),
      randomBytes(10),
      randomBytes(200_000),
      randomBytes(65_536),
      randomBytes(65_537),
    ]
    const { source, indexes } = await sourceOf(contents)
    await using _ = source
    const stream = source.stream(indexes)
    const all = Buffer.concat(contents)
    const pieces: Buffer[] = []
    for (let at = 0; at < stream.size; at += 70_001) pieces.push(await stream.read(at, 70_001))
    expect(Buffer.concat(pieces).equals(all)).toBe(true)
    expect((await stream.read(99_990, 1000)).equals(all.subarray(99_990, 100_990))).toBe(true)
    expect(await faulty(source)).toEqual([])
  })

  it('computes digests once, for all who ask', async () => {
    const contents = [randomBytes(LARGE), Buffer.alloc(0), Buffer.from('small'), randomBytes(LARGE)]
    const { source, indexes, folder } = await sourceOf(contents)
    await using _ = source
    const [first, second] = [source.digest(1), source.digest(1)]
    expect(second).toBe(first)
    expect(await Promise.all(indexes.map((index) => source.digest(index)))).toEqual(contents.map(sha256))
    expect(await faulty(source)).toEqual([])
    rmSync(join(folder, '0000'))
    expect(await source.digest(1)).toBe(sha256(contents[0] as Buffer))
    expect(await faulty(source)).toEqual([[1, 'E_SOURCE_CHANGED']])
  })

  describe.each([
    ['small', 1000],
    ['large', 300_000],
  ])('of a %s file', (_what, size) => {
    const changes: readonly [string, (path: string) => void][] = [
      ['became shorter', (path) => truncateSync(path, 500)],
      ['grew', (path) => appendFileSync(path, 'more')],
      ['is gone', (path) => rmSync(path)],
      ['was written to', (path) => writeFileSync(path, Buffer.alloc(size, 'n'))],
      [
        'was replaced by one of the same size and time',
        (path) => {
          writeFileSync(`${path}.new`, Buffer.alloc(size, 'n'))
          utimesSync(`${path}.new`, 1_000_000_000, 1_000_000_000)
          renameSync(`${path}.new`, path)
        },
      ],
      [
        'was written to, and its time set back',
        (path) => {
          // The clock of many file systems goes on in steps of some milliseconds.
          for (const since = statSync(path).ctimeMs; clockOf(dirname(path)) <= since; );
          writeFileSync(path, Buffer.alloc(size, 'n'))
          utimesSync(path, 1_000_000_000, 1_000_000_000)
        },
      ],
    ]
    const make = async (): Promise<{ path: string; source: LocalSource }> => {
      const folder = join(scratch.folder(), 'd')
      mkdirSync(folder)
      const path = join(folder, 'file')
      writeFileSync(path, Buffer.alloc(size, 'o'))
      utimesSync(path, 1_000_000_000, 1_000_000_000)
      const { manifest, paths } = await walkSources([path], policyOf())
      return { path, source: new LocalSource(manifest, paths) }
    }

    it.each(changes)('notices after it was read that it %s', async (_how, change) => {
      const { path, source } = await make()
      await using _ = source
      expect((await source.read(0, 0, size)).equals(Buffer.alloc(size, 'o'))).toBe(true)
      change(path)
      expect(await faulty(source)).toEqual([[0, 'E_SOURCE_CHANGED']])
    })

    it.each(changes.slice(0, 4))('notices while it is read that it %s, and keeps the place of everything', async (_how, change) => {
      const { path, source } = await make()
      await using _ = source
      const first = await source.read(0, 0, size / 2)
      change(path)
      const rest = await source.read(0, size / 2, size)
      expect(first.length + rest.length).toBe(size)
      expect(await faulty(source)).toEqual([[0, 'E_SOURCE_CHANGED']])
      await expect(source.digest(0)).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED', message: expect.stringContaining(path) })
    })

    it('reads zeros for what is missing', async () => {
      const { path, source } = await make()
      await using _ = source
      truncateSync(path, 500)
      expect((await source.read(0, 0, size)).equals(Buffer.concat([Buffer.alloc(500, 'o'), Buffer.alloc(size - 500)]))).toBe(true)
      rmSync(path)
      await using other = (await make()).source
      expect(await faulty(other)).toEqual([])
    })

    it('does not wait for a writer when a named pipe took its place', async () => {
      const { path, source } = await make()
      await using _ = source
      rmSync(path)
      execFileSync('mkfifo', [path])
      // Who waits all the same is set free.
      const writer = spawn('sh', ['-c', 'sleep 10; exec 3<>"$0"', path])
      try {
        expect((await source.read(0, 0, size)).equals(Buffer.alloc(size))).toBe(true)
        await expect(source.digest(0)).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED' })
        expect(await faulty(source)).toEqual([[0, 'E_SOURCE_CHANGED']])
      } finally {
        writer.kill()
      }
    })

    it('waits for who holds a lease on it (needs python3)', async ({ skip }) => {
      const { path, source } = await make()
      await using _ = source
      const holder = spawn('python3', ['-c', HOLD_LEASE, path], { stdio: ['ignore', 'pipe', 'inherit'] })
      try {
        const [said] = (await once(holder.stdout, 'data')) as [Buffer]
        if (String(said) === 'none\n') skip('no leases on this file system')
        expect((await source.read(0, 0, size)).equals(Buffer.alloc(size, 'o'))).toBe(true)
        expect(await faulty(source)).toEqual([])
      } finally {
        holder.kill('SIGKILL')
      }
    })

    it('has no digest of one that is gone', async () => {
      const { path, source } = await make()
      await using _ = source
      rmSync(path)
      await expect(source.digest(0)).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED' })
    })
  })

  it('notices that an empty file has grown', async () => {
    const { source, folder } = await sourceOf([Buffer.alloc(0)])
    await using _ = source
    appendFileSync(join(folder, '0000'), 'x')
    await expect(source.digest(1)).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED' })
  })

  it('notices that an empty file of a stream has grown', async () => {
    const { source, folder, indexes } = await sourceOf([Buffer.from('x'), Buffer.alloc(0), Buffer.alloc(0)])
    await using _ = source
    await source.stream(indexes).read(0, 10)
    expect(await faulty(source)).toEqual([])
    appendFileSync(join(folder, '0002'), 'x')
    expect(await faulty(source)).toEqual([[3, 'E_SOURCE_CHANGED']])
  })

  it.skipIf(!existsSync(LYING))('says of a file with less content than its size that it cannot be read (needs /sys)', async () => {
    const { manifest, paths } = await walkSources([LYING], policyOf())
    await using source = new LocalSource(manifest, paths)
    await expect(source.digest(0)).rejects.toMatchObject({ code: 'E_SOURCE_UNREADABLE', message: expect.stringContaining('less content') })
    expect(await faulty(source)).toEqual([[0, 'E_SOURCE_UNREADABLE']])
  })

  it('closes a file whose content cannot be read (needs /proc)', async ({ skip }) => {
    const path = '/proc/self/mem'
    if (!existsSync(path)) skip('no /proc')
    const open = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === `/proc/${process.pid}/mem`
        } catch {
          return false
        }
      }).length
    const before = open()
    await using source = new LocalSource([{ kind: 'file', name: 'mem', mode: 0o600, timeUs: 0, size: LARGE }], [path])
    for (let at = 0; at < 20; at += 1) {
      expect((await source.read(0, 0, 1000)).equals(Buffer.alloc(1000))).toBe(true)
    }
    await expect.poll(open, { timeout: 20_000 }).toBe(before)
    await expect(source.digest(0)).rejects.toMatchObject({ code: expect.stringMatching(/^E_SOURCE_/) })
  })

  it('holds few files open, and none at the end', async () => {
    const { source, indexes, folder } = await sourceOf(Array.from({ length: 12 }, () => randomBytes(70_000)))
    const open = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder)
        } catch {
          return false
        }
      }).length
    const stream = source.stream(indexes)
    for (let at = 0; at < stream.size; at += 100_000) {
      await stream.read(at, 100_000)
      expect(open()).toBeLessThanOrEqual(5)
    }
    await Promise.all(indexes.map((index) => source.read(index, 0, 70_000)))
    await source[Symbol.asyncDispose]()
    await expect.poll(open, { timeout: 20_000 }).toBe(0)
    await expect(source.read(1, 0, 1)).rejects.toMatchObject({ code: 'E_ABORTED' })
  })
})
