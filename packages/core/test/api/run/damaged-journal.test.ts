import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readItems, readStatus } from '../../../src/api/runs.js'
import { repairJournal } from '../../../src/store/repair.js'
import type { MemoryScheduler } from '../../../src/testing/memory-scheduler.js'
import { runSquares, scratch, squares, squaring, unstick, untilSubmitted, upTo } from './lab.js'

const journalOf = (directory: string): string => join(directory, 'journal', 'events.jsonl')

/** Changes one digit or letter in a line of the journal. */
function damage(directory: string, line: number): string {
  const lines = readFileSync(journalOf(directory), 'utf8').split('\n')
  const text = lines[line] as string
  const at = text.lastIndexOf('"type":"') + 10
  lines[line] = `${text.slice(0, at)}#${text.slice(at + 1)}`
  writeFileSync(journalOf(directory), lines.join('\n'))
  return text
}

/** A run of ten of which the first half is done, five at a time, and the second half runs. */
async function halfDone(
  directory: string,
  ledger: number[],
): Promise<{ scheduler: MemoryScheduler; campaign: ReturnType<typeof squares> }> {
  const campaign = squares({ factors: { n: upTo(10) } })
  let isStuck = true
  const scheduler = squaring(ledger, (n) => (isStuck && n > 5 ? { fate: 'stuck' } : {}))
  const detach = new AbortController()
  const running = runSquares(directory, scheduler, { campaign, maxInFlight: 5, signal: detach.signal })
  await untilSubmitted(scheduler, 10)
  detach.abort()
  expect(await running).toMatchObject({ counts: { done: 5, running: 5 } })
  isStuck = false
  return { scheduler, campaign }
}

describe('a journal that was damaged in the middle', () => {
  it('is refused by run and status with the command that repairs it; nothing runs', async () => {
    const directory = join(scratch(), 'run')
    const { scheduler, campaign } = await halfDone(directory, [])
    damage(directory, 4)
    const refusal = {
      code: 'E_JOURNAL_DAMAGED',
      message: expect.stringContaining(`${journalOf(directory)} is damaged at line 5`),
      suggestions: expect.arrayContaining([expect.stringContaining(`cahier sweep repair ${directory}`)]) as unknown,
    }
    const before = readFileSync(journalOf(directory))
    await expect(readStatus(directory)).rejects.toMatchObject(refusal)
    await expect(runSquares(directory, scheduler, { campaign })).rejects.toMatchObject(refusal)
    expect(scheduler.entries).toHaveLength(10)
    expect(readFileSync(journalOf(directory))).toEqual(before)
  })

  it.each(['campaign', 'opened', 'intents', 'submitted', 'verdict', 'started'])(
    'is repaired, and nothing runs twice: lost from the first line %j on',
    async (type) => {
      const directory = join(scratch(), 'run')
      const ledger: number[] = []
      const { scheduler, campaign } = await halfDone(directory, ledger)
      const lines = readFileSync(journalOf(directory), 'utf8').split('\n')
      damage(
        directory,
        lines.findIndex((line) => line.includes(`"type":"${type}"`)),
      )
      expect(await repairJournal(directory)).toMatchObject({
        repaired: true,
        dropped: expect.arrayContaining([expect.anything()]) as unknown,
      })
      expect(readdirSync(join(directory, 'journal')).some((name) => name.startsWith('damaged-events'))).toBe(true)
      ledger.length = 0
      unstick(scheduler)
      expect(await runSquares(directory, scheduler, { campaign })).toMatchObject({ outcome: 'complete', counts: { done: 10 } })
      // The jobs that were in flight came to their end; no other was submitted.
      expect(ledger).toEqual([6, 7, 8, 9, 10])
      expect(scheduler.entries).toHaveLength(10)
      expect((await readItems(directory)).map(({ attempts }) => attempts.length)).toEqual(Array.from({ length: 10 }, () => 1))
    },
  )
})
