import type { ErrorCode } from '../../error-codes.js'
import { RateWindow } from './rate-window.js'

/** Who sends: a host by its number, or one of these. */
export type Giver = number
/** This machine, on the way on which hosts reach each other. */
export const HEAD = -1
/** This machine, over the ssh connection of the host that receives. */
export const OWN = -2

export type LinkFault = 'refused' | 'timeout' | 'denied' | 'closed' | 'program' | 'stalled' | 'corrupt'

export type Order =
  /** The giver opens a link to the host. Epochs only grow. */
  | { readonly kind: 'link'; readonly epoch: number; readonly from: Giver; readonly to: number }
  /** The giver closes what it has to this host. */
  | { readonly kind: 'unlink'; readonly epoch: number; readonly from: Giver; readonly to: number }
  /** A sign of life is wanted. */
  | { readonly kind: 'ask'; readonly host: number }
  /** It is given up. */
  | { readonly kind: 'drop'; readonly host: number; readonly code: ErrorCode; readonly message: string }

export interface PlanSettings {
  readonly total: number
  readonly chunk: number
  /** A host that could have more and takes nothing for so long is given up. */
  readonly patienceMs: number
  /** A link that does not stand after so long does not stand. */
  readonly linkMs: number
  /** How this machine may send, best first. */
  readonly heads: readonly Giver[]
  /** What this machine sends is limited on purpose, and tells nothing about the host that takes it. */
  readonly isPaced: boolean
}

interface Link {
  readonly epoch: number
  readonly from: Giver
  since: number
  isUp: boolean
  /** It brought something. */
  isUsed: boolean
}

interface Node {
  readonly host: number
  readonly joinedAt: number
  have: number
  /** It can give nothing of what comes before: bytes of an earlier transfer have no tags. */
  floor: number
  /** It has checked everything. */
  isWhole: boolean
  link: Link | undefined
  heardAt: number
  /** Since when it could have got something over this link, and did not. */
  idleAt: number
  /** The same, over whatever link. */
  progressAt: number
  wasAsked: boolean
  /** Since when an answer of it is missing. */
  askedAt: number | undefined
  /** Times that it stalled. */
  stalls: number
  /** It went to the tail because it was slow, with that rate from that giver. */
  slow: { readonly from: Giver; readonly rate: number } | undefined
  slowSince: number | undefined
  /** It gives nothing before it is heard of again. */
  isMuted: boolean
  /** Givers that it cannot be linked to. */
  readonly bans: Map<Giver, LinkFault>
  /** Times that links of a giver broke without having brought anything, or brought what does not fit. */
  readonly faults: Map<string, number>
  /** Hosts that it could not be linked to. */
  readonly strikes: Set<number>
  /** Bans, also those that are forgotten. */
  troubles: number
  /** Times that hosts were tried again although this machine sends to it. */
  returns: number
  retryAt: number | undefined
  lastFault: string
  readonly taken: RateWindow
}

/** Who says nothing for so long is asked whether it is there. */
const QUIET_MS = 1500
/** Who does not answer for so long is not waited for when nobody else wants anything. */
const SILENT_MS = 6000
/** Over the ssh connection of a host: it is there, so this takes long only when the host does not answer. */
const OWN_LINK_MS = 5000
const STALL_MS = 2000
const SHORTEST_STALL_MS = 1000
/** Rates are measured over so long. */
const WINDOW_MS = 1400
const SLOW_MS = 500
/** A host that needs so long more is not waited for by one that is done. */
const LONG_REST_MS = 2000
/** A host is slow that takes less than this part of what it could get. */
const SLOW_PART = 0.5
/** As many times the same giver is tried again. */
const TRIES = 3
/** Hosts that could not send to it, before this machine does. */
const HOSTS_TRIED = 2
const RETRY_MS = 1000
/** So long this machine serves a host that others could not send to, before they try again; then twice as long. */
const STAY_MS = 3000
/** Decisions are made more often; a longer gap means that this program itself stood still. */
const LONGEST_GAP_MS = 500
/** The first host is changed once for comparison when there is more than this to come. */
const WORTH_A_TRIAL_MS = 10_000

/**
 * Who sends to whom: all decisions of a chain, without clock, network or waiting. It is told what happened, and says what is to be done.
 *
 * The hosts stand in a line; each gets from the nearest one before it that can give, the first from this machine. Who breaks,
 * stalls or is slow goes to the end of the line, where nobody waits for it.
 */
export class ChainPlan {
  readonly #settings: PlanSettings
  #line: Node[] = []
  readonly #nodes = new Map<number, Node>()
  /** Of every link that was ordered: also what is said late about it must find its way. */
  readonly #links = new Map<number, { readonly from: Giver; readonly to: number }>()
  #severed: { readonly epoch: number; readonly from: Giver; readonly to: number }[] = []
  #epoch = 0
  /** Bytes handed to the links of this machine, by epoch. */
  readonly #sent = new Map<number, number>()
  /** When each was heard of, also of those that are through. */
  readonly #heard = new Map<number, number>()
  #decidedAt: number | undefined
  #first: { best: number; isTried: boolean } = { best: 0, isTried: false }

  constructor(settings: PlanSettings) {
    this.#settings = settings
  }

  /** Hosts that are neither complete nor gone. */
  get open(): number {
    return this.#line.filter((node) => !this.#isComplete(node)).length
  }

  /** The line, for messages and tests. */
  get line(): readonly number[] {
    return this.#line.map((node) => node.host)
  }

  /** Who sends to this host now. */
  giverOf(host: number): Giver | undefined {
    return this.#nodes.get(host)?.link?.from
  }

  /** True when some host that is not complete gets its bytes from this one. */
  isGiving(host: number): boolean {
    return this.#line.some((node) => node.link?.from === host && !this.#isComplete(node))
  }

  /** A host is ready to receive from there on. */
  join(host: number, have: number, now: number): void {
    const node: Node = {
      host,
      joinedAt: now,
      have,
      floor: have,
      isWhole: false,
      link: undefined,
      heardAt: now,
      idleAt: now,
      progressAt: now,
      wasAsked: false,
      askedAt: undefined,
      stalls: 0,
      slow: undefined,
      slowSince: undefined,
      isMuted: false,
      bans: new Map(),
      faults: new Map(),
      strikes: new Set(),
      troubles: 0,
      returns: 0,
      retryAt: undefined,
      lastFault: '',
      taken: new RateWindow(WINDOW_MS),
    }
    this.#nodes.set(host, node)
    // Behind those that can give to it, before those that went to the end.
    const at = this.#line.findIndex((other) => other.floor > have || isLast(other))
    this.#line.splice(at === -1 ? this.#line.length : at, 0, node)
  }

  /** Something was heard of its agent. */
  hear(host: number, now: number): void {
    const node = this.#nodes.get(host)
    if (node === undefined) return
    node.heardAt = now
    node.askedAt = undefined
    node.isMuted = false
    this.#heard.set(host, now)
  }

  have(host: number, bytes: number, now: number): void {
    const node = this.#nodes.get(host)
    if (node === undefined) return
    this.hear(host, now)
    node.taken.add(now, bytes)
    if (bytes < node.have) node.floor = 0
    if (bytes > node.have) {
      node.idleAt = now
      node.progressAt = now
      node.wasAsked = false
      if (node.link?.isUp === true) {
        node.link.isUsed = true
        node.faults.delete(`closed ${node.link.from}`)
        node.faults.delete(`stalled ${node.link.from}`)
      }
    }
    node.have = bytes
    // Who sent the last of it closes the link.
    if (this.#isComplete(node)) node.link = undefined
  }

  /** It has everything, and has checked it. */
  whole(host: number): void {
    const node = this.#nodes.get(host)
    if (node === undefined) return
    node.have = this.#settings.total
    node.isWhole = true
    node.link = undefined
  }

  /** Handed to the system by this machine, over one of its links. */
  sent(epoch: number, offset: number): void {
    this.#sent.set(epoch, offset)
  }

  up(epoch: number, now: number): void {
    const node = this.#linked(epoch)
    if (node?.link === undefined) return
    node.link.isUp = true
    node.idleAt = now
  }

  /** A link could not be had, or broke. */
  down(epoch: number, fault: LinkFault, detail: string): void {
    const node = this.#linked(epoch)
    const link = node?.link
    if (node === undefined || link === undefined) return
    node.link = undefined
    node.lastFault = detail === '' ? fault : `${fault}: ${detail}`
    // What broke after it had brought something is made again: who died is known by its agent.
    if (!link.isUp) this.#ban(node, link.from, fault)
    else if (!link.isUsed) this.#count(node, link.from, 'closed')
  }

  /** What came over this link did not fit. */
  bad(epoch: number): void {
    const pair = this.#links.get(epoch)
    const node = pair === undefined ? undefined : this.#nodes.get(pair.to)
    if (node === undefined || pair === undefined) return
    if (node.link?.epoch === epoch) this.#sever(node)
    node.lastFault = 'corrupt'
    this.#count(node, pair.from, 'corrupt')
  }

  /** It is gone: its agent ended, its connection was lost, it was dropped; or it has all, and has more to do than to give. */
  leave(host: number): void {
    const node = this.#nodes.get(host)
    if (node === undefined) return
    this.#nodes.delete(host)
    this.#line = this.#line.filter((other) => other !== node)
    this.#sever(node)
    for (const other of this.#line) {
      other.bans.delete(host)
      other.strikes.delete(host)
      if (other.link?.from === host) other.link = undefined
    }
  }

  /** What is to be done now. To be asked after everything that happened, and a few times a second. */
  decide(now: number): Order[] {
    this.#forgiveGap(now)
    const orders: Order[] = []
    for (const node of [...this.#line]) this.#judge(node, now, orders)
    this.#tryAnotherFirst(now)
    this.#assign(now, orders)
    this.#unlink(orders)
    return orders
  }

  #isComplete(node: Node): boolean {
    return node.have >= this.#settings.total
  }

  #linked(epoch: number): Node | undefined {
    const pair = this.#links.get(epoch)
    const node = pair === undefined ? undefined : this.#nodes.get(pair.to)
    return node?.link?.epoch === epoch ? node : undefined
  }

  /** So far a host could have come with what its giver has. */
  #offered(link: Link): number {
    if (link.from < 0) return this.#sent.get(link.epoch) ?? 0
    return this.#nodes.get(link.from)?.have ?? 0
  }

  #judge(node: Node, now: number, orders: Order[]): void {
    if (node.isWhole) return
    const { link } = node
    if (link !== undefined && !link.isUp && now - link.since > (link.from === OWN ? OWN_LINK_MS : this.#settings.linkMs)) {
      this.#sever(node)
      node.lastFault = 'timeout'
      this.#ban(node, link.from, 'timeout')
    } else if (link?.isUp === true) {
      if (this.#offered(link) <= node.have) {
        node.idleAt = now
        node.progressAt = now
        node.wasAsked = false
      }
      this.#judgeStall(node, link, now, orders)
      this.#judgeSpeed(node, now)
    }
    if (node.askedAt === undefined && now - node.heardAt > QUIET_MS) this.#ask(node, now, orders)
    if (this.#isGone(node, now)) {
      this.#drop(node, 'E_COPY_STALLED', `nothing was heard of it for ${Math.round((now - node.heardAt) / 1000)} s`, orders)
      return
    }
    if (now - node.progressAt <= this.#settings.patienceMs) return
    const why = node.lastFault === '' ? '' : ` (last: ${node.lastFault})`
    const seconds = Math.round(this.#settings.patienceMs / 1000)
    this.#drop(node, 'E_COPY_STALLED', `it took nothing more for ${seconds} s${why}`, orders)
  }

  #ask(node: Node, now: number, orders: Order[]): void {
    node.askedAt ??= now
    orders.push({ kind: 'ask', host: node.host })
  }

  /** It is silent, all that want something are, and others have been heard of meanwhile: so it is not this machine that is cut off. */
  #isGone(node: Node, now: number): boolean {
    const isSilent = ({ askedAt }: Node): boolean => askedAt !== undefined && now - askedAt > SILENT_MS
    if (!isSilent(node) || this.#line.some((other) => !other.isWhole && !isSilent(other))) return false
    return [...this.#heard.values()].some((at) => at > node.heardAt + STALL_MS / 2)
  }

  #drop(node: Node, code: ErrorCode, message: string, orders: Order[]): void {
    this.leave(node.host)
    orders.push({ kind: 'drop', host: node.host, code, message })
  }

  #stallMs(node: Node, now: number): number {
    const rate = node.taken.rate(now)
    const perChunk = rate === undefined || rate === 0 ? STALL_MS : (this.#settings.chunk / rate) * 1000
    const once = Math.min(STALL_MS, Math.max(SHORTEST_STALL_MS, 10 * perChunk))
    return Math.min(this.#settings.patienceMs, once * 2 ** node.stalls)
  }

  #judgeStall(node: Node, link: Link, now: number, orders: Order[]): void {
    const idle = now - node.idleAt
    const limit = this.#stallMs(node, now)
    const giver = this.#nodes.get(link.from)
    if (idle > limit / 2 && !node.wasAsked) {
      node.wasAsked = true
      this.#ask(node, now, orders)
      if (giver !== undefined) this.#ask(giver, now, orders)
    }
    if (idle <= limit) return
    this.#sever(node)
    node.lastFault = 'stalled'
    if (giver !== undefined && giver.heardAt < node.idleAt && node.heardAt > node.idleAt) {
      // It is there, and its giver is not.
      giver.isMuted = true
      giver.stalls += 1
      this.#toTail(giver)
      return
    }
    node.stalls += 1
    if (node.heardAt < node.idleAt) node.isMuted = true
    this.#count(node, link.from, 'stalled')
    this.#toTail(node)
  }

  /** Who takes far less than its giver gets lets nobody wait behind it. */
  #judgeSpeed(node: Node, now: number): void {
    const giver = this.#nodes.get(node.link?.from ?? HEAD)
    const taken = node.taken.rate(now)
    if (giver === undefined || taken === undefined) return
    if (node.slow !== undefined) {
      // From somebody else it takes more: it was not its fault.
      if (giver.host !== node.slow.from && taken > 1.5 * node.slow.rate) {
        const blamed = this.#nodes.get(node.slow.from)
        node.slow = undefined
        if (blamed !== undefined && !isLast(blamed)) {
          blamed.slow = { from: blamed.link?.from ?? HEAD, rate: Number.POSITIVE_INFINITY }
          this.#toTail(blamed)
        }
      }
      return
    }
    const { chunk, total } = this.#settings
    const spent = Math.max(1, now - giver.joinedAt)
    const could = Math.max(giver.taken.rate(now) ?? 0, this.#isComplete(giver) ? ((giver.have - giver.floor) / spent) * 1000 : 0)
    const behind = this.#line.slice(this.#line.indexOf(node) + 1)
    const isWaitedFor = behind.some((other) => !isLast(other) && !this.#isComplete(other))
    const backlog = giver.have - node.have
    const isSlow = taken < SLOW_PART * could && backlog > 8 * chunk && isWaitedFor && total - node.have > taken
    if (!isSlow) node.slowSince = undefined
    else if (node.slowSince === undefined) node.slowSince = now
    else if (now - node.slowSince >= SLOW_MS) {
      node.slow = { from: giver.host, rate: taken }
      this.#toTail(node)
    }
  }

  /** Nobody knows whether the first host or this machine is what is slow there: another first host shows it, and costs nothing. */
  #tryAnotherFirst(now: number): void {
    if (this.#settings.isPaced) return
    const fed = this.#line.filter((node) => node.link !== undefined && node.link.from < 0 && !this.#isComplete(node))
    const [node] = fed
    if (node === undefined || fed.length !== 1 || node.link?.isUp !== true || now - node.link.since < WINDOW_MS) return
    const rate = node.taken.rate(now)
    const after = this.#line.slice(this.#line.indexOf(node) + 1).filter((other) => !isLast(other) && other.floor <= node.have)
    if (rate === undefined || rate === 0 || !after.some((other) => !this.#isComplete(other))) return
    const rest = this.#restMs(node, now)
    const isFirstTrial = !this.#first.isTried && rest > WORTH_A_TRIAL_MS
    const isSlower = this.#first.isTried && rate < 0.6 * this.#first.best && rest > WORTH_A_TRIAL_MS / 2
    this.#first.best = Math.max(this.#first.best, rate)
    if (!isFirstTrial && !isSlower) return
    this.#first.isTried = true
    if (isSlower) node.slow = { from: HEAD, rate }
    this.#toTail(node)
  }

  #toTail(node: Node): void {
    node.slowSince = undefined
    this.#line = [...this.#line.filter((other) => other !== node), node]
  }

  /** The same giver is tried a few times before it is given up. */
  #count(node: Node, giver: Giver, fault: 'closed' | 'corrupt' | 'stalled'): void {
    const key = `${fault} ${giver}`
    const times = (node.faults.get(key) ?? 0) + 1
    node.faults.set(key, times)
    if (times < (fault === 'stalled' ? 2 : TRIES)) return
    node.faults.delete(key)
    this.#ban(node, giver, fault)
  }

  #ban(node: Node, giver: Giver, fault: LinkFault): void {
    node.bans.set(giver, fault)
    node.troubles += 1
    if (giver < 0) return
    this.#nodes.get(giver)?.strikes.add(node.host)
    this.#toTail(node)
  }

  #sever(node: Node): void {
    const { link } = node
    if (link === undefined) return
    node.link = undefined
    this.#sent.delete(link.epoch)
    this.#severed.push({ epoch: link.epoch, from: link.from, to: node.host })
  }

  #mayGive(giver: Node, node: Node, now: number): boolean {
    if (giver.isMuted || giver.strikes.size >= HOSTS_TRIED || giver.floor > node.have || node.bans.has(giver.host)) return false
    if ([...node.bans.keys()].filter((one) => one >= 0).length >= HOSTS_TRIED) return false
    // Who is done is not kept for one that needs long, or for ever, when this machine has nothing else to do.
    const isLong = node.stalls > 0 || this.#restMs(node, now) > LONG_REST_MS
    return !(this.#isComplete(giver) && isLong && this.#headFor(node) !== undefined)
  }

  /** Until it has all, at its rate. */
  #restMs(node: Node, now: number): number {
    const rate = node.taken.rate(now)
    return rate === undefined ? 0 : ((this.#settings.total - node.have) / Math.max(1, rate)) * 1000
  }

  /** Whom hosts could not send to is not torn from a link that works, but for another try from time to time: it costs all the others. */
  #staysWithHead(node: Node, now: number): boolean {
    const { link } = node
    if (link === undefined || link.from >= 0 || node.troubles === 0 || node.bans.has(link.from)) return false
    if (now - link.since < STAY_MS * 2 ** node.returns) return true
    node.returns += 1
    for (const [giver, fault] of node.bans) if (giver >= 0 && fault !== 'corrupt') this.#forgive(node, giver)
    return false
  }

  #forgive(node: Node, giver: Giver): void {
    node.bans.delete(giver)
    this.#nodes.get(giver)?.strikes.delete(node.host)
  }

  #headFor(node: Node): Giver | undefined {
    return this.#settings.heads.find((head) => !node.bans.has(head))
  }

  #assign(now: number, orders: Order[]): void {
    const free: Node[] = []
    for (const node of [...this.#line]) {
      if (!this.#isComplete(node)) {
        const may = this.#staysWithHead(node, now) ? [] : free.filter((giver) => this.#mayGive(giver, node, now))
        const giver = may.find((one) => one.host === node.link?.from) ?? may.at(-1)
        if (giver !== undefined) free.splice(free.indexOf(giver), 1)
        const wanted = giver?.host ?? this.#headFor(node)
        if (wanted === undefined) {
          this.#sever(node)
          this.#exhausted(node, now, orders)
        } else if (node.link?.from !== wanted) this.#link(node, wanted, now, orders)
      }
      if (this.#nodes.has(node.host)) free.push(node)
    }
  }

  #link(node: Node, from: Giver, now: number, orders: Order[]): void {
    this.#sever(node)
    this.#epoch += 1
    node.link = { epoch: this.#epoch, from, since: now, isUp: false, isUsed: false }
    node.idleAt = now
    node.wasAsked = false
    node.taken.clear()
    this.#links.set(this.#epoch, { from, to: node.host })
    orders.push({ kind: 'link', epoch: this.#epoch, from, to: node.host })
  }

  /** Nobody is left who could give to it: all are tried again after a while, unless all gave it what does not fit. */
  #exhausted(node: Node, now: number, orders: Order[]): void {
    if ([...node.bans.values()].every((fault) => fault === 'corrupt')) {
      this.#drop(node, 'E_COPY_CORRUPT', 'what came there was not what was sent, from whomever it came', orders)
      return
    }
    if (node.retryAt === undefined) node.retryAt = now + RETRY_MS
    if (now < node.retryAt) return
    node.retryAt = undefined
    for (const [giver, fault] of node.bans) if (fault !== 'corrupt') this.#forgive(node, giver)
  }

  /** Links that nobody needs any more; an agent closes its one link by itself when it makes another. */
  #unlink(orders: Order[]): void {
    for (const { epoch, from, to } of this.#severed.splice(0)) {
      const isReplaced = from >= 0 && this.#line.some((node) => node.link?.from === from)
      if (!isReplaced && (from < 0 || this.#nodes.has(from))) orders.push({ kind: 'unlink', epoch, from, to })
    }
  }

  /** What did not happen while this program itself stood still is nobody's fault. */
  #forgiveGap(now: number): void {
    const gap = now - (this.#decidedAt ?? now)
    this.#decidedAt = now
    if (gap <= LONGEST_GAP_MS) return
    for (const node of this.#line) {
      node.idleAt = Math.min(now, node.idleAt + gap)
      node.progressAt = Math.min(now, node.progressAt + gap)
      node.heardAt = Math.min(now, node.heardAt + gap)
      if (node.askedAt !== undefined) node.askedAt = Math.min(now, node.askedAt + gap)
      if (node.link !== undefined) node.link.since = Math.min(now, node.link.since + gap)
      node.taken.clear()
    }
  }
}

/** Those behind which nobody is put. */
function isLast(node: Node): boolean {
  return node.stalls > 0 || node.slow !== undefined || node.isMuted
}
