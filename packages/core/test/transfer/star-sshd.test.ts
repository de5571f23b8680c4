import { appendFileSync, chmodSync, lstatSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sshHostsUnavailable } from '../../../../test/testbed/ssh-hosts.mjs'
import { type CopyOptions, copyOptionsSchema } from '../../src/model/transfer.js'
import type { TransferCall, TransferEnd, TransferProgress } from '../../src/ports/transfer.js'
import type { Mover } from '../../src/transfer/mover.js'
import { ScpMover } from '../../src/transfer/scp/scp.js'
import { SftpMover } from '../../src/transfer/sftp/sftp.js'
import { SftpClient } from '../../src/transfer/sftp/sftp-client.js'
import { SftpLock } from '../../src/transfer/sftp/sftp-lock.js'
import { SftpPlace } from '../../src/transfer/sftp/sftp-place.js'
import { StarTransfer } from '../../src/transfer/star/star.js'
import { CONNECTORS, HostLab, noise, readBytes, writeTree } from './host-lab.js'
import { lockCases } from './lock-cases.js'

const reason = sshHostsUnavailable()
const why = reason === undefined ? '' : ` (needs sshd: ${reason})`

describe.skipIf(reason !== undefined)(`StarTransfer on real hosts${why}`, { timeout: 180_000 }, () => {
  let lab: HostLab
  beforeAll(async () => {
    lab = await HostLab.start(5, {
      overrides: { h4: { sshdLines: ['ForceCommand internal-sftp', 'Subsystem sftp internal-sftp'] }, h5: { maxSessions: 1 } },
    })
  })
  afterAll(async () => await lab?.[Symbol.asyncDispose]())

  const movers: readonly Mover[] = [new ScpMover(), new SftpMover()]
  const star = (mover: Mover, kinds?: ConstructorParameters<typeof StarTransfer>[1]['kinds']): StarTransfer =>
    new StarTransfer(lab.context, { name: mover.name, mover, kinds })
  const put = (transfer: StarTransfer, files: string[], ends: TransferEnd[], options: CopyOptions = {}, call?: TransferCall) =>
    transfer.put({ files, ends, policy: copyOptionsSchema.parse(options) }, call)
  const get = (transfer: StarTransfer, files: string[], ends: TransferEnd[], options: CopyOptions = {}, call?: TransferCall) =>
    transfer.get({ files, ends, policy: copyOptionsSchema.parse(options) }, call)

  function makeTree(): string {
    const folder = join(lab.newFolder(), 'tree')
    writeTree(folder, { 'a b': 'one', '-n': noise(100_000), 'deep/er/empty': '', 'deep/line\nend': 'two', 'deep/big': noise(1_000_003) })
    mkdirSync(join(folder, 'nothing'))
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe])]), 'odd')
    symlinkSync('a b', join(folder, 'link'))
    chmodSync(join(folder, 'a b'), 0o751)
    chmodSync(join(folder, 'deep'), 0o750)
    utimesSync(join(folder, 'a b'), 1_000_000_000, 1_000_000_000)
    utimesSync(join(folder, 'deep'), 1_100_000_000, 1_100_000_000)
    return folder
  }

  /** Everything that can be compared, by name. */
  function look(folder: string, seconds = false): unknown {
    return readdirSync(folder, { recursive: true, encoding: 'latin1' })
      .sort()
      .map((name) => {
        const path = Buffer.from(`${folder}/${name}`, 'latin1')
        const stats = lstatSync(path)
        const time = seconds ? Math.floor(stats.mtimeMs / 1000) : Math.round(stats.mtimeMs)
        if (stats.isSymbolicLink()) return [name, readlinkSync(path)]
        return [name, stats.mode, time, stats.isFile() ? readBytes(`${folder}/${name}`).toString('base64').slice(0, 1e4) : 'directory']
      })
  }

  const each = movers.flatMap((mover) => CONNECTORS.map((connector) => ({ mover, connector, name: mover.name })))

  it.each(each)('$name over $connector brings a tree to hosts and back, over one login each', async ({ mover, connector }) => {
    await lab.newPool()
    const transfer = star(mover)
    const tree = makeTree()
    const before = lab.bed.logins()
    const names = ['h1', 'h2', 'h3']
    const ends = names.map((name) => lab.end(name, join(lab.newFolder(), 'new'), { connector }))
    const progress: TransferProgress[] = []
    const results = await put(transfer, [tree], ends, { create: true }, { onProgress: (one) => progress.push(one) })
    for (const [index, result] of results.entries()) {
      expect(result).toMatchObject({
        host: names[index],
        outcome: 'done',
        files: 6,
        same: 0,
        bytes: 1_100_012,
        verified: 'sha256',
        via: mover.name,
      })
      expect(look(join(ends[index]!.directory, 'tree'))).toEqual(look(tree))
      expect(readdirSync(ends[index]!.directory)).toEqual(['tree'])
      const told = progress.filter((one) => one.index === index)
      expect([...new Set(told.map(({ phase }) => phase))]).toEqual(['connecting', 'looking', 'moving', 'checking', 'ended'])
      expect(told.at(-1)).toMatchObject({ bytes: 1_100_012, total: 1_100_012, result })
    }
    const again = await put(transfer, [tree], ends)
    expect(again.map(({ outcome, bytes, same }) => [outcome, bytes, same])).toEqual(names.map(() => ['skipped-same', 0, 6]))

    const homes = names.map((name) => lab.end(name, lab.newFolder(), { connector }))
    const fetched = await get(transfer, [join(ends[0]!.directory, 'tr*')], homes)
    for (const [index, result] of fetched.entries()) {
      expect(result).toMatchObject({ host: names[index], outcome: 'done', files: 6, bytes: 1_100_012, directory: homes[index]!.directory })
      expect(look(join(homes[index]!.directory, 'tree'))).toEqual(look(tree))
    }
    expect(lab.bed.logins() - before).toBe(3)
  })

  it.each(movers)('$name says of each host what is wrong with it, and serves the others', async (mover) => {
    const transfer = star(mover)
    const file = join(lab.newFolder(), 'file')
    writeFileSync(file, 'content')
    lab.bed.stopHost('h3')
    try {
      await lab.newPool()
      const blocked = lab.newFolder()
      mkdirSync(join(blocked, 'file'))
      const ends = [
        lab.end('h1', lab.newFolder()),
        lab.end('h3', lab.newFolder()),
        lab.end('h2', join(lab.newFolder(), 'missing')),
        lab.end('h2', blocked),
      ]
      const results = await put(transfer, [file], ends)
      expect(results).toMatchObject([
        { outcome: 'done' },
        { outcome: 'unreachable', error: { code: 'E_HOST_REFUSED' } },
        { outcome: 'failed', error: { code: 'E_TARGET_MISSING' } },
        { outcome: 'failed', error: { code: 'E_TARGET_KIND' }, failures: [{ file: 'file', code: 'E_TARGET_KIND' }] },
      ])
      expect(readdirSync(ends[0]!.directory)).toEqual(['file'])
      const homes = ['h1', 'h3'].map((name) => lab.end(name, lab.newFolder()))
      expect(await get(transfer, [file], homes)).toMatchObject([{ outcome: 'done' }, { outcome: 'unreachable' }])
      expect(await get(transfer, [`${file}s`], homes)).toMatchObject([
        { outcome: 'failed', error: { code: 'E_SOURCE_MISSING' } },
        { outcome: 'unreachable' },
      ])
    } finally {
      await lab.bed.startHost('h3')
    }
  })

  it.each(['py', 'pl', 'sh'] as const)('%s looks after the files there as well as any other', async (kind) => {
    const transfer = star(new ScpMover(), [kind])
    const tree = makeTree()
    const [there, home] = [lab.newFolder(), lab.newFolder()]
    expect(await put(transfer, [tree], [lab.end('h1', there)])).toMatchObject([{ outcome: 'done', files: 6, bytes: 1_100_012 }])
    const again = await put(transfer, [tree], [lab.end('h1', there)])
    expect(again[0]?.error).toBeUndefined()
    expect(again).toMatchObject([{ outcome: 'skipped-same' }])
    const fetched = await get(transfer, [join(there, 'tree')], [lab.end('h1', home)])
    expect(fetched[0]?.failures).toBeUndefined()
    expect(fetched).toMatchObject([{ outcome: 'done', files: 6 }])
    // Where there are only POSIX tools, times may have whole seconds.
    expect(look(join(there, 'tree'), true)).toEqual(look(tree, true))
    expect(look(join(home, 'tree'), true)).toEqual(look(tree, true))
  })

  it.each(CONNECTORS)('an account that gives only sftp is served over %s', async (connector) => {
    const transfer = star(new SftpMover())
    const tree = makeTree()
    const there = join(lab.newFolder(), 'a/new one')
    const home = lab.newFolder()
    const end = lab.end('h4', there, { connector })
    expect(await put(transfer, [tree], [end])).toMatchObject([{ outcome: 'failed', error: { code: 'E_TARGET_MISSING' } }])
    expect(await put(transfer, [tree], [end], { create: true })).toMatchObject([
      { outcome: 'done', files: 6, bytes: 1_100_012, verified: 'size' },
    ])
    expect(readdirSync(there)).toEqual(['tree'])
    expect(look(join(there, 'tree'), true)).toEqual(look(tree, true))
    expect(await put(transfer, [tree], [end])).toMatchObject([{ outcome: 'skipped-same', same: 6, verified: 'time' }])
    expect(await put(transfer, [tree], [end], { checksum: true })).toMatchObject([{ outcome: 'skipped-same', verified: 'sha256' }])
    writeFileSync(join(there, 'tree/a b'), 'ONE')
    expect(await put(transfer, [tree], [end], { checksum: true })).toMatchObject([{ outcome: 'done', files: 1, verified: 'sha256' }])

    const fetched = await get(transfer, [join(there, 't?ee')], [lab.end('h4', home, { connector })])
    expect(fetched).toMatchObject([{ outcome: 'done', files: 6, bytes: 1_100_012, verified: 'size' }])
    expect(look(join(home, 'tree'), true)).toEqual(look(tree, true))
    const again = await get(transfer, [join(there, 'tree')], [lab.end('h4', lab.newFolder(), { connector })], { checksum: true })
    expect(again).toMatchObject([{ outcome: 'done', files: 6, verified: 'sha256' }])
    expect(await get(transfer, [join(there, 'nothing*')], [lab.end('h4', home, { connector })])).toMatchObject([
      { outcome: 'failed', error: { code: 'E_SOURCE_MISSING' } },
    ])
    mkdirSync(join(there, 'file'))
    const file = join(lab.newFolder(), 'file')
    writeFileSync(file, 'x')
    expect(await put(transfer, [file], [end])).toMatchObject([{ outcome: 'failed', error: { code: 'E_TARGET_KIND' } }])
  })

  it('over sftp alone, who lost its folder of parts to another transfer puts nothing in place and removes nothing', async () => {
    const { pooled } = await lab.reach('h4')
    await using client = await SftpClient.start(pooled)
    const directory = lab.newFolder()
    const entry = { kind: 'file', name: 'a', mode: 0o600, timeUs: 1e15, size: 1 } as const
    const place = new SftpPlace(client)
    const { parts = '' } = await place.open({ manifest: [entry], directory, policy: copyOptionsSchema.parse({}), partsId: 'abc' })
    writeFileSync(join(parts, '0'), 'x')
    writeFileSync(join(parts, 'lock'), 'somebody else 1 2 3\n')
    await expect(place.commit([{ index: 0, sha256: undefined }])).rejects.toMatchObject({ code: 'E_TARGET_BUSY' })
    await place.abandon({ keep: false })
    expect(readdirSync(parts).sort()).toEqual(['0', 'lock'])
    expect(readdirSync(directory)).toEqual(['.cahier-abc'])
    // Who is there is judged as everywhere.
    for (const { title, line, ageS, isHeld } of lockCases()) {
      writeFileSync(join(parts, 'lock'), line)
      const seconds = Date.now() / 1000 - ageS
      utimesSync(join(parts, 'lock'), seconds, seconds)
      const lock = await SftpLock.take(client, parts)
      expect((await lock?.isMine()) ?? false, title).toBe(!isHeld)
      await lock?.release()
      expect(readdirSync(parts).sort()).toEqual(isHeld ? ['0', 'lock'] : ['0'])
    }
    // What this program held over a connection that has ended, nobody holds.
    const ended = await SftpClient.start(pooled)
    writeFileSync(join(parts, 'lock'), '')
    utimesSync(join(parts, 'lock'), 1_000_000_000, 1_000_000_000)
    expect(await SftpLock.take(ended, parts)).toBeDefined()
    await expect(SftpLock.take(client, parts)).resolves.toBeUndefined()
    await ended[Symbol.asyncDispose]()
    const lock = await SftpLock.take(client, parts)
    expect(await lock?.isMine()).toBe(true)
    await lock?.release()
    await expect(SftpLock.take(client, join(directory, 'gone'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('over sftp alone, who cannot clear away what lies among the parts lets go of them', async () => {
    const { pooled } = await lab.reach('h4')
    await using client = await SftpClient.start(pooled)
    const directory = lab.newFolder()
    const parts = join(directory, '.cahier-abc')
    mkdirSync(parts, { mode: 0o700 })
    mkdirSync(join(parts, 'folder'))
    const entry = { kind: 'file', name: 'a', mode: 0o600, timeUs: 1e15, size: 1 } as const
    const place = new SftpPlace(client)
    await expect(place.open({ manifest: [entry], directory, policy: copyOptionsSchema.parse({}), partsId: 'abc' })).rejects.toThrow()
    expect(readdirSync(parts)).toEqual(['folder'])
  })

  it.each([
    ['we allow', 'h1', { sessions: 1 }],
    ['the server allows', 'h5', {}],
  ] as const)('a host on which %s one session only is told so at once', async (_who, name, options) => {
    for (const connector of CONNECTORS) {
      await lab.newPool()
      const file = join(lab.newFolder(), 'file')
      writeFileSync(file, 'x')
      const end = lab.end(name, lab.newFolder(), { ...options, connector })
      const expected = [{ outcome: 'failed', error: { code: 'E_NOT_SUPPORTED', message: expect.stringContaining('two') } }]
      for (const mover of movers) {
        for (const copy of [put, get]) {
          const results = await copy(star(mover), [file], [end])
          expect(results).toMatchObject(expected)
          // Who waits for a second one does so for a minute.
          expect(results[0]?.seconds).toBeLessThan(30)
        }
      }
      expect(readdirSync(end.directory)).toEqual([])
    }
    await lab.newPool()
  })

  it('copies with a host of which each has a session, and none is left for their content, wait for each other', async () => {
    const transfer = star(new SftpMover())
    const copies = Array.from({ length: 6 }, async (_, n) => {
      const file = join(lab.newFolder(), 'file')
      writeFileSync(file, `${n}`)
      const end = lab.end('h1', lab.newFolder(), { sessions: 4 })
      const results = await put(transfer, [file], [end])
      return [results[0]?.outcome, readdirSync(end.directory)]
    })
    expect(await Promise.all(copies)).toEqual(copies.map(() => ['done', ['file']]))
  })

  const SIZE = 4_000_000
  /** How far a copy is, is told every 200 ms: not so fast that it may be at its end before anything is told of its middle. */
  const LIMIT = '3MB/s'
  function bigFile(): { readonly path: string; readonly content: Buffer } {
    const path = join(lab.newFolder(), 'big')
    const content = noise(SIZE)
    writeFileSync(path, content)
    return { path, content }
  }

  it.each(['h1', 'h4'])('what came before an end by the user is not sent again, to %s', async (name) => {
    const transfer = star(new SftpMover())
    const { path, content } = bigFile()
    const end = lab.end(name, lab.newFolder())
    const controller = new AbortController()
    const onProgress = ({ bytes }: TransferProgress): void => void (bytes > SIZE / 4 && controller.abort())
    const first = await put(transfer, [path], [end], { limit: LIMIT }, { signal: controller.signal, onProgress })
    expect(first).toMatchObject([{ outcome: 'failed', error: { code: 'E_ABORTED' } }])
    expect(readdirSync(end.directory)).toEqual([expect.stringMatching(/^\.cahier-/)])
    const [parts = ''] = readdirSync(end.directory)
    // A byte of what came is not what was sent: it comes again, from the beginning.
    const part = join(end.directory, parts, '0')
    const kept = lstatSync(part).size
    expect(kept).toBeGreaterThan(SIZE / 8)
    const second = await put(transfer, [path], [end], name === 'h4' ? { checksum: true } : {})
    expect(second).toMatchObject([{ outcome: 'done', files: 1 }])
    // The server may have written some more after we had gone.
    expect(second[0]?.bytes).toBeLessThanOrEqual(SIZE - kept)
    expect(readBytes(join(end.directory, 'big')).equals(content)).toBe(true)
    expect(readdirSync(end.directory)).toEqual(['big'])
  })

  it('parts that are not what was sent come again, from the beginning', async () => {
    const transfer = star(new SftpMover())
    const { path, content } = bigFile()
    const end = lab.end('h1', lab.newFolder())
    const controller = new AbortController()
    const onProgress = ({ bytes }: TransferProgress): void => void (bytes > SIZE / 4 && controller.abort())
    await put(transfer, [path], [end], { limit: LIMIT }, { signal: controller.signal, onProgress })
    const part = join(end.directory, readdirSync(end.directory)[0] ?? '', '0')
    const kept = readBytes(part)
    kept[7] = (kept[7] ?? 0) ^ 1
    writeFileSync(part, kept)
    const again = await put(transfer, [path], [end])
    expect(again[0]?.bytes).toBeGreaterThanOrEqual(SIZE)
    expect(again).toMatchObject([{ outcome: 'done', files: 1 }])
    expect(readBytes(join(end.directory, 'big')).equals(content)).toBe(true)
    expect(readdirSync(end.directory)).toEqual(['big'])
  })

  it.each(movers)('$name goes on by itself when the connection is lost in the middle', async (mover) => {
    for (const connector of CONNECTORS) {
      await lab.newPool()
      const { path, content } = bigFile()
      const end = lab.end('h1', lab.newFolder(), { connector })
      const before = lab.bed.logins('h1')
      let isCut = false
      const onProgress = ({ bytes }: TransferProgress): void => {
        if (isCut || bytes < SIZE / 4) return
        isCut = true
        lab.bed.dropSessions('h1')
      }
      const results = await put(star(mover), [path], [end], { limit: LIMIT }, { onProgress })
      expect(results).toMatchObject([{ outcome: 'done', files: 1, verified: 'sha256' }])
      expect(readBytes(join(end.directory, 'big')).equals(content)).toBe(true)
      expect(readdirSync(end.directory)).toEqual(['big'])
      expect(lab.bed.logins('h1') - before).toBe(2)

      if (connector === 'openssh') continue
      isCut = false
      const home = lab.end('h1', lab.newFolder(), { connector })
      const fetched = await get(star(mover), [path], [home], { limit: LIMIT }, { onProgress })
      expect(fetched[0]?.error).toBeUndefined()
      expect(fetched).toMatchObject([{ outcome: 'done', files: 1 }])
      expect(readBytes(join(home.directory, 'big')).equals(content)).toBe(true)
    }
  })

  it.each(['py', 'pl', 'sh'] as const)(
    'what looks after the files (%s) is tried once more when it was killed, and not twice',
    async (kind) => {
      await lab.newPool()
      const { path, content } = bigFile()
      const transfer = new StarTransfer(lab.context, { name: 'sftp', mover: new SftpMover(), kinds: [kind] })
      for (const most of kind === 'pl' ? [1, 2] : [1]) {
        const end = lab.end('h1', lab.newFolder())
        const before = lab.bed.logins('h1')
        const killed = new Set<number>()
        const movedAtRetry: number[] = []
        // Its lock names it.
        const onProgress = ({ bytes, phase }: TransferProgress): void => {
          if (phase === 'connecting' && killed.size > 0) movedAtRetry.push(bytes)
          if (killed.size === most || phase !== 'moving' || bytes < SIZE / 8) return
          const parts = readdirSync(end.directory).find((name) => name.startsWith('.cahier-')) ?? ''
          const pid = Number(
            readBytes(join(end.directory, parts, 'lock'))
              .toString()
              .split(' ')[2],
          )
          expect(pid).toBeGreaterThan(1)
          if (!killed.has(pid)) process.kill(pid, 'SIGKILL')
          killed.add(pid)
        }
        // So slow that its end is heard of long before that of the content.
        const [result] = await put(transfer, [path], [end], { limit: '1MB/s' }, { onProgress })
        expect(killed.size).toBe(most)
        expect(lab.bed.logins('h1') - before).toBeLessThanOrEqual(1)
        if (most === 1) {
          expect(result).toMatchObject({ outcome: 'done', files: 1, verified: 'sha256' })
          expect(result?.bytes).toBeLessThan(SIZE * 1.5)
          // Nothing goes on into parts that nobody holds.
          expect(movedAtRetry[0]).toBeLessThan(SIZE * 0.9)
          expect(readBytes(join(end.directory, 'big')).equals(content)).toBe(true)
          expect(readdirSync(end.directory)).toEqual(['big'])
        } else expect(result).toMatchObject({ outcome: 'failed', error: { code: 'E_COPY_LOST' } })
      }
    },
  )

  it('a host that is cut in the middle is unreachable, the others are served, and it goes on when it is back', async () => {
    await lab.newPool()
    const { path, content } = bigFile()
    // Impatient with the one that is cut only: the other may be slow.
    const impatient = { keepAlive: '800ms', connectTimeout: '4s' }
    const ends = [lab.end('h2', lab.newFolder(), impatient), lab.end('h3', lab.newFolder())]
    let isCut = false
    const onProgress = ({ index, bytes }: TransferProgress): void => {
      if (isCut || index !== 0 || bytes < SIZE / 8) return
      isCut = true
      lab.bed.cutHost('h2')
    }
    try {
      const results = await put(star(new SftpMover()), [path], ends, { limit: LIMIT }, { onProgress })
      expect(results).toMatchObject([{ outcome: 'unreachable' }, { outcome: 'done', files: 1 }])
      expect(readBytes(join(ends[1]!.directory, 'big')).equals(content)).toBe(true)
      expect(readdirSync(ends[0]!.directory)).not.toContain('big')
    } finally {
      lab.bed.thawHost('h2')
      await lab.newPool()
    }
    // The agent of before may still be there, and nobody at its other end.
    const again = await put(star(new SftpMover()), [path], [lab.end('h2', ends[0]!.directory)])
    expect(again[0]?.error).toBeUndefined()
    expect(again).toMatchObject([{ outcome: 'done', files: 1, verified: 'sha256' }])
    expect(again[0]?.bytes).toBeLessThan(SIZE)
    expect(readBytes(join(ends[0]!.directory, 'big')).equals(content)).toBe(true)
  })

  it('a file that changes while it is copied is not put in place', async () => {
    const { path } = bigFile()
    const steady = join(lab.newFolder(), 'steady')
    writeFileSync(steady, 'steady')
    for (const verb of ['put', 'get'] as const) {
      const end = lab.end('h1', lab.newFolder())
      let isChanged = false
      const onProgress = ({ bytes }: TransferProgress): void => {
        if (isChanged || bytes < SIZE / 4) return
        isChanged = true
        appendFileSync(path, 'more')
      }
      const copy = verb === 'put' ? put : get
      const results = await copy(star(new SftpMover()), [path, steady], [end], { limit: LIMIT }, { onProgress })
      expect(results).toMatchObject([
        { outcome: 'failed', files: 1, error: { code: 'E_SOURCE_CHANGED' }, failures: [{ file: 'big', code: 'E_SOURCE_CHANGED' }] },
      ])
      expect(readdirSync(end.directory)).toEqual(['steady'])
    }
  })
})
