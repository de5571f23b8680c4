import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Death, type ElsewherePlace, isPrepare, levelOf, levels, memory, SitesLab, square, squares, upTo } from './sites-lab.js'

const prepare = [{ name: 'compile', command: ['true'] }]
const resultsOf = (lab: SitesLab) => lab.read(({ state }) => [...state.records(() => '')].map(({ values }) => values['square']))

describe('a run at a site that does not see our files', () => {
  it('stages before it submits, and brings results home before it judges', async () => {
    const lab = new SitesLab()
    const place = lab.place('far')
    const seen: unknown[] = []
    const scheduler = memory({
      play: (job) => {
        seen.push(JSON.parse(readFileSync(join(job.directory, 'parameters.json'), 'utf8')))
        return square(job)
      },
    })
    expect((await lab.drive([{ name: 'far', scheduler, place }])).outcome).toBe('complete')
    expect(seen).toEqual(upTo(6).map((n) => ({ n, repetition: 1 })))
    expect(await resultsOf(lab)).toEqual([1, 4, 9, 16, 25, 36])
    for (const { job } of scheduler.entries) {
      expect(job.directory.startsWith(`${place.root}/combinations/`)).toBe(true)
      expect(job).toMatchObject({ runDirectory: place.root, manifest: { exclude: ['parameters.json'] } })
    }
    expect(place.fetched).toHaveLength(6)
  })

  it('tells jobs where the prepare stage is there, and leaves what it made there', async () => {
    const lab = new SitesLab()
    const place = lab.place('far')
    const scheduler = memory()
    expect((await lab.drive([{ name: 'far', scheduler, place }], { campaign: squares({ prepare }) })).outcome).toBe('complete')
    const told = scheduler.entries.flatMap(({ job }) => job.environment?.['CAHIER_PREPARE_COMPILE'] ?? [])
    expect(new Set(told)).toEqual(new Set([join(place.root, 'prepare/compile')]))
    expect(place.fetched.filter((path) => path.startsWith('prepare'))).toEqual([])
  })

  it('brings home what a failed prepare stage and a failed job said', async () => {
    const lab = new SitesLab()
    const place = lab.place('far')
    const scheduler = memory({
      play: (job) => (levelOf(job) === 2 ? { exitCode: 3, stderr: 'no such mesh\n' } : square(job)),
    })
    await lab.drive([{ name: 'far', scheduler, place }])
    expect(await lab.read(({ state }) => state.verdictOf(1)?.detail)).toBe('exit code 3: no such mesh')
    const other = new SitesLab()
    const elsewhere = other.place('far')
    const failing = memory({ play: () => ({ exitCode: 2, stderr: 'gcc: not found\n' }) })
    await other.drive([{ name: 'far', scheduler: failing, place: elsewhere }], { campaign: squares({ prepare }) })
    expect(elsewhere.fetched).toEqual(['prepare/compile'])
    expect(readFileSync(join(other.directory, 'prepare/compile/stderr'), 'utf8')).toBe('gcc: not found\n')
  })

  it('asks again for what does not fit its manifest', async () => {
    const lab = new SitesLab()
    const place = lab.place('far')
    place.faults.push('stdout has 3 bytes, 10 are listed')
    expect((await lab.drive([{ name: 'far', scheduler: memory(), place }], { graceMs: 60_000 })).outcome).toBe('complete')
    expect(place.fetched).toHaveLength(6)
  })

  it('calls invalid what never comes home, with the reason, and keeps the verdict of a job that failed', async () => {
    const lab = new SitesLab()
    const place = lab.place('far')
    const scheduler = memory({ play: (job) => (levelOf(job) === 2 ? { exitCode: 1 } : square(job)) })
    place.fetch = async (attempts) => attempts.map(() => ({ ok: false, detail: 'stdout is not there' }))
    const end = await lab.drive([{ name: 'far', scheduler, place }], { campaign: squares({ factors: { n: [1, 2] } }) })
    expect(end.outcome).toBe('incomplete')
    const verdicts = await lab.read(({ state }) => [0, 1].map((n) => state.verdictOf(n)))
    expect(verdicts).toMatchObject([
      { outcome: 'invalid', detail: 'its files could not be brought home: stdout is not there' },
      { outcome: 'failed', detail: 'exit code 1; its files could not be brought home: stdout is not there' },
    ])
  })

  it('judges nothing while the connection is gone', async () => {
    const lab = new SitesLab()
    const place = lab.place('far')
    const stop = new AbortController()
    const scheduler = memory()
    const observe = scheduler.observe.bind(scheduler)
    scheduler.observe = async (handles) => {
      place.silent = true
      return await observe(handles)
    }
    await lab.drive([{ name: 'far', scheduler, place }], {
      signal: stop.signal,
      onEvent: (event) => event.type === 'paused' && stop.abort(),
    })
    expect(lab.events.find(({ type }) => type === 'paused')).toMatchObject({ pause: { reason: 'scheduler-silent', site: 'far' } })
    expect(await lab.read(({ state }) => state.flights.size)).toBe(6)
    scheduler.observe = observe
    place.silent = false
    expect((await lab.drive([{ name: 'far', scheduler, place }])).outcome).toBe('complete')
    expect(scheduler.entries).toHaveLength(6)
  })

  it('cancels what runs there from another controller, and brings home what it left', async () => {
    const lab = new SitesLab()
    const [near, far] = [memory({ play: () => ({ fate: 'stuck' }) }), memory({ play: () => ({ fate: 'stuck' }) })]
    const place = lab.place('far')
    const sites = [
      { name: 'near', scheduler: near },
      { name: 'far', scheduler: far, place },
    ]
    const stop = new AbortController()
    await lab.drive(sites, {
      signal: stop.signal,
      onEvent: (event) => event.type === 'counts' && event.counts.running === 6 && stop.abort(),
    })
    const end = await lab.drive(sites, { mode: 'stop' })
    expect(end).toMatchObject({ outcome: 'paused', pause: { reason: 'stopped' } })
    expect(await lab.read(({ state }) => state.counts())).toMatchObject({ todo: 6, running: 0, submitted: 0 })
    expect([...near.entries, ...far.entries].map(({ end: how }) => how)).toEqual(upTo(6).map(() => 'canceled'))
  })
})

describe('a controller that is killed at any moment', () => {
  const campaign = squares({ factors: { n: upTo(4) }, prepare })
  const sitesOf = (place: ElsewherePlace) => {
    const supports = { dependencies: true }
    return [
      { name: 'near', scheduler: memory({ supports }) },
      { name: 'far', scheduler: memory({ supports }), place },
    ]
  }
  const first = async (at: number) => {
    const lab = new SitesLab()
    const sites = sitesOf(lab.place('far'))
    const death = new Death(at)
    await lab.drive(sites, { campaign, death }).catch((error: Error) => expect(error.message).toBe('killed'))
    return { lab, sites, death }
  }

  it('leaves nothing that runs unseen: its successor ends every item, and each has run once', { timeout: 240_000 }, async () => {
    for (let at = 1; ; at += 1) {
      const { lab, sites, death } = await first(at)
      const end = await lab.drive(sites, { campaign })
      const all = sites.flatMap(({ scheduler }) => levels(scheduler))
      expect({ at, outcome: end.outcome, all: all.sort() }).toEqual({ at, outcome: 'complete', all: upTo(4) })
      expect(await resultsOf(lab)).toEqual([1, 4, 9, 16])
      for (const { scheduler } of sites) {
        const stages = scheduler.entries.filter(({ job }) => isPrepare(job))
        expect(stages.length).toBeLessThanOrEqual(1)
      }
      if (death.hasCome) continue
      expect(at).toBeGreaterThan(30)
      break
    }
  })
})

describe('a journal of an older version', () => {
  it('is read: its jobs are at the first site', async () => {
    const lab = new SitesLab()
    const stop = new AbortController()
    const scheduler = memory({ play: () => ({ fate: 'stuck' }) })
    await lab.drive([{ name: 'here', scheduler }], {
      isOld: true,
      signal: stop.signal,
      onEvent: (event) => event.type === 'counts' && event.counts.running === 6 && stop.abort(),
    })
    const journal = readFileSync(join(lab.directory, 'journal/events.jsonl'), 'utf8')
    expect(journal).not.toContain('"site":"here"')
    for (const entry of scheduler.entries) entry.state = 'ended'
    for (const { job } of scheduler.entries) writeFileSync(join(job.directory, 'stdout'), `square=${levelOf(job) ** 2}\n`)
    for (const entry of scheduler.entries)
      entry.exit = { version: 1, tag: entry.job.tag, exitCode: 0, reason: 'exited', startedAt: 1, endedAt: 2, host: 'x' }
    const end = await lab.drive([
      { name: 'here', scheduler },
      { name: 'there', scheduler: memory() },
    ])
    expect(end.outcome).toBe('complete')
    expect(scheduler.entries).toHaveLength(6)
  })
})

describe('a site that the run no longer has', () => {
  it('stops everything before it begins while jobs are in flight there, and nothing is lost', async () => {
    const lab = new SitesLab()
    const stop = new AbortController()
    const [a, b] = [memory({ play: () => ({ fate: 'stuck' }) }), memory({ play: () => ({ fate: 'stuck' }) })]
    await lab.drive(
      [
        { name: 'a', scheduler: a },
        { name: 'b', scheduler: b },
      ],
      { signal: stop.signal, onEvent: (event) => event.type === 'counts' && event.counts.running === 6 && stop.abort() },
    )
    const there = levels(b).length
    await expect(lab.drive([{ name: 'a', scheduler: a }])).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      message: `${there} jobs of this run are in flight at the site b, which is not among those given`,
      data: { site: 'b', jobs: there },
    })
    expect(await lab.read(({ state }) => state.counts().running)).toBe(6)
  })

  it('gets no new work when its jobs are only followed to their ends', async () => {
    const lab = new SitesLab()
    const stop = new AbortController()
    let isStuck = true
    const play = (job: Parameters<typeof square>[0]) => (isStuck ? { fate: 'stuck' as const } : square(job))
    const [a, b] = [memory({ play }), memory({ play })]
    const both = [
      { name: 'a', scheduler: a },
      { name: 'b', scheduler: b },
    ]
    const campaign = squares({ factors: { n: upTo(40) } })
    await lab.drive(both, {
      campaign,
      maxInFlight: 6,
      signal: stop.signal,
      onEvent: (event) => event.type === 'counts' && event.counts.running === 6 && stop.abort(),
    })
    const there = levels(b).length
    isStuck = false
    for (const { scheduler } of both) for (const entry of scheduler.entries) entry.state = 'pending'
    const end = await lab.drive(
      [
        { name: 'a', scheduler: a },
        { name: 'b', scheduler: b, takesWork: false },
      ],
      { campaign },
    )
    expect(end.outcome).toBe('complete')
    expect(levels(b)).toHaveLength(there)
    expect(levels(a)).toHaveLength(40 - there)
  })
})
