import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { JobHandle } from '../../../src/model/job.js'
import type { Scheduler } from '../../../src/ports/scheduler.js'
import { ManualClock } from '../../../src/testing/index.js'
import { fakeQueue, makeSpec, observeUntil, submitAll } from './fake-steps.js'

const UNTIL_STOPPED = 'echo up >up; until [ -e stop ]; do sleep 0.05; done'
const isEnded = ({ state }: { readonly state: string }): boolean => state === 'ended'
const only = (handles: readonly JobHandle[]): JobHandle => {
  const [handle] = handles
  if (handle === undefined) throw new Error('no handle')
  return handle
}
async function until(what: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!what()) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((done) => setTimeout(done, 10))
  }
}

describe('observations of a batch scheduler', () => {
  it('asks the queue once in an interval, however many jobs and observers there are', async () => {
    const queue = fakeQueue({ pollInterval: 30_000, pollIntervalMax: 300_000 })
    const clock = new ManualClock()
    await using scheduler = queue.connect({ clock })
    const handles = await submitAll(
      scheduler,
      Array.from({ length: 40 }, () => makeSpec(queue, UNTIL_STOPPED)),
    )
    const before = queue.calls('fq-stat').length
    for (let round = 0; round < 20; round += 1) await Promise.all([scheduler.observe(handles), scheduler.observe(handles.slice(3))])
    expect(queue.calls('fq-stat').length - before).toBe(1)
    await clock.advance(29_000)
    await scheduler.observe(handles)
    expect(queue.calls('fq-stat').length - before).toBe(1)
    await clock.advance(1_100)
    await scheduler.observe(handles)
    expect(queue.calls('fq-stat').length - before).toBe(2)
    expect(queue.calls('fq-acct')).toEqual([])
  })

  it('knows the end of a job within two seconds of its record, and asks the queue no more for it', async () => {
    const queue = fakeQueue({ pollInterval: 60_000, pollIntervalMax: 300_000 })
    const clock = new ManualClock()
    await using scheduler = queue.connect({ clock })
    const job = makeSpec(queue, `${UNTIL_STOPPED}; exit 3`)
    const handles = await submitAll(scheduler, [job])
    await scheduler.observe(handles)
    await until(() => queue.calls('fq-stat').length > 0 && readText(join(job.directory, 'up')) !== undefined)
    const asked = queue.calls('fq-stat').length
    writeFileSync(join(job.directory, 'stop'), '')
    await until(() => readText(join(queue.base, 'the run', 'ended', `${job.tag}.json`)) !== undefined)
    await lookForNews(scheduler, clock)
    const [seen] = await scheduler.observe(handles)
    expect(seen).toMatchObject({ state: 'ended', end: 'failed', exitCode: 3 })
    expect(await scheduler.exitRecord(job)).toMatchObject({ exitCode: 3 })
    expect(queue.calls('fq-stat')).toHaveLength(asked)
  })

  it('goes on with what it knows while the queue is silent, tells ends that are announced, and does not storm it afterwards', async () => {
    const queue = fakeQueue({ pollInterval: 1_000, pollIntervalMax: 2_000 })
    const clock = new ManualClock()
    await using scheduler = queue.connect({ clock })
    const jobs = [makeSpec(queue, UNTIL_STOPPED), makeSpec(queue, UNTIL_STOPPED)]
    const handles = await submitAll(scheduler, jobs)
    await until(() => jobs.every(({ directory }) => readText(join(directory, 'up')) !== undefined))
    expect((await scheduler.observe(handles)).map(({ state }) => state)).toEqual(['running', 'running'])
    const end = queue.fault('down')
    await clock.advance(1_100)
    await expect(scheduler.observe(handles)).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    const asked = queue.calls('fq-stat').length
    for (let round = 0; round < 50; round += 1)
      await expect(scheduler.observe(handles)).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    expect(queue.calls('fq-stat')).toHaveLength(asked)
    writeFileSync(join(jobs[0]?.directory ?? '', 'stop'), '')
    await until(() => readText(join(queue.base, 'the run', 'ended', `${jobs[0]?.tag}.json`)) !== undefined)
    await lookForNews(scheduler, clock)
    const seen = await waitForAnswer(() => scheduler.observe(handles), clock)
    expect(seen.map(({ state }) => state)).toEqual(['ended', 'running'])
    await expect(scheduler.observe(handles)).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    // An hour of it costs a question every ten minutes or so.
    const before = queue.calls('fq-stat').length
    for (let minute = 0; minute < 60; minute += 1) {
      await clock.advance(60_000)
      await scheduler.observe(handles).catch(() => undefined)
    }
    expect(queue.calls('fq-stat').length - before).toBeLessThan(20)
    end()
    await clock.advance(800_000)
    expect((await scheduler.observe(handles)).map(({ state }) => state)).toEqual(['ended', 'running'])
  })

  it('takes half an answer for silence', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const handles = await submitAll(scheduler, [makeSpec(queue, UNTIL_STOPPED)])
    const end = queue.fault('cut')
    await expect(scheduler.observe(handles)).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    end()
  })

  it('shows a job that was submitted after the last answer as waiting, never as missing', async () => {
    const queue = fakeQueue({ pollInterval: 30_000 })
    const clock = new ManualClock()
    await using scheduler = queue.connect({ clock })
    const first = await submitAll(scheduler, [makeSpec(queue, UNTIL_STOPPED)])
    await scheduler.observe(first)
    const asked = queue.calls('fq-stat').length
    // As much as lies between two submissions.
    await clock.advance(20)
    const second = await submitAll(scheduler, [makeSpec(queue, UNTIL_STOPPED)])
    expect((await scheduler.observe([...first, ...second]))[1]).toMatchObject({ state: 'pending' })
    expect(queue.calls('fq-stat')).toHaveLength(asked)
  })

  it('does not take the job of another submission for ours when ids begin anew', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    queue.fault('closed')
    const old = await submitAll(scheduler, [makeSpec(queue, 'true'), makeSpec(queue, 'true')])
    queue.reset()
    await using stranger = queue.connect()
    const young = await submitAll(stranger, [makeSpec(queue, 'true'), makeSpec(queue, 'true')])
    expect(young.map(({ nativeId }) => nativeId)).toEqual(old.map(({ nativeId }) => nativeId))
    const seen = await observeUntil(scheduler, old, ({ state }) => state === 'not-visible')
    expect(seen.map(({ end }) => end)).toEqual([undefined, undefined])
    // Also by a program that has met the jobs only now, from what lies in their directories.
    await using later = queue.connect()
    later.adopt(old.map((handle) => ({ handle, tag: handle.tag, directory: join(queue.base, 'the run', 'jobs', handle.tag) })))
    expect((await later.observe(old)).map(({ state }) => state)).toEqual(['not-visible', 'not-visible'])
  })

  it('says nothing about an element of an array before it is known with which submission it came', async () => {
    const queue = fakeQueue()
    await using first = queue.connect()
    queue.fault('closed')
    const old = await submitAll(first, [makeSpec(queue, 'true'), makeSpec(queue, 'true')])
    queue.reset()
    await using stranger = queue.connect()
    const young = await submitAll(stranger, [makeSpec(queue, 'true'), makeSpec(queue, 'true')])
    expect(young.map(({ nativeId }) => nativeId)).toEqual(old.map(({ nativeId }) => nativeId))
    const { LocalFiles } = await import('../../../src/staging/local-files.js')
    const { SchedulerError } = await import('../../../src/errors.js')
    const { systemClock } = await import('../../../src/system/clock.js')
    let isSilent = true
    class Late extends LocalFiles {
      override async read(...args: Parameters<InstanceType<typeof LocalFiles>['read']>) {
        if (isSilent) throw new SchedulerError('E_SCHEDULER_SILENT', 'not now')
        return super.read(...args)
      }
    }
    await using later = queue.connect({ files: new Late({ clock: systemClock }) })
    later.adopt(old.map((handle) => ({ handle, tag: handle.tag, directory: join(queue.base, 'the run', 'jobs', handle.tag) })))
    await expect(later.cancel(old)).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    expect(queue.calls('fq-del')).toEqual([])
    await stranger.cancel(young)
    await observeUntil(stranger, young, isEnded)
    for (let round = 0; round < 3; round += 1) {
      expect((await later.observe(old)).map(({ state, end }) => [state, end])).toEqual(old.map(() => ['unknown', undefined]))
      await later.changed({ signal: AbortSignal.timeout(20_000) })
    }
    isSilent = false
    expect((await later.observe(old)).map(({ state }) => state)).toEqual(['not-visible', 'not-visible'])
    expect((await later.cancel(old)).map(({ outcome }) => outcome)).toEqual(['not-known', 'not-known'])
  })

  it('knows with which submission a job came that is named while the queue is being asked', async () => {
    const queue = fakeQueue({ pollInterval: 60_000 })
    await using first = queue.connect()
    queue.fault('closed')
    const old = await submitAll(first, [makeSpec(queue, 'true'), makeSpec(queue, 'true')])
    queue.reset()
    await using stranger = queue.connect()
    await submitAll(stranger, [makeSpec(queue, 'true'), makeSpec(queue, 'true')])
    const { LocalFiles } = await import('../../../src/staging/local-files.js')
    const { systemClock } = await import('../../../src/system/clock.js')
    let isReading = (): void => undefined
    let goOn = Promise.resolve()
    class Slow extends LocalFiles {
      override async read(...args: Parameters<InstanceType<typeof LocalFiles>['read']>) {
        isReading()
        await goOn
        return super.read(...args)
      }
    }
    await using later = queue.connect({ files: new Slow({ clock: systemClock }) })
    const places = old.map((handle) => ({ handle, tag: handle.tag, directory: join(queue.base, 'the run', 'jobs', handle.tag) }))
    later.adopt(places.slice(0, 1))
    const reading = new Promise<void>((done) => {
      isReading = done
    })
    let open = (): void => undefined
    goOn = new Promise((done) => {
      open = done
    })
    const one = later.observe(old.slice(0, 1))
    await reading
    later.adopt(places.slice(1))
    const both = later.observe(old)
    open()
    expect((await one).map(({ state }) => state)).toEqual(['not-visible'])
    expect((await both).map(({ state }) => state)).toEqual(['not-visible', 'not-visible'])
  })

  it('asks the accounting about jobs that are gone without a record, once for all of them, and only then', async () => {
    const queue = fakeQueue({ pollInterval: 1_000 })
    const clock = new ManualClock()
    await using scheduler = queue.connect({ clock })
    const jobs = Array.from({ length: 5 }, () => makeSpec(queue, UNTIL_STOPPED))
    const handles = await submitAll(scheduler, jobs)
    await until(() => jobs.every(({ directory }) => readText(join(directory, 'up')) !== undefined))
    for (const { nativeId } of handles) await queue.killJob?.({ scheduler: 'fake', nativeId, tag: '' })
    await until(() => handles.every(({ nativeId }) => readText(join(queue.directory, 'acct', nativeId)) !== undefined))
    await queue.purge()
    const seen = await scheduler.observe(handles)
    expect(seen.map(({ state, exitCode }) => [state, exitCode])).toEqual(handles.map(() => ['ended', 137]))
    expect(queue.calls('fq-acct')).toHaveLength(1)
    for (let round = 0; round < 5; round += 1) {
      await clock.advance(2_000)
      await scheduler.observe(handles)
    }
    expect(queue.calls('fq-acct')).toHaveLength(1)
  })

  it('takes the failure of a job whose script never began for no end of the script', async () => {
    const queue = fakeQueue({ pollInterval: 1_000 })
    const clock = new ManualClock()
    await using scheduler = queue.connect({ clock })
    queue.fault('script-lost')
    const jobs = Array.from({ length: 4 }, () => makeSpec(queue, 'true'))
    const several = await submitAll(scheduler, jobs.slice(1))
    await clock.advance(1_000)
    const handles = [...(await submitAll(scheduler, jobs.slice(0, 1))), ...several]
    await until(() => handles.every(({ nativeId }) => readText(join(queue.directory, 'acct', nativeId)) !== undefined))
    const asked = queue.calls().length
    const seen = await scheduler.observe(handles)
    expect(seen).toEqual(handles.map((handle) => ({ handle, state: 'ended', rawState: 'E', reason: 'exit code 1', neverBegan: true })))
    expect(queue.calls()).toHaveLength(asked + 1)
    // What a start leaves may be seen late from another machine.
    writeFileSync(join(jobs[0]?.directory ?? '', 'running.2'), '1 1 n1\n')
    await clock.advance(10_000)
    expect((await scheduler.observe(handles)).map(({ end, exitCode, neverBegan }) => [end, exitCode, neverBegan])).toEqual([
      ['failed', 1, undefined],
      ...handles.slice(1).map(() => [undefined, undefined, true]),
    ])
  })

  it('says of a lost script the same when only the accounting knows of the job', async () => {
    const queue = fakeQueue({ pollInterval: 1_000 })
    const clock = new ManualClock()
    await using scheduler = queue.connect({ clock })
    queue.fault('script-lost')
    const handles = await submitAll(scheduler, [makeSpec(queue, 'true')])
    await until(() => readText(join(queue.directory, 'acct', only(handles).nativeId)) !== undefined)
    await queue.purge()
    for (let round = 0; round < 3; round += 1) {
      expect((await scheduler.observe(handles))[0]).toMatchObject({ state: 'ended', neverBegan: true })
      await clock.advance(10_000)
    }
    expect(queue.calls('fq-acct')).toHaveLength(1)
  })

  it('believes no end of a job before it is known whether its script had begun', async () => {
    const queue = fakeQueue({ pollInterval: 1_000 })
    const clock = new ManualClock()
    const { LocalFiles } = await import('../../../src/staging/local-files.js')
    const { StoreError } = await import('../../../src/errors.js')
    const closed = new Set<string>()
    class Shut extends LocalFiles {
      override async read(...args: Parameters<InstanceType<typeof LocalFiles>['read']>) {
        if (args[0].some((path) => closed.has(path.slice(0, path.lastIndexOf('/'))))) throw new StoreError('E_RUN_DIRECTORY', 'closed')
        return super.read(...args)
      }
    }
    await using scheduler = queue.connect({ clock, files: new Shut({ clock }) })
    const jobs = Array.from({ length: 5 }, () => makeSpec(queue, UNTIL_STOPPED))
    const handles = await submitAll(scheduler, jobs)
    await until(() => jobs.every(({ directory }) => readText(join(directory, 'up')) !== undefined))
    closed.add(jobs[2]?.directory ?? '')
    for (const { nativeId } of handles) await queue.killJob?.({ scheduler: 'fake', nativeId, tag: '' })
    await until(() => handles.every(({ nativeId }) => readText(join(queue.directory, 'acct', nativeId)) !== undefined))
    expect((await scheduler.observe(handles)).map(({ state, exitCode }) => [state, exitCode])).toEqual(
      handles.map((_, n) => ['ended', n === 2 ? undefined : 137]),
    )
    closed.clear()
    await clock.advance(10_000)
    expect((await scheduler.observe(handles)).map(({ exitCode }) => exitCode)).toEqual(handles.map(() => 137))
  })

  it('concludes nothing from the absence of a job while the accounting is silent, and does not ask one that is switched off again', async () => {
    const queue = fakeQueue({ pollInterval: 1_000 })
    const clock = new ManualClock()
    await using scheduler = queue.connect({ clock })
    const job = makeSpec(queue, UNTIL_STOPPED)
    const handles = await submitAll(scheduler, [job])
    await until(() => readText(join(job.directory, 'up')) !== undefined)
    await queue.killJob?.(only(handles))
    await until(() => readText(join(queue.directory, 'acct', only(handles).nativeId)) !== undefined)
    await queue.purge()
    const end = queue.fault('accounting-down')
    expect((await scheduler.observe(handles))[0]).toMatchObject({
      state: 'unknown',
      reason: expect.stringContaining('no answer from the database'),
    })
    end()
    queue.fault('no-accounting')
    for (let round = 0; round < 10; round += 1) {
      await clock.advance(5_000)
      await scheduler.observe(handles)
    }
    expect((await scheduler.observe(handles))[0]).toMatchObject({ state: 'not-visible' })
    expect(queue.calls('fq-acct')).toHaveLength(2)
  })

  it('cancels what can never start, and reports why', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const parent = makeSpec(queue, `${UNTIL_STOPPED}; exit 1`)
    const on = only(await submitAll(scheduler, [parent]))
    const children = Array.from({ length: 3 }, () => makeSpec(queue, 'true', { dependencies: [{ kind: 'afterok', on }] }))
    const handles = await submitAll(scheduler, children)
    writeFileSync(join(parent.directory, 'stop'), '')
    // What cannot start is canceled as it is seen: all of them are to be seen at once here.
    await until(() => handles.every(({ nativeId }) => readText(join(queue.directory, 'jobs', nativeId, 'reason')) !== undefined))
    const seen = await observeUntil(scheduler, handles, isEnded)
    expect(seen.map(({ end, reason }) => [end, reason])).toEqual(
      handles.map(() => ['upstream-failed', 'a job that it waits for has failed (NeverSatisfied)']),
    )
    expect(queue.calls('fq-del')).toHaveLength(1)
  })

  it('reads all records that are asked for at one time in one exchange', async () => {
    const queue = fakeQueue()
    const { LocalFiles } = await import('../../../src/staging/local-files.js')
    const { systemClock } = await import('../../../src/system/clock.js')
    const reads: number[] = []
    class Counted extends LocalFiles {
      override async read(...args: Parameters<InstanceType<typeof LocalFiles>['read']>) {
        reads.push(args[0].length)
        return super.read(...args)
      }
    }
    await using scheduler = queue.connect({ files: new Counted({ clock: systemClock }) })
    const places = Array.from({ length: 30 }, (_, n) => ({ directory: join(queue.base, String(n)), tag: `t${n}` }))
    for (const { directory, tag } of places.slice(0, 10)) {
      mkdirSync(directory)
      const record = { version: 1, tag, exitCode: 4, reason: 'exited', startedAt: 1, endedAt: 2, host: 'h' }
      writeFileSync(join(directory, 'exit.json'), JSON.stringify(record))
    }
    const records = await Promise.all(places.map((place) => scheduler.exitRecord(place)))
    expect(records.map((record) => record?.exitCode)).toEqual(places.map((_, n) => (n < 10 ? 4 : undefined)))
    expect(reads).toEqual([30])
    // One that cannot be read hides none of the others.
    rmSync(join(places[3]?.directory ?? '', 'exit.json'))
    symlinkSync('exit.json', join(places[3]?.directory ?? '', 'exit.json'))
    const again = await Promise.allSettled(places.map((place) => scheduler.exitRecord(place)))
    expect(again.filter(({ status }) => status === 'rejected')).toHaveLength(1)
    expect(again[3]).toMatchObject({ reason: { code: 'E_SCHEDULER_SILENT' } })
  })

  it('follows jobs that an earlier program submitted: their ends are announced too', async () => {
    const queue = fakeQueue({ pollInterval: 60_000 })
    await using first = queue.connect()
    const jobs = [makeSpec(queue, `${UNTIL_STOPPED}; exit 6`), makeSpec(queue, UNTIL_STOPPED)]
    const handles = await submitAll(first, jobs)
    await first[Symbol.asyncDispose]()
    await using second = queue.connect()
    second.adopt(jobs.flatMap((job, n) => (handles[n] === undefined ? [] : [{ ...job, handle: handles[n] }])))
    await until(() => jobs.every(({ directory }) => readText(join(directory, 'up')) !== undefined))
    expect((await second.observe(handles)).map(({ state }) => state)).toEqual(['running', 'running'])
    const asked = queue.calls('fq-stat').length
    writeFileSync(join(jobs[0]?.directory ?? '', 'stop'), '')
    const [seen] = await observeUntil(second, handles, ({ handle, state }) => handle !== handles[0] || state === 'ended')
    expect(seen).toMatchObject({ exitCode: 6 })
    expect(queue.calls('fq-stat')).toHaveLength(asked)
  })

  it('does not say that something may have changed about jobs that nobody asks about any more', async () => {
    const queue = fakeQueue({ pollInterval: 20 })
    await using scheduler = queue.connect()
    await scheduler.observe(await submitAll(scheduler, [makeSpec(queue, UNTIL_STOPPED)]))
    await scheduler.observe([])
    await expect(scheduler.changed({ signal: AbortSignal.timeout(500) })).rejects.toThrow()
  })

  it('ends a waiting change when it is closed', async () => {
    const queue = fakeQueue({ pollInterval: 60_000 })
    const scheduler = queue.connect()
    const handles = await submitAll(scheduler, [makeSpec(queue, UNTIL_STOPPED)])
    await scheduler.observe(handles)
    const waiting = scheduler.changed()
    await scheduler[Symbol.asyncDispose]()
    await waiting
  })
})

describe('cancels of a batch scheduler', () => {
  it('ends many jobs with one command, an array by its own id', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const handles = await submitAll(scheduler, [
      ...Array.from({ length: 6 }, () => makeSpec(queue, UNTIL_STOPPED)),
      makeSpec(queue, UNTIL_STOPPED, { resources: { cores: 2 } }),
    ])
    await scheduler.cancel(handles.slice(1, 3))
    expect(queue.calls('fq-del')).toEqual(['fq-del 1_1 1_2'])
    await scheduler.cancel(handles)
    expect(queue.calls('fq-del')[1]).toBe('fq-del 1 2')
    const seen = await observeUntil(scheduler, handles, isEnded)
    expect(new Set(seen.map(({ end }) => end))).toEqual(new Set(['canceled']))
  })

  it('does not end the unknown rest of an array of an earlier program', async () => {
    const queue = fakeQueue()
    await using first = queue.connect()
    const handles = await submitAll(
      first,
      Array.from({ length: 3 }, () => makeSpec(queue, UNTIL_STOPPED)),
    )
    await using second = queue.connect()
    await second.cancel(handles.slice(0, 1))
    expect(queue.calls('fq-del')).toEqual(['fq-del 1_0'])
  })

  it('ends one member of a pack alone, and passes over one whose turn has not come', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const jobs = [UNTIL_STOPPED, 'echo ran >>ledger', 'echo ran >>ledger'].map((lines) => makeSpec(queue, lines, { pack: 3 }))
    const handles = await submitAll(scheduler, jobs)
    await until(() => readText(join(jobs[0]?.directory ?? '', 'up')) !== undefined)
    const [first, second] = handles
    if (first === undefined || second === undefined) throw new Error('not submitted')
    expect((await scheduler.observe(handles)).map(({ state }) => state)).toEqual(['running', 'pending', 'pending'])
    await scheduler.cancel([second])
    expect(queue.calls('fq-del')).toEqual([])
    await scheduler.cancel([first])
    const seen = await observeUntil(scheduler, handles, isEnded)
    expect(seen.map(({ end, exitCode }) => [end, exitCode])).toEqual([
      ['canceled', 143],
      ['canceled', 143],
      ['completed', 0],
    ])
    expect(jobs.map(({ directory }) => readText(join(directory, 'ledger')))).toEqual([undefined, undefined, 'ran\n'])
  })

  it('ends the pack when none of its jobs is to go on', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const jobs = [1, 2].map(() => makeSpec(queue, UNTIL_STOPPED, { pack: 2 }))
    const handles = await submitAll(scheduler, jobs)
    await until(() => readText(join(jobs[0]?.directory ?? '', 'up')) !== undefined)
    await scheduler.cancel(handles)
    expect(queue.calls('fq-del')).toEqual(['fq-del 1'])
    const seen = await observeUntil(scheduler, handles, isEnded)
    expect(seen.map(({ end }) => end)).toEqual(['canceled', 'canceled'])
  })

  it('holds and releases jobs, and gives the words of a refusal', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const opened = queue.fault('closed')
    const handles = await submitAll(scheduler, [makeSpec(queue, 'true')])
    await scheduler.order('hold', ['1'])
    opened()
    expect(readFileSync(join(queue.directory, 'calls'), 'utf8')).toContain('fq-order hold 1')
    await expect(scheduler.order('hold', ['77'])).rejects.toMatchObject({
      code: 'E_ORDER_REFUSED',
      message: expect.stringContaining('no job 77'),
    })
    await scheduler.order('release', ['1'])
    await observeUntil(scheduler, handles, isEnded)
    expect(await scheduler.list()).toMatchObject([{ nativeId: '1', elements: 1, state: 'ended', tag: only(handles).tag }])
  })
})

/** Waits for what is announced. The folder of announcements is looked into about once a second of the clock that only the test moves. */
async function lookForNews(scheduler: Scheduler, clock: ManualClock): Promise<void> {
  // A look that is under way may have missed it, and would be over after the time that is given here.
  await until(() => clock.sleeping > 0)
  const news = scheduler.changed?.({ signal: AbortSignal.timeout(30_000) })
  await clock.advance(1_050)
  await news
}

/** Asks until there is an answer, with a clock that only the test moves. */
async function waitForAnswer<T>(ask: () => Promise<T>, clock: ManualClock): Promise<T> {
  for (let round = 0; ; round += 1) {
    try {
      return await ask()
    } catch (error) {
      if (round > 100) throw error
      await clock.advance(20)
      await new Promise((done) => setTimeout(done, 20))
    }
  }
}

function readText(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8')
    return text === '' ? undefined : text
  } catch {
    return undefined
  }
}
