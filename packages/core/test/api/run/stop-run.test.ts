import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { CampaignDefinition } from '../../../src/api/campaign.js'
import { readStatus, stopRun } from '../../../src/api/runs.js'
import { MemoryScheduler } from '../../../src/testing/memory-scheduler.js'
import { canceledStates, runSquares, scratch, site, squares, squaring, unstick, untilSubmitted } from './lab.js'

const stuck = () => new MemoryScheduler({ play: () => ({ fate: 'stuck' }) })

/** A campaign in a file, so that another process could load it. */
function campaignFile(folder: string, definition: CampaignDefinition<{ n: number[] }> = squares()): string {
  const file = join(folder, 'campaign.json')
  writeFileSync(file, JSON.stringify(definition.options))
  return file
}

/** A run whose controller left its four jobs to themselves. */
async function leave(directory: string, scheduler: MemoryScheduler, campaign?: string): Promise<void> {
  const detach = new AbortController()
  const running = runSquares(directory, scheduler, { signal: detach.signal, ...(campaign === undefined ? {} : { campaign }) })
  await untilSubmitted(scheduler, 4)
  detach.abort()
  await running
}

describe('stopRun', () => {
  it('asks the controller that drives the run to detach; jobs go on', async () => {
    const directory = join(scratch(), 'run')
    const scheduler = stuck()
    const running = runSquares(directory, scheduler)
    await untilSubmitted(scheduler, 4)
    expect(await stopRun(directory)).toMatchObject({ how: 'asked', jobs: 4, status: { pause: { reason: 'stopped' } } })
    expect(await running).toMatchObject({ outcome: 'detached', counts: { running: 4 } })
    expect(scheduler.asked.cancel).toBe(0)
  })

  it('does nothing to a run that nobody drives', async () => {
    const directory = join(scratch(), 'run')
    await runSquares(directory, squaring())
    expect(await stopRun(directory, { cancelJobs: true })).toMatchObject({ how: 'idle', jobs: 0, status: { state: 'finished' } })
  })

  it('cancels by itself what a controller that is gone has left, and the work can be done again', async () => {
    const folder = scratch()
    const directory = join(folder, 'run')
    const campaign = campaignFile(folder)
    const ledger: number[] = []
    let isStuck = true
    const scheduler = squaring(ledger, () => (isStuck ? { fate: 'stuck' } : {}))
    const detach = new AbortController()
    const running = runSquares(directory, scheduler, { campaign, signal: detach.signal })
    await untilSubmitted(scheduler, 4)
    detach.abort()
    await running
    expect(await stopRun(directory, { scheduler, site })).toMatchObject({ how: 'idle', jobs: 4, status: { counts: { running: 4 } } })
    expect(scheduler.asked.cancel).toBe(0)

    const stopped = await stopRun(directory, { cancelJobs: true, scheduler, site })
    expect(stopped).toMatchObject({ how: 'driven', jobs: 4, status: { pause: { reason: 'stopped' }, counts: { todo: 4, running: 0 } } })
    expect(canceledStates(scheduler)).toEqual(['canceled', 'canceled', 'canceled', 'canceled'])

    isStuck = false
    expect(await runSquares(directory, scheduler, { campaign })).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(scheduler.entries).toHaveLength(8)
  })

  it('cannot cancel jobs of a campaign and a site that only a program knows, and says where it can be done', async () => {
    const directory = join(scratch(), 'run')
    const scheduler = stuck()
    await leave(directory, scheduler)
    await expect(stopRun(directory, { cancelJobs: true })).rejects.toMatchObject({
      code: 'E_CAMPAIGN_NOT_FOUND',
      suggestions: [expect.stringContaining('program')],
    })
    expect(scheduler.asked.cancel).toBe(0)
    expect(await stopRun(directory, { cancelJobs: true, scheduler, site })).toMatchObject({
      how: 'driven',
      status: { counts: { todo: 4, running: 0 } },
    })
  })

  interface Place {
    readonly folder: string
    readonly directory: string
    readonly file: string
  }
  const edits: [string, (place: Place) => void][] = [
    ['holds something else', ({ file }) => writeFileSync(file, '{"name": "squares", "factors": ')],
    [
      'uses a name that is no factor',
      ({ file }) => writeFileSync(file, JSON.stringify(squares({ job: { command: ['expr', '{{ m }}'] } }).options)),
    ],
    ['has lost its file and its folder', ({ folder }) => rmSync(join(folder, 'here'), { recursive: true })],
    [
      'is broken, and so is its copy',
      ({ file, directory }) => {
        writeFileSync(file, 'nonsense')
        writeFileSync(join(directory, 'source', '1', 'campaign.json'), '')
      },
    ],
  ]
  it.each(edits)('cancels the jobs of a campaign that %s', async (_name, edit) => {
    const folder = scratch()
    const directory = join(folder, 'run')
    mkdirSync(join(folder, 'here'))
    const file = campaignFile(join(folder, 'here'))
    const scheduler = stuck()
    await leave(directory, scheduler, file)
    edit({ folder, directory, file })
    const stopped = await stopRun(directory, { cancelJobs: true, scheduler, site })
    expect(stopped).toMatchObject({ how: 'driven', jobs: 4, status: { counts: { todo: 4, running: 0 } } })
    expect(canceledStates(scheduler)).toEqual(['canceled', 'canceled', 'canceled', 'canceled'])
  })

  it('keeps what ended well meanwhile: with the rules of the run, not those of an edit', async () => {
    const folder = scratch()
    const directory = join(folder, 'run')
    const campaign = campaignFile(folder)
    let isStuck = true
    const scheduler = squaring([], (n) => (isStuck || n > 2 ? { fate: 'stuck' } : {}))
    await leave(directory, scheduler, campaign)
    isStuck = false
    unstick(scheduler)
    writeFileSync(campaign, JSON.stringify(squares({ collect: { square: { from: 'stdout', pattern: 'cube=(.*)' } } }).options))
    await scheduler.observe(scheduler.entries.map(({ handle }) => handle))
    const stopped = await stopRun(directory, { cancelJobs: true, scheduler, site })
    expect(stopped).toMatchObject({ status: { counts: { done: 2, todo: 2, invalid: 0 } } })
  })

  it('takes over from a controller that is killed after it was asked, and cancels the jobs', async () => {
    const folder = scratch()
    const queue = join(folder, 'queue')
    const directory = join(folder, 'run')
    const ledger = join(folder, 'ledger')
    const config = { sites: { here: { scheduler: 'local', options: { directory: queue, cores: 4, idleMs: 200 } } }, defaultSite: 'here' }
    writeFileSync(join(folder, 'cahier.config.yaml'), JSON.stringify(config))
    const job = { command: ['sh', '-c', 'echo $$ >> "$1"; exec sleep 300', 'sh', ledger] }
    const file = join(folder, 'campaign.yaml')
    writeFileSync(file, JSON.stringify({ name: 'sleepers', factors: { n: [1, 2, 3] }, job }))
    const core = new URL('../../../dist/index.js', import.meta.url).href
    const controller = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { runCampaign } from ${JSON.stringify(core)}; await runCampaign(${JSON.stringify({ campaign: file, directory })})`,
      ],
      { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] },
    )
    const ended = once(controller, 'exit')
    onTestFinished(() => void controller.kill('SIGKILL'))
    const jobs = (): number[] => (existsSync(ledger) ? readFileSync(ledger, 'utf8').split('\n').filter(Boolean).map(Number) : [])
    await vi.waitUntil(async () => jobs().length === 3 && (await readStatus(directory)).counts.running === 3, { timeout: 30_000 })
    // It lives, and does not hear the wish.
    controller.kill('SIGSTOP')
    const stopping = stopRun(directory, { cancelJobs: true })
    const journal = join(directory, 'journal', 'events.jsonl')
    await vi.waitUntil(() => readFileSync(journal, 'utf8').includes('"stop"'), { timeout: 30_000 })
    controller.kill('SIGKILL')
    await ended
    expect(await stopping).toMatchObject({
      how: 'taken-over',
      jobs: 3,
      status: { counts: { todo: 3, running: 0 }, pause: { reason: 'stopped' } },
    })
    for (const pid of jobs()) expect(() => process.kill(pid, 0)).toThrow(/ESRCH/)
  })
})
