import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import type { DependencyKind, JobHandle, JobSpec } from '../../model/job.js'
import { shellQuote } from '../../util/shell-quote.js'
import { makeJob, runsOf, submit, waitUntilEnded } from '../steps.js'
import type { SchedulerCase, SchedulerWorld } from '../types.js'

/** Runs a second job after a first one, and says whether it ran and how it ended. */
async function chain(world: SchedulerWorld, first: string, kind: DependencyKind): Promise<{ ran: number; end: string | undefined }> {
  const parent = await makeJob(world, `sleep 0.2 2>/dev/null || sleep 1\n: >over\n${first}`)
  const [on] = await submit(world, parent)
  ok(on !== undefined)
  // The times in records may be whole seconds: the second job looks by itself whether the first one is over.
  const child = await makeJob(world, `[ -e ${shellQuote(join(parent.directory, 'over'))} ] || : >early\necho ran >>ledger`, {
    dependencies: [{ kind, on }],
  })
  const handle = await submitDependent(world, child)
  if (handle === undefined) {
    await waitUntilEnded(world, [on])
    return { ran: await runsOf(world, child), end: 'upstream-failed' }
  }
  const [, end] = await waitUntilEnded(world, [on, handle])
  strictEqual(await world.lab.readFile(join(child.directory, 'early')), undefined, 'the second job began before the first had ended')
  return { ran: await runsOf(world, child), end: end?.end }
}

/** Submits a job that waits for another; `undefined`: that one is known to have ended in a way that never lets it start. */
async function submitDependent({ scheduler }: SchedulerWorld, job: JobSpec): Promise<JobHandle | undefined> {
  const [outcome] = await scheduler.submit([job])
  if (outcome?.outcome === 'submitted') return outcome.handle
  deepStrictEqual([outcome?.outcome, outcome?.code], ['invalid', 'E_UPSTREAM_FAILED'], JSON.stringify(outcome))
  return undefined
}

const met: readonly (readonly [DependencyKind, string, string])[] = [
  ['afterok', 'true', 'succeeded'],
  ['afternotok', 'exit 3', 'failed'],
  ['afterany', 'true', 'succeeded'],
  ['afterany', 'exit 3', 'failed'],
]
const unmet: readonly (readonly [DependencyKind, string, string])[] = [
  ['afterok', 'exit 3', 'failed'],
  ['afternotok', 'true', 'succeeded'],
]

export const dependencyCases: readonly SchedulerCase[] = [
  ...met.map(
    ([kind, first, how]): SchedulerCase => ({
      id: `depend-${kind}-${how}`,
      title: `a job with ${kind} runs after one that ${how}`,
      declared: 'dependencies',
      why: 'A phase that begins early works on half of the results of the one before.',
      async run(world) {
        strictEqual((await chain(world, first, kind)).ran, 1)
      },
    }),
  ),
  ...unmet.map(
    ([kind, first, how]): SchedulerCase => ({
      id: `depend-${kind}-${how}-never`,
      title: `a job with ${kind} does not run when the one before ${how}, and ends as upstream-failed`,
      declared: 'dependencies',
      why: 'A dependency that can never be met leaves a job that waits for ever.',
      async run(world) {
        const { ran, end } = await chain(world, first, kind)
        strictEqual(ran, 0)
        strictEqual(end, 'upstream-failed')
      },
    }),
  ),
  {
    id: 'depend-cascade',
    title: 'what depends on a job that can never run ends too',
    declared: 'dependencies',
    why: 'A chain of phases must end with its first failure, not hang at its second link.',
    async run(world) {
      const first = await makeJob(world, 'sleep 0.2 2>/dev/null || sleep 1\nexit 1')
      const [a] = await submit(world, first)
      ok(a !== undefined)
      const b = await submitDependent(world, await makeJob(world, 'true', { dependencies: [{ kind: 'afterok', on: a }] }))
      const third = await makeJob(world, 'echo ran >>ledger', { dependencies: [{ kind: 'afterok', on: b ?? a }] })
      const c = await submitDependent(world, third)
      await waitUntilEnded(
        world,
        [a, b, c].filter((handle) => handle !== undefined),
      )
      strictEqual(await runsOf(world, third), 0)
    },
  },
  {
    id: 'depend-late',
    title: 'a dependency on a job that has already ended is judged by how it ended',
    declared: 'dependencies',
    why: 'The first phase is often over before the second one is submitted.',
    async run(world) {
      const [on] = await submit(world, await makeJob(world, 'true'))
      ok(on !== undefined)
      await waitUntilEnded(world, [on])
      const child = await makeJob(world, 'echo ran >>ledger', { dependencies: [{ kind: 'afterok', on }] })
      await waitUntilEnded(world, await submit(world, child))
      strictEqual(await runsOf(world, child), 1)
    },
  },
  {
    id: 'depend-undeclared',
    title: 'where dependencies are not declared, a job with one is refused as not supported',
    undeclared: 'dependencies',
    why: 'A dependency that is ignored runs the second phase beside the first.',
    async run(world) {
      const [on] = await submit(world, await makeJob(world, 'true'))
      ok(on !== undefined)
      const child = await makeJob(world, 'echo ran >>ledger', { dependencies: [{ kind: 'afterok', on }] })
      const [outcome] = await world.scheduler.submit([child])
      strictEqual(outcome?.outcome, 'invalid')
      strictEqual(outcome.code, 'E_NOT_SUPPORTED')
      await waitUntilEnded(world, [on])
      strictEqual(await runsOf(world, child), 0)
    },
  },
]
