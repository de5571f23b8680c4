import { createHmac, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HashedNames } from '../../src/ssh/hashed-name.js'

const hash = (salt: Uint8Array, name: string) => createHmac('sha1', salt).update(name).digest()

describe('HashedNames', () => {
  it('finds exactly the lines whose hash is that of the name', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ maxLength: 200, unit: 'grapheme' }), { maxLength: 20 }),
        fc.string({ unit: 'grapheme' }),
        (names, other) => {
          const hashed = new HashedNames()
          for (const name of names) {
            const salt = randomBytes(20)
            hashed.add(salt, hash(salt, name))
          }
          for (const name of [...names, other]) {
            expect(hashed.find(name)).toEqual(names.flatMap((same, line) => (same === name ? [line] : [])))
          }
        },
      ),
    )
  })

  it.each([0, 54, 55, 56, 63, 64, 119, 120, 1000])('takes a name of %d bytes', (length) => {
    const hashed = new HashedNames()
    const salt = randomBytes(20)
    hashed.add(salt, hash(salt, 'x'.repeat(length)))
    expect(hashed.find('x'.repeat(length))).toEqual([0])
    expect(hashed.find('x'.repeat(length + 1))).toEqual([])
  })

  it('grows', () => {
    const hashed = new HashedNames()
    for (let line = 0; line < 1000; line += 1) {
      const salt = randomBytes(20)
      hashed.add(salt, hash(salt, `node${line}`))
    }
    expect(hashed.count).toBe(1000)
    expect(hashed.find('node777')).toEqual([777])
  })
})
