import { createHash, randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { joinCommand } from '../../../src/transfer/agent/join-command.js'
import { type LinkEnd, type LinkOptions, sendOver } from '../../../src/transfer/chain/link.js'
import { ChainSource, chunkSize } from '../../../src/transfer/chain/source.js'
import { channelWire, socketWire } from '../../../src/transfer/chain/wire.js'
import type { StreamReader } from '../../../src/transfer/local/local-source.js'
import type { Manifest } from '../../../src/transfer/manifest.js'
import { Pace } from '../../../src/transfer/pace.js'
import { AgentLab, localChannel } from '../agent-lab.js'
import { type ReceiverOptions, TestReceiver } from './test-receiver.js'

const KiB = 1024
const key = randomBytes(32)

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

/** A stream in memory that counts what is read of it. */
class MemoryReader implements StreamReader {
  readonly content: Buffer
  bytesRead = 0

  constructor(content: Buffer) {
    this.content = content
  }

  get size(): number {
    return this.content.length
  }

  async read(offset: number, length: number, into?: Buffer): Promise<Buffer> {
    const part = this.content.subarray(offset, offset + length)
    this.bytesRead += part.length
    if (into === undefined) return Buffer.from(part)
    part.copy(into)
    return into.subarray(0, part.length)
  }
}

function sourceOf(content: Buffer, chunk = 128 * KiB): { source: ChainSource; reader: MemoryReader } {
  const reader = new MemoryReader(content)
  return { source: new ChainSource(reader, key, chunk), reader }
}

async function receiver(options: Omit<ReceiverOptions, 'key'> & { readonly key?: Buffer }): Promise<TestReceiver> {
  const started = await TestReceiver.start({ key, ...options })
  open.push(started)
  return started
}

const linkOptions = (source: ChainSource): LinkOptions => ({
  epoch: 7,
  key,
  source,
  pace: new Pace(),
  signal: new AbortController().signal,
  onUp: () => undefined,
  onSent: () => undefined,
})

async function send(
  to: TestReceiver,
  source: ChainSource,
  options: Partial<LinkOptions> = {},
): Promise<{ end: LinkEnd; ups: number[]; sent: number[] }> {
  const ups: number[] = []
  const sent: number[] = []
  const end = await sendOver(socketWire(connect(to.port, '127.0.0.1')), {
    ...linkOptions(source),
    onUp: (offset) => ups.push(offset),
    onSent: (offset) => sent.push(offset),
    ...options,
  })
  return { end, ups, sent }
}

describe('sendOver', () => {
  it.each([
    ['one chunk', 1000],
    ['whole chunks', 3 * 128 * KiB],
    ['a short last chunk', 5 * 1024 * KiB + 17],
  ])('brings a stream of %s, each chunk with a tag that fits', async (_what, size) => {
    const content = randomBytes(size)
    const { source, reader } = sourceOf(content)
    const to = await receiver({ total: size })
    const { end, ups, sent } = await send(to, source)
    expect(to.wrong).toBeUndefined()
    expect(to.content.equals(content)).toBe(true)
    expect(to.epoch).toBe(7)
    expect(end).toBeUndefined()
    expect(ups).toEqual([0])
    expect(sent.at(-1)).toBe(size)
    expect(await source.whole()).toBe(createHash('sha256').update(content).digest('hex'))
    expect(reader.bytesRead).toBe(size)
  })

  it('goes on where the other side has something, and hashes what it does not send', async () => {
    const content = randomBytes(3 * 1024 * KiB + 5)
    const { source } = sourceOf(content)
    const to = await receiver({ total: content.length, have: content.subarray(0, 17 * 128 * KiB) })
    const { ups } = await send(to, source)
    expect(to.wrong).toBeUndefined()
    expect(ups).toEqual([17 * 128 * KiB])
    expect(to.content.equals(content)).toBe(true)
    expect(to.sizes.length).toBe(8)
  })

  it('serves links at different places at once, from what it has read a moment ago', async () => {
    const content = randomBytes(6 * 1024 * KiB)
    const { source, reader } = sourceOf(content)
    const all = await Promise.all(
      [0, 0, 9].map((chunks) => receiver({ total: content.length, have: content.subarray(0, chunks * 128 * KiB) })),
    )
    await Promise.all(all.map((one) => send(one, source)))
    expect(all.map((one) => one.content.equals(content))).toEqual([true, true, true])
    expect(reader.bytesRead).toBeLessThan(3 * content.length)
  })

  it('sends nothing to who does not know the key', async () => {
    const { source, reader } = sourceOf(randomBytes(1000))
    const to = await receiver({ total: 1000, proof: randomBytes(32) })
    expect((await send(to, source)).end).toMatchObject({ fault: 'denied' })
    expect(to.content.length).toBe(0)
    expect(reader.bytesRead).toBe(0)
  })

  it('is not let in with another key', async () => {
    const { source } = sourceOf(randomBytes(1000))
    const to = await receiver({ total: 1000, key: randomBytes(32) })
    expect((await send(to, source)).end).toMatchObject({ fault: 'refused' })
    expect(to.wrong).toMatch(/uninvited/)
  })

  it('is denied by what speaks something else', async () => {
    const { source } = sourceOf(randomBytes(1000))
    const to = await receiver({ total: 1000, greeting: 'SSH-' })
    expect((await send(to, source)).end).toMatchObject({ fault: 'denied' })
  })

  it.each([1, 2000])('refuses to begin at byte %i, where no chunk begins', async (asks) => {
    const { source } = sourceOf(randomBytes(1000))
    expect((await send(await receiver({ total: 1000, asks }), source)).end).toMatchObject({ fault: 'denied' })
  })

  it('says that nobody listens', async () => {
    const { source } = sourceOf(randomBytes(1000))
    const to = await receiver({ total: 1000 })
    const { port } = to
    await to[Symbol.asyncDispose]()
    open.pop()
    expect((await send({ port } as TestReceiver, source)).end).toMatchObject({ fault: 'refused' })
  })

  it('says that the link broke when the other side goes away in the middle', async () => {
    const content = randomBytes(20 * 1024 * KiB)
    const { source } = sourceOf(content)
    const to = await receiver({ total: content.length, closesAt: 512 * KiB })
    const { end, ups } = await send(to, source)
    expect(end).toMatchObject({ fault: 'closed' })
    expect(ups).toEqual([0])
  })

  it('reads little ahead of who does not take it, and ends when it is told to', async () => {
    const content = Buffer.alloc(64 * 1024 * KiB)
    const { source, reader } = sourceOf(content, 1024 * KiB)
    const to = await receiver({ total: content.length, stopsAt: 1024 * KiB })
    const controller = new AbortController()
    let last = -1
    // When nothing was handed over between two looks, it waits.
    const timer = setInterval(() => {
      if (last === reader.bytesRead && last > 0) controller.abort()
      last = reader.bytesRead
    }, 300)
    try {
      expect((await send(to, source, { signal: controller.signal })).end).toMatchObject({ fault: 'closed' })
    } finally {
      clearInterval(timer)
    }
    expect(reader.bytesRead).toBeLessThan(40 * 1024 * KiB)
  })

  it.each([['py'], ['pl']] as const)('goes over a program before which a profile prints something (needs %s)', async (kind) => {
    await using lab = new AgentLab()
    const content = randomBytes(300_000)
    const { source } = sourceOf(content)
    const manifest: Manifest = [{ kind: 'file', name: 'f', mode: 0o600, timeUs: 1, size: content.length }]
    const to = await lab.receiver(kind, manifest, 128 * KiB, { key })
    const { words } = await to.agent.request('listen', ['unix'])
    const command = `echo Welcome; printf 'CC1'; sleep 0.05; echo x; yes news | head -n 3000; ${joinCommand(kind, words[0] as string)}`
    const wire = channelWire(localChannel(command, process.env))
    const end = await sendOver(wire, linkOptions(source))
    expect(end).toBeUndefined()
    expect(await to.events.find(/^(whole|bad)/)).toBe(`whole ${createHash('sha256').update(content).digest('hex')}`)
  })

  it('is denied by a program that says much, and is no link', async () => {
    const { source } = sourceOf(randomBytes(1000))
    expect(await sendOver(channelWire(localChannel('exec yes', process.env)), linkOptions(source))).toMatchObject({ fault: 'denied' })
  })

  it('makes no link for who has given up already', async () => {
    const { source, reader } = sourceOf(randomBytes(1000))
    const to = await receiver({ total: 1000 })
    expect((await send(to, source, { signal: AbortSignal.abort() })).end).toMatchObject({ fault: 'refused' })
    expect(reader.bytesRead).toBe(0)
  })

  it('keeps to a limit', async () => {
    const content = randomBytes(600 * KiB)
    const { source } = sourceOf(content, 16 * KiB)
    const to = await receiver({ total: content.length })
    const began = performance.now()
    await send(to, source, { pace: new Pace(1000 * KiB) })
    expect(performance.now() - began).toBeGreaterThan(400)
    expect(to.content.equals(content)).toBe(true)
  })
})

describe('chunkSize', () => {
  it.each([
    [100e6, 8, undefined, 64 * KiB],
    [100e6, 4, undefined, 128 * KiB],
    [1e9, 4, undefined, 128 * KiB],
    [0, 8, undefined, 16 * KiB],
    [1000, 1, undefined, 16 * KiB],
    [1e9, 4, 100e3, 16 * KiB],
  ])('%d bytes to %d hosts (limit %s): chunks of %d', (total, hosts, limit, chunk) => {
    expect(chunkSize(total, hosts, limit)).toBe(chunk)
  })

  it.each([1e12, 1e13, 1e15])('keeps the tags of %d bytes below 32 MB', (total) => {
    expect((total / chunkSize(total, 1000)) * 32).toBeLessThanOrEqual(33.6e6)
  })
})
