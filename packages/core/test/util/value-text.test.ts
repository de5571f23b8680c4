import { describe, expect, it } from 'vitest'
import { jsonTextOf, textOfValue } from '../../src/util/value-text.js'

describe('textOfValue', () => {
  it.each([
    ['two words\n', 'two words\n'],
    ['', ''],
    [null, ''],
    [true, 'true'],
    [0.1, '0.1'],
    [1e21, '1e+21'],
    [-0, '-0'],
    [Number.NaN, 'NaN'],
    [Number.NEGATIVE_INFINITY, '-Infinity'],
    [2n ** 64n, '18446744073709551616'],
    [[1, -0, 2n ** 64n, null, 'a"b'], '[1,-0,18446744073709551616,null,"a\\"b"]'],
    [{ tol: 1e-6, name: 'cg' }, '{"tol":0.000001,"name":"cg"}'],
  ])('writes %o as a program reads it', (value, text) => {
    expect(textOfValue(value)).toBe(text)
  })

  it.each(['a\0b', '\ud800', 'x\udc00'])('refuses %j, which no argument can hold', (value) => {
    expect(() => textOfValue(value)).toThrow(expect.objectContaining({ code: 'E_TEMPLATE_UNSAFE' }))
  })

  it('writes in JSON, by escapes, what no argument can hold', () => {
    expect(textOfValue(['\0', '\ud800'])).toBe('["\\u0000","\\ud800"]')
    expect(jsonTextOf('\0')).toBe('"\\u0000"')
  })
})
