import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { disksUnavailable, mountDisk } from '../../../../test/testbed/disks.mjs'
import type { CopyOptions } from '../../src/model/transfer.js'
import { LocalPlace } from '../../src/transfer/local/local-place.js'
import { type ManifestEntry, partsId } from '../../src/transfer/manifest.js'
import type { Opened } from '../../src/transfer/place.js'
import { thisProcess } from '../../src/util/process-identity.js'
import { bytesOf, policyOf, readTree, Scratch } from './trees.js'

const scratch = new Scratch()
afterAll(() => scratch.remove())
const isRoot = process.geteuid?.() === 0
const diskReason = disksUnavailable()
const ifDisk = diskReason === undefined ? '' : ` (${diskReason})`
const withCode = (code: string): unknown => expect.objectContaining({ code })
const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')

const TIME = 1_700_000_000_123_456
const file = (name: string, content: string | Buffer, mode = 0o644, timeUs = TIME): ManifestEntry => ({
  kind: 'file',
  name,
  mode,
  timeUs,
  size: Buffer.from(content).length,
})
const folder = (name: string, mode = 0o755, timeUs = TIME): ManifestEntry => ({ kind: 'directory', name, mode, timeUs })
const link = (name: string, target: string, timeUs = TIME): ManifestEntry => ({ kind: 'link', name, target, timeUs })

class Copy {
  readonly place = new LocalPlace()
  readonly manifest: readonly ManifestEntry[]
  readonly target: string
  readonly #options: CopyOptions
  opened!: Opened

  constructor(target: string, manifest: readonly ManifestEntry[], options: CopyOptions = {}) {
    this.target = target
    this.manifest = manifest
    this.#options = options
  }

  async open(more: { seed?: boolean; digest?: (index: number) => Promise<string> } = {}): Promise<this> {
    const { manifest, target } = this
    this.opened = await this.place.open({
      manifest,
      directory: target,
      policy: policyOf(this.#options),
      partsId: partsId(manifest, 'h'),
      ...more,
    })
    return this
  }

  get states(): string[] {
    return this.opened.found.map((one) => (one.state === 'impossible' ? one.code : one.state))
  }

  get parts(): string {
    return this.opened.parts as string
  }

  put(index: number, content: string | Uint8Array): { index: number; sha256: string } {
    writeFileSync(bytesOf(`${this.parts}/${index}`), content)
    return { index, sha256: sha256(content) }
  }
}

/** Everything at once: what is in `contents` comes as it is. */
async function copy(
  target: string,
  manifest: readonly ManifestEntry[],
  contents: Readonly<Record<number, string>>,
  options: CopyOptions = {},
) {
  const one = await new Copy(target, manifest, options).open()
  const arrived = Object.entries(contents)
    .filter(([index]) => one.states[Number(index)] === 'needed')
    .map(([index, content]) => one.put(Number(index), content))
  const committed = await one.place.commit(arrived)
  return { ...committed, states: one.states }
}

describe('LocalPlace', () => {
  it('places files, directories and links with modes and times, and leaves nothing else', async () => {
    const target = scratch.folder()
    const long = 'x'.repeat(255)
    const manifest = [
      folder('d', 0o555),
      file('d/a b\n', 'one', 0o4711, -1_500_001),
      folder('d/e', 0o700, -86_400_000_001),
      file('d/e/\xff\xfe', 'two', 0, 1),
      link('d/e/l', '\xff/../..', 999_999),
      file('d/empty', ''),
      folder(long),
      file('-rf', 'three', 0o600),
    ]
    const one = await new Copy(target, manifest).open()
    expect(one.states).toEqual(manifest.map(() => 'needed'))
    expect(one.opened.directory).toBe(target)
    expect(statSync(one.parts).mode & 0o777).toBe(0o700)
    const arrived = [one.put(1, 'one'), one.put(3, 'two'), one.put(7, 'three'), { index: 5, sha256: sha256('') }]
    expect(readdirSync(target)).toEqual([`.cahier-${partsId(manifest, 'h')}`])
    expect(await one.place.commit(arrived)).toEqual({ files: 4, failures: [], verified: 'sha256' })
    expect(readTree(target)).toEqual({
      d: `directory 555 ${TIME}`,
      'd/a b\n': `file 4711 -1500001 3 ${sha256('one')}`,
      'd/e': 'directory 700 -86400000001',
      'd/e/\xff\xfe': `file 0 1 3 ${sha256('two')}`,
      'd/e/l': 'link 999999 \xff/../..',
      'd/empty': `file 644 ${TIME} 0 ${sha256('')}`,
      [long]: `directory 755 ${TIME}`,
      '-rf': `file 600 ${TIME} 5 ${sha256('three')}`,
    })
    chmodSync(join(target, 'd'), 0o755)
  })

  it('has nothing to do the second time', async () => {
    const target = scratch.folder()
    const manifest = [folder('d', 0o555), file('d/a', 'one'), link('d/l', 'a')]
    expect(await copy(target, manifest, { 1: 'one' })).toMatchObject({ files: 1, failures: [] })
    const before = readTree(target)
    const again = await new Copy(target, manifest).open()
    expect(again.states).toEqual(['same', 'same', 'same'])
    expect(again.opened.parts).toBeUndefined()
    expect(await again.place.commit([])).toMatchObject({ files: 0, failures: [] })
    expect(readTree(target)).toEqual(before)
    chmodSync(join(target, 'd'), 0o755)
  })

  it('tells the same by size and time within a microsecond, or by digest', async () => {
    const target = scratch.folder()
    const manifest = [file('a', 'one')]
    await copy(target, manifest, { 0: 'one' })
    const statesWith = async (entry: ManifestEntry, options: CopyOptions = {}, digest?: () => Promise<string>): Promise<string[]> => {
      const one = await new Copy(target, [entry], options).open(digest === undefined ? {} : { digest })
      await one.place.abandon({ keep: false })
      return one.states
    }
    expect(await statesWith(file('a', 'ONE', 0o644, TIME + 1))).toEqual(['same'])
    expect(await statesWith(file('a', 'ONE', 0o644, TIME + 2))).toEqual(['needed'])
    expect(await statesWith(file('a', 'ones'))).toEqual(['needed'])
    expect(await statesWith(file('a', 'one', 0o644, 5), { checksum: true }, async () => sha256('one'))).toEqual(['same'])
    expect(await statesWith(file('a', 'ONE'), { checksum: true }, async () => sha256('ONE'))).toEqual(['needed'])
    expect(await statesWith(file('a', 'one'), { checksum: true })).toEqual(['needed'])
  })

  it('gives what is the same the mode and the time of its source', async () => {
    const target = scratch.folder()
    await copy(target, [folder('d'), file('d/a', 'one'), link('d/l', 'x')], { 1: 'one' })
    const manifest = [folder('d', 0o750, 77), file('d/a', 'one', 0o600, 5), link('d/l', 'x', 6)]
    const one = await new Copy(target, manifest, { checksum: true }).open({ digest: async () => sha256('one') })
    expect(await one.place.commit([])).toMatchObject({ files: 0, failures: [] })
    expect(readTree(target)).toEqual({
      d: 'directory 750 77',
      'd/a': `file 600 5 3 ${sha256('one')}`,
      'd/l': 'link 6 x',
    })
  })

  describe('what stands there already', () => {
    it('refuses one kind in the place of another, with all that is in it', async () => {
      const target = scratch.folder()
      mkdirSync(join(target, 'file'))
      writeFileSync(join(target, 'folder'), 'theirs')
      symlinkSync('nowhere', join(target, 'dangling'))
      mkdirSync(join(target, 'link'))
      const manifest = [file('file', 'x'), folder('folder'), file('folder/in', 'x'), folder('dangling'), link('link', 'y'), file('ok', 'x')]
      const result = await copy(target, manifest, { 0: 'x', 2: 'x', 5: 'x' })
      expect(result.states).toEqual(['E_TARGET_KIND', 'E_TARGET_KIND', 'E_TARGET_KIND', 'E_TARGET_KIND', 'E_TARGET_KIND', 'needed'])
      expect(result).toMatchObject({ files: 1, failures: [] })
      expect(readFileSync(join(target, 'folder'), 'utf8')).toBe('theirs')
      expect(readdirSync(target).sort()).toEqual(['dangling', 'file', 'folder', 'link', 'ok'])
    })

    it('replaces a link in the place of a file, and never writes through it', async () => {
      const target = scratch.folder()
      const outside = scratch.folder()
      writeFileSync(join(outside, 'precious'), 'one')
      utimesSync(join(outside, 'precious'), TIME / 1e6, TIME / 1e6)
      symlinkSync(join(outside, 'precious'), join(target, 'a'))
      symlinkSync('old', join(target, 'l'))
      expect(await copy(target, [file('a', 'two'), link('l', 'new')], { 0: 'two' })).toMatchObject({
        states: ['needed', 'needed'],
        files: 1,
      })
      expect(lstatSync(join(target, 'a')).isFile()).toBe(true)
      expect(readFileSync(join(outside, 'precious'), 'utf8')).toBe('one')
      expect(readlinkSync(join(target, 'l'))).toBe('new')
    })

    it('follows a link that stood in the place of a directory before, and leaves its mode alone', async () => {
      const target = scratch.folder()
      const outside = scratch.folder()
      chmodSync(outside, 0o711)
      symlinkSync(outside, join(target, 'd'))
      expect(await copy(target, [folder('d', 0o700), file('d/a', 'x')], { 1: 'x' })).toMatchObject({ files: 1, failures: [] })
      expect(readFileSync(join(outside, 'a'), 'utf8')).toBe('x')
      expect(lstatSync(join(target, 'd')).isSymbolicLink()).toBe(true)
      expect(statSync(outside).mode & 0o777).toBe(0o711)
    })

    it('does not follow a link that came since', async () => {
      const [target, outside] = [scratch.folder(), scratch.folder()]
      mkdirSync(join(target, 'd'))
      const one = await new Copy(target, [folder('d'), file('d/a', 'x'), folder('new'), file('new/b', 'x')]).open()
      const arrived = [one.put(1, 'x'), one.put(3, 'x')]
      renameSync(join(target, 'd'), join(target, 'moved'))
      symlinkSync(outside, join(target, 'd'))
      symlinkSync(outside, join(target, 'new'))
      const { files, failures } = await one.place.commit(arrived)
      expect(files).toBe(0)
      expect(failures.map(({ file: name, code }) => `${name} ${code}`)).toEqual(
        expect.arrayContaining(['d/a E_TARGET_KIND', 'new E_TARGET_KIND', 'new/b E_TARGET_KIND']),
      )
      expect(readdirSync(outside)).toEqual([])
    })

    it.each([['../a'], ['/a'], ['d/../../a'], ['./a'], ['a//b'], ['a/'], [''], ['a\0b']])(
      'refuses the name %j, whoever wrote the list',
      async (name) => {
        const target = join(scratch.folder(), 'inside')
        mkdirSync(target)
        const result = await copy(target, [folder('d'), { ...file('x', 'x'), name }, file('good', 'x')], { 1: 'x', 2: 'x' })
        expect(result.states).toEqual(['needed', 'E_TARGET_KIND', 'needed'])
        expect(readdirSync(join(target, '..'))).toEqual(['inside'])
        expect(readdirSync(target).sort()).toEqual(['d', 'good'])
      },
    )

    it('refuses what goes through a link of the list, comes twice, or into the folder of parts', async () => {
      const [target, outside] = [scratch.folder(), scratch.folder()]
      const manifest = [link('l', outside), file('l/a', 'x'), file('no/a', 'x'), file('b', 'x'), file('b', 'x'), file('b/c', 'x')]
      const result = await copy(target, manifest, { 1: 'x', 2: 'x', 3: 'x' })
      expect(result.states).toEqual(['needed', 'E_TARGET_KIND', 'E_TARGET_KIND', 'needed', 'E_TARGET_KIND', 'E_TARGET_KIND'])
      expect(readdirSync(outside)).toEqual([])
      const place = new LocalPlace()
      const { found } = await place.open({ manifest: [folder('.cahier-1')], directory: target, policy: policyOf(), partsId: '1' })
      expect(found).toEqual([expect.objectContaining({ state: 'impossible' })])
    })

    it('replaces a file in one step, with who has it open keeping the old one', async () => {
      const target = scratch.folder()
      writeFileSync(join(target, 'a'), 'old', { mode: 0o400 })
      const inode = statSync(join(target, 'a')).ino
      expect(await copy(target, [file('a', 'new!')], { 0: 'new!' })).toMatchObject({ files: 1 })
      expect(statSync(join(target, 'a')).ino).not.toBe(inode)
    })
  })

  describe('what came', () => {
    it('is checked: nothing wrong gets a name', async () => {
      const target = scratch.folder()
      writeFileSync(join(target, 'short'), 'old')
      const large = randomBytes(2_000_000)
      const manifest = [
        file('short', 'twelve bytes'),
        file('flipped', 'content'),
        file('large', large),
        file('absent', 'x'),
        file('good', 'x'),
        file('not told of', 'x'),
      ]
      const one = await new Copy(target, manifest).open()
      const damaged = Buffer.from(large)
      damaged[1_999_999] = (damaged[1_999_999] ?? 0) ^ 1
      one.put(2, damaged)
      const arrived = [
        one.put(0, 'short'),
        { ...one.put(1, 'cOntent'), sha256: sha256('content') },
        { index: 2, sha256: sha256(large) },
        { index: 3, sha256: sha256('x') },
        one.put(4, 'x'),
      ]
      one.put(5, 'x')
      const { files, failures } = await one.place.commit(arrived)
      expect(files).toBe(1)
      expect(failures.map(({ file: name, code }) => `${name} ${code}`)).toEqual([
        'short E_COPY_CORRUPT',
        'flipped E_COPY_CORRUPT',
        'large E_COPY_CORRUPT',
        'absent E_COPY_LOST',
      ])
      expect(readFileSync(join(target, 'short'), 'utf8')).toBe('old')
      expect(readdirSync(target).sort()).toEqual([`.cahier-${partsId(manifest, 'h')}`, 'good', 'short'])
      // What is of use is kept, what is wrong is not.
      expect(readdirSync(one.parts)).toEqual(['5'])
    })

    it('is no link that somebody has put there', async () => {
      const [target, outside] = [scratch.folder(), scratch.folder()]
      writeFileSync(join(outside, 'x'), 'x')
      const one = await new Copy(target, [file('a', 'x')]).open()
      mkdirSync(join(one.parts, '0'))
      expect((await one.place.commit([{ index: 0, sha256: sha256('x') }])).failures).toEqual([
        expect.objectContaining({ code: expect.stringMatching(/^E_/) }),
      ])
      expect(existsSync(join(target, 'a'))).toBe(false)
    })

    it('is placed by the hundred', async () => {
      const target = scratch.folder()
      const manifest = [folder('d'), ...Array.from({ length: 300 }, (_, at) => file(`d/${at}`, `${at}`))]
      const contents = Object.fromEntries(manifest.slice(1).map((_, at) => [at + 1, `${at}`]))
      expect(await copy(target, manifest, contents)).toMatchObject({ files: 300, failures: [] })
      expect(Object.keys(readTree(target))).toHaveLength(301)
    })
  })

  describe('parts of an earlier transfer', () => {
    const manifest = [file('a', 'twelve bytes'), file('b', 'b'), file('c', 'c')]
    const interrupt = async (target: string): Promise<void> => {
      const first = await new Copy(target, manifest).open()
      first.put(0, 'twelve')
      first.put(1, 'too long')
      mkdirSync(join(first.parts, '2'))
      writeFileSync(join(first.parts, 'stranger'), '')
      chmodSync(join(first.parts, '0'), 0)
      await first.place.abandon({ keep: true })
      await first.place.abandon({ keep: false })
    }

    it('are found, those that can be', async () => {
      const target = scratch.folder()
      await interrupt(target)
      const second = await new Copy(target, manifest).open()
      expect(second.opened.found).toEqual([{ state: 'part', bytes: 6 }, { state: 'needed' }, { state: 'needed' }])
      expect(readdirSync(second.parts).sort()).toEqual(['0', 'lock'])
      expect(statSync(join(second.parts, '0')).mode & 0o777).toBe(0o600)
      const arrived = [second.put(0, 'twelve bytes'), second.put(1, 'b'), second.put(2, 'c')]
      expect(await second.place.commit(arrived)).toMatchObject({ files: 3, failures: [] })
      expect(readdirSync(target).sort()).toEqual(['a', 'b', 'c'])
    })

    it('are thrown away without "resume"', async () => {
      const target = scratch.folder()
      await interrupt(target)
      const second = await new Copy(target, manifest, { resume: false }).open()
      expect(second.states).toEqual(['needed', 'needed', 'needed'])
      expect(readdirSync(second.parts)).toEqual(['lock'])
      await second.place.abandon({ keep: false })
      expect(readdirSync(target)).toEqual([])
    })

    it('stay where they are when the copy is left, and go when nothing came', async () => {
      const target = scratch.folder()
      {
        const one = await new Copy(target, manifest).open()
        await using _ = one.place
        one.put(0, 'twe')
      }
      expect(readdirSync(join(target, `.cahier-${partsId(manifest, 'h')}`))).toEqual(['0'])
      {
        const one = await new Copy(target, manifest, { resume: false }).open()
        await using _ = one.place
      }
      {
        const one = await new Copy(target, manifest).open()
        await using _ = one.place
      }
      expect(readdirSync(target)).toEqual([])
    })

    it('begin as copies of what is there, for who sends differences, and for nobody else', async () => {
      const target = scratch.folder()
      writeFileSync(join(target, 'a'), 'an older text')
      chmodSync(join(target, 'a'), 0o444)
      const one = await new Copy(target, manifest).open({ seed: true })
      expect(one.states).toEqual(['needed', 'needed', 'needed'])
      expect(readFileSync(join(one.parts, '0'), 'utf8')).toBe('an older tex')
      expect(statSync(join(one.parts, '0')).mode & 0o777).toBe(0o600)
      await one.place.abandon({ keep: true })
      const other = await new Copy(target, manifest).open()
      expect(other.states).toEqual(['needed', 'needed', 'needed'])
      await other.place.abandon({ keep: false })
      expect(readFileSync(join(target, 'a'), 'utf8')).toBe('an older text')
    })
  })

  describe('a transfer of the same files', () => {
    const manifest = [file('a', 'x')]
    const lockOf = (target: string): string => join(target, `.cahier-${partsId(manifest, 'h')}`, 'lock')

    it('is refused while one is under way, and says so', async () => {
      const target = scratch.folder()
      const first = await new Copy(target, manifest).open()
      const refused = new Copy(target, manifest).open()
      await expect(refused).rejects.toEqual(withCode('E_TARGET_BUSY'))
      await expect(refused).rejects.toThrow(`(process ${process.pid} on ${thisProcess().host})`)
      expect(existsSync(lockOf(target))).toBe(true)
      expect(await first.place.commit([first.put(0, 'x')])).toMatchObject({ files: 1 })
    })

    it('takes over what one has left that has ended, who then puts nothing in place and removes nothing', async () => {
      const target = scratch.folder()
      const first = await new Copy(target, manifest).open()
      // As if the first had been another process.
      const { host, boot, space } = thisProcess()
      writeFileSync(lockOf(target), `${host} ${boot || '-'} ${spawnSync('true').pid} 1 ${space || '-'} -\n`)
      writeFileSync(join(first.parts, '0'), 'x')
      const second = await new Copy(target, manifest).open()
      expect(second.opened.found).toEqual([{ state: 'part', bytes: 1 }])
      await expect(first.place.commit([{ index: 0, sha256: sha256('x') }])).rejects.toEqual(withCode('E_TARGET_BUSY'))
      await first.place.abandon({ keep: false })
      expect(readdirSync(target)).toEqual([`.cahier-${partsId(manifest, 'h')}`])
      expect(await second.place.commit([{ index: 0, sha256: sha256('x') }])).toMatchObject({ files: 1 })
    })

    it('is refused where somebody else has made the folder', async () => {
      for (const plant of [
        (path: string) => mkdirSync(path, { mode: 0o777 }),
        (path: string) => symlinkSync(scratch.folder(), path),
        (path: string) => writeFileSync(path, ''),
      ]) {
        const target = scratch.folder()
        const path = join(target, `.cahier-${partsId(manifest, 'h')}`)
        plant(path)
        if (lstatSync(path).isDirectory()) chmodSync(path, 0o777)
        await expect(new Copy(target, manifest).open()).rejects.toEqual(withCode('E_TARGET_DENIED'))
      }
    })
  })

  describe('the target directory', () => {
    it('has to be there, or is made with those above it', async () => {
      const target = join(scratch.folder(), 'a/b')
      await expect(new Copy(target, [file('x', 'x')]).open()).rejects.toEqual(withCode('E_TARGET_MISSING'))
      expect(existsSync(target)).toBe(false)
      expect(await copy(target, [file('x', 'x')], { 0: 'x' }, { create: true })).toMatchObject({ files: 1 })
    })

    it('may be a link to one, and nothing else', async () => {
      const root = scratch.folder()
      mkdirSync(join(root, 'real'))
      symlinkSync('real', join(root, 'link'))
      symlinkSync('nowhere', join(root, 'dangling'))
      writeFileSync(join(root, 'file'), '')
      expect(await copy(join(root, 'link'), [file('x', 'x')], { 0: 'x' })).toMatchObject({ files: 1 })
      expect(readdirSync(join(root, 'real'))).toEqual(['x'])
      for (const name of ['file', 'file/below', 'dangling']) {
        for (const create of [false, true]) {
          await expect(new Copy(join(root, name), [file('x', 'x')], { create }).open()).rejects.toEqual(withCode('E_TARGET_KIND'))
        }
      }
    })

    it.skipIf(diskReason !== undefined)(`is seen to be full before anything comes${ifDisk}`, async () => {
      await using disk = await mountDisk({ size: '1m' })
      const manifest = [file('small', 'x'), { ...file('large', ''), size: 2_000_000 } as ManifestEntry]
      await expect(new Copy(disk.here, manifest).open()).rejects.toMatchObject({
        code: 'E_TARGET_FULL',
        message: expect.stringMatching(/2 MB .* 1 MB|1\.0/),
      })
      expect(readdirSync(disk.here)).toEqual([])
    })

    it.skipIf(diskReason !== undefined)(`may be read-only${ifDisk}`, async () => {
      await using disk = await mountDisk({ readOnly: true })
      await expect(new Copy(disk.here, [file('x', 'x')]).open()).rejects.toMatchObject({
        code: 'E_TARGET_DENIED',
        message: expect.stringContaining('read-only'),
      })
      await expect(new Copy(join(disk.here, 'new'), [file('x', 'x')], { create: true }).open()).rejects.toEqual(withCode('E_TARGET_DENIED'))
    })

    it.skipIf(diskReason !== undefined)(`may hold another file system${ifDisk}`, async () => {
      await using disk = await mountDisk({ size: '1m' })
      const target = scratch.folder()
      symlinkSync(disk.here, join(target, 'd'))
      const manifest = [folder('d'), file('d/a', 'one', 0o4640), link('d/l', 'a')]
      expect(await copy(target, manifest, { 1: 'one' })).toMatchObject({ files: 1, failures: [] })
      expect(readTree(disk.here)).toEqual({ a: `file 4640 ${TIME} 3 ${sha256('one')}`, l: `link ${TIME} a` })
      expect(readdirSync(target)).toEqual(['d'])
    })
  })

  it('may be one that belongs to somebody else (needs root)', async ({ skip }) => {
    if (!isRoot) skip()
    const target = scratch.folder()
    chmodSync(scratch.root, 0o755)
    chmodSync(target, 0o755)
    mkdirSync(join(target, 'd'))
    process.seteuid?.(65_534)
    try {
      await expect(new Copy(target, [file('x', 'x')]).open()).rejects.toEqual(withCode('E_TARGET_DENIED'))
    } finally {
      process.seteuid?.(0)
    }
  })

  it('opens directories that are shut for who owns them, and shuts them again (needs root)', async ({ skip }) => {
    if (!isRoot) skip()
    const target = scratch.folder()
    chmodSync(scratch.root, 0o755)
    chmodSync(target, 0o777)
    process.seteuid?.(65_534)
    try {
      const manifest = [folder('d', 0o555), file('d/a', 'one')]
      expect(await copy(target, manifest, { 1: 'one' })).toMatchObject({ files: 1, failures: [] })
      expect(await copy(target, [folder('d', 0o555), file('d/a', 'other')], { 1: 'other' })).toMatchObject({ files: 1, failures: [] })
      expect(statSync(join(target, 'd')).mode & 0o777).toBe(0o555)
      expect(readFileSync(join(target, 'd/a'), 'utf8')).toBe('other')
    } finally {
      process.seteuid?.(0)
    }
  })

  it('ends when it is given up, with what is placed in place', async () => {
    const target = scratch.folder()
    const end = AbortSignal.abort(new Error('enough'))
    await expect(new LocalPlace().open({ manifest: [], directory: target, policy: policyOf(), partsId: '1' }, end)).rejects.toThrow(
      'enough',
    )
    rmSync(target, { recursive: true })
  })
})
