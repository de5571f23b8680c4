import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import type { JobHandle } from '../../model/job.js'
import { makeJob, newTag, observeOne, pause, recordOf, submit, waitFor, waitForFile, waitUntilEnded } from '../steps.js'
import type { SchedulerCase, SchedulerWorld } from '../types.js'

/** A job of this scheduler that never was. */
function stranger({ scheduler }: SchedulerWorld): JobHandle {
  return { scheduler: scheduler.name, nativeId: '999999991', tag: newTag() }
}

export const observeCases: readonly SchedulerCase[] = [
  {
    id: 'observe-order',
    title: 'observations come in the order of the handles, and no handle gives none',
    why: 'An observation that is given to another job ends the wrong one.',
    async run(world) {
      const jobs = await Promise.all([1, 2, 3].map((n) => makeJob(world, `exit ${n}`)))
      const handles = await submit(world, ...jobs)
      await waitUntilEnded(world, handles)
      const reversed = [...handles].reverse()
      deepStrictEqual(
        (await world.scheduler.observe(reversed)).map(({ handle }) => handle),
        reversed,
      )
      deepStrictEqual(await world.scheduler.observe([]), [])
    },
  },
  {
    id: 'observe-forward',
    title: 'states only go forward, from waiting over running to ended',
    why: 'A state that goes back starts what was concluded from it again.',
    async run(world) {
      const job = await makeJob(world, 'echo up >up; until [ -e stop ]; do sleep 0.05 2>/dev/null || sleep 1; done')
      const handles = await submit(world, job)
      await waitForFile(world, job, 'up')
      await waitFor(world, handles, 'running', ({ state }) => state === 'running')
      for (let round = 0; round < 10; round += 1) {
        strictEqual((await observeOne(world, handles[0] as JobHandle)).state, 'running')
        await pause(50)
      }
      await world.scheduler.cancel(handles)
      await waitUntilEnded(world, handles)
    },
  },
  {
    id: 'observe-stranger',
    title: 'a job that the scheduler does not know is not visible, and spoils nothing for the others',
    why: 'Absent from the queue is neither success nor failure, and one stale id must not hide the state of all the rest.',
    async run(world) {
      const job = await makeJob(world, 'exit 3')
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      await waitUntilEnded(world, [handle])
      const observations = await world.scheduler.observe([stranger(world), handle, stranger(world)])
      deepStrictEqual(
        observations.map(({ state }) => state),
        ['not-visible', 'ended', 'not-visible'],
      )
      const [alone] = await world.scheduler.observe([stranger(world)])
      strictEqual(alone?.state, 'not-visible')
      strictEqual(alone.end, undefined)
    },
  },
  {
    id: 'observe-own-tag',
    title: 'an id that belongs to a job with another tag is not taken for ours',
    why: 'Ids begin anew when a scheduler is set up again: an old handle then names a stranger’s job.',
    async run(world) {
      const job = await makeJob(world, 'true')
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      await waitUntilEnded(world, [handle])
      const other = { ...handle, tag: newTag() }
      const [observation] = await world.scheduler.observe([other])
      strictEqual(observation?.state, 'not-visible')
      strictEqual(observation.handle.tag, other.tag)
    },
  },
  {
    id: 'observe-accounting',
    title: 'what is declared as accounting tells the exit code and the kind of end',
    declared: 'accounting',
    why: 'Where a record is missing, accounting is the next proof.',
    async run(world) {
      const jobs = await Promise.all(['true', 'exit 9'].map((lines) => makeJob(world, lines)))
      const observations = await waitUntilEnded(world, await submit(world, ...jobs))
      deepStrictEqual(
        observations.map(({ exitCode, end }) => [exitCode, end]),
        [
          [0, 'completed'],
          [9, 'failed'],
        ],
      )
    },
  },
  {
    id: 'record-when-ended',
    title: 'when a job is seen as ended its exit record can be read',
    why: 'The record is the strongest proof: concluding without it where it exists is concluding from less.',
    async run(world) {
      const jobs = await Promise.all([0, 4].map((code) => makeJob(world, `exit ${code}`)))
      const handles = await submit(world, ...jobs)
      await waitUntilEnded(world, handles)
      for (const job of jobs) await recordOf(world, job)
    },
  },
  {
    id: 'record-own',
    title: 'a record that another job left in the directory is not this job’s',
    why: 'Results are bound to an attempt: an earlier one’s success must not end a later one.',
    async run(world) {
      const first = await makeJob(world, 'true')
      const handles = await submit(world, first)
      await waitUntilEnded(world, handles)
      strictEqual(await world.scheduler.exitRecord({ directory: first.directory, tag: newTag() }), undefined)
      strictEqual(await world.scheduler.exitRecord({ directory: await world.lab.makeDirectory(), tag: first.tag }), undefined)
    },
  },
  {
    id: 'push-changed',
    title: 'a change is told without asking',
    declared: 'push',
    why: 'What polls where it need not asks a site for more than is necessary.',
    async run(world) {
      const job = await makeJob(world, 'true')
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      const deadline = performance.now() + (world.lab.patienceMs ?? 30_000)
      for (;;) {
        const { state } = await observeOne(world, handle)
        if (state === 'ended') break
        ok(performance.now() < deadline, 'the end was not told')
        await world.scheduler.changed?.({ signal: AbortSignal.timeout(world.lab.patienceMs ?? 30_000) })
      }
    },
  },
  {
    id: 'push-quiet',
    title: 'waiting for a change can be given up',
    declared: 'push',
    why: 'A controller that is told to detach must not hang on a quiet queue.',
    async run(world) {
      await world.scheduler.observe([])
      await rejects(async () => {
        for (;;) {
          const signal = AbortSignal.timeout(200)
          await world.scheduler.changed?.({ signal })
          await world.scheduler.observe([])
        }
      })
    },
  },
  {
    id: 'push-undeclared',
    title: 'where changes are not told, waiting for one is refused',
    undeclared: 'push',
    why: 'A promise that never settles looks like a queue in which nothing happens.',
    async run({ scheduler }) {
      strictEqual(scheduler.supports.push, false)
      if (scheduler.changed === undefined) return
      await rejects(
        async () => scheduler.changed?.({ signal: AbortSignal.timeout(5_000) }),
        (error: { code?: string }) => error.code === 'E_NOT_SUPPORTED',
      )
    },
  },
  {
    id: 'supports-as-declared',
    title: 'the scheduler declares what its adapter declares',
    why: 'The engine believes the one, the documentation the other.',
    async run({ scheduler, supports }) {
      for (const key of ['arrays', 'dependencies', 'accounting', 'push'] as const)
        strictEqual(scheduler.supports[key], supports[key] ?? false)
    },
  },
]
