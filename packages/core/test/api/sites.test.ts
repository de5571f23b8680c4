import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { clockFinding, factFindings, queueFinding, trialFindings } from '../../src/api/sites/findings.js'
import { checkSites, listSites } from '../../src/api/sites.js'
import type { QueueFacts, SchedulerFacts } from '../../src/model/site-report.js'
import { LocalScheduler } from '../../src/scheduler/local/local-scheduler.js'
import { MemoryScheduler } from '../../src/testing/memory-scheduler.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-sites-'))
  vi.stubEnv('XDG_CONFIG_HOME', join(folder, 'config'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  // The daemon of a queue may be writing there until it notices.
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
})

const configure = (text: string, where = folder): void => {
  mkdirSync(where, { recursive: true })
  writeFileSync(join(where, 'cahier.config.yaml'), text)
}

describe('listSites', () => {
  it('says of each site where it is described, and which is used', async () => {
    configure('sites:\n  far: { host: alice@login, scheduler: slurm, queue: long }\ndefaultSite: far\n', join(folder, 'config/cahier'))
    configure('sites:\n  near: { scheduler: slurm, sharedFiles: true, host: login }\n')
    const common = { queue: null, account: null }
    expect(await listSites(folder)).toEqual([
      { ...common, name: 'local', host: null, scheduler: 'local', workDirectory: null, sharedFiles: true, isDefault: false, file: null },
      {
        ...common,
        name: 'far',
        host: 'alice@login',
        scheduler: 'slurm',
        queue: 'long',
        workDirectory: '~/cahier-runs',
        sharedFiles: false,
        isDefault: true,
        file: join(folder, 'config/cahier/cahier.config.yaml'),
      },
      {
        ...common,
        name: 'near',
        host: 'login',
        scheduler: 'slurm',
        workDirectory: null,
        sharedFiles: true,
        isDefault: false,
        file: join(folder, 'cahier.config.yaml'),
      },
    ])
  })

  it('refuses a description that does not fit', async () => {
    configure('sites:\n  near: { schedular: slurm }\n')
    await expect(listSites(folder)).rejects.toMatchObject({ code: 'E_SITE_INVALID' })
  })
})

describe('checkSites', () => {
  const local = `sites:\n  here: { scheduler: local, options: { directory: QUEUE, idleMs: 0 } }\n`
  const queue = (): string => join(folder, 'queue')

  it('tries this machine with a job, and leaves nothing behind', async () => {
    configure(local.replace('QUEUE', queue()))
    const [report] = await checkSites(['here'], { directory: folder, job: true })
    await using scheduler = new LocalScheduler({ directory: queue() })
    await scheduler.shutDown()
    expect(report).toMatchObject({ site: 'here', scheduler: 'local', ok: true })
    expect(report?.findings.map(({ topic, verdict }) => [topic, verdict])).toEqual(
      ['host', 'scheduler', 'files', 'job'].map((topic) => [topic, 'ok']),
    )
    const left = readdirSync(folder).filter((name) => name.startsWith('.cahier-check'))
    expect([left, readdirSync(join(folder, 'cahier-jobs'))]).toEqual([[], []])
  })

  it('finds everything that is wrong, and not only the first', async () => {
    configure('sites:\n  odd: { host: nowhere.invalid, scheduler: nothing }\n')
    const [odd] = await checkSites(['odd'], { directory: folder })
    expect(odd).toMatchObject({ site: 'odd', host: 'nowhere.invalid', ok: false })
    expect(odd?.findings).toEqual([
      expect.objectContaining({ topic: 'host', verdict: 'failed', text: expect.stringMatching(/^E_HOST_NAME: /) }),
      expect.objectContaining({ topic: 'scheduler', verdict: 'failed', text: expect.stringMatching(/^E_ADAPTER_MISSING: /) }),
    ])
    for (const { suggestions } of odd?.findings ?? []) expect(suggestions).not.toEqual([])
  })

  it('says that the local scheduler is for this machine only', async () => {
    configure('sites:\n  odd: { host: nowhere.invalid, scheduler: local }\n')
    const [odd] = await checkSites(['odd'], { directory: folder })
    expect(odd?.findings).toEqual([expect.objectContaining({ verdict: 'failed', text: expect.stringMatching(/^E_NOT_SUPPORTED: /) })])
  })

  it.skipIf(process.getuid?.() === 0)('says that nothing can be written here (not as root)', async () => {
    configure(local.replace('QUEUE', queue()))
    chmodSync(folder, 0o500)
    const [report] = await checkSites(['here'], { directory: folder })
    chmodSync(folder, 0o700)
    expect(report?.findings).toContainEqual(expect.objectContaining({ topic: 'files', verdict: 'failed' }))
  })

  it('says of a job that fails to run what it left', async () => {
    const scheduler = new MemoryScheduler({ play: () => ({ exitCode: 1, stdout: 'bad node\n' }) })
    configure('sites:\n  odd: { scheduler: local }\n')
    const [report] = await checkSites(['odd'], { directory: folder, scheduler, job: true })
    expect(report?.findings.at(-1)).toMatchObject({ topic: 'job', verdict: 'failed', text: expect.stringContaining('exit code 1') })
    expect(existsSync(join(folder, 'cahier-jobs'))).toBe(true)
  })

  it('refuses a site that is not there', async () => {
    await expect(checkSites(['none'], { directory: folder })).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  })
})

const queueOf = (more: Partial<QueueFacts> = {}): QueueFacts => ({
  name: 'main',
  isDefault: true,
  isUp: true,
  nodes: 4,
  coresPerNode: 4,
  nodesUp: 4,
  ...more,
})

describe('queueFinding', () => {
  it.each<[string, QueueFacts[], string | undefined, string, string]>([
    ['the default', [queueOf()], undefined, 'ok', 'main (the default): 4 of 4 nodes up, no limit of walltime'],
    [
      'the one that is named',
      [queueOf(), queueOf({ name: 'short', isDefault: false, nodes: 1, nodesUp: 1, maxWalltimeMs: 600_000 })],
      'short',
      'ok',
      'short: 1 of 1 node up, walltime up to 10min',
    ],
    ['one that is not there', [queueOf()], 'mian', 'failed', 'there is no queue mian'],
    ['one that is closed', [queueOf({ isUp: false })], 'main', 'failed', 'main takes no jobs now'],
    ['one without a node', [queueOf({ nodesUp: 0 })], 'main', 'warning', 'main takes jobs, but none of its 4 nodes is up: they would wait'],
    [
      'none where there is no default',
      [queueOf({ isDefault: false })],
      undefined,
      'failed',
      'there is no default queue, and the site names none',
    ],
    ['none where no queue is told', [], undefined, 'warning', 'the scheduler names no queue'],
  ])('judges %s', (_what, queues, wanted, verdict, text) => {
    expect(queueFinding(queues, wanted)).toMatchObject({ topic: 'queues', verdict, text })
  })

  it('suggests the nearest name, and lists all', () => {
    expect(queueFinding([queueOf()], 'mian').suggestions).toEqual(['Did you mean main?', 'Known queues: main'])
  })
})

describe('factFindings', () => {
  const facts: SchedulerFacts = {
    version: 'slurm 22.05.8',
    cluster: 'bed',
    maxArraySize: 10_001,
    accounting: false,
    queues: [queueOf()],
    notes: ['odd'],
  }

  it('says version, limits, queue, accounting and what else is worth knowing', () => {
    expect(
      factFindings({ ...facts, maxJobs: 20_000, keepsEndedMs: 300_000 }, {}).map(({ topic, verdict, text }) => [topic, verdict, text]),
    ).toEqual([
      ['scheduler', 'ok', 'slurm 22.05.8, cluster bed'],
      ['limits', 'ok', 'arrays of up to 10001 jobs, at most 20000 jobs of all users, ended jobs are shown for 5min'],
      ['queues', 'ok', expect.stringContaining('main')],
      ['accounting', 'warning', expect.stringContaining('off')],
      ['scheduler', 'warning', 'odd'],
    ])
  })
})

describe('trialFindings', () => {
  const planned = { script: '', command: '', jobs: 1, tag: 't', faults: [], warnings: [] }

  it('passes on what the scheduler has against the smallest job', () => {
    expect(trialFindings([{ ...planned, faults: ['no such account'], warnings: ['slow'] }], { account: 'lab' })).toEqual([
      { topic: 'job', verdict: 'failed', text: 'the smallest job would not be taken: no such account' },
      { topic: 'job', verdict: 'warning', text: 'slow' },
    ])
  })

  it('claims nothing about an account that was not tried', () => {
    expect(trialFindings([planned], { account: 'lab' })).toEqual([
      { topic: 'account', verdict: 'ok', text: expect.stringContaining('when a job is submitted') },
    ])
    expect(trialFindings([planned], {})).toEqual([])
  })
})

describe('clockFinding', () => {
  it.each([
    [0, 20, 'ok', 'as here'],
    [-1_500, 20, 'ok', '1s500ms behind'],
    [2_400, 600, 'ok', '2s400ms ahead'],
    [5_040, 20, 'warning', /^5s ahead of this machine/],
    [-26 * 3_600_000, 20, 'warning', /^1d2h behind this machine/],
  ])('judges an offset of %d ms, known to %d ms', (offset, unsure, verdict, text) => {
    expect(clockFinding(offset, unsure, 'login')).toMatchObject({
      topic: 'clock',
      verdict,
      text: typeof text === 'string' ? text : expect.stringMatching(text),
    })
  })
})
