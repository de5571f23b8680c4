import { HOSTS_TRIED, LAST_STALL_PART, SHORTEST_STALL_MS, SILENT_MS, STALL_MS, STALL_PART, WINDOW_MS } from './plan-numbers.js'
import type { Giver, LinkFault, PlanSettings } from './plan-terms.js'
import { RateWindow } from './rate-window.js'

/** By which a host gets the stream. */
export interface PlanLink {
  readonly epoch: number
  readonly from: Giver
  since: number
  /** From there on the stream was asked for; undefined as long as the link does not stand. */
  offset: number | undefined
  /** It brought something. */
  isUsed: boolean
}

/** What is known of a host in the line. Times are those of whoever asks for decisions; -At is a moment. */
export interface Member {
  readonly host: number
  readonly joinedAt: number
  have: number
  /** It can give nothing of what comes before: bytes of an earlier transfer have no tags. */
  floor: number
  /** It has checked everything. */
  isWhole: boolean
  link: PlanLink | undefined

  heardAt: number
  /** Since when an answer of it is missing. */
  askedAt: number | undefined
  /** Since when it could have got something over this link, and did not. */
  idleAt: number
  /** The same, over whatever link. */
  progressAt: number
  /** It was asked because it is idle. */
  wasAsked: boolean
  /** Times that it stalled. */
  stalls: number
  /** It gives nothing before it is heard of again. */
  isMuted: boolean

  readonly taken: RateWindow
  /** It went to the tail because it was slow, with that rate from that giver. */
  slow: { readonly from: Giver; readonly rate: number } | undefined
  slowSince: number | undefined

  /** It needed long from one that was done: none is kept for it any more. */
  isLong: boolean

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
}

export function makeMember(host: number, have: number, now: number): Member {
  return {
    host,
    joinedAt: now,
    have,
    floor: have,
    isWhole: false,
    link: undefined,
    heardAt: now,
    askedAt: undefined,
    idleAt: now,
    progressAt: now,
    wasAsked: false,
    stalls: 0,
    isMuted: false,
    taken: new RateWindow(WINDOW_MS),
    slow: undefined,
    slowSince: undefined,
    isLong: false,
    bans: new Map(),
    faults: new Map(),
    strikes: new Set(),
    troubles: 0,
    returns: 0,
    retryAt: undefined,
    lastFault: '',
  }
}

/** Those behind which nobody is put. */
export function isLast({ stalls, slow, isMuted }: Member): boolean {
  return stalls > 0 || slow !== undefined || isMuted
}

/** It gives to nobody, or nobody could get anything from it. */
export function isUseless({ isMuted, strikes }: Member): boolean {
  return isMuted || strikes.size >= HOSTS_TRIED
}

export function isSilent({ askedAt }: Member, now: number): boolean {
  return askedAt !== undefined && now - askedAt > SILENT_MS
}

/** Until it has all, at its rate; 0 when that is not known. */
export function restMs({ taken, have }: Pick<Member, 'taken' | 'have'>, total: number, now: number): number {
  const rate = taken.rate(now)
  return rate === undefined ? 0 : ((total - have) / Math.max(1, rate)) * 1000
}

/** So long nothing may come over a link: some chunks at its rate, and each time that it stalled twice as long. */
export function stallMs({ taken, stalls, link }: Member, { chunk, patienceMs }: PlanSettings, now: number): number {
  const rate = taken.rate(now)
  const perChunk = rate === undefined || rate === 0 ? STALL_MS : (chunk / rate) * 1000
  const once = Math.min(STALL_MS, Math.max(SHORTEST_STALL_MS, 10 * perChunk))
  // Nobody is left who could be faster than this machine: it may be the line.
  const isLastResort = stalls > HOSTS_TRIED && link !== undefined && link.from < 0
  return Math.min(patienceMs * (isLastResort ? LAST_STALL_PART : STALL_PART), once * 2 ** stalls)
}

/** Nothing is held against it for the time in which it waited for nobody's fault but its own lack of more, or began anew. */
export function startWaiting(member: Member, now: number): void {
  member.idleAt = now
  member.wasAsked = false
}

/** It moved, or there was nothing to be had. */
export function excuse(member: Member, now: number): void {
  startWaiting(member, now)
  member.progressAt = now
}

/** What did not happen in this time is not its fault. */
export function forgiveGap(member: Member, gap: number, now: number): void {
  const later = (at: number): number => Math.min(now, at + gap)
  member.idleAt = later(member.idleAt)
  member.progressAt = later(member.progressAt)
  member.heardAt = later(member.heardAt)
  if (member.askedAt !== undefined) member.askedAt = later(member.askedAt)
  if (member.link !== undefined) member.link.since = later(member.link.since)
  member.taken.clear()
}
