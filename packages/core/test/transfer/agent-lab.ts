import { spawn, spawnSync } from 'node:child_process'
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { connectionSchema } from '../../src/model/connection.js'
import type { CopyPolicy } from '../../src/model/transfer.js'
import { copyOptionsSchema } from '../../src/model/transfer.js'
import type { ChannelEnd, SshChannel } from '../../src/ssh/connection.js'
import type { PooledConnection } from '../../src/ssh/pooled-connection.js'
import type { AgentKind } from '../../src/transfer/agent/agent-program.js'
import { type AgentEvent, HostAgent } from '../../src/transfer/agent/host-agent.js'
import { encodeManifest, encodeName, type Manifest } from '../../src/transfer/manifest.js'
import type { ReachedHost } from '../../src/transfer/mover.js'

/** A command of this machine as a channel of a connection. */
export function localChannel(command: string, env: NodeJS.ProcessEnv, shell: readonly string[] = ['/bin/sh', '-c']): LocalChannel {
  const [program = '', ...words] = shell
  // The tests can be run with another Python than that of the system.
  const python = process.env['CAHIER_TEST_PYTHON'] ?? '/usr/bin/python3'
  const child = spawn(program, [...words, command.replaceAll('/usr/bin/python3', python)], { env, stdio: ['pipe', 'pipe', 'pipe'] })
  const streams = { stdout: child.stdout as Readable, stderr: child.stderr as Readable }
  child.stdin.on('error', () => {})
  child.on('error', () => {})
  const closed = new Promise<ChannelEnd>((resolve) => {
    child.on('close', (code, signal) => resolve({ exitCode: code ?? undefined, signal: signal ?? undefined, lost: undefined }))
  })
  return {
    pid: child.pid,
    listen: (onData) => {
      streams.stdout.on('data', (chunk: Buffer) => onData('stdout', chunk))
      streams.stderr.on('data', (chunk: Buffer) => onData('stderr', chunk))
    },
    write: async (data) => void child.stdin.write(data),
    end: () => void child.stdin.end(),
    pause: () => void streams.stdout.pause(),
    resume: () => void streams.stdout.resume(),
    closed,
    close: () => void child.kill('SIGKILL'),
  }
}

export type LocalChannel = SshChannel & { readonly pid: number | undefined }

export interface LocalHost extends ReachedHost {
  readonly channels: LocalChannel[]
}

/** This machine, taken for a host: no login, no connection. */
export function localHost(
  home: string,
  options: { readonly env?: NodeJS.ProcessEnv; readonly shell?: readonly string[]; readonly connectTimeout?: number } = {},
): LocalHost {
  const channels: LocalChannel[] = []
  const env = { ...process.env, HOME: home, ...options.env }
  const exec = async (command: string): Promise<LocalChannel> => {
    const channel = localChannel(command, env, options.shell)
    channels.push(channel)
    return channel
  }
  return {
    host: { address: 'here' },
    // Dozens of agents start at once.
    connection: connectionSchema.parse({ connectTimeout: options.connectTimeout ?? 60_000 }),
    pooled: { exec, connection: { target: { name: 'here' } } } as unknown as PooledConnection,
    channels,
  }
}

export const policyOf = (options: Partial<CopyPolicy> = {}): CopyPolicy => copyOptionsSchema.parse(options)

/** Agents and folders of one test; everything is gone at its end. */
export class AgentLab implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'cahier-agent-'))
  readonly #agents: HostAgent[] = []
  readonly #sockets: Socket[] = []
  #names = 0

  newFolder(): string {
    const path = join(this.folder, `f${++this.#names}`)
    mkdirSync(path)
    return path
  }

  async start(kind: AgentKind, host: ReachedHost = localHost(this.folder)): Promise<HostAgent> {
    const agent = await HostAgent.start(host, { kinds: [kind] })
    this.#agents.push(agent)
    return agent
  }

  /** An agent that waits for a stream. */
  async receiver(kind: AgentKind, manifest: Manifest, chunk: number, options: ReceiverOptions = {}): Promise<Receiver> {
    const agent = await this.start(kind)
    return this.receive(agent, manifest, chunk, options)
  }

  async receive(agent: HostAgent, manifest: Manifest, chunk: number, options: ReceiverOptions = {}): Promise<Receiver> {
    const { directory = this.newFolder(), key = KEY, flags = 'r', parts = 'abc' } = options
    const events = new Events(agent)
    const order = manifest.flatMap((entry, index) => (entry.kind === 'file' ? [index] : []))
    const total = manifest.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.size : 0), 0)
    await agent.request('key', [key.toString('hex')])
    await agent.request('open', [parts, flags, encodeName(Buffer.from(directory).toString('latin1'))], encodeManifest(manifest))
    const { words } = await agent.request('stream', [chunk, total], order.map((index) => `${index}\n`).join(''))
    const { words: listening } = await agent.request('listen', ['tcp', '127.0.0.1'])
    const have = Number(words[0])
    return { agent, events, directory, have, port: Number(listening[0]), total, chunk, key, order }
  }

  /** A link to an agent, byte by byte. */
  async link(
    receiver: Receiver,
    epoch = 1,
    options: { readonly key?: Buffer; readonly pieces?: (data: Buffer) => Buffer[] } = {},
  ): Promise<Link> {
    const socket = connect({ host: '127.0.0.1', port: receiver.port, noDelay: true })
    this.#sockets.push(socket)
    return Link.open(socket, options.key ?? receiver.key, epoch, options.pieces)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(this.#agents.map((agent) => agent[Symbol.asyncDispose]()))
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export interface ReceiverOptions {
  readonly directory?: string
  readonly key?: Buffer
  readonly flags?: string
  readonly parts?: string
}

export interface Receiver {
  readonly agent: HostAgent
  readonly events: Events
  readonly directory: string
  readonly have: number
  readonly port: number
  readonly total: number
  readonly chunk: number
  readonly key: Buffer
  readonly order: readonly number[]
}

export const KEY = Buffer.alloc(32, 'the key of a session')

/** Waits for its own end: who disposes of it kills it when that takes more than two seconds, and then nothing is tidied up. */
export async function sayBye(agent: HostAgent): Promise<void> {
  await agent.request('bye', [])
  await agent.closed
}

/** What an agent told, and a way to wait for it. */
export class Events {
  readonly all: string[] = []
  readonly #waiting = new Set<() => void>()

  constructor(agent: HostAgent) {
    agent.onEvent(({ name, words }: AgentEvent) => {
      this.all.push([name, ...words].join(' '))
      for (const look of [...this.#waiting]) look()
    })
    void agent.closed.then(() => {
      for (const look of [...this.#waiting]) look()
    })
  }

  /** The first, from there on, that fits; waits for it. */
  async find(pattern: RegExp, from = 0): Promise<string> {
    const look = (): string | undefined => this.all.slice(from).find((event) => pattern.test(event))
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake)
          resolve()
        }
        this.#waiting.add(wake)
      })
    }
  }

  count(pattern: RegExp): number {
    return this.all.filter((event) => pattern.test(event)).length
  }
}

/** Frames of a content, from an offset on. */
export function framesOf(content: Buffer, chunk: number, key: Buffer = KEY, from = 0): Buffer[] {
  const frames: Buffer[] = []
  const running = createHash('sha256').update(content.subarray(0, from))
  for (let offset = from; offset < content.length; offset += chunk) {
    const piece = content.subarray(offset, offset + chunk)
    running.update(piece)
    const place = Buffer.alloc(12)
    place.writeBigUInt64BE(BigInt(offset), 0)
    place.writeUInt32BE(piece.length, 8)
    const tag = createHmac('sha256', key).update('frame').update(place).update(running.copy().digest()).digest()
    const head = Buffer.alloc(12)
    head.writeUInt32BE(piece.length, 0)
    head.writeBigUInt64BE(BigInt(offset), 4)
    frames.push(Buffer.concat([head, tag, piece]))
  }
  return frames
}

/** Somebody who connects to an agent. */
export class Link {
  /** What the agent asked for; undefined when it did not let us in. */
  readonly have: number | undefined
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #pieces: (data: Buffer) => Buffer[]

  private constructor(socket: Socket, have: number | undefined, closed: Promise<void>, pieces: (data: Buffer) => Buffer[]) {
    this.#socket = socket
    this.have = have
    this.closed = closed
    this.#pieces = pieces
  }

  static async open(socket: Socket, key: Buffer, epoch: number, pieces = (data: Buffer) => [data]): Promise<Link> {
    const reader = new SocketReader(socket)
    const greeting = await reader.take(20)
    if (greeting?.toString('latin1', 0, 4) !== 'CC1\n') return new Link(socket, undefined, reader.closed, pieces)
    const mine = Buffer.concat([randomBytes(16), Buffer.alloc(4)])
    mine.writeUInt32BE(epoch, 16)
    const proof = Buffer.concat([greeting.subarray(4), mine])
    await writePieces(socket, pieces(Buffer.concat([mine, createHmac('sha256', key).update('client').update(proof).digest()])))
    const answer = await reader.take(40)
    if (answer === undefined) return new Link(socket, undefined, reader.closed, pieces)
    const right = createHmac('sha256', key).update('server').update(proof).digest()
    if (!right.equals(answer.subarray(0, 32))) throw new Error('the agent does not know the key')
    return new Link(socket, Number(answer.readBigUInt64BE(32)), reader.closed, pieces)
  }

  async send(...frames: Buffer[]): Promise<void> {
    await writePieces(this.#socket, this.#pieces(Buffer.concat(frames)))
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

/** Each piece is given to the system before the next: the other side may see them one by one. */
async function writePieces(socket: Socket, pieces: readonly Buffer[]): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) return
    await new Promise<void>((resolve) => socket.write(piece, () => resolve()))
  }
}

export class SocketReader {
  readonly closed: Promise<void>
  #data = Buffer.alloc(0)
  #isOver = false
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#data = Buffer.concat([this.#data, chunk])
      this.#wake()
    })
    socket.on('error', () => {})
    const over = (): void => {
      this.#isOver = true
      this.#wake()
    }
    socket.on('end', over)
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        over()
        resolve()
      })
    })
  }

  /** So many bytes; undefined when the other side closes before. */
  async take(count: number): Promise<Buffer | undefined> {
    while (this.#data.length < count) {
      if (this.#isOver) return undefined
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const taken = this.#data.subarray(0, count)
    this.#data = this.#data.subarray(count)
    return taken
  }

  /** Everything until the other side closes. */
  async rest(): Promise<Buffer> {
    while (!this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#data
  }
}

/** Why agents of a kind cannot run here, to be put behind a title; undefined when they can. */
export function kindUnavailable(kind: AgentKind): string | undefined {
  if (kind === 'py') return spawnSync('python3', ['-c', 'import select, _socket']).status === 0 ? undefined : 'needs python3'
  return spawnSync('perl', ['-MDigest::SHA', '-e', '1']).status === 0 ? undefined : 'needs perl with Digest::SHA'
}
