import { describe, expect, it } from 'vitest'
import { openJournal } from '../../src/api/run/open-run.js'
import { SchedulerError } from '../../src/errors.js'
import type { ExitRecord, JobPlace } from '../../src/model/job.js'
import { MemoryScheduler } from '../../src/testing/memory-scheduler.js'
import { levels, SitesLab, square, squares, upTo } from './sites-lab.js'

/** Loses submissions, and may bring them into its queue when they are long given up. */
class LossyScheduler extends MemoryScheduler {
  readonly givenUp: string[] = []
  /** Tags of those that have begun before they were given up. */
  readonly begun = new Set<string>()
  /** When the questions for lost jobs were answered. */
  readonly answered: number[] = []
  onFind: () => void = () => undefined
  onRecord: (tag: string) => void = () => undefined

  constructor() {
    super({ play: square })
  }

  override async find(jobs: readonly JobPlace[]): ReturnType<MemoryScheduler['find']> {
    this.onFind()
    const found = await super.find(jobs)
    this.answered.push(performance.now())
    return found
  }

  override async exitRecord(job: JobPlace): Promise<ExitRecord | undefined> {
    this.onRecord(job.tag)
    return super.exitRecord(job)
  }

  async giveUp(jobs: readonly JobPlace[]): Promise<ReadonlySet<string>> {
    this.givenUp.push(...jobs.map(({ tag }) => tag))
    return new Set(jobs.map(({ tag }) => tag).filter((tag) => this.begun.has(tag)))
  }
}

const three = squares({ factors: { n: [1, 2, 3] } })

describe('submissions without an answer', () => {
  it('are given up where they lie before others take their places', async () => {
    const lab = new SitesLab()
    const scheduler = new LossyScheduler()
    scheduler.faults.push('uncertain-lost', 'uncertain-lost')
    const end = await lab.drive([{ name: 'a', scheduler }], { campaign: three })
    expect(end.outcome).toBe('complete')
    expect(levels(scheduler).sort()).toEqual([1, 2, 3])
    const voided = await lab.read(({ state }) =>
      upTo(3).flatMap((n) => state.historyOf(n - 1).filter(({ nativeId }) => nativeId === undefined)),
    )
    expect(scheduler.givenUp).toHaveLength(2)
    expect(voided).toHaveLength(2)
  })

  it('are all settled when one of their records cannot be read for a while', async () => {
    const lab = new SitesLab()
    const scheduler = new LossyScheduler()
    scheduler.faults.push('uncertain-lost', 'uncertain-lost', 'uncertain-lost')
    const seen = new Map<string, number>()
    scheduler.onRecord = (tag) => {
      seen.set(tag, (seen.get(tag) ?? 0) + 1)
      const [, second] = [...seen.keys()]
      if (tag === second && (seen.get(tag) ?? 0) < 6) throw new SchedulerError('E_SCHEDULER_SILENT', 'the record cannot be read')
    }
    const end = await lab.drive([{ name: 'a', scheduler }], { campaign: three })
    expect(end.outcome).toBe('complete')
    expect(levels(scheduler).sort()).toEqual([1, 2, 3])
  })

  it('are not given up at the first words of a queue that stood still for long', async () => {
    const lab = new SitesLab()
    const scheduler = new LossyScheduler()
    scheduler.faults.push('uncertain-lost')
    let silentUntil = 0
    scheduler.onFind = () => {
      silentUntil ||= performance.now() + 150
      scheduler.silent = performance.now() < silentUntil
    }
    await lab.drive([{ name: 'a', scheduler }], { campaign: three })
    const [first = 0, , third = 0] = scheduler.answered
    expect(third - first).toBeGreaterThanOrEqual(19)
    expect(levels(scheduler).sort()).toEqual([1, 2, 3])
  })

  it('are not given up by a controller whose run another one has taken over', async () => {
    const lab = new SitesLab()
    const scheduler = new LossyScheduler()
    scheduler.faults.push('uncertain-lost')
    const find = scheduler.find.bind(scheduler)
    scheduler.find = async (jobs) => {
      const found = await find(jobs)
      if (scheduler.answered.length === 3) {
        await using other = await openJournal(lab.directory)
        await other.store.append([{ type: 'opened', host: 'elsewhere', pid: 1, version: 'test' }])
      }
      return found
    }
    await expect(lab.drive([{ name: 'a', scheduler }], { campaign: three })).rejects.toMatchObject({ code: 'E_RUN_HELD' })
    expect(scheduler.givenUp).toEqual([])
  })

  it('are looked for further when they have begun, and found', async () => {
    const lab = new SitesLab()
    const scheduler = new LossyScheduler()
    scheduler.faults.push('uncertain-queued')
    let asked = 0
    const find = scheduler.find.bind(scheduler)
    scheduler.find = async (jobs) => {
      for (const { tag } of jobs) scheduler.begun.add(tag)
      return asked++ < 5 ? new Map() : find(jobs)
    }
    const end = await lab.drive([{ name: 'a', scheduler }], { campaign: three, graceMs: 60_000 })
    expect(end.outcome).toBe('complete')
    expect(levels(scheduler).sort()).toEqual([1, 2, 3])
  })

  it('are lost when they have begun and nothing more is heard of them', async () => {
    const lab = new SitesLab()
    const scheduler = new LossyScheduler()
    scheduler.faults.push('uncertain-lost')
    scheduler.find = async (jobs) => {
      for (const { tag } of jobs) scheduler.begun.add(tag)
      return new Map()
    }
    const end = await lab.drive([{ name: 'a', scheduler }], { campaign: { ...three, retry: { attempts: 1 } } })
    expect(end.outcome).toBe('incomplete')
    const verdict = await lab.read(({ state }) => state.verdictOf(0))
    expect(verdict).toMatchObject({ outcome: 'lost', detail: expect.stringContaining('there is no exit record') })
  })
})

describe('a job whose end was asked for', () => {
  it('goes back to the list when it is gone without a word', async () => {
    const lab = new SitesLab()
    const scheduler = new MemoryScheduler({ play: () => ({ fate: 'stuck' }) })
    const sites = [{ name: 'a', scheduler }]
    const stop = new AbortController()
    await lab.drive(sites, { campaign: three, signal: stop.signal, onEvent: ({ type }) => type === 'submitted' && stop.abort() })
    // It is ended, and forgotten before anybody asks.
    scheduler.cancel = async (handles) => {
      for (const entry of scheduler.entries) entry.state = 'not-visible'
      return handles.map((handle) => ({ handle, outcome: 'requested' as const }))
    }
    await lab.drive(sites, { campaign: three, mode: 'stop' })
    const counts = await lab.read(({ state }) => state.counts())
    expect(counts).toMatchObject({ todo: 3, failed: 0 })
  })
})

describe('a job that ended without a record of its own', () => {
  it('is given up before another attempt is made, and one that is lost after it was looked for', async () => {
    const lab = new SitesLab()
    const scheduler = new LossyScheduler()
    const observe = scheduler.observe.bind(scheduler)
    const victims = new Map<string, 'node-failed' | 'gone'>()
    scheduler.observe = async (handles) =>
      (await observe(handles)).map((seen, index) => {
        const { nativeId, tag } = handles[index] as (typeof handles)[number]
        const entry = scheduler.entries.find((one) => one.handle.nativeId === nativeId)
        if (entry === undefined || !['1000', '1001'].includes(nativeId)) return seen
        victims.set(tag, nativeId === '1000' ? 'node-failed' : 'gone')
        entry.exit = undefined
        if (nativeId === '1000') return { ...seen, state: 'ended', rawState: 'NODE_FAIL', end: 'node-failed' }
        return { handle: seen.handle, state: 'not-visible', rawState: '' }
      })
    const find = scheduler.find.bind(scheduler)
    const order: string[] = []
    scheduler.find = async (jobs) => {
      order.push('find')
      const found = await find(jobs)
      return new Map([...found].filter(([tag]) => !victims.has(tag)))
    }
    const giveUp = scheduler.giveUp.bind(scheduler)
    scheduler.giveUp = (jobs) => {
      order.push(...jobs.map(({ tag }) => victims.get(tag) ?? 'other'))
      return giveUp(jobs)
    }
    const end = await lab.drive([{ name: 'a', scheduler }], { campaign: { ...three, retry: { attempts: 2 } } })
    expect(end.outcome).toBe('complete')
    expect(levels(scheduler).sort()).toEqual([1, 1, 2, 2, 3])
    expect(order.filter((one) => one !== 'find').sort()).toEqual(['gone', 'node-failed'])
    expect(order.indexOf('find')).toBeLessThan(order.indexOf('gone'))
  })

  it('is judged when it cannot be given up', async () => {
    const lab = new SitesLab()
    const scheduler = new LossyScheduler()
    const observe = scheduler.observe.bind(scheduler)
    scheduler.observe = async (handles) => {
      const seen = await observe(handles)
      for (const entry of scheduler.entries) entry.exit = undefined
      return seen.map((one) => ({ ...one, state: 'ended', end: 'node-failed' }))
    }
    scheduler.giveUp = () => Promise.reject(new SchedulerError('E_SCHEDULER_SILENT', 'the site is not reached'))
    const end = await lab.drive([{ name: 'a', scheduler }], { campaign: three })
    expect(end.outcome).toBe('incomplete')
    expect(await lab.read(({ state }) => state.counts())).toMatchObject({ failed: 3 })
  })
})
