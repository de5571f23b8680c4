import { describe, expect, it } from 'vitest'
import type { JobDependency, JobSpec } from '../../../src/model/job.js'
import { type Job, JobTable } from '../../../src/scheduler/local/job-table.js'

function job(id: string, fields: Partial<Job> = {}, dependencies: readonly JobDependency[] = []): Job {
  const spec: JobSpec = { tag: `tag-${id}`, name: id, script: '#!/bin/sh\n', directory: '/', resources: {}, dependencies }
  return { id, spec, base: '', cores: 1, memoryMiB: 0, walltimeMs: Number.POSITIVE_INFINITY, state: 'pending', waitsFor: 0, ...fields }
}
const on = (id: string, kind: JobDependency['kind'] = 'afterok'): JobDependency => ({
  kind,
  on: { scheduler: 'local', nativeId: id, tag: `tag-${id}` },
})
const ok = { end: 'completed', exitCode: 0, endedAt: 5 } as const
const bad = { end: 'failed', exitCode: 1, endedAt: 5 } as const

describe('JobTable', () => {
  it('starts no more than it has cores for, and more when some are free again', () => {
    const table = new JobTable({ cores: 2, memoryMiB: 10 })
    const jobs = ['1', '2', '3'].map((id) => job(id))
    for (const one of jobs) table.add(one)
    expect(table.startNext(1)).toEqual(jobs.slice(0, 2))
    expect(table.startNext(1)).toEqual([])
    table.end(jobs[0] as Job, ok)
    expect(table.startNext(1)).toEqual([jobs[2]])
    expect(table.live).toBe(2)
  })

  it('waits for dependencies, and ends what can never start with all that hangs on it', () => {
    const table = new JobTable({ cores: 9, memoryMiB: 10 })
    const [first, second, third, other] = [
      job('1'),
      job('2', {}, [on('1')]),
      job('3', {}, [on('2')]),
      job('4', {}, [on('1', 'afternotok')]),
    ]
    for (const one of [first, second, third, other]) table.add(one)
    expect(table.startNext(1)).toEqual([first])
    expect(table.observe('2')).toMatchObject({ s: 'pending', reason: 'Dependency' })
    expect(table.end(first, bad).map(({ id }) => id)).toEqual(['1', '2', '3'])
    expect(third.end?.end).toBe('upstream-failed')
    expect(table.startNext(1)).toEqual([other])
  })

  it('takes the bare number of an array for all its jobs', () => {
    const table = new JobTable({ cores: 9, memoryMiB: 10 })
    const members = ['7_0', '7_1'].map((id) => job(id))
    for (const one of members) table.add(one)
    const after = job('8', {}, [on('7')])
    table.add(after)
    expect(table.select('7')).toEqual(members)
    table.startNext(1)
    table.end(members[0] as Job, ok)
    expect(table.observe('7')).toMatchObject({ s: 'running' })
    expect(table.startNext(1)).toEqual([])
    table.end(members[1] as Job, ok)
    expect(table.observe('7')).toMatchObject({ s: 'ended' })
    expect(table.startNext(1)).toEqual([after])
  })

  it('knows a job by its id and tag together', () => {
    const table = new JobTable({ cores: 1, memoryMiB: 10 })
    table.add(job('1'))
    expect(table.select('1', 'tag-1')).toHaveLength(1)
    expect(table.select('1', 'tag-2')).toHaveLength(0)
    expect(table.byTag('tag-1')?.id).toBe('1')
  })

  it('tells what changed since a number, and says when that is too long ago', () => {
    const table = new JobTable({ cores: 1, memoryMiB: 10 })
    const first = job('1')
    table.add(first)
    const since = table.seq
    expect([...(table.changedSince(since) ?? ['x'])]).toEqual([])
    table.startNext(1)
    table.end(first, ok)
    expect([...(table.changedSince(since) ?? [])]).toEqual(['1'])
    expect(table.changedSince(-1)).toBeUndefined()
    expect(table.changedSince(table.seq + 1)).toBeUndefined()
    for (let n = 2; n < 150_000; n += 1) table.add(job(String(n)))
    expect(table.changedSince(since)).toBeUndefined()
    expect(table.changedSince(table.seq - 10)?.size).toBe(10)
  })

  it('forgets what ended long ago, and the tag with it', () => {
    const table = new JobTable({ cores: 2, memoryMiB: 10 })
    const [old, young] = [job('1'), job('2')]
    table.add(old)
    table.add(young)
    table.startNext(1)
    table.end(old, { ...ok, endedAt: 10 })
    table.end(young, { ...ok, endedAt: 20 })
    expect(table.purge(15)).toBe(1)
    expect(table.observe('1')).toEqual({ i: '1', s: 'not-visible' })
    expect(table.byTag('tag-1')).toBeUndefined()
    expect(table.observe('2').s).toBe('ended')
  })

  it('starts nothing while more runs than a smaller capacity allows', () => {
    const table = new JobTable({ cores: 4, memoryMiB: 10 })
    const jobs = ['1', '2', '3', '4', '5'].map((id) => job(id))
    for (const one of jobs) table.add(one)
    table.startNext(1)
    table.resize({ cores: 2, memoryMiB: 10 })
    table.end(jobs[0] as Job, ok)
    table.end(jobs[1] as Job, ok)
    expect(table.startNext(1)).toEqual([])
    table.end(jobs[2] as Job, ok)
    expect(table.startNext(1)).toEqual([jobs[4]])
  })
})
