import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { ProcessError } from '../../src/errors.js'
import { type ForwardingPool, PortForwarder } from '../../src/index.js'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** A server of this machine. */
async function serve(onSocket: (socket: Socket) => void): Promise<{ port: number; server: Server }> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise<void>((resolve) => void server.close(() => resolve()))
  })
  return { port: (server.address() as { port: number }).port, server }
}

/** Hosts that see what this machine sees. */
const pool: ForwardingPool = {
  connect: async (host) => {
    if (host.address === 'dead') throw new ProcessError('E_HOST_TIMEOUT', 'dead did not answer')
    return {
      forwardOut: (name, port) =>
        new Promise<Duplex>((resolve, reject) => {
          const socket = connect({ host: name, port, allowHalfOpen: true })
          socket.once('connect', () => resolve(socket))
          socket.once('error', (cause) => reject(new ProcessError('E_FORWARD', `${name}:${port} refused`, { cause })))
        }),
    }
  },
}
const forward = (port: number, options = {}): PortForwarder => {
  const forwarder = new PortForwarder('gateway', '127.0.0.1', port, { pool, ...options })
  closers.push(() => forwarder.close())
  return forwarder
}

/** Sends, ends its side, and gives what comes until the end. */
function talk(port: number, text: string | Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true }, () => socket.end(text))
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', () => resolve(Buffer.concat(chunks)))
    socket.on('error', reject)
  })
}

describe('PortForwarder', () => {
  it('carries bytes both ways through a port that the system chose, and each end of its own', async () => {
    const echo = await serve((socket) => {
      const chunks: Buffer[] = []
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      // Answers only after the other side has ended.
      socket.on('end', () => socket.end(Buffer.concat(chunks)))
    })
    const forwarder = await forward(echo.port).start()
    expect(forwarder.localPort).toBeGreaterThan(0)
    const data = Buffer.alloc(3_000_000, 'bytes\0\xff')
    const answers = await Promise.all([talk(forwarder.localPort!, data), talk(forwarder.localPort!, 'short')])
    expect(answers[0]?.equals(data)).toBe(true)
    expect(String(answers[1])).toBe('short')
    expect(forwarder).toMatchObject({ accepted: 2, refused: 0 })
  })

  it('is ready when start resolves, twice asked starts once, and is closed by its scope', async () => {
    const echo = await serve((socket) => socket.pipe(socket))
    let port = 0
    {
      await using forwarder = forward(echo.port)
      expect(forwarder.localPort).toBeUndefined()
      expect(await Promise.all([forwarder.start(), forwarder.start()])).toEqual([forwarder, forwarder])
      port = forwarder.localPort!
      expect(String(await talk(port, 'x'))).toBe('x')
    }
    await expect(talk(port, 'x')).rejects.toThrow(expect.objectContaining({ code: 'ECONNREFUSED' }))
  })

  it('says that its port is taken', async () => {
    const other = await serve(() => {})
    await expect(forward(other.port, { localPort: other.port }).start()).rejects.toThrow(
      expect.objectContaining({ code: 'E_FORWARD', message: expect.stringContaining(`127.0.0.1:${other.port}`) }),
    )
  })

  it('says that nobody answers at the far side, and leaves nothing behind', async () => {
    const gone = await serve(() => {})
    await closers.pop()?.()
    const forwarder = forward(gone.port)
    await expect(forwarder.start()).rejects.toThrow(expect.objectContaining({ code: 'E_FORWARD' }))
    expect(forwarder.localPort).toBeUndefined()
  })

  it('says that its host is not reached', async () => {
    const forwarder = new PortForwarder('dead', '127.0.0.1', 80, { pool })
    await expect(forwarder.start()).rejects.toThrow(expect.objectContaining({ code: 'E_HOST_TIMEOUT' }))
  })

  it('survives connections that the far side refuses', async () => {
    const first = await serve((socket) => socket.pipe(socket))
    const forwarder = await forward(first.port).start()
    await closers.shift()?.()
    // The far side is gone now: a connection is cut, the next one, after its return, works.
    await talk(forwarder.localPort!, 'x').catch(() => {})
    const { promise, resolve } = (() => {
      let done!: () => void
      const promise = new Promise<void>((r) => (done = r))
      return { promise, resolve: done }
    })()
    const again = createServer((socket) => socket.pipe(socket)).listen(first.port, '127.0.0.1', resolve)
    await promise
    closers.push(() => new Promise<void>((done) => void again.close(() => done())))
    expect(String(await talk(forwarder.localPort!, 'y'))).toBe('y')
    expect(forwarder).toMatchObject({ accepted: 2, refused: 1 })
  })

  it('begins without a look at the far side when it is asked to', async () => {
    const gone = await serve(() => {})
    await closers.pop()?.()
    const forwarder = await forward(gone.port, { check: false }).start()
    expect(forwarder.localPort).toBeGreaterThan(0)
  })

  it('cuts open connections when it is closed, and counts none any more', async () => {
    let reached = (): void => {}
    const arrived = new Promise<void>((resolve) => (reached = resolve))
    const silent = await serve((socket) => {
      socket.once('data', () => reached())
    })
    const forwarder = await forward(silent.port).start()
    const client = connect(forwarder.localPort!, '127.0.0.1')
    client.on('error', () => {})
    client.write('x')
    await arrived
    expect(forwarder.active).toBe(1)
    const closed = new Promise((resolve) => client.once('close', resolve))
    await forwarder.close()
    await closed
    expect(forwarder.active).toBe(0)
  })

  it('is given up when its signal is aborted', async () => {
    await expect(forward(1).start({ signal: AbortSignal.abort() })).rejects.toThrow(expect.objectContaining({ code: 'E_ABORTED' }))
  })

  it.each([
    ['gate way', '127.0.0.1', 80, {}],
    ['gateway', 'a b', 80, {}],
    ['gateway', '', 80, {}],
    ['gateway', 'db', 0, {}],
    ['gateway', 'db', 65_536, {}],
    ['gateway', 'db', 80, { localPort: -1 }],
    ['gateway', 'db', 80, { connection: { prot: 1 } }],
  ])('refuses %j, %j, %j, %j', (host, remote, port, options) => {
    expect(() => new PortForwarder(host, remote, port, options as never)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})
