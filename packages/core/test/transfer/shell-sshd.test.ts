import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { sshHostsUnavailable } from '../../../../test/testbed/ssh-hosts.mjs'
import { copyOptionsSchema } from '../../src/model/transfer.js'
import type { Manifest, ManifestEntry } from '../../src/transfer/manifest.js'
import type { ReachedHost } from '../../src/transfer/mover.js'
import type { OpenInput } from '../../src/transfer/place.js'
import { CatMover } from '../../src/transfer/shell/cat.js'
import { ShellPlace } from '../../src/transfer/shell/shell-place.js'
import { ShellSource } from '../../src/transfer/shell/shell-source.js'
import { StarTransfer } from '../../src/transfer/star/star.js'
import { pathBelow } from '../../src/util/byte-names.js'
import { bytePath, HostLab, movedFile, moveOptions, noise, sha256 } from './host-lab.js'

const busybox = spawnSync('busybox', ['true']).status === 0
const unavailable = sshHostsUnavailable()
const isMissing = unavailable !== undefined || !busybox
const needs = isMissing ? ` (needs sshd, busybox${unavailable === undefined ? '' : `: ${unavailable}`})` : ''
const isRoot = process.getuid?.() === 0
const SECONDS = 1_700_000_000
const policyOf = (options: Parameters<typeof copyOptionsSchema.parse>[0] = {}) => copyOptionsSchema.parse(options)

/** Every byte that a name may hold, and what shells stumble over. */
const EVERY_BYTE = Array.from({ length: 255 }, (_, index) => String.fromCharCode(index + 1)).filter((char) => char !== '/')
const ODD = [
  'a b',
  '-rf',
  '-',
  'new\nline',
  'trailing\n',
  '*',
  'q\'uo"te',
  '$(x)`y`',
  '\\n',
  '\xff\xfe',
  '%41',
  '~',
  '!',
  '(',
  EVERY_BYTE.slice(0, 127).join(''),
  EVERY_BYTE.slice(127).join(''),
]

describe.skipIf(isMissing)(`a host with a shell and nothing else${needs}`, { timeout: 180_000 }, () => {
  let lab: HostLab
  let tools: string
  beforeAll(async () => {
    tools = mkdtempSync(join(tmpdir(), 'cahier-busybox-'))
    execFileSync('busybox', ['--install', '-s', tools])
    const few = join(tools, 'few')
    mkdirSync(few)
    for (const name of [
      'sh',
      'ls',
      'cat',
      'mkdir',
      'mv',
      'rm',
      'rmdir',
      'ln',
      'chmod',
      'touch',
      'find',
      'head',
      'tail',
      'cp',
      'readlink',
    ]) {
      symlinkSync(join('..', name), join(few, name))
    }
    // What it is given names /bin/sh, which is another shell here.
    const login = (name: string, folder: string, shell: string): string => {
      const file = join(tools, name)
      const text = `#!/bin/sh\nexport PATH=${folder}\nc=$(printf '%s' "$2" | ${tools}/sed 's#/bin/sh#${shell}#')\nexec ${shell} -c "$c"\n`
      writeFileSync(file, text, { mode: 0o755 })
      return file
    }
    lab = await HostLab.start(3, {
      overrides: {
        h1: { loginShell: login('login-all', tools, `${tools}/sh`) },
        h2: { loginShell: login('login-few', few, '/bin/sh') },
        h3: { loginShell: login('login-sh', '/usr/bin:/bin', '/bin/sh') },
      },
    })
  })
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
    rmSync(tools, { recursive: true, force: true })
  })

  const HOSTS = [
    ['busybox', 'h1'],
    ['few tools', 'h2'],
    ['the sh of this machine', 'h3'],
  ] as const

  const file = (name: string, content: string | Uint8Array, more: Partial<ManifestEntry> = {}): ManifestEntry =>
    ({ kind: 'file', name, mode: 0o640, timeUs: SECONDS * 1_000_000, size: Buffer.from(content).length, ...more }) as ManifestEntry
  const folder = (name: string, mode = 0o755): ManifestEntry => ({ kind: 'directory', name, mode, timeUs: (SECONDS + 1) * 1_000_000 })
  const link = (name: string, target: string): ManifestEntry => ({ kind: 'link', name, target, timeUs: (SECONDS + 2) * 1_000_000 })
  const inputOf = (directory: string, manifest: Manifest, more: Partial<OpenInput> = {}): OpenInput => ({
    manifest,
    directory,
    policy: policyOf(),
    partsId: 'abc',
    ...more,
  })

  /** Everything: content by index. */
  async function put(host: ReachedHost, directory: string, manifest: Manifest, contents: Readonly<Record<number, string | Uint8Array>>) {
    const source = lab.newFolder()
    const place = new ShellPlace(host)
    const opened = await place.open(inputOf(directory, manifest))
    const wanted = Object.entries(contents).map(([index, content]) => {
      writeFileSync(join(source, index), content)
      const one = opened.found[Number(index)]
      return movedFile(Number(index), bytePath(join(source, index)), Buffer.from(content).length, one?.state === 'part' ? one.bytes : 0)
    })
    const moved =
      wanted.length === 0 || opened.parts === undefined ? new Map() : await new CatMover().send(host, wanted, opened.parts, moveOptions())
    const arrived = Object.entries(contents).map(([index, content]) => ({ index: Number(index), sha256: sha256(Buffer.from(content)) }))
    return { opened, moved, committed: await place.commit(arrived) }
  }

  describe.each(HOSTS)('%s', (_title, name) => {
    it('takes files of any name with their modes and times, directories and links, and finds them the same', async () => {
      const host = await lab.reach(name)
      const target = join(lab.newFolder(), "it's $HOME\n")
      mkdirSync(target)
      const content = (index: number): Buffer => noise(index * 1000, index)
      const manifest: Manifest = [
        folder('tree', 0o750),
        ...ODD.map((odd, index) => file(`tree/${odd}`, content(index), { mode: index % 2 === 0 ? 0o640 : 0o755 })),
        folder('tree/closed', 0o500),
        file('tree/closed/in', 'x', { mode: 0o444 }),
        link('tree/link', '../some where\n'),
      ]
      const contents = Object.fromEntries([...ODD.map((_, index) => [index + 1, content(index)]), [ODD.length + 2, 'x']])
      const { opened, moved, committed } = await put(host, target, manifest, contents)
      expect(opened.found.every(({ state }) => state === 'needed')).toBe(true)
      expect([...moved]).toEqual([])
      expect(committed).toEqual({ files: ODD.length + 1, failures: [], verified: name === 'h2' ? 'size' : 'sha256' })
      expect(readdirSync(target)).toEqual(['tree'])
      for (const [index, odd] of ODD.entries()) {
        const path = pathBelow(target, `tree/${odd}`)
        expect(readFileSync(path).equals(content(index))).toBe(true)
        expect(lstatSync(path)).toMatchObject({ mode: 0o100000 | (index % 2 === 0 ? 0o640 : 0o755), mtimeMs: SECONDS * 1000 })
      }
      expect(lstatSync(join(target, 'tree'))).toMatchObject({ mode: 0o040750, mtimeMs: (SECONDS + 1) * 1000 })
      expect(lstatSync(join(target, 'tree/closed'))).toMatchObject({ mode: 0o040500, mtimeMs: (SECONDS + 1) * 1000 })
      expect(readlinkSync(join(target, 'tree/link'))).toBe('../some where\n')
      const again = await new ShellPlace(host).open(inputOf(target, manifest))
      if (name === 'h2') {
        // Nobody there knows a time or a digest.
        expect(again.found.map(({ state }) => state)).toEqual(manifest.map(({ kind }) => (kind === 'file' ? 'needed' : 'same')))
        return
      }
      expect(again.found.every(({ state }) => state === 'same')).toBe(true)
      expect(again.parts).toBeUndefined()
    })

    it('says of each file why it cannot be there, and places the rest', async () => {
      const host = await lab.reach(name)
      const target = lab.newFolder()
      mkdirSync(join(target, 'directory'))
      mkdirSync(join(target, 'real'))
      writeFileSync(join(target, 'file'), 'old')
      symlinkSync('real', join(target, 'to-real'))
      symlinkSync('real', join(target, 'through'))
      const manifest: Manifest = [
        file('directory', 'x'),
        folder('file'),
        file('file/in', 'x'),
        file('to-real', 'replaced'),
        folder('through'),
        file('through/in', 'followed'),
        file('wrong', 'as it was'),
        file('missing', 'x'),
        file('../out', 'x'),
      ]
      const place = new ShellPlace(host)
      const { found, parts } = await place.open(inputOf(target, manifest))
      expect(found.map(({ state }) => state)).toEqual([
        'impossible',
        'impossible',
        'impossible',
        'needed',
        'same',
        'needed',
        'needed',
        'needed',
        'impossible',
      ])
      for (const [index, text] of [
        [3, 'replaced'],
        [5, 'followed'],
        [6, 'not as it'],
      ] as const)
        writeFileSync(join(parts!, `${index}`), text)
      const arrived = [
        [3, 'replaced'],
        [5, 'followed'],
        [6, 'as it was'],
        [7, 'x'],
      ] as const
      const { files, failures } = await place.commit(arrived.map(([index, text]) => ({ index, sha256: sha256(Buffer.from(text)) })))
      const expected = [{ file: 'missing', code: 'E_COPY_LOST' }]
      // Of the same size: only a digest can tell.
      expect(failures).toMatchObject(name === 'h2' ? expected : [{ file: 'wrong', code: 'E_COPY_CORRUPT' }, ...expected])
      expect(files).toBe(name === 'h2' ? 3 : 2)
      expect(lstatSync(join(target, 'to-real')).isFile()).toBe(true)
      expect(readFileSync(join(target, 'real/in'), 'utf8')).toBe('followed')
      expect(readdirSync(join(target, 'directory'))).toEqual([])
    })

    it('lists what is to be fetched, and fetches it', async () => {
      const host = await lab.reach(name)
      const target = lab.newFolder()
      if (name === 'h2') {
        await expect(new ShellSource(host).list([target], policyOf())).rejects.toMatchObject({ code: 'E_AGENT' })
        return
      }
      const tree = join(target, 'tr[ee')
      mkdirSync(join(tree, 'deep'), { recursive: true })
      for (const [index, odd] of ODD.entries()) writeFileSync(pathBelow(tree, odd), noise(index * 2000, index))
      writeFileSync(join(tree, 'deep/f'), 'x', { mode: 0o600 })
      utimesSync(join(tree, 'deep/f'), SECONDS, SECONDS + 0.25)
      symlinkSync('deep\nfar', join(tree, 'link'))
      execFileSync('mkfifo', [join(tree, 'pipe')])
      const source = new ShellSource(host)
      const pattern = join(target, 't?[[]*')
      const { manifest, paths, leftOut } = await source.list([pattern], policyOf())
      expect(leftOut).toEqual([{ file: 'tr[ee/pipe', why: 'named pipe' }])
      const names = manifest.map(({ name: one }) => one)
      expect(names.slice().sort()).toEqual(
        ['tr[ee', 'tr[ee/deep', 'tr[ee/deep/f', 'tr[ee/link', ...ODD.map((odd) => `tr[ee/${odd}`)].sort(),
      )
      expect(names.indexOf('tr[ee/deep/f')).toBe(names.indexOf('tr[ee/deep') + 1)
      expect(manifest.find(({ kind }) => kind === 'link')).toMatchObject({ target: 'deep\nfar' })
      expect(manifest[names.indexOf('tr[ee/deep/f')]).toMatchObject({ mode: 0o600, size: 1, timeUs: SECONDS * 1_000_000 + 250_000 })
      const files = manifest.flatMap((entry, index) => (entry.kind === 'file' ? [movedFile(index, paths[index]!, entry.size)] : []))
      const parts = lab.newFolder()
      const options = moveOptions()
      expect([...(await new CatMover().receive(host, files, bytePath(parts), options))]).toEqual([])
      expect(options.told.files.sort((a, b) => a - b)).toEqual(files.map(({ index }) => index))
      for (const { index, path } of files) {
        expect(readFileSync(join(parts, `${index}`)).equals(readFileSync(Buffer.from(path, 'latin1')))).toBe(true)
      }
      const indexes = files.map(({ index }) => index)
      const known = files.map(({ path }) => sha256(readFileSync(Buffer.from(path, 'latin1'))))
      expect(await source.digests(indexes)).toEqual(known)
      writeFileSync(join(tree, 'a b'), 'changed')
      expect((await source.digests(indexes)).filter((digest) => digest === undefined)).toHaveLength(1)
    })

    it('goes on with a file in its middle, both ways', async () => {
      const host = await lab.reach(name)
      const target = lab.newFolder()
      const content = noise(300_000)
      const manifest = [file('big', content)]
      const first = new ShellPlace(host)
      const { parts } = await first.open(inputOf(target, manifest))
      writeFileSync(join(parts!, '0'), content.subarray(0, 123_457))
      await first.abandon({ keep: true })
      const { opened, moved } = await put(host, target, manifest, { 0: content })
      expect(opened.found).toEqual([{ state: 'part', bytes: 123_457 }])
      expect([...moved]).toEqual([])
      expect(readFileSync(join(target, 'big')).equals(content)).toBe(true)
      const here = lab.newFolder()
      writeFileSync(join(here, '0'), content.subarray(0, 200_001))
      const options = moveOptions()
      await new CatMover().receive(host, [movedFile(0, bytePath(join(target, 'big')), content.length, 200_001)], bytePath(here), options)
      expect(readFileSync(join(here, '0')).equals(content)).toBe(true)
      expect(options.told).toEqual({ bytes: 99_999, files: [0] })
    })
  })

  it('serves a whole transfer, there and back', async () => {
    const transfer = new StarTransfer(lab.context, { name: 'cat', mover: new CatMover(), kinds: ['sh'] })
    const tree = join(lab.newFolder(), 'tree')
    mkdirSync(tree)
    for (let index = 0; index < 120; index += 1) writeFileSync(join(tree, `file ${index}`), noise(index, index))
    const ends = ['h1', 'h3'].map((name) => lab.end(name, lab.newFolder()))
    const put = await transfer.put({ files: [tree], ends, policy: policyOf() })
    expect(put).toMatchObject(ends.map(() => ({ outcome: 'done', files: 120, verified: 'sha256', via: 'cat' })))
    const again = await transfer.put({ files: [tree], ends, policy: policyOf() })
    // Where touch knows whole seconds only, whole seconds are compared.
    expect(again).toMatchObject(ends.map(() => ({ outcome: 'skipped-same', same: 120 })))
    const homes = ['h1', 'h3'].map((name) => lab.end(name, lab.newFolder()))
    const got = await transfer.get({ files: [join(ends[0]!.directory, 'tree')], ends: homes, policy: policyOf() })
    expect(got).toMatchObject(homes.map(() => ({ outcome: 'done', files: 120, verified: 'sha256' })))
    for (const { directory } of [...ends, ...homes]) expect(spawnSync('diff', ['-r', tree, join(directory, 'tree')]).status).toBe(0)
  })

  it('refuses a directory that is not there, and one that is none', async () => {
    const host = await lab.reach('h1')
    const target = lab.newFolder()
    writeFileSync(join(target, 'file'), '')
    const open = (directory: string, create = false) =>
      new ShellPlace(host).open(inputOf(directory, [file('a', 'x')], { policy: policyOf({ create }) }))
    await expect(open(join(target, 'none'))).rejects.toMatchObject({ code: 'E_TARGET_MISSING' })
    await expect(open(join(target, 'file'), true)).rejects.toMatchObject({ code: 'E_TARGET_KIND' })
    const { directory } = await open('~/new/./deep/', true)
    expect(existsSync(directory)).toBe(true)
    expect(directory.endsWith('/h1/home/new/deep')).toBe(true)
  })

  it('lets two transfers of the same files not share their parts, and knows that one was given up', async () => {
    const host = await lab.reach('h1')
    const target = lab.newFolder()
    const input = inputOf(target, [file('a', 'x')])
    const first = new ShellPlace(host)
    await first.open(input)
    await expect(new ShellPlace(host).open(input)).rejects.toMatchObject({ code: 'E_TARGET_BUSY' })
    await first.abandon({ keep: true })
    expect(readdirSync(target)).toEqual([])
    await using second = new ShellPlace(host)
    await second.open(input)
  })

  it.each(HOSTS)('%s: who lives keeps the folder of parts however long nothing is written; who is dead does not', async (_title, name) => {
    const host = await lab.reach(name)
    const target = lab.newFolder()
    const input = inputOf(target, [file('a', 'x')])
    const first = new ShellPlace(host)
    const { parts } = await first.open(input)
    const lock = join(parts!, 'lock')
    for (const one of [lock, parts!]) utimesSync(one, SECONDS, SECONDS)
    await expect(new ShellPlace(host).open(input)).rejects.toMatchObject({ code: 'E_TARGET_BUSY' })
    const pid = Number(readFileSync(lock, 'latin1').split(' ')[2])
    expect(lab.bed.processes(name).map((one) => one.pid)).toContain(pid)
    process.kill(pid, 'SIGKILL')
    await using second = new ShellPlace(host)
    await second.open(input)
    expect(Number(readFileSync(lock, 'latin1').split(' ')[2])).not.toBe(pid)
    expect(readdirSync(parts!)).toEqual(['lock'])
    writeFileSync(join(parts!, '0'), 'x')
    await expect(first.commit([{ index: 0, sha256: sha256(Buffer.from('x')) }])).rejects.toMatchObject({ name: 'TransferError' })
    await first.abandon({ keep: false })
    expect(readdirSync(parts!).sort()).toEqual(['0', 'lock'])
    expect(await second.commit([{ index: 0, sha256: sha256(Buffer.from('x')) }])).toMatchObject({ files: 1, failures: [] })
    expect(readdirSync(target)).toEqual(['a'])
  })

  it('places nothing when somebody else has taken its folder of parts', async () => {
    const host = await lab.reach('h1')
    const target = lab.newFolder()
    const place = new ShellPlace(host)
    const { parts } = await place.open(inputOf(target, [file('a', 'x')]))
    writeFileSync(join(parts!, '0'), 'x')
    writeFileSync(join(parts!, 'lock'), 'somebody else 1 2 3\n')
    const arrived = [{ index: 0, sha256: sha256(Buffer.from('x')) }]
    await expect(place.commit(arrived)).rejects.toMatchObject({ code: 'E_TARGET_BUSY' })
    await place.abandon({ keep: false })
    expect(readdirSync(target)).toEqual(['.cahier-abc'])
    expect(readdirSync(parts!).sort()).toEqual(['0', 'lock'])
  })

  it('keeps what came of a file that failed for the next transfer, and throws away what came wrong', async () => {
    const host = await lab.reach('h1')
    const target = lab.newFolder()
    const input = inputOf(target, [file('a', 'whole'), file('b', 'half of it'), file('c', 'right')])
    const place = new ShellPlace(host)
    const { parts } = await place.open(input)
    for (const [index, text] of ['whole', 'half', 'wrong'].entries()) writeFileSync(join(parts!, `${index}`), text)
    const { files, failures } = await place.commit(
      [0, 2].map((index) => ({ index, sha256: sha256(Buffer.from(['whole', '', 'right'][index]!)) })),
    )
    expect([files, failures.map(({ file: one, code }) => [one, code])]).toEqual([1, [['c', 'E_COPY_CORRUPT']]])
    await using next = new ShellPlace(host)
    expect((await next.open(input)).found).toEqual([{ state: 'same' }, { state: 'part', bytes: 4 }, { state: 'needed' }])
  })

  it('puts nothing through a link that took the place of a directory meanwhile', async () => {
    const host = await lab.reach('h1')
    const target = lab.newFolder()
    const elsewhere = lab.newFolder()
    mkdirSync(join(target, 'd'))
    const place = new ShellPlace(host)
    const { parts } = await place.open(inputOf(target, [folder('d'), folder('d/e'), file('d/a', 'x'), file('d/e/b', 'x'), file('c', 'x')]))
    for (const index of [2, 3, 4]) writeFileSync(join(parts!, `${index}`), 'x')
    rmSync(join(target, 'd'), { recursive: true })
    symlinkSync(elsewhere, join(target, 'd'))
    const { files, failures } = await place.commit([2, 3, 4].map((index) => ({ index, sha256: sha256(Buffer.from('x')) })))
    expect(files).toBe(1)
    expect(failures.map(({ code }) => code)).toEqual(failures.map(() => 'E_TARGET_KIND'))
    expect(failures.map((one) => one.file)).toEqual(['d', 'd/e', 'd/a', 'd/e/b'])
    expect(readdirSync(elsewhere)).toEqual([])
    expect(readFileSync(join(target, 'c'), 'utf8')).toBe('x')
  })

  it('tells the same by digest when that is asked for', async () => {
    const host = await lab.reach('h1')
    const target = lab.newFolder()
    writeFileSync(join(target, 'a'), 'one')
    writeFileSync(join(target, 'b'), 'two')
    await using place = new ShellPlace(host)
    const digest = async (index: number): Promise<string> => sha256(Buffer.from(['one', 'TWO'][index]!))
    const { found } = await place.open(
      inputOf(target, [file('a', 'one'), file('b', 'TWO')], { policy: policyOf({ checksum: true }), digest }),
    )
    expect(found.map(({ state }) => state)).toEqual(['same', 'needed'])
  })

  it('finds that a file changed while it was fetched, whatever comes with it', async () => {
    const host = await lab.reach('h1')
    const folderThere = lab.newFolder()
    for (const one of ['a', 'b', 'c']) writeFileSync(join(folderThere, one), one.repeat(10))
    const here = lab.newFolder()
    // As they were listed: b was longer then, and d was there.
    const files = [
      movedFile(0, bytePath(join(folderThere, 'a')), 10),
      movedFile(1, bytePath(join(folderThere, 'b')), 20),
      movedFile(2, bytePath(join(folderThere, 'c')), 10),
      movedFile(3, bytePath(join(folderThere, 'd')), 1),
    ]
    const failures = await new CatMover().receive(host, files, bytePath(here), moveOptions())
    expect([...failures].map(([index, { code }]) => [index, code])).toEqual([
      [1, 'E_SOURCE_CHANGED'],
      [3, 'E_SOURCE_CHANGED'],
    ])
    expect(readFileSync(join(here, '0'), 'utf8')).toBe('aaaaaaaaaa')
    expect(readFileSync(join(here, '2'), 'utf8')).toBe('cccccccccc')
  })

  it('ends when it is given up, and leaves what came', async () => {
    const host = await lab.reach('h1')
    const target = lab.newFolder()
    const source = join(lab.newFolder(), 'big')
    writeFileSync(source, noise(4_000_000))
    const place = new ShellPlace(host)
    const { parts } = await place.open(inputOf(target, [file('big', noise(4_000_000))]))
    const stop = new AbortController()
    const moving = new CatMover().send(host, [movedFile(0, bytePath(source), 4_000_000)], parts!, {
      ...moveOptions({ signal: stop.signal }),
      onBytes: () => stop.abort(),
    })
    await expect(moving).rejects.toMatchObject({ code: 'E_ABORTED' })
    await place.abandon({ keep: true })
    expect(existsSync(join(target, 'big'))).toBe(false)
  })

  it.runIf(isRoot)(`says that there is no room, before and while content comes${isRoot ? '' : ' (needs root)'}`, async () => {
    const host = await lab.reach('h1')
    const target = lab.newFolder()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', target])
    onTestFinished(() => void execFileSync('umount', ['-l', target]))
    const content = noise(400_000)
    await expect(new ShellPlace(host).open(inputOf(target, [file('big', content)]))).rejects.toMatchObject({ code: 'E_TARGET_FULL' })
    expect(readdirSync(target)).toEqual([])
    const source = join(lab.newFolder(), 'big')
    writeFileSync(source, content)
    const place = new ShellPlace(host)
    const { parts } = await place.open(inputOf(target, [file('big', 'grew')]))
    const failures = await new CatMover().send(host, [movedFile(0, bytePath(source), content.length)], parts!, moveOptions())
    expect([...failures.values()]).toMatchObject([{ code: 'E_TARGET_FULL' }])
    await place.abandon({ keep: false })
    expect(readdirSync(target)).toEqual([])
    execFileSync('mount', ['-o', 'remount,ro', target])
    await expect(new ShellPlace(host).open(inputOf(target, [file('a', 'x')]))).rejects.toMatchObject({ code: 'E_TARGET_DENIED' })
  })
})
