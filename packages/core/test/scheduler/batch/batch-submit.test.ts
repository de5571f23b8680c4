import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { JobSpec } from '../../../src/model/job.js'
import type { FakeQueue } from './fake-queue.js'
import { fakeQueue, makeSpec, observeUntil } from './fake-steps.js'

const specs = (queue: FakeQueue, count: number, fields: Partial<JobSpec> = {}): JobSpec[] =>
  Array.from({ length: count }, () => makeSpec(queue, 'true', fields))

describe('submissions of a batch scheduler', () => {
  it('puts equal jobs into arrays within the limit, with one command each', async () => {
    const queue = fakeQueue({ maxArraySize: 20 })
    await using scheduler = queue.connect()
    const outcomes = await scheduler.submit(specs(queue, 50))
    expect(outcomes.map((one) => (one.outcome === 'submitted' ? one.handle.nativeId : one))).toContain('1_0')
    expect(queue.calls('fq-sub')).toHaveLength(3)
    expect(new Set(outcomes.map((one) => (one.outcome === 'submitted' ? one.handle.nativeId : ''))).size).toBe(50)
  })

  it('submits one by one where arrays are not wanted', async () => {
    const queue = fakeQueue({ arrays: false })
    await using scheduler = queue.connect()
    await scheduler.submit(specs(queue, 3))
    expect(queue.calls('fq-sub')).toHaveLength(3)
  })

  it('runs a pack in one place of the queue, one job after the other, each with its own record', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const jobs = [0, 3, 0, 0, 5].map((code) => makeSpec(queue, `echo $$ >pid; date +%s%N >began; sleep 0.05; exit ${code}`, { pack: 2 }))
    const handles = (await scheduler.submit(jobs)).map((one) => (one.outcome === 'submitted' ? one.handle : undefined))
    expect(handles.map((handle) => handle?.nativeId)).toEqual(['1_0/0', '1_0/1', '1_1/0', '1_1/1', '1_2/0'])
    const seen = await observeUntil(
      scheduler,
      handles.flatMap((handle) => handle ?? []),
      ({ state }) => state === 'ended',
    )
    expect(seen.map(({ exitCode }) => exitCode)).toEqual([0, 3, 0, 0, 5])
    expect(queue.calls('fq-sub')).toHaveLength(1)
    const began = jobs.map(({ directory }) => BigInt(readFileSync(join(directory, 'began'), 'utf8')))
    expect((began[1] ?? 0n) - (began[0] ?? 0n)).toBeGreaterThan(40_000_000n)
  })

  it('writes every file of a call in one exchange, before any command', async () => {
    const queue = fakeQueue()
    const { LocalFiles } = await import('../../../src/staging/local-files.js')
    const { systemClock } = await import('../../../src/system/clock.js')
    const calls: string[] = []
    class Counted extends LocalFiles {
      override async write(...args: Parameters<InstanceType<typeof LocalFiles>['write']>) {
        calls.push(`${args[0].length} files, ${queue.calls('fq-sub').length} commands`)
        return super.write(...args)
      }
    }
    await using scheduler = queue.connect({ files: new Counted({ clock: systemClock }) })
    await scheduler.submit([
      ...specs(queue, 10),
      ...specs(queue, 5, { resources: { cores: 2 } }),
      makeSpec(queue, 'true', { queue: 'open' }),
    ])
    expect(calls).toHaveLength(1)
    expect(calls[0]).toMatch(/, 0 commands$/)
  })

  it('sends nothing when the files cannot be written, and says so', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    writeFileSync(join(queue.base, 'plain'), '')
    await expect(scheduler.submit([makeSpec(queue, 'true', { directory: join(queue.base, 'plain', 'x') })])).rejects.toThrow()
    expect(queue.calls('fq-sub')).toEqual([])
  })

  it('shows before exactly what it does then', async () => {
    const queue = fakeQueue({ submitsPerSecond: 1_000 })
    await using scheduler = queue.connect()
    await scheduler.open()
    const jobs = [...specs(queue, 4), makeSpec(queue, 'true', { resources: { cores: 3 } })]
    const planned = scheduler.preview(jobs)
    expect(planned.map(({ jobs: count, faults }) => [count, faults])).toEqual([
      [4, []],
      [1, []],
    ])
    await scheduler.submit(jobs)
    const done = queue.calls('fq-sub')
    for (const { command, script } of planned) {
      const words = command.replace(/^FQ=\S+ \S*\/fq-sub /, 'fq-sub ').replace(/'/g, '')
      expect(done.map((line) => line.replace(/'/g, '')).sort()).toContain(words)
      expect(readFileSync(/(\/[^']*\.sh)'?$/.exec(command)?.[1] ?? '', 'utf8')).toBe(script)
    }
  })

  it('shows faults and directive lines that are not obeyed, and asks nobody', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const planned = scheduler.preview([
      makeSpec(queue, 'true', { resources: { nodes: 10 } }),
      { ...makeSpec(queue, 'true'), script: '#!/bin/sh\n#FQ -Z\n' },
      makeSpec(queue, 'true', { options: { colour: 'red' } }),
    ])
    expect(planned.flatMap(({ faults }) => faults)).toEqual([
      '10 nodes are asked for, the site has 9; Ask for 9 nodes',
      'the directive line #FQ -Z cannot be obeyed',
      'there is no option colour (Did you mean color?)',
    ])
    expect(queue.calls()).toEqual([])
  })

  it('finds the id in whatever else is printed', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    queue.fault('noise')
    const [outcome] = await scheduler.submit([makeSpec(queue, 'true')])
    expect(outcome).toMatchObject({ outcome: 'submitted', handle: { nativeId: '1' } })
  })

  it.each([
    ['that is said to have failed', 'accept-fail', '', 'connection timed out'],
    ['whose command hangs', 'accept-hang', '', 'it was not answered in time'],
    ['whose command hangs after the id', 'accept-hang', 'id', 'it had printed: accepted 1'],
  ] as const)('calls an accepted submission %s uncertain, sends it never again, and finds it', async (_how, fault, text, words) => {
    const queue = fakeQueue({ commandTimeout: 5_000 })
    await using scheduler = queue.connect()
    const jobs = [0, 1, 2].map((code) => makeSpec(queue, `echo ran >>ledger; exit ${code}`))
    const end = queue.fault(fault, text)
    const outcomes = await scheduler.submit(jobs)
    end()
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['uncertain', 'uncertain', 'uncertain'])
    expect(outcomes[0]).toMatchObject({ tag: jobs[0]?.tag, message: expect.stringContaining(words) })
    expect((await scheduler.submit(jobs)).map(({ outcome }) => outcome)).toEqual(['uncertain', 'uncertain', 'uncertain'])
    // Another program, after the death of this one, knows the directories only.
    await using later = queue.connect({ options: { commandTimeout: 20_000 } })
    const found = await later.find(jobs)
    expect(jobs.map(({ tag }) => found.get(tag)?.nativeId)).toEqual(['1_0', '1_1', '1_2'])
    const seen = await observeUntil(later, [...found.values()], ({ state }) => state === 'ended')
    expect(seen.map(({ exitCode }) => exitCode)).toEqual([0, 1, 2])
    expect(queue.calls('fq-sub')).toHaveLength(1)
    for (const { directory } of jobs) expect(readFileSync(join(directory, 'ledger'), 'utf8')).toBe('ran\n')
  })

  it('keeps back what would follow a submission that was not answered', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const end = queue.fault('accept-fail')
    const outcomes = await scheduler.submit(Array.from({ length: 20 }, (_, n) => makeSpec(queue, 'true', { resources: { cores: n + 1 } })))
    end()
    const uncertain = outcomes.filter(({ outcome }) => outcome === 'uncertain').length
    expect(uncertain).toBeGreaterThan(0)
    expect(uncertain).toBeLessThanOrEqual(4)
    expect(queue.calls('fq-sub')).toHaveLength(uncertain)
    expect(outcomes.filter(({ outcome }) => outcome === 'rejected')).toHaveLength(20 - uncertain)
  })

  it('halves an array that is over a limit until it fits, remembers that, and gives the rest back', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    queue.fault('closed')
    queue.fault('limit', '10\n')
    const jobs = specs(queue, 32)
    const first = await scheduler.submit(jobs)
    const taken = first.filter(({ outcome }) => outcome === 'submitted').length
    expect(taken).toBeGreaterThan(5)
    expect(taken).toBeLessThanOrEqual(10)
    const rest = first.filter((one) => one.outcome === 'rejected')
    expect(rest).toHaveLength(32 - taken)
    expect(rest[0]).toMatchObject({ code: 'E_SUBMIT_REJECTED', message: expect.stringContaining('limit MAXJOBS reached') })
    const before = queue.calls('fq-sub').length
    await scheduler.submit(jobs.filter((_, position) => first[position]?.outcome === 'rejected'))
    expect(queue.calls('fq-sub').length - before).toBeLessThanOrEqual(4)
    queue.fault('limit', '1000\n')
    const last = await scheduler.submit(jobs)
    expect(last.every(({ outcome }) => outcome === 'submitted')).toBe(true)
    expect(new Set(last.map((one) => (one.outcome === 'submitted' ? one.handle.nativeId : ''))).size).toBe(32)
  })

  it('fails three of a kind that is refused for good, and sends no more of it', async () => {
    const queue = fakeQueue({ arrays: false })
    await using scheduler = queue.connect()
    const bad = Array.from({ length: 40 }, () => makeSpec(queue, 'true', { queue: 'nope' }))
    const good = makeSpec(queue, 'true')
    const outcomes = await scheduler.submit([...bad, good])
    const invalid = outcomes.filter(({ outcome }) => outcome === 'invalid')
    expect(invalid).toHaveLength(3)
    // Several are on their way at a time, so these need not be the first three.
    for (const one of invalid) expect(one).toMatchObject({ code: 'E_JOB_INVALID', message: 'fq-sub: there is no queue nope' })
    expect(outcomes.filter((one) => one.outcome === 'rejected' && one.code === 'E_SCHEDULER_BREAKER')).toHaveLength(37)
    expect(outcomes[40]?.outcome).toBe('submitted')
    expect(queue.calls('fq-sub').length).toBeLessThanOrEqual(8)
  })

  it('fails three elements of an array that is refused for good, not all of them', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    queue.fault('refuse', 'fq-sub: this account is closed\n')
    const outcomes = await scheduler.submit(specs(queue, 30))
    expect(outcomes.filter(({ outcome }) => outcome === 'invalid')).toHaveLength(3)
    expect(queue.calls('fq-sub')).toHaveLength(1)
  })

  it('says E_SCHEDULER_MISSING where the commands are not there', async () => {
    const queue = fakeQueue()
    const dialect = { ...queue.dialect, submit: () => ({ argv: ['/nowhere/fq-sub'] as const }) }
    await using scheduler = queue.connect({ dialect })
    await expect(scheduler.submit([makeSpec(queue, 'true')])).rejects.toMatchObject({ code: 'E_SCHEDULER_MISSING' })
  })

  it('takes the same tag twice in one call for one job', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const job = makeSpec(queue, 'true')
    const [one, two] = await scheduler.submit([job, job])
    expect(two).toEqual(one)
    expect(queue.calls('fq-sub')).toHaveLength(1)
  })

  it('gives names that the user wants to the output, of each element its own', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const jobs = [1, 2].map((n) => ({ ...makeSpec(queue, ''), script: `#!/bin/sh\n#FQ -o out_\${FQ_INDEX}.txt\necho ${n}\n` }))
    const outcomes = await scheduler.submit(jobs)
    await observeUntil(
      scheduler,
      outcomes.flatMap((one) => (one.outcome === 'submitted' ? [one.handle] : [])),
      ({ state }) => state === 'ended',
    )
    expect(jobs.map(({ directory }, n) => readFileSync(join(directory, `out_${n}.txt`), 'utf8'))).toEqual(['1\n', '2\n'])
  })

  it('does not send what was given up before its turn', async () => {
    const queue = fakeQueue({ submitsPerSecond: 5 })
    await using scheduler = queue.connect()
    await scheduler.open()
    const control = new AbortController()
    const jobs = Array.from({ length: 30 }, (_, n) => makeSpec(queue, 'true', { resources: { cores: n + 1 } }))
    const submitting = scheduler.submit(jobs, { signal: control.signal })
    while (queue.calls('fq-sub').length < 2) await new Promise((done) => setTimeout(done, 10))
    control.abort()
    const outcomes = await submitting
    const sent = outcomes.filter(({ outcome }) => outcome === 'submitted').length
    expect(queue.calls('fq-sub')).toHaveLength(sent)
    expect(sent).toBeLessThan(30)
    expect(outcomes.filter((one) => one.outcome === 'rejected' && one.code === 'E_ABORTED')).toHaveLength(30 - sent)
  })

  it('never relies on what the queue says of a dependency on a job that it has forgotten', async () => {
    const queue = fakeQueue()
    await using scheduler = queue.connect()
    const parents = [makeSpec(queue, 'exit 1', { resources: { cores: 1 } }), makeSpec(queue, 'exit 0', { resources: { cores: 2 } })]
    const handles = (await scheduler.submit(parents)).flatMap((one) => (one.outcome === 'submitted' ? [one.handle] : []))
    await observeUntil(scheduler, handles, ({ state }) => state === 'ended')
    await queue.purge()
    const [failed, ended] = handles
    if (failed === undefined || ended === undefined) throw new Error('not submitted')
    const outcomes = await scheduler.submit([
      makeSpec(queue, 'true', { dependencies: [{ kind: 'afterok', on: failed }] }),
      makeSpec(queue, 'true', { dependencies: [{ kind: 'afterok', on: ended }] }),
      makeSpec(queue, 'true', { dependencies: [{ kind: 'afterok', on: { scheduler: 'fake', nativeId: '4711', tag: 'nobody' } }] }),
    ])
    expect(outcomes.map((one) => (one.outcome === 'submitted' ? one.outcome : [one.outcome, one.code]))).toEqual([
      ['invalid', 'E_UPSTREAM_FAILED'],
      'submitted',
      ['rejected', 'E_SUBMIT_REJECTED'],
    ])
    expect(queue.calls('fq-sub').at(-1)).not.toContain('-w')
  })
})
