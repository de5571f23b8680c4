import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EXIT_CODES } from '../src/exit-codes.js'
import { cahier, start } from './cahier.js'
import { campaignFolder, campaignText, LEDGER } from './campaigns.js'

const SQUARE = 'echo "y $(( {{ x }} * {{ x }} ))"'
/** Waits for a file that the test makes; gives up after minutes, so that a failed test leaves nothing behind. */
const waitFor = (file: string) => `n=0; while [ ! -e "${file}" ] && [ $n -lt 2400 ]; do sleep 0.1; n=$((n+1)); done; ${SQUARE}`

const ledger = (cwd: string, word: string): readonly string[] => {
  const file = join(cwd, LEDGER)
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  return lines.filter((line) => line.startsWith(word)).sort()
}
const runsIn = (cwd: string): readonly string[] => readdirSync(cwd).filter((name) => name.startsWith('small_'))
const json = async (args: readonly string[], cwd: string) => JSON.parse((await cahier([...args, '--json'], { cwd })).stdout)

describe('cahier run', () => {
  it('runs a campaign to its report, and does nothing twice when asked again', async () => {
    const cwd = campaignFolder('[1, 2, 3]', SQUARE)
    const first = await cahier(['run'], { cwd })
    expect(first, first.stderr).toMatchObject({ code: EXIT_CODES.done.code })
    expect(first.stdout).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d Run started: .*small_\S+ \(3 work items\)$/m)
    expect(first.stdout).toMatch(/^\S+ \S+ Job submitted: \S+ /m)
    expect(first.stdout).toContain('complete: 3 of 3 done')
    expect(first.stdout).toMatch(/\n\nx {2}n {2}y\n1 {2}1 {2}1\n2 {2}1 {2}4\n3 {2}1 {2}9\n$/)
    const [run] = runsIn(cwd)
    expect(readFileSync(join(cwd, run!, 'results.csv'), 'utf8')).toContain('9')
    expect(existsSync(join(cwd, run!, 'report.html'))).toBe(true)
    const second = await cahier(['run'], { cwd })
    expect(second).toMatchObject({ code: EXIT_CODES.done.code })
    expect(runsIn(cwd)).toEqual([run])
    expect(ledger(cwd, 'begin')).toEqual(['begin 1', 'begin 2', 'begin 3'])
    expect(await json(['status'], cwd)).toMatchObject({ state: 'finished', counts: { total: 3, done: 3 } })
    expect((await cahier(['status'], { cwd })).stdout).toMatch(/: finished\n(?:.+\n)+\nx {2}n {2}y\n1 {2}1 {2}1\n/)
  })

  it('begins another run when it is told to', async () => {
    const cwd = campaignFolder('[1]', SQUARE)
    await cahier(['run'], { cwd })
    expect(await cahier(['run', '--new'], { cwd })).toMatchObject({ code: 0 })
    expect(runsIn(cwd)).toHaveLength(2)
  })

  it('prints one JSON object and nothing else with --json', async () => {
    const cwd = campaignFolder('[1, 2]', SQUARE)
    const { code, stdout, stderr } = await cahier(['run', '--json', '--dir', 'here'], { cwd })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ directory: join(cwd, 'here'), outcome: 'complete', counts: { done: 2 } })
    expect(stderr).toContain('Run started')
  })

  it('tells what failed and why, and does it again on request', async () => {
    const cwd = campaignFolder(
      '[1, 2]',
      `[ {{ x }} = 1 ] || [ -e ${'"'}$HOME/fixed" ] || { echo "diverged at {{ x }}" >&2; exit 7; }\n${SQUARE}`,
    )
    const run = await cahier(['run'], { cwd })
    expect(run.code).toBe(EXIT_CODES.incomplete.code)
    expect(run.stdout).toMatch(/Job failed: /)
    const status = await json(['status'], cwd)
    expect(status.counts).toMatchObject({ done: 1, failed: 1 })
    const why = await cahier(['why', status.failures[0].id], { cwd })
    expect(why).toMatchObject({ code: 0, stdout: expect.stringContaining('exit code 7') })
    expect(why.stdout).toContain('  | diverged at 2')
    expect(await json(['retry'], cwd)).toEqual({ count: 1 })
    writeFileSync(join(cwd, '.home/fixed'), '')
    expect(await cahier(['run'], { cwd })).toMatchObject({ code: 0 })
    expect(ledger(cwd, 'end')).toEqual(['end 1', 'end 2'])
    expect(runsIn(cwd)).toHaveLength(1)
  })

  it('reads invalid results again when the rule is mended, and runs nothing', async () => {
    const cwd = campaignFolder('[1, 2]', SQUARE)
    const file = join(cwd, 'campaign.yaml')
    const right = readFileSync(file, 'utf8')
    writeFileSync(file, right.replace("'y (", "'why ("))
    expect(await cahier(['run'], { cwd })).toMatchObject({ code: EXIT_CODES.incomplete.code })
    expect(await cahier(['retry', '--collect'], { cwd })).toMatchObject({ code: 0, stdout: expect.stringContaining('2 invalid') })
    writeFileSync(file, right)
    const { code, stdout } = await cahier(['retry', '--collect'], { cwd })
    expect([code, stdout]).toEqual([0, '2 results read\nTables and figures of them: cahier report\n'])
    expect(await json(['status'], cwd)).toMatchObject({ state: 'finished', counts: { done: 2 } })
    expect(await json(['retry', '--collect'], cwd)).toEqual({ count: 0, collected: { valid: 0, invalid: 0, missing: 0 } })
    expect(ledger(cwd, 'end')).toHaveLength(2)
  })

  it('lists the repetitions that fit, and explains the last that failed', async () => {
    const cwd = campaignFolder(
      '[1]',
      `[ {{ repetition }} = 3 ] || { echo "diverged in {{ repetition }}"; exit 7; }\n${SQUARE}`,
      'repetitions: 3\n',
    )
    await cahier(['run', '--dir', 'r'], { cwd })
    const why = await cahier(['why', 'r', 'x=1'], { cwd })
    expect(why.stdout).toMatch(/^3 repetitions fit; of \w+\/r2:\n {2}\w+\/r1 {2}failed: .*\n> \w+\/r2 {2}failed: .*\n {2}\w+\/r3 {2}done: /)
    expect(why.stdout).toContain('  | diverged in 2')
    expect((await cahier(['why', 'r', 'x=1,repetition=1'], { cwd })).stdout).not.toContain('repetitions fit')
  })

  it('detaches on Ctrl-C: jobs go on, and the next run takes them over', async () => {
    const cwd = campaignFolder('[1, 2, 3, 4, 5, 6]', waitFor('$HOME/go'))
    const { child, ended, shows } = start(['run', '--max-in-flight', '2'], { cwd })
    await shows('Job submitted')
    child.kill('SIGINT')
    const left = await ended
    expect(left.code, left.stderr).toBe(EXIT_CODES.detached.code)
    expect(left.stdout).toContain('Claiming nothing more; jobs go on.')
    expect(await json(['status'], cwd)).toMatchObject({ state: 'idle', counts: { total: 6, done: 0 } })
    writeFileSync(join(cwd, '.home/go'), '')
    expect(await cahier(['run'], { cwd })).toMatchObject({ code: 0 })
    expect(ledger(cwd, 'begin')).toEqual([1, 2, 3, 4, 5, 6].map((x) => `begin ${x}`))
    expect(ledger(cwd, 'end')).toHaveLength(6)
  })

  it('leaves at once on the second Ctrl-C, and loses nothing', async () => {
    const cwd = campaignFolder('[1, 2]', waitFor('$HOME/go'))
    const { child, ended, shows } = start(['run'], { cwd })
    await shows('Job submitted')
    child.kill('SIGINT')
    child.kill('SIGINT')
    expect((await ended).code).toBe(EXIT_CODES.detached.code)
    writeFileSync(join(cwd, '.home/go'), '')
    expect(await cahier(['run'], { cwd })).toMatchObject({ code: 0 })
    expect(ledger(cwd, 'begin')).toEqual(['begin 1', 'begin 2'])
  })

  it('goes on when nobody reads its output any more', async () => {
    const cwd = campaignFolder('[1, 2, 3]', SQUARE)
    const { child, ended, shows } = start(['run'], { cwd })
    await shows('Run started')
    child.stdout.destroy()
    expect((await ended).code).toBe(0)
    expect(ledger(cwd, 'end')).toHaveLength(3)
  })

  it('refuses to drive what another process drives, which can be followed and stopped', async () => {
    const cwd = campaignFolder('[1, 2]', waitFor('$HOME/go'))
    const first = start(['run'], { cwd })
    await first.shows('Job submitted')
    const second = await cahier(['run'], { cwd })
    expect(second.code).toBe(EXIT_CODES.held.code)
    expect(second.stderr).toContain('E_RUN_HELD')
    expect(second.stderr).toContain(String(first.child.pid))
    const follower = start(['attach'], { cwd })
    await follower.shows('small')
    writeFileSync(join(cwd, '.home/go'), '')
    expect(await first.ended).toMatchObject({ code: 0 })
    const followed = await follower.ended
    expect(followed.code, followed.stderr).toBe(0)
    expect(followed.stdout).toContain('2 of 2 done')
  })

  it('ends the jobs of a run only when told so', async () => {
    const cwd = campaignFolder('[1, 2]', waitFor('$HOME/never'))
    const first = start(['run'], { cwd })
    await first.shows('Job submitted')
    const stopped = await cahier(['stop', '--cancel-jobs'], { cwd })
    expect(stopped.code, stopped.stderr).toBe(0)
    await first.ended
    expect(ledger(cwd, 'end')).toEqual([])
    expect(await json(['status'], cwd)).toMatchObject({ counts: { running: 0, done: 0 } })
  })

  it('shows the difference when the campaign was edited, and runs nothing before it is told to', async () => {
    const cwd = campaignFolder('[1, 2]', SQUARE)
    await cahier(['run'], { cwd })
    writeFileSync(join(cwd, 'campaign.yaml'), campaignText(cwd, '[2, 3]', SQUARE))
    const refused = await cahier(['run'], { cwd })
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('E_CAMPAIGN_CHANGED')
    expect(refused.stderr).toContain('--accept-changes')
    expect(ledger(cwd, 'begin')).toHaveLength(2)
    expect(await cahier(['run', '--accept-changes'], { cwd })).toMatchObject({ code: 0 })
    expect(ledger(cwd, 'begin')).toEqual(['begin 1', 'begin 2', 'begin 3'])
  })

  it.each([
    [
      'a scheduler that nothing provides',
      'sites: { here: { scheduler: pbs } }\ndefaultSite: here',
      'E_ADAPTER_MISSING',
      'cahier plugins install',
    ],
    [
      'an option that the scheduler does not have',
      'sites: { here: { options: { core: 2 } } }\ndefaultSite: here',
      'E_ADAPTER_OPTIONS',
      'Write "cores"',
    ],
  ])('refuses %s, and leaves nothing behind', async (_what, sites, code, tip) => {
    const cwd = campaignFolder('[1]', SQUARE)
    writeFileSync(join(cwd, 'cahier.config.yaml'), sites)
    const { code: ended, stderr } = await cahier(['run'], { cwd })
    expect(ended).toBe(1)
    expect(stderr).toContain(code)
    expect(stderr).toContain(tip)
    expect(runsIn(cwd)).toEqual([])
  })

  it('refuses an unknown key with the nearest one', async () => {
    const cwd = campaignFolder('[1]', SQUARE, 'repetition: 3\n')
    const { code, stderr } = await cahier(['run'], { cwd })
    expect(code).toBe(1)
    expect(stderr).toContain('E_CAMPAIGN_INVALID')
    expect(stderr).toContain('repetitions')
    expect(runsIn(cwd)).toEqual([])
  })
})

describe('cahier plan', () => {
  it('shows the job as it would be submitted, and touches nothing', async () => {
    const cwd = campaignFolder('[1, 2, 3]', SQUARE)
    const before = readdirSync(cwd)
    const { code, stdout } = await cahier(['plan'], { cwd })
    expect(code).toBe(0)
    expect(stdout).toContain('3 combinations × 1 repetition = 3')
    expect(stdout).toContain('echo "begin 1"')
    expect(readdirSync(cwd).sort()).toEqual(before.sort())
  })

  it('counts what is done already', async () => {
    const cwd = campaignFolder('[1, 2]', SQUARE)
    await cahier(['run'], { cwd })
    writeFileSync(join(cwd, 'campaign.yaml'), campaignText(cwd, '[2, 3, 4]', SQUARE))
    expect(await json(['plan', '--samples', '0'], cwd)).toMatchObject({
      toDo: 2,
      alreadyDone: 1,
      difference: { added: 2, kept: 1, removed: 1 },
    })
  })
})

describe('the results of a run', () => {
  it('are exported, noted and reported', async () => {
    const cwd = campaignFolder('[1, 2]', SQUARE)
    await cahier(['run', '--dir', 'r'], { cwd })
    const csv = (await cahier(['export', 'r'], { cwd })).stdout.trim().split('\n')
    expect(csv).toHaveLength(3)
    expect(csv[0]).toMatch(/\bx\b.*\by\b/)
    const lines = (await cahier(['export', 'r', '--format', 'jsonl'], { cwd })).stdout.trim().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toHaveLength(2)
    await cahier(['export', 'r', '--to', 'out.csv'], { cwd })
    expect(readFileSync(join(cwd, 'out.csv'), 'utf8').trim().split('\n')).toEqual(csv)
    expect(await cahier(['note', 'r', 'the fan was loud'], { cwd })).toMatchObject({ code: 0 })
    expect(readFileSync(join(cwd, 'r/notes.md'), 'utf8')).toContain('the fan was loud')
    const report = await cahier(['report', 'r'], { cwd })
    expect(report.stdout.trim()).toBe(join(cwd, 'r/report.html'))
    expect(readFileSync(join(cwd, 'r/report.html'), 'utf8')).toContain('the fan was loud')
    expect(await cahier(['note'], { cwd })).toMatchObject({ code: EXIT_CODES.usage.code })
    expect(await cahier(['why', 'r', 'nonsense'], { cwd })).toMatchObject({ code: 1, stderr: expect.stringContaining('E_NOT_FOUND') })
  })
})
