import { describe, expect, it } from 'vitest'
import type { DependencyKind, JobObservation } from '../../../src/model/job.js'
import { resolveParents } from '../../../src/scheduler/batch/parents.js'

const seen = (fields: Partial<JobObservation>, nativeId = '7'): JobObservation => ({
  handle: { scheduler: 's', nativeId, tag: 'p' },
  state: 'ended',
  rawState: '',
  ...fields,
})
const good = seen({ end: 'completed', exitCode: 0 })
const bad = seen({ end: 'failed', exitCode: 3 })
const canceled = seen({ end: 'canceled' })
const bare = seen({})
const running = seen({ state: 'running' })
const waiting = seen({ state: 'pending' })
const held = seen({ state: 'held' })
const gone = seen({ state: 'not-visible' })
const strange = seen({ state: 'unknown' })

function resolve(kind: DependencyKind, observation: JobObservation | undefined, nativeId = '7') {
  const on = { scheduler: 's', nativeId, tag: 'p' }
  const result = resolveParents([{ kind, on }], () => observation)
  return 'dependencies' in result ? (result.dependencies.length === 0 ? 'met' : result.dependencies) : `${result.outcome} ${result.code}`
}

const UPSTREAM = 'invalid E_UPSTREAM_FAILED'
const LATER = 'rejected E_SUBMIT_REJECTED'
const sent = (kind: DependencyKind, id = '7') => [{ kind, ids: [id] }]

describe('dependencies at the moment of a submission', () => {
  it.each<[DependencyKind, string, JobObservation | undefined, unknown]>([
    ['afterok', 'ended well', good, 'met'],
    ['afterok', 'failed', bad, UPSTREAM],
    ['afterok', 'was canceled', canceled, UPSTREAM],
    ['afterok', 'ended nobody knows how', bare, LATER],
    ['afterok', 'runs', running, sent('afterok')],
    ['afterok', 'waits', waiting, sent('afterok')],
    ['afterok', 'is held', held, sent('afterok')],
    ['afterok', 'is not in the queue', gone, LATER],
    ['afterok', 'is in an unknown state', strange, LATER],
    ['afterok', 'was never seen', undefined, LATER],
    ['aftercorr', 'runs', running, sent('afterok')],
    ['aftercorr', 'failed', bad, UPSTREAM],
    ['afternotok', 'ended well', good, UPSTREAM],
    ['afternotok', 'failed', bad, 'met'],
    ['afternotok', 'was canceled', canceled, 'met'],
    ['afterany', 'failed', bad, 'met'],
    ['afterany', 'ended nobody knows how', bare, 'met'],
    ['afterany', 'is not in the queue', gone, LATER],
    ['after', 'runs', running, 'met'],
    ['after', 'waits', waiting, sent('after')],
    ['after', 'was canceled', canceled, 'met'],
  ])('%s on a job that %s', (kind, _how, observation, expected) => {
    expect(resolve(kind, observation)).toEqual(expected)
  })

  it('waits for a member of a pack by itself: the scheduler knows the pack only', () => {
    expect(resolve('afterok', waiting, '7_1/2')).toBe(LATER)
    expect(resolve('afterok', good, '7_1/2')).toBe('met')
    expect(resolve('afterok', running, '7_1')).toEqual(sent('afterok', '7_1'))
  })

  it('groups what is sent by kind, each id once', () => {
    const on = (nativeId: string) => ({ scheduler: 's', nativeId, tag: nativeId })
    const dependencies = [
      { kind: 'afterok', on: on('1') },
      { kind: 'afterany', on: on('2') },
      { kind: 'afterok', on: on('3') },
      { kind: 'afterok', on: on('1') },
    ] as const
    expect(resolveParents(dependencies, () => running)).toEqual({
      dependencies: [
        { kind: 'afterok', ids: ['1', '3'] },
        { kind: 'afterany', ids: ['2'] },
      ],
    })
  })

  it('says which job failed and how', () => {
    const on = { scheduler: 's', nativeId: '7', tag: 'p' }
    const result = resolveParents([{ kind: 'afterok', on }], () => bad)
    expect(result).toMatchObject({ message: 'job 7, on which it depends (afterok), has ended: failed, exit code 3' })
  })
})
