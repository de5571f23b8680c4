import { isIP, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import ssh2, { type Algorithms, type ConnectConfig, type ServerHostKeyAlgorithm } from 'ssh2'
import { isCampaignError, ProcessError } from '../errors.js'
import { isAborted } from '../util/async.js'
import { explainBroken, explainExpired, explainHostKey, explainLogin, explainTimeout, type Stage } from './connect-errors.js'
import type { Connector, SshConnection, SshPrompts, SshTarget } from './connection.js'
import { Identities } from './identities.js'
import { type HostKeys, type HostNames, KnownHosts } from './known-hosts.js'
import { PausableTimer } from './pausable-timer.js'
import { Agents } from './ssh2-agents.js'
import { Ssh2Connection } from './ssh2-connection.js'
import { adjustClient } from './ssh2-inside.js'
import { type LoginSources, Ssh2Login } from './ssh2-login.js'

/** Enough of what came before the banner to tell what speaks there. */
const SAMPLE_BYTES = 256

interface ConnectOptions {
  readonly signal?: AbortSignal | undefined
  readonly via?: SshConnection | undefined
}

/** Connections made in this process: a thousand hosts need no thousand programs. */
export class Ssh2Connector implements Connector {
  readonly kind = 'ssh2'
  readonly #sources: LoginSources
  readonly #knownHosts = new KnownHosts()

  constructor(options: { readonly prompts?: SshPrompts | undefined } = {}) {
    const ask = inTurn(options.prompts)
    this.#sources = { identities: new Identities(ask === undefined ? {} : { ask }), agents: new Agents(), ask }
  }

  async connect(target: SshTarget, options: ConnectOptions = {}): Promise<SshConnection> {
    const gateway = target.jumps.at(-1)
    if (options.via !== undefined || gateway === undefined) return this.#dial(target, options, options.via)
    const { signal } = options
    const via = await this.connect({ ...gateway, jumps: target.jumps.slice(0, -1) }, { signal })
    try {
      return await this.#dial(target, { signal }, via, via)
    } catch (error) {
      await via[Symbol.asyncDispose]()
      throw error
    }
  }

  /** @param own - ends with the connection */
  #dial(target: SshTarget, { signal }: ConnectOptions, via?: SshConnection, own?: SshConnection): Promise<SshConnection> {
    return new Dialing(target, this.#sources, this.#knownHosts, own).run(via, signal)
  }
}

/** One try to reach one host. */
class Dialing {
  readonly #target: SshTarget
  readonly #knownHosts: KnownHosts
  #hostKeys: HostKeys
  readonly #own: SshConnection | undefined
  readonly #login: Ssh2Login
  readonly #limit: PausableTimer
  readonly #client = new ssh2.Client()
  #stream: Duplex | undefined
  #stage: Stage = 'dial'
  #received = Buffer.alloc(0)
  #acceptedKey: Buffer | undefined
  #settled = false
  #fail!: (error: unknown) => void

  constructor(target: SshTarget, sources: LoginSources, knownHosts: KnownHosts, own: SshConnection | undefined) {
    this.#target = target
    this.#knownHosts = knownHosts
    this.#own = own
    this.#hostKeys = this.#lookUp()
    this.#limit = new PausableTimer(target.connectTimeoutMs, () => {
      this.#fail(explainTimeout(target, this.#reached, this.#received))
    })
    this.#login = new Ssh2Login(target, sources, {
      hold: async (question) => {
        this.#limit.pause()
        try {
          return await question
        } finally {
          if (!this.#settled) this.#limit.resume()
        }
      },
      giveUp: () => this.#fail(explainLogin(target, this.#login.attempt)),
    })
  }

  run(via: SshConnection | undefined, signal: AbortSignal | undefined): Promise<SshConnection> {
    return new Promise((resolve, reject) => {
      const abort = (): void => this.#fail(new ProcessError('E_ABORTED', `The connection to ${this.#target.name} was given up`))
      const settle = (): boolean => {
        if (this.#settled) return false
        this.#settled = true
        this.#limit.stop()
        signal?.removeEventListener('abort', abort)
        return true
      }
      this.#fail = (error) => {
        if (!settle()) return
        this.#stream?.destroy()
        reject(error)
      }
      if (isAborted(signal)) {
        abort()
        return
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#listen(() => {
        if (settle()) resolve(this.#finish())
      })
      if (via === undefined) this.#start(this.#dialTcp())
      else {
        via.forwardOut(this.#target.address, this.#target.port).then(
          (stream) => {
            if (this.#settled) stream.destroy()
            else this.#start(stream)
          },
          (error: unknown) => this.#break(error),
        )
      }
    })
  }

  #dialTcp(): Socket {
    const socket = new Socket()
    // else every step waits 40 ms for a delayed acknowledgement; as an option of `connect` it would be ignored
    socket.setNoDelay(true)
    if (isIP(this.#target.address) === 0) {
      this.#stage = 'lookup'
      socket.once('lookup', () => {
        this.#stage = 'dial'
      })
    }
    socket.connect({ host: this.#target.address, port: this.#target.port })
    return socket
  }

  #start(stream: Duplex): void {
    this.#stream = stream
    stream.on('data', this.#sample)
    // ssh2 attaches its own reader after this one, and starts it
    stream.pause()
    try {
      this.#client.connect(this.#config(stream))
      adjustClient(this.#client, (methods, partial) => this.#login.refused(methods, partial))
      if (!(stream instanceof Socket)) this.#stage = 'banner'
    } catch (error) {
      this.#break(error)
    }
  }

  readonly #sample = (chunk: Buffer): void => {
    this.#received = Buffer.concat([this.#received, chunk.subarray(0, SAMPLE_BYTES)])
    if (this.#received.length >= SAMPLE_BYTES || this.#received.includes('SSH-')) this.#stream?.off('data', this.#sample)
  }

  #listen(onReady: () => void): void {
    this.#client
      .on('connect', () => {
        this.#stage = 'banner'
      })
      .on('handshake', () => {
        this.#stage = 'login'
      })
      .on('ready', onReady)
      .on('error', (error: Error & { level?: string }) => {
        // an agent that does not sign: the next key is tried
        if (error.level === 'agent') return
        if (error.level === 'client-authentication' && /All configured/.test(error.message)) {
          this.#fail(explainLogin(this.#target, this.#login.attempt))
        } else this.#break(error)
      })
      .on('change password', () => this.#fail(explainExpired(this.#target)))
      .on('close', () => this.#break(undefined))
  }

  #break(cause: unknown): void {
    if (this.#settled) return
    this.#fail(explainBroken(this.#target, { stage: this.#reached, cause, received: this.#received }))
  }

  /** The library tells of no banner. */
  get #reached(): Stage {
    return this.#stage === 'banner' && /(^|\n)SSH-/.test(this.#received.toString('latin1')) ? 'handshake' : this.#stage
  }

  #finish(): Ssh2Connection {
    const stream = this.#stream!
    stream.off('data', this.#sample)
    this.#client.removeAllListeners()
    return new Ssh2Connection(this.#target, this.#client, stream, this.#own)
  }

  #config(stream: Duplex): ConnectConfig {
    return {
      sock: stream,
      username: this.#target.user,
      // limits and signs of life are ours: those of ssh2 count the time in which a person types, and keep the program alive
      readyTimeout: 0,
      keepaliveInterval: 0,
      ...algorithmsFor(this.#hostKeys),
      hostVerifier: (key: Buffer) => this.#verify(key),
      authHandler: (_methods, _partial, next) => {
        this.#login.next().then(
          (method) => {
            if (!this.#settled) next((method ?? false) as never)
          },
          (error: unknown) => this.#fail(isCampaignError(error) ? error : this.#broken(error)),
        )
      },
    }
  }

  #broken(cause: unknown): ProcessError {
    return explainBroken(this.#target, { stage: 'login', cause, received: this.#received })
  }

  get #names(): HostNames {
    return { address: this.#target.address, port: this.#target.port, alias: this.#target.hostKeyAlias }
  }

  #lookUp(): HostKeys {
    return this.#knownHosts.lookup(this.#target.knownHostsFiles, this.#names)
  }

  /** Also called when keys are exchanged anew, an hour or a gigabyte later. */
  #verify(key: Buffer): boolean {
    if (this.#acceptedKey !== undefined) return this.#acceptedKey.equals(key)
    let verdict = this.#hostKeys.judge(key)
    if (verdict.state === 'unknown') {
      // another connection may have taken down a key of this host meanwhile
      this.#hostKeys = this.#lookUp()
      verdict = this.#hostKeys.judge(key)
    }
    const target = this.#target
    const file = target.knownHostsFiles[0]
    const mayAdd = verdict.state === 'unknown' && target.hostKeys === 'accept-new' && this.#hostKeys.authorities.length === 0
    try {
      if (mayAdd && file !== undefined) {
        this.#knownHosts.add(file, this.#names, key, { hashed: target.hashKnownHosts })
      } else if (verdict.state !== 'known') throw explainHostKey(target, key, this.#hostKeys, verdict)
    } catch (error) {
      this.#fail(error)
      return false
    }
    this.#acceptedKey = Buffer.from(key)
    return true
  }
}

/** All that the library offers by default, in its order: fast ones first. @source ssh2 1.17.0, lib/protocol/constants.js */
const HOST_KEYS: readonly ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
  'ssh-rsa',
]

/**
 * A host with several keys is asked for one that we know. Key exchange (curve25519) and ciphers (aes128-gcm) are in the order of the library,
 * and as long as all is in its order, the message that says so is made once per program.
 */
function algorithmsFor(keys: HostKeys): { readonly algorithms?: Algorithms } {
  const known = HOST_KEYS.filter((algorithm) => keys.algorithms.includes(algorithm))
  if (known.length === 0 || known[0] === HOST_KEYS[0]) return {}
  return { algorithms: { serverHostKey: [...known, ...HOST_KEYS.filter((algorithm) => !known.includes(algorithm))] } }
}

/** A person answers one question at a time. Who fails to ask has no answer. */
function inTurn(prompts: SshPrompts | undefined): SshPrompts['ask'] {
  if (prompts?.ask === undefined) return undefined
  let last: Promise<unknown> = Promise.resolve()
  return (question) => {
    const answer = last.then(() => prompts.ask?.(question)).catch(() => undefined)
    last = answer
    return answer
  }
}
