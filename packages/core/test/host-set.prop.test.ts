import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { foldHosts, parseHostSet } from '../src/host-set.js'

const number = fc.oneof(
  fc.nat(30).map(String),
  fc.nat(30).map((n) => String(n).padStart(2, '0')),
  fc.nat(12).map((n) => String(n).padStart(3, '0')),
  fc.constantFrom('00', '99', '100', '999999999999999', '0123456789012345'),
)
const host = fc
  .tuple(
    fc.constantFrom('n', 'node-', 'r', ''),
    number,
    fc.constantFrom('', '-ib', '.site.grid5000.fr', 'n'),
    fc.option(number, { nil: '' }),
  )
  .map((parts) => parts.join(''))

describe('host sets, for any hosts', () => {
  it('unfold to what was folded', () => {
    fc.assert(
      fc.property(fc.array(host, { maxLength: 60 }), (hosts) => {
        expect(parseHostSet(foldHosts(hosts)).sort()).toEqual([...new Set(hosts)].sort())
      }),
      { numRuns: 1000 },
    )
  })

  it('fold to the same text in whatever order they come', () => {
    fc.assert(
      fc.property(fc.array(host, { maxLength: 30 }), (hosts) => {
        expect(foldHosts([...hosts].reverse())).toBe(foldHosts(hosts))
      }),
    )
  })

  it('fold a block of hosts into one word', () => {
    const size = fc.integer({ min: 2, max: 20 })
    fc.assert(
      fc.property(fc.nat(50), size, fc.nat(50), size, (a, m, b, n) => {
        const text = `r[${a}-${a + m}]n[${b}-${b + n}]`
        expect(foldHosts(parseHostSet(text))).toBe(text)
      }),
    )
  })

  it('end every text in hosts or in an error of their own', () => {
    const piece = fc.constantFrom('n', '1', '0', '[', ']', '-', ',', '/', '!', '&', '^', ' ', '@', '.', '*')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          for (const name of parseHostSet(pieces.join(''))) expect(name).toMatch(/^[A-Za-z0-9_.:/%@+=~][A-Za-z0-9_.:/%@+=~-]*$/)
        } catch (error) {
          expect(error).toMatchObject({ code: 'E_HOST_SET' })
        }
      }),
      { numRuns: 2000 },
    )
  })
})
