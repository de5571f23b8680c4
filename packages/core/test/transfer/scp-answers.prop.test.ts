import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { takeScpAnswer } from '../../src/transfer/scp/scp-answers.js'

describe('takeScpAnswer', () => {
  it.each([
    ['\0rest', { kind: 'ok' }, 1],
    ['\x01scp: /x/0: No space left on device\nC', { kind: 'error', message: '/x/0: No space left on device' }, 36],
    ['\x02not a directory\n', { kind: 'fatal', message: 'not a directory' }, 17],
    ['\x01\n', { kind: 'error', message: 'scp does not say why' }, 2],
    ['C0644 12 a b\n', { kind: 'file', size: 12, name: 'a b' }, 13],
  ])('reads %j', (text, answer, size) => {
    expect(takeScpAnswer(Buffer.from(text, 'latin1'))).toEqual({ answer, size })
  })

  it.each(['', '\x01no end', 'C0644 1', '\x02'])('waits for the rest of %j', (text) => {
    expect(takeScpAnswer(Buffer.from(text, 'latin1'))).toBeUndefined()
  })

  it.each(['hello', 'D0755 0 x\n', 'C0644 -1 x\n', 'C0644 x x\n', 'C 1 x\n', 'C0644 1 \n', '\x03'])('refuses %j', (text) => {
    expect(() => takeScpAnswer(Buffer.from(text, 'latin1'))).toThrow()
  })

  it('reads a message about a file whose name holds line ends, wherever it was cut on its way', () => {
    const name = '/a/new\nline\n'
    const text = `\x01scp: ${name}: No such file or directory\n`
    for (let length = 0; length < text.length; length += 1) {
      expect(takeScpAnswer(Buffer.from(text.slice(0, length), 'latin1'), name)).toBeUndefined()
    }
    const answer = { kind: 'error', message: `${name}: No such file or directory` }
    expect(takeScpAnswer(Buffer.from(`${text}C0644 1 x\n`, 'latin1'), name)).toEqual({ answer, size: text.length })
    const other = '\x01scp: /a/new: no room\n'
    expect(takeScpAnswer(Buffer.from(`${other}line\n`, 'latin1'), name)?.size).toBe(other.length)
  })

  it('refuses a line without an end, and never reads beyond one', () => {
    expect(() => takeScpAnswer(Buffer.alloc(20_000, 1))).toThrow()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          const found = takeScpAnswer(Buffer.from(bytes))
          expect(found === undefined || (found.size > 0 && found.size <= bytes.length)).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }),
    )
  })
})
