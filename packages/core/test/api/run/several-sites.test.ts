import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { type RunCampaignOptions, runCampaign } from '../../../src/api/run/run-campaign.js'
import { attachRun, planRun, readItems, readStatus, stopRun, whyItem } from '../../../src/api/runs.js'
import { openServices } from '../../../src/api/services.js'
import type { JobObservation } from '../../../src/model/job.js'
import type { RunEvent } from '../../../src/model/run.js'
import type { AdapterModule } from '../../../src/ports/adapter.js'
import { MemoryScheduler } from '../../../src/testing/memory-scheduler.js'
import { levelOf, scratch, squares, upTo } from './lab.js'

/** A scheduler for each site, kept beside the adapter that a site names. */
class Bed {
  readonly folder = scratch()
  readonly directory = join(this.folder, 'run')
  readonly schedulers = new Map<string, MemoryScheduler>()
  isStuck = false
  readonly adapter: AdapterModule = {
    api: 1,
    name: 'memory',
    kind: 'scheduler',
    supports: {},
    options: z.strictObject({ of: z.string() }),
    create: (options) => this.at((options as { of: string }).of),
  }

  constructor(names: readonly string[] = ['a', 'b']) {
    this.describe(names)
    writeFileSync(
      join(this.folder, 'campaign.json'),
      JSON.stringify({ ...squares({ factors: { n: upTo(20) } }).options, site: ['a', 'b'] }),
    )
  }

  describe(names: readonly string[]): void {
    const sites = Object.fromEntries(names.map((name) => [name, { scheduler: 'memory', options: { of: name } }]))
    writeFileSync(join(this.folder, 'cahier.config.yaml'), JSON.stringify({ sites }))
  }

  at(name: string): MemoryScheduler {
    let scheduler = this.schedulers.get(name)
    if (scheduler === undefined) {
      scheduler = new MemoryScheduler({
        play: (job) => (this.isStuck ? { fate: 'stuck' } : { stdout: `square=${levelOf(job) ** 2}\n` }),
      })
      this.schedulers.set(name, scheduler)
    }
    return scheduler
  }

  get levels(): Record<string, number[]> {
    return Object.fromEntries([...this.schedulers].map(([name, { entries }]) => [name, entries.map(({ job }) => levelOf(job))]))
  }

  readonly options = { adapters: { given: [this.adapter] }, timing: { pollMs: 2, graceMs: 30, settleGraceMs: 20 } }

  run(more: Partial<RunCampaignOptions> = {}) {
    return runCampaign({ campaign: join(this.folder, 'campaign.json'), directory: this.directory, ...this.options, ...more })
  }

  /** Left with all jobs in flight. */
  async leave(): Promise<void> {
    this.isStuck = true
    const stop = new AbortController()
    await this.run({ signal: stop.signal, onEvent: (event) => event.type === 'counts' && event.counts.running === 20 && stop.abort() })
    this.isStuck = false
  }

  unstick(): void {
    for (const { entries } of this.schedulers.values()) for (const entry of entries) if (entry.state === 'running') entry.state = 'pending'
  }
}

describe('a campaign that names several sites', () => {
  it('runs on all of them, and says where each attempt was made', async () => {
    const bed = new Bed()
    expect(await bed.run()).toMatchObject({ outcome: 'complete', counts: { done: 20 } })
    const { a = [], b = [] } = bed.levels
    expect([...a, ...b].sort((x, y) => x - y)).toEqual(upTo(20))
    expect(Math.min(a.length, b.length)).toBeGreaterThan(0)
    for (const { combination, attempts } of await readItems(bed.directory)) {
      expect(attempts.map(({ site }) => site)).toEqual([a.includes(Number(combination['n'])) ? 'a' : 'b'])
    }
    expect(JSON.parse(readFileSync(join(bed.directory, 'cahier.json'), 'utf8'))).toMatchObject({
      site: { name: 'a', scheduler: 'memory' },
      sites: [
        { name: 'a', scheduler: 'memory' },
        { name: 'b', scheduler: 'memory' },
      ],
    })
  })

  it.each([
    ['b', ['b']],
    ['b,a', ['b', 'a']],
    [' a , b ', ['a', 'b']],
  ])('runs elsewhere when the site %j is asked for', async (site, names) => {
    const bed = new Bed()
    const plan = await planRun({ campaign: join(bed.folder, 'campaign.json'), site, ...bed.options })
    expect(plan.sites.map(({ name }) => name)).toEqual(names)
    expect(await bed.run({ site })).toMatchObject({ outcome: 'complete' })
    expect([...bed.schedulers].flatMap(([name, { entries }]) => (entries.length > 0 ? [name] : [])).sort()).toEqual([...names].sort())
  })

  it.each([
    ['a,c', 'E_NOT_FOUND'],
    ['a,a', 'E_ARGUMENT'],
  ])('is refused on %j', async (site, code) => {
    await expect(new Bed().run({ site })).rejects.toMatchObject({ code })
  })

  it('tells where its jobs are, and why one of its sites stands still', async () => {
    const bed = new Bed()
    await bed.leave()
    const { sites = [] } = await readStatus(bed.directory)
    expect(sites.map(({ name, running }) => [name, running])).toEqual([
      ['a', bed.at('a').entries.length],
      ['b', bed.at('b').entries.length],
    ])
    bed.at('b').silent = true
    const stop = new AbortController()
    await bed.run({ signal: stop.signal, onEvent: (event) => event.type === 'paused' && stop.abort() })
    const status = await readStatus(bed.directory)
    expect(status.sites?.map(({ name, pause }) => [name, pause?.reason])).toEqual([
      ['a', undefined],
      ['b', 'scheduler-silent'],
    ])
    expect(status.pause).toBeUndefined()
  })

  it('follows the jobs of a site that is no longer asked for to their ends, and gives it no more', async () => {
    const bed = new Bed()
    await bed.leave()
    const before = bed.at('b').entries.length
    bed.unstick()
    expect(await bed.run({ site: 'a' })).toMatchObject({ outcome: 'complete' })
    expect(bed.at('b').entries).toHaveLength(before)
  })

  it('does not begin while jobs are in flight at a site that nobody describes, and loses none of them', async () => {
    const bed = new Bed()
    await bed.leave()
    bed.describe(['a'])
    await expect(bed.run({ site: 'a' })).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      message: `${bed.at('b').entries.length} jobs of this run are in flight at the site b, which the configuration does not have`,
    })
    bed.describe(['a', 'b'])
    bed.unstick()
    expect(await bed.run()).toMatchObject({ outcome: 'complete' })
    expect(bed.levels['a']?.length).toBeLessThan(20)
    expect([...(bed.levels['a'] ?? []), ...(bed.levels['b'] ?? [])]).toHaveLength(20)
  })

  it('is stopped with its jobs at all sites by another program', async () => {
    const bed = new Bed()
    await bed.leave()
    const stopped = await stopRun(bed.directory, { cancelJobs: true, ...bed.options })
    expect(stopped).toMatchObject({ how: 'driven', jobs: 20, status: { counts: { todo: 20, running: 0 } } })
    for (const { entries } of bed.schedulers.values()) expect(new Set(entries.map(({ end }) => end))).toEqual(new Set(['canceled']))
  })

  it('tells why a job waits, in the words of its scheduler', async () => {
    const bed = new Bed()
    const stop = new AbortController()
    const observe = (handles: readonly { nativeId: string }[]) =>
      handles.map((handle) => ({ handle, state: 'pending', rawState: 'PENDING', reason: 'QOSMaxJobsPerUserLimit' }))
    for (const name of ['a', 'b']) bed.at(name).observe = async (handles) => observe(handles) as never
    const journalFile = join(bed.directory, 'journal', 'events.jsonl')
    const isTold = () => readFileSync(journalFile, 'utf8').split('"type":"waiting"').length > 2
    await bed.run({ signal: stop.signal, onEvent: (event) => event.type === 'counts' && isTold() && stop.abort() })
    const item = await whyItem(bed.directory, '1')
    expect(item).toMatchObject({
      state: 'submitted',
      detail: 'waits: PENDING QOSMaxJobsPerUserLimit',
      attempts: [{ waiting: { words: 'PENDING QOSMaxJobsPerUserLimit', at: expect.any(Number) } }],
    })
    const journal = readFileSync(journalFile, 'utf8')
    expect(journal.match(/"type":"waiting"/g)?.length).toBeLessThanOrEqual(2)
  })

  it('says once, to all who look, which jobs are held and what to do, and goes on when they are let go', async () => {
    const bed = new Bed()
    const scheduler = bed.at('a')
    const observe = scheduler.observe.bind(scheduler)
    let isHeld = true
    scheduler.observe = async (handles) =>
      isHeld
        ? handles.map((handle) => ({ handle, state: 'held', rawState: 'PENDING', reason: 'JobHeldUser', advice: 'let it go' }))
        : observe(handles)
    const events: RunEvent[] = []
    const stuck = { site: 'a', words: 'PENDING JobHeldUser', advice: 'let it go', item: expect.stringMatching(/\/r1$/) }
    const stuckIn = (some: readonly RunEvent[]) => some.filter(({ type }) => type === 'stuck')
    const done = bed.run({
      onEvent: (event) => {
        events.push(event)
        if (event.type === 'stuck') void look()
      },
    })
    const seen: RunEvent[] = []
    const look = async () => {
      const left = new AbortController()
      await attachRun(bed.directory, {
        signal: left.signal,
        everyMs: 5,
        onEvent: (event) => seen.push(event) > 0 && event.type === 'stuck' && left.abort(),
      })
      expect(await readStatus(bed.directory)).toMatchObject({ state: 'running', stuck: [stuck] })
      isHeld = false
    }
    expect(await done).toMatchObject({ outcome: 'complete', counts: { done: 20 } })
    expect(stuckIn(events)).toEqual([{ type: 'stuck', stuck: expect.objectContaining(stuck) }])
    expect(stuckIn(seen)).toHaveLength(1)
    expect(await readStatus(bed.directory)).toMatchObject({ state: 'finished', stuck: [] })
  })

  it('says nothing any more of jobs that were let go while nobody looked', async () => {
    const bed = new Bed()
    const scheduler = bed.at('a')
    const observe = scheduler.observe.bind(scheduler)
    let said: Pick<JobObservation, 'state' | 'reason'> | undefined = { state: 'held', reason: 'JobHeldUser' }
    scheduler.observe = async (handles) => {
      const now = said
      return now === undefined ? observe(handles) : handles.map((handle) => ({ handle, rawState: 'PENDING', ...now }))
    }
    const left = new AbortController()
    await bed.run({ signal: left.signal, onEvent: ({ type }) => type === 'stuck' && left.abort() })
    expect(await readStatus(bed.directory)).toMatchObject({ stuck: [{ words: 'PENDING JobHeldUser' }] })
    said = { state: 'pending' }
    const events: RunEvent[] = []
    const done = bed.run({ onEvent: (event) => events.push(event) })
    await vi.waitFor(async () => expect((await readStatus(bed.directory)).stuck).toEqual([]), { timeout: 20_000 })
    said = undefined
    expect(await done).toMatchObject({ outcome: 'complete' })
    expect(events.filter(({ type }) => type === 'stuck')).toEqual([])
  })
})

describe('openServices', () => {
  it('gives the first site where only one is needed, and each its own scheduler', async () => {
    const bed = new Bed()
    mkdirSync(bed.directory)
    await using services = await openServices(bed.folder, { site: 'a,b', ...bed.options })
    expect(services.site.name).toBe('a')
    expect(services.sites.map(({ site }) => site.name)).toEqual(['a', 'b'])
    expect(await services.scheduler()).toBe(bed.at('a'))
    expect(await services.sites[1]?.scheduler()).toBe(bed.at('b'))
    expect(services.siteNamed('b')).toBe(services.sites[1])
    expect(services.siteNamed('local').site.scheduler).toBe('local')
    expect(() => services.siteNamed('c')).toThrow(expect.objectContaining({ code: 'E_NOT_FOUND' }))
  })

  it.each([
    [{}, true],
    [{ host: 'login' }, false],
    [{ host: 'login', sharedFiles: true }, true],
    [{ sharedFiles: false }, false],
  ])('knows of a site with %j whether it sees our files (%s)', async (more, isShared) => {
    const bed = new Bed()
    const site = { name: 'x', scheduler: 'memory', options: { of: 'x' }, modules: [], ...more }
    await using services = await openServices(bed.folder, { site, ...bed.options })
    const [one] = services.sites
    const place = one?.place({ directory: '/here/run', runId: '1', inputs: [] })
    expect([one?.isShared, one?.files.isShared, place?.isShared]).toEqual([isShared, isShared, isShared])
  })

  it('refuses to start jobs on this machine for a site that is another one', async () => {
    const site = { name: 'x', host: 'login', scheduler: 'local', options: {}, modules: [] }
    await expect(openServices('/', { site })).rejects.toMatchObject({ code: 'E_NOT_SUPPORTED' })
  })
})
