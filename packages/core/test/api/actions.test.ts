import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Local, ParallelActions, Process, Report, SequentialActions, wait, waitAll, waitAny } from '../../src/index.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-actions-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('Local', () => {
  it('runs one command or several, in order of the commands', async () => {
    const one = await new Local('echo one; echo $0').run()
    expect(one.processes.map(({ stdout }) => stdout)).toEqual(['one\n/bin/sh\n'])
    const all = await new Local(['echo a', ['echo', '$b'], 'exit 3']).run()
    expect(all.processes.map(({ stdout, exitCode }) => [stdout, exitCode])).toEqual([
      ['a\n', 0],
      ['$b\n', 0],
      ['', 3],
    ])
    expect(all).toMatchObject({ ended: true, ok: false, finishedOk: false, name: '3 local commands' })
  })

  it('without commands ends at once and is ok', async () => {
    expect(await new Local([]).run()).toMatchObject({ ended: true, ok: true, finishedOk: true })
  })

  it('never runs more at a time than its concurrency', async () => {
    let now = 0
    let most = 0
    const handler = { start: () => (most = Math.max(most, ++now)), end: () => --now }
    const action = new Local(
      Array.from({ length: 20 }, () => 'sleep 0.02'),
      { concurrency: 3, process: { lifecycleHandlers: [handler] } },
    )
    await action.run()
    expect(most).toBe(3)
    expect(action.finishedOk).toBe(true)
  })

  it.each([0, -1, 1.5, Number.NaN])('refuses a concurrency of %s', (concurrency) => {
    expect(() => new Local('true', { concurrency })).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })

  it('killed starts nothing more, and what never ran is not finishedOk', async () => {
    const action = new Local(['sleep 60', 'sleep 61', 'sleep 62'], { concurrency: 2 }).start()
    await action.wait({ timeout: 100 })
    expect(action.running).toBe(true)
    await action.kill().wait()
    expect(action.processes.map(({ started, ok, finishedOk }) => [started, ok, finishedOk])).toEqual([
      [true, true, true],
      [true, true, true],
      [false, true, false],
    ])
    expect(action).toMatchObject({ ok: true, finishedOk: false })
  })

  it('has a timeout of its own', async () => {
    const action = await new Local(['sleep 60', 'true'], { timeout: '100ms' }).run()
    expect(action).toMatchObject({ timedOut: true, ok: false, finishedOk: false })
  })

  it('is reset with the settings of its processes', async () => {
    const action = new Local(['exit 1', 'exit 0'])
    action.processes[0]?.ignore.add('exit-code')
    await action.run()
    expect(action.ok).toBe(true)
    await action.reset()
    expect(action).toMatchObject({ started: false, ended: false })
    expect((await action.run()).ok).toBe(true)
  })

  it('waits for output on all processes', async () => {
    const action = new Local(['echo a1; sleep 60', 'echo b2; sleep 60', 'true'], {}).start()
    const found = await action.expect(/[ab](\d)/)
    expect(found.map(({ process, index, match }) => [process.name.slice(0, 7), index, match?.[1]])).toEqual([
      ['echo a1', 0, '1'],
      ['echo b2', 0, '2'],
      ['true', -1, undefined],
    ])
    await action.kill().wait()
    expect(action.stats()).toMatchObject({ expectFailures: 1, processes: 3, ok: 2 })
  })

  it('tells its handlers of start, end (when it has ended) and reset', async () => {
    const seen: unknown[] = []
    const handler = {
      start: (action: Local) => seen.push('start', action.started),
      end: (action: Local) => seen.push('end', action.ended),
      reset: () => seen.push('reset'),
    }
    await (await new Local('true', { lifecycleHandlers: [handler as never] }).run()).reset()
    expect(seen).toEqual(['start', true, 'end', true, 'reset'])
  })

  it('is killed and waited for when its scope is left', async () => {
    let processes: readonly Process[]
    {
      await using action = new Local(['sleep 60', 'sleep 61']).start()
      await action.wait({ timeout: 50 })
      processes = action.processes
    }
    expect(processes.every(({ ended, killed }) => ended && killed)).toBe(true)
  })
})

describe('groups', () => {
  it('nest, in parallel and in sequence', async () => {
    const file = join(folder, 'order')
    const say = (word: string): Local => new Local(`echo ${word} >> ${file}`)
    const group = new SequentialActions([say('1'), new ParallelActions([say('2'), say('2')]), new SequentialActions([say('3'), say('4')])])
    await group.run()
    expect(readFileSync(file, 'utf8')).toBe('1\n2\n2\n3\n4\n')
    expect(group.processes).toHaveLength(5)
    expect(group).toMatchObject({ ok: true, finishedOk: true })
  })

  it('go on after a failure, or stop there when asked', async () => {
    const go = await new SequentialActions([new Local('exit 1'), new Local('true')]).run()
    expect(go.actions.map(({ ended }) => ended)).toEqual([true, true])
    expect(go.ok).toBe(false)
    const stop = await new SequentialActions([new Local('exit 1'), new Local('true')], { stopOnFailure: true }).run()
    expect(stop.actions.map(({ started }) => started)).toEqual([true, false])
    expect(stop).toMatchObject({ ended: true, ok: false, finishedOk: false })
  })

  it('killed stop the whole sequence', async () => {
    const file = join(folder, 'never')
    const group = new SequentialActions([new Local('sleep 60'), new Local(`touch ${file}`)]).start()
    await group.wait({ timeout: 100 })
    await group.kill().wait()
    expect(existsSync(file)).toBe(false)
    expect(group.finishedOk).toBe(false)
  })
})

describe('waiting', () => {
  it('is for the first or for all, over processes and actions', async () => {
    const quick = new Process('true').start()
    const slow = new Local('sleep 60').start()
    expect(await waitAny([quick, slow])).toEqual([quick])
    expect(await waitAll([quick, slow], { timeout: 50 })).toEqual([quick])
    slow.kill()
    expect(await waitAll([slow, quick])).toEqual([slow, quick])
    expect(await wait(quick)).toEqual([quick])
    expect(await waitAny([])).toEqual([])
  })

  it('refuses what was not started', async () => {
    await expect(waitAll([new Process('true')])).rejects.toMatchObject({ code: 'E_PROCESS_STATE' })
  })
})

describe('Report', () => {
  it('counts what is true when it is asked, and prints a table', async () => {
    const action = new Local(['true', 'exit 2', 'kill -9 $$'])
    const single = new Process(['cahier-no-such-program'])
    const report = new Report([action], { name: 'all' }).add(single)
    expect(report.stats()).toMatchObject({ processes: 4, started: 0, ok: 4, finishedOk: 0 })
    await Promise.all([action.run(), single.run()])
    expect(report.toJSON()).toMatchObject({ processes: 4, started: 4, ended: 4, errors: 1, nonZeroExits: 2, ok: 1, finishedOk: 1 })
    const lines = report.toString().split('\n')
    expect(lines).toHaveLength(1 + 1 + 3 + 1 + 1)
    expect(lines[0]).toMatch(/^Name +start +end +length +started/)
    expect(lines[2]).toMatch(/^ {2}true/)
    expect(lines.at(-1)).toMatch(/^all +\d{4}-.* s +4 +4 +1 +0 +0 +0 +0 +2 +1 +4$/)
    expect(report.toString({ brief: true }).split('\n')).toHaveLength(2)
  })
})
