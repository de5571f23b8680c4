import { describe, expect, it } from 'vitest'
import type { RunJournalEvent } from '../../src/engine/events.js'
import { RunState } from '../../src/engine/run-state.js'
import type { WorkItem } from '../../src/model/combination.js'
import { withRepetitions } from '../../src/sweep/derived-spaces.js'
import { spaceFromDefinition } from '../../src/sweep/space-json.js'
import { sweep } from '../../src/sweep/sweep.js'

const itemsOf = (levels: number[], repetitions = 1) => withRepetitions(sweep({ n: levels }), repetitions)
const campaign = (levels: number[], revision = 1): RunJournalEvent => ({
  type: 'campaign',
  runId: 'x',
  name: 'c',
  revision,
  definition: itemsOf(levels).definition,
  fingerprint: {},
})
function stateOf(events: RunJournalEvent[], history = false): RunState {
  const state = new RunState((definition) => spaceFromDefinition<WorkItem>(definition), { history })
  events.forEach((event, at) => {
    state.fold({ ...event, seq: at + 1, at: 1000 + at } as never)
  })
  return state
}
const done = (k: number | string, a = 1, v = {}): RunJournalEvent => ({ type: 'verdict', k, a, o: 'succeeded', d: 'ok', v })
const failed = (k: number, a = 1, more = {}): RunJournalEvent => ({ type: 'verdict', k, a, o: 'failed', d: 'exit code 1', ...more })
const intents = (...jobs: (readonly [number | string, number])[]): RunJournalEvent => ({ type: 'intents', jobs })

describe('RunState', () => {
  it('counts every item in exactly one state', () => {
    const state = stateOf([
      campaign([1, 2, 3, 4]),
      intents([0, 1], [1, 1], [2, 1]),
      done(0),
      failed(1),
      { type: 'started', jobs: [[2, 1]] },
    ])
    expect(state.counts()).toEqual({ total: 4, todo: 1, submitted: 0, running: 1, done: 1, failed: 1, invalid: 0, orphaned: 0 })
    expect([...state.flights.keys()]).toEqual([2])
  })

  it('gives items in order, and those that come back once', () => {
    const state = stateOf([campaign([1, 2, 3]), intents([0, 1]), failed(0, 1, { again: true })])
    expect(state.nextTodo(10)).toEqual([0, 1, 2])
    expect(state.nextTodo(10)).toEqual([])
    state.giveBack([1])
    expect(state.nextTodo(10)).toEqual([1])
  })

  it('keeps what is refused for the next time', () => {
    const state = stateOf([campaign([1, 2, 3])])
    expect(state.nextTodo(10, (index) => index !== 1)).toEqual([0, 2])
    expect(state.nextTodo(10)).toEqual([1])
  })

  it('ignores a verdict about an attempt that is not in flight', () => {
    const state = stateOf([campaign([1]), intents([0, 2]), done(0, 1)])
    expect(state.counts().done).toBe(0)
    expect(state.flights.get(0)?.attempt).toBe(2)
  })

  it('counts attempts for the retry policy without void ones and those before a retry', () => {
    const state = stateOf([campaign([1]), intents([0, 1]), failed(0, 1, { again: true, void: true }), intents([0, 2]), failed(0, 2)])
    expect([state.lastAttempt(0), state.countedAttempts(0)]).toEqual([2, 1])
    const retried = stateOf([campaign([1]), intents([0, 1]), failed(0, 1), { type: 'retry', keys: [0] }])
    expect([retried.stateOf(0), retried.lastAttempt(0), retried.countedAttempts(0)]).toEqual(['todo', 1, 0])
  })

  it('keeps done work when the sweep changes, sets aside what is no longer asked for, and takes it back', () => {
    const events: RunJournalEvent[] = [campaign([1, 2, 3]), intents([0, 1], [1, 1], [2, 1]), done(0, 1, { s: 1 }), done(1, 1, { s: 2 })]
    const narrower = stateOf([...events, campaign([2, 3, 4], 2)])
    expect(narrower.counts()).toMatchObject({ total: 3, done: 1, submitted: 1, todo: 1, orphaned: 1 })
    expect([...narrower.records(() => '')].map((record) => record.values)).toEqual([{ s: 2 }])
    expect([...narrower.flights.keys()]).toEqual([1])
    const wider = stateOf([...events, campaign([2, 3, 4], 2), campaign([1, 2, 3, 4], 3)])
    expect(wider.counts()).toMatchObject({ total: 4, done: 2, submitted: 1, todo: 1, orphaned: 0 })
  })

  it('does not count as orphaned what was still to be done, and yet numbers its attempts on when it is asked for again', () => {
    const events = [campaign([1, 2, 3]), intents([0, 1], [1, 1]), failed(0, 1, { again: true }), failed(1, 1, { again: true, void: true })]
    const narrower = stateOf([...events, campaign([3], 2)])
    expect(narrower.counts()).toMatchObject({ total: 1, todo: 1, orphaned: 0 })
    const wider = stateOf([...events, campaign([3], 2), campaign([1, 2, 3], 3)])
    expect(wider.counts()).toMatchObject({ total: 3, todo: 3, orphaned: 0 })
    expect([0, 1, 2].map((index) => [wider.lastAttempt(index), wider.countedAttempts(index)])).toEqual([
      [1, 1],
      [1, 0],
      [0, 0],
    ])
    expect(wider.nextTodo(10)).toEqual([0, 1, 2])
    const canceled = stateOf([campaign([1, 2]), intents([0, 1]), campaign([2], 2)])
    const [key = ''] = canceled.flights.keys()
    canceled.fold({ type: 'verdict', k: key, a: 1, o: 'canceled', d: '', again: true, void: true, seq: 8, at: 8 } as never)
    expect(canceled.counts()).toMatchObject({ orphaned: 0 })
    canceled.fold({ ...campaign([1, 2], 3), seq: 9, at: 9 } as never)
    expect(canceled.counts()).toMatchObject({ total: 2, todo: 2 })
    expect([canceled.lastAttempt(0), canceled.countedAttempts(0)]).toEqual([1, 0])
  })

  it('remembers a job in flight whose item is no longer asked for', () => {
    const state = stateOf([campaign([1, 2]), intents([0, 1]), campaign([2], 2)])
    const [key] = [...state.flights.keys()]
    expect(key).toMatch(/^gone:/)
    state.fold({ ...done(String(key), 1, { s: 1 }), seq: 9, at: 9 } as never)
    expect(state.counts()).toMatchObject({ total: 1, todo: 1, orphaned: 1 })
    state.fold({ ...campaign([1, 2], 3), seq: 10, at: 10 } as never)
    expect(state.counts()).toMatchObject({ total: 2, done: 1, orphaned: 0 })
  })

  it('shows the newest failures first and only what is still failed', () => {
    const state = stateOf([
      campaign([1, 2, 3]),
      intents([0, 1], [1, 1], [2, 1]),
      failed(0),
      failed(1),
      failed(2),
      { type: 'retry', keys: [1] },
    ])
    expect(state.recentFailures(10)).toEqual([2, 0])
  })

  it('keeps the history of attempts when that is asked for', () => {
    const state = stateOf([campaign([1]), intents([0, 1]), failed(0, 1, { again: true }), intents([0, 2]), done(0, 2)], true)
    expect(state.historyOf(0).map((one) => one.verdict?.outcome)).toEqual(['failed', 'succeeded'])
  })

  it('takes a later reading of the results of an attempt for its verdict', () => {
    const collected = (k: number, a: number, more = {}): RunJournalEvent => ({ type: 'collected', k, a, o: 'succeeded', d: 'x', ...more })
    const begun = [campaign([1, 2, 3]), intents([0, 1], [1, 1], [2, 1]), failed(0, 1, { o: 'invalid', again: true }), intents([0, 2])]
    const state = stateOf([...begun, failed(0, 2), done(1), failed(2, 1, { o: 'invalid' }), collected(0, 1, { v: { y: 5 } })], true)
    expect(state.counts()).toMatchObject({ done: 2, invalid: 1, failed: 0 })
    expect([...state.records(() => '')].map(({ attempt, values }) => [attempt, values])).toEqual([
      [1, { y: 5 }],
      [1, {}],
    ])
    expect(state.historyOf(0).map((one) => one.verdict?.outcome)).toEqual(['succeeded', 'failed'])
    expect([state.lastAttempt(0), state.recentFailures(9)]).toEqual([2, [2]])
    state.fold({ ...collected(1, 1, { o: 'invalid' }), seq: 20, at: 20 } as never)
    expect([state.stateOf(1), state.recentFailures(9)]).toEqual(['invalid', [1, 2]])
    const busy = stateOf([...begun, collected(0, 1), collected(1, 1), { type: 'retry', keys: [0] }])
    expect(busy.counts()).toMatchObject({ submitted: 3, done: 0 })
  })

  it('clears a pause when a controller opens the run', () => {
    const opened: RunJournalEvent = { type: 'opened', host: 'h', pid: 1, version: '0' }
    const state = stateOf([campaign([1]), { type: 'paused', reason: 'breaker', detail: 'x' }, { type: 'stop', cancelJobs: false }, opened])
    expect([state.pause, state.stop, state.isOpen]).toEqual([undefined, undefined, true])
  })

  it('forgets everything when it is reset', () => {
    const state = stateOf([campaign([1, 2]), intents([0, 1]), done(0)])
    state.reset()
    expect(state.counts().total).toBe(0)
    state.fold({ ...campaign([1, 2]), seq: 1, at: 1 } as never)
    expect(state.counts()).toMatchObject({ total: 2, todo: 2 })
  })

  it('remembers where each attempt is, of jobs in flight and of the last ones', () => {
    const state = stateOf(
      [{ ...campaign([1, 2, 3]), site: 'a' } as never, intents([0, 1]), { ...intents([1, 1]), site: 'b' } as never],
      true,
    )
    expect(state.site).toBe('a')
    expect([...state.flights.values()].map(({ site }) => site)).toEqual([undefined, 'b'])
    expect([state.siteOfLast(0), state.siteOfLast(1), state.historyOf(1)[0]?.site]).toEqual([undefined, 'b', 'b'])
    const moved = stateOf([campaign([1, 2, 3]), { ...intents([1, 1]), site: 'b' } as never, campaign([0, 1, 2], 2)])
    expect([moved.siteOfLast(1), moved.siteOfLast(2)]).toEqual([undefined, 'b'])
  })

  it('stands still as a whole only when all its sites do', () => {
    const opened = { type: 'opened', host: 'h', pid: 1, version: '1', sites: ['a', 'b'] } as const
    const pausedAt = (site: string) => ({ type: 'paused', reason: 'scheduler-silent', detail: site, site }) as const
    expect(stateOf([campaign([1]), opened, pausedAt('b')]).pause).toBeUndefined()
    expect(stateOf([campaign([1]), opened, pausedAt('b'), pausedAt('a')]).pause).toMatchObject({ site: 'b' })
    expect(stateOf([campaign([1]), opened, pausedAt('b'), pausedAt('a'), { type: 'unpaused', site: 'b' }]).pause).toBeUndefined()
    expect(stateOf([campaign([1]), opened, { type: 'paused', reason: 'breaker', detail: 'x' }]).pause).toMatchObject({ reason: 'breaker' })
    expect(stateOf([campaign([1]), opened, pausedAt('b'), pausedAt('a'), opened]).pause).toBeUndefined()
  })

  it('knows why a job waits, until another attempt is made', () => {
    const waiting = { type: 'waiting', words: 'PENDING Priority', jobs: [[0, 1]] } as const
    const state = stateOf([campaign([1]), intents([0, 1]), waiting, { ...waiting, words: 'PENDING Resources' }], true)
    expect(state.flights.get(0)?.waiting).toMatchObject({ words: 'PENDING Resources' })
    expect(state.historyOf(0)[0]?.waiting).toEqual({ words: 'PENDING Resources', isStuck: false, advice: undefined, at: 1003 })
    expect(stateOf([campaign([1]), intents([0, 2]), waiting]).flights.get(0)?.waiting).toBeUndefined()
  })

  it('counts a job that went back into the queue as one that waits, until it starts again', () => {
    const waiting = { type: 'waiting', words: 'PENDING launch failed requeued held', jobs: [[0, 1]] } as const
    const started = { type: 'started', jobs: [[0, 1]] } as const
    const state = stateOf([campaign([1]), intents([0, 1]), started, waiting], true)
    expect(state.counts()).toMatchObject({ submitted: 1, running: 0 })
    expect(state.historyOf(0)[0]).toMatchObject({ startedAt: undefined, waiting: { words: waiting.words } })
    const again = stateOf([campaign([1]), intents([0, 1]), started, waiting, started], true)
    expect(again.counts()).toMatchObject({ submitted: 0, running: 1 })
    expect(again.historyOf(0)[0]?.startedAt).toBe(1004)
  })

  it('wants a prepare stage anew that was edited while it ran, whatever became of it', () => {
    const edited = { ...campaign([1, 2], 2), fingerprint: { prepare: 'other' } } as RunJournalEvent
    const running = [campaign([1, 2]), intents(['prepare:compile', 1]), edited]
    expect([stateOf(running).prepareState('prepare:compile'), stateOf(running).isStale('prepare:compile')]).toEqual(['in-flight', true])
    for (const end of [done('prepare:compile'), { ...done('prepare:compile'), o: 'failed' } as RunJournalEvent]) {
      const state = stateOf([...running, end])
      expect([state.prepareState('prepare:compile'), state.isStale('prepare:compile')]).toEqual(['todo', false])
      const again = stateOf([...running, end, intents(['prepare:compile', 2]), done('prepare:compile', 2)])
      expect(again.prepareState('prepare:compile')).toBe('done')
    }
  })
})
