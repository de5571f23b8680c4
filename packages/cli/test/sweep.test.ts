import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cahier } from './cahier.js'
import { campaignFolder, campaignText, LEDGER } from './campaigns.js'

const SQUARE = 'echo "y $(( {{ x }} * {{ x }} ))"'

async function finishedRun(): Promise<string> {
  const cwd = campaignFolder('[1, 2]', SQUARE)
  expect(await cahier(['run', '--dir', 'r'], { cwd })).toMatchObject({ code: 0 })
  return cwd
}
const json = async (args: readonly string[], cwd: string) => JSON.parse((await cahier([...args, '--json'], { cwd })).stdout)

describe('cahier sweep', () => {
  it('shows what an edited campaign would change, changes it when told to, and puts work back', async () => {
    const cwd = await finishedRun()
    expect(await json(['sweep', 'show', 'r'], cwd)).toMatchObject({ campaign: 'small', items: 2, revision: 1, counts: { done: 2 } })
    writeFileSync(join(cwd, 'campaign.yaml'), campaignText(cwd, '[2, 3]', SQUARE))
    expect((await cahier(['sweep', 'set', 'r'], { cwd })).stdout).toBe('+1 =1 -1 work items\nnot applied: add --apply\n')
    expect(await json(['sweep', 'set', 'r', '--apply'], cwd)).toMatchObject({
      applied: true,
      counts: { total: 2, done: 1, todo: 1, orphaned: 1 },
    })
    expect(await json(['sweep', 'reset', 'r', '--state', 'done'], cwd)).toEqual({ count: 1 })
    expect(await cahier(['sweep', 'reset', 'r'], { cwd })).toMatchObject({ code: 2 })
  })

  it('repairs a journal that was changed in the middle, which everything else refuses to read', async () => {
    const cwd = await finishedRun()
    const journal = join(cwd, 'r/journal/events.jsonl')
    expect((await cahier(['sweep', 'repair', 'r'], { cwd })).stdout).toMatch(/^The journal is whole: \d+ events/)
    const lines = readFileSync(journal, 'utf8').split('\n')
    const at = lines.findIndex((line) => line.includes('"type":"verdict"'))
    lines[at] = lines[at]!.replace('verdict', 'verxict')
    writeFileSync(journal, lines.join('\n'))
    const refused = await cahier(['status', 'r'], { cwd })
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('E_JOURNAL_DAMAGED')
    expect(refused.stderr).toContain('cahier sweep repair')
    const report = await json(['sweep', 'repair', 'r'], cwd)
    expect(report.repaired).toBe(true)
    expect(report.dropped.length).toBeGreaterThan(0)
    expect(existsSync(report.copy)).toBe(true)
    // What the journal lost about the jobs is read from their exit records; nothing is run again.
    expect(await cahier(['run', '--dir', 'r'], { cwd })).toMatchObject({ code: 0 })
    expect(await json(['status', 'r'], cwd)).toMatchObject({ counts: { total: 2, done: 2 } })
    expect(readFileSync(join(cwd, LEDGER), 'utf8').trim().split('\n')).toHaveLength(4)
  })
})
