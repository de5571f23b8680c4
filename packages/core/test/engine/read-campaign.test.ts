import { describe, expect, it } from 'vitest'
import { readCampaign } from '../../src/engine/read-campaign.js'

const good = { name: 'a', factors: { n: [1, 2] }, job: { command: ['true'] } }
const refusal = (input: unknown): { message: string; suggestions: readonly string[] } => {
  try {
    readCampaign(input, 'file.yaml', (path) => path.length)
  } catch (error) {
    expect(error).toMatchObject({ code: 'E_CAMPAIGN_INVALID' })
    return error as never
  }
  throw new Error('it was read')
}

describe('readCampaign', () => {
  it('fills in the defaults', () => {
    expect(readCampaign(good, 'x')).toMatchObject({ repetitions: 1, maxInFlight: 1000, breaker: { identical: 10 }, retry: { attempts: 1 } })
  })

  it.each([
    ['at the top', { ...good, repetition: 3 }, 'repetition: unknown key', 'Did you mean repetitions?'],
    ['in the job', { ...good, job: { comand: ['true'] } }, 'job.comand', 'Did you mean command?'],
    ['in the resources', { ...good, job: { ...good.job, resources: { coers: 2 } } }, 'job.resources.coers', 'Did you mean cores?'],
    ['in collect', { ...good, collect: { s: { from: 'stdout', patern: 'x' } } }, 'collect.s.patern', 'Did you mean pattern?'],
    ['in a figure', { ...good, report: [{ kind: 'line', x: 'n', y: 's', skale: 'log' }] }, 'report[0].skale', 'Did you mean scale?'],
    ['in retry', { ...good, retry: { attempt: 2 } }, 'retry.attempt', 'Did you mean attempts?'],
  ])('refuses an unknown name %s and names the nearest', (_where, input, message, suggestion) => {
    const error = refusal(input)
    expect(error.message).toContain(message)
    expect(error.suggestions).toContain(suggestion)
  })

  it.each([
    ['no name', { ...good, name: undefined }],
    ['a name with a slash', { ...good, name: 'a/b' }],
    ['repetitions of 0', { ...good, repetitions: 0 }],
    ['a factor that is text', { ...good, factors: { n: 'abc' } }],
    ['an unknown outcome', { ...good, retry: { on: ['failled'] } }],
    ['a text', 'name: x'],
    ['nothing', null],
  ])('refuses %s', (_what, input) => {
    expect(refusal(input).message).toContain('file.yaml does not fit the schema')
  })

  it('says in words which kinds are wanted', () => {
    expect(refusal({ ...good, factors: { n: null } }).message).toContain(
      'factors.n: expected a list or names with values, but there is nothing',
    )
    expect(refusal({ ...good, site: { scheduler: 'slurm' } })).toMatchObject({
      message: expect.stringContaining('site: expected a text or a list, not names with values') as unknown,
      suggestions: ['Describe the site in cahier.config.yaml, and write its name here'],
    })
  })

  it('gives each of several faults its line, and each advice its place', () => {
    const { message, suggestions } = refusal({ ...good, repetition: 3, job: { comand: 'x' } })
    expect(message).toMatch(/schema:\n {2}line \d: .*\n {2}line \d: /)
    expect(suggestions).toEqual(expect.arrayContaining(['repetition: Did you mean repetitions?', 'job.comand: Did you mean command?']))
  })

  it('names the line where it is known', () => {
    expect(refusal({ ...good, job: { comand: 1 } }).message).toContain('line 2: job.comand')
  })
})
