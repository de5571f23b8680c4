import { describe, expect, it } from 'vitest'
import { ChainPlan } from '../../../src/transfer/chain/plan.js'
import { HEAD, type Order, OWN } from '../../../src/transfer/chain/plan-terms.js'

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
    isPaced: false,
  })
  for (const host of [1, 2, 3]) plan.join(host, 0, 0)
  const orders: (Order & { at: number })[] = []
  for (let now = 100; now <= untilMs; now += 100) {
    tell(plan, now)
    for (const order of plan.decide(now)) {
      orders.push({ ...order, at: now })
      if (order.kind === 'link' && answers(order.to, now)) plan.up(order.epoch, now)
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
