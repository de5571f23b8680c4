import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Duplex, Writable } from 'node:stream'
import { afterAll, describe, expect, it } from 'vitest'
import type { OutputStream } from '../../src/ports/process-backend.js'
import type { SshConnection } from '../../src/ssh/connection.js'
import { Ssh2Connector } from '../../src/ssh/ssh2-connector.js'
import { defaultUserKey, type FakeServer, type FakeServerOptions, makeTarget, startFakeServer } from './fake-server.js'

const directory = mkdtempSync(join(tmpdir(), 'cahier-channel-'))
const keyFile = join(directory, 'id')
writeFileSync(keyFile, defaultUserKey().private, { mode: 0o600 })
afterAll(() => rmSync(directory, { recursive: true, force: true }))

async function open(server: FakeServer, keepAliveMs = 10_000): Promise<SshConnection> {
  const knownHosts = join(directory, `known_hosts.${server.port}`)
  writeFileSync(knownHosts, server.knownHosts())
  return new Ssh2Connector().connect(makeTarget(server, { knownHostsFiles: [knownHosts], keyFiles: [keyFile] }, { keepAliveMs }))
}

/** A server and a connection to it. */
async function start(options: FakeServerOptions = {}, keepAliveMs?: number) {
  const server = await startFakeServer(options)
  const connection = await open(server, keepAliveMs)
  return {
    server,
    connection,
    async [Symbol.asyncDispose]() {
      await connection[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** What a command said so far, and a wait for it to say something. */
async function listen(connection: SshConnection, command: string, options?: { pty?: boolean }) {
  const channel = await connection.exec(command, options)
  const output: Record<OutputStream, Buffer[]> = { stdout: [], stderr: [] }
  let wake: (() => void) | undefined
  channel.listen((stream, chunk) => {
    output[stream].push(chunk)
    wake?.()
  })
  return {
    channel,
    text: (stream: OutputStream) => Buffer.concat(output[stream]).toString('latin1'),
    async said(text: string) {
      while (!Buffer.concat(output.stdout).includes(text)) await new Promise<void>((resolve) => (wake = resolve))
    },
  }
}

describe('a command', () => {
  it('keeps its two outputs apart, byte for byte', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, `printf '\\000\\377\\200out'; printf '\\377err' >&2`)
    expect(await command.channel.closed).toEqual({ exitCode: 0, signal: undefined, lost: undefined })
    expect(command.text('stdout')).toBe('\0\xff\x80out')
    expect(command.text('stderr')).toBe('\xfferr')
  })

  it('ends with the signal that ended it', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, 'kill -KILL $$')
    expect(await command.channel.closed).toEqual({ exitCode: undefined, signal: 'SIGKILL', lost: undefined })
  })

  it('has an end also when nobody listens', async () => {
    await using bed = await start()
    const channel = await bed.connection.exec('seq 1 100000; seq 1 100000 >&2; exit 5')
    expect(await channel.closed).toMatchObject({ exitCode: 5, lost: undefined })
  })

  it('reads its input to the end', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, 'cksum')
    const data = Buffer.alloc(3_000_001, 'abc')
    await command.channel.write(data.subarray(0, 2_000_000))
    await command.channel.write(data.subarray(2_000_000))
    command.channel.end()
    expect(await command.channel.closed).toMatchObject({ exitCode: 0 })
    expect(command.text('stdout')).toMatch(/^\d+ 3000001\n$/)
  })

  it('makes the writer wait when it does not read', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, 'until test -e go; do sleep 0.02; done; wc -c')
    const block = Buffer.alloc(1 << 20, 'x')
    let written = 0
    const writing = (async () => {
      for (; written < 32; written += 1) await command.channel.write(block)
      command.channel.end()
    })()
    await (await listen(bed.connection, 'sleep 0.2')).channel.closed
    // the window of ssh here and there, and the pipe
    expect(written).toBeLessThan(12)
    await (await listen(bed.connection, 'touch go')).channel.closed
    await writing
    expect(await command.channel.closed).toMatchObject({ exitCode: 0 })
    expect(command.text('stdout').trim()).toBe(String(32 << 20))
  })

  it('refuses input after its end', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, 'exit 0')
    await command.channel.closed
    await expect(command.channel.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'E_STDIN' })
    command.channel.end()
    command.channel.close()
  })

  it('rejects a writer that waits when the command ends', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, 'read line')
    const writing = (async () => {
      for (;;) await command.channel.write(Buffer.alloc(1 << 20, 10))
    })()
    await expect(writing).rejects.toMatchObject({ code: 'E_STDIN' })
    expect(await command.channel.closed).toMatchObject({ exitCode: 0 })
  })

  it('is made to wait while its listener pauses, and nothing is lost', async () => {
    await using bed = await start()
    const channel = await bed.connection.exec('seq 1 2000000 & seq 1 2000000 >&2; wait')
    const hashes = { stdout: createHash('sha256'), stderr: createHash('sha256') }
    let bytes = 0
    channel.listen((stream, chunk) => {
      hashes[stream].update(chunk)
      bytes += chunk.length
    })
    channel.pause()
    const paused = bytes
    // other channels of the connection go on meanwhile
    const other = await listen(bed.connection, 'echo other')
    expect(await other.channel.closed).toMatchObject({ exitCode: 0 })
    expect(bytes).toBe(paused)
    channel.resume()
    expect(await channel.closed).toMatchObject({ exitCode: 0 })
    const expected = createHash('sha256')
    for (let line = 1; line <= 2_000_000; line += 1) expected.update(`${line}\n`)
    const digest = expected.digest('hex')
    expect([hashes.stdout.digest('hex'), hashes.stderr.digest('hex')]).toEqual([digest, digest])
  })

  it('hands over what came after its exit was known', async () => {
    await using bed = await start()
    const channel = await bed.connection.exec('seq 1 50000; exit 9')
    const chunks: Buffer[] = []
    channel.listen((_, chunk) => chunks.push(chunk))
    channel.pause()
    await (await listen(bed.connection, 'sleep 0.2')).channel.closed
    let over = false
    void channel.closed.then(() => (over = true))
    await (await listen(bed.connection, 'true')).channel.closed
    expect(over).toBe(false)
    channel.resume()
    expect(await channel.closed).toMatchObject({ exitCode: 9 })
    expect(Buffer.concat(chunks).toString().trimEnd().split('\n')).toHaveLength(50_000)
  })

  it('is let go at once by close', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, 'echo started; exec sleep 1000')
    await command.said('started')
    command.channel.close()
    expect(await command.channel.closed).toMatchObject({ exitCode: undefined, lost: undefined })
  })

  it('is not started for an aborted signal', async () => {
    await using bed = await start()
    await expect(bed.connection.exec('echo', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'E_ABORTED' })
    expect(bed.server.commands).toEqual([])
  })
})

describe('a connection', () => {
  it('waits for no delayed acknowledgements: steps to and fro take no 40 ms each', async () => {
    await using bed = await start({
      run: (_, channel) => {
        channel.exit(0)
        channel.end()
      },
    })
    const took: number[] = []
    for (let turn = 0; turn < 100; turn += 1) {
      const began = performance.now()
      const channel = await bed.connection.exec('true')
      channel.end()
      await channel.closed
      took.push(performance.now() - began)
    }
    // The quicker ones: whatever else the machine does, it does not do it in every step.
    expect(took.sort((a, b) => a - b)[30]).toBeLessThan(36)
  })
})

describe('a server with few sessions', () => {
  it('refuses one more, and gives it when one has ended', async () => {
    await using bed = await start({ maxSessions: 2 })
    const first = await listen(bed.connection, 'read x')
    await listen(bed.connection, 'read x')
    await expect(bed.connection.exec('echo')).rejects.toMatchObject({
      code: 'E_HOST_DROPPED',
      message: expect.stringContaining('gives no more sessions'),
    })
    first.channel.end()
    await first.channel.closed
    expect(await (await listen(bed.connection, 'exit 6')).channel.closed).toMatchObject({ exitCode: 6 })
  })
})

describe('a connection that is lost', () => {
  it('loses its commands, and says so', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, 'echo started; exec sleep 1000')
    await command.said('started')
    bed.server.cut()
    const lost = await bed.connection.lost
    expect(lost).toMatchObject({ code: 'E_CONNECTION_LOST', message: expect.stringMatching(/^node1 \(127.0.0.1:\d+\) is cut off: /) })
    expect(await command.channel.closed).toEqual({ exitCode: undefined, signal: undefined, lost })
    await expect(bed.connection.exec('echo')).rejects.toBe(lost)
    await expect(bed.connection.forwardOut('127.0.0.1', 1)).rejects.toBe(lost)
    await expect(command.channel.write(Buffer.from('x'))).rejects.toBe(lost)
  })

  it('ends the command also when its listener pauses', async () => {
    await using bed = await start()
    const command = await listen(bed.connection, 'seq 1 1000000; exec sleep 1000')
    await command.said('1\n')
    command.channel.pause()
    bed.server.cut()
    await bed.connection.lost
    command.channel.resume()
    expect(await command.channel.closed).toMatchObject({ lost: { code: 'E_CONNECTION_LOST' } })
  })

  it('is noticed when the host gives no sign of life', async () => {
    await using bed = await start({}, 60)
    const command = await listen(bed.connection, 'echo started; exec sleep 1000')
    await command.said('started')
    bed.server.freeze()
    expect(await bed.connection.lost).toMatchObject({ message: expect.stringContaining('no sign of life') })
    expect(await command.channel.closed).toMatchObject({ lost: { code: 'E_CONNECTION_LOST' } })
    bed.server.thaw()
  })

  it('is not lost as long as the host answers', async () => {
    await using bed = await start({}, 20)
    const command = await listen(bed.connection, 'sleep 0.5')
    expect(await command.channel.closed).toMatchObject({ exitCode: 0, lost: undefined })
  })

  it('is not lost when we close it, but its commands are', async () => {
    await using server = await startFakeServer()
    const connection = await open(server)
    const command = await listen(connection, 'echo started; exec sleep 1000')
    await command.said('started')
    let lost = false
    void connection.lost.then(() => (lost = true))
    await connection[Symbol.asyncDispose]()
    await connection[Symbol.asyncDispose]()
    expect(await command.channel.closed).toMatchObject({ lost: { message: expect.stringContaining('we closed the connection') } })
    expect(lost).toBe(false)
  })
})

describe('a forwarded port', () => {
  it('carries bytes both ways, and ends', async () => {
    await using bed = await start()
    const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
    await once(echo, 'listening')
    const stream = await bed.connection.forwardOut('127.0.0.1', (echo.address() as { port: number }).port)
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.end('hello')
    await new Promise((resolve) => stream.once('close', resolve))
    expect(Buffer.concat(chunks).toString()).toBe('hello')
    await new Promise((resolve) => echo.close(resolve))
  })

  it.each<[string, (stream: Duplex) => unknown, thrownAway?: boolean]>([
    ['was never read', () => {}],
    ['was paused', (stream) => stream.on('data', () => stream.pause())],
    ['was piped to one who waits', (stream) => stream.pipe(new Writable({ highWaterMark: 1, write: () => {} }))],
    ['was read in a loop', (stream) => stream.on('readable', () => stream.read(1))],
    ['is to be read to its end', () => {}, true],
  ])('closes when it is destroyed, also when it %s', async (_, use, thrownAway = false) => {
    await using bed = await start()
    const talker = createServer((socket) => socket.on('error', () => {}).write(Buffer.alloc(100_000))).listen(0, '127.0.0.1')
    await once(talker, 'listening')
    const stream = await bed.connection.forwardOut('127.0.0.1', (talker.address() as { port: number }).port)
    use(stream)
    await expect.poll(() => stream.readableLength).toBeGreaterThan(0)
    if (thrownAway) stream.resume()
    stream.destroy()
    await once(stream, 'close')
    await new Promise((resolve) => talker.close(resolve))
  })

  it('is refused where nothing listens', async () => {
    await using bed = await start()
    const dead = createServer().listen(0, '127.0.0.1')
    await once(dead, 'listening')
    const { port } = dead.address() as { port: number }
    await new Promise((resolve) => dead.close(resolve))
    await expect(bed.connection.forwardOut('127.0.0.1', port)).rejects.toMatchObject({
      code: 'E_FORWARD',
      message: expect.stringContaining(`does not forward to 127.0.0.1:${port}`),
      suggestions: [expect.stringContaining(`127.0.0.1:${port}`)],
    })
  })
})
