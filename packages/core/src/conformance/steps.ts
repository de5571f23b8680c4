import { ok, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import type { ExitRecord, JobHandle, JobObservation, JobSpec } from '../model/job.js'
import type { SchedulerWorld } from './types.js'

const PATIENCE_MS = 30_000
const POLL_MS = 100
const PROGRESS = { pending: 0, held: 0, running: 1, ending: 2, ended: 3 } as const

let made = 0

/** A tag that no other test has. */
export function newTag(): string {
  made += 1
  return `conf-${process.pid.toString(36)}-${Date.now().toString(36)}-${made}`
}

/** A job that runs these lines of shell. */
export async function makeJob({ lab }: SchedulerWorld, lines: string, fields: Partial<JobSpec> = {}): Promise<JobSpec> {
  const { resources, ...site } = lab.job ?? {}
  return {
    tag: newTag(),
    name: 'conformance',
    script: `#!/bin/sh\n${lines}\n`,
    directory: fields.directory ?? (await lab.makeDirectory()),
    ...site,
    ...fields,
    resources: { ...resources, ...fields.resources },
  }
}

/** Submits jobs that must be taken. */
export async function submit({ scheduler }: SchedulerWorld, ...jobs: JobSpec[]): Promise<JobHandle[]> {
  const outcomes = await scheduler.submit(jobs)
  return outcomes.map((outcome, index) => {
    strictEqual(outcome.outcome, 'submitted', `job ${index} was not taken: ${JSON.stringify(outcome)}`)
    return outcome.handle
  })
}

export async function observeOne({ scheduler }: SchedulerWorld, handle: JobHandle): Promise<JobObservation> {
  const [observation] = await scheduler.observe([handle])
  ok(observation !== undefined, 'observe returned nothing for one handle')
  return observation
}

/** Asks again while the scheduler is silent, as everybody who uses one does. */
export async function patiently<T>({ lab }: SchedulerWorld, ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + (lab.patienceMs ?? PATIENCE_MS)
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'E_SCHEDULER_SILENT' || performance.now() >= deadline) throw error
      await pause(POLL_MS)
    }
  }
}

/** Waits until `reached` says so of every job. States that go backwards fail on the way; silence does not, as long as it ends. */
export async function waitFor(
  world: SchedulerWorld,
  handles: readonly JobHandle[],
  what: string,
  reached: (observation: JobObservation) => boolean,
): Promise<readonly JobObservation[]> {
  const { scheduler, lab } = world
  const deadline = performance.now() + (lab.patienceMs ?? PATIENCE_MS)
  const furthest = new Map<string, JobObservation>()
  for (;;) {
    const observations = await patiently(world, async () => scheduler.observe(handles))
    strictEqual(observations.length, handles.length, 'observe must return one observation for each handle')
    for (const observation of observations) checkProgress(furthest, observation)
    if (observations.every(reached)) return observations
    ok(performance.now() < deadline, `not ${what} in time: ${JSON.stringify(observations.find((one) => !reached(one)))}`)
    await pause(scheduler.supports.push ? 20 : POLL_MS)
  }
}

function checkProgress(furthest: Map<string, JobObservation>, observation: JobObservation): void {
  const { state, handle } = observation
  const before = furthest.get(handle.nativeId)
  if (state === 'unknown' || state === 'not-visible') return
  if (before !== undefined) {
    const was = PROGRESS[before.state as keyof typeof PROGRESS]
    ok(PROGRESS[state] >= was, `job ${handle.nativeId} went backwards, from ${before.state} to ${state}`)
  }
  furthest.set(handle.nativeId, observation)
}

export function waitUntilEnded(world: SchedulerWorld, handles: readonly JobHandle[]): Promise<readonly JobObservation[]> {
  return waitFor(world, handles, 'ended', ({ state }) => state === 'ended')
}

/** Waits until a job has written this file, which also says that it runs. */
export async function waitForFile({ lab }: SchedulerWorld, job: JobSpec, name: string): Promise<string> {
  const deadline = performance.now() + (lab.patienceMs ?? PATIENCE_MS)
  for (;;) {
    const text = await lab.readFile(join(job.directory, name))
    if (text !== undefined && text !== '') return text
    ok(performance.now() < deadline, `job ${job.tag} did not write ${name} in time`)
    await pause(20)
  }
}

export async function recordOf({ scheduler }: SchedulerWorld, job: JobSpec): Promise<ExitRecord> {
  const record = await scheduler.exitRecord(job)
  ok(record !== undefined, `job ${job.tag} has ended and left no exit record`)
  strictEqual(record.tag, job.tag)
  return record
}

/** How often a job that appends a line to `ledger` has run. */
export async function runsOf({ lab }: SchedulerWorld, job: JobSpec): Promise<number> {
  const text = await lab.readFile(join(job.directory, 'ledger'))
  return text === undefined ? 0 : text.split('\n').length - 1
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
