import { describe, expect, it } from 'vitest'
import { conclude, describeExit, REFUSED_EXIT_CODE } from '../../src/engine/conclude.js'
import type { ExitRecord, JobObservation } from '../../src/model/job.js'
import { REFUSED_EXIT_CODE as WRAPPER_REFUSES } from '../../src/scheduler/job-wrapper.js'

const handle = { scheduler: 'test', nativeId: '1', tag: 't' }
const exit = (fields: Partial<ExitRecord> = {}): ExitRecord => ({
  version: 1,
  tag: 't',
  exitCode: 0,
  reason: 'exited',
  startedAt: 1,
  endedAt: 2,
  host: 'h',
  ...fields,
})
const seen = (state: JobObservation['state'], fields: Partial<JobObservation> = {}): JobObservation => ({
  handle,
  state,
  rawState: state.toUpperCase(),
  ...fields,
})

describe('conclude with an exit record', () => {
  it.each([
    ['exit code 0', exit(), seen('ended', { end: 'completed' }), 'succeeded'],
    ['exit code 0 while the queue still shows it', exit(), seen('running'), 'succeeded'],
    ['exit code 0 although the scheduler says out of memory', exit(), seen('ended', { end: 'out-of-memory' }), 'succeeded'],
    ['exit code 0 although accounting says otherwise', exit(), seen('ended', { end: 'failed', exitCode: 1 }), 'succeeded'],
    ['exit code 3', exit({ exitCode: 3 }), seen('ended', { end: 'failed' }), 'failed'],
    ['exit code 137 with out of memory', exit({ exitCode: 137 }), seen('ended', { end: 'out-of-memory' }), 'out-of-memory'],
    ['told to end at the walltime', exit({ exitCode: 143, reason: 'timeout' }), seen('ended'), 'timed-out'],
    ['canceled', exit({ exitCode: 143, reason: 'canceled' }), seen('ended', { end: 'canceled' }), 'canceled'],
    ['preempted for good', exit({ exitCode: 143, reason: 'canceled' }), seen('ended', { end: 'preempted' }), 'killed'],
    ['told to end, and nobody says why', exit({ exitCode: 143, reason: 'canceled' }), seen('ended'), 'killed'],
    ['a script that could not start', exit({ exitCode: 127, reason: 'not-started' }), seen('ended'), 'failed'],
    ['no answer of the scheduler', exit(), undefined, 'succeeded'],
  ])('%s', (_title, record, observation, outcome) => {
    expect(conclude({ exit: record, observation, silentMs: 0, graceMs: 1000 })).toMatchObject({ outcome, proof: 'exit-record' })
  })

  it('waits when a job that was told to end is queued again', () => {
    const record = exit({ exitCode: 143, reason: 'canceled' })
    expect(conclude({ exit: record, observation: seen('pending'), silentMs: 0, graceMs: 1000 })).toBeUndefined()
    expect(conclude({ exit: record, observation: seen('running'), silentMs: 0, graceMs: 1000 })).toBeUndefined()
  })
})

describe('conclude without an exit record', () => {
  it('calls a job lost whose script never began, with the words of the scheduler, once the grace is over', () => {
    const observation = seen('ended', { rawState: 'FAILED', reason: 'NonZeroExitCode, exit code 1', neverBegan: true })
    expect(conclude({ exit: undefined, observation, silentMs: 999, graceMs: 1000 })).toBeUndefined()
    expect(conclude({ exit: undefined, observation, silentMs: 1000, graceMs: 1000 })).toEqual({
      outcome: 'lost',
      proof: 'absence',
      detail: 'the scheduler says FAILED, NonZeroExitCode, exit code 1; its script never began',
    })
  })

  it.each([
    ['pending', seen('pending')],
    ['running', seen('running')],
    ['a state word that is not known', seen('unknown')],
    ['held', seen('held')],
    ['never asked', undefined],
  ])('says nothing about a job that is %s, however long', (_title, observation) => {
    expect(conclude({ exit: undefined, observation, silentMs: 1e9, graceMs: 1000 })).toBeUndefined()
  })

  it.each([
    ['not visible', seen('not-visible')],
    ['ended with an exit code', seen('ended', { end: 'completed', exitCode: 0 })],
    ['ended at its walltime', seen('ended', { end: 'timed-out' })],
  ])('waits for the record of a job that is %s until the grace is over', (_title, observation) => {
    expect(conclude({ exit: undefined, observation, silentMs: 999, graceMs: 1000 })).toBeUndefined()
    expect(conclude({ exit: undefined, observation, silentMs: 1000, graceMs: 1000 })).toBeDefined()
  })

  it.each([
    ['not visible', seen('not-visible'), 'lost', 'absence'],
    ['completed by the queue alone', seen('ended', { end: 'completed' }), 'lost', 'absence'],
    ['exit code 0 by accounting', seen('ended', { end: 'completed', exitCode: 0 }), 'succeeded', 'accounting'],
    ['exit code 1 by accounting', seen('ended', { exitCode: 1 }), 'failed', 'accounting'],
    ['a signal and the word for a failure', seen('ended', { end: 'failed', signal: 'SIGKILL' }), 'killed', 'queue'],
    ['a signal by accounting', seen('ended', { exitCode: 0, signal: 'SIGKILL' }), 'killed', 'accounting'],
    ['walltime', seen('ended', { end: 'timed-out' }), 'timed-out', 'queue'],
    ['node failure', seen('ended', { end: 'node-failed' }), 'killed', 'queue'],
    ['preemption', seen('ended', { end: 'preempted' }), 'killed', 'queue'],
  ])('after the grace, %s', (_title, observation, outcome, proof) => {
    expect(conclude({ exit: undefined, observation, silentMs: 1000, graceMs: 1000 })).toMatchObject({ outcome, proof })
  })

  it.each([
    ['out of memory', seen('ended', { end: 'out-of-memory', signal: '125' }), true],
    ['its exit code', seen('ended', { end: 'failed', exitCode: 3 }), true],
    ['its signal', seen('ended', { end: 'failed', signal: 'SIGKILL' }), true],
    ['a failure without a code', seen('ended', { end: 'failed' }), false],
    ['that it did well', seen('ended', { end: 'completed', exitCode: 0 }), false],
    ['that its node failed, so that it may come back', seen('ended', { end: 'node-failed' }), false],
    ['that it found another start at work', seen('ended', { end: 'failed', exitCode: 111 }), false],
  ])('of a grace of ten minutes, one is enough for a record that is late: the scheduler says %s', (_title, observation, isEnough) => {
    const after = (silentMs: number) => conclude({ exit: undefined, observation, silentMs, graceMs: 600_000 })
    expect(after(59_999)).toBeUndefined()
    expect(after(60_000) !== undefined).toBe(isEnough)
    expect(after(600_000)).toBeDefined()
  })

  it.each([
    ['a dependency failed', seen('ended', { end: 'upstream-failed' }), 'upstream-failed'],
    ['it was canceled before it started', seen('ended', { end: 'canceled' }), 'canceled'],
  ])('needs no grace when it never ran: %s', (_title, observation, outcome) => {
    expect(conclude({ exit: undefined, observation, silentMs: 0, graceMs: 1000 })).toMatchObject({ outcome })
  })
})

describe('what schedulers say about ends', () => {
  const told = (observation: JobObservation, record?: ExitRecord, silentMs = 0) =>
    conclude({ exit: record, observation, silentMs, graceMs: 1000 })

  it('is no proof when the wrapper found its directory held by another start: that one may have ended well', () => {
    const refused = seen('ended', { end: 'failed', exitCode: REFUSED_EXIT_CODE, rawState: 'FAILED' })
    expect(told(refused, undefined, 999)).toBeUndefined()
    expect(told(refused, undefined, 1000)).toMatchObject({ outcome: 'lost', detail: expect.stringContaining('another start') })
    expect(told(refused, exit({ exitCode: 0 }))).toMatchObject({ outcome: 'succeeded' })
    expect(REFUSED_EXIT_CODE).toBe(WRAPPER_REFUSES)
  })

  it('counts as canceled in the queue when the cancel is all the start that it had', () => {
    const times = { end: 'canceled', startedAt: 5000, endedAt: 5000 } as const
    expect(told(seen('ended', times))).toMatchObject({ outcome: 'canceled', proof: 'queue' })
    expect(told(seen('ended', { ...times, host: 'n1' }))).toBeUndefined()
    expect(told(seen('ended', { ...times, endedAt: 6000 }))).toBeUndefined()
  })

  it('tells a refusal in its own words', () => {
    const refused = seen('ended', { end: 'refused', rawState: 'PENDING', reason: 'PartitionTimeLimit: more than the partition allows' })
    expect(told(refused)).toMatchObject({ outcome: 'not-submitted', detail: expect.stringContaining('PartitionTimeLimit') })
  })

  it.each([
    ['canceled', 'canceled'],
    ['preempted', 'killed'],
    ['node-failed', 'killed'],
    ['failed', 'failed'],
  ] as const)('explains a script that ended by a signal: %s', (end, outcome) => {
    expect(told(seen('ended', { end, rawState: 'X' }), exit({ exitCode: 143 }))).toMatchObject({ outcome, exitCode: 143 })
  })

  it('names the start that a record is of', () => {
    expect(told(seen('ended'), exit({ exitCode: 0, start: 3 }))?.detail).toBe('exit code 0 at start 3')
    expect(told(seen('ended'), exit({ exitCode: 0, start: 1 }))?.detail).toBe('exit code 0')
  })
})

describe('describeExit', () => {
  it.each([
    [1, 'exit code 1'],
    [128, 'exit code 128'],
    [137, 'exit code 137 (SIGKILL)'],
    [159, 'exit code 159 (signal 31)'],
  ])('writes %j', (code, text) => expect(describeExit(code)).toBe(text))
})
