import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandAnswer, SiteCommand, Submission } from '@cahier/core/spi'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../../test/testbed/bed.mjs'
import { type SlurmBed, slurmUnavailable, startSlurm } from '../../../test/testbed/slurm.mjs'
import { optionsOf } from '../src/directives.js'
import { dialectWith, submission } from './submissions.js'

const reason = slurmUnavailable()
const check = it.skipIf(reason !== undefined)
const title = (text: string): string => (reason === undefined ? text : `${text} (needs slurmctld)`)
const dialect = dialectWith()

describe('what the dialect writes, to the real SLURM', () => {
  let bed: SlurmBed & AsyncDisposable
  let count = 0

  beforeAll(async () => {
    if (reason === undefined) bed = await startSlurm({ messageTimeout: 10 })
  })
  afterAll(() => bed?.stop())

  async function ask({ argv, env = {} }: SiteCommand): Promise<CommandAnswer> {
    // The bed runs in an environment of its own, where there is nothing to take away.
    const given = Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
    const { exitCode, stdout, stderr } = await bed.run(argv, { env: given, timeoutMs: 60_000 })
    return { exitCode, timedOut: exitCode === undefined, stdout, stderr }
  }

  /** Writes the script that sbatch gets, and submits it. */
  async function submit(
    parts: Parameters<typeof submission>[0],
    body = 'true',
    folder = `job-${++count}`,
  ): Promise<{ sent: Submission; answer: CommandAnswer; id: string }> {
    const directory = join(bed.directory, 'jobs', folder)
    mkdirSync(directory, { recursive: true })
    const sent = submission({
      tag: `real-${count}`,
      directory,
      scriptFile: join(directory, 'wrapper.sh'),
      logFile: join(directory, 'scheduler.log'),
      ...parts,
    })
    writeFileSync(sent.scriptFile, ['#!/bin/sh', ...dialect.head(sent), body, ''].join('\n'))
    const answer = await ask(dialect.submit(sent))
    const read = dialect.parseSubmit(answer, sent)
    return { sent, answer, id: read.outcome === 'submitted' ? read.nativeId : expect.unreachable(JSON.stringify(read)) }
  }

  async function shown(id: string): Promise<string> {
    return (await bed.run(['scontrol', '-o', 'show', 'job', id])).stdout
  }

  check.each<[string, Parameters<typeof submission>[0], string[]]>([
    ['cores', { resources: { cores: 3, walltimeMs: 90_000 } }, ['NumTasks=1', 'CPUs/Task=3', 'TimeLimit=00:02:00']],
    ['nodes', { resources: { cores: 2, nodes: 2, memoryMiB: 300 } }, ['NumNodes=2', 'NumTasks=2', 'CPUs/Task=2', 'MinMemoryNode=300M']],
    ['tasks', { resources: { tasks: 8, nodes: 2, cores: 4 } }, ['NumNodes=2', 'NumTasks=8', 'CPUs/Task=1']],
    [
      'texts',
      { queue: 'short', options: { comment: 'for "us"; a\\b #1', nice: 7, mailType: ['END'], exclusive: 'user' } },
      ['Partition=short', 'Comment=for "us"; a\\b #1 ', 'Nice=7'],
    ],
    [
      'a script’s own lines',
      { resources: { cores: 2, memoryMiB: 100, walltimeMs: 60_000 }, userLines: ['#SBATCH -n 3 --mem-per-cpu=50M', '#SBATCH -t 5'] },
      ['NumTasks=3', 'MinMemoryCPU=50M', 'TimeLimit=00:05:00'],
    ],
    ['a long grace', { resources: { walltimeMs: 600_000 }, graceMs: 120_000, options: { requeue: false } }, ['Requeue=0']],
  ])(title('asks for %s'), async (_, parts, facts) => {
    const { id, sent } = await submit(parts)
    const job = await shown(id)
    for (const fact of facts) expect(job).toContain(fact)
    if (optionsOf(dialect.head(sent)).has('comment')) expect(job).toContain(`JobName=${sent.tag}`)
    else expect(job).toContain(`Comment=${sent.tag}`)
  })

  check(title('heads pass --test-only, whatever is asked for'), async () => {
    const kinds: Parameters<typeof submission>[0][] = [
      {},
      { resources: { tasks: 5, nodes: 2 } },
      { resources: { cores: 4, nodes: 4 } },
      { resources: { tasks: 3, cores: 4 } },
      { options: { begin: 'now+1hour', memPerCpu: '50MiB', exclusive: true, extra: ['--hint=nomultithread'] } },
    ]
    for (const [at, parts] of kinds.entries()) {
      const sent = submission({
        ...parts,
        scriptFile: join(bed.directory, `test-only-${at}.sh`),
        logFile: '/dev/null',
        directory: bed.directory,
      })
      writeFileSync(sent.scriptFile, ['#!/bin/sh', ...dialect.head(sent), 'true', ''].join('\n'))
      const [program, ...args] = dialect.submit(sent).argv
      const { exitCode, stderr } = await bed.run([program, '--test-only', ...args])
      expect([exitCode, stderr]).toEqual([0, expect.stringMatching(/to start at/)])
    }
  })

  check(title('follows jobs, arrays and what waits for ever, to the end'), async () => {
    const [failed, array, folder] = await Promise.all([
      submit({ tag: 'fails' }, 'exit 200'),
      submit({ tag: 'array', array: { size: 3 } }, 'exit $SLURM_ARRAY_TASK_ID'),
      submit({ tag: 'odd-folder' }, 'echo to the log', 'a b%j'),
    ])
    const after = await submit({ tag: 'waits', dependencies: [{ kind: 'afterok', ids: [failed.id] }] })
    const rows = async () => {
      const read = dialect.parseQueue(await ask(dialect.queue()))
      return 'rows' in read ? read.rows : expect.unreachable(JSON.stringify(read))
    }
    const find = async (id: string) => (await rows()).find(({ nativeId }) => nativeId === id)
    const ids = [failed.id, folder.id, ...[0, 1, 2].map((index) => dialect.elementId(array.id, index))]
    await waitUntil(async () => (await Promise.all(ids.map(find))).every((row) => row?.state === 'ended'), {
      what: 'the jobs to end',
      timeoutMs: 100_000,
      everyMs: 200,
    })
    await waitUntil(async () => (await find(after.id))?.never !== undefined, {
      what: 'the verdict on the job that waits',
      timeoutMs: 100_000,
      everyMs: 200,
    })
    expect(await find(failed.id)).toMatchObject({ tag: 'fails', end: 'failed' })
    expect(await find(dialect.elementId(array.id, 0))).toMatchObject({ tag: 'array', end: 'completed', exitCode: 0 })
    expect(await find(after.id)).toMatchObject({ state: 'pending', never: { end: 'upstream-failed' } })
    const details = dialect.parseDetails!(await ask(dialect.details!([failed.id, dialect.elementId(array.id, 2), '999999'])))
    expect(details).toMatchObject({
      rows: [
        { nativeId: failed.id, exitCode: 200 },
        { nativeId: `${array.id}_2`, exitCode: 2 },
      ],
    })
    expect((await bed.run(['cat', folder.sent.logFile])).stdout).toBe('to the log\n')
    expect(dialect.parseCancel(await ask(dialect.cancel([after.id, ...ids, '999999'])))).toEqual({ ok: true })
  })

  check(title('holds and releases, and reads what the site has'), async () => {
    const { id } = await submit({ tag: 'held', options: { extra: ['--begin=now+1hour'] } })
    const stateOf = async () => {
      const read = dialect.parseQueue(await ask(dialect.queue()))
      return 'rows' in read ? read.rows.find(({ nativeId }) => nativeId === id)?.state : undefined
    }
    expect(dialect.parseOrder!(await ask(dialect.order!('hold', [id])))).toEqual({ ok: true })
    expect(await stateOf()).toBe('held')
    expect(dialect.parseOrder!(await ask(dialect.order!('release', [id])))).toEqual({ ok: true })
    expect(await stateOf()).toBe('pending')
    expect(dialect.parseOrder!(await ask(dialect.order!('release', ['999999'])))).toMatchObject({ refused: expect.any(String) })
    const answers = await Promise.all(dialect.probe.commands.map(ask))
    expect(dialect.probe.parse(answers)).toMatchObject({
      facts: { cluster: bed.cluster, accounting: false, queues: [{ name: 'main', coresPerNode: 4 }, { name: 'short' }] },
    })
    expect(dialect.parseAccounting!(await ask(dialect.accounting!([id], Date.now() - 60_000)))).toMatchObject({
      absent: expect.any(String),
    })
  })
})
