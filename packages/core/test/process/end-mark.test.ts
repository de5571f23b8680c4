import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EndMark, explainStatus } from '../../src/process/end-mark.js'

function feed(pieces: readonly Buffer[]): { statuses: number[]; output: string } {
  const statuses: number[] = []
  const output: Buffer[] = []
  const mark = new EndMark(
    'TOKEN',
    (status) => statuses.push(status),
    (chunk) => output.push(Buffer.from(chunk)),
  )
  for (const piece of pieces) mark.push(piece)
  mark.flush()
  return { statuses, output: Buffer.concat(output).toString('latin1') }
}

describe('EndMark', () => {
  it.each([
    ['out\x01TOKEN X 7\n', [7], 'out'],
    ['\x01TOKEN X 0\nlater', [0], 'later'],
    ['\x01TOK\x01TOKEN X 143\n', [143], '\x01TOK'],
    ['\x01TOKEN X 1\n\x01TOKEN X 3\n', [1], '\x01TOKEN X 3\n'],
    ['TOKEN X 7\n', [], 'TOKEN X 7\n'],
    ['\x01TOKEN Y 7\n', [], '\x01TOKEN Y 7\n'],
    ['\x01TOKEN X', [], '\x01TOKEN X'],
    ['', [], ''],
  ])('reads %j', (text, statuses, output) => {
    expect(feed([Buffer.from(text, 'latin1')])).toEqual({ statuses, output })
  })

  it('finds the same however the reads cut it', () => {
    const parts = fc.array(fc.constantFrom('a', '\n', '\x01', '\x01TOK', 'TOKEN', ' X 1'), { maxLength: 20 })
    fc.assert(
      fc.property(parts, fc.array(fc.nat(4), { minLength: 1 }), (before, cuts) => {
        const whole = Buffer.from(`${before.join('')}\n\x01TOKEN X 3\nrest`)
        const pieces: Buffer[] = []
        for (let at = 0, cut = 0; at < whole.length; cut += 1) {
          const size = 1 + (cuts[cut % cuts.length] as number)
          pieces.push(whole.subarray(at, at + size))
          at += size
        }
        expect(feed(pieces)).toEqual(feed([whole]))
      }),
      { examples: [[['\x01', 'TOKEN', ' X 1'], [0]]] },
    )
  })
})

describe('explainStatus', () => {
  it.each([
    [0, 0, undefined],
    [127, 127, undefined],
    [128, 128, undefined],
    [134, undefined, 'SIGABRT'],
    [137, undefined, 'SIGKILL'],
    [143, undefined, 'SIGTERM'],
    [255, 255, undefined],
  ])('reads %i', (status, exitCode, signal) => {
    expect(explainStatus(status)).toEqual({ exitCode, signal })
  })
})
