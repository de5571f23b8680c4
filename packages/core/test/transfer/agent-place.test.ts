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
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AgentPlace } from '../../src/transfer/agent/agent-place.js'
import type { HostAgent } from '../../src/transfer/agent/host-agent.js'
import { encodeManifest, type Manifest } from '../../src/transfer/manifest.js'
import type { OpenInput } from '../../src/transfer/place.js'
import { byteName, pathBelow } from '../../src/util/byte-names.js'
import { AgentLab, Events, framesOf, KEY, kindUnavailable, localHost, policyOf } from './agent-lab.js'

const sha = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')
const TIME = 1_600_000_000_123_456
const file = (name: string, content: string | Buffer, mode = 0o644, timeUs = TIME) =>
  ({ kind: 'file', name: byteName(name), mode, timeUs, size: Buffer.byteLength(content) }) as const
const directory = (name: string, mode = 0o755, timeUs = TIME) => ({ kind: 'directory', name: byteName(name), mode, timeUs }) as const
const link = (name: string, target: string, timeUs = TIME) => ({ kind: 'link', name, timeUs, target }) as const
const microsOf = (path: string | Buffer): number => Number(lstatSync(path, { bigint: true }).mtimeNs / 1000n)
const isRoot = process.getuid?.() === 0
/** One of them keeps every machine at work for more than half a second, and none for a minute; without content they take no room. */
const SIZES = [100, 300, 1000, 3000].map((size) => size * 2 ** 20)
/** A small file system of its own: `mount` needs root. */
const canMount = isRoot && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', '/mnt']).status === 0

for (const kind of ['py', 'pl'] as const) {
  const reason = kindUnavailable(kind)
  describe.skipIf(reason !== undefined)(`a place of the agent in ${kind}${reason === undefined ? '' : ` (${reason})`}`, () => {
    let lab: AgentLab
    let target: string
    let agent: HostAgent
    beforeEach(async () => {
      lab = new AgentLab()
      target = lab.newFolder()
      agent = await lab.start(kind)
    })
    afterEach(() => lab[Symbol.asyncDispose]())

    const input = (manifest: Manifest, options: Partial<OpenInput> & { policy?: OpenInput['policy'] } = {}): OpenInput => ({
      manifest,
      directory: target,
      policy: policyOf(),
      partsId: 'abc',
      ...options,
    })
    const bring = (parts: string, index: number, content: string | Buffer): void => writeFileSync(join(parts, String(index)), content)
    const put = async (manifest: Manifest, contents: Record<number, string | Buffer>, options: Parameters<typeof input>[1] = {}) => {
      const place = new AgentPlace(agent)
      const { parts, found } = await place.open(input(manifest, options))
      for (const [index, content] of Object.entries(contents)) bring(parts!, Number(index), content)
      const arrived = Object.entries(contents).map(([index, content]) => ({ index: Number(index), sha256: sha(content) }))
      return { found, ...(await place.commit(arrived)) }
    }

    it('places files, directories and links with their modes and times', async () => {
      const manifest: Manifest = [
        file('a', 'one', 0o600),
        directory('d', 0o750),
        file('d/b', 'two', 0o4755, TIME + 1),
        directory('d/e', 0o500),
        file('d/e/c', '', 0o444, -1_500_000),
        link('d/l', '../a', TIME + 7),
      ]
      const { found, files, failures, verified } = await put(manifest, { 0: 'one', 2: 'two', 4: '' })
      expect(found.map(({ state }) => state)).toEqual(Array(6).fill('needed'))
      expect({ files, failures, verified }).toEqual({ files: 3, failures: [], verified: 'sha256' })
      expect(readFileSync(join(target, 'd/b'), 'utf8')).toBe('two')
      expect(readlinkSync(join(target, 'd/l'))).toBe('../a')
      for (const entry of manifest) {
        const path = join(target, entry.name)
        expect(Math.abs(microsOf(path) - entry.timeUs), entry.name).toBeLessThanOrEqual(entry.kind === 'link' ? 1 : 1)
        if (entry.kind !== 'link') expect(lstatSync(path).mode & 0o7777, entry.name).toBe(entry.mode)
      }
      expect(readdirSync(target).sort()).toEqual(['a', 'd'])
      const again = new AgentPlace(agent)
      const second = await again.open(input(manifest))
      expect(second.found.map(({ state }) => state)).toEqual(Array(6).fill('same'))
      expect(second.parts).toBeUndefined()
      expect(readdirSync(target).sort()).toEqual(['a', 'd'])
    })

    it('keeps names of any bytes', async () => {
      const names = ['a b', '-rf', 'new\nline', 'caf\u00e9', '*', '%41', '#7', '.', '..x', '\'"$(x)`', '\u{1f600}'].filter(
        (name) => name !== '.',
      )
      const odd = String.fromCharCode(...Array.from({ length: 255 }, (_, index) => index + 1).filter((code) => code !== 0x2f)).slice(
        100,
        250,
      )
      const manifest: Manifest = [...names.map((name) => file(name, name)), { kind: 'file', name: odd, mode: 0o644, timeUs: TIME, size: 3 }]
      const contents = Object.fromEntries([...names, 'odd'].map((name, index) => [index, name]))
      const { files, failures } = await put(manifest, contents)
      expect({ files, failures }).toEqual({ files: names.length + 1, failures: [] })
      for (const name of names) expect(readFileSync(join(target, name), 'utf8')).toBe(name)
      expect(readFileSync(pathBelow(target, odd), 'utf8')).toBe('odd')
    })

    it.each(['../x', '/etc/x', 'a/../../x', 'a//b', './x', 'x/', '', '.cahier-abc', 'a\0b'])('refuses the name %j', async (name) => {
      const place = new AgentPlace(agent)
      const { found } = await place.open(input([directory('a'), { ...file('x', 'x'), name }]))
      expect(found[1]).toMatchObject({ state: 'impossible', code: 'E_TARGET_KIND' })
    })

    it('refuses the same name twice, and what stands in no directory of the list', async () => {
      const { found } = await new AgentPlace(agent).open(input([file('x', 'x'), file('x', 'y'), file('d/y', '')]))
      expect(found.map(({ state }) => state)).toEqual(['needed', 'impossible', 'impossible'])
    })

    it('tells the same by size and time, and sets a mode that differs', async () => {
      const manifest = [file('a', 'one'), file('b', 'two'), file('c', 'three')]
      await put(manifest, { 0: 'one', 1: 'two', 2: 'three' })
      writeFileSync(join(target, 'b'), 'two!')
      utimesSync(join(target, 'c'), 1, 1)
      chmodSync(join(target, 'a'), 0o600)
      const { found, files } = await put(manifest, { 1: 'two', 2: 'three' })
      expect(found.map(({ state }) => state)).toEqual(['same', 'needed', 'needed'])
      expect(files).toBe(2)
      expect(statSync(join(target, 'a')).mode & 0o777).toBe(0o644)
    })

    it('tells the same by digest when that is asked for', async () => {
      writeFileSync(join(target, 'a'), 'one')
      writeFileSync(join(target, 'b'), 'two')
      const manifest = [file('a', 'one'), file('b', 'TWO'), file('c', 'x')]
      const asked: number[] = []
      const place = new AgentPlace(agent)
      const { found, parts } = await place.open(
        input(manifest, {
          policy: policyOf({ checksum: true }),
          digest: async (index) => {
            asked.push(index)
            return sha(['one', 'TWO', 'x'][index]!)
          },
        }),
      )
      expect(found.map(({ state }) => state)).toEqual(['same', 'needed', 'needed'])
      expect(asked).toEqual([0, 1])
      bring(parts!, 1, 'TWO')
      bring(parts!, 2, 'x')
      const { files, failures } = await place.commit([
        { index: 1, sha256: sha('TWO') },
        { index: 2, sha256: sha('x') },
      ])
      expect({ files, failures }).toEqual({ files: 2, failures: [] })
      expect(Math.abs(microsOf(join(target, 'a')) - TIME)).toBeLessThanOrEqual(1)
    })

    it('leaves no folder behind when all is the same by digest', async () => {
      writeFileSync(join(target, 'a'), 'one')
      const place = new AgentPlace(agent)
      const opened = await place.open(input([file('a', 'one')], { policy: policyOf({ checksum: true }), digest: async () => sha('one') }))
      expect(opened).toMatchObject({ parts: undefined, found: [{ state: 'same' }] })
      await place[Symbol.asyncDispose]()
      expect(readdirSync(target)).toEqual(['a'])
    })

    it('leaves a file of another digest as it is when nothing comes for it: its time would tell that it is the same', async () => {
      writeFileSync(join(target, 'a'), 'old', { mode: 0o600 })
      utimesSync(join(target, 'a'), 1e9, 1e9)
      const manifest = [file('a', 'new')]
      const place = new AgentPlace(agent)
      const { found } = await place.open(input(manifest, { policy: policyOf({ checksum: true }), digest: async () => sha('new') }))
      expect(found).toEqual([{ state: 'needed' }])
      await place.commit([])
      expect(microsOf(join(target, 'a'))).toBe(1e15)
      expect(statSync(join(target, 'a')).mode & 0o777).toBe(0o600)
      expect((await new AgentPlace(agent).open(input(manifest))).found).toEqual([{ state: 'needed' }])
    })

    it('removes what an agent has left that ended when it had placed everything', async () => {
      const manifest = [file('a', 'one')]
      await put(manifest, { 0: 'one' })
      mkdirSync(join(target, '.cahier-abc/t'), { recursive: true, mode: 0o700 })
      chmodSync(join(target, '.cahier-abc'), 0o700)
      writeFileSync(join(target, '.cahier-abc/lock'), `${hostname()} other-boot 1 1 - answers\n`)
      utimesSync(join(target, '.cahier-abc/lock'), 1e9, 1e9)
      const place = new AgentPlace(agent)
      expect(await place.open(input(manifest))).toMatchObject({ parts: undefined, found: [{ state: 'same' }] })
      expect(readdirSync(target)).toEqual(['a'])
      // Those of somebody who is there are not touched.
      const other = await lab.start(kind)
      const held = new AgentPlace(other)
      await held.open(input([file('b', 'two')]))
      await place.commit([])
      expect(await new AgentPlace(agent).open(input(manifest))).toMatchObject({ parts: undefined, found: [{ state: 'same' }] })
      expect(readdirSync(join(target, '.cahier-abc'))).toEqual(['lock'])
    })

    it('says that it is at work while something takes long', async () => {
      const events = new Events(agent)
      for (const size of SIZES) {
        const place = new AgentPlace(agent)
        const { parts } = await place.open(input([{ kind: 'file', name: 'a', mode: 0o644, timeUs: TIME, size }]))
        bring(parts!, 0, '')
        truncateSync(join(parts!, '0'), size)
        const before = performance.now()
        const { failures } = await place.commit([{ index: 0, sha256: sha('') }])
        expect(failures).toMatchObject([{ code: 'E_COPY_CORRUPT' }])
        expect(events.count(/^busy$/)).toBeLessThanOrEqual((performance.now() - before) / 500)
        if (events.count(/^busy$/) > 0) return
      }
      expect.unreachable('nobody heard of it')
    })

    it('says that it is at work while it looks whether a large file is the same', async () => {
      const events = new Events(agent)
      const policy = policyOf({ checksum: true })
      for (const size of SIZES) {
        writeFileSync(join(target, 'a'), '')
        truncateSync(join(target, 'a'), size)
        const entry = { kind: 'file', name: 'a', mode: 0o644, timeUs: TIME, size } as const
        const place = new AgentPlace(agent)
        const { found } = await place.open(input([entry], { policy, digest: async () => sha('') }))
        expect(found).toEqual([{ state: 'needed' }])
        await place.abandon({ keep: false })
        if (events.count(/^busy$/) > 0) return
      }
      expect.unreachable('nobody heard of it')
    })

    it('goes on with parts that may not be written, also as an ordinary user', async () => {
      const content = randomBytes(3000)
      const part = (name: string) => ({ kind: 'file', name, mode: 0o444, timeUs: TIME, size: 1000 }) as const
      const manifest: Manifest = [directory('new'), part('new/a'), part('new/b'), part('new/c')]
      const own = localHost(
        lab.folder,
        isRoot ? { shell: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '/bin/sh', '-c'] } : {},
      )
      chmodSync(lab.folder, 0o755)
      chmodSync(target, 0o777)
      const first = await lab.receive(await lab.start(kind, own), manifest, 300, { directory: target })
      await (await lab.link(first)).send(...framesOf(content, 300).slice(0, 7))
      await first.events.find(/^have 2100/)
      await first.agent[Symbol.asyncDispose]()
      // It ends in the middle of a file that is complete, and has its final mode.
      truncateSync(join(target, '.cahier-abc/t/new/c'), 50)
      const second = await lab.receive(await lab.start(kind, own), manifest, 300, { directory: target })
      expect(second.have).toBe(1800)
      // What comes next fits nothing: all of it is written anew.
      await (await lab.link(second, 1)).send(...framesOf(randomBytes(3000), 300, KEY, 1800))
      await second.events.find(/^have 0$/)
      await (await lab.link(second, 2)).send(...framesOf(content, 300))
      expect(await second.events.find(/^(whole|fail)/)).toBe(`whole ${sha(content)}`)
      await second.agent.request('commit', [], '1 -\n2 -\n3 -\n')
      expect(['a', 'b', 'c'].map((name) => statSync(join(target, 'new', name)).mode & 0o777)).toEqual([0o444, 0o444, 0o444])
      expect(Buffer.concat(['a', 'b', 'c'].map((name) => readFileSync(join(target, 'new', name))))).toEqual(content)
    })

    it('gives parts of any mode the right one when a stream goes on with them', async () => {
      const content = randomBytes(2000)
      const part = (name: string) => ({ kind: 'file', name, mode: 0o644, timeUs: TIME, size: 1000 }) as const
      const manifest: Manifest = [directory('new'), part('new/a'), part('new/b')]
      const place = new AgentPlace(agent)
      const { parts } = await place.open(input(manifest))
      writeFileSync(join(parts!, '1'), content.subarray(0, 1000), { mode: 0o600 })
      writeFileSync(join(parts!, '2'), content.subarray(1000, 1600), { mode: 0o600 })
      await place.abandon({ keep: true })
      const receiver = await lab.receive(agent, manifest, 250, { directory: target })
      expect(receiver.have).toBe(1500)
      await (await lab.link(receiver)).send(...framesOf(content, 250, KEY, 1500))
      await receiver.events.find(/^whole/)
      await agent.request('commit', [], '1 -\n2 -\n')
      for (const name of ['new/a', 'new/b']) {
        expect(statSync(join(target, name)).mode & 0o777, name).toBe(0o644)
        expect(Math.abs(microsOf(join(target, name)) - TIME), name).toBeLessThanOrEqual(1)
      }
    })

    it('compares what came by a stream with a digest that is given all the same', async () => {
      const content = randomBytes(2000)
      const part = (name: string) => ({ kind: 'file', name, mode: 0o644, timeUs: TIME, size: 1000 }) as const
      const receiver = await lab.receive(agent, [part('a'), part('b')], 500, { directory: target })
      await (await lab.link(receiver)).send(...framesOf(content, 500))
      await receiver.events.find(/^whole/)
      const { words, payload } = await agent.request('commit', [], `0 ${sha(content.subarray(0, 1000))}\n1 ${sha('x')}\n`)
      expect(words).toEqual(['1', 'sha256'])
      expect(payload.toString()).toMatch(/^1 E_COPY_CORRUPT /)
      expect(readdirSync(target)).toEqual(['a'])
    })

    it('keeps out what is not what was sent, and places the rest', async () => {
      const manifest = [file('a', 'one'), file('b', 'two'), file('c', 'three'), file('d', 'four')]
      writeFileSync(join(target, 'a'), 'before')
      const place = new AgentPlace(agent)
      const { parts } = await place.open(input(manifest))
      bring(parts!, 0, 'ONE')
      bring(parts!, 1, 'tw')
      bring(parts!, 3, 'four')
      const { files, failures } = await place.commit(['one', 'two', 'three', 'four'].map((text, index) => ({ index, sha256: sha(text) })))
      expect(files).toBe(1)
      expect(failures.map((one) => [one.file, one.code])).toEqual([
        ['a', 'E_COPY_CORRUPT'],
        ['b', 'E_COPY_CORRUPT'],
        ['c', 'E_COPY_LOST'],
      ])
      expect(readFileSync(join(target, 'a'), 'utf8')).toBe('before')
      expect(readdirSync(target).sort()).toEqual(['a', 'd'])
    })

    it('says that sizes are all it knows when no digest was given', async () => {
      const place = new AgentPlace(agent)
      const { parts } = await place.open(input([file('a', 'one')]))
      bring(parts!, 0, 'two')
      expect(await place.commit([{ index: 0, sha256: undefined }])).toEqual({ files: 1, failures: [], verified: 'size' })
    })

    it('says what stands in the way', async () => {
      mkdirSync(join(target, 'a'))
      writeFileSync(join(target, 'd'), '')
      symlinkSync('nowhere', join(target, 'e'))
      symlinkSync('a', join(target, 'f'))
      const manifest: Manifest = [file('a', 'x'), directory('d'), file('d/x', 'x'), directory('e'), directory('f', 0o700), link('a', 'b')]
      const { found } = await new AgentPlace(agent).open(input(manifest))
      expect(found.map((one) => ('code' in one ? one.code : one.state))).toEqual([
        'E_TARGET_KIND',
        'E_TARGET_KIND',
        'E_TARGET_KIND',
        'E_TARGET_KIND',
        'same',
        'E_TARGET_KIND',
      ])
    })

    it('goes through a link to a directory that was there, and replaces links in the place of files', async () => {
      mkdirSync(join(target, 'real'), { mode: 0o711 })
      symlinkSync('real', join(target, 'd'))
      writeFileSync(join(target, 'other'), 'mine')
      symlinkSync('other', join(target, 'x'))
      const { files, failures } = await put([directory('d', 0o700), file('d/f', 'new'), file('x', 'text')], { 1: 'new', 2: 'text' })
      expect({ files, failures }).toEqual({ files: 2, failures: [] })
      expect(readFileSync(join(target, 'real/f'), 'utf8')).toBe('new')
      expect(statSync(join(target, 'real')).mode & 0o777).toBe(0o711)
      expect(readFileSync(join(target, 'other'), 'utf8')).toBe('mine')
      expect(lstatSync(join(target, 'x')).isFile()).toBe(true)
    })

    it('does not follow a link that came while files were copied', async () => {
      const outside = lab.newFolder()
      mkdirSync(join(target, 'd'))
      const place = new AgentPlace(agent)
      const { parts } = await place.open(input([directory('d'), file('d/f', 'x')]))
      bring(parts!, 1, 'x')
      spawnSync('rm', ['-r', join(target, 'd')])
      symlinkSync(outside, join(target, 'd'))
      const { files, failures } = await place.commit([{ index: 1, sha256: sha('x') }])
      expect(files).toBe(0)
      expect(failures.map(({ code }) => code)).toEqual(['E_TARGET_KIND'])
      expect(readdirSync(outside)).toEqual([])
    })

    it.each([
      ['~', ''],
      ['~/new/deep', 'new/deep'],
      ['new', 'new'],
      ['new/./deep/', 'new/deep'],
    ])('finds the target directory %s', async (directory, below) => {
      const home = lab.newFolder()
      const other = await lab.start(kind, localHost(home))
      const place = new AgentPlace(other)
      const opened = await place.open(input([file('a', '')], { directory, policy: policyOf({ create: true }) }))
      expect(statSync(Buffer.from(opened.directory, 'latin1')).ino).toBe(statSync(join(home, below)).ino)
      expect(opened.directory.startsWith(home)).toBe(true)
    })

    it.each([
      ['is not there', 'missing', 'E_TARGET_MISSING'],
      ['is a file', 'file', 'E_TARGET_KIND'],
      ['is below a file', 'file/below', 'E_TARGET_KIND'],
      ['is a link to nothing', 'link', 'E_TARGET_KIND'],
    ])('says that the target directory %s', async (_title, name, code) => {
      writeFileSync(join(target, 'file'), '')
      symlinkSync('nowhere', join(target, 'link'))
      const create = code !== 'E_TARGET_MISSING'
      const place = new AgentPlace(agent)
      const opening = place.open(input([file('a', '')], { directory: join(target, name), policy: policyOf({ create }) }))
      await expect(opening).rejects.toMatchObject({ name: 'TransferError', code })
      expect(existsSync(join(target, 'nowhere'))).toBe(false)
    })

    it.skipIf(!isRoot)('says that the target may not be written (needs root)', async () => {
      const place = new AgentPlace(agent)
      const opening = place.open(input([file('a', '')], { directory: '/proc/self' }))
      await expect(opening).rejects.toMatchObject({ code: expect.stringMatching(/^E_TARGET_DENIED$|^E_TRANSFER$|^E_TARGET_MISSING$/) })
    })

    it.skipIf(isRoot)('says that the target may not be written (not as root)', async () => {
      chmodSync(target, 0o500)
      await expect(new AgentPlace(agent).open(input([file('a', '')]))).rejects.toMatchObject({ code: 'E_TARGET_DENIED' })
      chmodSync(target, 0o700)
    })

    it('says before anything comes that there is no room', async () => {
      const huge = { ...file('a', ''), size: 2 ** 53 }
      await expect(new AgentPlace(agent).open(input([huge]))).rejects.toMatchObject({ code: 'E_TARGET_FULL' })
      expect(readdirSync(target)).toEqual([])
    })

    it('keeps parts for the next time, and the next one says how much of them is there', async () => {
      const manifest = [file('a', 'onetwo'), file('b', 'three'), file('c', 'x')]
      const first = new AgentPlace(agent)
      const { parts } = await first.open(input(manifest))
      bring(parts!, 0, 'one')
      bring(parts!, 1, 'three four')
      bring(parts!, 2, '')
      await first.abandon({ keep: true })
      const second = new AgentPlace(agent)
      expect((await second.open(input(manifest))).found).toEqual([{ state: 'part', bytes: 3 }, { state: 'needed' }, { state: 'needed' }])
      expect(readdirSync(parts!).filter((name) => name !== 'lock')).toEqual(['0'])
      await second.abandon({ keep: true })
      const third = new AgentPlace(agent)
      const { found } = await third.open(input(manifest, { policy: policyOf({ resume: false }) }))
      expect(found.map(({ state }) => state)).toEqual(['needed', 'needed', 'needed'])
      await third.abandon({ keep: false })
      expect(readdirSync(target)).toEqual([])
    })

    it('leaves nothing when it is given up before anything came', async () => {
      const place = new AgentPlace(agent)
      await place.open(input([file('a', 'one')]))
      await place.abandon({ keep: true })
      await place.abandon({ keep: true })
      expect(readdirSync(target)).toEqual([])
    })

    it('keeps parts when its connection ends, and leaves nothing when there are none', async () => {
      const host = localHost(lab.folder)
      const [first, other] = [await lab.start(kind, host), await lab.start(kind, host)]
      const { parts } = await new AgentPlace(first).open(input([file('a', 'one'), file('b', 'two')]))
      bring(parts!, 1, 'tw')
      await new AgentPlace(other).open(input([file('c', 'one')], { partsId: 'other' }))
      for (const channel of host.channels) channel.end()
      await Promise.all([first.closed, other.closed])
      expect(readdirSync(target)).toEqual(['.cahier-abc'])
      expect(readdirSync(join(target, '.cahier-abc'))).toEqual(['1'])
    })

    it('is alone with its parts, and takes over those of an agent that was killed', async () => {
      const manifest = [file('a', 'one')]
      const { parts } = await new AgentPlace(agent).open(input(manifest))
      bring(parts!, 0, 'o')
      const other = await lab.start(kind)
      await expect(new AgentPlace(other).open(input(manifest))).rejects.toMatchObject({ code: 'E_TARGET_BUSY' })
      process.kill(agent.pid, 'SIGKILL')
      expect(await agent.closed).toMatchObject({ code: 'E_COPY_LOST' })
      const { found } = await new AgentPlace(other).open(input(manifest))
      expect(found).toEqual([{ state: 'part', bytes: 1 }])
    })

    it('shows that it lives by the time of its lock, and places nothing when somebody has taken it', async () => {
      const place = new AgentPlace(agent)
      const { parts } = await place.open(input([file('a', 'one')]))
      const lock = join(parts!, 'lock')
      utimesSync(lock, 1e9, 1e9)
      await agent.request('ping', [])
      expect(statSync(lock).mtimeMs).toBeGreaterThan(Date.now() - 60_000)
      bring(parts!, 0, 'one')
      writeFileSync(lock, 'elsewhere 00000000-0000-0000-0000-000000000000 1 1\n')
      await expect(place.commit([{ index: 0, sha256: sha('one') }])).rejects.toMatchObject({ code: 'E_TARGET_BUSY' })
      await place[Symbol.asyncDispose]()
      await agent[Symbol.asyncDispose]()
      expect(readdirSync(target)).toEqual(['.cahier-abc'])
      expect(readdirSync(parts!).sort()).toEqual(['0', 'lock'])
    })

    it('begins parts with what is there, for who sends differences', async () => {
      writeFileSync(join(target, 'a'), 'old text')
      writeFileSync(join(target, 'b'), 'far too long')
      const manifest = [file('a', 'new and longer'), file('b', 'short'), file('c', 'x')]
      const place = new AgentPlace(agent)
      const { parts, found } = await place.open(input(manifest, { seed: true }))
      expect(found.map(({ state }) => state)).toEqual(['needed', 'needed', 'needed'])
      expect(readFileSync(join(parts!, '0'), 'utf8')).toBe('old text')
      expect(readFileSync(join(parts!, '1'), 'utf8')).toBe('far t')
      await place.abandon({ keep: true })
      const plain = new AgentPlace(agent)
      expect((await plain.open(input(manifest))).found.map(({ state }) => state)).toEqual(['needed', 'needed', 'needed'])
    })

    it('renames a new directory as one when its content came by a stream', async () => {
      const content = randomBytes(10_000)
      const manifest: Manifest = [
        directory('new', 0o550, TIME + 3),
        { kind: 'file', name: 'new/a', mode: 0o400, timeUs: TIME, size: 4000 },
        directory('new/sub', 0o500, TIME + 4),
        { kind: 'file', name: 'new/sub/b', mode: 0o755, timeUs: TIME + 1, size: 5000 },
        link('new/sub/l', 'b'),
        { kind: 'file', name: 'new/sub/none', mode: 0o600, timeUs: TIME + 2, size: 0 },
        { kind: 'file', name: 'single', mode: 0o600, timeUs: TIME + 2, size: 1000 },
      ]
      const receiver = await lab.receive(agent, manifest, 512, { directory: target })
      const one = await lab.link(receiver)
      await one.send(...framesOf(content, 512))
      await receiver.events.find(/^whole/)
      const answer = await agent.request('commit', [], '1 -\n3 -\n5 -\n6 -\n')
      expect([...answer.words, answer.payload.toString()]).toEqual(['4', 'sha256', ''])
      expect(readdirSync(target).sort()).toEqual(['new', 'single'])
      const paths = ['new/a', 'new/sub/b', 'single'].map((name) => readFileSync(join(target, name)))
      expect(Buffer.concat(paths)).toEqual(content)
      for (const entry of manifest) {
        expect(Math.abs(microsOf(join(target, entry.name)) - entry.timeUs), entry.name).toBeLessThanOrEqual(1)
        if (entry.kind !== 'link') expect(lstatSync(join(target, entry.name)).mode & 0o7777, entry.name).toBe(entry.mode)
      }
    })

    it('places what of a new directory came, when not all of it was wanted in the end', async () => {
      const content = randomBytes(3000)
      const part = (name: string) => ({ kind: 'file', name, mode: 0o644, timeUs: TIME, size: 1000 }) as const
      const manifest: Manifest = [directory('new'), part('new/a'), part('new/b'), part('new/c')]
      const receiver = await lab.receive(agent, manifest, 512, { directory: target })
      const one = await lab.link(receiver)
      await one.send(...framesOf(content, 512))
      await receiver.events.find(/^whole/)
      const answer = await agent.request('commit', [], '1 -\n3 -\n')
      expect(answer.words).toEqual(['2', 'sha256'])
      expect(readdirSync(join(target, 'new')).sort()).toEqual(['a', 'c'])
      expect(readFileSync(join(target, 'new/c'))).toEqual(content.subarray(2000))
    })

    it('places files one by one when somebody else has made the new directory meanwhile', async () => {
      const content = randomBytes(2000)
      const part = (name: string) => ({ kind: 'file', name, mode: 0o644, timeUs: TIME, size: 1000 }) as const
      const receiver = await lab.receive(agent, [directory('new'), part('new/a'), part('new/b')], 512, { directory: target })
      const one = await lab.link(receiver)
      await one.send(...framesOf(content, 512))
      await receiver.events.find(/^whole/)
      mkdirSync(join(target, 'new/b'), { recursive: true })
      writeFileSync(join(target, 'new/mine'), 'mine')
      const { words, payload } = await agent.request('commit', [], '1 -\n2 -\n')
      expect(words).toEqual(['1', 'sha256'])
      expect(payload.toString()).toMatch(/^2 E_TARGET_KIND /)
      expect(readFileSync(join(target, 'new/a'))).toEqual(content.subarray(0, 1000))
      expect(readFileSync(join(target, 'new/mine'), 'utf8')).toBe('mine')
    })

    it('says that what did not come whole by the stream is lost', async () => {
      const content = randomBytes(2000)
      const part = (name: string) => ({ kind: 'file', name, mode: 0o644, timeUs: TIME, size: 1000 }) as const
      const receiver = await lab.receive(agent, [part('a'), part('b')], 500, { directory: target })
      const one = await lab.link(receiver)
      await one.send(...framesOf(content, 500).slice(0, 3))
      await receiver.events.find(/^have 1500/)
      const { words, payload } = await agent.request('commit', [], '0 -\n1 -\n')
      expect(words).toEqual(['1', 'sha256'])
      expect(payload.toString()).toMatch(/^1 E_COPY_LOST /)
      expect(readFileSync(join(target, 'a'))).toEqual(content.subarray(0, 1000))
      expect(existsSync(join(target, 'b'))).toBe(false)
      // The rest is worth something to the next one.
      const next = new AgentPlace(agent)
      expect((await next.open(input([part('a'), part('b')]))).found.map(({ state }) => state)).toEqual(['same', 'part'])
    })

    it('gives what a stream has left to a mover, and what a mover has left to a stream', async () => {
      const content = randomBytes(3000)
      const part = (name: string) => ({ kind: 'file', name, mode: 0o444, timeUs: TIME, size: 1000 }) as const
      const manifest: Manifest = [directory('new'), part('new/a'), part('new/b'), part('new/c')]
      const receiver = await lab.receive(agent, manifest, 250, { directory: target })
      const one = await lab.link(receiver)
      await one.send(...framesOf(content, 250).slice(0, 6))
      await receiver.events.find(/^have 1500/)
      await agent.request('abandon', ['keep'])
      const place = new AgentPlace(agent)
      const { parts, found } = await place.open(input(manifest))
      expect(found.slice(1)).toEqual([{ state: 'part', bytes: 1000 }, { state: 'part', bytes: 500 }, { state: 'needed' }])
      expect(readFileSync(join(parts!, '1'))).toEqual(content.subarray(0, 1000))
      writeFileSync(join(parts!, '2'), content.subarray(1000, 1800))
      await place.abandon({ keep: true })
      const other = await lab.start(kind)
      const again = await lab.receive(other, manifest, 250, { directory: target })
      expect(again.have).toBe(1750)
      const two = await lab.link(again)
      await two.send(...framesOf(content, 250, KEY, 1750))
      expect(await again.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
      await other.request('commit', [], '1 -\n2 -\n3 -\n')
      expect(['a', 'b', 'c'].map((name) => statSync(join(target, 'new', name)).mode & 0o777)).toEqual([0o444, 0o444, 0o444])
      expect(Buffer.concat(['a', 'b', 'c'].map((name) => readFileSync(join(target, 'new', name))))).toEqual(content)
    })

    it.skipIf(!canMount)('stops when the disk is full, with nothing under a final name (needs root)', async () => {
      const size = 200_000
      const manifest: Manifest = [directory('d'), { kind: 'file', name: 'd/f', mode: 0o644, timeUs: TIME, size }]
      const mount = `mount -t tmpfs -o size=256k none ${target} && head -c 150000 /dev/zero > ${target}/.ballast && rm ${target}/.ballast &&`
      const own = localHost(lab.folder, { shell: ['unshare', '--mount', '/bin/sh', '-c'] })
      const inside = { ...own, pooled: { exec: (command: string) => own.pooled.exec(`${mount} ${command}`) } as typeof own.pooled }
      const full = await lab.start(kind, inside)
      const events = new Events(full)
      const receiver = await lab.receive(full, manifest, 10_000, { directory: target })
      // Somebody else takes the room that was seen.
      spawnSync('nsenter', ['--mount', '-t', String(full.pid), 'sh', '-c', `head -c 150000 /dev/zero > ${target}/other`])
      const one = await lab.link(receiver)
      await one.send(...framesOf(randomBytes(size), 10_000))
      expect(await events.find(/^(fail|whole)/)).toMatch(/^fail E_TARGET_FULL /)
      await one.closed
      const list = spawnSync('nsenter', ['--mount', '-t', String(full.pid), 'ls', '-A', target], { encoding: 'utf8' })
      expect(list.stdout.trim().split('\n').sort()).toEqual(['.cahier-abc', 'other'])
      expect((await lab.link(receiver, 5)).have).toBeUndefined()
    })

    it('reads a list of many thousand files', async () => {
      const manifest: Manifest = [directory('d'), ...Array.from({ length: 20_000 }, (_, index) => file(`d/some name ${index}`, ''))]
      expect(encodeManifest(manifest).length).toBeGreaterThan(700_000)
      const { found } = await new AgentPlace(agent).open(input(manifest))
      expect(found.length).toBe(20_001)
    })
  })
}
