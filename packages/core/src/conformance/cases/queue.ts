import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import { makeJob, newTag, observeOne, patiently, pause, recordOf, runsOf, submit, waitFor, waitForFile, waitUntilEnded } from '../steps.js'
import type { SchedulerCase } from '../types.js'

const UNTIL_STOPPED = 'echo up >up; until [ -e stop ]; do sleep 0.05 2>/dev/null || sleep 1; done'
/** Between the grace of a wrapper that was given none (10 s) and the least that one has (1 s). */
const SOON_MS = 8_000

/** What queues that are asked by commands are known to get wrong, or to have got wrong by those who ask. */
export const queueCases: readonly SchedulerCase[] = [
  {
    id: 'submit-chatter',
    title: 'whatever else is said around the answer to a submission, the id is that of the job',
    needs: ['chatter'],
    why: 'Site wrappers, log-in texts and plug-ins print lines of their own: the first number, or the first word, is the id of no job or of a stranger’s.',
    async run(world) {
      const end = await world.lab.chatter?.()
      const job = await makeJob(world, 'exit 3')
      const handles = await submit(world, job).finally(end)
      deepStrictEqual((await world.scheduler.find([job])).get(job.tag), handles[0])
      const [observation] = await waitUntilEnded(world, handles)
      strictEqual(observation?.handle.tag, job.tag)
      strictEqual((await recordOf(world, job)).exitCode, 3)
    },
  },
  {
    id: 'submit-twice',
    title: 'a job that is submitted again under its tag is the same job',
    why: 'Whoever is not sure that a job was taken asks again: a second one would fight with the first over its files.',
    async run(world) {
      const job = await makeJob(world, 'echo ran >>ledger')
      const [first] = await submit(world, job)
      const [second] = await submit(world, job)
      deepStrictEqual(second, first)
      ok(first !== undefined)
      await waitUntilEnded(world, [first])
      strictEqual(await runsOf(world, job), 1)
    },
  },
  {
    id: 'fault-accepted',
    title: 'a submission that was accepted and said to have failed is uncertain, is found by its tag, and is not made twice',
    needs: ['acceptUnsaid'],
    why: 'Time-outs and lost answers come after the job is in the queue: taken for a refusal, each of them makes a twin.',
    async run(world) {
      const job = await makeJob(world, 'echo ran >>ledger')
      const end = await world.lab.acceptUnsaid?.()
      const [outcome] = await world.scheduler.submit([job]).finally(end)
      strictEqual(outcome?.outcome, 'uncertain', JSON.stringify(outcome))
      strictEqual(outcome.tag, job.tag)
      const handle = (await patiently(world, () => world.scheduler.find([job]))).get(job.tag)
      ok(handle !== undefined, 'the job was accepted, and is not found by its tag')
      await world.scheduler.submit([job])
      await waitUntilEnded(world, [handle])
      strictEqual(await runsOf(world, job), 1)
    },
  },
  {
    id: 'fault-accepted-together',
    title: 'jobs that were accepted together and said to have failed are found one by one, also by another program, and run once',
    needs: ['acceptUnsaid', 'reconnect'],
    why: 'Equal jobs share one submission: what is found of it must be the right element for each, or every job gets the result of another.',
    async run(world) {
      const jobs = await Promise.all([3, 4, 5].map((code) => makeJob(world, `echo ran >>ledger; exit ${code}`)))
      const end = await world.lab.acceptUnsaid?.()
      const outcomes = await world.scheduler.submit(jobs).finally(end)
      // What follows an unclear answer may be kept back instead.
      const sent = jobs.filter((_job, index) => outcomes[index]?.outcome === 'uncertain')
      ok(sent.length > 0, JSON.stringify(outcomes))
      await using other = await world.lab.reconnect?.()
      ok(other !== undefined)
      const found = await patiently(world, () => other.find(jobs))
      deepStrictEqual(new Set(found.keys()), new Set(sent.map(({ tag }) => tag)))
      const handles = [...found.values()]
      strictEqual(new Set(handles.map(({ nativeId }) => nativeId)).size, handles.length)
      await waitUntilEnded({ ...world, scheduler: other }, handles)
      for (const [index, job] of jobs.entries()) {
        strictEqual(await runsOf(world, job), sent.includes(job) ? 1 : 0)
        if (sent.includes(job)) strictEqual((await other.exitRecord(job))?.exitCode, index + 3)
      }
    },
  },
  {
    id: 'observe-strange-state',
    title: 'a state whose word is not known is unknown, keeps its word, and ends nothing',
    needs: ['disguise'],
    why: 'New releases bring new states: a tool that crashes at one, or takes it for an end, loses the job.',
    async run(world) {
      const job = await makeJob(world, UNTIL_STOPPED)
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      await waitForFile(world, job, 'up')
      const end = await world.lab.disguise?.(handle, 'LEVITATING')
      try {
        const [seen] = await waitFor(world, [handle], 'seen in its new state', ({ rawState }) => rawState === 'LEVITATING')
        deepStrictEqual([seen?.state, seen?.end, seen?.exitCode], ['unknown', undefined, undefined])
      } finally {
        await end?.()
      }
      await waitFor(world, [handle], 'running', ({ state }) => state === 'running')
      await world.scheduler.cancel([handle])
      await waitUntilEnded(world, [handle])
    },
  },
  {
    id: 'observe-killed',
    title: 'a job that was killed without a word has not ended well, and its code is not made smaller',
    declared: 'accounting',
    needs: ['killJob'],
    why: 'Without an exit record the accounting has the word, and some take 128 from every code above it: a kill becomes a 9, or a success.',
    async run(world) {
      const job = await makeJob(world, UNTIL_STOPPED)
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      await waitForFile(world, job, 'up')
      await waitFor(world, [handle], 'running', ({ state }) => state === 'running')
      await world.lab.killJob?.(handle)
      const [observation] = await waitUntilEnded(world, [handle])
      strictEqual(await world.scheduler.exitRecord(job), undefined)
      ok(observation?.end !== undefined && observation.end !== 'completed', JSON.stringify(observation))
      ok(
        observation.signal !== undefined || observation.exitCode === undefined || observation.exitCode === 137,
        JSON.stringify(observation),
      )
    },
  },
  {
    id: 'cancel-one',
    title: 'of jobs that were submitted together one is cancelled alone',
    why: 'Jobs that are equal share an array: a number that is off by one ends a neighbour.',
    async run(world) {
      const jobs = await Promise.all([0, 1, 2].map(() => makeJob(world, UNTIL_STOPPED)))
      const handles = await submit(world, ...jobs)
      const [first, middle, last] = handles
      ok(first !== undefined && middle !== undefined && last !== undefined)
      for (const job of jobs) await waitForFile(world, job, 'up')
      await world.scheduler.cancel([middle])
      await waitUntilEnded(world, [middle])
      const records = await Promise.all(jobs.map((job) => world.scheduler.exitRecord(job)))
      deepStrictEqual(
        records.map((record) => record?.reason),
        [undefined, 'canceled', undefined],
      )
      const others = await waitFor(world, [first, last], 'running', ({ state }) => state === 'running' || state === 'ended')
      deepStrictEqual(
        others.map(({ state }) => state),
        ['running', 'running'],
      )
      await world.scheduler.cancel([first, last])
      await waitUntilEnded(world, handles)
    },
  },
  {
    id: 'cancel-silent',
    title: 'a cancel that is not answered is an error, not a cancel that was taken',
    needs: ['freeze'],
    why: 'A kill that fails in silence leaves a job that burns an allocation, and a user who believes that it is gone.',
    async run(world) {
      const job = await makeJob(world, UNTIL_STOPPED)
      const handles = await submit(world, job)
      await waitForFile(world, job, 'up')
      const thaw = await world.lab.freeze?.()
      try {
        await rejects(async () => world.scheduler.cancel(handles), { code: 'E_SCHEDULER_SILENT' })
      } finally {
        await thaw?.()
      }
      await patiently(world, () => world.scheduler.cancel(handles))
      await patiently(world, () => waitUntilEnded(world, handles))
    },
  },
  {
    id: 'cancel-no-grace',
    title: 'a job with a grace of 0 is not given the usual one',
    why: 'An option of 0 that is ignored is the default, which is not what was asked for.',
    async run(world) {
      const lines = `trap 'date +%s >>told' TERM\necho up >up; while :; do sleep 1 & wait $!; done`
      const job = await makeJob(world, lines, { graceMs: 0 })
      const handles = await submit(world, job)
      await waitForFile(world, job, 'up')
      const began = performance.now()
      await world.scheduler.cancel(handles)
      await waitUntilEnded(world, handles)
      // On the clock of the job where it can be: a busy scheduler takes its time to tell it, and to tell of its end.
      const told = Number.parseInt((await world.lab.readFile(join(job.directory, 'told'))) ?? '', 10)
      const endedAt = (await world.scheduler.exitRecord(job))?.endedAt
      const tookMs = told > 0 && endedAt !== undefined ? (endedAt - told) * 1000 : performance.now() - began
      ok(tookMs < SOON_MS, `it ended after ${Math.round(tookMs)} ms`)
    },
  },
  {
    id: 'depend-forgotten',
    title: 'a job that waits for the good end of one that failed and is forgotten does not run',
    declared: 'dependencies',
    needs: ['purge'],
    why: 'Some queues count a dependency on a job that they do not know as met: the second phase works on nothing.',
    async run(world) {
      const [on] = await submit(world, await makeJob(world, 'exit 3'))
      ok(on !== undefined)
      await waitUntilEnded(world, [on])
      await world.lab.purge?.()
      const child = await makeJob(world, 'echo ran >>ledger', { dependencies: [{ kind: 'afterok', on }] })
      const [outcome] = await world.scheduler.submit([child])
      if (outcome?.outcome === 'submitted') strictEqual((await waitUntilEnded(world, [outcome.handle]))[0]?.end, 'upstream-failed')
      else ok(outcome?.outcome === 'invalid' || outcome?.outcome === 'rejected', JSON.stringify(outcome))
      strictEqual(await runsOf(world, child), 0)
    },
  },
  {
    id: 'run-requeued',
    title: 'a job that is put back into the queue while it runs runs again from its beginning, and its end is that of the last start',
    declared: 'hold',
    why: 'Preemption and node failures are ordinary: the job that is started again is the same one, and has not ended before.',
    async run(world) {
      const job = await makeJob(world, `echo "$CAHIER_START" >>ledger\n[ "$CAHIER_START" -gt 1 ] || { ${UNTIL_STOPPED}; }\nexit 4`)
      const [handle] = await submit(world, job)
      ok(handle !== undefined)
      await waitForFile(world, job, 'up')
      await waitFor(world, [handle], 'running', ({ state }) => state === 'running')
      await world.scheduler.order?.('requeue', [handle.nativeId])
      const deadline = performance.now() + (world.lab.patienceMs ?? 30_000)
      let seen = await observeOne(world, handle)
      while (seen.state !== 'ended') {
        ok(performance.now() < deadline, `not ended in time: ${JSON.stringify(seen)}`)
        await pause(50)
        seen = await observeOne(world, handle)
      }
      strictEqual(await world.lab.readFile(join(job.directory, 'ledger')), '1\n2\n')
      const { exitCode, reason, start } = await recordOf(world, job)
      deepStrictEqual([exitCode, reason, start], [4, 'exited', 2])
    },
  },
  {
    id: 'run-unmarked',
    title: 'a job is not taken for a part of the command that submitted it',
    why: 'A submission that does not answer in time is killed with all that carries its mark: the job that it has just submitted, too.',
    async run(world) {
      const job = await makeJob(world, 'printf %s "${CAHIER_PROC-none}" >mark')
      await waitUntilEnded(world, await submit(world, job))
      strictEqual(await world.lab.readFile(join(job.directory, 'mark')), 'none')
    },
  },
  {
    id: 'find-given-up',
    title: 'a job that was given up does nothing when it comes after all, and one that has begun is told apart',
    why: 'A submission may hang for longer than it is looked for: its job would run beside the one that took its place.',
    async run({ scheduler, ...world }) {
      // Where no submission can be late there is nothing to give up.
      if (scheduler.giveUp === undefined) return
      const late = await makeJob({ scheduler, ...world }, 'echo ran >>ledger')
      const known = await makeJob({ scheduler, ...world }, 'echo ran >>ledger')
      await waitUntilEnded({ scheduler, ...world }, await submit({ scheduler, ...world }, known))
      deepStrictEqual([...(await scheduler.giveUp([late, known]))], [known.tag])
      await waitUntilEnded({ scheduler, ...world }, await submit({ scheduler, ...world }, late))
      strictEqual(await world.lab.readFile(join(late.directory, 'ledger')), undefined)
    },
  },
  {
    id: 'find-stranger',
    title: 'a job of another tag in the same directory is not found for ours',
    why: 'A directory that is used again holds what an earlier attempt left: its job is not the one that was asked for.',
    async run(world) {
      const job = await makeJob(world, 'true')
      const handles = await submit(world, job)
      const other = newTag()
      strictEqual((await world.scheduler.find([{ directory: job.directory, tag: other }])).get(other), undefined)
      await waitUntilEnded(world, handles)
      strictEqual((await observeOne(world, handles[0] ?? { scheduler: '', nativeId: '', tag: '' })).state, 'ended')
    },
  },
]
