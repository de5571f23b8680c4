import { describe, expect, it } from 'vitest'
import { canonicalJson, decodeCanonical, encodeCanonical, parseCanonicalJson } from '../src/canonical-json.js'

const refused = (code: string) => expect.objectContaining({ code })

/** These texts are identities of stored work: a change here makes old runs unreadable. */
const golden: readonly (readonly [unknown, string])[] = [
  [1, '1'],
  [1.0, '1'],
  [true, 'true'],
  ['1', '"1"'],
  [null, 'null'],
  [0, '0'],
  [-0, '{"$number":"-0"}'],
  [NaN, '{"$number":"NaN"}'],
  [Infinity, '{"$number":"Infinity"}'],
  [-Infinity, '{"$number":"-Infinity"}'],
  [0.1 + 0.2, '0.30000000000000004'],
  [1e21, '1e+21'],
  [5e-324, '5e-324'],
  [1e-7, '1e-7'],
  [123456789012345680000, '123456789012345680000'],
  [2 ** 53, '9007199254740992'],
  [9007199254740993n, '{"$bigint":"9007199254740993"}'],
  [1n, '{"$bigint":"1"}'],
  [-5n, '{"$bigint":"-5"}'],
  ['', '""'],
  ['é', '"é"'],
  ['e\u0301', '"e\u0301"'],
  ['a"b\\c\n\u0000/', '"a\\"b\\\\c\\n\\u0000/"'],
  ['\ud800', '"\\ud800"'],
  ['😀', '"😀"'],
  [[], '[]'],
  [[1, [2, 'x']], '[1,[2,"x"]]'],
  [{}, '{}'],
  [{ b: 1, a: [true] }, '{"a":[true],"b":1}'],
  [{ a10: 1, a9: 2, B: 3, '': 4 }, '{"":4,"B":3,"a10":1,"a9":2}'],
  [{ '\ue000': 1, '😀': 2 }, '{"😀":2,"\ue000":1}'],
  [{ $number: 'NaN' }, '{"$$number":"NaN"}'],
  [{ $$number: 'NaN' }, '{"$$$number":"NaN"}'],
  [{ $: 1, a: NaN }, '{"$$":1,"a":{"$number":"NaN"}}'],
]

describe('canonicalJson', () => {
  it.each(golden)('writes %o as %s', (value, text) => {
    expect(canonicalJson(value)).toBe(text)
  })

  it.each(golden)('reads %o back from %s', (value, text) => {
    expect(parseCanonicalJson(text)).toStrictEqual(value)
  })

  it('does not see the order of keys', () => {
    expect(canonicalJson({ cores: 8, python: 'x' })).toBe(canonicalJson({ python: 'x', cores: 8 }))
  })

  it('keeps a key that is called __proto__', () => {
    const value = JSON.parse('{"__proto__":{"x":1},"a":2}') as object
    expect(canonicalJson(value)).toBe('{"__proto__":{"x":1},"a":2}')
    expect(canonicalJson(parseCanonicalJson(canonicalJson(value)))).toBe(canonicalJson(value))
  })

  it('writes the same object twice when it is no cycle', () => {
    const shared = { x: 1 }
    expect(canonicalJson([shared, shared])).toBe('[{"x":1},{"x":1}]')
  })

  it('takes objects without a prototype', () => {
    expect(canonicalJson(Object.assign(Object.create(null), { a: 1 }))).toBe('{"a":1}')
  })

  const cycle: Record<string, unknown> = {}
  cycle['self'] = [cycle]
  let deep: unknown = 0
  for (let i = 0; i < 100_000; i++) deep = [deep]
  it.each([
    ['undefined', undefined],
    ['a field that is undefined', { a: undefined }],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a symbol key', { [Symbol('x')]: 1 }],
    ['a cycle', cycle],
    ['a date', new Date(0)],
    ['a map', new Map()],
    ['an instance of a class', new (class Solver {})()],
    ['a boxed number', Object(1)],
    ['a hole', new Array<number>(3)],
    ['a tower of 100,000 arrays', deep],
  ])('refuses %s', (_, value) => {
    expect(() => canonicalJson(value)).toThrow(refused('E_FACTOR_VALUE'))
  })

  it.each(['', '{', '{"$number":"1"}', '{"$number":1}', '{"$other":1}', '{"$number":"NaN","a":1}', '{"$bigint":"01"}', '{"$bigint":"x"}'])(
    'refuses to read %j',
    (text) => {
      expect(() => parseCanonicalJson(text)).toThrow(refused('E_ARGUMENT'))
    },
  )
})

describe('encodeCanonical', () => {
  it('gives a JSON-safe value from which the same value comes back', () => {
    const value = { a: [NaN, -0, 12n], $b: 'x' }
    expect(encodeCanonical(value)).toStrictEqual({ a: [{ $number: 'NaN' }, { $number: '-0' }, { $bigint: '12' }], $$b: 'x' })
    expect(decodeCanonical(JSON.parse(JSON.stringify(encodeCanonical(value))))).toStrictEqual(value)
  })
})
