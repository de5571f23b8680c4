import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunnerClient, RunnerLoss } from '../../../src/process/runner/runner-client.js'
import { openRunner, relayTo } from './pipe-transport.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-resume-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Bytes that are not text, the same every time. */
function noise(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0, state = seed + 1; at < size; at += 1) {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff
    bytes[at] = state >> 16
  }
  return bytes
}

const hash = (chunks: readonly Uint8Array[]): string => {
  const sum = createHash('sha256')
  for (const chunk of chunks) sum.update(chunk)
  return sum.digest('hex')
}

interface CutPoint {
  readonly direction: 'afterRead' | 'afterWritten'
  readonly bytes: number
}

/** Starts commands that say what they were told and count their starts, and cuts the link wherever it is told to. */
async function runThrough(cuts: readonly CutPoint[], sizes: readonly number[], ledger: string): Promise<void> {
  const left = [...cuts]
  const next = () => {
    const point = left.shift()
    return point === undefined ? undefined : { [point.direction]: point.bytes }
  }
  const failures: unknown[] = []
  const takeUp = async (client: RunnerClient): Promise<void> => {
    for (let tries = 0; ; tries += 1) {
      try {
        await client.resume(await relayTo(client, next()))
        return
      } catch (error) {
        if (tries > cuts.length) {
          failures.push(error)
          client.lose({ code: 'E_CONNECTION_LOST', message: `not taken up: ${error}` })
          return
        }
      }
    }
  }
  const onLost = (loss: RunnerLoss): void => {
    if (loss.what === 'link') void takeUp(client)
    else failures.push(loss)
  }
  const { client } = openRunner({}, { onLost })
  // A runner without commands ends with its link, so one goes on until the others are done.
  const lasting = await client.start({ command: ['cat'], stdin: 'pipe' })
  // The first transport is whole: a runner that was never there cannot be taken up. Every later one is cut.
  const runs = sizes.map(async (size, number) => {
    const seen: Uint8Array[] = []
    const script = `echo ${number} >>'${ledger}'; cat; echo done >&2; exit ${number}`
    const running = await client.start(
      { command: { script }, stdin: 'pipe', keepBytes: 1000, spillTo: false },
      { onOutput: (stream, chunk) => stream === 'stdout' && seen.push(Buffer.from(chunk)) },
    )
    const bytes = noise(size, number)
    for (let at = 0; at < size; at += 50_000) await running.write(bytes.subarray(at, at + 50_000))
    running.closeStdin()
    return { result: await running.result, sum: hash(seen), expected: hash([bytes]) }
  })
  const first = setTimeout(() => void takeUp(client), 5)
  const ends = await Promise.all(runs)
  clearTimeout(first)
  lasting.closeStdin()
  expect(await lasting.result).toMatchObject({ exitCode: 0 })
  expect(failures).toEqual([])
  for (const [number, { result, sum, expected }] of ends.entries()) {
    expect(result).toMatchObject({ outcome: 'exited', exitCode: number, host: 'there', stderr: { text: 'done\n' } })
    expect(sum).toBe(expected)
  }
  expect(readFileSync(ledger, 'utf8').split('\n').filter(Boolean).sort()).toEqual(sizes.map((_, number) => String(number)).sort())
  await client.close()
}

describe('a runner whose link is cut', () => {
  it('says everything once, wherever the cuts are, and starts nothing twice', async () => {
    let run = 0
    const point = fc.record({
      direction: fc.constantFrom('afterRead' as const, 'afterWritten' as const),
      bytes: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 300_000 })),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(point, { minLength: 1, maxLength: 5 }),
        fc.array(fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 400_000 })), { minLength: 1, maxLength: 6 }),
        async (cuts, sizes) => {
          run += 1
          await runThrough(cuts, sizes, join(folder, `ledger-${run}`))
        },
      ),
      { numRuns: Number(process.env['CAHIER_RUNS'] ?? 12), endOnFailure: true },
    )
  }, 120_000)
})
