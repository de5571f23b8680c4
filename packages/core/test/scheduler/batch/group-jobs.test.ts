import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type GroupLimits, groupJobs, isSingle, jobsOf, splitGroup, submissionOf } from '../../../src/scheduler/batch/group-jobs.js'
import { readyJob } from './ready-jobs.js'

const limits = (size: number, longest?: number): GroupLimits => ({ maxArraySize: () => size, longestWalltimeMs: () => longest })
const tagsOf = (group: Parameters<typeof jobsOf>[0]): string[] => jobsOf(group).map(({ job }) => job.tag)

describe('grouping of jobs', () => {
  it('loses no job, repeats none, keeps their order, and obeys every limit', () => {
    const kind = fc.record({
      cores: fc.integer({ min: 1, max: 2 }),
      queue: fc.option(fc.constantFrom('a', 'b'), { nil: undefined }),
      pack: fc.integer({ min: 1, max: 4 }),
      walltimeMs: fc.option(fc.constantFrom(1_000, 60_000), { nil: undefined }),
    })
    fc.assert(
      fc.property(
        fc.array(kind, { maxLength: 60 }),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1_000, max: 200_000 }),
        (kinds, size, longest) => {
          const jobs = kinds.map(({ cores, queue, pack, walltimeMs }) =>
            readyJob({
              resources: { cores, ...(walltimeMs === undefined ? {} : { walltimeMs }) },
              ...(queue === undefined ? {} : { queue }),
              pack,
            }),
          )
          const groups = groupJobs(jobs, limits(size, longest))
          expect(groups.flatMap(tagsOf).sort()).toEqual(jobs.map(({ job }) => job.tag).sort())
          const order = new Map(jobs.map(({ job }, position) => [job.tag, position]))
          for (const group of groups) {
            const all = jobsOf(group)
            const [first] = all
            expect(group.elements.length).toBeLessThanOrEqual(size)
            for (const members of group.elements) {
              expect(members.length).toBeGreaterThan(0)
              expect(members.length).toBeLessThanOrEqual(first?.job.pack ?? 1)
            }
            for (const { job } of all) expect([job.resources, job.queue]).toEqual([first?.job.resources, first?.job.queue])
            const positions = tagsOf(group).map((tag) => order.get(tag) ?? -1)
            expect(positions).toEqual([...positions].sort((a, b) => a - b))
            const { resources, array } = submissionOf(group, 0)
            const walltime = first?.job.resources.walltimeMs
            if (walltime !== undefined) {
              const members = Math.max(...group.elements.map((one) => one.length))
              expect(resources.walltimeMs).toBe(walltime * members)
              if (members > 1) expect(resources.walltimeMs).toBeLessThanOrEqual(longest)
            }
            expect(array?.size).toBe(group.elements.length === 1 ? undefined : group.elements.length)
          }
        },
      ),
    )
  })

  it.each([
    ['queues', readyJob({ queue: 'other' })],
    ['accounts', readyJob({ account: 'other' })],
    ['graces', readyJob({ graceMs: 1 })],
    ['runs', readyJob({ runDirectory: '/other' })],
    ['cores', readyJob({ resources: { cores: 2 } })],
    ['options', readyJob({}, { options: { qos: 'high' } })],
    ['directive lines', readyJob({}, { user: { lines: ['#X -n'], resources: {}, ignored: [] } })],
    ['dependencies', readyJob({}, { dependencies: [{ kind: 'afterok', ids: ['1'] }] })],
  ])('keeps jobs of different %s apart', (_what, other) => {
    expect(groupJobs([readyJob(), other, readyJob()], limits(100)).map((group) => jobsOf(group).length)).toEqual([2, 1])
  })

  it('does not mind the order in which options were written', () => {
    const groups = groupJobs([readyJob({}, { options: { a: 1, b: 2 } }), readyJob({}, { options: { b: 2, a: 1 } })], limits(100))
    expect(groups).toHaveLength(1)
  })

  it('gives a job that is alone its own tag, and several of them one of their own, always the same', () => {
    const jobs = [readyJob(), readyJob()]
    const [pair] = groupJobs(jobs, limits(100))
    const [single] = groupJobs(jobs.slice(0, 1), limits(100))
    if (pair === undefined || single === undefined) throw new Error('no groups')
    expect(isSingle(single)).toBe(true)
    expect(submissionOf(single, 0).tag).toBe(jobs[0]?.job.tag)
    const { tag, scriptFile } = submissionOf(pair, 0)
    expect(tag).toMatch(/^[A-Za-z0-9_-]{1,128}$/)
    expect(scriptFile).toBe(`/run/submissions/${tag}.sh`)
    expect(submissionOf(pair, 0).tag).toBe(tag)
    expect(submissionOf(pair, 1).tag).not.toBe(tag)
  })

  it('cuts a group into smaller ones without losing any', () => {
    const [group] = groupJobs(
      Array.from({ length: 7 }, () => readyJob()),
      limits(100),
    )
    if (group === undefined) throw new Error('no group')
    const parts = splitGroup(group, 3)
    expect(parts.map(({ elements }) => elements.length)).toEqual([3, 3, 1])
    expect(parts.flatMap(tagsOf)).toEqual(tagsOf(group))
  })
})
