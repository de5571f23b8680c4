import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SchedulerError } from '../../src/errors.js'
import { isPrepare, levelOf, levels, memory, SitesLab, square, squares, upTo } from './sites-lab.js'

const many = (more = {}) => squares({ factors: { n: upTo(60) }, ...more })
const twice = (numbers: readonly number[]) => numbers.filter((one, index) => numbers.indexOf(one) !== index)

describe('a run on two sites', () => {
  it('shares the work, runs each item once, and remembers where', async () => {
    const lab = new SitesLab()
    const [a, b] = [memory(), memory()]
    const end = await lab.drive(
      [
        { name: 'a', scheduler: a },
        { name: 'b', scheduler: b },
      ],
      { campaign: many() },
    )
    expect(end.outcome).toBe('complete')
    const [atA, atB] = [levels(a), levels(b)]
    expect([...atA, ...atB].sort((x, y) => x - y)).toEqual(upTo(60))
    expect(Math.min(atA.length, atB.length)).toBeGreaterThan(5)
    const sites = await lab.read(({ state }) => upTo(60).map((n) => state.historyOf(n - 1)[0]?.site))
    for (const n of atA) expect(sites[n - 1]).toBeUndefined()
    for (const n of atB) expect(sites[n - 1]).toBe('b')
  })

  it('finds each job where it is when the journal has lost them', async () => {
    const lab = new SitesLab()
    const stop = new AbortController()
    const stuck = { play: () => ({ fate: 'stuck' as const }) }
    const [a, b] = [memory(stuck), memory(stuck)]
    const sites = [
      { name: 'a', scheduler: a },
      { name: 'b', scheduler: b },
    ]
    const campaign = squares({ factors: { n: upTo(20) } })
    let submitted = 0
    const onEvent = ({ type }: { readonly type: string }): void => {
      if (type === 'submitted') submitted += 1
      if (submitted === 20) stop.abort()
    }
    await lab.drive(sites, { campaign, signal: stop.signal, onEvent })
    expect(Math.min(levels(a).length, levels(b).length)).toBeGreaterThan(3)
    rmSync(join(lab.directory, 'journal'), { recursive: true })
    for (const scheduler of [a, b])
      for (const entry of scheduler.entries) {
        writeFileSync(join(entry.job.directory, 'stdout'), `square=${levelOf(entry.job) ** 2}\n`)
        entry.state = 'ended'
        entry.exit = { version: 1, tag: entry.job.tag, exitCode: 0, reason: 'exited', startedAt: 1, endedAt: 2, host: 'memory' }
      }
    // Dealt one by one, they would come to other sites than before.
    const end = await lab.drive(sites, { campaign, maxInFlight: 2 })
    expect(end.outcome).toBe('complete')
    expect([...levels(a), ...levels(b)].sort((x, y) => x - y)).toEqual(upTo(20))
  })

  it('goes on with one while the other is silent, tells which, and uses it again when it answers', async () => {
    const lab = new SitesLab()
    const [a, b] = [memory(), memory()]
    b.silent = true
    const end = await lab.drive(
      [
        { name: 'a', scheduler: a },
        { name: 'b', scheduler: b },
      ],
      {
        campaign: many(),
        onEvent: (event) => {
          if (event.type === 'item' && levels(a).length > 40) b.silent = false
        },
      },
    )
    expect(end.outcome).toBe('complete')
    expect(twice([...levels(a), ...levels(b)])).toEqual([])
    const pauses = lab.events.flatMap((event) => (event.type === 'paused' ? [event.pause] : []))
    expect(pauses).toMatchObject([{ reason: 'scheduler-silent', site: 'b', detail: 'b: the scheduler does not answer' }])
    expect(await lab.read(({ state }) => state.pause)).toBeUndefined()
  })

  it('keeps the jobs of a silent site in flight and ends the rest', async () => {
    const lab = new SitesLab()
    const stop = new AbortController()
    const [a, b] = [memory(), memory({ play: () => ({ fate: 'stuck' }) })]
    const sites = [
      { name: 'a', scheduler: a },
      { name: 'b', scheduler: b },
    ]
    const end = await lab.drive(sites, {
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === 'submitted' && levels(b).length > 0) b.silent = true
        if (event.type === 'counts' && event.counts.done === 6 - levels(b).length) stop.abort()
      },
    })
    expect(end.outcome).toBe('detached')
    const kept = levels(b).length
    expect(kept).toBeGreaterThan(0)
    const flights = await lab.read(({ state }) => [...state.flights.values()].map(({ site }) => site))
    expect(flights).toEqual(upTo(kept).map(() => 'b'))
  })

  it.each(['E_LOGIN_NEEDED', 'E_LOGIN_REFUSED'])('waits for a login where %s, and only there', async (code) => {
    const lab = new SitesLab()
    const [a, b] = [memory(), memory()]
    let isRefused = true
    const opening = (): void => {
      if (isRefused) throw new SchedulerError('E_SCHEDULER_SILENT', 'login asks for a code', { data: { code } })
    }
    const end = await lab.drive(
      [
        { name: 'a', scheduler: a },
        { name: 'b', scheduler: b, opening },
      ],
      { onEvent: () => (isRefused = levels(a).length < 6) },
    )
    expect(end.outcome).toBe('complete')
    expect(levels(a)).toHaveLength(6)
    const pauses = lab.events.flatMap((event) => (event.type === 'paused' ? [event.pause] : []))
    expect(pauses).toMatchObject([{ reason: 'login-needed', site: 'b' }])
  })

  it('is not begun when none of them can be reached', async () => {
    const lab = new SitesLab()
    const opening = (): void => {
      throw new SchedulerError('E_SCHEDULER_SILENT', 'no way there', { data: { code: 'E_HOST_UNREACHABLE' } })
    }
    const sites = ['a', 'b'].map((name) => ({ name, scheduler: memory(), opening }))
    await expect(lab.drive(sites)).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT', message: 'no way there' })
    expect(await lab.read(({ state }) => state.openedSeq)).toBe(0)
  })

  it('is begun and waits where the only queue does not answer yet', async () => {
    const lab = new SitesLab()
    let tries = 0
    const opening = (): void => {
      tries += 1
      if (tries < 3) throw new SchedulerError('E_SCHEDULER_SILENT', 'the controller is down')
    }
    const end = await lab.drive([{ name: 'a', scheduler: memory(), opening }])
    expect(end).toMatchObject({ outcome: 'complete' })
    expect(tries).toBe(3)
    const pauses = lab.events.flatMap((event) => (event.type === 'paused' ? [event.pause] : []))
    expect(pauses).toMatchObject([{ reason: 'scheduler-silent', detail: 'the controller is down' }])
  })

  it('is not begun when one of them can never be used', async () => {
    const opening = (): void => {
      throw new SchedulerError('E_SCHEDULER_MISSING', 'sbatch is not there')
    }
    const sites = [
      { name: 'a', scheduler: memory({ play: () => ({ fate: 'stuck' }) }) },
      { name: 'b', scheduler: memory(), opening },
    ]
    await expect(new SitesLab().drive(sites)).rejects.toMatchObject({ code: 'E_SCHEDULER_MISSING' })
  })

  it('leaves to the other what one pushes back', async () => {
    const lab = new SitesLab()
    const [a, b] = [memory(), memory()]
    const submit = b.submit.bind(b)
    let tries = 0
    b.submit = async (jobs) => {
      tries += 1
      if (levels(a).length < 40) b.faults.push(...jobs.map(() => 'rejected' as const))
      return await submit(jobs)
    }
    const sites = [
      { name: 'a', scheduler: a },
      { name: 'b', scheduler: b },
    ]
    expect((await lab.drive(sites, { campaign: many() })).outcome).toBe('complete')
    expect(twice([...levels(a), ...levels(b)])).toEqual([])
    expect(levels(a).length).toBeGreaterThanOrEqual(40)
    expect(tries).toBeGreaterThan(0)
  })

  it('gives a slow site no more than a short row', async () => {
    const lab = new SitesLab()
    const stop = new AbortController()
    const [a, b] = [memory(), memory({ play: () => ({ fate: 'stuck' }) })]
    b.observe = async (handles) => handles.map((handle) => ({ handle, state: 'pending', rawState: 'PENDING' }))
    const sites = [
      { name: 'a', scheduler: a },
      { name: 'b', scheduler: b },
    ]
    await lab.drive(sites, {
      campaign: squares({ factors: { n: upTo(200) } }),
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === 'counts' && event.counts.todo === 0 && event.counts.done >= 200 - 16) stop.abort()
      },
    })
    expect(levels(b).length).toBeLessThanOrEqual(16)
    expect(levels(a).length).toBeGreaterThanOrEqual(184)
  })

  it('stops giving work to a site where everything fails in the same way, and goes on with the other', async () => {
    const lab = new SitesLab()
    const [a, b] = [memory(), memory({ play: () => ({ exitCode: 127, stderr: 'python: not found\n' }) })]
    const sites = [
      { name: 'a', scheduler: a },
      { name: 'b', scheduler: b },
    ]
    const end = await lab.drive(sites, { campaign: many({ breaker: { identical: 3 } }) })
    expect(end.outcome).toBe('incomplete')
    expect(levels(b).length).toBeLessThanOrEqual(16)
    expect(levels(a).length).toBeGreaterThanOrEqual(44)
    const pauses = lab.events.flatMap((event) => (event.type === 'paused' ? [event.pause] : []))
    expect(pauses).toMatchObject([{ reason: 'breaker', site: 'b', detail: expect.stringMatching(/^b: 3 failures in a row/) }])
  })

  it('pauses as a whole when everything fails in the same way at both', async () => {
    const lab = new SitesLab()
    const sites = ['a', 'b'].map((name) => ({ name, scheduler: memory({ play: () => ({ exitCode: 1 }) }) }))
    const end = await lab.drive(sites, { campaign: many({ breaker: { identical: 3 } }) })
    expect(end).toMatchObject({ outcome: 'paused', pause: { reason: 'breaker' } })
  })

  it('has no more jobs in flight than asked for, on all sites together', async () => {
    const lab = new SitesLab()
    let most = 0
    const sites = ['a', 'b'].map((name) => {
      const scheduler = memory()
      const submit = scheduler.submit.bind(scheduler)
      scheduler.submit = async (jobs) => {
        const outcomes = await submit(jobs)
        most = Math.max(
          most,
          sites.reduce((sum, one) => sum + one.scheduler.entries.filter(({ state }) => state === 'pending').length, 0),
        )
        return outcomes
      }
      return { name, scheduler }
    })
    expect((await lab.drive(sites, { campaign: many(), maxInFlight: 5 })).outcome).toBe('complete')
    expect(most).toBeLessThanOrEqual(5)
  })
})

describe('prepare stages on two sites', () => {
  const prepared = (more = {}) => many({ prepare: [{ name: 'compile', command: ['true'] }], ...more })
  const supports = { dependencies: true }

  it('are done once at each that needs them, and jobs are told of their own', async () => {
    const lab = new SitesLab()
    const [a, b] = [memory({ supports }), memory({ supports })]
    const sites = [
      { name: 'a', scheduler: a },
      { name: 'b', scheduler: b },
    ]
    expect((await lab.drive(sites, { campaign: prepared() })).outcome).toBe('complete')
    for (const [scheduler, place] of [
      [a, 'prepare/compile'],
      [b, 'prepare/compile@b'],
    ] as const) {
      expect(scheduler.entries.filter(({ job }) => isPrepare(job))).toHaveLength(1)
      const told = new Set(scheduler.entries.flatMap(({ job }) => job.environment?.['CAHIER_PREPARE_COMPILE'] ?? []))
      expect([...told]).toEqual([`${lab.directory}/${place}`])
    }
  })

  it('that fail at one leave the work to the other', async () => {
    const lab = new SitesLab()
    const [a, b] = [memory({ supports }), memory({ supports, play: (job) => (isPrepare(job) ? { exitCode: 1 } : square(job)) })]
    const sites = [
      { name: 'a', scheduler: a },
      { name: 'b', scheduler: b },
    ]
    const end = await lab.drive(sites, { campaign: prepared() })
    expect(end.outcome).toBe('complete')
    expect(new Set(levels(a)).size).toBe(60)
  })

  it('that the scheduler knows to have failed before we do hold their jobs back until we know it, too', async () => {
    const lab = new SitesLab()
    const scheduler = memory({ supports, play: (job) => (isPrepare(job) ? { exitCode: 1 } : square(job)) })
    const submit = scheduler.submit.bind(scheduler)
    let refused = 0
    scheduler.submit = async (jobs) => {
      if (jobs.some(isPrepare)) return await submit(jobs)
      refused += jobs.length
      return jobs.map(({ tag }) => ({ outcome: 'invalid', tag, code: 'E_UPSTREAM_FAILED', message: 'job 1000 has failed' }))
    }
    const observe = scheduler.observe.bind(scheduler)
    scheduler.observe = async (handles) =>
      refused > 0 ? await observe(handles) : handles.map((handle) => ({ handle, state: 'running', rawState: 'R' }))
    const end = await lab.drive([{ name: 'a', scheduler }], { campaign: prepared({ factors: { n: [1, 2, 3] } }) })
    expect(end.outcome).toBe('incomplete')
    const verdicts = await lab.read(({ state }) => [0, 1, 2].map((n) => state.historyOf(n).map(({ verdict }) => verdict?.outcome)))
    expect(verdicts).toEqual([['upstream-failed'], ['upstream-failed'], ['upstream-failed']])
  })

  it('that fail everywhere fail each job once', async () => {
    const lab = new SitesLab()
    const play = (job: Parameters<typeof square>[0]) => (isPrepare(job) ? { exitCode: 1 } : square(job))
    const sites = ['a', 'b'].map((name) => ({ name, scheduler: memory({ supports, play }) }))
    const end = await lab.drive(sites, { campaign: prepared() })
    expect(end.outcome).toBe('incomplete')
    const outcomes = await lab.read(({ state }) =>
      upTo(60).map((n) => state.historyOf(n - 1).filter(({ verdict }) => verdict?.outcome === 'upstream-failed').length),
    )
    expect(Math.max(...outcomes)).toBeLessThanOrEqual(2)
    expect(await lab.read(({ state }) => state.counts().failed)).toBe(60)
  })
})
