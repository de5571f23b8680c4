import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { disksUnavailable, mountDisk } from '../../../../test/testbed/disks.mjs'
import { childrenOf, commandLine, isAlive } from '../../../../test/testbed/proc.mjs'
import { sshHostsUnavailable } from '../../../../test/testbed/ssh-hosts.mjs'
import { bytesBelow } from '../../src/conformance/transfer-trees.js'
import { Pace } from '../../src/transfer/pace.js'
import { RsyncMover, rsyncThere } from '../../src/transfer/rsync/rsync.js'
import { bytePath, CONNECTORS, HostLab, movedFile, moveOptions, noise, readBytes, untilLetGo } from './host-lab.js'

const rsync = spawnSync('rsync', ['--version'])
const reason = sshHostsUnavailable() ?? (rsync.status === 0 ? undefined : 'needs rsync')
const why = reason === undefined ? '' : ` (needs sshd, rsync: ${reason})`
const diskReason = disksUnavailable()
const withCode = (code: string): unknown => expect.objectContaining({ code })

const ODD = Buffer.from([...Buffer.from('-a b\n\'"\\$(x)`!*?[a]\\#041'), ...Array.from({ length: 128 }, (_, n) => n + 128)]).toString(
  'latin1',
)

describe.skipIf(reason !== undefined)(`RsyncMover on real hosts${why}`, { timeout: 180_000 }, () => {
  const mover = new RsyncMover()
  let lab: HostLab
  beforeAll(async () => {
    vi.stubEnv('TMPDIR', mkdtempSync(join(tmpdir(), 'cahier-test-')))
    lab = await HostLab.start(2, { overrides: { h2: { rcNoise: 'Welcome!\nYou have mail.' } } })
  })
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
    rmSync(tmpdir(), { recursive: true, force: true })
    vi.unstubAllEnvs()
  })
  const leftHere = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('cahier-rsync-'))

  it.each(CONNECTORS)('sends and receives files of any size and name over %s', async (connector) => {
    const host = await lab.reach('h2', { connector })
    const contents = [0, 1, 32_768, 70_001, 3_000_017].map((bytes, n) => noise(bytes, n + 1))
    const from = bytePath(lab.newFolder())
    const there = `${bytePath(lab.newFolder())}/${ODD}`
    const back = bytePath(lab.newFolder())
    mkdirSync(Buffer.from(there, 'latin1'))
    const files = contents.map((content, n) => {
      const path = `${from}/${n}${ODD}`
      writeFileSync(Buffer.from(path, 'latin1'), content)
      return movedFile(n * 7, path, content.length)
    })
    const size = contents.reduce((sum, { length }) => sum + length, 0)
    const out = moveOptions()
    expect(await mover.send(host, files, there, out)).toEqual(new Map())
    expect(out.told.bytes).toBe(size)
    expect(out.told.files.sort((a, b) => a - b)).toEqual([0, 7, 14, 21, 28])
    for (const [n, content] of contents.entries()) expect(readBytes(`${there}/${n * 7}`).equals(content)).toBe(true)

    const home = moveOptions()
    expect(await mover.receive(host, files, back, home)).toEqual(new Map())
    expect(home.told.bytes).toBe(size)
    expect(home.told.files.sort((a, b) => a - b)).toEqual([0, 7, 14, 21, 28])
    for (const [n, content] of contents.entries()) expect(readBytes(`${back}/${n * 7}`).equals(content)).toBe(true)
    expect(readdirSync(back).sort()).toEqual(['0', '14', '21', '28', '7'])
    await untilLetGo(host)
    expect(leftHere()).toEqual([])
  })

  it('moves many small files, also of the same name', async () => {
    const host = await lab.reach('h1')
    const [from, there, back] = [lab.newFolder(), lab.newFolder(), lab.newFolder()]
    const files = Array.from({ length: 200 }, (_, n) => {
      mkdirSync(join(from, `${n}`))
      writeFileSync(join(from, `${n}`, 'same'), `${n}\n`)
      return movedFile(n, join(from, `${n}`, 'same'), `${n}\n`.length)
    })
    expect(await mover.send(host, files, there, moveOptions())).toEqual(new Map())
    expect(await mover.receive(host, files, back, moveOptions())).toEqual(new Map())
    for (const folder of [there, back]) {
      expect(readdirSync(folder)).toHaveLength(200)
      for (const { index } of files) expect(readBytes(join(folder, `${index}`)).toString()).toBe(`${index}\n`)
    }
  })

  it('follows links, and finds what is above a link', async () => {
    const host = await lab.reach('h1')
    const [from, back] = [lab.newFolder(), lab.newFolder()]
    mkdirSync(join(from, 'real/inner'), { recursive: true })
    writeFileSync(join(from, 'real/file'), 'above')
    symlinkSync(join(from, 'real/inner'), join(from, 'shortcut'))
    symlinkSync('real/file', join(from, 'link'))
    const files = [
      movedFile(0, join(from, 'link'), 5),
      movedFile(1, `${from}/./shortcut/..//file`, 5),
      movedFile(2, `${from}/shortcut/../../link`, 5),
    ]
    // The third is the first under another name.
    expect(await mover.receive(host, files.slice(0, 2), back, moveOptions())).toEqual(new Map())
    expect(readBytes(join(back, '0')).toString()).toBe('above')
    expect(readBytes(join(back, '1')).toString()).toBe('above')
    expect(await mover.receive(host, files.slice(2), back, moveOptions())).toEqual(new Map())
    expect(readBytes(join(back, '2')).toString()).toBe('above')
  })

  it.each(['send', 'receive'] as const)('goes on with parts, and corrects what is wrong in them: %s', async (way) => {
    const host = await lab.reach('h1')
    const [from, parts] = [lab.newFolder(), lab.newFolder()]
    const content = noise(2_000_000)
    writeFileSync(join(from, 'half'), content)
    writeFileSync(join(parts, '0'), content.subarray(0, 1_500_000))
    writeFileSync(join(from, 'wrong'), content)
    writeFileSync(join(parts, '1'), noise(1_500_000, 2))
    writeFileSync(join(from, 'long'), content)
    writeFileSync(join(parts, '2'), Buffer.concat([content, noise(1000)]))
    const options = moveOptions()
    const files = [
      movedFile(0, join(from, 'half'), content.length, 1_500_000),
      movedFile(1, join(from, 'wrong'), content.length, 1_500_000),
      movedFile(2, join(from, 'long'), content.length, content.length),
    ]
    expect(await mover[way](host, files, parts, options)).toEqual(new Map())
    for (const { index } of files) expect(readBytes(join(parts, `${index}`)).equals(content)).toBe(true)
  })

  it.each(['send', 'receive'] as const)('moves only what differs from a part that began as a copy: %s', async (way) => {
    const host = await lab.reach('h1')
    const [from, parts] = [lab.newFolder(), lab.newFolder()]
    const content = noise(2_000_000)
    const older = Buffer.concat([content.subarray(0, 700_000), Buffer.from('something else'), content.subarray(700_001, 1_900_000)])
    writeFileSync(join(from, 'file'), content)
    writeFileSync(join(parts, '0'), older)
    const options = moveOptions()
    expect(await mover[way](host, [movedFile(0, join(from, 'file'), content.length)], parts, options)).toEqual(new Map())
    expect(readBytes(join(parts, '0')).equals(content)).toBe(true)
    expect(options.told.bytes).toBeLessThan(300_000)
    expect(readdirSync(parts)).toEqual(['0'])
  })

  it('names what it could not bring, and brings the rest', async () => {
    const host = await lab.reach('h1')
    const [from, there, back] = [lab.newFolder(), lab.newFolder(), lab.newFolder()]
    writeFileSync(join(from, 'good'), 'good')
    const files = [
      movedFile(0, join(from, 'gone'), 4),
      movedFile(1, join(from, 'good'), 4),
      movedFile(2, `${bytePath(from)}/${ODD}`, 4),
      movedFile(3, join(from, 'good'), 4),
    ]
    mkdirSync(join(there, '3', 'full'), { recursive: true })
    const sent = await mover.send(host, files, there, moveOptions())
    expect([...sent.keys()].sort()).toEqual([0, 2, 3])
    expect(sent.get(0)).toEqual({ code: 'E_SOURCE_CHANGED', message: `${join(from, 'gone')} was there, and is gone` })
    expect(readBytes(join(there, '1')).toString()).toBe('good')
    const received = await mover.receive(host, files.slice(0, 3), back, moveOptions())
    expect([...received.keys()].sort()).toEqual([0, 2])
    expect(received.get(2)).toMatchObject({ code: 'E_SOURCE_CHANGED' })
    expect(readdirSync(back)).toEqual(['1'])
  })

  it.skipIf(diskReason !== undefined)(`says that there is no room${diskReason === undefined ? '' : ` (${diskReason})`}`, async () => {
    const host = await lab.reach('h1')
    const disk = await mountDisk({ size: '1m' })
    try {
      const from = lab.newFolder()
      writeFileSync(join(from, 'large'), noise(3_000_000))
      const failures = await mover.send(host, [movedFile(0, join(from, 'large'), 3_000_000)], bytePath(disk.there), moveOptions())
      expect(failures.get(0)).toMatchObject({ code: 'E_TARGET_FULL' })
    } finally {
      await disk.end()
    }
  })

  it.each(['send', 'receive'] as const)('keeps a limit, and keeps what came when it is given up: %s', async (way) => {
    const host = await lab.reach('h1')
    const [from, parts] = [lab.newFolder(), lab.newFolder()]
    const content = noise(8_000_000)
    writeFileSync(join(from, 'large'), content)
    const end = new AbortController()
    const pace = new Pace(2_000_000)
    let bytes = 0
    const began = performance.now()
    const moving = mover[way](host, [movedFile(0, join(from, 'large'), content.length)], parts, {
      ...moveOptions({ signal: end.signal, pace }),
      onBytes: (count) => {
        bytes += count
        // What has been sent lies on the disk a little later.
        if (bytes >= 1_000_000 && bytesBelow(parts) > 0) end.abort(new Error('enough'))
      },
    })
    await expect(moving).rejects.toThrow('enough')
    expect(performance.now() - began).toBeGreaterThan(300)
    await untilLetGo(host)
    expect(readdirSync(parts)).toEqual(['0'])
    const part = readBytes(join(parts, '0'))
    expect(part.length).toBeGreaterThan(0)
    expect(part.equals(content.subarray(0, part.length))).toBe(true)
    expect(leftHere()).toEqual([])
  })

  it('says that a host has no rsync', async () => {
    const host = await lab.reach('h1')
    expect(await rsyncThere(host)).toBe(true)
    const { home } = lab.bed.hosts.find(({ name }) => name === 'h1')!
    // In front of all others on the search path of the test host.
    const bin = join(home, '..', 'bin')
    mkdirSync(bin, { recursive: true })
    writeFileSync(join(bin, 'rsync'), '#!/bin/sh\nexit 127\n', { mode: 0o755 })
    try {
      const from = lab.newFolder()
      writeFileSync(join(from, 'a'), 'a')
      await expect(mover.send(host, [movedFile(0, join(from, 'a'), 1)], lab.newFolder(), moveOptions())).rejects.toEqual(
        withCode('E_NOT_SUPPORTED'),
      )
    } finally {
      rmSync(join(bin, 'rsync'))
    }
  })

  it('says that this machine has no rsync', async () => {
    const host = await lab.reach('h1')
    const before = process.env['PATH']
    process.env['PATH'] = '/nonexistent'
    try {
      const moving = mover.send(host, [movedFile(0, '/etc/hostname', 1)], lab.newFolder(), moveOptions())
      await expect(moving).rejects.toMatchObject({ code: 'E_NOT_SUPPORTED', message: 'rsync is not installed on this machine' })
    } finally {
      process.env['PATH'] = before
    }
    expect(leftHere()).toEqual([])
  })

  it('says that the rsync here, or that of a host, is none that understands it', async () => {
    const host = await lab.reach('h1')
    const bin = lab.newFolder()
    const usage =
      '#!/bin/sh\necho "openrsync: unrecognized option" >&2\necho "usage: openrsync [-aDgloprtv] source ... directory" >&2\nexit 1\n'
    writeFileSync(join(bin, 'rsync'), usage, { mode: 0o755 })
    const from = lab.newFolder()
    writeFileSync(join(from, 'a'), 'a')
    const moving = () => mover.send(host, [movedFile(0, join(from, 'a'), 1)], lab.newFolder(), moveOptions())
    const before = process.env['PATH']
    process.env['PATH'] = `${bin}:${before}`
    try {
      await expect(moving()).rejects.toMatchObject({ code: 'E_NOT_SUPPORTED', message: expect.stringMatching(/this machine.*usage/) })
    } finally {
      process.env['PATH'] = before
    }
    const there = join(lab.bed.hosts[0]!.directory, 'bin/rsync')
    writeFileSync(there, usage, { mode: 0o755 })
    try {
      await expect(moving()).rejects.toMatchObject({ code: 'E_NOT_SUPPORTED', message: expect.stringMatching(/rsync on .*usage/) })
    } finally {
      rmSync(there)
    }
    await expect(mover.send(host, [movedFile(0, join(from, 'a'), 1)], join(from, 'no such folder'), moveOptions())).rejects.toMatchObject({
      code: 'E_TRANSFER',
      message: expect.stringContaining('no such folder'),
    })
    expect(leftHere()).toEqual([])
  })

  it('brings a file that is asked for under two names, and what is not above a folder that is gone', async () => {
    const host = await lab.reach('h1')
    const [from, back] = [lab.newFolder(), lab.newFolder()]
    mkdirSync(join(from, 'sub'))
    writeFileSync(join(from, 'sub/file'), 'twice')
    writeFileSync(join(back, '4'), 'older')
    const files = [
      movedFile(1, join(from, 'sub/file'), 5),
      movedFile(2, `${from}/gone/../sub/file`, 5),
      movedFile(3, `${from}/sub/../sub/file`, 5),
      movedFile(4, join(from, 'sub/file'), 5),
      movedFile(5, join(from, 'absent'), 5),
      movedFile(6, join(from, 'absent'), 5),
    ]
    const failures = await mover.receive(host, files, back, moveOptions())
    expect([...failures].sort(([a], [b]) => a - b)).toMatchObject([
      [2, { code: 'E_SOURCE_CHANGED' }],
      [5, { code: 'E_SOURCE_CHANGED' }],
      [6, { code: 'E_SOURCE_CHANGED' }],
    ])
    expect(readdirSync(back).sort()).toEqual(['1', '3', '4'])
    for (const name of ['1', '3', '4']) expect(readBytes(join(back, name)).toString()).toBe('twice')
  })

  it('makes links once for hosts that get the same files, and apart for others', async () => {
    const hosts = [await lab.reach('h1'), await lab.reach('h2')] as const
    const from = lab.newFolder()
    for (const name of ['a', 'b', 'c']) writeFileSync(join(from, name), noise(400_000, name.charCodeAt(0)))
    const file = (index: number, name: string) => movedFile(index, join(from, name), 400_000)
    const most = { folders: 0 }
    const send = async (host: (typeof hosts)[number], files: readonly ReturnType<typeof file>[]): Promise<void> => {
      const there = lab.newFolder()
      const options = moveOptions({ pace: new Pace(2_000_000), onBytes: () => (most.folders = Math.max(most.folders, leftHere().length)) })
      expect(await mover.send(host, files, there, options)).toEqual(new Map())
      for (const { index, path } of files) expect(readBytes(join(there, `${index}`)).equals(readFileSync(path))).toBe(true)
    }
    await Promise.all([send(hosts[0], [file(0, 'a'), file(1, 'b')]), send(hosts[1], [file(1, 'b'), file(2, 'c')])])
    expect(most.folders).toBe(1)
    await Promise.all([send(hosts[0], [file(0, 'a')]), send(hosts[1], [file(0, 'b')])])
    expect(most.folders).toBe(2)
    expect(leftHere()).toEqual([])
  })

  it.each(['here', 'there'] as const)('ends when rsync is killed %s, and keeps what came', async (where) => {
    const host = await lab.reach('h1')
    const [from, parts] = [lab.newFolder(), lab.newFolder()]
    writeFileSync(join(from, 'large'), noise(8_000_000))
    const ours: number[] = []
    const options = moveOptions({
      pace: new Pace(4_000_000),
      onBytes: () => {
        if (ours.length > 0 || !existsSync(join(parts, '0'))) return
        ours.push(...childrenOf(process.pid).filter((pid) => commandLine(pid).startsWith('rsync --blocking-io')))
        if (where === 'here') process.kill(ours[0]!, 'SIGKILL')
        else expect(lab.bed.killProcesses('h1', /^rsync --server/)).not.toEqual([])
      },
    })
    const moving = mover.send(host, [movedFile(0, join(from, 'large'), 8_000_000)], parts, options)
    await expect(moving).rejects.toMatchObject({ code: 'E_TRANSFER', message: expect.stringContaining('rsync with h1') })
    expect(ours).toHaveLength(1)
    expect(ours.filter(isAlive)).toEqual([])
    expect(readdirSync(parts)).toEqual(['0'])
    await untilLetGo(host)
    // One of the two there hears of it from the other.
    const leftThere = () => lab.bed.processes('h1').filter(({ command }) => command.startsWith('rsync'))
    await expect.poll(leftThere, { timeout: 20_000 }).toEqual([])
    expect(leftHere()).toEqual([])
  })

  it('hears that the connection is lost', async () => {
    await lab.newPool()
    const host = await lab.reach('h1')
    const [from, parts] = [lab.newFolder(), lab.newFolder()]
    writeFileSync(join(from, 'large'), noise(4_000_000))
    let isDropped = false
    const moving = mover.send(host, [movedFile(0, join(from, 'large'), 4_000_000)], parts, {
      ...moveOptions({ pace: new Pace(1_000_000) }),
      onBytes: () => {
        if (!isDropped) lab.bed.dropSessions('h1')
        isDropped = true
      },
    })
    await expect(moving).rejects.toEqual(withCode('E_CONNECTION_LOST'))
    expect(leftHere()).toEqual([])
  })
})
