import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { SiteCommand } from '../../../src/ports/scheduler-dialect.js'
import { fakeQueue, makeSpec, observeUntil, submitAll } from './fake-steps.js'

describe('a batch job that is given up', () => {
  it.each([1, 2])('does nothing when its submission of %i arrives after all', async (pack) => {
    const queue = fakeQueue()
    const late: SiteCommand[] = []
    const dialect = {
      ...queue.dialect,
      submit: (submission: Parameters<typeof queue.dialect.submit>[0]): SiteCommand => {
        late.push(queue.dialect.submit(submission))
        return { argv: ['sh', '-c', 'echo "the connection is lost" >&2; exit 1'] }
      },
    }
    await using scheduler = queue.connect({ dialect })
    const jobs = [0, 1, 2].map(() => makeSpec(queue, 'echo ran >>ledger', { pack }))
    expect((await scheduler.submit(jobs)).map(({ outcome }) => outcome)).toEqual(['uncertain', 'uncertain', 'uncertain'])
    expect(await scheduler.find(jobs)).toEqual(new Map())
    expect(await scheduler.giveUp(jobs)).toEqual(new Set())
    for (const { argv, env } of late) execFileSync(argv[0], argv.slice(1), { env: { ...process.env, ...env } as NodeJS.ProcessEnv })
    const found = await scheduler.find(jobs)
    expect(found.size).toBe(3)
    await observeUntil(scheduler, [...found.values()], ({ state }) => state === 'ended')
    for (const { directory } of jobs) expect(existsSync(join(directory, 'ledger'))).toBe(false)
  })

  it('goes on when it has begun, which is told', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const jobs = [0, 1].map(() => makeSpec(queue, 'echo began >>ledger; while [ ! -e go ]; do sleep 0.05; done; echo ended >>ledger'))
    const handles = await submitAll(scheduler, jobs)
    await observeUntil(scheduler, handles, ({ state }) => state === 'running')
    const never = makeSpec(queue, 'true')
    const ran = makeSpec(queue, 'true')
    await observeUntil(scheduler, await submitAll(scheduler, [ran]), ({ state }) => state === 'ended')
    const tags = await scheduler.giveUp([...jobs, never, ran])
    // One that the queue calls running may be about to take its directory.
    expect(tags.has(ran.tag)).toBe(true)
    expect(tags.has(never.tag)).toBe(false)
    for (const { directory } of jobs) writeFileSync(join(directory, 'go'), '')
    await observeUntil(scheduler, handles, ({ state }) => state === 'ended')
    for (const { tag, directory } of jobs) {
      expect(tags.has(tag)).toBe(existsSync(join(directory, 'ledger')))
      if (tags.has(tag)) expect(readFileSync(join(directory, 'ledger'), 'utf8')).toBe('began\nended\n')
    }
  })
})
