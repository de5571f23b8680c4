import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CampaignOptions, defineCampaign } from '../../src/api/campaign.js'
import type { RunCampaignOptions } from '../../src/api/run/run-campaign.js'
import { readItems, readStatus, retryItems, runCampaign, stopRun, whyItem, writeReport } from '../../src/api/runs.js'
import { Lease } from '../../src/store/lease.js'
import { ManualClock, MemoryScheduler, type PlayedJob } from '../../src/testing/index.js'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-run-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const site = { name: 'test', scheduler: 'memory', options: {}, modules: [] }
const timing = { graceMs: 30, settleGraceMs: 30, pollMs: 2 }
const square = (n: number): PlayedJob => ({ stdout: `square=${n * n}\n` })
const levelOf = (job: { environment?: Readonly<Record<string, string>> }): number => Number(job.environment?.['CAHIER_FACTOR_n'])
const squares = (more: Partial<CampaignOptions<{ n: number[] }>> = {}) =>
  defineCampaign({
    name: 'squares',
    factors: { n: [1, 2, 3, 4] },
    job: { command: ['expr', '{{ n }}'] },
    results: { square: { type: 'integer', positive: true } },
    collect: { square: { from: 'stdout', pattern: 'square=(\\S+)' } },
    ...more,
  } as CampaignOptions<{ n: number[] }>)

const run = (scheduler: MemoryScheduler, options: Partial<RunCampaignOptions> = {}) =>
  runCampaign({ campaign: squares(), directory: join(folder, 'run'), site, scheduler, timing, ...options })
const directory = () => join(folder, 'run')
const tags = (scheduler: MemoryScheduler) => scheduler.entries.map(({ job }) => job.tag)

describe('runCampaign', () => {
  it('runs every item once and ends with the table', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    const summary = await run(scheduler)
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 4, total: 4 } })
    expect(scheduler.entries).toHaveLength(4)
    const rows = readFileSync(join(directory(), 'results.jsonl'), 'utf8').trim().split('\n')
    expect(rows.map((row) => JSON.parse(row)).map(({ n, square: s }) => [n, s])).toEqual([
      [1, 1],
      [2, 4],
      [3, 9],
      [4, 16],
    ])
    expect(readdirSync(directory())).toEqual(
      expect.arrayContaining(['cahier.json', 'journal', 'combinations', 'log.ndjson', 'report.html']),
    )
  })

  it('runs nothing again in a directory where everything is done', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    await run(scheduler)
    const again = await run(scheduler)
    expect(again.outcome).toBe('complete')
    expect(scheduler.entries).toHaveLength(4)
  })

  it('adopts a job whose submission was uncertain and had been queued', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    scheduler.faults.push('uncertain-queued', 'uncertain-queued')
    expect(await run(scheduler)).toMatchObject({ outcome: 'complete' })
    expect(new Set(tags(scheduler)).size).toBe(4)
    expect(scheduler.entries).toHaveLength(4)
  })

  it('submits again only after the scheduler has said twice that it has no such job', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    scheduler.faults.push('uncertain-lost')
    expect(await run(scheduler)).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(scheduler.entries).toHaveLength(4)
    expect(scheduler.asked.find).toBeGreaterThanOrEqual(2)
    expect((await readItems(directory()))[0]?.attempts.map(({ attempt, outcome }) => [attempt, outcome])).toEqual([
      [1, 'not-submitted'],
      [2, 'succeeded'],
    ])
  })

  it('waits when the scheduler takes no more, and gives the same jobs again', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    scheduler.faults.push('rejected', 'rejected')
    expect(await run(scheduler)).toMatchObject({ outcome: 'complete' })
    expect(scheduler.entries).toHaveLength(4)
  })

  it('fails an item that the scheduler would never take, with its words', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    scheduler.faults.push('invalid')
    expect(await run(scheduler)).toMatchObject({ outcome: 'incomplete', counts: { done: 3, failed: 1 } })
    expect((await readStatus(directory())).failures[0]?.detail).toContain('no such queue')
  })

  it('changes nothing while the scheduler is silent', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    const paused: string[] = []
    const summary = await run(scheduler, {
      onEvent: (event) => {
        if (event.type === 'submitted') scheduler.silent = true
        if (event.type === 'paused') {
          paused.push(event.pause.reason)
          scheduler.silent = false
        }
      },
    })
    expect(summary.outcome).toBe('complete')
    expect(paused[0]).toBe('scheduler-silent')
    expect(scheduler.entries).toHaveLength(4)
  })

  it('shows the line of a result outside of the schema, and keeps the other results', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => (levelOf(job) === 3 ? { stdout: 'start\nsquare=-9\n' } : square(levelOf(job))) })
    expect(await run(scheduler)).toMatchObject({ outcome: 'incomplete', counts: { done: 3, invalid: 1 } })
    const { detail } = await whyItem(directory(), 'n=3')
    expect(detail).toContain('square')
    expect(detail).toContain('stdout:2')
  })

  it('pauses after identical failures in a row and goes on when it is run again', async () => {
    const campaign = squares({ factors: { n: Array.from({ length: 40 }, (_, i) => i + 1) }, breaker: { identical: 5 } })
    let isBroken = true
    const play = (job: Parameters<typeof levelOf>[0]) =>
      isBroken ? { exitCode: 1, stderr: `no module at line ${levelOf(job)}\n` } : square(levelOf(job))
    const scheduler = new MemoryScheduler({ play })
    const first = await run(scheduler, { campaign, maxInFlight: 5 })
    expect(first).toMatchObject({ outcome: 'paused', pause: { reason: 'breaker' } })
    expect(first.counts.failed).toBeLessThanOrEqual(10)
    expect((await readStatus(directory())).state).toBe('paused')
    isBroken = false
    expect(await retryItems(directory())).toEqual({ count: first.counts.failed })
    expect(await run(scheduler, { campaign })).toMatchObject({ outcome: 'complete', counts: { done: 40 } })
  })

  it('tries again what the policy names, and not more often', async () => {
    const campaign = squares({ retry: { attempts: 3, on: ['failed'] } })
    const scheduler = new MemoryScheduler({
      play: (job) =>
        levelOf(job) === 2 && job.tag.includes('a1-') ? { exitCode: 1 } : levelOf(job) === 3 ? { exitCode: 1 } : square(levelOf(job)),
    })
    expect(await run(scheduler, { campaign })).toMatchObject({ counts: { done: 3, failed: 1 } })
    expect((await whyItem(directory(), 'n=2')).attempts).toHaveLength(2)
    expect((await whyItem(directory(), 'n=3')).attempts).toHaveLength(3)
  })

  it('calls a job lost only after the grace', async () => {
    const campaign = squares({ retry: { attempts: 1, on: [] } })
    const scheduler = new MemoryScheduler({ play: (job) => (levelOf(job) === 1 ? { fate: 'absent' } : square(levelOf(job))) })
    expect(await run(scheduler, { campaign })).toMatchObject({ counts: { done: 3, failed: 1 } })
    expect((await whyItem(directory(), 'n=1')).attempts[0]).toMatchObject({ outcome: 'lost' })
  })

  it('gives a batch system two minutes before a job is lost, and asks it seldom', async () => {
    const campaign = squares({ retry: { attempts: 1, on: [] } })
    const clock = new ManualClock({ eager: true })
    const scheduler = new MemoryScheduler({ play: (job) => (levelOf(job) === 1 ? { fate: 'absent' } : square(levelOf(job))) })
    const observe = scheduler.observe.bind(scheduler)
    const looks: number[] = []
    scheduler.observe = (handles) => {
      looks.push(clock.monotonic())
      return observe(handles)
    }
    expect(await run(scheduler, { campaign, clock, timing: undefined })).toMatchObject({ counts: { done: 3, failed: 1 } })
    // An eager clock goes on while something is written. So it is the looks that count: the first after the two minutes is the last.
    const [first = 0] = looks
    expect(looks.at(-1)).toBeGreaterThanOrEqual(first + 120_000)
    expect(looks.at(-2)).toBeLessThan(first + 120_000)
    expect(looks.length).toBeLessThanOrEqual(6)
  })

  it('detaches when it is aborted, and the next controller adopts what runs', async () => {
    let isStuck = true
    const scheduler = new MemoryScheduler({ play: (job) => (isStuck ? { fate: 'stuck' } : square(levelOf(job))) })
    const stop = new AbortController()
    const first = await run(scheduler, { signal: stop.signal, onEvent: (event) => event.type === 'submitted' && stop.abort() })
    expect(first).toMatchObject({ outcome: 'detached', counts: { running: 4 } })
    expect(scheduler.asked.cancel).toBe(0)
    isStuck = false
    for (const entry of scheduler.entries) entry.state = 'pending'
    expect(await run(scheduler)).toMatchObject({ outcome: 'complete' })
    expect(scheduler.entries).toHaveLength(4)
  })

  it('cancels jobs only on request, and puts their items back on the list', async () => {
    const scheduler = new MemoryScheduler({ play: () => ({ fate: 'stuck' }) })
    const running = run(scheduler)
    while (scheduler.entries.length < 4) await new Promise((resolve) => setTimeout(resolve, 5))
    const stopped = await stopRun(directory(), { cancelJobs: true })
    expect(stopped).toMatchObject({ how: 'asked', jobs: 4 })
    expect(await running).toMatchObject({ outcome: 'paused', pause: { reason: 'stopped' }, counts: { todo: 4 } })
    expect(scheduler.entries.every(({ end }) => end === 'canceled')).toBe(true)
  })

  it('refuses a second controller and says who holds the run', async () => {
    mkdirSync(directory())
    await using _lease = await Lease.acquire(directory())
    writeFileSync(join(directory(), 'cahier.json'), '{}')
    await expect(run(new MemoryScheduler())).rejects.toMatchObject({
      code: 'E_RUN_HELD',
      message: expect.stringContaining(String(process.pid)),
    })
  })

  it('refuses an edited campaign with the difference, and takes it when told to', async () => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    await run(scheduler)
    const campaign = squares({ factors: { n: [2, 3, 4, 5, 6] } })
    await expect(run(scheduler, { campaign })).rejects.toMatchObject({
      code: 'E_CAMPAIGN_CHANGED',
      message: expect.stringMatching(/\+2 work items .*-1 work items .*=3 work items/),
    })
    expect(await run(scheduler, { campaign, acceptChanges: true })).toMatchObject({
      outcome: 'complete',
      counts: { total: 5, done: 5, orphaned: 1 },
    })
    expect(scheduler.entries).toHaveLength(6)
  })

  it('writes the report when everything failed, with the failures, and does not analyse nothing', async () => {
    const scheduler = new MemoryScheduler({ play: () => ({ exitCode: 3, stderr: 'no such <file>\n' }) })
    const analyse = (): never => {
      throw new Error('called')
    }
    const campaign = squares({ analyse, report: [{ kind: 'line', x: 'n', y: 'square' }] })
    const file = join(directory(), 'report.html')
    const summary = await run(scheduler, { campaign })
    expect(summary).toMatchObject({ outcome: 'incomplete', counts: { done: 0, failed: 4 }, reportFile: file, findings: [] })
    const html = readFileSync(file, 'utf8')
    for (const text of ['4 failures', '<pre>no such &lt;file&gt;</pre>', '>no results yet<', 'No results yet.', 'Provenance'])
      expect(html).toContain(text)
    rmSync(file)
    expect(await writeReport(directory())).toMatchObject({ file })
    expect(existsSync(file)).toBe(true)
  })

  it('writes no report before there is a result or a failure', async () => {
    const stop = new AbortController()
    const scheduler = new MemoryScheduler({ play: () => ({ fate: 'stuck' }) })
    const onEvent = (event: { readonly type: string }): void => {
      if (event.type === 'submitted') stop.abort()
    }
    expect(await run(scheduler, { signal: stop.signal, onEvent })).toMatchObject({ outcome: 'detached', reportFile: undefined })
    expect(await writeReport(directory())).toMatchObject({ file: undefined })
  })

  it.each([
    ['throws', (): unknown => JSON.parse('no table'), /Unexpected token/],
    ['returns something else', () => 'all is well', /something else than a list/],
  ])('writes the report when analyse %s, with what failed', async (_how, analyse, words) => {
    const scheduler = new MemoryScheduler({ play: (job) => square(levelOf(job)) })
    const summary = await run(scheduler, { campaign: squares({ analyse: analyse as never }) })
    expect(summary).toMatchObject({ outcome: 'complete', reportFile: join(directory(), 'report.html') })
    expect(summary.findings).toEqual([
      { title: 'The analysis failed', text: expect.stringMatching(/^analyse of 4 rows: /) as string, ok: false },
    ])
    expect(summary.findings[0]?.text).toMatch(words)
    expect(readFileSync(join(directory(), 'report.html'), 'utf8')).toContain('The analysis failed')
  })

  it('runs a prepare stage once for each of its levels, before the jobs that need it', async () => {
    const campaign = defineCampaign({
      name: 'built',
      factors: { flag: ['O2', 'O3'], n: [1, 2] },
      prepare: [{ name: 'compile', by: ['flag'], command: ['true'] }],
      job: { command: ['true'] },
    })
    for (const dependencies of [false, true]) {
      const scheduler = new MemoryScheduler({ supports: { dependencies } })
      const summary = await run(scheduler, { campaign, directory: join(folder, String(dependencies)) })
      expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
      const [first, second, ...jobs] = scheduler.entries.map(({ job }) => job)
      expect([first?.name, second?.name]).toEqual(['built-compile', 'built-compile'])
      expect(jobs).toHaveLength(4)
      for (const job of jobs)
        expect(job.environment?.['CAHIER_PREPARE_COMPILE']).toContain(`flag-${job.environment?.['CAHIER_FACTOR_flag']}`)
      await run(scheduler, { campaign, directory: join(folder, String(dependencies)) })
      expect(scheduler.entries).toHaveLength(6)
    }
  })

  it('does not run what a failed prepare stage should have made', async () => {
    const campaign = defineCampaign({
      name: 'built',
      factors: { flag: ['O2', 'bad'], n: [1, 2] },
      prepare: [{ name: 'compile', by: ['flag'], command: ['true'] }],
      job: { command: ['true'] },
    })
    for (const dependencies of [false, true]) {
      const play = (job: { name: string; environment?: Readonly<Record<string, string>> }) => ({
        exitCode: job.name === 'built-compile' && job.environment?.['CAHIER_FACTOR_flag'] === 'bad' ? 2 : 0,
      })
      const place = join(folder, String(dependencies))
      const summary = await run(new MemoryScheduler({ play, supports: { dependencies } }), { campaign, directory: place })
      expect(summary).toMatchObject({ outcome: 'incomplete', counts: { done: 2, failed: 2 } })
      expect((await whyItem(place, 'flag=bad,n=1')).attempts[0]?.outcome).toBe('upstream-failed')
      const stage = await whyItem(place, 'prepare:compile')
      expect(stage).toMatchObject({ isStage: true, state: 'failed', attempts: [{ outcome: 'failed', exitCode: 2 }] })
      expect(stage.id).toMatch(/^prepare:compile:flag-bad/)
      expect(stage.matches?.map(({ state }) => state).sort()).toEqual(['done', 'failed'])
      expect(existsSync(stage.attempts[0]?.directory ?? '')).toBe(true)
      expect((await readStatus(place)).failures[0]?.id).toBe(stage.id)
      await expect(whyItem(place, 'prepare:comp')).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    }
  })
})

describe('runCampaign refuses before anything runs', () => {
  it.each([
    ['a factor with no level', { factors: { n: [] } }, 'E_FACTOR_EMPTY', /n/],
    ['a condition that keeps nothing', { where: () => false }, 'E_FACTOR_EMPTY', /where|condition/],
    ['a name that no combination has', { job: { command: ['expr', '{{ m }}'] } }, 'E_TEMPLATE_NAME', /uses m/],
    ['a file that does not exist', { files: ['gone.py'] }, 'E_CAMPAIGN_NOT_FOUND', /gone\.py/],
    ['a template that does not exist', { job: { script: 'gone.sh' } }, 'E_CAMPAIGN_NOT_FOUND', /gone\.sh/],
    ['a job with nothing to run', { job: {} }, 'E_CAMPAIGN_INVALID', /command or script/],
    ['a figure of an unknown column', { report: [{ kind: 'line' as const, x: 'm', y: 'square' }] }, 'E_CAMPAIGN_INVALID', /m, which is no/],
    [
      'a result that is collected and not declared',
      { collect: { sqare: { pattern: 'x' } } },
      'E_CAMPAIGN_INVALID',
      /^collect names sqare, which is no result$/,
      'Did you mean square?',
    ],
    [
      'a result that nothing collects',
      { results: { square: { type: 'integer' }, note: { type: 'string', optional: true }, seconds: { type: 'number' } } },
      'E_CAMPAIGN_INVALID',
      /^nothing collects the result seconds$/,
      /^Add to collect: seconds/,
    ],
    ['results without collect', { collect: {} }, 'E_CAMPAIGN_INVALID', /^nothing collects the result square$/],
  ])('%s', async (_what, more, code, message, suggestion: string | RegExp = '') => {
    const scheduler = new MemoryScheduler()
    await expect(run(scheduler, { campaign: squares(more as never) })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      ...(suggestion === '' ? {} : { suggestions: [expect.stringMatching(suggestion)] }),
    })
    expect(scheduler.entries).toHaveLength(0)
    expect(existsSync(directory())).toBe(false)
  })

  it('a program that is not there', async () => {
    const campaign = squares({ job: { command: ['no-such-program-anywhere', '{{ n }}'] } })
    await expect(run(new MemoryScheduler(), { campaign, site: { ...site, scheduler: 'local' } })).rejects.toMatchObject({
      code: 'E_PROGRAM_NOT_FOUND',
    })
  })

  it('a directory that holds something else', async () => {
    mkdirSync(directory())
    writeFileSync(join(directory(), 'thesis.tex'), '')
    await expect(run(new MemoryScheduler())).rejects.toMatchObject({ code: 'E_RUN_DIRECTORY' })
    expect(readdirSync(directory())).toEqual(['thesis.tex'])
  })
})
