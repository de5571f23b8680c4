import { describe, expect, it } from 'vitest'
import { prepareCampaign } from '../../src/api/run/prepared.js'
import { readCampaign } from '../../src/engine/read-campaign.js'
import type { CampaignInput } from '../../src/model/campaign.js'
import { LiquidRenderer } from '../../src/template/liquid-renderer.js'

const check = (more: Partial<CampaignInput>) => {
  const spec = readCampaign({ name: 'c', factors: { cores: [1, 2] }, job: { command: ['true'] }, ...more }, 'test')
  return prepareCampaign({ name: 'c', file: undefined, directory: '/', spec }, new LiquidRenderer(), { isLocal: false })
}

describe('what a campaign says to the scheduler of its site', () => {
  it('may use factors, and what every template may use', () => {
    const options = { constraint: '{{ cores }}', comment: ['{{ repetition }}', '{{ job.tasks }}'] }
    expect(() => check({ job: { command: ['true'], options } })).not.toThrow()
  })

  it.each([
    ['job', { job: { command: ['true'], options: { constraint: '{{ core }}' } } }, 'job.options uses core'],
    [
      'a prepare stage',
      { prepare: [{ name: 'mesh', command: ['true'], options: { qos: '{{ cores }}' } }] },
      'prepare mesh.options uses cores',
    ],
  ] as [string, Partial<CampaignInput>, string][])(
    'is refused when options of %s use what it does not have',
    (_where, campaign, message) => {
      expect(() => check(campaign)).toThrow(expect.objectContaining({ code: 'E_TEMPLATE_NAME', message: expect.stringContaining(message) }))
    },
  )
})

describe('what comes home', () => {
  const collect = { energy: { from: 'out/energy.txt', pattern: '(.*)' } }
  it.each([['out/energy.txt'], ['out'], ['out/'], ['*.txt'], ['out/**']])('may be %j when a result is read from it', (pattern) => {
    expect(() => check({ collect, fetch: [pattern] })).not.toThrow()
  })

  it('need not name the output of jobs', () => {
    expect(() => check({ collect: { energy: { from: 'stdout', pattern: '(.*)' } }, fetch: ['*.log'] })).not.toThrow()
  })

  it.each([
    [['log.txt'], 'collect.energy reads out/energy.txt, which fetch would leave on the site'],
    [['/scratch/x'], 'fetch names /scratch/x, which is not below the directory of a job'],
    [['../x'], 'fetch names ../x'],
    [['out/../../x'], 'fetch names out/../../x'],
  ])('is refused as %j', (fetch, message) => {
    expect(() => check({ collect, fetch })).toThrow(
      expect.objectContaining({ code: 'E_CAMPAIGN_INVALID', message: expect.stringContaining(message) }),
    )
  })
})
