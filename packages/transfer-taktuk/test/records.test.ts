import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RecordReader, readStatus, type TaktukRecord } from '../src/records.js'

function transcript(name: string): Buffer {
  const all = readFileSync(new URL(`transcripts/taktuk-3.7.7/${name}.txt`, import.meta.url))
  return all.subarray(all.indexOf('\n') + 1)
}

function read(...chunks: readonly Buffer[]): TaktukRecord[] {
  const records: TaktukRecord[] = []
  const reader = new RecordReader((record) => records.push(record))
  for (const chunk of chunks) reader.push(chunk)
  return records
}

function textOf(records: readonly TaktukRecord[], kind: string, position: number, channel: number): string {
  return records
    .flatMap((one) =>
      one.kind === kind && 'text' in one && one.position === position && one.channel === channel ? [one.text.toString('latin1')] : [],
    )
    .join('')
}

describe('RecordReader, with what taktuk has printed', () => {
  const commands = read(transcript('commands'))

  it('reads the output of each command, every byte of it', () => {
    expect(textOf(commands, 'stdout', 1, 7)).toBe('two  blanks\n\n\x1d\x1e\x1f]\nno end')
    expect(textOf(commands, 'stderr', 1, 7)).toBe('err\n')
  })

  it('reads how commands ended', () => {
    const ends = commands.flatMap((one) => (one.kind === 'status' ? [[one.position, one.channel, readStatus(one.status)]] : []))
    expect(ends).toEqual(
      expect.arrayContaining([
        [1, 7, { exitCode: 3 }],
        [3, 8, { signalNumber: 9 }],
        [1, 9, { exitCode: 255 }],
        [3, 9, { exitCode: 255 }],
      ]),
    )
  })

  it('reads who was not reached, and what the connector said', () => {
    const failed = commands.flatMap((one) => (one.kind === 'state' && one.code === 3 ? [one.peer] : []))
    expect(failed).toEqual([2, 4])
    expect(textOf(commands, 'connector', 0, 2)).toMatch(/^ssh: connect to host .*: Connection refused\r\n$/)
    expect(textOf(commands, 'connector', 0, 4)).toBe('timeouted')
  })

  it('reads the ranks of those that were reached: they are not their places', () => {
    const ranks = commands.flatMap((one) => (one.kind === 'state' && one.code === 1 ? [[one.position, one.rank]] : []))
    expect(ranks).toEqual(
      expect.arrayContaining([
        [1, 1],
        [3, 2],
      ]),
    )
  })

  it('reads which hosts went with one that was lost', () => {
    const lost = read(transcript('lost')).flatMap((one) => (one.kind === 'state' && one.code === 5 ? [[one.peer, one.given]] : []))
    expect(lost).toEqual([[1, [2, 3]]])
  })

  it.each(['commands', 'lost'])('reads the same from pieces of any size: %s', (name) => {
    const whole = transcript(name)
    const joined = (records: readonly TaktukRecord[]) => records.map((one) => JSON.stringify(one))
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sizes) => {
        const chunks: Buffer[] = []
        for (let at = 0, turn = 0; at < whole.length; turn += 1) {
          const size = sizes[turn % sizes.length] as number
          chunks.push(whole.subarray(at, at + size))
          at += size
        }
        expect(joined(read(...chunks))).toEqual(joined(read(whole)))
      }),
      { numRuns: 50 },
    )
  })

  it.each(['Missing right curly or square bracket\n', 'O|1\n', 'O|1|x|3|0\nabc\n', 'O|1|2|2|0\nabc\n', 'E|1|2\n', 'S|1|2|\n', '\n'])(
    'refuses what our templates do not make: %j',
    (text) => {
      expect(() => read(Buffer.from(text))).toThrow('taktuk printed what cannot be read')
    },
  )
})
