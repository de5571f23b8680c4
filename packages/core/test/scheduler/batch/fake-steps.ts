import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { JobHandle, JobObservation, JobSpec } from '../../../src/model/job.js'
import type { Scheduler } from '../../../src/ports/scheduler.js'
import { type FakeQueue, makeFakeQueue } from './fake-queue.js'

let made = 0
const open: FakeQueue[] = []
afterEach(async () => {
  for (const queue of open.splice(0)) await queue[Symbol.asyncDispose]()
})

/** A queue of its own for one test, ended with it. */
export function fakeQueue(...defaults: Parameters<typeof makeFakeQueue>): FakeQueue {
  const queue = makeFakeQueue(...defaults)
  open.push(queue)
  return queue
}

/** A job of one run below the queue's folder, with its directory. */
export function makeSpec(queue: FakeQueue, lines: string, fields: Partial<JobSpec> = {}): JobSpec {
  made += 1
  const tag = fields.tag ?? `t-${process.pid}-${made}`
  const runDirectory = fields.runDirectory ?? join(queue.base, 'the run')
  const directory = fields.directory ?? join(runDirectory, 'jobs', tag)
  if (fields.directory === undefined) mkdirSync(directory, { recursive: true })
  return { name: 'test', script: `#!/bin/sh\n${lines}\n`, resources: {}, ...fields, tag, directory, runDirectory }
}

/** Submits jobs that must be taken. */
export async function submitAll(scheduler: Scheduler, jobs: readonly JobSpec[]): Promise<readonly JobHandle[]> {
  return (await scheduler.submit(jobs)).map((one) => {
    if (one.outcome !== 'submitted') throw new Error(`not taken: ${JSON.stringify(one)}`)
    return one.handle
  })
}

/** Observes whenever something may have changed, until all are as wanted. */
export async function observeUntil(
  scheduler: Scheduler,
  handles: readonly JobHandle[],
  reached: (observation: JobObservation) => boolean,
): Promise<readonly JobObservation[]> {
  const signal = AbortSignal.timeout(30_000)
  for (;;) {
    const seen = await scheduler.observe(handles)
    if (seen.every(reached)) return seen
    if (signal.aborted) throw new Error(`not reached: ${JSON.stringify(seen.find((one) => !reached(one)))}`)
    await scheduler.changed?.({ signal })
  }
}
