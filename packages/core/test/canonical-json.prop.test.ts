import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyText } from '../../../test/any-text.js'
import { canonicalJson, parseCanonicalJson } from '../src/canonical-json.js'

/** Values of every kind, with keys and texts that try to look like something else. */
const scalar = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.constantFrom(0, -0, 1, NaN, Infinity, 2 ** 53),
  fc.bigInt(),
  fc.boolean(),
  fc.constant(null),
  anyText(),
  fc.constantFrom('1', 'true', 'null', 'NaN', '-0', '\ud800', '\udc00\ud800'),
)
const key = fc.oneof(anyText({ maxLength: 4 }), fc.constantFrom('$number', '$$number', '$bigint', '$', '__proto__', 'a'))
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
}))

/** Equality that the encoding must agree with; written without it. */
function same(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b)
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((k) => Object.hasOwn(b, k) && same((a as Record<string, unknown>)[k], (b as Record<string, unknown>)[k]))
  )
}

describe('canonicalJson, for any value', () => {
  it('is read back as the same value', () => {
    fc.assert(
      fc.property(value, (v) => same(parseCanonicalJson(canonicalJson(v)), v)),
      { numRuns: 2000 },
    )
  })

  it('is different for different values and equal for equal ones', () => {
    fc.assert(
      fc.property(value, value, (a, b) => (canonicalJson(a) === canonicalJson(b)) === same(a, b)),
      { numRuns: 2000 },
    )
  })

  it('is valid JSON of well-formed text', () => {
    fc.assert(
      fc.property(value, (v) => {
        const text = canonicalJson(v)
        expect(Buffer.from(text, 'utf8').toString('utf8')).toBe(text)
        JSON.parse(text)
      }),
    )
  })

  it('does not see the order in which keys were set', () => {
    fc.assert(
      fc.property(fc.dictionary(key, scalar), (fields) => {
        const reversed = Object.fromEntries(Object.entries(fields).reverse())
        expect(canonicalJson(reversed)).toBe(canonicalJson(fields))
      }),
    )
  })
})
