import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { addNote, attachRun, readStatus, resetSweep, retryItems, setSweep, showSweep, writeReport } from '../../../src/api/runs.js'
import type { RunEvent } from '../../../src/model/run.js'
import { MemoryScheduler } from '../../../src/testing/memory-scheduler.js'
import { runSquares, scratch, site, squares, squaring, unstick, untilSubmitted } from './lab.js'

const stuck = () => new MemoryScheduler({ play: () => ({ fate: 'stuck' }) })

describe('a second controller', () => {
  it('is refused with the host and the process of the first, and so is who would change the sweep', async () => {
    const directory = join(scratch(), 'run')
    const scheduler = stuck()
    const detach = new AbortController()
    const running = runSquares(directory, scheduler, { signal: detach.signal })
    await untilSubmitted(scheduler, 4)
    const held = {
      code: 'E_RUN_HELD',
      message: expect.stringContaining(`process ${process.pid} on ${hostname()}`),
      suggestions: expect.arrayContaining([expect.stringContaining('cahier attach')]) as unknown,
      data: { directory, host: hostname(), pid: process.pid },
    }
    await expect(runSquares(directory, scheduler)).rejects.toMatchObject(held)
    await expect(setSweep(directory, { campaign: squares(), apply: true, scheduler, site })).rejects.toMatchObject(held)
    expect(await readStatus(directory)).toMatchObject({ state: 'running', holder: { host: hostname(), pid: process.pid } })
    detach.abort()
    await running
    expect((await readStatus(directory)).holder).toBeUndefined()
    expect(scheduler.entries).toHaveLength(4)
  })
})

describe('attachRun', () => {
  it('follows a run to its end and touches nothing', async () => {
    const directory = join(scratch(), 'run')
    let isStuck = true
    const scheduler = squaring([], () => (isStuck ? { fate: 'stuck' } : {}))
    const running = runSquares(directory, scheduler)
    await untilSubmitted(scheduler, 4)
    const events: RunEvent[] = []
    const attached = attachRun(directory, {
      everyMs: 5,
      onEvent: (event) => {
        events.push(event)
        if (!isStuck) return
        isStuck = false
        unstick(scheduler)
      },
    })
    expect(await attached).toMatchObject({ state: 'finished', counts: { done: 4 } })
    expect(events[0]).toMatchObject({ type: 'started', directory, resumed: true })
    expect(events.at(-1)).toMatchObject({ type: 'finished', outcome: 'complete', counts: { done: 4 } })
    expect(await running).toMatchObject({ outcome: 'complete' })
  })

  it('ends at once where nobody drives the run, and when it is aborted', async () => {
    const directory = join(scratch(), 'run')
    const scheduler = stuck()
    const detach = new AbortController()
    const running = runSquares(directory, scheduler, { signal: detach.signal })
    await untilSubmitted(scheduler, 4)
    const leave = new AbortController()
    const attached = attachRun(directory, { everyMs: 60_000, signal: leave.signal })
    leave.abort()
    expect(await attached).toMatchObject({ state: 'running', counts: { total: 4 } })
    detach.abort()
    await running
    expect(await attachRun(directory)).toMatchObject({ state: 'idle', counts: { running: 4 } })
  })

  it('tells of the end of a run also when who drove it was gone just after it had looked', async () => {
    const directory = join(scratch(), 'run')
    await runSquares(directory, squaring())
    const journal = join(directory, 'journal', 'events.jsonl')
    const whole = readFileSync(journal, 'utf8')
    const end = whole.indexOf('\n', whole.indexOf('"type":"submitted"')) + 1
    // As it was when the jobs ran, without the file that says how far it goes.
    writeFileSync(journal, whole.slice(0, end))
    rmSync(join(directory, 'journal', 'head.json'))
    const events: RunEvent[] = []
    const onEvent = (event: RunEvent): void => {
      events.push(event)
      if (event.type === 'started') appendFileSync(journal, whole.slice(end))
    }
    expect(await attachRun(directory, { onEvent })).toMatchObject({ state: 'finished', counts: { done: 4 } })
    expect(events[0]).toMatchObject({ type: 'started', counts: { done: 0 } })
    expect(events.at(-1)).toMatchObject({ type: 'finished', outcome: 'complete', counts: { done: 4 } })
  })

  it('refuses a directory that is not that of a run', async () => {
    await expect(attachRun(scratch())).rejects.toMatchObject({ code: 'E_RUN_DIRECTORY' })
  })
})

describe('the sweep of a run', () => {
  it('is shown as the journal knows it', async () => {
    const directory = join(scratch(), 'run')
    await runSquares(
      directory,
      squaring([], (n) => (n === 3 ? { exitCode: 1 } : {})),
    )
    expect(await showSweep(directory)).toMatchObject({
      campaign: 'squares',
      directory,
      items: 4,
      revision: 1,
      counts: { done: 3, failed: 1, todo: 0 },
      definition: { kind: expect.any(String) as string },
    })
  })

  it('changes only when asked: what is done stays done, what is no longer wanted is set aside', async () => {
    const directory = join(scratch(), 'run')
    const ledger: number[] = []
    const scheduler = squaring(ledger)
    await runSquares(directory, scheduler)
    const campaign = squares({ factors: { n: [3, 4, 5] } })
    const difference = { added: 1, kept: 2, removed: 2 }
    expect(await setSweep(directory, { campaign, apply: false, scheduler, site })).toMatchObject({
      ...difference,
      applied: false,
      examplesAdded: [{ combination: { n: 5 }, repetition: 1 }],
    })
    expect(await showSweep(directory)).toMatchObject({ items: 4, revision: 1 })
    expect(await setSweep(directory, { campaign, apply: true, scheduler, site })).toMatchObject({
      ...difference,
      applied: true,
      counts: { total: 3, done: 2, todo: 1, orphaned: 2 },
    })
    expect(await showSweep(directory)).toMatchObject({ items: 3, revision: 2 })
    expect(await runSquares(directory, scheduler, { campaign })).toMatchObject({ outcome: 'complete', counts: { done: 3 } })
    expect(ledger).toEqual([1, 2, 3, 4, 5])
    // What was set aside counts again when it is wanted again.
    expect(await setSweep(directory, { campaign: squares(), apply: true, scheduler, site })).toMatchObject({
      counts: { total: 4, done: 4, orphaned: 1 },
    })
  })

  it('gives back what is failed, and what is done only when that is named', async () => {
    const directory = join(scratch(), 'run')
    let isBroken = true
    const ledger: number[] = []
    const scheduler = squaring(ledger, (n) => (isBroken && n > 2 ? { exitCode: 1 } : {}))
    await runSquares(directory, scheduler)
    expect(await resetSweep(directory, { states: ['failed', 'invalid'] })).toEqual({ count: 2 })
    expect(await readStatus(directory)).toMatchObject({ state: 'idle', counts: { todo: 2, done: 2, failed: 0 } })
    isBroken = false
    await runSquares(directory, scheduler)
    expect(await resetSweep(directory, { states: ['failed'] })).toEqual({ count: 0 })
    expect(await resetSweep(directory, { states: ['done'] })).toEqual({ count: 4 })
    expect(await runSquares(directory, scheduler)).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(ledger).toEqual([1, 2, 3, 4, 3, 4, 1, 2, 3, 4])
  })

  it('refuses to give back what is in flight, and names that do not fit', async () => {
    const directory = join(scratch(), 'run')
    await runSquares(directory, squaring())
    await expect(resetSweep(directory, { states: ['running'] })).rejects.toMatchObject({
      code: 'E_ARGUMENT',
      suggestions: [expect.stringContaining('--cancel-jobs')],
    })
    await expect(retryItems(directory, { items: ['n=17'] })).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    expect(await retryItems(directory, { items: ['n=3'] })).toEqual({ count: 1 })
  })
})

describe('addNote', () => {
  it('adds dated lines to the notebook, and the report shows them', async () => {
    const directory = join(scratch(), 'run')
    await runSquares(directory, squaring())
    const { file } = await addNote(directory, 'fan of node 3\n replaced')
    await addNote(directory, 'a < b & "c"')
    expect(readFileSync(file, 'utf8')).toMatch(/^- \S+.* fan of node 3 replaced\n- .* a < b & "c"\n$/)
    const report = await writeReport(directory)
    const page = readFileSync(report.file as string, 'utf8')
    expect(page).toContain('fan of node 3 replaced')
    expect(page).toContain('a &lt; b &amp;')
    expect(page).not.toContain('a < b')
  })

  it('refuses an empty note and a directory that is not that of a run', async () => {
    const directory = join(scratch(), 'run')
    await runSquares(directory, squaring())
    await expect(addNote(directory, ' \n')).rejects.toMatchObject({ code: 'E_ARGUMENT' })
    await expect(addNote(scratch(), 'text')).rejects.toMatchObject({ code: 'E_RUN_DIRECTORY' })
  })
})
