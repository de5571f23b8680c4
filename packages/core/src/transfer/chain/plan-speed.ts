import type { Line } from './plan-line.js'
import { isLast, type Member, restMs } from './plan-member.js'
import {
  FASTER_PART,
  LONG_REST_MS,
  SLOW_CHUNKS,
  SLOW_MS,
  SLOW_PART,
  SLOWER_FIRST_PART,
  WINDOW_MS,
  WORTH_A_TRIAL_MS,
} from './plan-numbers.js'
import { HEAD } from './plan-terms.js'

/** Who takes far less than its giver gets lets nobody wait behind it. */
export function judgeSpeed(line: Line, member: Member, now: number): void {
  const giver = line.find(member.link?.from ?? HEAD)
  const taken = member.taken.rate(now)
  if (giver === undefined || taken === undefined) return
  if (line.isComplete(giver) && restMs(member, line.settings.total, now) > LONG_REST_MS) member.isLong = true
  if (member.slow !== undefined) {
    if (giver.host !== member.slow.from && taken > FASTER_PART * member.slow.rate) acquit(line, member, member.slow.from)
    return
  }
  if (!isSlow(line, member, giver, taken, now)) member.slowSince = undefined
  else if (member.slowSince === undefined) member.slowSince = now
  else if (now - member.slowSince >= SLOW_MS) {
    const alike = line.members.filter(({ slow }) => slow?.from === giver.host)
    if (alike.length > 0 && !isLast(giver)) {
      for (const other of alike) other.slow = undefined
      blame(line, giver)
    } else {
      member.slow = { from: giver.host, rate: taken }
      line.toTail(member)
    }
  }
}

/** From somebody else it takes more: it was not its fault, but that of its giver then. */
function acquit(line: Line, member: Member, from: number): void {
  const giver = line.find(from)
  member.slow = undefined
  if (giver !== undefined && !isLast(giver)) blame(line, giver)
}

function blame(line: Line, giver: Member): void {
  // Whatever it takes from now on is no more than that.
  giver.slow = { from: giver.link?.from ?? HEAD, rate: Number.POSITIVE_INFINITY }
  line.toTail(giver)
}

function isSlow(line: Line, member: Member, giver: Member, taken: number, now: number): boolean {
  const { chunk, total } = line.settings
  const sinceJoined = Math.max(1, now - giver.joinedAt)
  const inAll = line.isComplete(giver) ? ((giver.have - giver.floor) / sinceJoined) * 1000 : 0
  const could = Math.max(giver.taken.rate(now) ?? 0, inAll)
  const isFarBehind = giver.have - member.have > SLOW_CHUNKS * chunk
  const isSoonThrough = total - member.have <= taken
  return taken < SLOW_PART * could && isFarBehind && !isSoonThrough && isWaitedFor(line, member)
}

function isWaitedFor(line: Line, member: Member): boolean {
  return line.behind(member).some((other) => !isLast(other) && !line.isComplete(other))
}

/** Nobody knows whether the first host or this machine is what is slow there: another first host shows it, and costs nothing. */
export class FirstHost {
  #best = 0
  #isTried = false

  /** Sends the first host to the tail once for comparison, and when it is far slower than the best first one. */
  compare(line: Line, now: number): void {
    const fed = line.members.filter((member) => member.link !== undefined && member.link.from < 0 && !line.isComplete(member))
    const [member] = fed
    if (member === undefined || fed.length !== 1 || member.link?.offset === undefined || now - member.link.since < WINDOW_MS) return
    const rate = member.taken.rate(now)
    const couldBeFirst = line.behind(member).filter((other) => !isLast(other) && other.floor <= member.have)
    if (rate === undefined || rate === 0 || isAsFastAsMayBe(line, rate) || !couldBeFirst.some((other) => !line.isComplete(other))) return
    const rest = restMs(member, line.settings.total, now)
    const isFirstTrial = !this.#isTried && rest > WORTH_A_TRIAL_MS
    const isSlower = this.#isTried && rate < SLOWER_FIRST_PART * this.#best && rest > WORTH_A_TRIAL_MS / 2
    this.#best = Math.max(this.#best, rate)
    if (!isFirstTrial && !isSlower) return
    this.#isTried = true
    if (isSlower) member.slow = { from: HEAD, rate }
    line.toTail(member)
  }
}

/** What this machine sends is limited on purpose: no first host takes more. */
function isAsFastAsMayBe({ settings: { pace } }: Line, rate: number): boolean {
  return pace !== undefined && rate > SLOWER_FIRST_PART * pace
}
