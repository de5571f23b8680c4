import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { isCampaignError, ProcessError } from '../errors.js'
import { isAborted, makeDeferred } from '../util/async.js'
import { Askpass } from './askpass.js'
import { explainLost, hintsForForward, placeOf } from './connect-errors.js'
import type { ChannelEnd, Connector, SshChannel, SshConnection, SshPrompts, SshTarget } from './connection.js'
import { keyOf } from './connection-keys.js'
import { type ControlDirectory, openControlDirectory } from './control-directory.js'
import { type LastWill, writeLastWill } from './last-will.js'
import { MuxControl } from './mux-control.js'
import { ForwardedStream, type MuxClient, OpensshChannel, startClient } from './openssh-channel.js'
import { adoptMaster, killMaster, type Master, startMaster } from './openssh-master.js'
import { explainEnd, muxRefusal, reasonOfForward } from './openssh-messages.js'

export interface OpensshOptions {
  /** Absent: nobody can be asked. */
  readonly prompts?: SshPrompts | undefined
  /** Default `ssh`. */
  readonly program?: string
}

/** Where sockets and logs of this connector are, and who answers questions. */
interface Base {
  readonly directory: ControlDirectory
  readonly lastWill: LastWill
  readonly askpass: Askpass | undefined
}

/** A login that several connections use: that of a gateway. */
interface SharedMaster {
  readonly master: Promise<Master>
  users: number
}

/** So long a gateway that did not let us in is not asked again by those behind it: hundreds of them would have us locked out there. */
const REST_AFTER_REFUSAL_MS = 60_000

/**
 * Connects with the system's ssh client: one login on each host, kept by a multiplexing master, and a client for each command over it.
 * Whatever ssh_config can ask is done by ssh itself. Gateways are logged into once for all hosts behind them.
 *
 * Masters end with their connection and with this program, also when it is killed. A master of the user's own
 * (`ControlPath`) is used when it is open, and left open.
 *
 * @remarks A command that was ended by a signal comes back as exit code 255: the client does not tell which signal it was.
 */
export class OpensshConnector implements Connector, AsyncDisposable {
  readonly kind = 'openssh'
  readonly #program: string
  readonly #prompts: SshPrompts | undefined
  readonly #masters = new Set<Master>()
  readonly #gateways = new Map<string, SharedMaster>()
  readonly #refusals = new Map<string, { readonly error: ProcessError; readonly until: number }>()
  #base: Promise<Base> | undefined
  #opened: Base | undefined
  #names = 0
  readonly #onExit = (): void => this.#leave()

  constructor(options: OpensshOptions = {}) {
    this.#program = options.program ?? 'ssh'
    this.#prompts = options.prompts
  }

  async connect(
    target: SshTarget,
    options: { readonly signal?: AbortSignal | undefined; readonly anew?: boolean | undefined } = {},
  ): Promise<SshConnection> {
    const { signal, anew } = options
    const base = await this.#open()
    const adopted = await adopt(target)
    if (adopted !== undefined) return this.#connection(target, adopted, base, async () => {})
    const way = await this.#way(target.jumps, base, { signal, anew }).catch((error: unknown) => {
      throw noWay(target, error)
    })
    try {
      const master = await this.#login(target, base, way, signal)
      return this.#connection(target, master, base, async () => way?.leave())
    } catch (error) {
      await way?.leave()
      throw error
    }
  }

  async #login(
    target: SshTarget,
    base: Base,
    way: { target: SshTarget; master: Master } | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Master> {
    const path = join(base.directory.path, `m${++this.#names}`)
    const master = await startMaster(target, {
      program: this.#program,
      path,
      // The configuration may say that nobody is to be asked.
      askpass: target.openssh.options.includes('BatchMode=yes') ? undefined : base.askpass,
      way,
      signal,
    })
    this.#masters.add(master)
    void master.control.closed.then(() => this.#masters.delete(master))
    return master
  }

  /** The master of the last host on the way, shared by all who go there. */
  async #way(
    jumps: readonly SshTarget[],
    base: Base,
    { signal, anew }: { readonly signal?: AbortSignal | undefined; readonly anew?: boolean | undefined },
  ): Promise<{ target: SshTarget; master: Master; leave(): Promise<void> } | undefined> {
    const target = jumps.at(-1)
    if (target === undefined) return undefined
    const key = keyOf({ ...target, jumps: jumps.slice(0, -1) }, this.kind)
    let shared = this.#gateways.get(key)
    if (shared === undefined) {
      const refusal = this.#refusals.get(key)
      if (refusal !== undefined && anew !== true && performance.now() < refusal.until) throw refusal.error
      this.#refusals.delete(key)
      shared = { users: 0, master: this.#gateway(target, jumps.slice(0, -1), base) }
      this.#gateways.set(key, shared)
      const forget = (): void => void (this.#gateways.get(key) === shared && this.#gateways.delete(key))
      shared.master.then(
        (master) => master.control.closed.then(forget),
        (error: unknown) => {
          forget()
          if (isCampaignError(error) && (error.code === 'E_LOGIN_NEEDED' || error.code === 'E_LOGIN_REFUSED')) {
            this.#refusals.set(key, { error, until: performance.now() + REST_AFTER_REFUSAL_MS })
          }
        },
      )
    }
    const mine = shared
    mine.users++
    const leave = async (): Promise<void> => {
      if (--mine.users > 0) return
      if (this.#gateways.get(key) === mine) this.#gateways.delete(key)
      await mine.master.then(
        (master) => master.end(),
        () => {},
      )
    }
    try {
      return { target, master: await whileWanted(mine.master, target, signal), leave }
    } catch (error) {
      await leave()
      throw error
    }
  }

  async #gateway(target: SshTarget, jumps: readonly SshTarget[], base: Base): Promise<Master> {
    const adopted = await adopt(target)
    if (adopted !== undefined) return adopted
    const way = await this.#way(jumps, base, {})
    try {
      const master = await this.#login(target, base, way, undefined)
      // Nobody waits for a gateway itself: its connections are held by those behind it.
      master.control.unref()
      void master.control.closed.then(() => way?.leave())
      return master
    } catch (error) {
      await way?.leave()
      throw error
    }
  }

  #connection(target: SshTarget, master: Master, base: Base, after: () => Promise<void>): SshConnection {
    return new OpensshConnection(target, master, {
      program: this.#program,
      logPath: () => join(base.directory.path, `s${++this.#names}`),
      lastWill: master.own ? undefined : base.lastWill,
      after,
    })
  }

  #open(): Promise<Base> {
    this.#base ??= (async () => {
      const directory = await openControlDirectory()
      const lastWill = writeLastWill(directory.path, this.#program)
      process.once('exit', this.#onExit)
      const ask = this.#prompts?.ask
      const askpass = ask === undefined ? undefined : await Askpass.start(directory.path, this.#prompts ?? {})
      this.#opened = { directory, lastWill, askpass }
      return this.#opened
    })()
    this.#base.catch(() => {
      this.#base = undefined
    })
    return this.#base
  }

  /** The end of the program: nothing can be awaited any more. */
  #leave(): void {
    for (const master of this.#masters) killMaster(master.control.pid, 'SIGTERM')
    this.#opened?.directory.remove()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const base = await this.#base?.catch(() => undefined)
    this.#base = undefined
    this.#opened = undefined
    process.off('exit', this.#onExit)
    await Promise.all([...this.#masters].map((master) => master.end()))
    await base?.askpass?.[Symbol.asyncDispose]()
    base?.directory.remove()
    base?.lastWill.revoke()
  }
}

/** The user's own master, when the configuration names a place and one answers there. */
async function adopt(target: SshTarget): Promise<Master | undefined> {
  const path = target.openssh.options.find((option) => option.startsWith('ControlPath='))?.slice('ControlPath='.length)
  const control = path === undefined ? undefined : await MuxControl.open(path)
  return path === undefined || control === undefined ? undefined : adoptMaster(path, control)
}

/** The gateway is named by its own error; here is said who is behind it. */
function noWay(target: SshTarget, error: unknown): unknown {
  if (!isCampaignError(error) || error.code === 'E_ABORTED') return error
  const { suggestions, data } = error
  return new ProcessError(error.code, `No way to ${target.name}: ${error.message}`, { suggestions, data, cause: error })
}

/** A gateway is for others too: who gives up leaves, and the login goes on. */
function whileWanted<T>(promise: Promise<T>, target: SshTarget, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new ProcessError('E_ABORTED', `The login on ${target.name} was given up`))
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

interface Tools {
  readonly program: string
  /** A new name for the log of a client. */
  readonly logPath: () => string
  /** Of clients that would outlive this program, because their master does. */
  readonly lastWill: LastWill | undefined
  /** When the connection is gone. */
  readonly after: () => Promise<void>
}

class OpensshConnection implements SshConnection {
  readonly connector = 'openssh'
  readonly target: SshTarget
  readonly lost: Promise<ProcessError>
  readonly #master: Master
  readonly #tools: Tools
  readonly #clients = new Set<MuxClient>()
  #disposing: Promise<void> | undefined
  #error: ProcessError | undefined

  constructor(target: SshTarget, master: Master, tools: Tools) {
    this.target = target
    this.#master = master
    this.#tools = tools
    master.control.unref()
    const lost = makeDeferred<ProcessError>()
    this.lost = lost.promise
    void master.control.closed.then(() => {
      if (this.#disposing !== undefined) return
      this.#error = explainEnd(target, master.readLog())
      lost.resolve(this.#error)
      void this.#dispose()
    })
  }

  exec(command: string, options: { readonly pty?: boolean; readonly signal?: AbortSignal | undefined } = {}): Promise<SshChannel> {
    // Without a command the client would open the login shell.
    const text = command.trim() === '' ? ':' : command
    return this.#session([options.pty === true ? '-tt' : '-T', '--', this.target.openssh.destination, text], options)
  }

  subsystem(name: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<SshChannel> {
    return this.#session(['-T', '-s', '--', this.target.openssh.destination, name], options)
  }

  async #session(
    words: readonly string[],
    { pty, signal }: { readonly pty?: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<SshChannel> {
    this.#check(signal)
    const client = this.#client(words)
    const onAbort = (): void => void client.child.kill('SIGKILL')
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      if (await client.opened) return new OpensshChannel(client, () => this.#judge(), pty)
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
    const log = client.readLog()
    client.removeLog()
    if (isAborted(signal)) throw givenUp(this.target)
    if (muxRefusal(log) === 'sessions') {
      throw new ProcessError('E_HOST_DROPPED', `${placeOf(this.target)} gives no more sessions on this connection`, {
        suggestions: ['Ask for fewer at a time with sessions, or raise MaxSessions in its sshd_config'],
        data: { host: this.target.name },
      })
    }
    throw (
      (await this.#whyGone()) ??
      explainLost(this.target, `no session could be had: ${log.trim().split('\n').at(-1) ?? 'ssh did not start'}`)
    )
  }

  async forwardOut(host: string, port: number): Promise<Duplex> {
    this.#check(undefined)
    const mark = this.#master.markLog()
    const place = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
    const client = this.#client(['-W', place, '--', this.target.openssh.destination])
    if (await client.opened) return new ForwardedStream(client)
    client.removeLog()
    const gone = await this.#whyGone()
    if (gone !== undefined) throw gone
    const reason = reasonOfForward(this.#master.readLog().slice(mark), host, port)
    throw new ProcessError('E_FORWARD', `${placeOf(this.target)} could not connect to ${place}: ${reason ?? 'it refused'}`, {
      data: { host: this.target.name, reason: reason ?? 'refused', to: place },
      suggestions: hintsForForward(reason ?? 'refused', place),
    })
  }

  /** A client that can only use the master: what it would connect with by itself is a program that fails. */
  #client(words: readonly string[]): ReturnType<typeof startClient> {
    const log = this.#tools.logPath()
    const env = this.target.openssh.options.filter((option) => /^(?:SetEnv|SendEnv)=/.test(option))
    const options = ['ControlMaster=no', 'ProxyCommand=false', 'LogLevel=DEBUG1', 'EscapeChar=none', ...env]
    this.#master.markLog()
    const client = startClient(
      this.#tools.program,
      ['-F', 'none', '-S', this.#master.path.replaceAll('%', '%%'), '-E', log, ...options.flatMap((option) => ['-o', option]), ...words],
      log,
    )
    this.#clients.add(client)
    void client.closed.then(() => this.#clients.delete(client))
    const { pid } = client.child
    if (pid !== undefined) this.#tools.lastWill?.add(pid)
    client.child.on('exit', () => pid !== undefined && this.#tools.lastWill?.remove(pid))
    return client
  }

  /** 255 is the client's word for a lost connection, and may be the command's own: the master knows. */
  async #judge(): Promise<ChannelEnd> {
    const lost = await this.#whyGone()
    return { exitCode: lost === undefined ? 255 : undefined, signal: undefined, lost }
  }

  async #whyGone(): Promise<ProcessError | undefined> {
    if (await this.#master.control.isAlive()) return undefined
    if (this.#disposing !== undefined && this.#error === undefined) return explainLost(this.target, 'we closed the connection')
    return this.#error ?? explainEnd(this.target, this.#master.readLog())
  }

  #check(signal: AbortSignal | undefined): void {
    if (isAborted(signal)) throw givenUp(this.target)
    if (this.#error !== undefined) throw this.#error
    if (this.#disposing !== undefined) throw explainLost(this.target, 'we closed the connection')
  }

  ref(): void {
    this.#master.control.ref()
    for (const client of this.#clients) holdClient(client, 'ref')
  }

  /** Its clients let the program end as well: that of an idle runner stays for as long as the connection. */
  unref(): void {
    this.#master.control.unref()
    for (const client of this.#clients) holdClient(client, 'unref')
  }

  #dispose(): Promise<void> {
    this.#disposing ??= this.#master.end().then(this.#tools.after)
    return this.#disposing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#dispose()
  }
}

function holdClient({ child }: MuxClient, how: 'ref' | 'unref'): void {
  child[how]()
  for (const stream of [child.stdin, child.stdout, child.stderr]) if (stream instanceof Socket) stream[how]()
}

function givenUp(target: SshTarget): ProcessError {
  return new ProcessError('E_ABORTED', `The work on ${target.name} was given up`, { data: { host: target.name } })
}
