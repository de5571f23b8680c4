import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HEAD, OWN } from '../../../src/transfer/chain/plan-terms.js'
import { type SimulatedHost, Simulation } from './simulated-hosts.js'

const TOTAL = 50_000_000
const PATIENCE_MS = 10_000
const SILENT_MS = 6000
const FOREVER = Number.POSITIVE_INFINITY

/** Everything that can befall a host, with the numbers of its neighbours. */
function hostsOf(count: number): fc.Arbitrary<SimulatedHost[]> {
  const host = fc.record(
    {
      joinsAt: fc.integer({ min: 0, max: 3000 }),
      have: fc.integer({ min: 0, max: 380 }).map((chunks) => chunks * 131_072),
      rate: fc.constantFrom(25_000, 25_000, 25_000, 12_000, 4000),
      givesAt: fc.constantFrom(25_000, 25_000, 5000),
      diesAt: fc.integer({ min: 0, max: 6000 }),
      frozen: fc
        .tuple(fc.integer({ min: 0, max: 4000 }), fc.constantFrom(300, 1500, 4000, FOREVER))
        .map(([from, ms]) => [from, from + ms] as const),
      refuses: fc.array(fc.integer({ min: HEAD, max: count - 1 }), { maxLength: count + 1 }),
      isSilent: fc.boolean(),
      corrupt: fc
        .array(fc.tuple(fc.integer({ min: OWN, max: count - 1 }), fc.integer({ min: 1, max: 8 })), { maxLength: 3 })
        .map((pairs) => new Map(pairs)),
    },
    { requiredKeys: [] },
  )
  return fc.array(host, { minLength: count, maxLength: count }) as fc.Arbitrary<SimulatedHost[]>
}

const anyHosts = fc.integer({ min: 1, max: 8 }).chain(hostsOf)

describe('ChainPlan, whatever befalls the hosts', () => {
  it('brings everything to every host that lives and can be reached, and waits for nobody else', () => {
    fc.assert(
      fc.property(anyHosts, (hosts) => {
        const simulation = new Simulation(hosts, { total: TOTAL, patienceMs: PATIENCE_MS })
        const outcomes = simulation.run(200_000)
        outcomes.forEach((outcome, index) => {
          const host = hosts[index] as SimulatedHost
          const isLost = host.diesAt !== undefined || host.frozen?.[1] === FOREVER
          const isCorrupted = [...(host.corrupt ?? [])].some(([, times]) => times > 2)
          if (isLost) return
          if (outcome.doneAt === undefined && isCorrupted) expect(outcome.dropped).toMatch(/^E_COPY_(CORRUPT|STALLED)$/)
          else expect(outcome).toMatchObject({ have: TOTAL, dropped: undefined })
        })
      }),
      { numRuns: 300 },
    )
  })

  it('drops only who takes nothing for the whole patience, or is not heard of any more when all the others are done, and says so', () => {
    fc.assert(
      fc.property(anyHosts, (hosts) => {
        const simulation = new Simulation(hosts, { total: TOTAL, patienceMs: PATIENCE_MS })
        simulation.run(200_000)
        for (const order of simulation.orders) {
          if (order.kind !== 'drop' || order.code !== 'E_COPY_STALLED') continue
          // Who could not be sent anything, or nothing right, has a reason of its own.
          if (hosts[order.host]?.corrupt !== undefined || hosts[order.host]?.isSilent === true) continue
          const [from, to] = hosts[order.host]?.frozen ?? [FOREVER, 0]
          expect(order.at).toBeGreaterThanOrEqual(from + (to === FOREVER ? SILENT_MS : PATIENCE_MS - 3000))
        }
      }),
      { numRuns: 150 },
    )
  })

  it('comes to rest: orders are few for each thing that happens', () => {
    fc.assert(
      fc.property(anyHosts, (hosts) => {
        const simulation = new Simulation(hosts, { total: TOTAL, patienceMs: PATIENCE_MS })
        simulation.run(200_000)
        const links = simulation.orders.filter((order) => order.kind === 'link').length
        expect(links).toBeLessThan(60 * hosts.length)
      }),
      { numRuns: 150 },
    )
  })

  it('costs healthy hosts little when others die', () => {
    const dying = fc.integer({ min: 2, max: 8 }).chain((count) =>
      fc.tuple(
        fc.constant(count),
        fc.array(fc.tuple(fc.integer({ min: 0, max: count - 1 }), fc.integer({ min: 0, max: 2000 })), {
          minLength: 1,
          maxLength: count - 1,
        }),
      ),
    )
    fc.assert(
      fc.property(dying, ([count, deaths]) => {
        const when = new Map(deaths)
        const hosts = Array.from(
          { length: count },
          (_, index): SimulatedHost => (when.has(index) ? { diesAt: when.get(index) as number } : {}),
        )
        const outcomes = new Simulation(hosts, { total: TOTAL }).run(60_000)
        outcomes.forEach((outcome, index) => {
          if (!when.has(index)) expect(outcome.doneAt).toBeLessThan(TOTAL / 25_000 + 1500)
        })
      }),
    )
  })
})
