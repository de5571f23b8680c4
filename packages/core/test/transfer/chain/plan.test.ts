import { describe, expect, it } from 'vitest'
import { ChainPlan } from '../../../src/transfer/chain/plan.js'
import { HEAD, type Order, OWN } from '../../../src/transfer/chain/plan-terms.js'
import { type SimulatedHost, Simulation, type SimulationSettings } from './simulated-hosts.js'

const TOTAL = 10_000_000
const PATIENCE_MS = 30_000

/** Three hosts, told ten times a second what happens; who is not told of is silent. */
function run(
  untilMs: number,
  tell: (plan: ChainPlan, now: number) => void,
  answers: (host: number, now: number) => boolean,
): (Order & { at: number })[] {
  const plan = new ChainPlan({
    total: TOTAL,
    chunk: 131_072,
    patienceMs: PATIENCE_MS,
    linkMs: 2500,
    heads: [HEAD, OWN],
    pace: undefined,
  })
  for (const host of [1, 2, 3]) plan.join(host, 0, 0)
  const orders: (Order & { at: number })[] = []
  for (let now = 100; now <= untilMs; now += 100) {
    tell(plan, now)
    for (const order of plan.decide(now)) {
      orders.push({ ...order, at: now })
      if (order.kind === 'link' && answers(order.to, now)) plan.up(order.epoch, 0, now)
      if (order.kind === 'ask' && answers(order.host, now)) plan.hear(order.host, now)
      if (order.kind === 'link' && order.from < 0) plan.sent(order.epoch, TOTAL)
    }
  }
  return orders
}

const drops = (orders: readonly (Order & { at: number })[]) => orders.filter((order) => order.kind === 'drop')

describe('ChainPlan, of a host that is not heard of any more', () => {
  const isThere = (host: number, now: number): boolean => host !== 3 || now < 1000
  /** Each has all after so many milliseconds, and leaves. */
  const grow = (ends: readonly number[]) => (plan: ChainPlan, now: number) => {
    ends.forEach((end, index) => {
      const host = index + 1
      if (!isThere(host, now) || now > end) return
      plan.have(host, Math.floor((TOTAL * now) / end), now)
      if (now < end) return
      plan.whole(host)
      plan.leave(host)
    })
  }

  it('gives it up soon when all the others have what they want', () => {
    const [drop] = drops(run(40_000, grow([3000, 3000, 3000]), isThere))
    expect(drop).toMatchObject({ host: 3, code: 'E_COPY_STALLED', message: expect.stringMatching(/^nothing was heard of it for \d s$/) })
    expect(drop?.at).toBeGreaterThan(6000)
    expect(drop?.at).toBeLessThan(10_000)
  })

  it('does not hurry as long as others want something', () => {
    const [drop] = drops(run(25_000, grow([20_000, 3000, 3000]), isThere))
    expect(drop?.at).toBeGreaterThan(19_000)
  })

  it('has the whole patience with one that answers and takes nothing', () => {
    const takesNothing = (plan: ChainPlan, now: number): void => grow([3000, 3000])(plan, now)
    const [drop] = drops(run(40_000, takesNothing, () => true))
    expect(drop).toMatchObject({ host: 3, message: expect.stringMatching(/^it took nothing more for 30 s/) })
    expect(drop?.at).toBeGreaterThan(PATIENCE_MS)
  })

  it('has the whole patience when all of them fall silent at once: this machine may be cut off', () => {
    const orders = run(
      100_000,
      (plan, now) => {
        if (now < 1000) for (const host of [1, 2, 3]) plan.have(host, now * 1000, now)
      },
      (_, now) => now < 1000,
    )
    expect(drops(orders).map(({ at }) => at > PATIENCE_MS)).toEqual([true, true, true])
  })

  it('forgets that it was silent when it is heard of again', () => {
    const back = (host: number, now: number): boolean => isThere(host, now) || now > 5000
    const orders = run(
      12_000,
      (plan, now) => {
        grow([3000, 3000, 3000])(plan, now)
        if (now > 5000 && now <= 12_000) plan.have(3, Math.floor(TOTAL * (0.3 + now / 50_000)), now)
      },
      back,
    )
    expect(drops(orders)).toEqual([])
  })
})

describe('ChainPlan, of a slow line', () => {
  it('keeps a host to which one chunk takes ten seconds, when nobody but this machine can send', () => {
    const chunk = 131_072
    const total = 20 * chunk
    const plan = new ChainPlan({ total, chunk, patienceMs: PATIENCE_MS, linkMs: 2500, heads: [HEAD, OWN], pace: undefined })
    plan.join(1, 0, 0)
    const dropped: Order[] = []
    let have = 0
    // What has come of a chunk is lost with its link.
    let [begun, epoch] = [Number.POSITIVE_INFINITY, 0]
    for (let now = 100; have < total && now < 300_000; now += 100) {
      if (now - begun >= 10_000) {
        have += chunk
        begun = now
        plan.have(1, have, now)
      }
      for (const order of plan.decide(now)) {
        if (order.kind === 'drop') dropped.push(order)
        else if (order.kind === 'ask') plan.hear(1, now)
        else if (order.kind === 'unlink' && order.epoch === epoch) begun = Number.POSITIVE_INFINITY
        if (order.kind !== 'link') continue
        begun = now
        epoch = order.epoch
        plan.up(epoch, have, now)
        plan.sent(epoch, total)
      }
    }
    expect(dropped).toEqual([])
    expect(have).toBe(total)
  })
})

/** What random searches have found. */
describe('ChainPlan, in histories that once went badly', () => {
  const many = (count: number, one: (index: number) => SimulatedHost): SimulatedHost[] => Array.from({ length: count }, (_, i) => one(i))
  /** When the last of those ended who are well, and how many links were ordered for each host. */
  const play = (hosts: readonly SimulatedHost[], settings: Partial<SimulationSettings> = {}) => {
    const simulation = new Simulation(hosts, { total: 50e6, patienceMs: PATIENCE_MS, ...settings })
    const outcomes = simulation.run(400_000)
    const endedAt = Math.max(...outcomes.map(({ doneAt = 0 }) => doneAt))
    const links = simulation.orders.filter(({ kind }) => kind === 'link').length / hosts.length
    return { endedAt, links, dropped: outcomes.flatMap(({ dropped }, host) => (dropped === undefined ? [] : [host])) }
  }

  it('does not go to and fro between this machine and a host that is done, and gives slowly', () => {
    const { endedAt, links } = play([{}, { givesAt: 167 }, {}], { headRate: 5000, lagMs: 50 })
    expect(endedAt).toBeLessThan(21_000)
    expect(links).toBeLessThan(4)
  })

  it('finds a link that does not come to stand, whatever is still told of the one before', () => {
    const { endedAt, links } = play(
      many(8, (index) => (index === 2 ? { joinsAt: 164, refuses: [0, 2, 3, 4, 5, 7], isSilent: true } : { joinsAt: 40 * index })),
      { lagMs: 300 },
    )
    expect(endedAt).toBeLessThan(8000)
    expect(links).toBeLessThan(4)
  })

  it('changes a first host that is slow also when this machine is told to send slowly', () => {
    const hosts = many(5, (index) => (index === 0 ? { rate: 500 } : { joinsAt: 100 }))
    const simulation = new Simulation(hosts, { total: 50e6, headRate: 5000, pace: 5e6, lagMs: 300 })
    const others = simulation.run(400_000).slice(1)
    expect(Math.max(...others.map(({ doneAt = Number.POSITIVE_INFINITY }) => doneAt))).toBeLessThan(25_000)
  })

  it('leaves the first host alone that takes as much as this machine is told to send', () => {
    expect(
      play(
        many(5, () => ({})),
        { headRate: 2500, pace: 2.5e6 },
      ).links,
    ).toBe(1)
  })

  it('lets nobody wait behind a host that hangs before its own link stands', () => {
    const joins = [313, 171, 315, 918, 930, 107]
    const hosts = many(6, (index) => ({ joinsAt: joins[index] as number, ...(index === 0 ? { frozen: [1203, 1e9] as const } : {}) }))
    const { endedAt, dropped } = play(hosts)
    expect(endedAt).toBeLessThan(7000)
    expect(dropped).toEqual([0])
  })

  it('finds out after two hosts who brings nothing to anybody', () => {
    const hosts = many(12, (index) => (index === 0 ? {} : { joinsAt: 10 * index, starvedBy: [0] }))
    const { endedAt, dropped } = play(hosts, { lagMs: 300 })
    expect(endedAt).toBeLessThan(9000)
    expect(dropped).toEqual([])
  })

  it('finds out after two hosts who gives slowly to everybody', () => {
    const { endedAt } = play(
      many(11, (index) => (index === 1 ? { givesAt: 167 } : {})),
      { headRate: 5000, lagMs: 150 },
    )
    expect(endedAt).toBeLessThan(15_000)
  })

  it('gives up no host that gets nothing from others, as long as this machine can send to it', () => {
    expect(play([{}, { rate: 4000, starvedBy: [0, 2] }, {}]).dropped).toEqual([])
    const hosts = [{ rate: 1000 }, { rate: 4000, frozen: [996, 4996] as const, starvedBy: [4] }, {}, { joinsAt: 1511 }, {}]
    expect(play(hosts, { lagMs: 200, headRate: 25_000 }).dropped).toEqual([])
  })
})
