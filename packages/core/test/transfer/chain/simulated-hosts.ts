import { ChainPlan } from '../../../src/transfer/chain/plan.js'
import { type Giver, HEAD, type Order, OWN, type PlanSettings } from '../../../src/transfer/chain/plan-terms.js'

export const TICK_MS = 50
const REPORT_MS = 100

/** A host of the simulation and what befalls it. Times in milliseconds from the beginning. */
export interface SimulatedHost {
  /** Ready at. */
  readonly joinsAt?: number
  /** Bytes of an earlier transfer. */
  readonly have?: number
  /** Bytes per millisecond that it takes at most. */
  readonly rate?: number
  /** The same for what it gives. */
  readonly givesAt?: number
  readonly diesAt?: number
  /** Nothing is heard of it, nothing goes in or out. */
  readonly frozen?: readonly [from: number, to: number]
  /** Givers whose links are refused. */
  readonly refuses?: readonly Giver[]
  /** Links to it and from it that are not made get no answer at all. */
  readonly isSilent?: boolean
  /** Givers whose links stand, and bring nothing. */
  readonly starvedBy?: readonly Giver[]
  /** So many times what a giver brings does not fit. */
  readonly corrupt?: ReadonlyMap<Giver, number>
}

interface Link {
  readonly epoch: number
  readonly from: Giver
  readonly since: number
  isUp: boolean
}

interface State {
  readonly spec: SimulatedHost
  have: number
  floor: number
  reported: number
  link: Link | undefined
  hasJoined: boolean
  isGone: boolean
  /** The plan was told. */
  isKnownGone: boolean
  isDropped: boolean
  /** It answers as soon as it can. */
  isAsked: boolean
  doneAt: number | undefined
  corrupt: Map<Giver, number>
}

export interface SimulationSettings extends Partial<PlanSettings> {
  readonly total: number
  /** Bytes per millisecond that this machine sends. */
  readonly headRate?: number
  /** Between what happens and that the plan is told, and between an order and what comes of it. */
  readonly lagMs?: number
}

export interface Outcome {
  readonly doneAt: number | undefined
  readonly dropped: string | undefined
  readonly have: number
}

/** Hosts, links and time, in which a plan gives the orders. Throws when an order cannot be meant, and when there is no end. */
export class Simulation {
  readonly plan: ChainPlan
  readonly orders: (Order & { readonly at: number })[] = []
  readonly #total: number
  readonly #headRate: number
  readonly #lagMs: number
  readonly #states: State[]
  /** What is on its way, in its order. */
  readonly #late: { readonly at: number; readonly happen: () => void }[] = []
  #now = 0

  constructor(hosts: readonly SimulatedHost[], settings: SimulationSettings) {
    const { headRate = 25_000, lagMs = 0, ...rest } = settings
    this.#total = settings.total
    this.#headRate = headRate
    this.#lagMs = lagMs
    this.plan = new ChainPlan({ chunk: 131_072, patienceMs: 10_000, linkMs: 2500, heads: [HEAD, OWN], pace: undefined, ...rest })
    this.#states = hosts.map((spec) => ({
      spec,
      have: spec.have ?? 0,
      floor: spec.have ?? 0,
      reported: -1,
      link: undefined,
      hasJoined: false,
      isGone: false,
      isKnownGone: false,
      isDropped: false,
      isAsked: false,
      doneAt: undefined,
      corrupt: new Map(spec.corrupt),
    }))
  }

  get now(): number {
    return this.#now
  }

  /** Runs until nothing is left to be done. @returns one outcome per host */
  run(limitMs: number): Outcome[] {
    while (this.#isGoing()) {
      if (this.#now > limitMs) throw new Error(`not done after ${limitMs} ms: ${JSON.stringify(this.#states.map((one) => one.have))}`)
      this.#now += TICK_MS
      this.#step()
    }
    return this.#states.map((state, host) => {
      const drop = this.orders.find((order) => order.kind === 'drop' && order.host === host)
      return { doneAt: state.doneAt, dropped: drop?.kind === 'drop' ? drop.code : undefined, have: state.have }
    })
  }

  #isGoing(): boolean {
    return this.#states.some((one) => !one.isGone && !one.isDropped && one.doneAt === undefined)
  }

  #isFrozen(host: number): boolean {
    const frozen = this.#states[host]?.spec.frozen
    return frozen !== undefined && this.#now >= frozen[0] && this.#now < frozen[1]
  }

  #isThere(host: number): boolean {
    const state = this.#states[host]
    return state !== undefined && !state.isGone && !this.#isFrozen(host)
  }

  #later(happen: () => void): void {
    if (this.#lagMs === 0) happen()
    else this.#late.push({ at: this.#now + this.#lagMs, happen })
  }

  #step(): void {
    while ((this.#late[0]?.at ?? Number.POSITIVE_INFINITY) <= this.#now) this.#late.shift()?.happen()
    this.#states.forEach((state, host) => {
      if (!state.hasJoined && !state.isGone && this.#now >= (state.spec.joinsAt ?? 0)) {
        state.hasJoined = true
        this.plan.join(host, state.have, this.#now)
      }
      if (!state.isGone && this.#now >= (state.spec.diesAt ?? Number.POSITIVE_INFINITY)) {
        state.isGone = true
        state.link = undefined
        this.#later(() => {
          state.isKnownGone = true
          this.plan.leave(host)
        })
      }
    })
    this.#links()
    this.#flow()
    this.#report()
    for (const order of this.plan.decide(this.#now)) {
      this.orders.push({ ...order, at: this.#now })
      this.#check(order)
      this.#later(() => this.#follow(order))
    }
  }

  #down(state: State, reason: 'refused' | 'closed' | 'denied'): void {
    const epoch = state.link?.epoch as number
    state.link = undefined
    // What the giver says is heard when it can say it.
    this.#later(() => this.plan.down(epoch, reason, ''))
  }

  #links(): void {
    this.#states.forEach((state, host) => {
      const { link } = state
      if (link === undefined || state.isGone) return
      const giver = link.from < 0 ? undefined : this.#states[link.from]
      if (giver?.isGone === true) {
        state.link = undefined
      } else if (!link.isUp && this.#isThere(host) && (link.from < 0 || this.#isThere(link.from))) {
        if (state.spec.refuses?.includes(link.from) === true) {
          if (state.spec.isSilent !== true) this.#down(state, 'refused')
        } else if ((giver?.floor ?? 0) > state.have) {
          this.#down(state, 'denied')
        } else {
          link.isUp = true
          const { have } = state
          this.#later(() => this.plan.up(link.epoch, have, this.#now))
        }
      }
    })
  }

  #flow(): void {
    const fedByHead = this.#states.filter((state) => state.link?.isUp === true && state.link.from < 0).length
    this.#states.forEach((state, host) => {
      const { link } = state
      if (link?.isUp !== true || !this.#isThere(host) || (link.from >= 0 && !this.#isThere(link.from))) return
      const giver = link.from < 0 ? undefined : this.#states[link.from]
      const offered = giver?.have ?? this.#total
      const rate = Math.min(
        state.spec.rate ?? this.#headRate,
        giver === undefined ? this.#headRate / fedByHead : (giver.spec.givesAt ?? 1e9),
      )
      const isStarved = state.spec.starvedBy?.includes(link.from) === true
      const more = isStarved ? 0 : Math.max(0, Math.min(rate * TICK_MS, offered - state.have))
      // What the system holds in between is handed over as well.
      if (link.from < 0) this.plan.sent(link.epoch, Math.min(this.#total, state.have + more + 1))
      if (more === 0) return
      const left = state.corrupt.get(link.from) ?? 0
      if (left > 0) {
        state.corrupt.set(link.from, left - 1)
        state.link = undefined
        this.#later(() => {
          this.plan.bad(link.epoch)
          this.plan.down(link.epoch, 'closed', '')
        })
        return
      }
      state.have = Math.min(this.#total, state.have + more)
    })
  }

  #report(): void {
    this.#states.forEach((state, host) => {
      if (!state.hasJoined || !this.#isThere(host) || state.isDropped) return
      if (state.isAsked) this.#later(() => this.plan.hear(host, this.#now))
      state.isAsked = false
      const { have } = state
      if (have === this.#total && state.doneAt === undefined) {
        state.doneAt = this.#now
        state.link = undefined
        this.#later(() => {
          this.plan.have(host, have, this.#now)
          this.plan.whole(host)
        })
      } else if (have !== state.reported && this.#now % REPORT_MS === 0) {
        state.reported = have
        this.#later(() => this.plan.have(host, have, this.#now))
      }
    })
  }

  /** Every order can be meant, by what the plan knows. */
  #check(order: Order): void {
    if (order.kind === 'drop' && this.#states[order.host]?.isKnownGone === true)
      throw new Error(`host ${order.host} is gone, and was dropped`)
    if (order.kind !== 'link') return
    const { from, to } = order
    const [floor, have] = [this.#states[from]?.floor ?? 0, this.#states[to]?.have ?? 0]
    if (floor > have) throw new Error(`host ${from} has nothing of what ${to} needs: it began with ${floor}, that one has ${have}`)
    for (const [name, one] of [['giver', this.#states[from]] as const, ['receiver', this.#states[to]] as const]) {
      if (one?.isKnownGone === true || one?.isDropped === true) throw new Error(`the ${name} of link ${from} to ${to} is gone`)
    }
    // Around in a circle nothing would come.
    const seen = new Set<number>([to])
    for (let at: Giver | undefined = from; at !== undefined && at >= 0; at = this.plan.giverOf(at)) {
      if (seen.has(at)) throw new Error(`a circle: ${[...seen].join(' ')}`)
      seen.add(at)
    }
  }

  #follow(order: Order): void {
    if (order.kind === 'ask') {
      const state = this.#states[order.host] as State
      state.isAsked = true
    } else if (order.kind === 'drop') {
      const state = this.#states[order.host] as State
      state.isDropped = true
      state.link = undefined
    } else if (order.kind === 'unlink') {
      const state = this.#states[order.to] as State
      if (state.link?.epoch === order.epoch) state.link = undefined
    } else this.#link(order)
  }

  #link({ epoch, from, to }: Extract<Order, { kind: 'link' }>): void {
    const state = this.#states[to] as State
    // An agent makes one link, and closes the one before.
    for (const [host, other] of this.#states.entries()) {
      if (host !== to && from >= 0 && other.link?.from === from) other.link = undefined
    }
    if (!state.isGone && !state.isDropped) state.link = { epoch, from, since: this.#now, isUp: false }
  }
}
