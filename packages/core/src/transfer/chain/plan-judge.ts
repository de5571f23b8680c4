import type { Line } from './plan-line.js'
import { excuse, isSilent, type Member, type PlanLink, stallMs } from './plan-member.js'
import { OWN_LINK_MS, QUIET_MS, STALL_MS } from './plan-numbers.js'
import { judgeSpeed } from './plan-speed.js'
import { type Order, OWN } from './plan-terms.js'

/** Whether the link of a host works, and whether the host is there: it may be asked, lose its link, its place, or be given up. */
export function judge(line: Line, member: Member, now: number): Order[] {
  if (member.isWhole) return []
  const orders: Order[] = []
  const { link } = member
  if (link !== undefined && link.offset === undefined) judgeHandshake(line, member, link, now)
  else if (link !== undefined) {
    if (line.offered(member) <= member.have) excuse(member, now)
    orders.push(...judgeFlow(line, member, link, now))
    judgeSpeed(line, member, now)
  }
  if (member.askedAt === undefined && now - member.heardAt > QUIET_MS) orders.push(ask(member, now))
  if (!member.isMuted && member.askedAt !== undefined && now - member.askedAt > STALL_MS) mute(line, member)
  const why = reasonToDrop(line, member, now)
  if (why === undefined) return orders
  line.leave(member.host)
  return [...orders, { kind: 'drop', host: member.host, code: 'E_COPY_STALLED', message: why }]
}

function ask(member: Member, now: number): Order {
  member.askedAt ??= now
  return { kind: 'ask', host: member.host }
}

/** Whoever is behind it has all that it has, perhaps, and would wait with it. */
function mute(line: Line, member: Member): void {
  member.isMuted = true
  line.toTail(member)
}

function judgeHandshake(line: Line, member: Member, link: PlanLink, now: number): void {
  if (now - link.since <= (link.from === OWN ? OWN_LINK_MS : line.settings.linkMs)) return
  line.sever(member)
  member.lastFault = 'timeout'
  line.ban(member, link.from, 'timeout')
}

/** Nothing comes although there is more: both are asked, and then whoever is not heard of is to blame, else the host that takes nothing. */
function judgeFlow(line: Line, member: Member, link: PlanLink, now: number): Order[] {
  const orders: Order[] = []
  const idle = now - member.idleAt
  const limit = stallMs(member, line.settings, now)
  const giver = line.find(link.from)
  if (idle > limit / 2 && !member.wasAsked) {
    member.wasAsked = true
    orders.push(ask(member, now))
    if (giver !== undefined) orders.push(ask(giver, now))
  }
  if (idle <= limit) return orders
  line.sever(member)
  member.lastFault = 'stalled'
  const wasHeard = ({ heardAt }: Member): boolean => heardAt >= member.idleAt
  if (giver !== undefined && !wasHeard(giver) && member.heardAt > member.idleAt) {
    giver.stalls += 1
    mute(line, giver)
  } else {
    member.stalls += 1
    if (!wasHeard(member)) member.isMuted = true
    // It is well, and got nothing from there at all: as if there were no link.
    if (wasHeard(member) && !link.isUsed) line.ban(member, link.from, 'stalled')
    else line.count(member, link.from, 'stalled')
    line.toTail(member)
  }
  return orders
}

function reasonToDrop(line: Line, member: Member, now: number): string | undefined {
  if (isGone(line, member, now)) return `nothing was heard of it for ${seconds(now - member.heardAt)} s`
  const { patienceMs } = line.settings
  if (now - member.progressAt <= patienceMs) return undefined
  const why = member.lastFault === '' ? '' : ` (last: ${member.lastFault})`
  return `it took nothing more for ${seconds(patienceMs)} s${why}`
}

const seconds = (ms: number): number => Math.round(ms / 1000)

/** It is silent, all that want something are, and others have been heard of meanwhile: so it is not this machine that is cut off. */
function isGone(line: Line, member: Member, now: number): boolean {
  if (!isSilent(member, now)) return false
  if (line.members.some((other) => !other.isWhole && !isSilent(other, now))) return false
  return line.wasHeardAfter(member.heardAt + STALL_MS / 2)
}
