import { isLast, isUseless, type Member, makeMember, startWaiting } from './plan-member.js'
import { STALLED_TRIES, TRIES } from './plan-numbers.js'
import type { Giver, LinkFault, Order, PlanSettings } from './plan-terms.js'

/** Who sends what to whom, by its epoch. */
interface Pair {
  readonly from: Giver
  readonly to: number
}

/** The hosts in their order, the links between them, and what links and givers did wrong. Decides nothing. */
export class Line {
  readonly settings: PlanSettings
  #members: readonly Member[] = []
  readonly #byHost = new Map<number, Member>()
  /** Of every link that was ordered: also what is said late about it must find its way. */
  readonly #pairs = new Map<number, Pair>()
  #severed: (Pair & { readonly epoch: number })[] = []
  #epoch = 0
  /** Bytes handed to the links of this machine, by epoch. */
  readonly #sent = new Map<number, number>()
  /** When each was heard of, also of those that are through. */
  readonly #heard = new Map<number, number>()

  constructor(settings: PlanSettings) {
    this.settings = settings
  }

  /** A copy is not needed by who walks over it: it is replaced, never changed. */
  get members(): readonly Member[] {
    return this.#members
  }

  find(host: number): Member | undefined {
    return this.#byHost.get(host)
  }

  behind(member: Member): readonly Member[] {
    return this.#members.slice(this.#members.indexOf(member) + 1)
  }

  isComplete(member: Member): boolean {
    return member.have >= this.settings.total
  }

  /** Behind those that can give to it, before those that went to the end. */
  enter(host: number, have: number, now: number): void {
    const member = makeMember(host, have, now)
    this.#byHost.set(host, member)
    const at = this.#members.findIndex((other) => other.floor > have || isLast(other))
    this.#members = at === -1 ? [...this.#members, member] : this.#members.toSpliced(at, 0, member)
  }

  leave(host: number): void {
    const member = this.#byHost.get(host)
    if (member === undefined) return
    this.#byHost.delete(host)
    this.#members = this.#members.filter((other) => other !== member)
    this.sever(member)
    for (const other of this.#members) {
      other.bans.delete(host)
      other.strikes.delete(host)
      if (other.link?.from === host) other.link = undefined
    }
  }

  /** Behind all but those who give nothing: somebody would have to do without a giver. */
  toTail(member: Member): void {
    member.slowSince = undefined
    const others = this.#members.filter((other) => other !== member)
    const at = isUseless(member) ? others.length : others.findLastIndex((other) => !isUseless(other)) + 1
    this.#members = others.toSpliced(at, 0, member)
  }

  // Signs of life.

  hear(member: Member, now: number): void {
    member.heardAt = now
    member.askedAt = undefined
    member.isMuted = false
    this.#heard.set(member.host, now)
  }

  /** Some host was heard of, be it one that is through. */
  wasHeardAfter(at: number): boolean {
    return [...this.#heard.values()].some((one) => one > at)
  }

  // Links.

  /** Of the host that has this link now. */
  linked(epoch: number): Member | undefined {
    const member = this.receiver(epoch)
    return member?.link?.epoch === epoch ? member : undefined
  }

  /** To whom it leads, or led. */
  receiver(epoch: number): Member | undefined {
    return this.#byHost.get(this.#pairs.get(epoch)?.to ?? Number.NaN)
  }

  /** From whom it comes, or came. */
  giver(epoch: number): Giver | undefined {
    return this.#pairs.get(epoch)?.from
  }

  link(member: Member, from: Giver, now: number): Order {
    this.sever(member)
    this.#epoch += 1
    const epoch = this.#epoch
    member.link = { epoch, from, since: now, offset: undefined, isUsed: false }
    startWaiting(member, now)
    member.taken.clear()
    this.#pairs.set(epoch, { from, to: member.host })
    return { kind: 'link', epoch, from, to: member.host }
  }

  sever(member: Member): void {
    const { link } = member
    if (link === undefined) return
    member.link = undefined
    this.#sent.delete(link.epoch)
    this.#severed.push({ epoch: link.epoch, from: link.from, to: member.host })
  }

  /** Orders for links that nobody needs any more; an agent closes its one link by itself when it makes another. */
  unlink(): Order[] {
    return this.#severed.splice(0).flatMap(({ epoch, from, to }): Order[] => {
      const isReplaced = from >= 0 && this.#members.some(({ link }) => link?.from === from)
      return isReplaced || (from >= 0 && !this.#byHost.has(from)) ? [] : [{ kind: 'unlink', epoch, from, to }]
    })
  }

  sent(epoch: number, offset: number): void {
    this.#sent.set(epoch, offset)
  }

  /** So far a host could have come with what its giver has. */
  offered({ link }: Member): number {
    if (link === undefined) return 0
    return link.from < 0 ? (this.#sent.get(link.epoch) ?? 0) : (this.#byHost.get(link.from)?.have ?? 0)
  }

  // What went wrong.

  /** The same giver is tried a few times before it is given up. */
  count(member: Member, giver: Giver, fault: 'closed' | 'corrupt' | 'stalled'): void {
    const key = `${fault} ${giver}`
    const times = (member.faults.get(key) ?? 0) + 1
    member.faults.set(key, times)
    if (times < (fault === 'stalled' ? STALLED_TRIES : TRIES)) return
    member.faults.delete(key)
    this.ban(member, giver, fault)
  }

  ban(member: Member, giver: Giver, fault: LinkFault): void {
    member.bans.set(giver, fault)
    member.troubles += 1
    if (giver < 0) return
    this.#strike(member, giver)
    this.toTail(member)
  }

  /** It got nothing from there. Whoever has given nothing to several is at fault itself. */
  #strike(member: Member, giver: Giver): void {
    const struck = this.#byHost.get(giver)
    struck?.strikes.add(member.host)
    if (struck !== undefined && isUseless(struck)) this.toTail(struck)
  }

  /** All givers of which it is not known that they bring what does not fit. */
  forgive(member: Member, isForgiven: (giver: Giver) => boolean = () => true): void {
    for (const [giver, fault] of member.bans) {
      if (fault === 'corrupt' || !isForgiven(giver)) continue
      member.bans.delete(giver)
      this.#byHost.get(giver)?.strikes.delete(member.host)
    }
  }
}
