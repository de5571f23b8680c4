import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { exportResults, readItems, readStatus, retryItems, showSweep, stopRun } from '../../../src/api/runs.js'
import { MemoryScheduler } from '../../../src/testing/memory-scheduler.js'
import { runSquares, scratch, site, squares, squaring, unstick, untilSubmitted } from './lab.js'

const wrong = { collect: { square: { from: 'stdout', pattern: 'sqare=(\\S+)' } } } as const
const strict = { results: { square: { type: 'integer', max: 5 } } } as const

/** A run of the squares with a campaign file, which `write` writes again. */
async function lab(first: Parameters<typeof squares>[0]) {
  const folder = scratch()
  const directory = join(folder, 'run')
  const campaign = join(folder, 'campaign.json')
  const write = (more: Parameters<typeof squares>[0] = {}): void => writeFileSync(campaign, JSON.stringify(squares(more).options))
  const ledger: number[] = []
  const scheduler = squaring(ledger)
  write(first)
  await runSquares(directory, scheduler, { campaign })
  return { directory, campaign, write, ledger, scheduler }
}

describe('retryItems with collectOnly', () => {
  it('makes results of invalid ones when the pattern is mended, and starts no job', async () => {
    const { directory, campaign, write, ledger, scheduler } = await lab(wrong)
    expect(await readStatus(directory)).toMatchObject({ counts: { invalid: 4 } })
    write()
    expect(await retryItems(directory, { collectOnly: true })).toEqual({ count: 4, collected: { valid: 4, invalid: 0, missing: 0 } })
    expect(await readStatus(directory)).toMatchObject({ state: 'finished', counts: { done: 4, invalid: 0 }, failures: [] })
    expect((await exportResults(directory, { format: 'csv' })).text).toMatch(/,16\b/)
    expect(ledger).toEqual([1, 2, 3, 4])
    // The run goes on with the rules that it has now, and nothing is left to do.
    expect(await showSweep(directory)).toMatchObject({ revision: 2 })
    expect(readFileSync(join(directory, 'source', '2', 'campaign.json'), 'utf8')).toContain('"square=')
    expect(await runSquares(directory, scheduler, { campaign })).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(ledger).toHaveLength(4)
  })

  it('reads only what is invalid unless it is told otherwise, and says what stays invalid', async () => {
    const { directory, write, ledger } = await lab(strict)
    expect(await readStatus(directory)).toMatchObject({ counts: { done: 2, invalid: 2 } })
    write({ results: { square: { type: 'integer', max: 10 } } } as never)
    expect(await retryItems(directory, { collectOnly: true })).toEqual({ count: 2, collected: { valid: 1, invalid: 1, missing: 0 } })
    const events = readFileSync(join(directory, 'journal', 'events.jsonl'), 'utf8')
    // The same again is no news.
    expect(await retryItems(directory, { collectOnly: true })).toMatchObject({ count: 1, collected: { invalid: 1 } })
    expect(readFileSync(join(directory, 'journal', 'events.jsonl'), 'utf8').replace(/.*"campaign".*\n/g, '')).toBe(
      events.replace(/.*"campaign".*\n/g, ''),
    )
    const [worst] = await readItems(directory, { state: 'invalid' })
    expect(worst).toMatchObject({ combination: { n: 4 }, attempts: [{ attempt: 1, outcome: 'invalid' }] })
    write()
    expect(await retryItems(directory, { collectOnly: true, items: ['n=4', 'n=1'] })).toMatchObject({ collected: { valid: 2 } })
    expect(await retryItems(directory, { collectOnly: true, states: ['done'] })).toMatchObject({ count: 4, collected: { valid: 4 } })
    expect(ledger).toEqual([1, 2, 3, 4])
  })

  it('reads the last attempt whose job succeeded, also when a later one failed', async () => {
    const folder = scratch()
    const directory = join(folder, 'run')
    const tries: number[] = []
    const scheduler = new MemoryScheduler({ play: () => (tries.push(1) === 1 ? { stdout: 'square=9\n' } : { exitCode: 1 }) })
    const retry = { attempts: 2, on: ['invalid'] } as const
    const campaign = squares({ ...wrong, factors: { n: [3] }, retry } as never)
    expect(await runSquares(directory, scheduler, { campaign })).toMatchObject({ counts: { failed: 1 } })
    const mended = squares({ factors: { n: [3] }, retry } as never)
    expect(await retryItems(directory, { collectOnly: true, campaign: mended })).toMatchObject({ count: 0 })
    const chosen = { collectOnly: true, states: ['failed'], campaign: mended } as const
    expect(await retryItems(directory, chosen)).toMatchObject({ count: 1, collected: { valid: 1 } })
    expect(JSON.parse((await exportResults(directory, { format: 'jsonl' })).text)).toMatchObject({ attempt: 1, square: 9 })
  })

  it('brings home what ended while a run was stopped whose campaign could not be loaded', async () => {
    const folder = scratch()
    const directory = join(folder, 'run')
    let isStuck = true
    const scheduler = squaring([], () => (isStuck ? { fate: 'stuck' } : {}))
    const detach = new AbortController()
    const running = runSquares(directory, scheduler, { signal: detach.signal })
    await untilSubmitted(scheduler, 4)
    detach.abort()
    await running
    isStuck = false
    unstick(scheduler)
    await scheduler.observe(scheduler.entries.map(({ handle }) => handle))
    const stopped = await stopRun(directory, { cancelJobs: true, scheduler, site })
    expect(stopped).toMatchObject({ status: { counts: { invalid: 4 } } })
    expect(stopped.status.failures[0]?.detail).toContain('cahier retry --collect')
    await expect(retryItems(directory, { collectOnly: true })).rejects.toMatchObject({ code: 'E_CAMPAIGN_NOT_FOUND' })
    expect(await retryItems(directory, { collectOnly: true, campaign: squares() })).toMatchObject({ collected: { valid: 4 } })
    expect(await runSquares(directory, scheduler)).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
  })

  it('takes no result away because its files are gone', async () => {
    const { directory } = await lab({})
    rmSync(join(directory, 'combinations'), { recursive: true })
    expect(await retryItems(directory, { collectOnly: true, states: ['done'] })).toEqual({
      count: 0,
      collected: { valid: 0, invalid: 0, missing: 4 },
    })
    expect(await readStatus(directory)).toMatchObject({ counts: { done: 4 } })
  })

  it('leaves other edits to who continues the run', async () => {
    const { directory, campaign, write, scheduler } = await lab(wrong)
    write({ factors: { n: [1, 2, 3, 4, 5] } })
    expect(await retryItems(directory, { collectOnly: true })).toMatchObject({ collected: { valid: 4 } })
    expect(await showSweep(directory)).toMatchObject({ revision: 1 })
    expect(existsSync(join(directory, 'source', '2'))).toBe(false)
    await expect(runSquares(directory, scheduler, { campaign })).rejects.toMatchObject({ code: 'E_CAMPAIGN_CHANGED' })
    expect(await runSquares(directory, scheduler, { campaign, acceptChanges: true })).toMatchObject({ counts: { done: 5 } })
    expect(scheduler.entries).toHaveLength(5)
  })

  it('refuses while a controller drives the run, a campaign that does not fit, and an item that there is not', async () => {
    const { directory, campaign, write } = await lab(wrong)
    const scheduler = new MemoryScheduler({ play: () => ({ fate: 'stuck' }) })
    await retryItems(directory, { items: ['n=1'] })
    const detach = new AbortController()
    const running = runSquares(directory, scheduler, { campaign, signal: detach.signal })
    await untilSubmitted(scheduler, 1)
    await expect(retryItems(directory, { collectOnly: true })).rejects.toMatchObject({ code: 'E_RUN_HELD' })
    detach.abort()
    await running
    await expect(retryItems(directory, { collectOnly: true, items: ['n=17'] })).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    write({ collect: { sqare: { from: 'stdout', pattern: 'x' } } } as never)
    await expect(retryItems(directory, { collectOnly: true })).rejects.toMatchObject({ code: 'E_CAMPAIGN_INVALID' })
    // What is in flight is left alone.
    write()
    expect(await retryItems(directory, { collectOnly: true, items: ['n=1', 'n=2'] })).toMatchObject({ count: 1 })
    expect(await readStatus(directory)).toMatchObject({ counts: { running: 1, done: 1, invalid: 2 } })
  })
})
