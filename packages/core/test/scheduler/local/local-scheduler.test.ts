import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeJob, submit, waitForFile, waitUntilEnded } from '../../../src/conformance/steps.js'
import type { SchedulerWorld } from '../../../src/conformance/types.js'
import { DaemonConnection } from '../../../src/scheduler/local/connection.js'
import { LocalScheduler } from '../../../src/scheduler/local/local-scheduler.js'
import { makePrivateDirectory, socketPath } from '../../../src/scheduler/local/places.js'
import { type LocalLab, makeLocalLab } from './lab.js'

const UNTIL_STOPPED = 'echo up >up; until [ -e stop ]; do sleep 0.05 2>/dev/null || sleep 1; done'
let lab: LocalLab
let scheduler: LocalScheduler
let world: SchedulerWorld

beforeEach(async () => {
  lab = makeLocalLab()
  scheduler = await lab.connect()
  world = { scheduler, lab, supports: scheduler.supports }
})
afterEach(async () => {
  await scheduler[Symbol.asyncDispose]()
  await lab[Symbol.asyncDispose]()
})

describe('LocalScheduler', () => {
  it('takes a tag that it knows for the job that has it', async () => {
    const job = await makeJob(world, 'echo ran >>ledger')
    const [first] = await submit(world, job)
    const [again, same] = await submit(world, job, job)
    expect([again, same]).toEqual([first, first])
    await waitUntilEnded(world, [first as NonNullable<typeof first>])
    expect(readFileSync(join(job.directory, 'ledger'), 'utf8')).toBe('ran\n')
  })

  it('gives the jobs of one submission the numbers of an array, and cancels it by its own', async () => {
    const jobs = await Promise.all([1, 2, 3].map(() => makeJob(world, UNTIL_STOPPED)))
    const handles = await submit(world, ...jobs)
    const [array] = handles[0]?.nativeId.split('_') ?? []
    expect(handles.map(({ nativeId }) => nativeId)).toEqual([0, 1, 2].map((n) => `${array}_${n}`))
    for (const job of jobs) await waitForFile(world, job, 'up')
    await scheduler.cancel([{ scheduler: 'local', nativeId: array ?? '', tag: '' }])
    const observations = await waitUntilEnded(world, handles)
    expect(observations.map(({ end }) => end)).toEqual(['canceled', 'canceled', 'canceled'])
  })

  it.each([
    ['more cores than there are', { cores: 5 }],
    ['more memory than there is', { memoryMiB: 1e9 }],
    ['several nodes', { nodes: 2 }],
    ['a GPU', { gpus: 1 }],
  ])('refuses a job that asks for %s', async (_what, resources) => {
    const [outcome] = await scheduler.submit([await makeJob(world, 'true', { resources })])
    expect(outcome).toMatchObject({ outcome: 'invalid', code: 'E_JOB_INVALID' })
  })

  it('refuses a job whose directory does not exist', async () => {
    const [outcome] = await scheduler.submit([await makeJob(world, 'true', { directory: '/no/such/place' })])
    expect(outcome).toMatchObject({ outcome: 'invalid', code: 'E_JOB_INVALID' })
  })

  it('refuses a job that depends on one that nobody knows', async () => {
    const dependencies = [{ kind: 'afterok' as const, on: { scheduler: 'local', nativeId: '77', tag: 'x' } }]
    const [outcome] = await scheduler.submit([await makeJob(world, 'true', { dependencies })])
    expect(outcome).toMatchObject({ outcome: 'rejected', code: 'E_SUBMIT_REJECTED' })
  })

  it('refuses a job that is to wait for the start of another', async () => {
    const [parent] = await submit(world, await makeJob(world, 'true'))
    const dependencies = [{ kind: 'after' as const, on: parent as NonNullable<typeof parent> }]
    const [outcome] = await scheduler.submit([await makeJob(world, 'true', { dependencies })])
    expect(outcome).toMatchObject({ outcome: 'invalid', message: expect.stringContaining('"after"') })
  })

  it('lists the jobs that it has, those that ended a moment ago included', async () => {
    const ended = await makeJob(world, 'exit 3')
    const [first] = await submit(world, ended)
    await waitUntilEnded(world, [first as NonNullable<typeof first>])
    const running = await makeJob(world, UNTIL_STOPPED)
    const [second] = await submit(world, running)
    await waitForFile(world, running, 'up')
    expect(await scheduler.list()).toEqual([
      expect.objectContaining({
        nativeId: first?.nativeId,
        tag: ended.tag,
        name: ended.name,
        state: 'ended',
        rawState: 'FAILED',
        elements: 1,
      }),
      expect.objectContaining({ nativeId: second?.nativeId, tag: running.tag, state: 'running', rawState: 'RUNNING' }),
    ])
  })

  it('runs no more at once than there are cores', async () => {
    const line = 'n=$(ls ../*/on 2>/dev/null | wc -l); : >on; echo $((n + 1)) >seen; sleep 0.1; rm on'
    const jobs = await Promise.all(Array.from({ length: 16 }, () => makeJob(world, line, { resources: { cores: 2 } })))
    await waitUntilEnded(world, await submit(world, ...jobs))
    for (const { directory } of jobs) expect(Number(readFileSync(join(directory, 'seen'), 'utf8'))).toBeLessThanOrEqual(2)
  })

  it('takes more cores from a client that asks for them', async () => {
    await using larger = await lab.connect({ cores: 12 })
    const job = await makeJob(world, 'true', { resources: { cores: 12 } })
    await waitUntilEnded({ ...world, scheduler: larger }, await submit({ ...world, scheduler: larger }, job))
  })

  it('passes values that no argument could hold together', async () => {
    const environment = Object.fromEntries([1, 2, 3].map((n) => [`V${n}`, `${"'".repeat(30_000)}${n}`]))
    const job = await makeJob(world, 'printf %s "$V1$V2$V3" >all', { environment })
    await waitUntilEnded(world, await submit(world, job))
    expect(readFileSync(join(job.directory, 'all'), 'utf8')).toBe(Object.values(environment).join(''))
  })

  it('gives jobs the environment of the program that submits them', async () => {
    process.env['CAHIER_TEST_VALUE'] = 'two\nlines'
    try {
      await using other = await lab.connect()
      const job = await makeJob(world, 'printf %s "$CAHIER_TEST_VALUE" >value; printf %s "$CAHIER_PROC" >mark')
      await waitUntilEnded(world, await submit({ ...world, scheduler: other }, job))
      expect(readFileSync(join(job.directory, 'value'), 'utf8')).toBe('two\nlines')
    } finally {
      delete process.env['CAHIER_TEST_VALUE']
    }
  })

  it('finds out what ended while no daemon was there', async () => {
    const jobs = await Promise.all(['exit 0', 'exit 9', 'sleep 0.3; exit 4'].map((lines) => makeJob(world, `${UNTIL_STOPPED}; ${lines}`)))
    const handles = await submit(world, ...jobs)
    for (const job of jobs) await waitForFile(world, job, 'up')
    process.kill(lab.daemonPid(), 'SIGKILL')
    for (const { directory } of jobs) writeFileSync(join(directory, 'stop'), '')
    while (jobs.slice(0, 2).some(({ directory }) => !existsSync(join(directory, 'exit.json')))) await pause(5)
    const observations = await waitUntilEnded(world, handles)
    expect(observations.map(({ exitCode, end }) => [exitCode, end])).toEqual([
      [0, 'completed'],
      [9, 'failed'],
      [4, 'failed'],
    ])
  })

  it.each([
    ['the helper that started them', false],
    ['the helper and the daemon', true],
  ])('keeps 20 running jobs when %s are killed, and runs none again', async (_what, daemonToo) => {
    await using large = await lab.connect({ cores: 20 })
    const wide = { ...world, scheduler: large }
    const lines = `echo ran >>ledger; ${UNTIL_STOPPED}; echo ended >>ledger; exit $(cat code)`
    const jobs = await Promise.all(Array.from({ length: 20 }, () => makeJob(world, lines)))
    for (const [n, { directory }] of jobs.entries()) writeFileSync(join(directory, 'code'), String(n % 4))
    const handles = await submit(wide, ...jobs)
    for (const job of jobs) await waitForFile(wide, job, 'up')
    const daemon = lab.daemonPid()
    const helpers = readFileSync(`/proc/${daemon}/task/${daemon}/children`, 'latin1').trim().split(' ').map(Number)
    expect(helpers.length).toBeGreaterThan(0)
    // One that is stopped cannot end by itself when its daemon does.
    for (const pid of helpers) process.kill(pid, 'SIGSTOP')
    if (daemonToo) process.kill(daemon, 'SIGKILL')
    for (const pid of helpers) process.kill(pid, 'SIGKILL')
    const later = await makeJob(world, 'true', { resources: { cores: 4 } })
    const [after] = await submit(wide, later)
    for (const observation of await large.observe(handles)) expect(observation.state).toBe('running')
    for (const { directory } of jobs) writeFileSync(join(directory, 'stop'), '')
    const observations = await waitUntilEnded(wide, handles)
    expect(observations.map(({ exitCode }) => exitCode)).toEqual(jobs.map((_, n) => n % 4))
    for (const job of jobs) {
      expect(readFileSync(join(job.directory, 'ledger'), 'utf8')).toBe('ran\nended\n')
      expect(await large.exitRecord(job)).toMatchObject({ reason: 'exited', start: 1 })
    }
    expect(await waitUntilEnded(wide, [after as NonNullable<typeof after>])).toMatchObject([{ end: 'completed' }])
  })

  it('cancels a job that it adopted, with the reason in its record', async () => {
    const job = await makeJob(world, UNTIL_STOPPED)
    const handles = await submit(world, job)
    await waitForFile(world, job, 'up')
    process.kill(lab.daemonPid(), 'SIGKILL')
    await scheduler.cancel(handles)
    expect(await waitUntilEnded(world, handles)).toMatchObject([{ end: 'canceled' }])
    expect(await scheduler.exitRecord(job)).toMatchObject({ reason: 'canceled', exitCode: 143 })
  })

  it('does not take another process of the same number for the one that had a job', async () => {
    const job = await makeJob(world, `echo $PPID >ppid; ${UNTIL_STOPPED}`)
    const handles = await submit(world, job)
    await waitForFile(world, job, 'up')
    process.kill(lab.daemonPid(), 'SIGKILL')
    process.kill(-Number(readFileSync(join(job.directory, 'ppid'), 'utf8')), 'SIGKILL')
    const [, seconds, host, ticks, boot] = readFileSync(join(job.directory, 'running'), 'utf8').trimEnd().split(' ')
    // This program is alive, and was not started when the job was.
    writeFileSync(join(job.directory, 'running'), `${process.pid} ${seconds} ${host} ${ticks} ${boot}\n`)
    const [observation] = await waitUntilEnded(world, handles)
    expect(observation?.end).toBeUndefined()
  })

  it('claims nothing about a job that vanished with its daemon', async () => {
    const job = await makeJob(world, `echo $PPID >ppid; ${UNTIL_STOPPED}`)
    const handles = await submit(world, job)
    await waitForFile(world, job, 'up')
    process.kill(lab.daemonPid(), 'SIGKILL')
    process.kill(-Number(readFileSync(join(job.directory, 'ppid'), 'utf8')), 'SIGKILL')
    const [observation] = await waitUntilEnded(world, handles)
    expect(observation?.exitCode).toBeUndefined()
    expect(observation?.end).toBeUndefined()
    expect(await scheduler.exitRecord(job)).toBeUndefined()
  })

  it('says that a job failed whose wrapper was killed, and leaves none of its processes', async () => {
    const job = await makeJob(world, `echo $PPID >ppid; (while :; do echo beat >>beats; sleep 0.05; done) & ${UNTIL_STOPPED}`)
    const handles = await submit(world, job)
    await waitForFile(world, job, 'beats')
    process.kill(Number(readFileSync(join(job.directory, 'ppid'), 'utf8')), 'SIGKILL')
    const [observation] = await waitUntilEnded(world, handles)
    expect(observation).toMatchObject({ end: 'failed', signal: 'SIGKILL' })
    await pause(200)
    const beats = readFileSync(join(job.directory, 'beats'), 'utf8').length
    await pause(300)
    expect(readFileSync(join(job.directory, 'beats'), 'utf8').length).toBe(beats)
  })

  it('opens its queue again although a job made its own record unreadable', async () => {
    const odd = await makeJob(world, `mkdir exit.json; ${UNTIL_STOPPED}`)
    const other = await makeJob(world, UNTIL_STOPPED)
    const [first, second] = await submit(world, odd, other)
    await waitForFile(world, odd, 'up')
    await waitForFile(world, other, 'up')
    process.kill(lab.daemonPid(), 'SIGKILL')
    writeFileSync(join(other.directory, 'stop'), '')
    const [end] = await waitUntilEnded(world, [second as NonNullable<typeof second>])
    expect(end).toMatchObject({ state: 'ended', end: 'completed' })
    expect((await scheduler.observe([first as NonNullable<typeof first>]))[0]).toMatchObject({ state: 'running' })
    await scheduler.cancel([first as NonNullable<typeof first>])
    expect(await waitUntilEnded(world, [first as NonNullable<typeof first>])).toMatchObject([{ state: 'ended', end: 'canceled' }])
  })

  it('keeps no more than a few open questions of one program, however long nothing changes', async () => {
    const open = await DaemonConnection.open(socketPath(lab.spool))
    const { seq } = await open.request('observe', { ids: [], since: -1 })
    const questions = Array.from({ length: 17 }, () => open.request('changed', { since: seq }))
    for (const question of questions) question.catch(() => undefined)
    expect(await questions[0]).toEqual({ seq })
    const newest = Promise.race([questions[1], pause(100, 'still open')])
    expect(await newest).toBe('still open')
    open.close()
  })

  it('remembers a cancel when its daemon is killed right after', async () => {
    const blockers = await Promise.all(Array.from({ length: 4 }, () => makeJob(world, UNTIL_STOPPED)))
    const running = await submit(world, ...blockers)
    const waiting = await makeJob(world, 'echo ran >>ledger')
    const [handle] = await submit(world, waiting)
    await scheduler.cancel([handle as NonNullable<typeof handle>])
    process.kill(lab.daemonPid(), 'SIGKILL')
    for (const { directory } of blockers) writeFileSync(join(directory, 'stop'), '')
    const observations = await waitUntilEnded(world, [...running, handle as NonNullable<typeof handle>])
    expect(observations.at(-1)?.end).toBe('canceled')
    expect(existsSync(join(waiting.directory, 'ledger'))).toBe(false)
  })

  it('ends its daemon when there is nothing to do, and starts another when there is', async () => {
    await using brief = await lab.connect({ idleMs: 0 })
    const pid = lab.daemonPid()
    const job = await makeJob(world, 'exit 2')
    const handles = await submit(world, job)
    await waitUntilEnded(world, handles)
    await brief[Symbol.asyncDispose]()
    await scheduler[Symbol.asyncDispose]()
    while (existsSync(`/proc/${pid}`)) await pause(20)
    scheduler = await lab.connect()
    expect(lab.daemonPid()).not.toBe(pid)
    expect((await scheduler.observe(handles))[0]).toMatchObject({ state: 'ended', exitCode: 2 })
  })

  it('has one daemon, however many programs want it at the same moment', async () => {
    await scheduler[Symbol.asyncDispose]()
    process.kill(lab.daemonPid(), 'SIGKILL')
    const clients = await Promise.all(Array.from({ length: 6 }, () => lab.connect()))
    const job = await makeJob(world, 'echo ran >>ledger')
    const handles = await Promise.all(clients.map(async (client) => (await submit({ ...world, scheduler: client }, job))[0]))
    expect(new Set(handles.map((handle) => handle?.nativeId)).size).toBe(1)
    await waitUntilEnded({ ...world, scheduler: clients[0] as LocalScheduler }, [handles[0] as NonNullable<(typeof handles)[0]>])
    expect(readFileSync(join(job.directory, 'ledger'), 'utf8')).toBe('ran\n')
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()))
    scheduler = await lab.connect()
  })

  it('tells a daemon of an older version to make place', async () => {
    const other = join(lab.base, 'old')
    makePrivateDirectory(other)
    const asked: string[] = []
    const server = createServer((socket) => {
      socket.on('data', (chunk) => {
        const { n, op } = JSON.parse(chunk.toString()) as { n: number; op: string }
        asked.push(op)
        socket.write(`${JSON.stringify({ n, answer: op === 'hello' ? { protocol: 0, pid: 1, epoch: 'old' } : {} })}\n`)
        if (op === 'retire') server.close()
      })
    }).listen(socketPath(other))
    await using client = new LocalScheduler({ directory: other, idleMs: 0 })
    await client.open()
    expect(asked).toEqual(['hello', 'retire'])
    expect(await client.find([{ tag: 'none', directory: '/' }])).toEqual(new Map())
    await client.shutDown()
  })

  it('refuses a daemon of a newer version', async () => {
    const other = join(lab.base, 'new')
    makePrivateDirectory(other)
    const server = createServer((socket) => {
      socket.on('data', () => socket.write('{"n":1,"answer":{"protocol":99,"pid":1,"epoch":"new"}}\n'))
    }).listen(socketPath(other))
    await using client = new LocalScheduler({ directory: other })
    await expect(client.open()).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT', message: expect.stringContaining('newer') })
    await client[Symbol.asyncDispose]()
    server.close()
  })

  it('says why its daemon cannot be had', async () => {
    writeFileSync(join(lab.base, 'file'), '')
    await using client = new LocalScheduler({ directory: join(lab.base, 'file', 'queue') })
    await expect(client.open()).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
  })

  it.each([{ cores: 0 }, { memoryMiB: 0 }, { directory: '' }, { unknown: 1 }])('refuses the options %j', (options) => {
    expect(() => new LocalScheduler(options)).toThrow()
  })

  it('makes no queue anew that was removed before its daemon had begun', () => {
    const removed = join(lab.base, 'removed')
    const program = fileURLToPath(new URL('../../../dist/daemon/local-scheduler.js', import.meta.url))
    expect(spawnSync(process.execPath, [program, removed]).status).toBe(0)
    expect(existsSync(removed)).toBe(false)
  })

  it('lets its directory be removed when nothing runs', async () => {
    const pid = lab.daemonPid()
    await scheduler[Symbol.asyncDispose]()
    rmSync(lab.spool, { recursive: true })
    while (existsSync(`/proc/${pid}`)) await pause(20)
    mkdirSync(lab.spool)
    scheduler = await lab.connect()
    expect(lab.daemonPid()).not.toBe(pid)
  })
})
