import { describe, expect, it } from 'vitest'
import type { ExitRecord } from '../../../src/model/job.js'
import type { JobRow } from '../../../src/ports/scheduler-dialect.js'
import { endsByRecord, observationOf, type Sight } from '../../../src/scheduler/batch/observation.js'
import { isOurs, makeSnapshot, rowOf } from '../../../src/scheduler/batch/snapshot.js'
import { type TrackedJob, TrackedJobs } from '../../../src/scheduler/batch/tracked-jobs.js'
import { ManualClock } from '../../../src/testing/index.js'

function tracked(nativeId = '7', fields: Partial<TrackedJob> = {}): TrackedJob {
  return Object.assign(new TrackedJobs(new ManualClock()).track({ scheduler: 's', nativeId, tag: 't' }), fields)
}
const record = (fields: Partial<ExitRecord> = {}): ExitRecord => ({
  version: 1,
  tag: 't',
  exitCode: 0,
  reason: 'exited',
  startedAt: 1,
  endedAt: 2,
  host: 'n1',
  ...fields,
})
const row = (fields: Partial<JobRow> = {}): JobRow => ({ nativeId: '7', state: 'running', rawState: 'RUNNING', ...fields })
const sight = (fields: Partial<Sight> = {}): Sight => ({
  row: undefined,
  isCovered: true,
  accountingSilent: undefined,
  isBehind: false,
  ...fields,
})
const see = (job: TrackedJob, fields: Partial<Sight> = {}): unknown[] => {
  const { state, end, exitCode } = observationOf(job, sight(fields))
  return [state, end, exitCode]
}
const ENDED = row({ state: 'ended', rawState: 'COMPLETED', end: 'completed', exitCode: 0 })
const FAILED = row({ state: 'ended', rawState: 'FAILED', end: 'failed' })

describe('what is seen of a job', () => {
  it('believes the record of a script that came to its own end, whatever the queue shows', () => {
    const job = tracked('7', { record: record({ exitCode: 3 }) })
    expect(see(job, { row: row() })).toEqual(['ended', 'failed', 3])
    expect(see(job)).toEqual(['ended', 'failed', 3])
    expect(see(job, { isCovered: false })).toEqual(['ended', 'failed', 3])
    expect(see(tracked('7', { record: record({ exitCode: 127, reason: 'not-started' }) }), { row: row() })).toEqual([
      'ended',
      'failed',
      127,
    ])
  })

  it('waits for the scheduler where a script was killed: it may have been its memory', () => {
    const job = tracked('7', { record: record({ exitCode: 137 }) })
    expect(endsByRecord(job)).toBe(false)
    expect(see(job, { row: row() })).toEqual(['running', undefined, undefined])
    expect(see(job, { row: row({ state: 'ended', rawState: 'OUT_OF_MEMORY', end: 'out-of-memory' }) })).toEqual([
      'ended',
      'out-of-memory',
      137,
    ])
  })

  it.each(['canceled', 'timeout'] as const)('leaves the word to the queue where the record says %s: the job may be put back', (reason) => {
    const job = tracked('7', { record: record({ exitCode: 143, reason }) })
    expect(see(job, { row: row({ state: 'pending', rawState: 'PENDING' }) })[0]).toBe('pending')
    expect(see(job)[0]).toBe('unknown')
    expect(see(Object.assign(job, { absences: 2 }))[0]).toBe('ended')
  })

  it('calls a job canceled only when that was asked for, or the scheduler says it', () => {
    const told = { record: record({ exitCode: 143, reason: 'canceled' }), absences: 2 } as const
    expect(see(tracked('7', told))).toEqual(['ended', undefined, 143])
    expect(see(tracked('7', { ...told, cancelAskedAt: 5 }))).toEqual(['ended', 'canceled', 143])
    expect(see(tracked('7', told), { row: row({ state: 'ended', rawState: 'CANCELLED', end: 'canceled' }) })[1]).toBe('canceled')
  })

  it('calls a job that was submitted after the answer waiting, and one before it not visible', () => {
    expect(see(tracked(), { isCovered: false })).toEqual(['pending', undefined, undefined])
    expect(see(tracked())).toEqual(['not-visible', undefined, undefined])
    expect(see(tracked(), { accountingSilent: 'down' })[0]).toBe('unknown')
  })

  it('keeps an end that was told when the queue forgets the job, and drops it when the job is back', () => {
    const job = tracked()
    job.told = observationOf(job, sight({ row: ENDED }))
    expect(see(job)).toEqual(['ended', 'completed', 0])
    expect(see(job, { row: row({ state: 'pending', rawState: 'PENDING' }) })[0]).toBe('pending')
  })

  it('adds what a closer look says to an end that is not explained', () => {
    const job = tracked('7', { closer: row({ state: 'ended', rawState: 'FAILED', end: 'failed', exitCode: 9 }) })
    expect(see(job, { row: FAILED })).toEqual(['ended', 'failed', 9])
    expect(see(job)).toEqual(['ended', 'failed', 9])
  })

  it('reports what could never start as what it is, whatever the queue calls its end', () => {
    const job = tracked('7', { never: { end: 'upstream-failed', message: 'why' } })
    expect(see(job, { row: row({ state: 'pending', rawState: 'PENDING' }) })[0]).toBe('pending')
    expect(observationOf(job, sight({ row: row({ state: 'ended', rawState: 'CANCELLED', end: 'canceled' }) }))).toMatchObject({
      state: 'ended',
      end: 'upstream-failed',
      reason: 'why',
      rawState: 'CANCELLED',
    })
    expect(see(job)).toEqual(['ended', 'upstream-failed', undefined])
  })

  it('takes the refusal of a second start for no proof of anything', () => {
    expect(see(tracked(), { row: { ...FAILED, exitCode: 111 } })).toEqual(['ended', undefined, undefined])
    expect(see(tracked('7', { record: record({ exitCode: 111 }) }), { row: { ...FAILED, exitCode: 111 } })).toEqual([
      'ended',
      'failed',
      111,
    ])
  })

  it.each([
    ['failed', { ...FAILED, exitCode: 1 }, 'exit code 1'],
    ['failed by a signal', { ...FAILED, signal: 'SIGKILL', reason: 'Lost' }, 'Lost, SIGKILL'],
    ['completed', ENDED, 'exit code 0'],
    ['ended somehow', row({ state: 'ended', rawState: 'GONE' }), undefined],
  ])('gives a job whose script never began no end of the script: %s', (_what, line, reason) => {
    const seen = observationOf(tracked('7', { directory: '/d', hasBegun: false }), sight({ row: line }))
    expect(seen).toEqual({ handle: seen.handle, state: 'ended', rawState: line.rawState, neverBegan: true, ...(reason && { reason }) })
    const begun = observationOf(tracked('7', { directory: '/d', hasBegun: true }), sight({ row: line }))
    expect(begun).toMatchObject(JSON.parse(JSON.stringify({ end: line.end, exitCode: line.exitCode, signal: line.signal })))
    expect(begun.neverBegan).toBeUndefined()
    expect(see(tracked('7', { directory: '/d' }), { row: line })).toEqual(['ended', undefined, undefined])
  })

  it.each(['canceled', 'timed-out', 'out-of-memory', 'node-failed', 'preempted'] as const)('leaves %s what it is, begun or not', (end) => {
    const line = row({ state: 'ended', rawState: 'X', end, startedAt: 5 })
    for (const hasBegun of [true, false, undefined]) {
      const seen = observationOf(tracked('7', { directory: '/d', hasBegun }), sight({ row: line }))
      expect(seen).toMatchObject({ end, startedAt: 5 })
      expect(seen.neverBegan).toBeUndefined()
    }
  })

  it('does not give the end of a pack to its members, unless all of it was ended from outside', () => {
    const member = tracked('7/2')
    expect(see(member, { row: ENDED })).toEqual(['ended', undefined, undefined])
    expect(see(member, { row: { ...FAILED, exitCode: 3 } })).toEqual(['ended', undefined, undefined])
    const timedOut = observationOf(member, sight({ row: row({ state: 'ended', rawState: 'TIMEOUT', end: 'timed-out', startedAt: 5 }) }))
    expect([timedOut.end, timedOut.startedAt]).toEqual(['timed-out', undefined])
    expect(see(member, { row: row(), isBehind: true })[0]).toBe('pending')
  })
})

describe('looking up a job in an answer', () => {
  const answer = makeSnapshot(
    [
      row({ nativeId: '7', tag: 't' }),
      row({ nativeId: '8_3', tag: 'g' }),
      row({
        nativeId: '8',
        tag: 'g',
        elements: [
          [4, 10],
          [20, 20],
        ],
        state: 'pending',
        rawState: 'PENDING',
      }),
    ],
    1,
    0,
  )

  it.each([
    ['7', undefined, 'running'],
    ['8_3', 'g', 'running'],
    ['8_4', 'g', 'pending'],
    ['8_10', 'g', 'pending'],
    ['8_20', 'g', 'pending'],
    ['8_11', 'g', undefined],
    ['8_2', 'g', undefined],
    ['8', undefined, undefined],
    ['9', undefined, undefined],
    ['8_3/1', 'g', 'running'],
    ['8_5/1', 'g', 'pending'],
    // Another submission has this number now.
    ['8_3', 'other', undefined],
    ['7', 'other', undefined],
    // Not known with which submission it came.
    ['8_3', undefined, 'running'],
  ])('finds %s of submission %s as %s', (nativeId, group, state) => {
    expect(rowOf(answer, tracked(nativeId, { group }))?.state).toBe(state)
  })

  it('believes nothing of an element before the submissions were read with which it may have come, then lines of any of these', () => {
    const job = tracked('8_3', { directory: '/d', wasIdentified: false })
    expect(rowOf(answer, job)).toBeUndefined()
    expect(see(job)).toEqual(['unknown', undefined, undefined])
    job.wasIdentified = true
    job.groups = ['other', 'g']
    expect(rowOf(answer, job)?.state).toBe('running')
    job.groups = ['other', 'another']
    expect(rowOf(answer, job)).toBeUndefined()
  })

  it('believes a line without a tag', () => {
    expect(isOurs(tracked('7', { group: 'x' }), row())).toBe(true)
  })
})
