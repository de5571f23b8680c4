import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AgentReader, type AgentWord } from '../../src/transfer/agent/agent-reader.js'

const HELLO = 'tok agent 1 py 42 /home/me\n'
const all = (reader: AgentReader, ...chunks: Buffer[]): AgentWord[] => chunks.flatMap((chunk) => [...reader.read(chunk)])

describe('AgentReader', () => {
  it('reads the same from any pieces', () => {
    const text = Buffer.concat([
      Buffer.from(`Welcome!\ntok\ntoken of the day\n${HELLO}1 ok\n2 ok 17 #10\n`),
      Buffer.from('\n1 ok\n! x\n\0', 'latin1').subarray(0, 10),
      Buffer.from('! have 12\n3 error E_TARGET_FULL no%20room\n4 ok a b #0\n5 ok\n'),
    ])
    const whole = all(new AgentReader('tok'), text)
    expect(whole.map((word) => word.kind)).toEqual(['hello', 'answer', 'answer', 'event', 'answer', 'answer', 'answer'])
    expect(whole[2]).toMatchObject({ number: 2, words: ['ok', '17'], payload: Buffer.from('\n1 ok\n! x\n') })
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: text.length })), (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), text.length]
        const chunks = places.slice(1).map((end, index) => text.subarray(places[index], end))
        expect(all(new AgentReader('tok'), ...chunks)).toEqual(whole)
      }),
    )
  })

  it('keeps what was said instead of a hello', () => {
    const reader = new AgentReader('tok')
    expect(all(reader, Buffer.from('sh: python3: not found\n'))).toEqual([])
    expect(`${reader.noise} `).toContain('sh: python3: not f')
  })

  it('reads why an agent cannot work', () => {
    expect(all(new AgentReader('tok'), Buffer.from('\ntok unfit no%20SHA\n'))).toEqual([{ kind: 'unfit', reason: 'no%20SHA' }])
  })

  it.each(['hello\n', '1 maybe\n', 'x ok\n', '\n'])('refuses %j after the hello', (text) => {
    expect(() => all(new AgentReader('tok'), Buffer.from(HELLO + text))).toThrow()
  })

  it('refuses endless noise, and a line without an end', () => {
    const reader = new AgentReader('tok')
    const noise = Buffer.alloc(300_000, 'x')
    expect(() => all(reader, noise, noise, noise, noise)).toThrow(/no agent answered/)
    const second = new AgentReader('tok')
    expect(() => all(second, Buffer.from(HELLO), noise, noise, noise, noise)).toThrow(/no end/)
  })
})
