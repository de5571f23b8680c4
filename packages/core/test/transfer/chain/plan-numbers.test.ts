import { describe, expect, it } from 'vitest'
import * as numbers from '../../../src/transfer/chain/plan-numbers.js'

/** As chain-transfer.ts and chain-run.ts have them: default patience, decisions, tellings of an agent, links over tcp and ssh. */
const PATIENCE_MS = 30_000
const TICK_MS = 100
const TELLING_MS = 100
const LINK_MS = { tcp: 2500, ssh: 10_000 }

const { HOSTS_TRIED, STALLED_TRIES, STALL_MS, SHORTEST_STALL_MS, STALL_PART, OWN_LINK_MS, QUIET_MS, SILENT_MS } = numbers
const { WINDOW_MS, SLOW_MS, RETRY_MS, STAY_MS, LONGEST_GAP_MS, LONG_REST_MS } = numbers

describe('the numbers of a chain', () => {
  it.each(Object.entries(LINK_MS))('leave time for every way to a host before it is given up, over %s', (_, linkMs) => {
    // Two hosts cannot, this machine cannot on the same way, and then over the connection of the host itself.
    const all = HOSTS_TRIED * linkMs + (linkMs === LINK_MS.tcp ? linkMs : 0) + OWN_LINK_MS
    expect(all + RETRY_MS).toBeLessThan(PATIENCE_MS)
  })

  it('leave time for every giver that brings nothing before a host is given up', () => {
    const stall = (times: number): number => Math.min(PATIENCE_MS * STALL_PART, STALL_MS * 2 ** times)
    const all = Array.from({ length: HOSTS_TRIED + 1 }, (_, times) => stall(times)).reduce((sum, ms) => sum + ms)
    expect(all).toBeLessThan(PATIENCE_MS / 2)
  })

  it('let a host be heard of several times before it stalls, is asked, or is silent', () => {
    for (const ms of [SHORTEST_STALL_MS / 2, QUIET_MS, SILENT_MS]) expect(ms).toBeGreaterThanOrEqual(5 * (TELLING_MS + TICK_MS) * 0.5)
    expect(SHORTEST_STALL_MS).toBeLessThan(STALL_MS)
    expect(QUIET_MS + STALL_MS).toBeLessThan(SILENT_MS)
  })

  it('find a host slow, or one that needs long, in less time than it would cost', () => {
    expect(WINDOW_MS / 2 + SLOW_MS).toBeLessThan(STALL_MS)
    expect(WINDOW_MS / 2).toBeLessThan(LONG_REST_MS)
    expect(WINDOW_MS / 2).toBeGreaterThan(3 * TELLING_MS)
  })

  it('give a link of this machine time to bring something before hosts try again', () => {
    expect(STAY_MS).toBeGreaterThan(STALLED_TRIES * WINDOW_MS)
  })

  it('take no wait between two decisions for a standstill of this program', () => {
    expect(LONGEST_GAP_MS).toBeGreaterThan(3 * TICK_MS)
    expect(LONGEST_GAP_MS).toBeLessThan(SHORTEST_STALL_MS)
  })
})
