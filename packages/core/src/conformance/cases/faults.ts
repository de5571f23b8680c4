import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { makeJob, observeOne, patiently, recordOf, runsOf, submit, waitForFile, waitUntilEnded } from '../steps.js'
import type { SchedulerCase } from '../types.js'

function isSilent(error: { code?: string }): boolean {
  strictEqual(error.code, 'E_SCHEDULER_SILENT')
  return true
}

export const faultCases: readonly SchedulerCase[] = [
  {
    id: 'fault-silent',
    title: 'a question that is not answered is an error, and afterwards every job is as it was',
    needs: ['freeze'],
    why: 'A failed poll taken for failed jobs ends a campaign because a server was restarted.',
    async run(world) {
      const job = await makeJob(world, 'echo up >up; until [ -e stop ]; do sleep 0.05 2>/dev/null || sleep 1; done')
      const handles = await submit(world, job)
      await waitForFile(world, job, 'up')
      const thaw = await world.lab.freeze?.()
      try {
        await rejects(async () => world.scheduler.observe(handles), isSilent)
        await rejects(async () => world.scheduler.find([job]), isSilent)
      } finally {
        await thaw?.()
      }
      // Whoever was silent is not asked again at once.
      const [after] = await patiently(world, () => world.scheduler.observe(handles))
      strictEqual(after?.state, 'running')
      await world.scheduler.cancel(handles)
      await waitUntilEnded(world, handles)
    },
  },
  {
    id: 'fault-uncertain',
    title: 'a submission that is not answered is uncertain, and its tag settles it later',
    needs: ['freeze'],
    why: 'A submission that timed out may have been taken: whoever submits again on suspicion runs the job twice.',
    async run(world) {
      const job = await makeJob(world, 'echo ran >>ledger')
      await world.scheduler.find([job])
      const thaw = await world.lab.freeze?.()
      try {
        const [outcome] = await world.scheduler.submit([job])
        strictEqual(outcome?.outcome, 'uncertain', JSON.stringify(outcome))
        strictEqual(outcome.tag, job.tag)
      } finally {
        await thaw?.()
      }
      const handle = (await patiently(world, () => world.scheduler.find([job]))).get(job.tag)
      if (handle === undefined) {
        strictEqual(await runsOf(world, job), 0)
        return
      }
      await waitUntilEnded(world, [handle])
      strictEqual(await runsOf(world, job), 1)
    },
  },
  {
    id: 'fault-killed',
    title: 'jobs go on when the scheduler’s program is killed, and are known when it is back',
    needs: ['killScheduler'],
    why: 'A restart of the scheduler is a matter of minutes, a job one of days.',
    async run(world) {
      const long = await makeJob(world, 'echo up >up; until [ -e stop ]; do sleep 0.05 2>/dev/null || sleep 1; done; exit 4')
      const short = await makeJob(world, 'echo ran >>ledger')
      const stopper = await makeJob(world, `echo ran >>ledger`)
      const [running, ended] = await submit(world, long, short)
      ok(running !== undefined && ended !== undefined)
      await waitForFile(world, long, 'up')
      await waitUntilEnded(world, [ended])
      await world.lab.killScheduler?.()
      strictEqual((await observeOne(world, running)).state, 'running')
      const [after] = await submit(world, stopper)
      ok(after !== undefined)
      await waitUntilEnded(world, [after])
      deepStrictEqual((await world.scheduler.find([long])).get(long.tag), running)
      await world.scheduler.cancel([running])
      await waitUntilEnded(world, [running])
      for (const job of [short, stopper]) strictEqual(await runsOf(world, job), 1)
      strictEqual((await recordOf(world, long)).reason, 'canceled')
    },
  },
  {
    id: 'fault-purged',
    title: 'a job that the scheduler has forgotten is not visible, or it ended as its record says, which is still there',
    needs: ['purge'],
    why: 'Schedulers forget ended jobs after minutes: what became of them is in the record, never in their absence.',
    async run(world) {
      const job = await makeJob(world, 'exit 5')
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      await waitUntilEnded(world, [handle])
      await world.lab.purge?.()
      const { state, end, exitCode } = await observeOne(world, handle)
      // Whoever remembers an end, or looks it up, may say so: as it was.
      if (state === 'ended') deepStrictEqual([end ?? 'failed', exitCode ?? 5], ['failed', 5])
      else deepStrictEqual([state, end, exitCode], ['not-visible', undefined, undefined])
      const found = (await world.scheduler.find([job])).get(job.tag)
      if (found !== undefined) deepStrictEqual(found, handle)
      strictEqual((await recordOf(world, job)).exitCode, 5)
      const [outcome] = await world.scheduler.cancel([handle])
      deepStrictEqual(outcome, { handle, outcome: state === 'ended' ? 'ended' : 'not-known' })
    },
  },
  {
    id: 'fault-detached',
    title: 'jobs go on when the program that submitted them leaves, and another one finds them',
    needs: ['reconnect'],
    why: 'A laptop is closed, a login node is restarted; the jobs and their results must survive that.',
    async run(world) {
      await using first = await world.lab.reconnect?.()
      ok(first !== undefined)
      const job = await makeJob(world, 'echo up >up; sleep 0.3 2>/dev/null || sleep 1; echo ran >>ledger; exit 2')
      const [handle] = await submit({ ...world, scheduler: first }, job)
      ok(handle !== undefined)
      await waitForFile(world, job, 'up')
      await first[Symbol.asyncDispose]()
      deepStrictEqual((await world.scheduler.find([job])).get(job.tag), handle)
      await waitUntilEnded(world, [handle])
      strictEqual((await recordOf(world, job)).exitCode, 2)
      strictEqual(await runsOf(world, job), 1)
    },
  },
]
