import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { campaignScope, LOG, programScope, RENDERER, SCHEDULER, STORE } from '../../src/di/wiring.js'
import type { AdapterModule } from '../../src/ports/adapter.js'

const ended: string[] = []
const adapter: AdapterModule = {
  api: 1,
  name: 'test',
  kind: 'scheduler',
  supports: {},
  options: z.strictObject({ queue: z.string().default('all') }),
  create: (options, host) => ({ options, host, [Symbol.asyncDispose]: async () => void ended.push('scheduler') }) as never,
}
const program = () => programScope({ adapters: { given: [adapter] } })
const folder = () => mkdtempSync(join(tmpdir(), 'cahier-wiring-'))

describe('campaignScope', () => {
  it('gives a run its scheduler, with checked options and what core lends', async () => {
    const scope = await campaignScope(program(), { directory: folder(), site: { scheduler: 'test', options: {} } })
    expect(scope.resolve(SCHEDULER)).toMatchObject({ options: { queue: 'all' }, host: { log: scope.resolve(LOG) } })
  })

  it('has everything that is needed, and makes nothing before it is asked for', async () => {
    const directory = join(folder(), 'run')
    const scope = await campaignScope(program(), { directory, site: { scheduler: 'local', options: {} } })
    expect(() => scope.check()).not.toThrow()
    expect(scope.describe()).toContain('  Scheduler <- AdapterHost')
    expect(existsSync(directory)).toBe(false)
  })

  it('keeps runs apart and shares what the program has once', async () => {
    const root = program()
    const services = { directory: folder(), site: { scheduler: 'test', options: {} } }
    const [first, second] = [await campaignScope(root, services), await campaignScope(root, services)]
    expect(first.resolve(STORE)).not.toBe(second.resolve(STORE))
    expect(first.resolve(RENDERER)).toBe(second.resolve(RENDERER))
  })

  it('ends the scheduler with the run', async () => {
    const scope = await campaignScope(program(), { directory: folder(), site: { scheduler: 'test', options: {} } })
    scope.resolve(SCHEDULER)
    ended.length = 0
    await scope[Symbol.asyncDispose]()
    expect(ended).toEqual(['scheduler'])
  })

  it.each([
    ['slurm', {}, 'E_ADAPTER_MISSING'],
    ['test', { queu: 'a' }, 'E_ADAPTER_OPTIONS'],
    ['local', { core: 2 }, 'E_ADAPTER_OPTIONS'],
  ])('refuses the scheduler %s with the options %j before anything runs', async (scheduler, options, code) => {
    await expect(campaignScope(program(), { directory: folder(), site: { scheduler, options } })).rejects.toMatchObject({ code })
  })
})
