import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { messageOf } from '../../errors.js'
import type { Logger } from '../../ports/logger.js'
import type { LocalDaemon } from './daemon.js'
import { makePrivateDirectory } from './places.js'
import { type Answer, type AnswerLine, type Ask, LineReader, type Operation, PROTOCOL, type RequestLine } from './protocol.js'

/** Changes are told together, not one by one. */
const GATHER_MS = 10
const IDLE_CHECK_MS = 250
/** Questions of one client about changes that are open at a time; an older one is answered although nothing changed. */
const MOST_WAITERS = 16

interface Client {
  readonly socket: Socket
  /** Key of the environment that its jobs get. */
  base: string | undefined
}

interface Waiter {
  readonly client: Client
  readonly n: number
  readonly since: number
}

export interface ServerParts {
  readonly socket: string
  readonly daemon: LocalDaemon
  readonly log: Logger
  /** False when another daemon has the queue: then this one ends. */
  readonly isOwner: () => boolean
}

/** Listens on the daemon's socket: one line of JSON for each question and each answer. */
export class DaemonServer {
  readonly #path: string
  readonly #daemon: LocalDaemon
  readonly #log: Logger
  readonly #isOwner: () => boolean
  readonly #epoch = randomBytes(8).toString('hex')
  readonly #clients = new Set<Client>()
  #waiters: Waiter[] = []
  #gather: NodeJS.Timeout | undefined
  #idleSince = performance.now()
  #stop: () => void = () => undefined

  constructor({ socket, daemon, log, isOwner }: ServerParts) {
    this.#path = socket
    this.#daemon = daemon
    this.#log = log
    this.#isOwner = isOwner
    daemon.onChange = () => this.#changed()
  }

  /** Serves until the daemon has nothing to do, is asked to end, or has lost its queue. Jobs go on. */
  async serve(signal: AbortSignal): Promise<void> {
    makePrivateDirectory(dirname(this.#path))
    rmSync(this.#path, { force: true })
    const server = createServer((socket) => this.#accept(socket))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#path, resolve)
    })
    chmodSync(this.#path, 0o600)
    const stopped = new Promise<void>((resolve) => {
      this.#stop = resolve
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    const idleCheck = setInterval(() => this.#checkIdle(), IDLE_CHECK_MS)
    await stopped
    clearInterval(idleCheck)
    clearTimeout(this.#gather)
    server.close()
    for (const { socket } of this.#clients) socket.destroy()
    await this.#daemon.close()
  }

  #checkIdle(): void {
    const busy = this.#clients.size > 0 || this.#daemon.liveJobs > 0
    if (busy) this.#idleSince = performance.now()
    const idle = performance.now() - this.#idleSince > this.#daemon.idleMs
    if (idle || !existsSync(this.#path) || !this.#isOwner()) {
      this.#log.info({ idle }, 'local scheduler ends itself')
      this.#stop()
    }
  }

  #accept(socket: Socket): void {
    const client: Client = { socket, base: undefined }
    this.#clients.add(client)
    const lines = new LineReader((line) => void this.#handle(client, line))
    socket.on('data', (chunk: Buffer) => lines.push(chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.#clients.delete(client)
      this.#waiters = this.#waiters.filter((waiter) => waiter.client !== client)
    })
  }

  async #handle(client: Client, line: string): Promise<void> {
    let n = 0
    try {
      const request = JSON.parse(line) as RequestLine
      n = request.n
      const answer = await this.#answer(client, request)
      if (answer !== undefined) send(client, { n, answer })
      if (request.op === 'retire') this.#stop()
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'local scheduler could not answer a question')
      send(client, { n, error: { code: 'E_SCHEDULER_SILENT', message: messageOf(error) } })
    }
  }

  async #answer(client: Client, { n, op, ask }: RequestLine): Promise<Answer<Operation> | undefined> {
    switch (op as Operation) {
      case 'hello': {
        const { protocol, settings, environment } = ask as Ask<'hello'>
        if (protocol === PROTOCOL) {
          client.base = this.#daemon.addBase(environment)
          this.#daemon.configure(settings)
        }
        return { protocol: PROTOCOL, pid: process.pid, epoch: this.#epoch }
      }
      case 'submit':
        if (client.base === undefined) throw new Error('submit before hello')
        return { jobs: await this.#daemon.submit((ask as Ask<'submit'>).jobs, client.base) }
      case 'find':
        return { found: await this.#daemon.find((ask as Ask<'find'>).tags) }
      case 'observe': {
        const { ids, since } = ask as Ask<'observe'>
        return this.#daemon.observe(ids, since)
      }
      case 'list':
        return { jobs: this.#daemon.list() }
      case 'cancel':
        return { outcomes: await this.#daemon.cancel((ask as Ask<'cancel'>).jobs) }
      case 'changed':
        this.#forgetOldest(client)
        this.#waiters.push({ client, n, since: (ask as Ask<'changed'>).since })
        this.#changed()
        return undefined
      case 'retire':
        return {}
      case 'shutdown':
        await this.#shutDown()
        return {}
      default:
        throw new Error(`this daemon does not know the question ${JSON.stringify(op)}`)
    }
  }

  /** A program that gave a question up asks it again and again while a long job runs: only the newest are kept. */
  #forgetOldest(client: Client): void {
    const own = this.#waiters.filter((waiter) => waiter.client === client)
    const [oldest] = own
    if (oldest === undefined || own.length < MOST_WAITERS) return
    this.#waiters.splice(this.#waiters.indexOf(oldest), 1)
    send(client, { n: oldest.n, answer: { seq: this.#daemon.seq } })
  }

  /** Answers when the last job is over, so that whoever asked leaves nothing behind. */
  async #shutDown(): Promise<void> {
    this.#daemon.abandon()
    for (let round = 0; this.#daemon.liveJobs > 0 && round < 500; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      if (round % 50 === 49) this.#daemon.abandon()
    }
    setImmediate(() => this.#stop())
  }

  #changed(): void {
    if (this.#waiters.length === 0 || this.#gather !== undefined) return
    const { seq } = this.#daemon
    if (this.#waiters.every(({ since }) => since === seq)) return
    this.#gather = setTimeout(() => {
      this.#gather = undefined
      const { seq: now } = this.#daemon
      const waiters = this.#waiters
      // A number from the future was another daemon's: whoever asks with it has seen nothing of this one.
      this.#waiters = waiters.filter(({ since }) => since === now)
      for (const { client, n, since } of waiters) if (since !== now) send(client, { n, answer: { seq: now } })
    }, GATHER_MS)
  }
}

function send({ socket }: Client, line: AnswerLine): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(line)}\n`)
}
