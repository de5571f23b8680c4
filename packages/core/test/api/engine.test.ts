import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Engine } from '../../src/api/engine.js'
import { MemoryScheduler } from '../../src/testing/memory-scheduler.js'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-engine-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const site = { name: 'test', scheduler: 'memory', options: {}, modules: [] }
/** Answers about tags at once, like a scheduler that reports changes. */
const makeScheduler = () => new MemoryScheduler({ supports: { push: true } })

class OneJob extends Engine {
  outcomes: string[] = []
  override async run(): Promise<void> {
    const job = await this.submit({ name: 'only', command: ['true'] })
    this.outcomes = (await this.waitJobs([job, job])).map(({ outcome }) => outcome)
  }
}
const start = (engine: Engine, scheduler: MemoryScheduler, signal?: AbortSignal) =>
  engine.start(['-c', 'run'], { parent: folder, write: false, site, scheduler, ...(signal === undefined ? {} : { signal }) })

describe('Engine', () => {
  it('waits for a job that is named twice, and submits it once over several starts', async () => {
    const scheduler = makeScheduler()
    const engine = new OneJob()
    expect(await start(engine, scheduler)).toMatchObject({ outcome: 'completed' })
    expect(engine.outcomes).toEqual(['succeeded', 'succeeded'])
    await start(new OneJob(), scheduler)
    expect(scheduler.entries).toHaveLength(1)
  })

  it('looks a job up whose submission was uncertain, and takes one "there is none" for no answer', async () => {
    const scheduler = makeScheduler()
    scheduler.faults.push('uncertain-queued')
    const find = scheduler.find.bind(scheduler)
    scheduler.find = (tags) => (scheduler.asked.find++ === 0 ? Promise.resolve(new Map()) : find(tags))
    const engine = new OneJob()
    expect(await start(engine, scheduler)).toMatchObject({ outcome: 'completed' })
    expect(engine.outcomes).toEqual(['succeeded', 'succeeded'])
    expect(scheduler.entries).toHaveLength(1)
  })

  it('submits again, when it is continued, what the scheduler has said twice not to have', async () => {
    const scheduler = makeScheduler()
    scheduler.faults.push('uncertain-lost')
    await expect(start(new OneJob(), scheduler)).rejects.toMatchObject({ code: 'E_SUBMIT_UNCERTAIN' })
    expect(scheduler.asked.find).toBeGreaterThanOrEqual(2)
    expect(await start(new OneJob(), scheduler)).toMatchObject({ outcome: 'completed' })
    expect(scheduler.entries).toHaveLength(1)
  })

  it('is interrupted by a signal that was aborted before', async () => {
    const scheduler = makeScheduler()
    expect(await start(new OneJob(), scheduler, AbortSignal.abort())).toMatchObject({ outcome: 'interrupted' })
    expect(scheduler.entries).toHaveLength(0)
  })
})
