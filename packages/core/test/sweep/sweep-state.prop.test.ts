import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson } from '../../src/canonical-json.js'
import type { Combination, Level } from '../../src/model/combination.js'
import type { Space, SpaceDefinition } from '../../src/model/space.js'
import { withRepetitions } from '../../src/sweep/derived-spaces.js'
import { IndexHeap } from '../../src/sweep/index-heap.js'
import { decodeIndexes, encodeIndexes } from '../../src/sweep/index-ranges.js'
import { listSpace } from '../../src/sweep/list-space.js'
import { spaceFromDefinition } from '../../src/sweep/space-json.js'
import { mapSpace } from '../../src/sweep/space-mapping.js'
import { sweep } from '../../src/sweep/sweep.js'
import type { SweepEvent } from '../../src/sweep/sweep-events.js'
import { SweepState } from '../../src/sweep/sweep-state.js'

const increasing = fc.uniqueArray(fc.nat(60)).map((list) => list.sort((a, b) => a - b))

describe('encodeIndexes', () => {
  it('is undone by decodeIndexes', () => {
    fc.assert(
      fc.property(
        increasing.filter((list) => list.length > 0),
        (list) => {
          expect(decodeIndexes(encodeIndexes(list))).toEqual(list)
        },
      ),
    )
  })

  it.each(['', '1-', '-1', '1,,2', '1e9', ' 1', null, {}])('refuses %j', (text) => {
    expect(decodeIndexes(text)).toEqual([])
  })
})

describe('IndexHeap', () => {
  it('gives back in order what was put in', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50)), (list) => {
        const heap = new IndexHeap()
        for (const index of list) heap.push(index)
        const out: number[] = []
        while (heap.size > 0) out.push(heap.pop()!)
        expect(out).toEqual([...list].sort((a, b) => a - b))
      }),
    )
  })
})

const levels: fc.Arbitrary<Level[]> = fc.uniqueArray(fc.constantFrom<Level>(1, '1', true, null, 2.5, -0, 0, 'x', NaN), {
  minLength: 1,
  selector: canonicalJson,
})
const factors = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'repetition'), levels, { minKeys: 1, maxKeys: 3 })
const space: fc.Arbitrary<Space<Combination>> = factors.map((f) => sweep(f as never) as unknown as Space<Combination>)

describe('mapSpace', () => {
  it('finds for two products what looking up every item finds', () => {
    fc.assert(
      fc.property(space, space, fc.nat(2), (from, to, repetitions) => {
        const expected = Array.from(from, (item) => to.indexOf(item))
        expect([...mapSpace(from, to)]).toEqual(expected)
        const one = withRepetitions(from, repetitions + 1)
        const other = withRepetitions(to, 2)
        expect([...mapSpace(one, other)]).toEqual(Array.from(one, (item) => other.indexOf(item)))
      }),
    )
  })
})

type Step = { readonly kind: number; readonly pick: readonly number[]; readonly size: number }
const step: fc.Arbitrary<Step> = fc.record({ kind: fc.nat(8), pick: increasing, size: fc.nat(3) })

const spaces = [
  listSpace(Array.from({ length: 12 }, (_, n) => ({ n }))),
  listSpace(Array.from({ length: 12 }, (_, n) => ({ n: n + 6 }))),
  sweep({ n: [11, 3, 5, 7, 20] }),
  listSpace(Array.from({ length: 25 }, (_, n) => ({ n: 24 - n }))),
] as unknown as readonly Space<{ n: number }>[]

const open = (source: { space?: unknown }): Space<{ n: number }> => spaceFromDefinition(source.space as SpaceDefinition)

/** The same in the most simple way: a map from item to state. */
class Model {
  readonly states = new Map<number, string>()
  present: readonly number[] = []
  worker = new Map<number, string>()
}

describe('SweepState', () => {
  it('follows any events as a simple map does, and is the same after being saved and loaded at any moment', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.nat(40), (steps, saveAt) => {
        let state = new SweepState<{ n: number }>(open)
        const model = new Model()
        let g = 0
        const show = (event: SweepEvent): void => state.apply(JSON.parse(JSON.stringify(event)) as SweepEvent)
        const setSpace = (to: Space<{ n: number }>): void => {
          g++
          show({ type: 'sweep.space', g, size: to.size, hash: `${g}`, space: to.definition })
          model.present = Array.from(to, ({ n }) => n)
        }
        setSpace(spaces[0]!)
        for (const w of ['u', 'v']) show({ type: 'sweep.worker', w, host: 'h', boot: '', space: '', pid: 1, start: '' })
        steps.forEach(({ kind, pick, size }, at) => {
          const stateOf = (index: number): string => model.states.get(model.present[index]!) ?? 'todo'
          const chosen = pick.filter((index) => index < model.present.length)
          const w = size % 2 === 0 ? 'u' : 'v'
          const set = (indexes: readonly number[], to: string): void => {
            for (const index of indexes) {
              model.states.set(model.present[index]!, to)
              model.worker.delete(model.present[index]!)
            }
          }
          if (kind <= 2) {
            const free = state.firstTodo(size + 1)
            expect(free).toEqual(
              model.present
                .map((_, index) => index)
                .filter((index) => stateOf(index) === 'todo')
                .slice(0, size + 1),
            )
            if (free.length > 0) show({ type: 'sweep.claim', w, t: state.nextToken, g, i: encodeIndexes(free) })
            set(free, 'claimed')
            for (const index of free) model.worker.set(model.present[index]!, w)
          } else if (kind === 3 && chosen.length > 0) {
            show({ type: 'sweep.done', g, i: encodeIndexes(chosen) })
            set(chosen, 'done')
          } else if (kind === 4 && chosen.length > 0) {
            show({ type: 'sweep.fail', g, i: encodeIndexes(chosen), reason: 'r' })
            set(chosen, 'failed')
          } else if (kind === 5 && chosen.length > 0) {
            show({ type: 'sweep.cancel', g, i: encodeIndexes(chosen) })
            set(chosen, 'todo')
          } else if (kind === 6) {
            show({ type: 'sweep.reset', g, states: ['failed', 'claimed'] })
            set(
              model.present.map((_, index) => index).filter((index) => ['failed', 'claimed'].includes(stateOf(index))),
              'todo',
            )
          } else if (kind === 7) setSpace(spaces[size]!)
          else if (kind === 8) {
            show({ type: 'sweep.leave', w })
            show({ type: 'sweep.worker', w, host: 'h', boot: '', space: '', pid: 1, start: '' })
            for (const [n, worker] of model.worker) {
              if (worker !== w) continue
              model.states.set(n, 'todo')
              model.worker.delete(n)
            }
          }
          if (at === saveAt) {
            const saved: unknown = JSON.parse(JSON.stringify(state.save()))
            state = new SweepState<{ n: number }>(open)
            expect(state.load(saved)).toBe(true)
          }
          const states = model.present.map((_, index) => stateOf(index))
          expect(model.present.map((_, index) => state.stateOf(index))).toEqual(states)
          const stats = state.stats()
          expect(stats.todo + stats.claimed + stats.done + stats.skipped + stats.failed).toBe(stats.total)
          const absent = [...model.states].filter(([n]) => !model.present.includes(n))
          expect(stats.orphaned).toBe(absent.filter(([, s]) => s === 'done' || s === 'failed').length)
          expect(stats.claimed).toBe(states.filter((s) => s === 'claimed').length)
          expect(state.claims.size).toBe([...model.states.values()].filter((s) => s === 'claimed').length)
          expect([...state.workers.values()].reduce((sum, { tokens }) => sum + tokens.size, 0)).toBe(state.claims.size)
        })
      }),
      { numRuns: 300 },
    )
  })

  it('says what was wrong with a definition that it cannot make', () => {
    const state = new SweepState(open)
    state.apply({ type: 'sweep.space', g: 1, size: 3, hash: 'x', space: { kind: 'unheard-of' } })
    expect(state.problem).toMatchObject({ code: 'E_ARGUMENT' })
    state.reset()
    state.apply({ type: 'sweep.space', g: 1, size: 3, hash: 'x', space: spaces[0]!.definition })
    expect(state.problem).toBeInstanceOf(RangeError)
  })

  it.each([
    undefined,
    null,
    1,
    {},
    { version: 2 },
    { version: 1, generations: [{ number: 1, source: {}, size: 1, states: '!', reasons: [] }] },
  ])('refuses to load %j', (saved) => {
    expect(new SweepState(open).load(saved)).toBe(false)
  })
})
