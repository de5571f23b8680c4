import { assign } from './plan-assign.js'
import { judge } from './plan-judge.js'
import { Line } from './plan-line.js'
import { excuse, forgiveGap } from './plan-member.js'
import { LONGEST_GAP_MS } from './plan-numbers.js'
import { FirstHost } from './plan-speed.js'
import type { Giver, LinkFault, Order, PlanSettings } from './plan-terms.js'

/**
 * Who sends to whom: all decisions of a chain, without clock, network or waiting. It is told what happened, and says what is to be done.
 *
 * The hosts stand in a line; each gets from the nearest one before it that can give, the first from this machine. What always holds:
 *
 * - Every host has at most one giver, and gives to at most one other; this machine may give to several.
 * - No host gives to itself, nor around a circle: givers stand before whom they give to when the link is ordered.
 * - Epochs only grow; what is said about a link that was replaced changes nothing about the one that replaced it.
 * - A host that has nothing of what another needs never gives to it: not what came before bytes of an earlier transfer.
 * - Who breaks, stalls or is slow goes to the tail, where nobody waits for it.
 * - Who is not heard of gives to nobody.
 * - Who is given up, or has left, is part of no order any more.
 * - Who is given up has taken nothing for the whole patience, or was silent when nobody else wanted anything, or was given nothing that
 *   fits by anybody. So every host that lives and can be reached by somebody gets everything.
 * - What befalls one host costs the others seconds at most.
 * - Links are changed a few times for each thing that happens, and then no more.
 *
 * Each has a property in plan.prop.test.ts that is named after it.
 */
export class ChainPlan {
  readonly #line: Line
  readonly #first = new FirstHost()
  #decidedAt: number | undefined

  constructor(settings: PlanSettings) {
    this.#line = new Line(settings)
  }

  /** The line, for messages and tests. */
  get line(): readonly number[] {
    return this.#line.members.map(({ host }) => host)
  }

  /** Who sends to this host now. */
  giverOf(host: number): Giver | undefined {
    return this.#line.find(host)?.link?.from
  }

  /** True when some host that is not complete gets its bytes from this one. */
  isGiving(host: number): boolean {
    return this.#line.members.some((member) => member.link?.from === host && !this.#line.isComplete(member))
  }

  /** A host is ready to receive from there on. */
  join(host: number, have: number, now: number): void {
    this.#line.enter(host, have, now)
  }

  /** Something was heard of its agent. */
  hear(host: number, now: number): void {
    const member = this.#line.find(host)
    if (member !== undefined) this.#line.hear(member, now)
  }

  have(host: number, bytes: number, now: number): void {
    const member = this.#line.find(host)
    if (member === undefined) return
    this.#line.hear(member, now)
    const { link } = member
    // What came before, and is told late, says nothing about this link.
    const offset = link?.offset ?? Number.POSITIVE_INFINITY
    if (bytes >= offset) member.taken.add(now, bytes)
    // It began anew, and had everything from this transfer.
    if (bytes < member.have) member.floor = 0
    if (bytes > member.have) {
      excuse(member, now)
      if (link !== undefined && bytes > offset) {
        link.isUsed = true
        member.faults.delete(`closed ${link.from}`)
        member.faults.delete(`stalled ${link.from}`)
        this.#line.find(link.from)?.strikes.delete(host)
      }
    }
    member.have = bytes
    // Who sent the last of it closes the link.
    if (this.#line.isComplete(member)) member.link = undefined
  }

  /** It has everything, and has checked it. */
  whole(host: number): void {
    const member = this.#line.find(host)
    if (member === undefined) return
    member.have = this.#line.settings.total
    member.isWhole = true
    member.link = undefined
  }

  /** Handed to the system by this machine, over one of its links. */
  sent(epoch: number, offset: number): void {
    this.#line.sent(epoch, offset)
  }

  /** The link stands, and is to bring the stream from there on. */
  up(epoch: number, offset: number, now: number): void {
    const member = this.#line.linked(epoch)
    if (member?.link === undefined) return
    member.link.offset = offset
    member.idleAt = now
  }

  /** A link could not be had, or broke. */
  down(epoch: number, fault: LinkFault, detail: string): void {
    const member = this.#line.linked(epoch)
    const link = member?.link
    if (member === undefined || link === undefined) return
    member.link = undefined
    member.lastFault = detail === '' ? fault : `${fault}: ${detail}`
    // What broke after it had brought something is made again: who died is known by its agent.
    if (link.offset === undefined) this.#line.ban(member, link.from, fault)
    else if (!link.isUsed) this.#line.count(member, link.from, 'closed')
  }

  /** What came over this link did not fit. */
  bad(epoch: number): void {
    const member = this.#line.receiver(epoch)
    const from = this.#line.giver(epoch)
    if (member === undefined || from === undefined) return
    if (member.link?.epoch === epoch) this.#line.sever(member)
    member.lastFault = 'corrupt'
    this.#line.count(member, from, 'corrupt')
  }

  /** It is gone: its agent ended, its connection was lost, it was dropped; or it has all, and has more to do than to give. */
  leave(host: number): void {
    this.#line.leave(host)
  }

  /** What is to be done now. To be asked after everything that happened, and a few times a second. */
  decide(now: number): Order[] {
    this.#forgiveGap(now)
    const judged = this.#line.members.flatMap((member) => judge(this.#line, member, now))
    this.#first.compare(this.#line, now)
    const assigned = assign(this.#line, now)
    return [...judged, ...assigned, ...this.#line.unlink()]
  }

  /** What did not happen while this program itself stood still is nobody's fault. */
  #forgiveGap(now: number): void {
    const gap = now - (this.#decidedAt ?? now)
    this.#decidedAt = now
    if (gap > LONGEST_GAP_MS) for (const member of this.#line.members) forgiveGap(member, gap, now)
  }
}
