import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import { makeJob, newTag, observeOne, pause, runsOf, submit, waitForFile, waitUntilEnded } from '../steps.js'
import type { SchedulerCase } from '../types.js'

export const cancelCases: readonly SchedulerCase[] = [
  {
    id: 'cancel-running',
    title: 'a running job that is cancelled ends, is told so first, and its record says it',
    why: 'A kill that fails in silence leaves a job that burns an allocation.',
    async run(world) {
      const job = await makeJob(world, `trap 'echo asked >asked; exit 6' TERM\necho up >up; while :; do sleep 1 & wait $!; done`, {
        graceMs: 5_000,
      })
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      await waitForFile(world, job, 'up')
      deepStrictEqual(await world.scheduler.cancel([handle]), [{ handle, outcome: 'requested' }])
      const [observation] = await waitUntilEnded(world, [handle])
      strictEqual(await world.lab.readFile(join(job.directory, 'asked')), 'asked\n')
      const record = await world.scheduler.exitRecord(job)
      deepStrictEqual([record?.reason, record?.exitCode], ['canceled', 6])
      if (world.supports.accounting === true) strictEqual(observation?.end, 'canceled')
    },
  },
  {
    id: 'cancel-whole-tree',
    title: 'cancelling ends everything that the job has started',
    why: 'Grandchildren that survive go on writing into the results.',
    async run(world) {
      const job = await makeJob(
        world,
        `(trap '' TERM HUP; while :; do echo beat >>beats; sleep 0.05 2>/dev/null || sleep 1; done) &\necho up >up; sleep 600`,
        { graceMs: 1_000 },
      )
      const handles = await submit(world, job)
      await waitForFile(world, job, 'up')
      await waitForFile(world, job, 'beats')
      await world.scheduler.cancel(handles)
      await waitUntilEnded(world, handles)
      // It may be killed a moment after the job is over, never later.
      let before = -1
      for (let round = 0; round < 50; round += 1) {
        const beats = (await world.lab.readFile(join(job.directory, 'beats')))?.length ?? 0
        if (beats === before) return
        before = beats
        await pause(300)
      }
      throw new Error('a process of the cancelled job goes on')
    },
  },
  {
    id: 'cancel-waiting',
    title: 'a job that is cancelled while it waits never runs',
    needs: ['allCores'],
    why: 'A cancelled combination that runs later is a result that nobody asked for.',
    async run(world) {
      const cores = world.lab.allCores ?? 1
      const first = await makeJob(world, 'echo up >up; until [ -e stop ]; do sleep 0.05 2>/dev/null || sleep 1; done', {
        resources: { cores },
      })
      const second = await makeJob(world, 'echo ran >>ledger', { resources: { cores } })
      const handles = await submit(world, first, second)
      const [running, waiting] = handles
      ok(running !== undefined && waiting !== undefined)
      await waitForFile(world, first, 'up')
      ok(['pending', 'held'].includes((await observeOne(world, waiting)).state))
      await world.scheduler.cancel([waiting])
      await waitUntilEnded(world, [waiting])
      await world.scheduler.cancel([running])
      await waitUntilEnded(world, [running])
      strictEqual(await runsOf(world, second), 0)
    },
  },
  {
    id: 'cancel-ended',
    title: 'cancelling a job that has ended says so and changes nothing',
    why: 'A late cancel must not turn a success into something else.',
    async run(world) {
      const job = await makeJob(world, 'true')
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      const [before] = await waitUntilEnded(world, [handle])
      const [outcome] = await world.scheduler.cancel([handle])
      ok(outcome?.outcome === 'ended' || outcome?.outcome === 'not-known', JSON.stringify(outcome))
      deepStrictEqual(await observeOne(world, handle), before)
      strictEqual((await world.scheduler.exitRecord(job))?.reason, 'exited')
    },
  },
  {
    id: 'cancel-stranger',
    title: 'cancelling a job that the scheduler does not know is told, for that job alone',
    why: 'Tools that exit 0 for an unknown id let a job run on that was thought to be stopped.',
    async run(world) {
      const job = await makeJob(world, 'echo up >up; until [ -e stop ]; do sleep 0.05 2>/dev/null || sleep 1; done')
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      await waitForFile(world, job, 'up')
      const unknown = { ...handle, nativeId: '999999991', tag: newTag() }
      const outcomes = await world.scheduler.cancel([unknown, handle])
      deepStrictEqual(
        outcomes.map(({ outcome }) => outcome),
        ['not-known', 'requested'],
      )
      await waitUntilEnded(world, [handle])
    },
  },
]
