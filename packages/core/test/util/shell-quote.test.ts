import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyText } from '../../../../test/any-text.js'
import { shellQuote } from '../../src/util/shell-quote.js'

/** What a real shell makes of the words: each followed by a NUL, so that nothing is trimmed. */
function throughShell(words: readonly string[]): string[] {
  const line = `printf '%s\\000' ${words.map(shellQuote).join(' ')}`
  return execFileSync('/bin/sh', ['-c', line], { encoding: 'utf8', maxBuffer: 1 << 26 })
    .split('\0')
    .slice(0, -1)
}

const HOSTILE = [
  '',
  ' ',
  "'",
  "''",
  "it's",
  '"',
  '$(touch /tmp/never)',
  '`id`',
  '${HOME}',
  '\\',
  "\\'",
  '-n',
  '--',
  '../..',
  'a\nb',
  '\n',
  'a\r\nb',
  '\t',
  '*',
  '~',
  '#x',
  '!1',
  'a;b|c&d>e<f',
  '{a,b}',
  'é ü 日本 🎲',
  '\u2028\u0085',
  'x'.repeat(5000),
  "'".repeat(5000),
  '=a',
  'A=b',
]

describe('shellQuote', () => {
  it('gives a real shell the identical bytes for every hostile value', () => {
    expect(throughShell(HOSTILE)).toEqual(HOSTILE)
  })

  it('gives a real shell the identical bytes for any text without NUL', () => {
    const text = anyText({ maxLength: 60 }).filter((value) => !value.includes('\0'))
    const nasty = fc.string({ unit: fc.constantFrom(...'\'"\\$`\n \t*?[]~#&|;<>(){}!-=%^a'), maxLength: 30 })
    fc.assert(
      fc.property(fc.array(fc.oneof(text, nasty), { minLength: 1, maxLength: 40 }), (words) => {
        expect(throughShell(words)).toEqual(words)
      }),
      { numRuns: 60 },
    )
  })

  it('is one word: no other word appears beside it', () => {
    expect(throughShell(['a', 'b c', ''])).toHaveLength(3)
  })

  it.each(['plain', '/usr/bin/a-b_c.d', 'k:v', '50%', 'a,b+c@d'])('leaves %j readable', (value) => {
    expect(shellQuote(value)).toBe(value)
  })

  it.each(['\0', 'a\0b'])('refuses a NUL character', (value) => {
    expect(() => shellQuote(value)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})
