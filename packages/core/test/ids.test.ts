import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyText } from '../../../test/any-text.js'
import { combinationId, makeTag, shortId, slugOf } from '../src/ids.js'

describe('combinationId', () => {
  it('is the SHA-256 of the canonical JSON', () => {
    const text = '{"cores":8,"python":"3.6.3"}'
    expect(combinationId({ python: '3.6.3', cores: 8 })).toBe(createHash('sha256').update(text).digest('hex'))
  })

  it('never changes', () => {
    expect(combinationId({})).toBe('44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a')
    expect(combinationId({ a: NaN, b: 1n, c: ['é'] })).toMatchInlineSnapshot(
      `"166c20f1643e56c4e8c2322577833a862f52604f6bb3517a36386534e9102266"`,
    )
  })

  it('tells 1, "1", true and 1n apart', () => {
    expect(new Set([1, '1', true, 1n].map((x) => combinationId({ x }))).size).toBe(4)
  })

  it('is shortened to ten digits', () => {
    expect(shortId(combinationId({}))).toBe('44136fa355')
  })
})

describe('slugOf', () => {
  it('reads like the combination, in alphabetical order', () => {
    expect(slugOf({ python: '3.6.3', cores: 8 })).toBe(`cores-8_python-3.6.3_${shortId(combinationId({ cores: 8, python: '3.6.3' }))}`)
  })

  it('is the short id alone for the empty combination', () => {
    expect(slugOf({})).toBe('44136fa355')
  })

  it.each([
    ['levels that look alike', [{ x: 1 }, { x: '1' }, { x: 1n }]],
    ['levels that differ in forbidden characters', [{ x: 'a/b' }, { x: 'a b' }, { x: 'a-b' }, { x: 'a\nb' }]],
    ['names that run into levels', [{ a: 'b_c-d' }, { a: 'b', c: 'd' }]],
    ['levels that differ far behind', [{ x: `${'a'.repeat(5000)}1` }, { x: `${'a'.repeat(5000)}2` }]],
    ['levels that differ in case', [{ x: 'A' }, { x: 'a' }]],
    ['signs', [{ x: -5 }, { x: 5 }, { x: '--5' }]],
  ])('tells %s apart, also where case does not count', (_, combinations) => {
    expect(new Set(combinations.map((c) => slugOf(c).toLowerCase())).size).toBe(combinations.length)
  })

  it('has a longer id when a level was changed or cut', () => {
    expect(slugOf({ x: 'a/b' })).toMatch(/^x-a-b_[0-9a-f]{20}$/)
    expect(slugOf({ x: 'ab' })).toMatch(/^x-ab_[0-9a-f]{10}$/)
  })

  it('shows lists and objects', () => {
    expect(slugOf({ grid: [4, 8] })).toMatch(/^grid-4-8_[0-9a-f]{20}$/)
  })

  const hostile = fc.oneof(
    anyText({ maxLength: 40 }),
    fc.constantFrom('', '..', '../..', '/', '-rf', '.', "'; rm -rf ~; '", '$(reboot)', '\n', '\0', 'é', 'con', 'x'.repeat(5000)),
  )
  it('is a safe directory name for any names and levels', () => {
    fc.assert(
      fc.property(fc.dictionary(hostile, fc.oneof(hostile, fc.double(), fc.array(hostile, { maxLength: 3 }), fc.boolean())), (c) => {
        const slug = slugOf(c)
        expect(slug).toMatch(/^[A-Za-z0-9_=+][A-Za-z0-9._=+-]*$/)
        expect(slug.length).toBeLessThanOrEqual(120)
        expect(slug).toContain(shortId(combinationId(c)))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('makeTag', () => {
  const parts = { campaign: 'python-scaling', id: combinationId({ cores: 8 }), repetition: 2, attempt: 1, nonce: 'x7k2m9' }

  it('names campaign, combination, repetition, attempt and run', () => {
    expect(makeTag(parts)).toBe(`python-scaling-${parts.id.slice(0, 16)}-r2a1-x7k2m9`)
  })

  it.each([
    ['combination', { id: combinationId({ cores: 9 }) }],
    ['repetition', { repetition: 3 }],
    ['attempt', { attempt: 2 }],
    ['run', { nonce: 'x7k2m8' }],
    ['run, however it is named', { nonce: '../x7k2m9' }],
  ])('differs for another %s', (_, other) => {
    expect(makeTag({ ...parts, ...other })).not.toBe(makeTag(parts))
  })

  it('is a short word that begins with a letter, for any parts', () => {
    const count = fc.integer({ min: 0, max: 9_999_999 })
    const text = anyText({ maxLength: 80 })
    fc.assert(
      fc.property(text, text, count, count, text, (campaign, id, repetition, attempt, nonce) => {
        const tag = makeTag({ campaign, id, repetition, attempt, nonce })
        expect(tag).toMatch(/^[A-Za-z][A-Za-z0-9_-]*$/)
        expect(tag.length).toBeLessThanOrEqual(60)
      }),
    )
  })

  it.each([-1, 1.5, NaN, 1e9])('refuses the repetition %d', (repetition) => {
    expect(() => makeTag({ ...parts, repetition })).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})
