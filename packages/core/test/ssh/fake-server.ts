import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp, createServer, type Server as NetServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import ssh2, { type Algorithms, type AuthContext, type Connection, type ServerChannel, type Session } from 'ssh2'
import type { SshTarget } from '../../src/ssh/connection.js'

const { Server, utils } = ssh2

export interface KeyPair {
  /** OpenSSH format. */
  readonly private: string
  /** `type base64`, as in known_hosts and authorized_keys. */
  readonly public: string
}

export function makeKey(type: 'ed25519' | 'rsa' | 'ecdsa' = 'ed25519', passphrase?: string): KeyPair {
  const secret = passphrase === undefined ? {} : { passphrase, cipher: 'aes256-ctr', rounds: 4 }
  const pair =
    type === 'ed25519'
      ? utils.generateKeyPairSync('ed25519', secret as never)
      : utils.generateKeyPairSync(type as 'ecdsa', { bits: type === 'rsa' ? 2048 : 256, ...secret } as never)
  // ssh2 1.17.0 writes about one key in 128 so that nobody can read it: a zero at an edge is lost
  if (utils.parseKey(pair.private, passphrase) instanceof Error) return makeKey(type, passphrase)
  return { private: pair.private, public: pair.public.trim().split(' ').slice(0, 2).join(' ') }
}

let ownHostKey: KeyPair | undefined
let ownUserKey: KeyPair | undefined
/** One per test process, because making keys costs time. */
export const defaultHostKey = (): KeyPair => (ownHostKey ??= makeKey())
export const defaultUserKey = (): KeyPair => (ownUserKey ??= makeKey())

export interface Round {
  readonly title?: string
  readonly prompts: readonly { readonly prompt: string; readonly echo: boolean }[]
  /** Judges the answers of this round. */
  accept(answers: readonly string[]): boolean
}

export interface FakeServerOptions {
  readonly hostKeys?: readonly KeyPair[]
  readonly port?: number
  readonly algorithms?: Algorithms
  /**
   * silent: accepts and never answers. garbage: binary rubbish instead of a banner. http: an answer of another protocol. close: closes at
   * once. reset: resets at once. mail: greets as
   * a mail server, and waits. slow: ssh, whose banner comes byte by byte after a greeting.
   */
  readonly answer?: 'ssh' | 'slow' | 'mail' | 'silent' | 'garbage' | 'http' | 'close' | 'reset'
  /** True for connections (counted from 1) that are closed before the banner. */
  readonly drop?: (connection: number) => boolean
  /** So many logins at a time; what comes beyond is closed before the banner, as MaxStartups does. */
  readonly maxStartups?: number
  /** Channels of one connection at a time; what comes beyond is refused, as MaxSessions does. */
  readonly maxSessions?: number
  /** Public keys that may log in; absent: every key. */
  readonly keys?: readonly KeyPair[]
  readonly password?: string
  /** The password is right and must be changed. */
  readonly expired?: boolean
  readonly keyboard?: readonly Round[]
  /** What must succeed one after the other; default: any one of what is offered. */
  readonly methods?: readonly ('publickey' | 'password' | 'keyboard-interactive')[]
  /** Shown before the login. */
  readonly banner?: string
  /** The login hangs for so long. */
  readonly loginDelayMs?: number
  /** Run instead of `/bin/sh -c` of the command; for shells that are none. */
  readonly run?: (command: string, channel: ServerChannel) => void
  readonly environment?: Readonly<Record<string, string>>
}

/** A real ssh server in the test process, which misbehaves as it is told. Commands go through the real `/bin/sh`. */
export interface FakeServer extends AsyncDisposable {
  readonly address: string
  readonly port: number
  /** Own, empty: HOME of its commands. */
  readonly home: string
  readonly hostKeys: readonly KeyPair[]
  /** Lines for a known_hosts file. */
  knownHosts(name?: string): string
  /** TCP connections, sessions and logins since the start. */
  readonly connections: number
  readonly logins: number
  readonly sessions: number
  /** The most sessions that one connection had at a time. */
  readonly mostSessions: number
  /** The most logins under way at a time. */
  readonly mostStartups: number
  readonly commands: readonly string[]
  /** Methods that clients tried, in order: `publickey?` is the question whether a key would do. */
  readonly attempts: readonly string[]
  /** Connections that are open now. */
  readonly open: number
  /** What clients said to a server that is `silent` or a `mail` server, one byte for each character. */
  readonly heard: string
  /** Ends all connections at once, in the middle of whatever they do. Commands go on. */
  cut(): void
  /** Neither reads nor writes any more, as if a cable were out; `thaw` undoes it. */
  freeze(): void
  thaw(): void
  /** Listens no more; what is connected stays. */
  refuse(): Promise<void>
}

class Fake implements FakeServer {
  readonly address = '127.0.0.1'
  readonly home = mkdtempSync(join(tmpdir(), 'cahier-fake-ssh-'))
  readonly hostKeys: readonly KeyPair[]
  connections = 0
  logins = 0
  sessions = 0
  mostSessions = 0
  mostStartups = 0
  readonly commands: string[] = []
  readonly attempts: string[] = []
  heard = ''
  readonly #options: FakeServerOptions
  readonly #listener: NetServer
  readonly #ssh
  readonly #sockets = new Set<Socket>()
  readonly #children = new Set<ChildProcess>()
  #startups = 0
  #frozen = false

  constructor(options: FakeServerOptions) {
    this.#options = options
    this.hostKeys = options.hostKeys ?? [defaultHostKey()]
    this.#ssh = new Server({
      hostKeys: this.hostKeys.map((key) => key.private),
      ...(options.algorithms === undefined ? {} : { algorithms: options.algorithms }),
      ...(options.banner === undefined ? {} : { banner: options.banner }),
    })
    this.#ssh.on('connection', (client: Connection) => this.#onClient(client))
    this.#listener = createServer({ noDelay: true }, (socket) => this.#onSocket(socket))
  }

  get port(): number {
    return (this.#listener.address() as { port: number } | null)?.port ?? this.#lastPort
  }
  #lastPort = 0

  get open(): number {
    return this.#sockets.size
  }

  listen(): Promise<this> {
    return new Promise((resolve, reject) => {
      this.#listener.once('error', reject)
      this.#listener.listen(this.#options.port ?? 0, this.address, 1024, () => {
        this.#lastPort = this.port
        resolve(this)
      })
    })
  }

  knownHosts(name = this.address): string {
    const host = this.port === 22 ? name : `[${name}]:${this.port}`
    return this.hostKeys.map((key) => `${host} ${key.public}\n`).join('')
  }

  #onSocket(socket: Socket): void {
    this.connections += 1
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    const { answer = 'ssh', drop, maxStartups } = this.#options
    if (answer === 'silent' || answer === 'mail') {
      socket.on('data', (chunk: Buffer) => {
        this.heard += chunk.toString('latin1')
      })
      if (answer === 'mail') socket.write('220 mail ESMTP\r\n')
    } else if (answer === 'garbage') socket.end(Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 7919) % 256)))
    else if (answer === 'http') socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
    else if (answer === 'reset') socket.resetAndDestroy()
    else if (answer === 'close' || drop?.(this.connections) === true) socket.destroy()
    else if (maxStartups !== undefined && this.#startups >= maxStartups) socket.destroy()
    else if (answer === 'slow') this.#startSlowly(socket)
    else this.#startLogin(socket)
  }

  #startSlowly(socket: Socket): void {
    const write = socket.write.bind(socket)
    let first = true
    socket.write = (data: string | Uint8Array, ...rest: unknown[]): boolean => {
      if (!first) return write(data, ...(rest as []))
      first = false
      const bytes = Buffer.from(`Welcome.\r\nPlease behave.\r\n${Buffer.from(data as Buffer).toString('latin1')}`)
      const held: Buffer[] = []
      socket.write = (more: string | Uint8Array) => held.push(Buffer.from(more as Buffer)) > 0
      const next = (at: number): void => {
        if (at < bytes.length) write(bytes.subarray(at, at + 1), () => setImmediate(next, at + 1))
        else {
          socket.write = write
          for (const more of held) write(more)
        }
      }
      next(0)
      return true
    }
    this.#startLogin(socket)
  }

  #startLogin(socket: Socket): void {
    this.#startups += 1
    this.mostStartups = Math.max(this.mostStartups, this.#startups)
    let over = false
    const end = () => {
      if (!over) this.#startups -= 1
      over = true
    }
    socket.once('close', end)
    socket.once('cahier:login', end)
    this.#ssh.injectSocket(socket)
    if (this.#frozen) socket.pause()
  }

  #onClient(client: Connection): void {
    const { methods } = this.#options
    const passed: string[] = []
    const succeed = (context: AuthContext): void => {
      passed.push(context.method)
      const left = methods?.filter((method) => !passed.includes(method)) ?? []
      if (left.length === 0) context.accept()
      else context.reject(left as never, true)
    }
    const refuse = (context: AuthContext): void => {
      const all = methods ?? this.#offered()
      context.reject(all.filter((method) => !passed.includes(method)).slice(0, methods === undefined ? undefined : 1) as never)
    }
    client.on('error', () => undefined)
    client.on('authentication', (context) => {
      this.attempts.push(context.method === 'publickey' && context.signature === undefined ? 'publickey?' : context.method)
      const delay = this.#options.loginDelayMs
      if (delay === undefined) this.#judge(context, succeed, refuse)
      else setTimeout(() => this.#judge(context, succeed, refuse), delay)
    })
    client.on('ready', () => {
      this.logins += 1
      const socket = (client as unknown as { _sock: Socket })._sock
      socket.emit('cahier:login')
      this.#serve(client)
    })
  }

  #offered(): ('publickey' | 'password' | 'keyboard-interactive')[] {
    const { password, keyboard } = this.#options
    return [
      'publickey',
      ...(password === undefined ? [] : (['password'] as const)),
      ...(keyboard === undefined ? [] : (['keyboard-interactive'] as const)),
    ]
  }

  #judge(context: AuthContext, succeed: (context: AuthContext) => void, refuse: (context: AuthContext) => void): void {
    const { keys, password, keyboard } = this.#options
    if (context.method === 'publickey') {
      const known = keys === undefined || keys.some((key) => key.public === `${context.key.algo} ${context.key.data.toString('base64')}`)
      if (!known) refuse(context)
      else if (context.signature === undefined) context.accept()
      else succeed(context)
    } else if (context.method === 'password') {
      if (password !== undefined && context.password === password && this.#options.expired === true) {
        context.requestChange('Choose a new one: ', () => refuse(context))
      } else if (password !== undefined && context.password === password) succeed(context)
      else refuse(context)
    } else if (context.method === 'keyboard-interactive' && keyboard !== undefined) {
      const ask = (index: number): void => {
        const round = keyboard[index]
        if (round === undefined) succeed(context)
        else {
          context.prompt([...round.prompts], round.title ?? '', (answers) => {
            if (round.accept(answers)) ask(index + 1)
            else refuse(context)
          })
        }
      }
      ask(0)
    } else refuse(context)
  }

  #serve(client: Connection): void {
    let open = 0
    client.on('session', (accept, reject) => {
      if (open >= (this.#options.maxSessions ?? Number.POSITIVE_INFINITY)) {
        reject()
        return
      }
      open += 1
      this.sessions += 1
      this.mostSessions = Math.max(this.mostSessions, open)
      const session: Session = accept()
      session.on('close', () => {
        open -= 1
      })
      session.on('pty', (acceptPty) => acceptPty?.())
      session.on('exec', (acceptExec, _reject, info) => {
        this.commands.push(info.command)
        const channel = acceptExec()
        if (this.#options.run === undefined) this.#run(info.command, channel)
        else this.#options.run(info.command, channel)
      })
    })
    client.on('tcpip', (accept, reject, info) => {
      const socket = connectTcp(info.destPort, info.destIP)
      socket.on('error', () => reject())
      socket.on('connect', () => {
        const channel = accept()
        socket.pipe(channel).pipe(socket)
        socket.on('error', () => channel.destroy())
        channel.on('error', () => socket.destroy())
        channel.on('close', () => socket.destroy())
        socket.on('close', () => channel.end())
      })
    })
  }

  #run(command: string, channel: ServerChannel): void {
    const child = spawn('/bin/sh', ['-c', command], {
      cwd: this.home,
      env: { PATH: process.env['PATH'], HOME: this.home, ...this.#options.environment },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    })
    this.#children.add(child)
    channel.pipe(child.stdin)
    child.stdin.on('error', () => channel.unpipe(child.stdin))
    // one after the other: when both outputs of a channel wait for its window, ssh2's server forgets one of them
    let turn = Promise.resolve()
    const write = (chunk: Buffer, to: Writable): Promise<void> =>
      new Promise((resolve) => {
        to.write(chunk, () => {
          forgetRest(channel)
          resolve()
        })
      })
    for (const [from, to] of [
      [child.stdout, channel],
      [child.stderr, channel.stderr],
    ] as const) {
      from.on('data', (chunk: Buffer) => {
        from.pause()
        turn = turn.then(() => write(chunk, to)).then(() => void from.resume())
      })
    }
    channel.on('error', () => undefined)
    // as sshd does without a pty: the command is not ended, it only loses its pipes
    channel.on('close', () => {
      child.stdin.destroy()
      child.stdout.destroy()
      child.stderr.destroy()
    })
    child.on('close', (code, signal) => {
      this.#children.delete(child)
      void turn.then(() => {
        if (!channel.writable) return
        if (signal === null) channel.exit(code ?? 0)
        else channel.exit(signal.slice(3))
        channel.end()
      })
    })
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  freeze(): void {
    this.#frozen = true
    for (const socket of this.#sockets) {
      socket.pause()
      socket.cork()
    }
  }

  thaw(): void {
    this.#frozen = false
    for (const socket of this.#sockets) {
      socket.uncork()
      socket.resume()
    }
  }

  refuse(): Promise<void> {
    return new Promise((resolve) => {
      this.#listener.close(() => undefined)
      setImmediate(resolve)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // gone
      }
    }
    const closed = new Promise((resolve) => {
      if (this.#listener.listening) this.#listener.close(resolve)
      else resolve(undefined)
    })
    this.cut()
    await closed
    rmSync(this.home, { recursive: true, force: true })
  }
}

/**
 * Forgets what waited for the window, now that it was sent. ssh2 1.17.0 keeps the rest of a chunk for ever (lib/Channel.js), and when the
 * other output waits later, it sends this rest once more in its place (lib/server.js, CHANNEL_WINDOW_ADJUST). Node sees a write that ends
 * twice and destroys the channel: the command ends early and without an exit status. Clients have only their input to send, and are safe.
 */
function forgetRest(channel: ServerChannel): void {
  Object.assign(channel, { _chunk: undefined, _chunkcb: undefined, _chunkErr: undefined, _chunkcbErr: undefined })
}

export function startFakeServer(options: FakeServerOptions = {}): Promise<FakeServer> {
  return new Fake(options).listen()
}

/** A target for a fake server: its default user key, no agent, and the known hosts given. */
export function makeTarget(
  server: { readonly address: string; readonly port: number },
  files: Pick<SshTarget, 'knownHostsFiles' | 'keyFiles'>,
  changes: Partial<SshTarget> = {},
): SshTarget {
  return {
    name: 'node1',
    address: server.address,
    port: server.port,
    user: 'tester',
    hostKeys: 'strict',
    agent: undefined,
    identitiesOnly: true,
    jumps: [],
    connectTimeoutMs: 20_000,
    keepAliveMs: 10_000,
    openssh: { configFile: false, destination: 'node1', options: [] },
    ...files,
    ...changes,
  }
}
