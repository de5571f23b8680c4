import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { QUIET_MS, SILENT_MS, STALL_MS } from '../../../src/transfer/chain/plan-numbers.js'
import { type Giver, HEAD, type Order, OWN, type PlanSettings } from '../../../src/transfer/chain/plan-terms.js'
import { type Outcome, type SimulatedHost, Simulation, type SimulationSettings, TICK_MS } from './simulated-hosts.js'

const TOTAL = 50_000_000
const PATIENCE_MS = 15_000
const FOREVER = Number.POSITIVE_INFINITY
const CHUNK = 131_072

type Timed = Order & { readonly at: number }
type TimedLink = Extract<Timed, { kind: 'link' }>

/** Everything that can befall a host, with the numbers of its neighbours. */
function hostsOf(count: number): fc.Arbitrary<SimulatedHost[]> {
  const giver = fc.integer({ min: 0, max: count - 1 })
  const host = fc.record(
    {
      joinsAt: fc.integer({ min: 0, max: 3000 }),
      have: fc.integer({ min: 0, max: 380 }).map((chunks) => chunks * CHUNK),
      rate: fc.constantFrom(25_000, 25_000, 25_000, 12_000, 4000),
      givesAt: fc.constantFrom(25_000, 25_000, 5000, 1000),
      diesAt: fc.integer({ min: 0, max: 6000 }),
      frozen: fc
        .tuple(fc.integer({ min: 0, max: 4000 }), fc.constantFrom(300, 1500, 4000, FOREVER))
        .map(([from, ms]) => [from, from + ms] as const),
      refuses: fc.array(fc.integer({ min: HEAD, max: count - 1 }), { maxLength: count + 1 }),
      isSilent: fc.boolean(),
      starvedBy: fc.array(giver, { maxLength: count }),
      corrupt: fc
        .array(fc.tuple(fc.integer({ min: OWN, max: count - 1 }), fc.integer({ min: 1, max: 8 })), { maxLength: 3 })
        .map((pairs) => new Map(pairs)),
    },
    { requiredKeys: [] },
  )
  return fc.array(host, { minLength: count, maxLength: count }) as fc.Arbitrary<SimulatedHost[]>
}

interface History {
  readonly lagMs: number
  readonly hosts: readonly SimulatedHost[]
  readonly outcomes: readonly Outcome[]
  readonly orders: readonly Timed[]
}

const circumstances: fc.Arbitrary<Partial<PlanSettings> & { lagMs: number }> = fc.record({
  lagMs: fc.constantFrom(0, 50, 200, 400),
  pace: fc.constantFrom(undefined, 25e6),
  heads: fc.constantFrom([HEAD, OWN], [OWN]),
})

/** Whatever befalls one to eight hosts. */
const histories: fc.Arbitrary<History> = fc
  .tuple(fc.integer({ min: 1, max: 8 }).chain(hostsOf), circumstances)
  .map(([hosts, around]) => play(hosts, { total: TOTAL, patienceMs: PATIENCE_MS, ...around }))

function play(hosts: readonly SimulatedHost[], settings: SimulationSettings): History {
  const simulation = new Simulation(hosts, settings)
  const outcomes = simulation.run(300_000)
  return { hosts, outcomes, orders: simulation.orders, lagMs: settings.lagMs ?? 0 }
}

const isLink = (order: Timed): order is TimedLink => order.kind === 'link'

/** Walks through a history, with the links that stand by the orders until then. */
function walk({ orders }: History, look: (order: Timed, giverOf: ReadonlyMap<number, Giver>) => void): void {
  const giverOf = new Map<number, Giver>()
  for (const order of orders) {
    look(order, giverOf)
    if (order.kind === 'link') {
      for (const [to, from] of giverOf) if (from === order.from && from >= 0) giverOf.delete(to)
      giverOf.set(order.to, order.from)
    } else if (order.kind === 'drop') giverOf.delete(order.host)
    else if (order.kind === 'unlink' && giverOf.get(order.to) === order.from) giverOf.delete(order.to)
  }
}

const always = (check: (history: History) => void, numRuns = 60) => fc.assert(fc.property(histories, check), { numRuns })

describe('ChainPlan, whatever befalls the hosts', () => {
  it('brings everything to every host that lives and can be reached', () => {
    always(({ hosts, outcomes }) => {
      outcomes.forEach((outcome, index) => {
        const host = hosts[index] as SimulatedHost
        const isLost = host.diesAt !== undefined || host.frozen?.[1] === FOREVER
        const isCorrupted = [...(host.corrupt ?? [])].some(([, times]) => times > 2)
        if (isLost) return
        if (outcome.doneAt === undefined && isCorrupted) expect(outcome.dropped).toMatch(/^E_COPY_(CORRUPT|STALLED)$/)
        else expect(outcome).toMatchObject({ have: TOTAL, dropped: undefined })
      })
    }, 200)
  })

  it('lets every host have one giver at most, and give to one other at most', () => {
    always((history) => {
      walk(history, (order, giverOf) => {
        const busy = [...giverOf.values()].filter((giver) => giver >= 0)
        expect(new Set(busy).size).toBe(busy.length)
        if (order.kind === 'link') expect(order.from).not.toBe(order.to)
      })
    })
  })

  it('only lets epochs grow', () => {
    always(({ orders }) => {
      const epochs = orders.filter(isLink).map(({ epoch }) => epoch)
      expect(epochs).toEqual([...epochs].sort((a, b) => a - b))
      expect(new Set(epochs).size).toBe(epochs.length)
    })
  })

  it('lets nobody give who was not heard of for seconds', () => {
    always(({ hosts, orders, outcomes, lagMs }) => {
      for (const { from, at } of orders.filter(isLink)) {
        const { frozen = [FOREVER, 0], joinsAt = 0 } = hosts[from] ?? {}
        const frozenAt = frozen[1] === FOREVER ? Math.max(frozen[0], joinsAt) : FOREVER
        // Who has everything is not looked at as long as nobody stalls behind it.
        if (outcomes[from]?.doneAt === undefined) expect(at).toBeLessThan(frozenAt + QUIET_MS + STALL_MS + 2 * lagMs + 500)
      }
    })
  })

  it('orders nothing of who was given up', () => {
    always(({ orders }) => {
      const gone = new Set<number>()
      for (const order of orders) {
        if (order.kind === 'link') expect([gone.has(order.from), gone.has(order.to)]).toEqual([false, false])
        if (order.kind === 'unlink') expect(gone.has(order.from)).toBe(false)
        if (order.kind === 'ask' || order.kind === 'drop') expect(gone.has(order.host)).toBe(false)
        if (order.kind === 'drop') gone.add(order.host)
      }
    })
  })

  it('gives up only who took nothing for the whole patience, or was silent when nobody else wanted anything', () => {
    always(({ hosts, orders, lagMs }) => {
      for (const order of orders) {
        if (order.kind !== 'drop' || order.code !== 'E_COPY_STALLED') continue
        // Who could not be sent anything right has a reason of its own.
        if (hosts[order.host]?.corrupt !== undefined) continue
        const [from, to] = hosts[order.host]?.frozen ?? [FOREVER, 0]
        // The question that it did not answer may have been on its way when it fell silent.
        const least = to === FOREVER ? SILENT_MS - lagMs - TICK_MS : PATIENCE_MS - 3000
        expect(order.at).toBeGreaterThanOrEqual(from + least)
      }
    })
  })

  it('changes links a few times for each thing that happens, and comes to an end', () => {
    always(({ hosts, orders }) => {
      expect(orders.filter(isLink).length).toBeLessThan(40 * hosts.length)
    })
  })
})

/** How long the others take. */
function timeOf(hosts: readonly SimulatedHost[], settings: SimulationSettings, victim?: number): number {
  const { outcomes } = play(hosts, settings)
  return Math.max(...outcomes.map(({ doneAt = FOREVER }, index) => (index === victim ? 0 : doneAt)))
}

describe('ChainPlan, when one of the hosts is not well', () => {
  const at = fc.integer({ min: 0, max: 10_000 })
  const part = fc.constantFrom(1.5, 2.5, 4, 10, 30)
  const ills: Record<string, { one: fc.Arbitrary<SimulatedHost>; times?: number; moreMs?: number }> = {
    dies: { one: at.map((diesAt) => ({ diesAt })) },
    hangs: { one: fc.tuple(at, fc.constantFrom(500, 1500, 5000, FOREVER)).map(([from, ms]) => ({ frozen: [from, from + ms] as const })) },
    'comes late': { one: at.map((joinsAt) => ({ joinsAt })) },
    // The first host is compared with another one after a while; who gives slowly is found out by two others.
    'is slow': { one: part.map((times) => ({ rate: 25_000 / times })), moreMs: 5000 },
    'gives slowly': { one: part.map((times) => ({ givesAt: 25_000 / times })), times: 2 },
  }
  for (const [name, { one, times = 1.5, moreMs = 3000 }] of Object.entries(ills)) {
    it(`costs the others seconds when it ${name}`, () => {
      const cases = fc.tuple(fc.integer({ min: 3, max: 10 }), fc.nat(), one, fc.constantFrom(0, 100, 300), fc.constantFrom(undefined, 25e6))
      fc.assert(
        fc.property(cases, ([count, dice, ill, lagMs, pace]) => {
          const settings = { total: TOTAL, patienceMs: 30_000, lagMs, pace }
          const well = Array.from({ length: count }, (): SimulatedHost => ({}))
          const victim = dice % count
          const undisturbed = timeOf(well, settings)
          // Whoever is asked is heard of that much later.
          expect(timeOf(well.with(victim, ill), settings, victim)).toBeLessThan(times * undisturbed + moreMs + 2 * lagMs)
        }),
      )
    })
  }
})
