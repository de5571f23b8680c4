import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { matchJobs, speaksOf } from '../../src/api/jobs/choose-jobs.js'
import { markJobs } from '../../src/api/jobs/list-jobs.js'
import {
  cancelJobs,
  continueJob,
  type JobRequest,
  listJobs,
  orderJobs,
  readBatchScript,
  readJobOutput,
  type SubmittedSiteJob,
  scriptOfCommand,
  submitJob,
} from '../../src/api/jobs.js'
import type { ListedJob } from '../../src/model/site-report.js'
import { ManualClock } from '../../src/testing/manual-clock.js'
import { MemoryScheduler, type MemorySchedulerOptions } from '../../src/testing/memory-scheduler.js'

const HELLO = '#!/bin/sh\necho hello\n'
let folder: string
let scheduler: MemoryScheduler

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-jobs-'))
  scheduler = new MemoryScheduler()
  // Nothing of the person who runs the tests is read.
  vi.stubEnv('XDG_CONFIG_HOME', folder)
})
afterEach(() => {
  vi.unstubAllEnvs()
  // The daemon of a queue may be writing there until it notices.
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
})

const site = { name: 'here', scheduler: 'memory', options: {}, modules: [] }
const options = (more = {}) => ({ directory: folder, site, scheduler, clock: new ManualClock({ eager: true }), ...more })
const submit = (request: Partial<JobRequest> = {}, more = {}) => submitJob({ script: HELLO, ...request }, options(more))
const recordOf = (directory: string) => JSON.parse(readFileSync(join(directory, 'job.json'), 'utf8')) as Record<string, unknown>
const made = (): string[] => (existsSync(join(folder, 'cahier-jobs')) ? readdirSync(join(folder, 'cahier-jobs')) : [])
const restart = (more: MemorySchedulerOptions) => {
  scheduler = new MemoryScheduler(more)
}

describe('submitJob', () => {
  it('gives the job a directory of its own with its script, its files and a record', async () => {
    writeFileSync(join(folder, 'input.dat'), 'data')
    const job = await submit({ name: 'my bench!', files: ['input.dat'], resources: { cores: 2 }, queue: 'short', account: 'lab' })
    expect(basename(job.directory)).toMatch(/^my-bench_\d{8}-\d{6}_[0-9a-f]{6}$/)
    expect(job).toMatchObject({ nativeId: '1000', name: 'my bench!', site: 'here', siteDirectory: job.directory, found: false })
    expect(readFileSync(join(job.directory, 'input.dat'), 'utf8')).toBe('data')
    expect(readFileSync(join(job.directory, 'job.sh'), 'utf8')).toBe(HELLO)
    expect(recordOf(job.directory)).toMatchObject({ version: 1, tag: job.tag, site: 'here', state: 'submitted', nativeId: '1000' })
    expect(scheduler.entries[0]?.job).toMatchObject({
      tag: job.tag,
      directory: job.directory,
      resources: { cores: 2 },
      queue: 'short',
      account: 'lab',
      environment: { CAHIER_SUBMIT_DIRECTORY: folder },
    })
  })

  it('puts the lines of the site behind the directives of the script, and takes its queue and account', async () => {
    const described = { ...site, modules: ['module load gcc'], queue: 'long', account: 'lab' }
    await submit({ script: '#!/bin/bash\n#SBATCH -N 2\nrun\n' }, { site: described })
    expect(scheduler.entries[0]?.job).toMatchObject({
      script: '#!/bin/bash\n#SBATCH -N 2\nmodule load gcc\nrun\n',
      queue: 'long',
      account: 'lab',
    })
  })

  it('has written what it is about to submit before the scheduler is asked', async () => {
    let before: unknown
    const asked = scheduler.submit.bind(scheduler)
    scheduler.submit = (jobs) => {
      before = recordOf(jobs[0]?.directory ?? '')
      return asked(jobs)
    }
    const { tag } = await submit()
    expect(before).toMatchObject({ tag, state: 'intent' })
    expect(before).not.toHaveProperty('nativeId')
  })

  it('looks a job up that may have been queued, and never submits it again', async () => {
    scheduler.faults.push('uncertain-queued')
    const told: string[] = []
    const job = await submit({}, { onUncertain: (message: string) => told.push(message) })
    expect([job.found, job.nativeId, told]).toEqual([true, '1000', ['timed out']])
    expect(scheduler.asked).toMatchObject({ submit: 1, find: 1 })
    expect(recordOf(job.directory)).toMatchObject({ state: 'submitted', nativeId: '1000' })
  })

  it('says so when nothing was queued, after the time in which it could still appear', async () => {
    scheduler.faults.push('uncertain-lost')
    const clock = new ManualClock({ eager: true })
    await expect(submit({}, { clock })).rejects.toMatchObject({
      code: 'E_SUBMIT_REJECTED',
      suggestions: [expect.stringContaining('--continue')],
    })
    expect(clock.monotonic()).toBeGreaterThanOrEqual(60_000)
    expect(scheduler.asked.submit).toBe(1)
  })

  it('leaves a record that can be gone on with when the scheduler falls silent', async () => {
    scheduler.faults.push('uncertain-queued')
    const find = scheduler.find.bind(scheduler)
    scheduler.find = () => Promise.reject(new Error('silence'))
    await expect(submit()).rejects.toMatchObject({ code: 'E_SUBMIT_UNCERTAIN', data: { directory: expect.any(String) } })
    const [name = ''] = made()
    const directory = join(folder, 'cahier-jobs', name)
    expect(recordOf(directory)).toMatchObject({ state: 'uncertain', message: 'timed out' })
    scheduler.find = find
    expect(await continueJob(directory, options())).toMatchObject({ nativeId: '1000', found: true })
    expect([scheduler.asked.submit, scheduler.entries.length]).toEqual([1, 1])
  })

  it.each(['rejected', 'invalid'] as const)('leaves nothing behind of a job that is %s', async (fault) => {
    scheduler.faults.push(fault)
    const code = fault === 'invalid' ? 'E_JOB_INVALID' : 'E_SUBMIT_REJECTED'
    await expect(submit()).rejects.toMatchObject({ code, message: expect.stringContaining('here') })
    expect(made()).toEqual([])
  })

  it('leaves nothing behind when the scheduler could not be asked', async () => {
    scheduler.silent = true
    await expect(submit()).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
    expect(made()).toEqual([])
  })

  it.each<[string, Partial<JobRequest>, string]>([
    ['a file that is not there', { files: ['none'] }, 'E_ARGUMENT'],
    ['a folder as a file', { files: ['.'] }, 'E_ARGUMENT'],
    ['a file that would take the place of the script', { files: ['job.sh'] }, 'E_ARGUMENT'],
    ['a script without a first line', { script: 'echo\0' }, 'E_JOB_INVALID'],
    ['options for a scheduler without any', { options: { qos: 'debug' } }, 'E_NOT_SUPPORTED'],
    ['a dependency where there are none', { after: ['1'] }, 'E_NOT_SUPPORTED'],
  ])('refuses %s, and makes nothing', async (_what, request, code) => {
    writeFileSync(join(folder, 'job.sh'), HELLO)
    await expect(submit(request)).rejects.toMatchObject({ code })
    expect([made(), scheduler.asked.submit]).toEqual([[], 0])
  })

  describe('after other jobs', () => {
    beforeEach(() => restart({ supports: { dependencies: true }, play: ({ name }) => ({ exitCode: name === 'bad' ? 3 : 0 }) }))
    const ended = async (name: string): Promise<SubmittedSiteJob> => {
      const job = await submit({ name })
      await scheduler.observe([{ scheduler: 'memory', nativeId: job.nativeId, tag: job.tag }])
      return job
    }

    it('waits for those that have not ended, by id or by directory', async () => {
      const [first, second] = [await submit(), await submit()]
      await submit({ after: [first.nativeId, second.directory], kind: 'afterany' })
      const on = ({ nativeId, tag }: SubmittedSiteJob) => ({ kind: 'afterany', on: { scheduler: 'memory', nativeId, tag } })
      expect(scheduler.entries.at(-1)?.job.dependencies).toEqual([on(first), on(second)])
    })

    it('does not wait for one that has ended well', async () => {
      const { nativeId } = await ended('good')
      await submit({ after: [nativeId] })
      expect(scheduler.entries.at(-1)?.job.dependencies).toBeUndefined()
    })

    it('refuses to wait for the good end of one that has failed, and takes its bad end', async () => {
      const { nativeId } = await ended('bad')
      await expect(submit({ after: [nativeId] })).rejects.toMatchObject({ code: 'E_UPSTREAM_FAILED' })
      await submit({ after: [nativeId], kind: 'afternotok' })
      expect(scheduler.entries.at(-1)?.job.dependencies).toBeUndefined()
    })

    it('refuses to wait for a job that nobody knows', async () => {
      await expect(submit({ after: ['77'] })).rejects.toMatchObject({ code: 'E_NOT_FOUND', message: expect.stringContaining('77') })
    })
  })
})

describe('continueJob', () => {
  it('submits nothing when the scheduler had the job', async () => {
    const { directory, nativeId } = await submit()
    expect(await continueJob(directory, options())).toMatchObject({ nativeId, found: true })
    expect(scheduler.asked.submit).toBe(1)
  })

  it('submits what was written down and never sent', async () => {
    scheduler.faults.push('uncertain-lost')
    await expect(submit({ name: 'late', resources: { cores: 3 } })).rejects.toThrow()
    const [name = ''] = made()
    const job = await continueJob(join(folder, 'cahier-jobs', name), options())
    expect(job).toMatchObject({ name: 'late', nativeId: '1000', found: false })
    expect(scheduler.entries[0]?.job).toMatchObject({ tag: job.tag, script: HELLO, resources: { cores: 3 } })
  })

  it('refuses a directory that is not a job’s', async () => {
    await expect(continueJob(folder, options())).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    writeFileSync(join(folder, 'job.json'), '{}')
    await expect(continueJob(folder, options())).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  })
})

describe('cancelJobs', () => {
  it('says what was seen of each, by id and by directory', async () => {
    restart({ play: () => ({ fate: 'stuck' }) })
    const [first, second] = [await submit(), await submit()]
    expect(await cancelJobs([first.nativeId, '99', second.directory], options())).toEqual([
      { job: first.nativeId, nativeId: '1000', outcome: 'done', seen: 'CANCELED' },
      { job: '99', nativeId: '99', outcome: 'not-known', seen: null },
      { job: second.directory, nativeId: '1001', outcome: 'done', seen: 'CANCELED' },
    ])
    expect(await cancelJobs(['1000'], options())).toEqual([{ job: '1000', nativeId: '1000', outcome: 'was-ended', seen: 'CANCELED' }])
  })

  it('does not ask the scheduler about jobs that it does not show', async () => {
    await cancelJobs(['99'], options())
    expect(scheduler.asked.cancel).toBe(0)
  })

  it('does not say that a job has ended which goes on', async () => {
    const { nativeId } = await submit()
    scheduler.cancel = async (handles) => handles.map((handle) => ({ handle, outcome: 'requested' }))
    expect(await cancelJobs([nativeId], options())).toEqual([{ job: nativeId, nativeId, outcome: 'asked', seen: 'PENDING' }])
  })

  it.each(['abc', '', '-1', 'rm *'])('refuses %j, which is no id', async (word) => {
    await expect(cancelJobs([word], options())).rejects.toMatchObject({ code: word === '' ? 'E_NOT_FOUND' : 'E_ARGUMENT' })
  })

  it('refuses a folder without a job', async () => {
    mkdirSync(join(folder, 'run7'))
    await expect(cancelJobs(['run7'], options())).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      message: expect.stringContaining('job.json'),
    })
  })
})

describe('orderJobs', () => {
  it('refuses where the scheduler cannot, and names it', async () => {
    await expect(orderJobs('hold', ['1'], options())).rejects.toMatchObject({
      code: 'E_NOT_SUPPORTED',
      message: 'the scheduler memory cannot hold jobs',
    })
  })
})

describe('listJobs', () => {
  it('gives the jobs of sites that answer, and the error of those that do not', async () => {
    writeFileSync(
      join(folder, 'cahier.config.yaml'),
      `sites:\n  here: { scheduler: local, options: { directory: '${folder}/queue', idleMs: 0 } }\n  there: { scheduler: nothing }\ndefaultSite: here\n`,
    )
    expect(await listJobs(undefined, { directory: folder })).toEqual([
      { site: 'here', scheduler: 'local', jobs: [] },
      { site: 'there', scheduler: 'nothing', jobs: [], error: expect.objectContaining({ code: 'E_ADAPTER_MISSING' }) },
    ])
  })

  it('refuses a site that is not there with the nearest one', async () => {
    await expect(listJobs(['locl'], { directory: folder })).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      suggestions: expect.arrayContaining(['Did you mean local?']),
    })
  })
})

describe('speaksOf', () => {
  const line = (nativeId: string, ranges?: [number, number][]): ListedJob => ({
    nativeId,
    name: 'x',
    state: 'pending',
    rawState: 'PD',
    elements: 1,
    ...(ranges === undefined ? {} : { ranges }),
  })

  it.each([
    [line('12'), '12', true],
    [line('12_3'), '12_3', true],
    [line('12_3'), '12', true],
    [line('12_3'), '12_3/1', true],
    [line('12'), '12/4', true],
    [line('12', [[5, 9]]), '12_7', true],
    [line('12', [[5, 9]]), '12_4', false],
    [line('12', [[5, 9]]), '12', true],
    [line('12'), '1', false],
    [line('1'), '12', false],
    [line('12'), '12_3', false],
    [line('12_31'), '12_3', false],
  ])('tells whether the line %j is about %s', (one, id, expected) => {
    expect(speaksOf(one, id)).toBe(expected)
  })
})

describe('matchJobs', () => {
  const folded: ListedJob = {
    nativeId: '12',
    name: 'x',
    state: 'pending',
    rawState: 'PD',
    elements: 3,
    ranges: [
      [4, 5],
      [7, 7],
    ],
    tag: 'group',
  }
  const element: ListedJob = { ...folded, nativeId: '12_1', elements: 1, tag: 'group' }
  const { ranges: _ranges, ...single } = element

  it('makes of an array all its elements, each known by its own id', () => {
    const [seen] = matchJobs([{ selector: '12', nativeId: '12' }], [single, folded], 'slurm')
    expect(seen?.handles.map(({ nativeId, tag }) => [nativeId, tag])).toEqual(['12_1', '12_4', '12_5', '12_7'].map((id) => [id, id]))
  })

  it('takes one element out of a line that speaks of many', () => {
    const [seen] = matchJobs([{ selector: '12_5', nativeId: '12_5' }], [single, folded], 'slurm')
    expect(seen?.handles).toEqual([{ scheduler: 'slurm', nativeId: '12_5', tag: '12_5' }])
  })
})

describe('markJobs', () => {
  const line = (tag: string): ListedJob => ({ nativeId: '1', name: 'x', state: 'running', rawState: 'R', elements: 1, tag })

  it('knows jobs of this folder and of campaigns by their tags, and leaves strangers alone', async () => {
    const { directory, tag } = await submit()
    const known = [{ directory, record: recordOf(directory) as never }]
    const runs = new Map([['x7k2m9', '/runs/a']])
    const tags = [
      tag,
      'scaling-1f3a9c0b2d4e5f60-r2a1-x7k2m9',
      'scaling-1f3a9c0b2d4e5f60-r2a1-other',
      'somebody',
      'scaling-1f3a9c0b2d4e5f60-r2a1-x7k2m9-gd450b0e1726e193b',
      'a-rather-long-name-1f3a9c0b2d4e5f60-r2-gd450b0e1726e193b',
    ]
    expect(markJobs(tags.map(line), known, runs).map(({ directory: at, campaign }) => [at, campaign])).toEqual([
      [directory, undefined],
      ['/runs/a', 'scaling'],
      [undefined, 'scaling'],
      [undefined, undefined],
      ['/runs/a', 'scaling'],
      [undefined, 'a-rather-long-name'],
    ])
  })
})

describe('readJobOutput', () => {
  const read = async (selector: string, more = {}) => {
    let text = ''
    const end = await readJobOutput(selector, { onOutput: (chunk) => (text += Buffer.from(chunk).toString()), ...more }, options())
    return { text, exists: end.exists }
  }

  it('reads what the job wrote, by id and by directory, whole or its end', async () => {
    const { directory, nativeId } = await submit()
    writeFileSync(join(directory, 'stdout'), 'one\ntwo\n')
    writeFileSync(join(directory, 'stderr'), 'bad\n')
    expect(await read(nativeId)).toEqual({ text: 'one\ntwo\n', exists: true })
    expect(await read(directory, { lines: 1 })).toEqual({ text: 'two\n', exists: true })
    expect(await read(directory, { stream: 'stderr' })).toEqual({ text: 'bad\n', exists: true })
  })

  it('says when the job has not written anything yet', async () => {
    const { nativeId } = await submit()
    expect(await read(nativeId)).toEqual({ text: '', exists: false })
  })

  it('follows until the exit record is there', async () => {
    const { directory, nativeId } = await submit()
    let text = ''
    const seen = readJobOutput(nativeId, { follow: true, onOutput: (chunk) => (text += Buffer.from(chunk).toString()) }, options())
    writeFileSync(join(directory, 'stdout'), 'one\n')
    while (text !== 'one\n') await new Promise((resolve) => setTimeout(resolve, 20))
    writeFileSync(join(directory, 'stdout'), 'two\n', { flag: 'a' })
    writeFileSync(join(directory, 'exit.json'), '{}')
    await seen
    expect(text).toBe('one\ntwo\n')
  })

  it('does not wait for a job that was canceled before it began', async () => {
    const { nativeId } = await submit()
    await cancelJobs([nativeId], options())
    let text = ''
    const end = await readJobOutput(nativeId, { follow: true, onOutput: (chunk) => (text += String(chunk)) }, options())
    expect([end.exists, end.gone, text]).toEqual([false, 'CANCELED', ''])
  })

  it('refuses a job whose files nobody knows', async () => {
    await expect(read('99')).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  })
})

describe('scripts', () => {
  it.each([
    [['echo a | wc'], '#!/bin/sh\necho a | wc\n'],
    [['echo', 'a b', "it's"], `#!/bin/sh\nexec echo 'a b' 'it'\\''s'\n`],
  ])('are made of the command %j', (words, text) => {
    expect(scriptOfCommand(words)).toBe(text)
  })

  it('are read with a last line end', () => {
    const file = join(folder, 'job.sh')
    writeFileSync(file, '#!/bin/sh\ntrue')
    expect(readBatchScript(file)).toBe('#!/bin/sh\ntrue\n')
  })

  it.each([
    ['#!/bin/sh\r\ntrue\r\n', 'CR LF', "sed -i 's/\\r$//'"],
    ['echo hi\n', 'does not name a shell', '#!/bin/sh'],
    ['', 'empty', '#!/bin/sh'],
    ['\x7fELF\0', 'NUL', 'two dashes'],
  ])('are refused as %j with the cure', (text, fault, cure) => {
    const file = join(folder, 'job.sh')
    writeFileSync(file, text)
    expect(() => readBatchScript(file)).toThrow(
      expect.objectContaining({
        code: 'E_ARGUMENT',
        message: expect.stringContaining(fault),
        suggestions: [expect.stringContaining(cure)],
      }),
    )
  })

  it('are refused when they are not there', () => {
    expect(() => readBatchScript(join(folder, 'none'))).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})
