import fc from 'fast-check'

const SURROGATES = { first: 0xd800, count: 0x800 }

/**
 * Text of any code points: the same texts as of fast-check's unit `binary`, which however makes a table of all 1.1 million of them
 * first, almost a second of processor time in every file that has it.
 */
export const anyText = (limits: Omit<fc.StringConstraints, 'unit'> = {}): fc.Arbitrary<string> => fc.string({ ...limits, unit: codePoint })

const codePoint = fc.integer({ min: 0, max: 0x10ffff - SURROGATES.count }).map(
  (index) => String.fromCodePoint(index < SURROGATES.first ? index : index + SURROGATES.count),
  (text) => {
    if (typeof text !== 'string' || !/^\P{Surrogate}$/u.test(text)) throw new Error('this is not one code point')
    const code = text.codePointAt(0)!
    return code < SURROGATES.first ? code : code - SURROGATES.count
  },
)
