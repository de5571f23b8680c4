import { describe, expect, it } from 'vitest'
import type { CampaignEvent, RunJournalEvent } from '../../src/engine/events.js'
import { RunState } from '../../src/engine/run-state.js'
import { StuckNews, stuckJobs, waitingOf } from '../../src/engine/stuck.js'
import type { WorkItem } from '../../src/model/combination.js'
import type { JobObservation } from '../../src/model/job.js'
import type { StuckJobs } from '../../src/model/run.js'
import { withRepetitions } from '../../src/sweep/derived-spaces.js'
import { spaceFromDefinition } from '../../src/sweep/space-json.js'
import { sweep } from '../../src/sweep/sweep.js'

const handle = { scheduler: 'x', nativeId: '7', tag: 't' }
const seen = (more: Partial<JobObservation>): JobObservation => ({ handle, state: 'pending', rawState: 'PENDING', ...more })

describe('waitingOf', () => {
  it.each<[string, JobObservation, boolean]>([
    ['a job that waits for its turn', seen({ reason: 'Priority' }), false],
    ['one that is held', seen({ state: 'held', rawState: 'HELD' }), true],
    ['one that waits, with an advice', seen({ reason: 'PartitionDown', advice: 'ask' }), true],
  ])('says whether somebody has to do something about %s', (_, observation, isStuck) => {
    expect(waitingOf(observation, undefined)).toMatchObject({ isStuck })
  })

  it('has nothing to say of a job that runs, nor of one that just waits', () => {
    expect(waitingOf(seen({ state: 'running', rawState: 'RUNNING', reason: 'None' }), undefined)).toBeUndefined()
    expect(waitingOf(seen({}), undefined)).toBeUndefined()
    expect(waitingOf(undefined, undefined)).toBeUndefined()
  })

  it('says of a job that was let go that it just waits', () => {
    const held = waitingOf(seen({ state: 'held', reason: 'JobHeldUser' }), undefined)
    expect(waitingOf(seen({}), held)).toEqual({ words: 'PENDING', isStuck: false, advice: undefined })
  })
})

function stateOf(events: readonly RunJournalEvent[]): RunState {
  const state = new RunState((definition) => spaceFromDefinition<WorkItem>(definition))
  events.forEach((event, index) => {
    state.fold({ ...event, seq: index + 1, at: 1000 + index })
  })
  return state
}

describe('stuckJobs', () => {
  const { definition } = withRepetitions(sweep({ x: [1, 2, 3, 4, 5] }), 1)
  const campaign: CampaignEvent = { type: 'campaign', runId: 'r', name: 'c', revision: 1, definition, fingerprint: {}, site: 'near' }
  const jobs = [0, 1, 2, 3, 4].map((key) => [key, 1] as const)
  const submitted = jobs.map(([key, attempt]) => [key, attempt, `7_${key}`] as const)
  const begun: RunJournalEvent[] = [campaign, { type: 'intents', jobs }, { type: 'submitted', jobs: submitted }]
  const held = { type: 'waiting', words: 'PENDING JobHeldUser', stuck: true, advice: 'let it go', jobs: jobs.slice(0, 4) } as const

  it('are folded by what is to be done about them, with the first few of them', () => {
    const other = { type: 'waiting', words: 'PENDING JobHeldAdmin', stuck: true, jobs: jobs.slice(4) } as const
    expect(stuckJobs(stateOf([...begun, held, other]))).toEqual([
      {
        site: 'near',
        words: 'PENDING JobHeldUser',
        advice: 'let it go',
        jobs: 4,
        nativeIds: ['7_0', '7_1', '7_2'],
        item: expect.stringMatching(/^[0-9a-f]+\/r1$/),
        since: 1003,
      },
      expect.objectContaining({ words: 'PENDING JobHeldAdmin', jobs: 1, nativeIds: ['7_4'], since: 1004 }),
    ])
  })

  it('are one trouble where only the nodes differ', () => {
    const downs = jobs.map(
      (job, n) => ({ type: 'waiting', words: `PENDING node${n} down`, stuck: true, advice: 'ask', jobs: [job] }) as const,
    )
    expect(stuckJobs(stateOf([...begun, ...downs]))).toMatchObject([{ words: 'PENDING node0 down', jobs: 5 }])
  })

  it('are none of those that wait for their turn, run, or were let go', () => {
    expect(stuckJobs(stateOf([...begun, { type: 'waiting', words: 'PENDING Priority', jobs }]))).toEqual([])
    expect(stuckJobs(stateOf([...begun, held, { type: 'started', jobs: jobs.slice(0, 3) }]))).toMatchObject([{ jobs: 1 }])
    expect(stuckJobs(stateOf([...begun, held, { type: 'waiting', words: 'PENDING', jobs: jobs.slice(0, 4) }]))).toEqual([])
  })

  it('are those of stages, too', () => {
    const stage: RunJournalEvent[] = [
      { type: 'intents', jobs: [['prepare:compile', 1]], site: 'far' },
      { type: 'waiting', words: 'HELD', stuck: true, jobs: [['prepare:compile', 1]] },
    ]
    expect(stuckJobs(stateOf([campaign, ...stage]))).toMatchObject([{ site: 'far', item: 'prepare:compile', nativeIds: [] }])
  })
})

describe('StuckNews', () => {
  const group = (words: string, jobs = 1): StuckJobs => ({ site: 'near', words, jobs, nativeIds: [], item: 'x/r1', since: 0 })
  const minutes = (count: number) => count * 60_000
  /** What is told, by minute. */
  const told = (seenAt: readonly (readonly [minute: number, ...groups: StuckJobs[]])[]) => {
    const news = new StuckNews()
    return seenAt.map(([minute, ...groups]) => news.take(groups, minutes(minute)).map(({ words, jobs }) => `${jobs} ${words}`))
  }

  it('tells of each trouble once, however long it lasts', () => {
    const [a, b] = [group('a'), group('b')]
    expect(
      told([
        [0, a],
        [1, a],
        [2, a, b],
        [90, b, a],
      ]),
    ).toEqual([['1 a'], [], ['1 b'], []])
  })

  it('tells of it again when it has come back, though not of one that comes and goes', () => {
    const a = group('a')
    expect(told([[0, a], [1], [2, a], [3], [4, a], [11, a], [12, a]])).toEqual([['1 a'], [], [], [], [], ['1 a'], []])
  })

  it('tells of it again when many more jobs are in it', () => {
    expect(
      told([
        [0, group('a', 2)],
        [20, group('a', 19)],
        [21, group('a', 20)],
        [22, group('a', 300)],
      ]),
    ).toEqual([['2 a'], [], ['20 a'], []])
  })

  it('keeps the same trouble at two sites apart', () => {
    expect(told([[0, group('a'), { ...group('a'), site: 'far' }]])).toEqual([['1 a', '1 a']])
  })
})
