import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { foldIds, readId } from '../src/ids.js'

describe('readId', () => {
  it.each([
    ['1234', { nativeId: '1234' }],
    ['1234_7', { nativeId: '1234_7' }],
    ['1234_[5-900%10]', { nativeId: '1234', elements: [[5, 900]] }],
    [
      '1234_[1,3,7-9]',
      {
        nativeId: '1234',
        elements: [
          [1, 1],
          [3, 3],
          [7, 9],
        ],
      },
    ],
    [
      '1234_[1-5:2%1]',
      {
        nativeId: '1234',
        elements: [
          [1, 1],
          [3, 3],
          [5, 5],
        ],
      },
    ],
    ['1234_[0-3:1]', { nativeId: '1234', elements: [[0, 3]] }],
  ])('reads %s', (text, id) => {
    expect(readId(text)).toEqual(id)
  })

  it('takes what SLURM cut for everything that comes after', () => {
    expect(readId('1234_[1,3-4,...]')).toEqual({
      nativeId: '1234',
      elements: [
        [1, 1],
        [3, 4],
        [5, 4_294_967_293],
      ],
    })
  })

  it.each([
    '',
    '0',
    '4+1',
    '1234_',
    '1234_[]',
    '1234_[5-3]',
    '1234_[a]',
    '1234_[1-9:0]',
    '12 34',
    '1234.batch',
    '_7',
    '1234_[0-9999999999:2]',
  ])('refuses %j', (text) => {
    expect(readId(text)).toBeUndefined()
  })
})

describe('foldIds', () => {
  it('folds elements of one array, and leaves the rest as it was', () => {
    expect(foldIds(['7', '12_3', '12_1', '12_2', '9_4', '12_8', '8', '8_1'])).toEqual(['7', '12_[1-3,8]', '9_4', '8'])
  })

  it('names just the elements that it was given', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(400), { minLength: 1 }), (numbers) => {
        const [folded, ...others] = foldIds(numbers.map((number) => `77_${number}`))
        expect(others).toEqual([])
        const read = readId(folded!)!
        const elements = read.elements?.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, at) => from + at)) ?? [
          Number(read.nativeId.split('_')[1]),
        ]
        expect(elements).toEqual([...numbers].sort((a, b) => a - b))
      }),
    )
  })
})
