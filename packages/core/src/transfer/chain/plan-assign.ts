import type { Line } from './plan-line.js'
import { isUseless, type Member, restMs } from './plan-member.js'
import { HOSTS_TRIED, LONG_REST_MS, RETRY_MS, STAY_MS } from './plan-numbers.js'
import type { Giver, Order } from './plan-terms.js'

/** Gives each host that wants more the nearest one before it that can give, and has nobody yet; else this machine. */
export function assign(line: Line, now: number): Order[] {
  const orders: Order[] = []
  const free: Member[] = []
  for (const member of line.members) {
    if (!line.isComplete(member)) {
      const giver = chooseHost(line, member, free, now)
      if (giver !== undefined) free.splice(free.indexOf(giver), 1)
      const from = giver?.host ?? headFor(line, member)
      if (from === undefined) {
        line.sever(member)
        orders.push(...exhausted(line, member, now))
      } else if (member.link?.from !== from) orders.push(line.link(member, from, now))
    }
    if (line.find(member.host) !== undefined) free.push(member)
  }
  return orders
}

/** Whoever gives to it now, else the nearest. */
function chooseHost(line: Line, member: Member, free: readonly Member[], now: number): Member | undefined {
  if (staysWithHead(line, member, now)) return undefined
  const able = free.filter((giver) => mayGive(line, giver, member, now))
  return able.find(({ host }) => host === member.link?.from) ?? able.at(-1)
}

function mayGive(line: Line, giver: Member, member: Member, now: number): boolean {
  if (isUseless(giver) || giver.floor > member.have || member.bans.has(giver.host)) return false
  if ([...member.bans.keys()].filter((one) => one >= 0).length >= HOSTS_TRIED) return false
  // Who is done is not kept for one that needs long, or for ever, when this machine has nothing else to do.
  return !(line.isComplete(giver) && needsLong(line, member, now) && headFor(line, member) !== undefined)
}

/** Behind a giver that itself waits for more, its rate tells nothing. */
function needsLong(line: Line, { stalls, isLong, link, taken, have }: Member, now: number): boolean {
  if (stalls > 0 || isLong) return true
  return link !== undefined && link.from < 0 && restMs({ taken, have }, line.settings.total, now) > LONG_REST_MS
}

/** Whom hosts could not send to is not torn from a link that works, but for another try from time to time: it costs all the others. */
function staysWithHead(line: Line, member: Member, now: number): boolean {
  const { link } = member
  if (link === undefined || link.from >= 0 || member.troubles === 0 || member.bans.has(link.from)) return false
  if (now - link.since < STAY_MS * 2 ** member.returns) return true
  member.returns += 1
  line.forgive(member, (giver) => giver >= 0)
  return false
}

/** On which way this machine sends to it; undefined when it cannot. */
function headFor(line: Line, { bans }: Member): Giver | undefined {
  return line.settings.heads.find((head) => !bans.has(head))
}

/** Nobody is left who could give to it: all are tried again after a while, unless all gave it what does not fit. */
function exhausted(line: Line, member: Member, now: number): Order[] {
  const { host, bans } = member
  if ([...bans.values()].every((fault) => fault === 'corrupt')) {
    line.leave(host)
    return [{ kind: 'drop', host, code: 'E_COPY_CORRUPT', message: 'what came there was not what was sent, from whomever it came' }]
  }
  member.retryAt ??= now + RETRY_MS
  if (now < member.retryAt) return []
  member.retryAt = undefined
  line.forgive(member)
  return []
}
