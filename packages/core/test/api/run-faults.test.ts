import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CampaignOptions, defineCampaign } from '../../src/api/campaign.js'
import { openJournal } from '../../src/api/run/open-run.js'
import type { RunCampaignOptions } from '../../src/api/run/run-campaign.js'
import { readItems, readStatus, retryItems, runCampaign } from '../../src/api/runs.js'
import { SchedulerError } from '../../src/errors.js'
import { slugOf } from '../../src/ids.js'
import type { JobSpec } from '../../src/model/job.js'
import { MemoryScheduler, type PlayedJob } from '../../src/testing/memory-scheduler.js'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-faults-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const site = { name: 'test', scheduler: 'memory', options: {}, modules: [] }
const timing = { graceMs: 30, settleGraceMs: 30, pollMs: 2 }
const levelOf = (job: JobSpec): number => Number(job.environment?.['CAHIER_FACTOR_n'])
const isPrepare = (job: JobSpec): boolean => job.directory.includes('/prepare/')
const square = (job: JobSpec): PlayedJob => (isPrepare(job) ? {} : { stdout: `square=${levelOf(job) ** 2}\n` })
const squares = (more: Partial<CampaignOptions<{ n: number[] }>> = {}) =>
  defineCampaign({
    name: 'squares',
    factors: { n: [1, 2, 3, 4] },
    job: { command: ['expr', '{{ n }}'] },
    results: { square: { type: 'integer', positive: true } },
    collect: { square: { from: 'stdout', pattern: 'square=(\\S+)' } },
    ...more,
  } as CampaignOptions<{ n: number[] }>)
const directory = () => join(folder, 'run')
const run = (scheduler: MemoryScheduler, options: Partial<RunCampaignOptions> = {}) =>
  runCampaign({ campaign: squares(), directory: directory(), site, scheduler, timing, ...options })

/** Prepare stages run until jobs were submitted after them, as they do at real schedulers. */
function holdPrepares(scheduler: MemoryScheduler): void {
  const observe = scheduler.observe.bind(scheduler)
  scheduler.observe = async (handles) => {
    const isHeld = scheduler.asked.submit < 2
    const prepares = new Set(scheduler.entries.filter(({ job }) => isPrepare(job)).map(({ job }) => job.tag))
    const seen = await observe(isHeld ? handles.filter(({ tag }) => !prepares.has(tag)) : handles)
    return handles.map((handle) => seen.find((one) => one.handle === handle) ?? { handle, state: 'running', rawState: 'R' })
  }
}

/** Detaches as soon as all four jobs are with the scheduler, before one of them is looked at. */
async function detachWithJobsInFlight(scheduler: MemoryScheduler, options: Partial<RunCampaignOptions> = {}): Promise<void> {
  const stop = new AbortController()
  let jobs = 0
  await run(scheduler, {
    ...options,
    signal: stop.signal,
    onEvent: (event) => {
      if (event.type !== 'submitted' || ++jobs < 4) return
      scheduler.silent = true
      stop.abort()
    },
  })
  scheduler.silent = false
}

describe('a run that is continued', () => {
  it('finds its jobs again although the campaign has another name now', async () => {
    const scheduler = new MemoryScheduler({ play: square })
    await detachWithJobsInFlight(scheduler)
    const summary = await run(scheduler, { campaign: squares({ name: 'cubes' }) })
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(scheduler.entries).toHaveLength(4)
    expect((await readItems(directory()))[0]?.attempts.map(({ tag }) => tag)).toEqual([scheduler.entries[0]?.job.tag])
  })
})

describe('a run whose jobs are at a scheduler of another machine', () => {
  const intent = async (): Promise<void> => {
    await run(new MemoryScheduler(), { signal: AbortSignal.abort() })
    await using journal = await openJournal(directory())
    await journal.store.append([
      { type: 'opened', host: 'far-away', pid: 1, version: '1' },
      { type: 'intents', jobs: [[0, 1]] },
      { type: 'submitted', jobs: [[0, 1, '7']] },
    ])
  }

  it('is not continued from here: what cannot be seen from here may run there', async () => {
    await intent()
    const scheduler = new MemoryScheduler({ play: square, supports: { thisMachineOnly: true } })
    await expect(run(scheduler)).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT', message: expect.stringContaining('of far-away') })
    expect((await readStatus(directory())).counts).toMatchObject({ submitted: 1, todo: 3 })
    expect(scheduler.entries).toHaveLength(0)
  })

  it('is continued once they have left their exit records, or where the scheduler serves more than one machine', async () => {
    await intent()
    const scheduler = new MemoryScheduler({ play: square })
    expect(await run(scheduler)).toMatchObject({ outcome: 'incomplete', counts: { done: 3, failed: 1 } })
  })
})

describe('a controller that was overtaken', () => {
  it('writes nothing more once its successor has changed the campaign, even before that one drives', async () => {
    const scheduler = new MemoryScheduler({ play: square })
    const observe = scheduler.observe.bind(scheduler)
    scheduler.observe = async (handles) => {
      await using successor = await openJournal(directory())
      await successor.store.append([{ ...successor.state.campaign, type: 'campaign', revision: 2 }])
      return await observe(handles)
    }
    await expect(run(scheduler)).rejects.toMatchObject({ code: 'E_RUN_HELD' })
    expect((await readStatus(directory())).counts).toMatchObject({ submitted: 4, done: 0 })
  })
})

describe('an attempt whose directory was made and never noted', () => {
  it('does not count against the retry policy', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => (job.directory.endsWith('r1-a2') ? { exitCode: 1 } : square(job)) })
    for (const n of [1, 2, 3, 4]) {
      const item = { n }
      mkdirSync(join(directory(), 'combinations', slugOf(item), 'r1-a1'), { recursive: true })
    }
    mkdirSync(join(directory(), 'journal'), { recursive: true })
    const campaign = squares({ retry: { attempts: 2, on: ['failed'] } })
    expect(await run(scheduler, { campaign })).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
  })
})

describe('prepare stages', () => {
  const prepared = (more: Partial<CampaignOptions<{ n: number[] }>> = {}) =>
    squares({ prepare: [{ name: 'compile', command: ['true'] }], ...more })

  it('fail the jobs that the scheduler had pushed back, instead of keeping them for ever', async () => {
    const scheduler = new MemoryScheduler({
      supports: { dependencies: true },
      play: (job) => (isPrepare(job) ? { exitCode: 1 } : square(job)),
    })
    holdPrepares(scheduler)
    const summary = await run(scheduler, {
      campaign: prepared(),
      // Ends a run that would go on for ever.
      signal: AbortSignal.timeout(40_000),
      onEvent: (event) => {
        if (event.type === 'submitted') scheduler.faults.push('rejected', 'rejected', 'rejected', 'rejected')
      },
    })
    expect(summary).toMatchObject({ outcome: 'incomplete', counts: { failed: 4 } })
    expect(scheduler.entries).toHaveLength(1)
  })

  it('that succeed at the second try take the jobs with them that waited for the first', async () => {
    const scheduler = new MemoryScheduler({
      supports: { dependencies: true },
      play: (job) => (isPrepare(job) && job.tag.includes('a1-') ? { exitCode: 1 } : square(job)),
    })
    holdPrepares(scheduler)
    const summary = await run(scheduler, { campaign: prepared({ retry: { attempts: 2, on: ['failed'] } }) })
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
  })

  it('that fail for good fail their jobs once, without another attempt', async () => {
    const scheduler = new MemoryScheduler({
      supports: { dependencies: true },
      play: (job) => (isPrepare(job) ? { exitCode: 1 } : square(job)),
    })
    holdPrepares(scheduler)
    expect(await run(scheduler, { campaign: prepared() })).toMatchObject({ outcome: 'incomplete', counts: { failed: 4 } })
    for (const { attempts } of await readItems(directory())) expect(attempts.map(({ outcome }) => outcome)).toEqual(['upstream-failed'])
  })

  it('are done anew when they were changed, and only then', async () => {
    const scheduler = new MemoryScheduler({ play: square })
    await run(scheduler, { campaign: prepared({ factors: { n: [1] } }) })
    await run(scheduler, { campaign: prepared({ factors: { n: [1, 2] } }), acceptChanges: true })
    expect(scheduler.entries.filter(({ job }) => isPrepare(job))).toHaveLength(1)
    const prepare = [{ name: 'compile', command: ['false'] }]
    await run(scheduler, { campaign: prepared({ factors: { n: [1, 2, 3] }, prepare }), acceptChanges: true })
    expect(scheduler.entries.filter(({ job }) => isPrepare(job))).toHaveLength(2)
    const places = scheduler.entries.flatMap(({ job }) => job.environment?.['CAHIER_PREPARE_COMPILE']?.split('/').at(-1) ?? [])
    expect(places).toEqual(['compile', 'compile', 'compile_a2'])
  })

  it('count among the jobs in flight', async () => {
    const scheduler = new MemoryScheduler({ play: square })
    const seen: number[] = []
    const observe = scheduler.observe.bind(scheduler)
    scheduler.observe = (handles) => {
      seen.push(handles.length)
      return observe(handles)
    }
    const n = Array.from({ length: 40 }, (_, i) => i + 1)
    const campaign = squares({ factors: { n }, prepare: [{ name: 'compile', by: ['n'], command: ['true'] }] })
    expect(await run(scheduler, { campaign, maxInFlight: 3 })).toMatchObject({ outcome: 'complete', counts: { done: 40 } })
    expect(Math.max(...seen)).toBeLessThanOrEqual(3)
  })
})

describe('a job that was given up as lost', () => {
  const vanish = (job: JobSpec): PlayedJob => (levelOf(job) === 2 ? { fate: 'absent' } : square(job))

  it('is not run again when its exit record has come since', async () => {
    const scheduler = new MemoryScheduler({ play: vanish })
    expect(await run(scheduler)).toMatchObject({ counts: { done: 3, failed: 1 } })
    const entry = scheduler.entries.find(({ job }) => levelOf(job) === 2)
    if (entry === undefined) throw new Error('it was never submitted')
    writeFileSync(join(entry.job.directory, 'stdout'), 'square=4\n')
    entry.exit = { version: 1, tag: entry.job.tag, exitCode: 0, reason: 'exited', startedAt: 100, endedAt: 101, host: 'memory' }
    await retryItems(directory())
    expect(await run(scheduler)).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(scheduler.entries).toHaveLength(4)
    const item = (await readItems(directory(), { state: 'done' }))[1]
    expect(item?.attempts.map(({ attempt, outcome }) => [attempt, outcome])).toEqual([[1, 'succeeded']])
  })

  it.each([true, false])('is tried as often as the policy says, whether the scheduler still shows it (%s) or not', async (isShown) => {
    const scheduler = new MemoryScheduler({ play: vanish })
    const find = scheduler.find.bind(scheduler)
    scheduler.find = async (tags) => (isShown ? await find(tags) : new Map())
    const campaign = squares({ retry: { attempts: 3, on: ['lost'] } })
    expect(await run(scheduler, { campaign })).toMatchObject({ outcome: 'incomplete', counts: { done: 3, failed: 1 } })
    expect(scheduler.entries.filter(({ job }) => levelOf(job) === 2)).toHaveLength(3)
    await retryItems(directory())
    expect(await run(scheduler)).toMatchObject({ counts: { done: 3, failed: 1 } })
    expect(scheduler.entries.filter(({ job }) => levelOf(job) === 2)).toHaveLength(4)
  })
})

describe('input files', () => {
  it('that are large are one file for all jobs, which none of them may change', async () => {
    writeFileSync(join(folder, 'small.dat'), 'x', { mode: 0o644 })
    writeFileSync(join(folder, 'large.dat'), Buffer.alloc(1 << 20), { mode: 0o755 })
    const scheduler = new MemoryScheduler({ play: square })
    const campaign = squares({ files: ['small.dat', 'large.dat'].map((name) => join(folder, name)) })
    expect(await run(scheduler, { campaign })).toMatchObject({ outcome: 'complete' })
    const modes = (name: string) => scheduler.entries.map(({ job }) => statSync(join(job.directory, name)).mode & 0o777)
    expect(modes('small.dat')).toEqual([0o644, 0o644, 0o644, 0o644])
    expect(modes('large.dat')).toEqual([0o555, 0o555, 0o555, 0o555])
  })
})

describe('one job whose files cannot be read', () => {
  it('is judged although its stderr is no file', async () => {
    const play = (job: JobSpec): PlayedJob => {
      if (levelOf(job) !== 2) return square(job)
      return { exitCode: 1 }
    }
    const scheduler = new MemoryScheduler({ play })
    const exitRecord = scheduler.exitRecord.bind(scheduler)
    scheduler.exitRecord = async (job) => {
      if (job.directory.includes('n-2_')) {
        rmSync(join(job.directory, 'stderr'), { force: true, recursive: true })
        mkdirSync(join(job.directory, 'stderr'))
      }
      return await exitRecord(job)
    }
    expect(await run(scheduler)).toMatchObject({ outcome: 'incomplete', counts: { done: 3, failed: 1 } })
  })

  it('does not hold up the others', async () => {
    const scheduler = new MemoryScheduler({ play: square })
    const exitRecord = scheduler.exitRecord.bind(scheduler)
    scheduler.exitRecord = (job) => {
      if (job.directory.includes('n-2_')) throw new SchedulerError('E_SCHEDULER_SILENT', 'the exit record cannot be read')
      return exitRecord(job)
    }
    const stop = new AbortController()
    const summary = await run(scheduler, {
      signal: stop.signal,
      onEvent: (event) => event.type === 'counts' && event.counts.done === 3 && stop.abort(),
    })
    expect(summary).toMatchObject({ outcome: 'detached', counts: { done: 3, submitted: 1 } })
    scheduler.exitRecord = exitRecord
    expect(await run(scheduler)).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(scheduler.entries).toHaveLength(4)
  })
})
