import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { memberId, parseNativeId, rowIdOf } from '../../../src/scheduler/batch/native-id.js'

const number = fc.integer({ min: 1, max: 2 ** 40 }).map(String)
const cluster = fc.option(fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/), { nil: undefined })
const index = fc.option(fc.nat(100_000), { nil: undefined })

describe('native ids', () => {
  it('come apart as they were put together', () => {
    fc.assert(
      fc.property(number, cluster, index, index, (id, name, element, member) => {
        const end = name === undefined ? '' : `;${name}`
        const row = `${id}${element === undefined ? '' : `_${element}`}${end}`
        const whole = member === undefined ? row : memberId(row, member)
        expect(parseNativeId(whole)).toEqual({
          base: `${id}${end}`,
          ...(element === undefined ? {} : { element }),
          ...(member === undefined ? {} : { member }),
        })
        expect(rowIdOf(whole)).toBe(row)
      }),
    )
  })

  it.each(['', 'job.7@server', '12_', '12_a', '/3', '12_3_4'])('takes %j for the name of one job, whole', (text) => {
    expect(parseNativeId(text)).toEqual({ base: text })
    expect(rowIdOf(text)).toBe(text)
  })
})
