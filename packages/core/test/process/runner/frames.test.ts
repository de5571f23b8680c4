import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FrameReader, FrameWriter, type RunnerFrame } from '../../../src/process/runner/frames.js'

const TOKEN = 'abcdefghij0123456'

function read(bytes: Buffer, sizes: readonly number[]): RunnerFrame[] {
  const frames: RunnerFrame[] = []
  const reader = new FrameReader(TOKEN, (frame) => frames.push(frame))
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] as number
    reader.push(bytes.subarray(at, at + size))
    at += size
  }
  return frames
}

describe('FrameReader', () => {
  it('reads the same frames however they were cut', () => {
    const frame = fc.record({ type: fc.constantFrom('S', 'X', 'O', 'E', 'z'), id: fc.nat(), payload: fc.uint8Array({ maxLength: 60 }) })
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 20 }), fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (frames, sizes) => {
        const bytes = Buffer.concat(
          frames.map(({ type, id, payload }) => Buffer.concat([Buffer.from(`${type} ${id} ${payload.length} ${TOKEN}\n`), payload])),
        )
        const joined: { type: string; id: number; payload: string }[] = []
        let open = false
        for (const { type, id, payload, partial } of read(bytes, sizes)) {
          const text = payload.toString('hex')
          const last = joined.at(-1)
          if (open && last !== undefined) last.payload += text
          else joined.push({ type, id, payload: text })
          open = partial
        }
        expect(joined).toEqual(frames.map(({ type, id, payload }) => ({ type, id, payload: Buffer.from(payload).toString('hex') })))
      }),
    )
  })

  it.each([
    'hello world\n',
    'X 1\n',
    'X 1 2\n',
    'X 1 2 somebodyelses0000\n',
    `X 1 -2 ${TOKEN}\n`,
    `${'x'.repeat(100)}`,
    `XY 1 2 ${TOKEN}\n`,
  ])('refuses %j', (text) => {
    expect(() => read(Buffer.from(text), [1000])).toThrow(/not a frame/)
  })
})

describe('FrameWriter', () => {
  it('writes length, type, id and bytes, whatever the size', () => {
    const writer = new FrameWriter()
    writer.fields('s', 7, [
      ['a', 'é'],
      ['t', new Uint8Array([0, 255])],
    ])
    writer.frame('w', 8, Buffer.alloc(200_000, 1))
    const bytes = writer.take()
    expect(bytes.subarray(0, 23).toString('hex')).toBe('0000000e730000000761' + '00000002c3a9' + '740000000200ff')
    expect(bytes.readUInt32BE(23)).toBe(200_000)
    expect(bytes.length).toBe(23 + 9 + 200_000)
    expect(writer.empty).toBe(true)
  })
})
