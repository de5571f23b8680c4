import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MarkedOutput } from '../../src/process/marked-output.js'

function feed(pieces: readonly Uint8Array[], token = 'TOKEN'): { lines: string[]; rest: string; taken: boolean; found: boolean } {
  const lines: string[] = []
  const rest: Buffer[] = []
  const output = new MarkedOutput(
    token,
    (line) => lines.push(line),
    (chunk) => rest.push(Buffer.from(chunk)),
  )
  let taken = true
  for (const piece of pieces) taken = output.push(Buffer.from(piece)) && taken
  return { lines, rest: Buffer.concat(rest).toString('latin1'), taken, found: output.found }
}

const text = (value: string): Uint8Array[] => [Buffer.from(value, 'latin1')]

describe('MarkedOutput', () => {
  it.each([
    ['TOKEN S 1 2 3\nout', 'S 1 2 3', 'out'],
    ['motd\nno line end\nTOKEN S 1\n', 'S 1', ''],
    ['\nTOKEN\nrest\nTOKEN S 2\n', '', 'rest\nTOKEN S 2\n'],
    ['sh -c x cahier TOKEN\n\nTOKEN S\nx', 'S', 'x'],
    ['\nTOKENS are no token\n\nTOKEN S\nx', 'S', 'x'],
    ['\xff\xfe\0\n\nTOKEN S\n\xff', 'S', '\xff'],
  ])('reads %j', (input, line, rest) => {
    expect(feed(text(input))).toMatchObject({ lines: [line], rest, found: true })
  })

  it.each(['', 'TOKEN', 'TOKEN S 1', 'motd TOKEN S\n', '\nTOKE N\n'])('finds nothing in %j', (input) => {
    expect(feed(text(input))).toMatchObject({ lines: [], rest: '', taken: true, found: false })
  })

  it('refuses what is more than any start-up file says', () => {
    expect(feed([Buffer.alloc(600_000, 'x'), Buffer.alloc(600_000, 'x')]).taken).toBe(false)
    expect(feed([Buffer.alloc(600_000, 'x'), Buffer.from('\nTOKEN S\n')]).taken).toBe(true)
  })

  it('finds the same however the reads cut it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', '\n', 'TOK', 'EN', 'TOKEN', ' ', '\0'), { maxLength: 30 }),
        fc.array(fc.nat(5), { minLength: 1 }),
        (parts, cuts) => {
          const whole = Buffer.from(`${parts.join('')}\nTOKEN S 1\nrest`)
          const pieces: Buffer[] = []
          for (let at = 0, cut = 0; at < whole.length; cut += 1) {
            const size = 1 + (cuts[cut % cuts.length] as number)
            pieces.push(whole.subarray(at, at + size))
            at += size
          }
          expect(feed(pieces)).toEqual(feed([whole]))
        },
      ),
    )
  })
})
