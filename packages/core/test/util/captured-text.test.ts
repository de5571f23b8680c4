import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { anyText } from '../../../../test/any-text.js'
import { TextCapture } from '../../src/util/captured-text.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-capture-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const chunksOf = (data: Buffer, sizes: readonly number[]): Buffer[] => {
  const chunks: Buffer[] = []
  for (let at = 0, turn = 0; at < data.length; turn += 1) {
    const size = sizes[turn % sizes.length] as number
    chunks.push(data.subarray(at, at + size))
    at += size
  }
  return chunks
}

describe('TextCapture', () => {
  it('gives the identical text when it fits, however it was cut', () => {
    fc.assert(
      fc.property(anyText({ maxLength: 400 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (text, sizes) => {
        const whole = Buffer.from(text).toString()
        const capture = new TextCapture()
        for (const chunk of chunksOf(Buffer.from(whole), sizes)) capture.push(chunk)
        expect(capture.peek()).toMatchObject({ text: whole, bytes: Buffer.byteLength(whole), truncated: false })
      }),
    )
  })

  it('keeps whole characters of the beginning and the end, says how much is missing, and has everything in the file', async () => {
    let count = 0
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: fc.constantFrom('a', 'é', '日', '🎲', '\n'), minLength: 200, maxLength: 600 }),
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }),
        fc.integer({ min: 0, max: 150 }),
        async (text, sizes, keepBytes) => {
          count += 1
          const name = join(folder, `spill-${count}`)
          const capture = new TextCapture({ keepBytes, spillFile: async () => name })
          for (const chunk of chunksOf(Buffer.from(text), sizes)) await capture.push(chunk)
          const kept = await capture.finish()
          const [, head = '', missing = '', tail = ''] =
            /^([\s\S]*)\n\[\.\.\. (\d+) bytes left out \.\.\.\]\n([\s\S]*)$/.exec(kept.text) ?? []
          expect(text.startsWith(head) && text.endsWith(tail)).toBe(true)
          expect(Buffer.byteLength(head) + Buffer.byteLength(tail)).toBeLessThanOrEqual(keepBytes)
          expect(Buffer.byteLength(head) + Buffer.byteLength(tail) + Number(missing)).toBe(kept.bytes)
          expect(kept).toMatchObject({ truncated: true, file: name })
          expect(readFileSync(name, 'utf8')).toBe(text)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('asks the reader to pause when the disk does not follow', async () => {
    const capture = new TextCapture({ keepBytes: 10, spillFile: async () => join(folder, 'slow') })
    const waits = Array.from({ length: 4 }, () => capture.push(Buffer.alloc(600_000)))
    expect(waits[0]).toBeUndefined()
    expect(waits[3]).toBeInstanceOf(Promise)
    await waits[3]
    expect((await capture.finish()).file).toBe(join(folder, 'slow'))
  })

  it('goes on without a file when it cannot be written', async () => {
    const capture = new TextCapture({ keepBytes: 10, spillFile: async () => '/no/such/file' })
    for (let count = 0; count < 5; count += 1) await capture.push(Buffer.alloc(600_000, 'x'))
    const kept = await capture.finish()
    expect(kept).toMatchObject({ truncated: true, bytes: 3_000_000 })
    expect(kept.file).toBeUndefined()
    expect(existsSync('/no/such/file')).toBe(false)
  })
})
