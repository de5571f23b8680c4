import { describe, expect, it } from 'vitest'
import { finishTemplate, Planner } from '../../src/engine/plan.js'
import { readCampaign } from '../../src/engine/read-campaign.js'
import type { CampaignInput } from '../../src/model/campaign.js'
import { LiquidRenderer } from '../../src/template/liquid-renderer.js'

const planner = (campaign: Partial<CampaignInput>, more: object = {}): Planner => {
  const input = { name: 'c', factors: { n: [1, 2] }, job: { command: ['true'] }, ...campaign }
  return new Planner({
    spec: readCampaign(input, 'test'),
    runId: 'x7k2m9',
    runDirectory: '/there/run',
    renderer: new LiquidRenderer(),
    scripts: new Map(),
    modules: [],
    ...more,
  })
}
const item = (n: number) => ({ combination: { n }, repetition: 1 })

describe('finishTemplate', () => {
  it("puts the site's lines after the user's directives and before the first command", () => {
    const text = '#!/bin/bash\n#SBATCH --ntasks=8\n# a comment\n\n#SBATCH -t 1:00:00\n\nenv\n'
    expect(finishTemplate(text, ['module load gcc'])).toBe(
      '#!/bin/bash\n#SBATCH --ntasks=8\n# a comment\n\n#SBATCH -t 1:00:00\nmodule load gcc\n\nenv\n',
    )
  })

  it('puts them after the first line where there is no directive', () => {
    expect(finishTemplate('#!/bin/sh\necho\n', ['a'])).toBe('#!/bin/sh\na\necho\n')
    expect(finishTemplate('echo', ['a'])).toBe('#!/bin/sh\na\necho\n')
    expect(finishTemplate('#!/bin/sh\n# only this', ['a'])).toBe('#!/bin/sh\na\n# only this\n')
  })

  it('does not take the text of a here-document for directives', () => {
    const text = '#!/bin/sh\n#SBATCH -n 1\ncat >other.sh <<END\n#SBATCH -n 2\nEND\n'
    expect(finishTemplate(text, ['module load gcc'])).toBe(text.replace('cat', 'module load gcc\ncat'))
  })

  it.each(['#OAR -l nodes=2', '#PBS -l nodes=2', '# @ class = short', '#@ queue'])('knows %s', (line) => {
    expect(finishTemplate(`#!/bin/sh\n${line}\ntrue\n`, ['a'])).toBe(`#!/bin/sh\n${line}\na\ntrue\n`)
  })
})

describe('a template with directives and $placeholders', () => {
  const template = '#!/bin/bash\n#SBATCH --ntasks=$n_cores\n#SBATCH -t 1:00:00\n\n$load_module\npython bench.py $n_cores $HOME\n'
  const job = { script: 'bench.sh', placeholders: 'dollar' as const, code: { load_module: 'module load Python/{{ python }}' } }
  const plan = (n_cores: unknown) =>
    planner(
      { job, factors: { n_cores: [8], python: ['3.6'] } },
      { scripts: new Map([['bench.sh', template]]), modules: ['module purge'] },
    ).planItem({ combination: { n_cores, python: '3.6' } as never, repetition: 1 }, 1).script

  it('is filled: values on directive lines, code as code, and what the shell knows is left to it', () => {
    expect(plan(8)).toBe(
      '#!/bin/bash\n#SBATCH --ntasks=8\n#SBATCH -t 1:00:00\nmodule purge\n\nmodule load Python/3.6\npython bench.py 8 $HOME\n',
    )
  })

  it.each(['8 --wrap=id', '8\n#SBATCH --uid=0', '', '$(id)', '8;id', "8'"])('is refused before it is submitted with %j', (value) => {
    expect(() => plan(value)).toThrow(expect.objectContaining({ code: 'E_TEMPLATE_UNSAFE' }))
  })
})

describe('what a job gets of its campaign', () => {
  it('are options with their placeholders filled, as deep as they are', () => {
    const options = { qos: '{{ n }}-hours', licenses: ['a:{{ n }}'], nice: 5, exclusive: true }
    expect(planner({ job: { command: ['true'], options } }).planItem(item(2), 1).options).toEqual({
      qos: '2-hours',
      licenses: ['a:2'],
      nice: 5,
      exclusive: true,
    })
    expect(planner({}).planItem(item(2), 1).options).toBeUndefined()
  })

  it('are the options that a function makes of the combination', () => {
    const options = ({ n }: Record<string, unknown>) => ({ nice: n })
    expect(planner({ job: { command: ['true'], options } }).planItem(item(2), 1).options).toEqual({ nice: 2 })
  })

  it.each([
    ['nothing', () => undefined],
    ['a list', () => [1]],
    [
      'an error',
      () => {
        throw new Error('no such n')
      },
    ],
  ])('are refused when that function gives %s', (_what, options) => {
    const made = planner({ job: { command: ['true'], options: options as never } })
    expect(() => made.planItem(item(2), 1)).toThrow(expect.objectContaining({ code: 'E_CAMPAIGN_INVALID' }))
  })

  it('is the number of its tasks for the template', () => {
    const job = { command: ['mpirun', '-n', '{{ job.tasks }}'], resources: { tasks: 6, nodes: 2 } }
    expect(planner({ job }).planItem(item(1), 1)).toMatchObject({
      script: '#!/bin/sh\nexec mpirun -n 6\n',
      resources: { tasks: 6, nodes: 2 },
    })
  })
})

describe('prepare stages of a site', () => {
  const prepare = [{ name: 'compile', by: ['n'], command: ['make'] }]
  it.each([
    [undefined, /^prepare:compile:n-1_[0-9a-f]+$/, /^prepare\/compile_n-1_[0-9a-f]+$/],
    ['b', /^prepare:compile:n-1_[0-9a-f]+@b$/, /^prepare\/compile_n-1_[0-9a-f]+@b$/],
  ])('have a key, a directory and a tag of their own: %s', (site, key, directory) => {
    const made = planner({ prepare }, { site })
    const [need] = made.needsOf({ n: 1 })
    expect(need?.key).toMatch(key)
    expect(made.prepareDirectory(need?.key ?? '', 1)).toMatch(directory)
    expect(made.prepareDirectory(need?.key ?? '', 2)).toMatch(/_a2$/)
    expect(made.prepareTag(need?.key ?? '', 1)).toMatch(/^[A-Za-z0-9_-]{1,60}$/)
  })

  it('have tags that differ from site to site', () => {
    const tags = [undefined, 'b', 'c'].map((site) => {
      const made = planner({ prepare }, { site })
      return made.prepareTag(made.needsOf({ n: 1 })[0]?.key ?? '', 1)
    })
    expect(new Set(tags).size).toBe(3)
  })
})
