import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { planRun, runCampaign } from '../../../src/api/runs.js'
import { MemoryScheduler } from '../../../src/testing/memory-scheduler.js'
import { runSquares, scratch, site, squares, squaring, upTo } from './lab.js'

const plan = (campaign: ReturnType<typeof squares>, more: object = {}) =>
  planRun({ campaign, site, scheduler: new MemoryScheduler(), ...more })

describe('planRun', () => {
  it('counts combinations, repetitions, items and levels, and touches nothing', async () => {
    const directory = scratch()
    const factors = { n: [1, 2, 3, 4], solver: { cg: { tol: [1e-3, 1e-6] }, direct: {} } }
    const campaign = squares({ factors: factors as never, repetitions: 5 })
    expect(await plan(campaign, { directory: join(directory, 'run') })).toMatchObject({
      campaign: 'squares',
      site: 'test',
      scheduler: 'memory',
      combinations: 12,
      repetitions: 5,
      items: 60,
      alreadyDone: 0,
      toDo: 60,
      difference: undefined,
      factors: [
        { name: 'n', levels: 4 },
        { name: 'solver', levels: 2 },
        { name: 'tol', levels: 2 },
      ],
      warnings: [],
    })
    expect(readdirSync(directory)).toEqual([])
  })

  it.each([
    ['as data', { cores: 4, walltime: '30min' }, 20],
    ['with machines', { cores: 4, nodes: 2, walltime: '30min' }, 40],
    ['as a function', ({ n }: { n: number }) => ({ cores: n, walltime: '1h' }), 55],
    ['without walltime', { cores: 4 }, undefined],
    ['not at all', undefined, undefined],
  ])('sums core hours of resources given %s', async (_how, resources, hours) => {
    const job = { command: ['true'], ...(resources === undefined ? {} : { resources }) }
    const { coreHours } = await plan(squares({ factors: { n: upTo(10) }, job: job as never }))
    if (hours === undefined) expect(coreHours).toBeUndefined()
    else expect(coreHours).toBeCloseTo(hours)
  })

  it('warns when the resources of a combination cannot be read', async () => {
    const resources = ({ n }: { n: number }) => ({ cores: n, walltime: n === 3 ? 'soon' : '1h' })
    const { coreHours, warnings } = await plan(squares({ job: { command: ['true'], resources } }))
    expect(coreHours).toBeUndefined()
    expect(warnings).toEqual([expect.stringContaining('soon')])
  })

  it('says of a job that asks for nothing that it asks for nothing', async () => {
    expect((await plan(squares({ job: { command: ['true'] } }))).samples[0]?.resources).toEqual({})
  })

  it('shows the first jobs exactly as they are then submitted', async () => {
    const directory = join(scratch(), 'run')
    const campaign = squares({ job: { command: ['expr', '{{ n }}', '*', '{{ n }}'], resources: { cores: 2, walltime: '90s' } } })
    const { samples } = await plan(campaign, { samples: 2 })
    expect(samples).toMatchObject([
      { combination: { n: 1 }, repetition: 1, script: "#!/bin/sh\nexec expr 1 '*' 1\n", resources: { cores: 2, walltimeMs: 90_000 } },
      { combination: { n: 2 } },
    ])
    const scheduler = squaring()
    await runSquares(directory, scheduler, { campaign })
    expect(scheduler.entries.slice(0, 2).map(({ job }) => [job.directory, job.script])).toEqual(
      samples.map((sample) => [join(directory, sample.directory), sample.script]),
    )
  })

  it('says what is done already, and what an edit adds and removes', async () => {
    const directory = join(scratch(), 'run')
    await runSquares(directory, squaring())
    expect(await plan(squares(), { directory, samples: 4 })).toMatchObject({
      alreadyDone: 4,
      toDo: 0,
      difference: { added: 0, kept: 4, removed: 0 },
      samples: [],
    })
    expect(await plan(squares({ factors: { n: [3, 4, 5] } }), { directory, samples: 4 })).toMatchObject({
      items: 3,
      alreadyDone: 2,
      toDo: 1,
      difference: { added: 1, kept: 2, removed: 2 },
      samples: [{ combination: { n: 5 } }],
    })
  })

  it('says that failed work is not tried again by itself', async () => {
    const directory = join(scratch(), 'run')
    const scheduler = squaring([], (n) => (n > 2 ? { exitCode: 1 } : {}))
    await runSquares(directory, scheduler)
    const { warnings, toDo } = await plan(squares(), { directory })
    expect(warnings).toEqual([expect.stringMatching(/^2 work items failed before.*cahier retry/)])
    expect(toDo).toBe(2)
  })

  it('refuses what runCampaign would refuse: a condition that keeps nothing', async () => {
    for (const where of [() => false, 'n > 100']) {
      await expect(plan(squares({ where }))).rejects.toMatchObject({
        code: 'E_FACTOR_EMPTY',
        message: expect.stringMatching(/no combination/),
        suggestions: [expect.stringContaining('where')],
      })
    }
  })

  it('refuses a scheduler that no package provides, before anything else is asked', async () => {
    const campaign = squares()
    for (const attempt of [planRun, runCampaign]) {
      await expect(attempt({ campaign, site: { ...site, scheduler: 'no-such' }, directory: join(scratch(), 'run') })).rejects.toMatchObject(
        {
          code: 'E_ADAPTER_MISSING',
        },
      )
    }
  })
})
