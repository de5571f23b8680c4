import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { basename, dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentKind } from '../../src/transfer/agent/agent-program.js'
import type { HostAgent } from '../../src/transfer/agent/host-agent.js'
import type { Manifest } from '../../src/transfer/manifest.js'
import { AgentLab, framesOf, KEY, kindUnavailable, localHost, type Receiver, SocketReader, sayBye } from './agent-lab.js'

const CHUNK = 1000
const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex')
const fileOf = (size: number, name = 'f'): Manifest => [{ kind: 'file', name, mode: 0o640, timeUs: 1_600_000_000_123_456, size }]
/** What agents have written, whole or in part. */
const partOf = (receiver: Receiver): string => join(receiver.directory, '.cahier-abc', '0')

for (const kind of ['py', 'pl'] as const) {
  const reason = kindUnavailable(kind)
  describe.skipIf(reason !== undefined)(`links of the agent in ${kind}${reason === undefined ? '' : ` (${reason})`}`, () => {
    let lab: AgentLab
    beforeEach(() => {
      lab = new AgentLab()
    })
    afterEach(() => lab[Symbol.asyncDispose]())

    it('takes a stream from who knows the key, and says its digest', async () => {
      const content = randomBytes(3 * CHUNK + 17)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const link = await lab.link(receiver)
      expect(link.have).toBe(0)
      await link.send(...framesOf(content, CHUNK))
      link.end()
      expect(await receiver.events.find(/^whole /)).toBe(`whole ${sha(content)}`)
      expect(receiver.events.all.at(-2)).toBe(`have ${content.length}`)
      const { words } = await receiver.agent.request('commit', [], '0 -\n')
      expect(words).toEqual(['1', 'sha256'])
      expect(readFileSync(join(receiver.directory, 'f'))).toEqual(content)
      expect(readdirSync(receiver.directory)).toEqual(['f'])
    })

    it('takes the same from any pieces', async () => {
      const content = randomBytes(5 * 64 + 3)
      const manifest: Manifest = [
        { kind: 'file', name: 'a', mode: 0o600, timeUs: 1, size: 100 },
        { kind: 'file', name: 'b', mode: 0o600, timeUs: 1, size: 0 },
        { kind: 'file', name: 'c', mode: 0o600, timeUs: 1, size: content.length - 100 },
      ]
      const agent = await lab.start(kind)
      let round = 0
      await fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 40 }), async (sizes) => {
          round += 1
          const pieces = (data: Buffer): Buffer[] => {
            const cut: Buffer[] = []
            for (let at = 0, n = 0; at < data.length; n += 1) {
              const size = sizes[n % sizes.length] as number
              cut.push(data.subarray(at, at + size))
              at += size
            }
            return cut
          }
          const receiver = await lab.receive(agent, manifest, 64, { parts: `r${round}` })
          const from = receiver.events.all.length
          const link = await lab.link(receiver, round, { pieces })
          await link.send(...framesOf(content, 64))
          expect(await receiver.events.find(/^(whole|bad)/, from)).toBe(`whole ${sha(content)}`)
          await agent.request('commit', [], '0 -\n1 -\n2 -\n')
          const found = ['a', 'b', 'c'].map((name) => readFileSync(join(receiver.directory, name)))
          expect(Buffer.concat(found)).toEqual(content)
        }),
        { numRuns: 12 },
      )
    })

    it('says whole at once for a stream of nothing', async () => {
      const receiver = await lab.receiver(kind, fileOf(0), CHUNK)
      expect(await receiver.events.find(/^whole /)).toBe(`whole ${sha(Buffer.alloc(0))}`)
      await receiver.agent.request('commit', [], '0 -\n')
      expect(readFileSync(join(receiver.directory, 'f')).length).toBe(0)
    })

    it.each([
      ['the wrong key', async (receiver: Receiver) => (await lab.link(receiver, 1, { key: Buffer.alloc(32, 'x') })).have],
      ['garbage', (receiver: Receiver) => knock(receiver.port, randomBytes(52))],
      [
        'a request of another protocol',
        (receiver: Receiver) => knock(receiver.port, Buffer.from(`GET / HTTP/1.1\r\nHost: there.example\r\nAccept: */*\r\n\r\n`)),
      ],
    ])('lets nobody in with %s, and goes on', async (_title, attempt) => {
      const content = randomBytes(2 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      expect(await attempt(receiver)).toBeUndefined()
      expect(receiver.events.all).toEqual([])
      await finish(receiver, content)
    })

    it('lets somebody in while others say nothing at its door', async () => {
      const content = randomBytes(2 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const silent = await Promise.all(Array.from({ length: 40 }, () => open(receiver.port)))
      await finish(receiver, content)
      for (const socket of silent) socket.destroy()
    })

    it('is not disturbed by an uninvited client in the middle of a stream', async () => {
      const content = randomBytes(4 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const link = await lab.link(receiver)
      const frames = framesOf(content, CHUNK)
      await link.send(...frames.slice(0, 2))
      await receiver.events.find(/^have /)
      expect(await knock(receiver.port, randomBytes(52))).toBeUndefined()
      const other = await lab.link(receiver, 9, { key: Buffer.alloc(32, 'x') })
      expect(other.have).toBeUndefined()
      await link.send(...frames.slice(2))
      expect(await receiver.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
    })

    it.each([
      ['length', 0, 0x01],
      ['length, far too large', 0, 0x80],
      ['offset', 11, 0x01],
      ['offset, by a lot', 4, 0x40],
      ['tag', 12, 0x01],
      ['tag, at its end', 43, 0x80],
      ['content', 44, 0x01],
      ['content, at its end', 44 + CHUNK - 1, 0x10],
    ])('drops a chunk with one wrong bit in its %s, and nothing before it', async (_title, at, bit) => {
      const content = randomBytes(4 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const frames = framesOf(content, CHUNK)
      const link = await lab.link(receiver, 7)
      const wrong = Buffer.from(frames[2] as Buffer)
      wrong[at] = (wrong[at] as number) ^ bit
      await link.send(...frames.slice(0, 2), wrong, frames[3] as Buffer)
      expect(await receiver.events.find(/^bad /)).toBe(`bad 7 ${2 * CHUNK}`)
      await link.closed
      expect(readFileSync(partOf(receiver))).toEqual(content.subarray(0, 2 * CHUNK))
      const again = await lab.link(receiver, 8)
      expect(again.have).toBe(2 * CHUNK)
      await again.send(...frames.slice(2))
      expect(await receiver.events.find(/^whole /)).toBe(`whole ${sha(content)}`)
    })

    it('drops a chunk of another place, and one more than there is', async () => {
      const content = randomBytes(3 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const frames = framesOf(content, CHUNK)
      const first = await lab.link(receiver, 1)
      await first.send(frames[1] as Buffer)
      expect(await receiver.events.find(/^bad /)).toBe('bad 1 0')
      const second = await lab.link(receiver, 2)
      const wide = framesOf(content, 2 * CHUNK)
      await second.send(wide[0] as Buffer)
      expect(await receiver.events.find(/^bad 2/)).toBe('bad 2 0')
      await finish(receiver, content, 3)
    })

    it('forgets half a chunk when its link breaks, and goes on from what was whole', async () => {
      const content = randomBytes(3 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const frames = framesOf(content, CHUNK)
      const link = await lab.link(receiver)
      await link.send(frames[0] as Buffer, (frames[1] as Buffer).subarray(0, 500))
      await receiver.events.find(/^have /)
      link.destroy()
      const again = await lab.link(receiver, 1)
      expect(again.have).toBe(CHUNK)
      await again.send(...frames.slice(1))
      expect(await receiver.events.find(/^whole /)).toBe(`whole ${sha(content)}`)
    })

    it('takes links of the epoch that is expected and of later ones, the newest in place of the others', async () => {
      const content = randomBytes(4 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const frames = framesOf(content, CHUNK)
      await receiver.agent.request('expect', [5])
      expect((await lab.link(receiver, 4)).have).toBeUndefined()
      const fifth = await lab.link(receiver, 5)
      expect(fifth.have).toBe(0)
      await fifth.send(frames[0] as Buffer)
      await receiver.events.find(/^have /)
      const sixth = await lab.link(receiver, 6)
      expect(sixth.have).toBe(CHUNK)
      await fifth.closed
      expect((await lab.link(receiver, 5)).have).toBeUndefined()
      await receiver.agent.request('expect', [7])
      await sixth.closed
      const seventh = await lab.link(receiver, 7)
      await seventh.send(...frames.slice(1))
      expect(await receiver.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
    })

    it('goes on with what an earlier agent has left, once the first chunk has shown that it is right', async () => {
      const content = randomBytes(5 * CHUNK)
      const directory = lab.newFolder()
      const frames = framesOf(content, CHUNK)
      const first = await lab.receiver(kind, fileOf(content.length), CHUNK, { directory })
      const link = await lab.link(first)
      await link.send(...frames.slice(0, 3), (frames[3] as Buffer).subarray(0, 700))
      await first.events.find(new RegExp(`^have ${3 * CHUNK}$`))
      await first.agent[Symbol.asyncDispose]()
      const second = await lab.receiver(kind, fileOf(content.length), CHUNK, { directory })
      expect(second.have).toBe(3 * CHUNK)
      const again = await lab.link(second)
      expect(again.have).toBe(3 * CHUNK)
      await again.send(...frames.slice(3))
      expect(await second.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
      await second.agent.request('commit', [], '0 -\n')
      expect(readFileSync(join(directory, 'f'))).toEqual(content)
    })

    it('goes on where empty files stand before, between and behind what is there', async () => {
      const content = randomBytes(4 * CHUNK)
      const sizes = [0, 0, CHUNK, 0, 2 * CHUNK, 0, CHUNK, 0]
      const manifest: Manifest = sizes.map((size, index) => ({ kind: 'file', name: `f${index}`, mode: 0o600, timeUs: 1, size }))
      const directory = lab.newFolder()
      const first = await lab.receiver(kind, manifest, CHUNK, { directory })
      await (await lab.link(first)).send(...framesOf(content, CHUNK).slice(0, 3))
      await first.events.find(new RegExp(`^have ${3 * CHUNK}$`))
      await first.agent[Symbol.asyncDispose]()
      const second = await lab.receiver(kind, manifest, CHUNK, { directory })
      expect(second.have).toBe(3 * CHUNK)
      await finish(second, content)
      const { words } = await second.agent.request('commit', [], sizes.map((_, index) => `${index} -\n`).join(''))
      expect(words).toEqual([`${sizes.length}`, 'sha256'])
      expect(Buffer.concat(sizes.map((_, index) => readFileSync(join(directory, `f${index}`))))).toEqual(content)
    })

    it('starts again at 0 when what an earlier agent has left is something else', async () => {
      const content = randomBytes(4 * CHUNK)
      const directory = lab.newFolder()
      const first = await lab.receiver(kind, fileOf(content.length), CHUNK, { directory })
      await (await lab.link(first)).send(...framesOf(content, CHUNK).slice(0, 2))
      await first.events.find(new RegExp(`^have ${2 * CHUNK}$`))
      await first.agent[Symbol.asyncDispose]()
      const part = readFileSync(partOf(first))
      part[CHUNK + 5] = (part[CHUNK + 5] as number) ^ 1
      writeFileSync(partOf(first), part)
      const second = await lab.receiver(kind, fileOf(content.length), CHUNK, { directory })
      expect(second.have).toBe(2 * CHUNK)
      const again = await lab.link(second, 3)
      await again.send(...framesOf(content, CHUNK, KEY, 2 * CHUNK))
      await second.events.find(/^have 0$/)
      expect(second.events.all.slice(-2)).toEqual([`bad 3 ${2 * CHUNK}`, 'have 0'])
      await finish(second, content, 4)
      await second.agent.request('commit', [], '0 -\n')
      expect(readFileSync(join(directory, 'f'))).toEqual(content)
    })

    it('never takes everything that an earlier agent has left for right: the last chunk tells', async () => {
      const content = randomBytes(3 * CHUNK)
      const directory = lab.newFolder()
      const first = await lab.receiver(kind, fileOf(content.length), CHUNK, { directory })
      await finish(first, content)
      await first.agent[Symbol.asyncDispose]()
      const second = await lab.receiver(kind, fileOf(content.length), CHUNK, { directory })
      expect(second.have).toBe(2 * CHUNK)
      expect(second.events.count(/^whole/)).toBe(0)
      await finish(second, content)
    })

    it('gives on what it gets, and what the next host lacks of what was before', async () => {
      const content = randomBytes(40 * CHUNK + 1)
      const frames = framesOf(content, CHUNK)
      const last = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const first = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const link = await lab.link(first)
      await link.send(...frames.slice(0, 10))
      await first.events.find(new RegExp(`^have ${10 * CHUNK}$`))
      await first.agent.request('forward', [4, 'tcp', '127.0.0.1', last.port])
      await first.events.find(/^up 4 0$/)
      await link.send(...frames.slice(10))
      link.end()
      expect(await last.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
      expect(first.events.count(/^down/)).toBe(0)
    })

    it('links the next host anew, where it wants to go on', async () => {
      const content = randomBytes(20 * CHUNK)
      const frames = framesOf(content, CHUNK)
      const first = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const others = [await lab.receiver(kind, fileOf(content.length), CHUNK), await lab.receiver(kind, fileOf(content.length), CHUNK)]
      const link = await lab.link(first)
      await link.send(...frames.slice(0, 5))
      await first.agent.request('forward', [2, 'tcp', '127.0.0.1', others[0]!.port])
      await others[0]!.events.find(new RegExp(`^have ${5 * CHUNK}$`))
      await first.agent.request('forward', [3, 'none'])
      await link.send(...frames.slice(5, 12))
      await first.agent.request('forward', [4, 'tcp', '127.0.0.1', others[1]!.port])
      await others[1]!.events.find(new RegExp(`^have ${12 * CHUNK}$`))
      await first.agent.request('forward', [5, 'tcp', '127.0.0.1', others[0]!.port])
      await first.events.find(new RegExp(`^up 5 ${5 * CHUNK}$`))
      await link.send(...frames.slice(12))
      expect(await others[0]!.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
      await first.agent.request('forward', [6, 'tcp', '127.0.0.1', others[1]!.port])
      expect(await others[1]!.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
      expect(first.events.count(/^down/)).toBe(0)
    })

    it.each([
      ['nobody listens', 'refused', async () => 1],
      ['something else listens', 'denied', () => serve((socket) => socket.write('SSH-2.0-OpenSSH_9.9\r\nand more text\r\n'))],
      ['it is closed at once', '(closed|denied)', () => serve((socket) => socket.end())],
      [
        'somebody answers who does not know the key',
        'denied',
        () =>
          serve((socket) => {
            socket.write(Buffer.concat([Buffer.from('CC1\n'), randomBytes(16)]))
            socket.once('data', () => socket.write(randomBytes(40)))
          }),
      ],
    ])('says why there is no link when %s', async (_title, why, port) => {
      const receiver = await lab.receiver(kind, fileOf(CHUNK), CHUNK)
      await receiver.agent.request('forward', [3, 'tcp', '127.0.0.1', await port()])
      expect(await receiver.events.find(/^(up|down)/)).toMatch(new RegExp(`^down 3 ${why} `))
    })

    it('sends no byte of content to who does not know the key', async () => {
      const content = randomBytes(2 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      await finish(receiver, content)
      let said = Buffer.alloc(0)
      const port = await serve((socket) => {
        socket.on('data', (data: Buffer) => {
          said = Buffer.concat([said, data])
          if (said.length >= 52) socket.write(randomBytes(40))
        })
        socket.write(Buffer.concat([Buffer.from('CC1\n'), randomBytes(16)]))
      })
      await receiver.agent.request('forward', [3, 'tcp', '127.0.0.1', port])
      expect(await receiver.events.find(/^(up|down)/)).toMatch(/^down 3 denied /)
      expect(said.length).toBe(52)
    })

    it('says when the next host closes before everything was sent', async () => {
      const content = randomBytes(4 * CHUNK)
      const first = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const last = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const link = await lab.link(first)
      await link.send(...framesOf(content, CHUNK).slice(0, 2))
      await first.agent.request('forward', [3, 'tcp', '127.0.0.1', last.port])
      await last.events.find(new RegExp(`^have ${2 * CHUNK}$`))
      process.kill(last.agent.pid, 'SIGKILL')
      expect(await first.events.find(/^down/)).toMatch(/^down 3 closed /)
      await link.send(...framesOf(content, CHUNK).slice(2))
      expect(await first.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
    })

    it('is not slowed by a next host that takes nothing, keeps little of it in memory, and gives it everything later', async () => {
      const chunk = 1 << 20
      const content = randomBytes(48 * chunk)
      const receiver = await lab.receiver(kind, fileOf(content.length), chunk)
      const slow = await takesLater(KEY, 0)
      await receiver.agent.request('forward', [2, 'tcp', '127.0.0.1', slow.port])
      await receiver.events.find(/^up 2 0$/)
      await finish(receiver, content)
      expect(residentMiB(receiver.agent)).toBeLessThan(60)
      const got = await slow.takeAll()
      expect(got.equals(Buffer.concat(framesOf(content, chunk)))).toBe(true)
    })

    it('carries a link over the input and output of a program', async () => {
      const content = randomBytes(30 * CHUNK)
      const last = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const first = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const bridge = `const s = require('net').connect(${last.port}, '127.0.0.1'); process.stdin.pipe(s); s.pipe(process.stdout)`
      await first.agent.request('forward', [2, 'command'], `${process.execPath}\0-e\0${bridge}\0`)
      await finish(first, content)
      expect(await last.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
    })

    it('carries a link over a program before which a profile has something to say', async () => {
      const content = randomBytes(3 * CHUNK)
      const last = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const first = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const bridge = `console.log('Welcome! ' + 'news '.repeat(2000)); setTimeout(() => {
        const s = require('net').connect(${last.port}, '127.0.0.1'); process.stdin.pipe(s); s.pipe(process.stdout) }, 20)`
      await first.agent.request('forward', [2, 'command'], `${process.execPath}\0-e\0${bridge}\0`)
      expect(await first.events.find(/^(up|down)/)).toBe('up 2 0')
      await finish(first, content)
      expect(await last.events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
    })

    it('refuses a program that has much to say, and no link', async () => {
      const receiver = await lab.receiver(kind, fileOf(CHUNK), CHUNK)
      await receiver.agent.request('forward', [2, 'command'], 'yes\0')
      expect(await receiver.events.find(/^(up|down)/)).toMatch(/^down 2 denied /)
    })

    it('says what a program said that could carry no link', async () => {
      const receiver = await lab.receiver(kind, fileOf(CHUNK), CHUNK)
      await receiver.agent.request('forward', [2, 'command'], 'sh\0-c\0echo no way there >&2; exit 255\0')
      const down = await receiver.events.find(/^(up|down)/)
      expect(down).toMatch(/^down 2 program /)
      expect(down).toContain('no%20way%20there')
      await receiver.agent.request('forward', [3, 'command'], '/no/such program\0')
      expect(await receiver.events.find(/^(up|down) 3/)).toMatch(/^down 3 program /)
    })

    it('listens at a socket in a folder of its own, and takes it away at its end', async () => {
      const content = randomBytes(2 * CHUNK)
      const receiver = await lab.receiver(kind, fileOf(content.length), CHUNK)
      const { words } = await receiver.agent.request('listen', ['unix'])
      const path = words[0] as string
      expect(existsSync(path)).toBe(true)
      const socket = connect(path)
      const reader = new SocketReader(socket)
      expect((await reader.take(20))?.toString('latin1', 0, 4)).toBe('CC1\n')
      socket.destroy()
      await sayBye(receiver.agent)
      expect(existsSync(join(path, '..'))).toBe(false)
    })

    it('finds another place for its socket where the first has no room, and tidies up after those that were killed', async () => {
      const place = lab.newFolder()
      const listen = async (TMPDIR: string) => {
        const agent = await lab.start(kind, localHost(lab.folder, { env: { TMPDIR } }))
        const { words } = await agent.request('listen', ['unix'])
        return { agent, folder: dirname(words[0] as string) }
      }
      const killed = await listen(place)
      const living = await listen(place)
      expect(dirname(killed.folder)).toBe(place)
      // Somebody else's, and that of an agent that nobody here can look at.
      const others = [join(place, 'cahier-0123456789abcdef'), join(place, 'cahier-fedcba9876543210')] as const
      for (const other of others) mkdirSync(other, { mode: 0o700 })
      writeFileSync(join(others[1], 'lock'), `elsewhere - ${killed.agent.pid} - - answers\n`)
      process.kill(killed.agent.pid, 'SIGKILL')
      await killed.agent.closed
      const next = await listen(place)
      expect(readdirSync(place).sort()).toEqual([living.folder, next.folder, ...others].map((path) => basename(path)).sort())
      // Nobody can make a folder there.
      const elsewhere = await listen('/proc')
      expect(existsSync(join(elsewhere.folder, 'link'))).toBe(true)
      for (const { agent, folder } of [living, next, elsewhere]) {
        await sayBye(agent)
        expect(existsSync(folder)).toBe(false)
      }
    })

    it('says that nobody can listen at an address of another host', async () => {
      const receiver = await lab.receiver(kind, fileOf(CHUNK), CHUNK)
      await expect(receiver.agent.request('listen', ['tcp', '192.0.2.7'])).rejects.toMatchObject({ code: 'E_TRANSFER' })
    })

    async function finish(receiver: Receiver, content: Buffer, epoch = 1): Promise<void> {
      const from = receiver.events.all.length
      const link = await lab.link(receiver, epoch)
      expect(link.have).toBeDefined()
      const frames = framesOf(content, receiver.chunk, receiver.key, link.have)
      for (const frame of frames) await link.send(frame)
      link.end()
      expect(await receiver.events.find(/^(whole|bad)/, from)).toBe(`whole ${sha(content)}`)
    }
  })
}

const both = (['py', 'pl'] as AgentKind[]).map(kindUnavailable).find((reason) => reason !== undefined)

describe.skipIf(both !== undefined)(`agents of both kinds${both === undefined ? '' : ` (${both})`}`, () => {
  it.each([['py pl py'], ['pl py pl']])('hand a stream of many files on: %s', async (kinds) => {
    await using lab = new AgentLab()
    const sizes = Array.from({ length: 300 }, (_, index) => (index % 7 === 0 ? 0 : (index * 37) % 5000))
    const manifest: Manifest = [
      { kind: 'directory', name: 'd', mode: 0o755, timeUs: 1_500_000_000_000_000 },
      ...sizes.map((size, index) => ({ kind: 'file', name: `d/${index}`, mode: 0o644, timeUs: 1_500_000_000_000_001, size }) as const),
    ]
    const content = randomBytes(sizes.reduce((sum, size) => sum + size, 0))
    const receivers: Receiver[] = []
    for (const kind of kinds.split(' ') as AgentKind[]) receivers.push(await lab.receiver(kind, manifest, 4096))
    await receivers[0]!.agent.request('forward', [1, 'tcp', '127.0.0.1', receivers[1]!.port])
    await receivers[1]!.agent.request('forward', [1, 'tcp', '127.0.0.1', receivers[2]!.port])
    const link = await lab.link(receivers[0]!)
    await link.send(...framesOf(content, 4096))
    link.end()
    for (const { agent, events, directory, order } of receivers) {
      expect(await events.find(/^(whole|bad)/)).toBe(`whole ${sha(content)}`)
      const { words, payload } = await agent.request('commit', [], order.map((index) => `${index} -\n`).join(''))
      expect([...words, payload.toString()]).toEqual(['300', 'sha256', ''])
      const found = sizes.map((_, index) => readFileSync(join(directory, 'd', `${index}`)))
      expect(Buffer.concat(found).equals(content)).toBe(true)
      expect(readdirSync(directory)).toEqual(['d'])
    }
  })
})

function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  return new Promise((resolve) => socket.once('connect', () => resolve(socket)))
}

/** Says something at the door. @returns undefined when it is closed without an answer */
async function knock(port: number, data: Buffer): Promise<Buffer | undefined> {
  const socket = await open(port)
  const reader = new SocketReader(socket)
  await reader.take(20)
  socket.write(data)
  const answer = await reader.rest()
  return answer.length === 0 ? undefined : answer
}

const servers = new Set<Server>()

afterEach(() => {
  for (const server of servers) server.close()
  servers.clear()
})

async function serve(take: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    take(socket)
  })
  servers.add(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

/** A host that lets somebody in, and then takes nothing until it is told to. */
async function takesLater(key: Buffer, have: number): Promise<{ port: number; takeAll(): Promise<Buffer> }> {
  const { createHmac } = await import('node:crypto')
  let socket: Socket | undefined
  const port = await serve((one) => {
    socket = one
    const nonce = randomBytes(16)
    one.write(Buffer.concat([Buffer.from('CC1\n'), nonce]))
    one.once('data', (data: Buffer) => {
      one.pause()
      const place = Buffer.alloc(8)
      place.writeBigUInt64BE(BigInt(have))
      const proof = createHmac('sha256', key).update('server').update(nonce).update(data.subarray(0, 20)).digest()
      one.write(Buffer.concat([proof, place]))
    })
  })
  return {
    port,
    takeAll: async () => {
      const chunks: Buffer[] = []
      for await (const chunk of socket!) chunks.push(chunk as Buffer)
      return Buffer.concat(chunks)
    },
  }
}

/** @source proc(5), status */
function residentMiB(agent: HostAgent): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) / 1024
}
