import { describe, expect, it } from 'vitest'
import { conclude, describeExit } from '../../src/engine/conclude.js'
import type { ExitRecord, JobObservation } from '../../src/model/job.js'

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
    ['a signal by accounting', seen('ended', { exitCode: 0, signal: 'SIGKILL' }), 'killed', 'accounting'],
    ['walltime', seen('ended', { end: 'timed-out' }), 'timed-out', 'queue'],
    ['node failure', seen('ended', { end: 'node-failed' }), 'killed', 'queue'],
    ['preemption', seen('ended', { end: 'preempted' }), 'killed', 'queue'],
  ])('after the grace, %s', (_title, observation, outcome, proof) => {
    expect(conclude({ exit: undefined, observation, silentMs: 1000, graceMs: 1000 })).toMatchObject({ outcome, proof })
  })

  it.each([
    ['a dependency failed', seen('ended', { end: 'upstream-failed' }), 'upstream-failed'],
    ['it was canceled before it started', seen('ended', { end: 'canceled' }), 'canceled'],
  ])('needs no grace when it never ran: %s', (_title, observation, outcome) => {
    expect(conclude({ exit: undefined, observation, silentMs: 0, graceMs: 1000 })).toMatchObject({ outcome })
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
