import { describe, expect, it } from 'vitest'
import { ProcessError } from '../../src/errors.js'
import { connectionSchema } from '../../src/model/connection.js'
import type { Clock } from '../../src/ports/clock.js'
import type { ChannelEnd, Connector, SshChannel, SshConnection, SshTarget } from '../../src/ssh/connection.js'
import { ConnectionPool, type ResolvedHost } from '../../src/ssh/connection-pool.js'
import { makeDeferred } from '../../src/util/async.js'

const options = connectionSchema.parse({})

function target(name: string, jumps: readonly SshTarget[] = []): SshTarget {
  return {
    name,
    address: name,
    port: 22,
    user: 'me',
    hostKeys: 'strict',
    knownHostsFiles: [],
    keyFiles: [],
    agent: undefined,
    identitiesOnly: false,
    jumps,
    // Tries and pauses that took longer than this would not be followed by others.
    connectTimeoutMs: 60_000,
    keepAliveMs: 10_000,
    openssh: { configFile: false, destination: name, options: [] },
  }
}

const resolve = async (host: { address: string; jump?: string | undefined }): Promise<ResolvedHost> => ({
  target: target(
    host.address,
    host.jump?.split(',').map((name) => target(name)),
  ),
  connector: 'ssh2',
  why: 'a test says so',
})

/** Connections to nowhere: what a server would do is told by the test. */
class Nowhere implements Connector {
  readonly kind = 'ssh2'
  readonly asked: { target: SshTarget; via: SshConnection | undefined; signal: AbortSignal | undefined }[] = []
  readonly made: FakeConnection[] = []
  /** Sessions that its servers give. */
  maxSessions = 10
  running = 0
  most = 0
  answer: (target: SshTarget, tries: number) => Promise<void> | void = () => {}

  async connect(
    to: SshTarget,
    { via, signal }: { signal?: AbortSignal | undefined; via?: SshConnection | undefined },
  ): Promise<SshConnection> {
    this.asked.push({ target: to, via, signal })
    this.running += 1
    this.most = Math.max(this.most, this.running)
    try {
      await new Promise((done) => setImmediate(done))
      await this.answer(to, this.asked.filter((one) => one.target.address === to.address).length)
    } finally {
      this.running -= 1
    }
    const connection = new FakeConnection(to, this.maxSessions)
    this.made.push(connection)
    return connection
  }
}

class FakeConnection implements SshConnection {
  readonly connector = 'ssh2'
  readonly target: SshTarget
  readonly #max: number
  readonly #lost = makeDeferred<ProcessError>()
  readonly lost = this.#lost.promise
  readonly channels: FakeChannel[] = []
  open = 0
  most = 0
  held = true
  disposed = false

  constructor(to: SshTarget, max: number) {
    this.target = to
    this.#max = max
  }

  async exec(): Promise<SshChannel> {
    await new Promise((done) => setImmediate(done))
    if (this.open >= this.#max) throw new ProcessError('E_HOST_DROPPED', `${this.target.name} gives no more sessions`)
    this.open += 1
    this.most = Math.max(this.most, this.open)
    const channel = new FakeChannel(() => (this.open -= 1))
    this.channels.push(channel)
    return channel
  }

  subsystem(): Promise<SshChannel> {
    return this.exec()
  }

  lose(): void {
    this.#lost.resolve(new ProcessError('E_CONNECTION_LOST', `${this.target.name} is gone`))
  }

  forwardOut(): Promise<never> {
    return Promise.reject(new ProcessError('E_FORWARD', 'not here'))
  }
  ref(): void {
    this.held = true
  }
  unref(): void {
    this.held = false
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true
  }
}

class FakeChannel implements SshChannel {
  readonly #end = makeDeferred<ChannelEnd>()
  readonly closed = this.#end.promise
  readonly #onEnd: () => void

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd
  }

  listen(): void {}
  async write(): Promise<void> {}
  end(): void {}
  pause(): void {}
  resume(): void {}
  close(): void {
    this.#onEnd()
    this.#end.resolve({ exitCode: 0, signal: undefined, lost: undefined })
  }
}

/** Time stands still: handshakes never last long enough to give their places to others. */
const noTime: Clock = { now: () => 0, monotonic: () => 0, sleep: async () => {} }

function setUp(settings: { handshakes?: number; clock?: Clock } = {}) {
  const connector = new Nowhere()
  const pool = new ConnectionPool({ connectors: { ssh2: connector }, resolve, random: () => 0.01, ...settings })
  const connect = (address: string, more: { jump?: string; signal?: AbortSignal; anew?: boolean; sessions?: number } = {}) =>
    pool.connect(
      { address, jump: more.jump },
      { ...options, sessions: more.sessions ?? options.sessions },
      { signal: more.signal, anew: more.anew },
    )
  return { connector, pool, connect }
}

const dropped = (): never => {
  throw new ProcessError('E_HOST_DROPPED', 'dropped', { data: { retry: true } })
}

describe('ConnectionPool', () => {
  it('gives all who ask, at the same time and later, the same connection', async () => {
    const { connector, pool, connect } = setUp()
    const first = await Promise.all([connect('a'), connect('a'), connect('a')])
    const later = await connect('a')
    expect(new Set([...first, later]).size).toBe(1)
    expect(connector.asked).toHaveLength(1)
    expect(pool.logins).toBe(1)
  })

  it.each<[string, Partial<SshTarget>, 'ssh2' | 'openssh']>([
    ['another alias, with another ProxyCommand', { openssh: { configFile: undefined, destination: 'b-node', options: [] } }, 'openssh'],
    ['another configuration file', { openssh: { configFile: '/b', destination: 'a', options: [] } }, 'openssh'],
    ['other options', { openssh: { configFile: undefined, destination: 'a', options: ['BindAddress=::1'] } }, 'openssh'],
    ['another name for its host key', { hostKeyAlias: 'b' }, 'ssh2'],
    ['other files of known hosts', { knownHostsFiles: ['/b'] }, 'ssh2'],
    ['another key, for which the server may have another command', { keyFiles: ['/b'] }, 'ssh2'],
    ['another agent', { agent: '/b' }, 'ssh2'],
  ])('makes another connection to the same address for %s', async (_, changes, kind) => {
    const connector = new Nowhere()
    let asked = 0
    const pool = new ConnectionPool({
      connectors: { ssh2: connector, openssh: connector as unknown as Connector },
      resolve: async () => ({ target: { ...target('a'), ...(asked++ === 0 ? {} : changes) }, connector: kind, why: '' }),
    })
    const [one, other, again] = [1, 2, 3].map(() => pool.connect({ address: 'a' }, options))
    expect(await one).not.toBe(await other)
    expect(await again).toBe(await other)
  })

  it('gives a failure to all who wait, and asks again for who comes later', async () => {
    const { connector, connect } = setUp()
    connector.answer = (_to, tries) => {
      if (tries === 1) throw new ProcessError('E_HOST_REFUSED', 'nothing listens')
    }
    const both = await Promise.allSettled([connect('a'), connect('a')])
    expect(both.map((one) => one.status === 'rejected' && one.reason.code)).toEqual(['E_HOST_REFUSED', 'E_HOST_REFUSED'])
    await expect(connect('a')).resolves.toMatchObject({ lost: false })
    expect(connector.asked).toHaveLength(2)
  })

  it('makes a lost connection anew when somebody asks again', async () => {
    const { connector, pool, connect } = setUp()
    const first = await connect('a')
    connector.made[0]?.lose()
    await first.connection.lost
    const second = await connect('a')
    expect(second).not.toBe(first)
    expect(first.lost).toBe(true)
    expect(pool.logins).toBe(2)
  })

  it('tries a dropped login again, and says after the last try what came back', async () => {
    const { connector, connect } = setUp()
    connector.answer = (to, tries) => {
      if (to.address === 'never' || tries < 4) dropped()
    }
    await expect(connect('a')).resolves.toBeDefined()
    expect(connector.asked).toHaveLength(4)
    await expect(connect('never')).rejects.toMatchObject({ code: 'E_HOST_DROPPED' })
    expect(connector.asked).toHaveLength(12)
  })

  it('does not ask a host again that did not let us in, except on purpose', async () => {
    const { connector, connect } = setUp()
    connector.answer = () => {
      throw new ProcessError('E_LOGIN_REFUSED', 'no key of ours is known there')
    }
    await expect(connect('a')).rejects.toMatchObject({ code: 'E_LOGIN_REFUSED' })
    await expect(connect('a')).rejects.toMatchObject({ code: 'E_LOGIN_REFUSED' })
    expect(connector.asked).toHaveLength(1)
    connector.answer = () => {}
    await expect(connect('a')).rejects.toMatchObject({ code: 'E_LOGIN_REFUSED' })
    await expect(connect('a', { anew: true })).resolves.toBeDefined()
    await expect(connect('a')).resolves.toBeDefined()
  })

  it('says that it is paused when somebody has to log in, and what to do', async () => {
    const { connector, connect } = setUp()
    connector.answer = () => {
      throw new ProcessError('E_LOGIN_NEEDED', 'a wants a code')
    }
    await expect(connect('a')).rejects.toMatchObject({
      code: 'E_LOGIN_NEEDED',
      message: 'paused: login needed on a: a wants a code',
      suggestions: [expect.stringContaining('ssh me@a')],
    })
  })

  it('dials eight times at once to one server and sixty-four times in all', async () => {
    const { connector, pool } = setUp({ clock: noTime })
    const users = Array.from({ length: 40 }, (_, n) => `user${n}`)
    const one = new ConnectionPool({
      connectors: { ssh2: connector },
      clock: noTime,
      resolve: async (host) => ({ ...(await resolve(host)), target: { ...target(host.address), user: host.user ?? 'me' } }),
    })
    await Promise.all(users.map((user) => one.connect({ address: 'a', user }, options)))
    expect(connector.most).toBe(8)
    await Promise.all(Array.from({ length: 200 }, (_, n) => pool.connect({ address: `host${n}` }, options)))
    expect(connector.most).toBe(64)
  })

  it('logs in to a gateway once, and hands its connection to those behind it', async () => {
    const { connector, pool, connect } = setUp()
    const behind = await Promise.all(Array.from({ length: 30 }, (_, n) => connect(`inner${n}`, { jump: 'gateway' })))
    const gateway = connector.made.find((made) => made.target.address === 'gateway')
    expect(pool.logins).toBe(31)
    expect(behind.every((pooled) => pooled.via?.connection === gateway)).toBe(true)
    expect(connector.most).toBeGreaterThan(8)
    // The same gateway, asked for by itself.
    expect((await connect('gateway')).connection).toBe(gateway)
  })

  it('says of a host behind a gateway that the gateway cannot be reached', async () => {
    const { connector, connect } = setUp()
    connector.answer = () => {
      throw new ProcessError('E_HOST_REFUSED', 'nothing listens on gateway')
    }
    await expect(connect('inner', { jump: 'gateway' })).rejects.toMatchObject({
      code: 'E_HOST_REFUSED',
      message: 'No way to inner: nothing listens on gateway',
    })
  })

  it('hosts that never answer do not keep others from theirs', async () => {
    const { connector, pool, connect } = setUp({ handshakes: 4 })
    const never = makeDeferred<void>()
    connector.answer = (to) => (to.address.startsWith('dead') ? never.promise : undefined)
    const dead = Array.from({ length: 6 }, (_, n) => connect(`dead${n}`))
    const good = await Promise.all(Array.from({ length: 20 }, (_, n) => connect(`good${n}`)))
    expect(good).toHaveLength(20)
    never.reject(new ProcessError('E_HOST_TIMEOUT', 'no answer'))
    for (const one of await Promise.allSettled(dead)) expect(one).toMatchObject({ status: 'rejected', reason: { code: 'E_HOST_TIMEOUT' } })
    await pool[Symbol.asyncDispose]()
  })

  it('goes on with a login that one of two gives up, and ends it when the last one does', async () => {
    const { connector, connect } = setUp()
    const answer = makeDeferred<void>()
    connector.answer = () => answer.promise
    const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()]
    const one = connect('a', { signal: first.signal })
    const two = connect('a', { signal: second.signal })
    const alone = connect('b', { signal: third.signal })
    await expect.poll(() => connector.asked.length).toBe(2)
    first.abort()
    third.abort()
    await expect(one).rejects.toMatchObject({ code: 'E_ABORTED' })
    await expect(alone).rejects.toMatchObject({ code: 'E_ABORTED' })
    expect(connector.asked.map(({ target: to, signal }) => [to.address, signal?.aborted])).toEqual([
      ['a', false],
      ['b', true],
    ])
    answer.resolve()
    await expect(two).resolves.toBeDefined()
  })

  it('refuses a signal that was aborted before, and everything after its end', async () => {
    const { connector, pool, connect } = setUp()
    await expect(connect('a', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'E_ABORTED' })
    await connect('a')
    await pool[Symbol.asyncDispose]()
    expect(connector.made[0]?.disposed).toBe(true)
    await expect(connect('a')).rejects.toMatchObject({ code: 'E_ABORTED' })
  })
})

describe('PooledConnection', () => {
  it('lets commands and subsystems wait for a free session', async () => {
    const { connector, connect } = setUp()
    const pooled = await connect('a', { sessions: 3 })
    const running: SshChannel[] = []
    const all = Promise.all(
      Array.from({ length: 10 }, async (_, n) => running.push(await (n % 2 ? pooled.subsystem('sftp') : pooled.exec('true')))),
    )
    await expect.poll(() => running.length).toBe(3)
    for (let n = 0; n < 10; n += 1) {
      await expect.poll(() => running.length).toBeGreaterThan(n)
      running[n]?.close()
    }
    await all
    expect(connector.made[0]?.most).toBe(3)
    expect(connector.made).toHaveLength(1)
  })

  it('takes fewer sessions when the server refuses one, and never logs in again for them', async () => {
    const { connector, connect } = setUp()
    connector.maxSessions = 2
    const pooled = await connect('a')
    const running: SshChannel[] = []
    const all = Promise.all(Array.from({ length: 9 }, async () => running.push(await pooled.exec('true'))))
    for (let n = 0; n < 9; n += 1) {
      await expect.poll(() => running.length).toBeGreaterThan(n)
      running[n]?.close()
    }
    await all
    expect(pooled.sessions).toBe(2)
    expect(connector.made).toHaveLength(1)
  })

  it('says so when the server gives no session at all', async () => {
    const { connector, connect } = setUp()
    connector.maxSessions = 0
    await expect((await connect('a')).exec('true')).rejects.toMatchObject({ code: 'E_HOST_DROPPED' })
  })

  it('tells those who wait for a session when the connection is lost, or when they give up', async () => {
    const { connector, connect } = setUp()
    const pooled = await connect('a', { sessions: 1 })
    await pooled.exec('true')
    const control = new AbortController()
    const impatient = pooled.exec('true', { signal: control.signal })
    const patient = pooled.exec('true')
    control.abort()
    await expect(impatient).rejects.toMatchObject({ code: 'E_ABORTED' })
    connector.made[0]?.lose()
    await expect(patient).rejects.toMatchObject({ code: 'E_CONNECTION_LOST' })
    await expect(pooled.exec('true')).rejects.toMatchObject({ code: 'E_CONNECTION_LOST' })
  })

  it('keeps the program alive while a command runs, and the way to it as well', async () => {
    const { connector, connect } = setUp()
    const pooled = await connect('inner', { jump: 'gateway' })
    const held = (): boolean[] => connector.made.map((made) => made.held)
    expect(held()).toEqual([false, false])
    const channel = await pooled.exec('true')
    const background = await pooled.exec('true', { idle: true })
    expect(held()).toEqual([true, true])
    channel.close()
    await channel.closed
    expect(held()).toEqual([false, false])
    background.close()
  })
})
