import { deepStrictEqual, match, notStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import { makeJob, newTag, runsOf, submit, waitUntilEnded } from '../steps.js'
import type { SchedulerCase } from '../types.js'

export const submitCases: readonly SchedulerCase[] = [
  {
    id: 'submit-handle',
    title: 'a submitted job has a handle with our tag and the scheduler’s id',
    why: 'An empty id, or the first word of whatever was printed, is the id of no job.',
    async run(world) {
      const job = await makeJob(world, 'true')
      const [handle] = await submit(world, job)
      strictEqual(handle?.tag, job.tag)
      strictEqual(handle.scheduler, world.scheduler.name)
      match(handle.nativeId, /\d/)
      await waitUntilEnded(world, [handle])
    },
  },
  {
    id: 'submit-order',
    title: 'several jobs give one outcome each, in their order, and different ids',
    why: 'Outcomes in another order give every job the result of another combination.',
    async run(world) {
      const jobs = await Promise.all([0, 1, 2, 3, 4].map((n) => makeJob(world, `exit ${n}`)))
      const handles = await submit(world, ...jobs)
      deepStrictEqual(
        handles.map(({ tag }) => tag),
        jobs.map(({ tag }) => tag),
      )
      strictEqual(new Set(handles.map(({ nativeId }) => nativeId)).size, jobs.length)
      await waitUntilEnded(world, handles)
      for (const [n, job] of jobs.entries()) strictEqual((await world.scheduler.exitRecord(job))?.exitCode, n)
    },
  },
  {
    id: 'submit-nothing',
    title: 'no jobs give no outcomes',
    why: 'A submission of nothing must not reach a scheduler that makes an error, or an empty job, of it.',
    async run({ scheduler }) {
      deepStrictEqual(await scheduler.submit([]), [])
    },
  },
  {
    id: 'submit-invalid',
    title: 'a job that can never run is an outcome with code and message, and its neighbours are taken',
    why: 'One bad combination must fail alone, with the reason, and not take a batch with it.',
    async run(world) {
      const good = await Promise.all([makeJob(world, 'true'), makeJob(world, 'true')])
      const bad = { ...(await makeJob(world, 'true')), script: 'true' }
      const outcomes = await world.scheduler.submit([good[0], bad, good[1]])
      strictEqual(outcomes.length, 3)
      const [first, refused, last] = outcomes
      strictEqual(refused?.outcome, 'invalid')
      strictEqual(refused.tag, bad.tag)
      match(refused.code, /^E_[A-Z_]+$/)
      ok(refused.message.length > 0)
      strictEqual(first?.outcome, 'submitted')
      strictEqual(last?.outcome, 'submitted')
      deepStrictEqual([first.handle.tag, last.handle.tag], [good[0].tag, good[1].tag])
      await waitUntilEnded(world, [first.handle, last.handle])
    },
  },
  {
    id: 'submit-bad-tag',
    title: 'a tag that could be read as something else is refused',
    why: 'A tag goes into a job’s name, a comment and a query: a space or a quote in it would hide the job from us.',
    async run(world) {
      for (const tag of ['', 'two words', 'a;b', '$(x)', 'ü', 'line\nend']) {
        const [outcome] = await world.scheduler.submit([{ ...(await makeJob(world, 'true')), tag }])
        strictEqual(outcome?.outcome, 'invalid', `the tag ${JSON.stringify(tag)} was taken`)
      }
    },
  },
  {
    id: 'submit-hostile-name',
    title: 'a job’s name is data: quotes, line ends and directives in it do nothing',
    why: 'Names are made from parameter values, and end up beside directives that a scheduler obeys.',
    async run(world) {
      const name = 'a "b" \'c\' $(touch pwned) `touch pwned`; touch pwned\n#SBATCH --hold\n#OAR -h\ntouch pwned\n'
      const job = await makeJob(world, 'pwd >/dev/null; echo ran >ledger', { name })
      const handles = await submit(world, job)
      await waitUntilEnded(world, handles)
      strictEqual(await runsOf(world, job), 1)
      strictEqual(await world.lab.readFile(join(job.directory, 'pwned')), undefined)
    },
  },
  {
    id: 'submit-aborted',
    title: 'a submission whose signal is aborted before it begins sends nothing',
    why: 'Whoever gave up must not find jobs later that nobody follows.',
    async run(world) {
      const job = await makeJob(world, 'true')
      await rejects(async () => world.scheduler.submit([job], { signal: AbortSignal.abort() }))
      strictEqual((await world.scheduler.find([job])).size, 0)
    },
  },
  {
    id: 'submit-many',
    title: 'two hundred jobs in one call run once each',
    why: 'A batch that is cut in pieces must not lose or repeat the piece at the seam.',
    async run(world) {
      const jobs = await Promise.all(Array.from({ length: 200 }, () => makeJob(world, 'echo ran >>ledger')))
      const handles = await submit(world, ...jobs)
      await waitUntilEnded(world, handles)
      for (const job of jobs) strictEqual(await runsOf(world, job), 1, `job ${job.tag} did not run once`)
    },
  },
  {
    id: 'find-tag',
    title: 'a job is found by its tag while it waits or runs, and when it has ended',
    why: 'After an uncertain submission the tag is the only way to know whether the job exists.',
    async run(world) {
      const job = await makeJob(world, 'exit 3')
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      deepStrictEqual((await world.scheduler.find([job])).get(job.tag), handle)
      await waitUntilEnded(world, [handle])
      deepStrictEqual((await world.scheduler.find([job])).get(job.tag), handle)
    },
  },
  {
    id: 'find-exact',
    title: 'a tag that is only the beginning of another is not found',
    why: 'Attempt 1 must not be taken for attempt 10.',
    async run(world) {
      const stem = newTag()
      const job = { ...(await makeJob(world, 'true')), tag: `${stem}0` }
      const handles = await submit(world, job)
      const found = await world.scheduler.find([stem, job.tag, `${job.tag}0`].map((tag) => ({ ...job, tag })))
      deepStrictEqual([...found.keys()], [job.tag])
      notStrictEqual(found.get(job.tag), undefined)
      await waitUntilEnded(world, handles)
    },
  },
]
