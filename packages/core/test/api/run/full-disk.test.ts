import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readItems, readStatus } from '../../../src/api/runs.js'
import type { CampaignError } from '../../../src/errors.js'
import type { RunEvent } from '../../../src/model/run.js'
import { MemoryScheduler } from '../../../src/testing/memory-scheduler.js'
import { canMount, fill, levelOf, remount, runSquares, smallDisk, squares, squaring, upTo } from './lab.js'

const ascending = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b)

describe.skipIf(!canMount)('a run on a disk that becomes full', () => {
  it('claims nothing more before the last block is used, and goes on when there is room (needs root)', async () => {
    const disk = smallDisk('2m')
    const directory = join(disk, 'run')
    const ledger: number[] = []
    const scheduler = squaring(ledger)
    const campaign = squares({ factors: { n: upTo(250) } })
    const events: RunEvent[] = []
    const first = await runSquares(directory, scheduler, { campaign, onEvent: (event) => events.push(event) })
    expect(first).toMatchObject({ outcome: 'paused', pause: { reason: 'disk-full' }, reportFile: undefined })
    expect(events).toContainEqual({ type: 'paused', pause: expect.objectContaining({ reason: 'disk-full' }) as unknown })
    // What was claimed has ended and is recorded.
    expect(first.counts).toMatchObject({ submitted: 0, running: 0, failed: 0, invalid: 0, done: ledger.length })
    expect(first.counts.done).toBeGreaterThan(20)
    expect(first.counts.todo).toBeGreaterThan(20)
    expect(await readStatus(directory)).toMatchObject({ state: 'paused', pause: { reason: 'disk-full' }, counts: first.counts })

    const claimed = scheduler.entries.length
    expect(await runSquares(directory, scheduler, { campaign })).toMatchObject({ outcome: 'paused', pause: { reason: 'disk-full' } })
    expect(scheduler.entries).toHaveLength(claimed)

    remount(disk, 'size=32m')
    expect(await runSquares(directory, scheduler, { campaign })).toMatchObject({ outcome: 'complete', counts: { done: 250 } })
    expect(ascending(ledger)).toEqual(upTo(250))
    expect((await readItems(directory)).every(({ attempts }) => attempts.length === 1)).toBe(true)
  })

  it('keeps what ran when somebody else takes the last block, runs nothing twice (needs root)', async () => {
    const disk = smallDisk('4m')
    const directory = join(disk, 'run')
    const filler = join(disk, 'filler')
    const ledger: number[] = []
    // Results larger than what is left of a block: their verdicts cannot be written.
    const campaign = squares({
      factors: { n: upTo(12) },
      results: { text: { type: 'string' } } as never,
      collect: { text: () => 'x'.repeat(5000) } as never,
    })
    const scheduler = new MemoryScheduler({
      play: (job) => {
        ledger.push(levelOf(job))
        return {}
      },
    })
    let sent = 0
    const onEvent = (event: RunEvent): void => {
      if (event.type === 'submitted' && ++sent === 7) fill(filler)
    }
    const first = await runSquares(directory, scheduler, { campaign, maxInFlight: 4, onEvent })
    expect(first).toMatchObject({ outcome: 'paused', pause: { reason: 'disk-full' }, counts: { done: 4 } })
    expect(await readStatus(directory)).toMatchObject({ counts: { total: 12, done: 4, submitted: 4, todo: 4 } })
    const ran = [...ledger]
    expect(ran).toHaveLength(8)

    // Still full: it may or may not come as far as a pause.
    const again = runSquares(directory, scheduler, { campaign }).then(
      ({ pause }) => pause?.reason,
      (error: CampaignError) => error.code,
    )
    expect(['disk-full', 'E_STORE_FULL']).toContain(await again)
    expect(ledger).toEqual(ran)
    expect((await readStatus(directory)).counts).toMatchObject({ done: 4, submitted: 4 })

    rmSync(filler)
    expect(await runSquares(directory, scheduler, { campaign })).toMatchObject({ outcome: 'complete', counts: { done: 12 } })
    expect(ascending(ledger)).toEqual(upTo(12))
    expect((await readItems(directory)).every(({ attempts }) => attempts.length === 1)).toBe(true)
  })

  it('finds the jobs again whose submission could not be recorded (needs root)', async () => {
    const disk = smallDisk('4m')
    const directory = join(disk, 'run')
    const filler = join(disk, 'filler')
    const ledger: number[] = []
    const scheduler = squaring(ledger)
    const submit = scheduler.submit.bind(scheduler)
    // The disk is full between the durable intent and the record of the answer, which is as long as its ids are.
    scheduler.submit = async (jobs) => {
      fill(filler)
      const outcomes = await submit(jobs)
      return outcomes.map((outcome) =>
        outcome.outcome === 'submitted' ? { ...outcome, handle: { ...outcome.handle, nativeId: 'x'.repeat(5000) } } : outcome,
      )
    }
    const first = await runSquares(directory, scheduler)
    expect(first).toMatchObject({ outcome: 'paused', pause: { reason: 'disk-full' }, counts: { submitted: 4 } })
    rmSync(filler)
    scheduler.submit = submit
    expect(await runSquares(directory, scheduler)).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(scheduler.entries).toHaveLength(4)
    expect(ascending(ledger)).toEqual([1, 2, 3, 4])
  })

  it('is refused at the start, with what to do (needs root)', async () => {
    const disk = smallDisk('64k')
    const scheduler = squaring()
    fill(join(disk, 'filler'))
    await expect(runSquares(join(disk, 'run'), scheduler)).rejects.toMatchObject({
      code: 'E_STORE_FULL',
      suggestions: expect.arrayContaining([expect.stringContaining('room')]) as unknown,
    })
    expect(scheduler.entries).toHaveLength(0)
  })
})

describe.skipIf(!canMount)('a run on a read-only disk', () => {
  it('is refused before anything runs; what it has can be read (needs root)', async () => {
    const disk = smallDisk('4m')
    const directory = join(disk, 'run')
    const scheduler = squaring()
    await runSquares(directory, scheduler)
    mkdirSync(join(disk, 'empty'))
    remount(disk, 'ro')
    for (const place of ['run', 'empty', 'new']) {
      await expect(runSquares(join(disk, place), scheduler), place).rejects.toMatchObject({
        code: 'E_RUN_DIRECTORY',
        message: expect.stringMatching(/EROFS/),
        suggestions: [
          expect.stringContaining('--dir'),
          ...(existsSync(join(disk, place)) ? [expect.stringContaining('cahier status')] : []),
        ],
      })
    }
    expect(scheduler.entries).toHaveLength(4)
    expect(await readStatus(directory)).toMatchObject({ state: 'finished', counts: { done: 4 } })
    expect(readdirSync(disk)).toEqual(['empty', 'run'])
  })
})
