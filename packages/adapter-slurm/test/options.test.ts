import { describe, expect, it } from 'vitest'
import { checkJobOptions, slurmJobFields, slurmOptions } from '../src/options.js'

describe('options of a site', () => {
  it('have defaults', () => {
    expect(slurmOptions.parse({ qos: 'long' })).toMatchObject({ qos: 'long', extra: [], arrays: true, pollInterval: 30_000 })
  })

  it.each([
    { qos: 'a b' },
    { comment: 'a\nb' },
    { memPerCpu: '4' },
    { nice: 1.5 },
    { cluster: 'a,b' },
    { singleton: 'a b' },
    { arrayThrottle: 0 },
    { qoss: 'x' },
    { extra: ['--array=1-3'] },
    { extra: ['--comment=a b'] },
    { extra: ['-J x'] },
  ])('refuse %j', (options) => {
    expect(slurmOptions.safeParse(options).success).toBe(false)
  })

  it('are described, every one', () => {
    for (const [name, field] of Object.entries(slurmJobFields)) expect(field.meta()?.description, name).toMatch(/\w/)
  })
})

describe('checkJobOptions', () => {
  const site = slurmOptions.parse({ qos: 'long', nice: 5, cluster: 'big' })

  it('puts those of the job over those of the site', () => {
    expect(checkJobOptions(site, { qos: 'short' })).toEqual({ options: { qos: 'short', nice: 5, extra: [] } })
  })

  it('takes those of the site that come back with the job’s', () => {
    expect(checkJobOptions(site, { ...site, exclusive: true })).toEqual({ options: { qos: 'long', nice: 5, exclusive: true, extra: [] } })
  })

  it('says the nearest name', () => {
    expect(checkJobOptions(site, { contraint: 'ib' })).toEqual({
      fault: 'SLURM jobs have no option "contraint", but one "constraint"',
      suggestions: ['Write "constraint"'],
    })
  })

  it.each([
    [{ cluster: 'other' }, 'one of a site'],
    [{ pollInterval: '1s' }, 'one of a site'],
    [{ zzzzzzzzzz: 1 }, 'no option "zzzzzzzzzz"'],
    [{ nice: 'very' }, '"nice" of the job is wrong'],
    [{ extra: ['-n'] }, 'no value'],
  ])('refuses %j', (options, why) => {
    expect(checkJobOptions(site, options)).toMatchObject({ fault: expect.stringContaining(why) })
  })
})
