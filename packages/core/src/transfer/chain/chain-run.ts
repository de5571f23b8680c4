import { connect } from 'node:net'
import { messageOf, TransferError } from '../../errors.js'
import type { Clock } from '../../ports/clock.js'
import type { Logger } from '../../ports/logger.js'
import { type Deferred, makeDeferred } from '../../util/async.js'
import { type AgentEvent, agentError, type HostAgent } from '../agent/host-agent.js'
import { joinCommand } from '../agent/join-command.js'
import { decodeName } from '../manifest.js'
import type { ReachedHost } from '../mover.js'
import type { Pace } from '../pace.js'
import { sendOver } from './link.js'
import { ChainPlan } from './plan.js'
import { HEAD, type LinkFault, type Order, OWN } from './plan-terms.js'
import type { ChainSource } from './source.js'
import { channelWire, socketWire, type Wire } from './wire.js'

/** Decisions that no event asks for. */
const TICK_MS = 100
const TCP_LINK_MS = 2500
/** A login. */
const SSH_LINK_MS = 10_000

export interface ChainSettings {
  readonly over: 'tcp' | 'ssh'
  /** How a host reaches another one, over ssh. */
  readonly hopCommand: readonly string[]
  readonly patienceMs: number
}

export interface RunContext {
  readonly settings: ChainSettings
  readonly source: ChainSource
  /** 64 hex digits. */
  readonly key: string
  readonly pace: Pace
  readonly clock: Clock
  readonly log: Logger
}

/** A host that takes the stream. */
export interface ChainMember {
  readonly agent: HostAgent
  readonly reached: ReachedHost
  readonly signal: AbortSignal
  /** Bytes of the stream that are there now; may go back to 0. */
  onHave(bytes: number): void
}

type Door = { readonly address: string; readonly port: number } | { readonly path: string }

interface Seat {
  readonly member: ChainMember
  readonly door: Door | undefined
  readonly done: Deferred<string>
  /** Of everything that it has, once it has that. */
  sha256: string | undefined
}

/**
 * One stream on its way from host to host: tells the plan what happens, and carries out its orders. It ends by itself when nobody takes
 * part any more.
 */
export class ChainRun {
  readonly #context: RunContext
  readonly #plan: ChainPlan
  readonly #seats = new Map<number, Seat>()
  /** Links of this machine, by epoch. */
  readonly #links = new Map<number, AbortController>()
  readonly #key: Buffer
  #count = 0
  #timer: NodeJS.Timeout | undefined
  #isDue = false

  constructor(context: RunContext) {
    const { source, settings, pace, key } = context
    this.#context = context
    this.#key = Buffer.from(key, 'hex')
    this.#plan = new ChainPlan({
      total: source.total,
      chunk: source.chunk,
      patienceMs: settings.patienceMs,
      linkMs: settings.over === 'ssh' ? SSH_LINK_MS : TCP_LINK_MS,
      heads: settings.over === 'ssh' ? [OWN] : [HEAD, OWN],
      pace: pace.bytesPerSecond,
    })
  }

  /**
   * Lets a host take part. Resolves when it has everything and nobody needs it any more.
   *
   * @param indexes - what the stream is made of
   * @param prepared - awaited before the host takes its place
   * @throws TransferError with what the agent says, `E_COPY_STALLED`, `E_COPY_CORRUPT`, `E_COPY_LOST`; ProcessError `E_CONNECTION_LOST`
   */
  async receive(member: ChainMember, indexes: readonly number[], prepared?: () => Promise<void>): Promise<void> {
    const { agent } = member
    const early: AgentEvent[] = []
    let onEvent = (event: AgentEvent): void => void early.push(event)
    const stopListening = agent.onEvent((event) => onEvent(event))
    try {
      const { have, door } = await this.#open(member, indexes)
      await prepared?.()
      member.onHave(have)
      this.#count += 1
      const host = this.#count
      const seat: Seat = { member, door, done: makeDeferred(), sha256: undefined }
      this.#seats.set(host, seat)
      this.#plan.join(host, have, this.#now())
      onEvent = (event) => this.#hear(host, seat, event)
      early.forEach(onEvent)
      await this.#whileSeated(host, seat)
    } finally {
      stopListening()
    }
  }

  #now(): number {
    return this.#context.clock.monotonic()
  }

  async #open({ agent, signal }: ChainMember, indexes: readonly number[]): Promise<{ have: number; door: Door | undefined }> {
    const { source, settings, key } = this.#context
    const list = indexes.map((index) => `${index}\n`).join('')
    // Without waiting in between: one way there and back.
    const [, stream, door] = await Promise.all([
      agent.request('key', [key], undefined, signal),
      agent.request('stream', [source.chunk, source.total], list, signal),
      settings.over === 'ssh' ? this.#listen(agent, ['unix']) : this.#listen(agent, ['tcp', '-']),
    ])
    return { have: Number(stream.words[0]), door }
  }

  /** Where a host that cannot listen is reached is over its own connection. */
  async #listen(agent: HostAgent, words: readonly string[]): Promise<Door | undefined> {
    try {
      const [first = '', second = ''] = (await agent.request('listen', words)).words
      return words[0] === 'unix' ? { path: decodeName(first) } : { address: decodeName(second), port: Number(first) }
    } catch (error) {
      this.#context.log.debug({ host: agent.host, error }, 'host cannot listen')
      return undefined
    }
  }

  async #whileSeated(host: number, seat: Seat): Promise<void> {
    const { member, done } = seat
    const onAbort = (): void => done.reject(new TransferError('E_ABORTED', `The copy to ${member.agent.host} was given up`))
    member.signal.addEventListener('abort', onAbort, { once: true })
    if (member.signal.aborted) onAbort()
    void member.agent.closed.then((reason) => done.reject(reason ?? new TransferError('E_COPY_LOST', 'The agent was ended')))
    this.#timer ??= setInterval(() => this.#decide(), TICK_MS)
    this.#soon()
    try {
      const sha256 = await done.promise
      const ours = await this.#context.source.whole()
      if (sha256 !== ours) throw new TransferError('E_COPY_CORRUPT', `What came to ${member.agent.host} is not what was sent`)
    } finally {
      member.signal.removeEventListener('abort', onAbort)
      this.#seats.delete(host)
      this.#plan.leave(host)
      if (this.#seats.size === 0) this.#end()
      else this.#soon()
    }
  }

  #end(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    for (const link of this.#links.values()) link.abort()
    this.#links.clear()
  }

  #hear(host: number, seat: Seat, { name, words }: AgentEvent): void {
    const now = this.#now()
    const [first = '', second = '', third = '%'] = words
    this.#plan.hear(host, now)
    if (name === 'have') {
      this.#plan.have(host, Number(first), now)
      seat.member.onHave(Number(first))
    } else if (name === 'whole') {
      seat.sha256 = first
      this.#plan.whole(host)
      seat.member.onHave(this.#context.source.total)
    } else if (name === 'up') this.#plan.up(Number(first), Number(second), now)
    else if (name === 'down') this.#down(Number(first), faultOf(second), decodeName(third))
    else if (name === 'bad') this.#plan.bad(Number(first))
    else if (name === 'fail') seat.done.reject(agentError(first, second === '' ? '%' : second))
    this.#soon()
  }

  #down(epoch: number, fault: LinkFault, detail: string): void {
    this.#context.log.debug({ epoch, fault, detail }, 'link down')
    this.#plan.down(epoch, fault, detail)
    this.#soon()
  }

  /** Once for everything that happens in one turn. */
  #soon(): void {
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      this.#decide()
    })
  }

  #decide(): void {
    for (const order of this.#plan.decide(this.#now())) this.#follow(order)
    for (const [host, { sha256, done }] of this.#seats) {
      if (sha256 !== undefined && !this.#plan.isGiving(host)) done.resolve(sha256)
    }
  }

  #follow(order: Order): void {
    if (order.kind !== 'ask') this.#context.log.debug({ order, line: this.#plan.line }, 'chain order')
    if (order.kind === 'link') this.#link(order.epoch, order.from, order.to)
    else if (order.kind === 'unlink') this.#unlink(order.epoch, order.from)
    else if (order.kind === 'ask') this.#ask(order.host)
    else {
      const seat = this.#seats.get(order.host)
      // Nobody waits for what it could still say.
      void seat?.member.agent[Symbol.asyncDispose]()
      const name = seat?.member.agent.host ?? ''
      seat?.done.reject(
        new TransferError(order.code, `${name}: ${order.message}`, {
          suggestions: ['Look whether the host and the network between the hosts are well, then ask again: what came is kept'],
        }),
      )
    }
  }

  #ask(host: number): void {
    this.#seats
      .get(host)
      ?.member.agent.request('ping', [])
      .then(
        () => this.#plan.hear(host, this.#now()),
        () => undefined,
      )
  }

  #unlink(epoch: number, from: number): void {
    if (from < 0) this.#links.get(epoch)?.abort()
    else
      this.#seats
        .get(from)
        ?.member.agent.request('forward', [epoch, 'none'])
        .catch(() => undefined)
  }

  #link(epoch: number, from: number, to: number): void {
    const seat = this.#seats.get(to)
    if (seat === undefined) return
    // What is wrong with the agent is seen by its end.
    seat.member.agent.request('expect', [epoch]).catch(() => undefined)
    const linked = from < 0 ? this.#linkHead(epoch, from, seat) : this.#linkHosts(epoch, from, seat)
    linked.catch((error: unknown) => this.#down(epoch, 'refused', messageOf(error)))
  }

  async #linkHosts(epoch: number, from: number, { door, member }: Seat): Promise<void> {
    const giver = this.#seats.get(from)?.member.agent
    if (giver === undefined || door === undefined) throw new Error('nobody listens there')
    if ('port' in door) {
      await giver.request('forward', [epoch, 'tcp', door.address, door.port])
      return
    }
    const { target } = member.reached.pooled.connection
    const join = joinCommand(member.agent.kind, door.path)
    const command = [...this.#context.settings.hopCommand, '-p', `${target.port}`, '-l', target.user, target.address, join]
    await giver.request('forward', [epoch, 'command'], command.map((word) => `${word}\0`).join(''))
  }

  async #linkHead(epoch: number, from: number, seat: Seat): Promise<void> {
    const { source, pace } = this.#context
    const controller = new AbortController()
    this.#links.set(epoch, controller)
    try {
      const wire = from === OWN ? await this.#ownWire(seat, controller.signal) : tcpWire(seat.door)
      const end = await sendOver(wire, {
        epoch,
        key: this.#key,
        source,
        pace,
        signal: controller.signal,
        onUp: (offset) => {
          this.#plan.up(epoch, offset, this.#now())
          this.#soon()
        },
        onSent: (offset) => this.#plan.sent(epoch, offset),
      })
      if (end !== undefined) this.#down(epoch, end.fault, end.detail)
    } finally {
      this.#links.delete(epoch)
    }
  }

  /** A program on the host that joins a channel of its own connection with its agent. */
  async #ownWire({ member, door }: Seat, signal: AbortSignal): Promise<Wire> {
    const { agent, reached } = member
    const own = door !== undefined && 'path' in door ? door : await this.#listen(agent, ['unix'])
    if (own === undefined || !('path' in own)) throw new Error('its agent cannot listen')
    return channelWire(await reached.pooled.exec(joinCommand(agent.kind, own.path), { signal }))
  }
}

function tcpWire(door: Door | undefined): Wire {
  if (door === undefined || !('port' in door)) throw new Error('nobody listens there')
  return socketWire(connect({ host: door.address, port: door.port, noDelay: true }))
}

const FAULTS: readonly string[] = ['refused', 'timeout', 'denied', 'closed', 'program'] satisfies LinkFault[]

function faultOf(word: string): LinkFault {
  return FAULTS.includes(word) ? (word as LinkFault) : 'closed'
}
