import { beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { campaignScope, LOG, PROCESSES, programScope, RENDERER, SCHEDULER } from '../../src/di/wiring.js'
import { SchedulerError } from '../../src/errors.js'
import type { AdapterModule } from '../../src/ports/adapter.js'
import type { Scheduler } from '../../src/ports/scheduler.js'

const events: string[] = []
let silent = false
const adapter: AdapterModule = {
  api: 1,
  name: 'test',
  kind: 'scheduler',
  supports: {},
  options: z.strictObject({ queue: z.string().default('all') }),
  create: (options, host) => {
    events.push('made')
    return {
      options,
      host,
      open: async () => {
        events.push('opened')
        if (silent) throw new SchedulerError('E_SCHEDULER_SILENT', 'no answer')
      },
      [Symbol.asyncDispose]: async () => void events.push('ended'),
    } as never
  },
}
const open = (scheduler = 'test', options = {}, program = programScope()) =>
  campaignScope(program, { directory: '/nowhere', site: { scheduler, options }, adapters: { given: [adapter] } })

beforeEach(() => {
  events.length = 0
  silent = false
})

describe('campaignScope', () => {
  it('gives the scheduler of the site, opened, with checked options and what core lends', async () => {
    const scope = open()
    expect(await scope.resolve(SCHEDULER).get()).toMatchObject({
      options: { queue: 'all' },
      host: { log: scope.resolve(LOG), processes: scope.resolve(PROCESSES) },
    })
    expect(events).toEqual(['made', 'opened'])
  })

  it('makes nothing before it is asked for, and each thing once', async () => {
    const scope = open()
    expect(scope.describe()).toContain('  SiteScheduler <- Site, Adapters, AdapterHost')
    expect(events).toEqual([])
    const scheduler = scope.resolve(SCHEDULER)
    expect(await scheduler.get()).toBe(await scheduler.get())
    expect(events).toEqual(['made', 'opened'])
  })

  it('keeps campaigns apart and shares what the program has once', () => {
    const program = programScope()
    const [first, second] = [open('test', {}, program), open('test', {}, program)]
    expect(first.resolve(SCHEDULER)).not.toBe(second.resolve(SCHEDULER))
    expect(first.resolve(RENDERER)).toBe(second.resolve(RENDERER))
  })

  it('can be checked without asking the site anything', async () => {
    const scope = open()
    await scope.resolve(SCHEDULER).check()
    expect(events).toEqual(['made'])
    await scope.resolve(SCHEDULER).get()
    expect(events).toEqual(['made', 'opened'])
    await expect(open('slurm').resolve(SCHEDULER).check()).rejects.toMatchObject({ code: 'E_ADAPTER_MISSING' })
  })

  it('ends the scheduler with the campaign, when it was opened', async () => {
    await open()[Symbol.asyncDispose]()
    expect(events).toEqual([])
    const scope = open()
    await scope.resolve(SCHEDULER).get()
    await scope[Symbol.asyncDispose]()
    expect(events).toEqual(['made', 'opened', 'ended'])
  })

  it('opens again after a failure to open, and ends what failed', async () => {
    silent = true
    const scheduler = open().resolve(SCHEDULER)
    await expect(scheduler.get()).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    silent = false
    await scheduler.get()
    expect(events).toEqual(['made', 'opened', 'ended', 'made', 'opened'])
  })

  it('takes the scheduler of the program and leaves its end to it', async () => {
    const given = { name: 'mine', [Symbol.asyncDispose]: async () => void events.push('ended mine') } as unknown as Scheduler
    const scope = campaignScope(programScope(), { directory: '/nowhere', site: { scheduler: 'none', options: {} }, scheduler: given })
    expect(await scope.resolve(SCHEDULER).get()).toBe(given)
    await scope[Symbol.asyncDispose]()
    expect(events).toEqual([])
  })

  it.each([
    ['slurm', {}, 'E_ADAPTER_MISSING'],
    ['test', { queu: 'a' }, 'E_ADAPTER_OPTIONS'],
    ['local', { core: 2 }, 'E_ADAPTER_OPTIONS'],
  ])('refuses the scheduler %s with the options %j', async (name, options, code) => {
    await expect(open(name, options).resolve(SCHEDULER).get()).rejects.toMatchObject({ code })
  })
})
