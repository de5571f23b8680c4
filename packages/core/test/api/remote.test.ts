import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  filterBadHosts,
  gatherOutputs,
  hosts,
  LocalBackend,
  ParallelActions,
  Process,
  type ProcessBackend,
  Remote,
  type RemoteOptions,
  Report,
  raw,
  SequentialActions,
  SshProcess,
  setConnectionDefaults,
} from '../../src/index.js'
import { endedProcess } from '../../src/process/supervised-process.js'

const here = new LocalBackend()
/** A backend for which a host is this machine, and some hosts are not there. */
const unreachable: ProcessBackend = {
  start: () => Promise.resolve(endedProcess('unreachable', { code: 'E_HOST_TIMEOUT', message: 'the host did not answer' })),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}
const local = (options: RemoteOptions = {}): RemoteOptions => ({ ...options, process: { backend: here, nolog: ['exit-code', 'error'] } })
/** The commands run here; hosts whose name begins with `dead` are not reached. */
const process = (host: { readonly address: string }) => ({ backend: host.address.startsWith('dead') ? unreachable : here })

afterEach(() => setConnectionDefaults({}))

describe('SshProcess', () => {
  it('lives like a process, and knows its host', async () => {
    const one = await new SshProcess('echo "$((1 + 2))"; exit 3', 'alice@node1:2222', { backend: here, ignore: ['exit-code'] }).run()
    expect(one).toBeInstanceOf(Process)
    expect(one).toMatchObject({ stdout: '3\n', exitCode: 3, ok: true, unreachable: false })
    expect(one.host).toMatchObject({ address: 'node1', user: 'alice', port: 2222 })
    expect(String(one)).toMatch(/^SshProcess\(.*alice@node1:2222/)
    expect((await new SshProcess(['echo', '$HOME', ';'], 'node1', { backend: here }).run()).stdout).toBe('$HOME ;\n')
  })

  it('that is not reached is an error and no exit code, and may be ignored', async () => {
    const one = await new SshProcess('true', 'dead1', { backend: unreachable }).run()
    expect(one).toMatchObject({ ok: false, error: true, unreachable: true, exitCode: undefined, ended: true })
    expect(one.errorReason?.code).toBe('E_HOST_TIMEOUT')
    expect(one.stats()).toMatchObject({ errors: 1, unreachable: 1, nonZeroExits: 0, hosts: ['dead1'] })
    expect((await new SshProcess('true', 'dead1', { backend: unreachable, ignore: ['error'] }).run()).ok).toBe(true)
  })

  it.each([
    ['node[1-2]', {}],
    ['', {}],
    ['node1', { connection: { conector: 'ssh2' } }],
    ['node1', { connection: { connectTimeout: 'soon' } }],
  ])('refuses %j with %j at once', (host, options) => {
    expect(() => new SshProcess('true', host, options as never)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})

describe('setConnectionDefaults', () => {
  it('refuses unknown names with the nearest', () => {
    expect(() => setConnectionDefaults({ keyFile: 'x' } as never)).toThrow(
      expect.objectContaining({ code: 'E_ARGUMENT', suggestions: ['Did you mean keyFiles?'] }),
    )
  })
})

describe('connection options', () => {
  it.each([
    [{ user: '' }, 'user: this is empty: leave it out, or write something'],
    [{ jump: '' }, 'jump: this is empty: leave it out, or write something'],
    [{ keyFiles: [''] }, 'keyFiles[0]: this is empty: leave it out, or write something'],
    [{ sshConfig: '' }, 'sshConfig: this is empty: leave it out, or write something'],
    [{ port: 0 }, 'port: expected at least 1'],
    [{ sessions: 2000 }, 'sessions: expected at most 1000'],
  ])('that cannot be used are told in words: %j', (connection, text) => {
    expect(() => new SshProcess('true', 'node1', { connection })).toThrow(
      expect.objectContaining({ code: 'E_ARGUMENT', message: `the connection options cannot be used: ${text}` }),
    )
  })
})

describe('Remote', () => {
  it('runs one process for each host, in the order of the hosts, values by position', async () => {
    const all = await new Remote('echo {{host}} {{x}}', 'node[1-4]', local({ values: { x: ['a b', 'c', '$d'] } })).run()
    expect(all.processes.map(({ host, stdout }) => [String(host), stdout])).toEqual([
      ['node1', 'node1 a b\n'],
      ['node2', 'node2 c\n'],
      ['node3', 'node3 $d\n'],
      ['node4', 'node4 a b\n'],
    ])
    expect(all).toMatchObject({ ended: true, finishedOk: true, worstExitCode: 0, name: 'echo {{host}} {{x}}' })
  })

  it('runs as many processes on a host as it is listed', async () => {
    const all = await new Remote(['echo', '{{host}}', '{{n}}'], ['a', 'b', 'a'], local({ values: { n: (_, i) => i } })).run()
    expect(all.processes.map(({ stdout }) => stdout)).toEqual(['a 0\n', 'b 1\n', 'a 2\n'])
  })

  it('starts the processes of each host where its backend does, unless their options name another', async () => {
    const asked: string[] = []
    const backend = (host: { readonly address: string }): ProcessBackend => {
      asked.push(host.address)
      return process(host).backend
    }
    const command = 'echo {{host}}; read line; echo "$line"'
    const all = new Remote(command, 'node[1-2],dead1', { backend, process: { stdin: 'pipe', nolog: ['error'] } }).start()
    await all.write('by me\n')
    await all.wait()
    expect(all.processes.map(({ stdout, unreachable }) => [stdout, unreachable])).toEqual([
      ['node1\nby me\n', false],
      ['node2\nby me\n', false],
      ['', true],
    ])
    expect(asked).toEqual(['node1', 'node2', 'dead1'])
    const own = await new Remote('echo {{host}}', 'dead2', { backend, process: { backend: here } }).run()
    expect([own.ok, own.processes[0]?.stdout, asked.length]).toEqual([true, 'dead2\n', 3])
  })

  it('gives each host options of its own', async () => {
    const all = await new Remote('echo $WHO', 'node[1-2]', {
      process: (host, index) => ({ backend: here, env: { WHO: `${host.address}-${index}` }, name: `who ${index}` }),
    }).run()
    expect(all.processes.map(({ name, stdout }) => [name, stdout])).toEqual([
      ['who 0', 'node1-0\n'],
      ['who 1', 'node2-1\n'],
    ])
  })

  it('sends braces as they are when it has no places', async () => {
    const all = await new Remote(['echo', '{{x}}'], 'node1', local({ values: false })).run()
    expect(all.processes[0]?.stdout).toBe('{{x}}\n')
  })

  it.each([
    ['echo {{y}}', 'node1', { values: { x: [1] } }, 'E_ARGUMENT'],
    ['echo {{x}}', 'node1', { values: { x: [] } }, 'E_ARGUMENT'],
    ['echo {{x}}', 'node[1-2]', { values: { x: ['a', undefined] } }, 'E_ARGUMENT'],
    ['{{x}}', 'node1', { values: { x: ['rm -rf'] } }, 'E_TEMPLATE_UNSAFE'],
    ['true', 'node[1', {}, 'E_HOST_SET'],
    ['true', '@nobody', { groups: { a: 'b' } }, 'E_HOST_SET'],
    ['true', 'node1', { concurrency: 0 }, 'E_ARGUMENT'],
    ['true', 'node1', { connection: { user: '' } }, 'E_ARGUMENT'],
    ['true', 'node1', { process: () => ({ connection: { ports: 1 } }) }, 'E_ARGUMENT'],
    ['echo {{x}}', 'node1', { values: { x: ['a b'] }, connection: { runner: 'raw' } }, 'E_TEMPLATE_UNSAFE'],
    ['echo {{x}}', 'node1', { values: { x: ['a b'] }, process: { shell: '/bin/tcsh' } }, 'E_TEMPLATE_UNSAFE'],
  ] as const)('refuses %j on %j with %j before anything runs', (command, where, options, code) => {
    expect(() => new Remote(command, where, options as never)).toThrow(expect.objectContaining({ code }))
  })

  it('pastes raw text', async () => {
    const all = await new Remote('{{what}}', 'node[1-2]', local({ values: { what: [raw('echo a b'), raw('exit 4')] } })).run()
    expect(all.processes.map(({ stdout, exitCode }) => [stdout, exitCode])).toEqual([
      ['a b\n', 0],
      ['', 4],
    ])
    expect(all.worstExitCode).toBe(4)
  })

  it('is ok without hosts', async () => {
    expect(await new Remote('true', []).run()).toMatchObject({ ended: true, finishedOk: true, worstExitCode: 0 })
  })

  it('never runs on more hosts at a time than its concurrency', async () => {
    let now = 0
    let most = 0
    const handler = { start: () => (most = Math.max(most, ++now)), end: () => --now }
    const process = { backend: here, lifecycleHandlers: [handler] }
    await new Remote('sleep 0.02', 'node[1-20]', { concurrency: 3, process }).run()
    expect(most).toBe(3)
  })

  it('gives results in the order in which they come, to many readers, before and after the start', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cahier-results-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const gate = join(folder, 'gate')
    const wait = `until [ -e ${gate} ]; do sleep 0.05; done`
    const all = new Remote('{{how}}', 'node[1-4]', local({ values: { how: [raw('sleep 60'), raw(wait), raw('true')] } }))
    const read = async (limit: number): Promise<string[]> => {
      const seen: string[] = []
      for await (const process of all.results()) if (seen.push(String(process.host)) === limit) break
      return seen
    }
    const early = read(2)
    all.start()
    expect(await read(1)).toEqual(['node3'])
    writeFileSync(gate, '')
    const first = await early
    expect(first).toEqual(['node3', 'node2'])
    const whole = read(9)
    expect(all.running).toBe(true)
    await all.kill().wait()
    const seen = await whole
    expect(seen.slice(0, 2)).toEqual(first)
    expect([...seen].sort()).toEqual(['node1', 'node2', 'node3', 'node4'])
    expect(await read(9)).toEqual(seen)
  })

  it('does not give what never began', async () => {
    const all = new Remote('sleep 60', 'node[1-3]', { ...local(), concurrency: 1 }).start()
    await all.wait({ timeout: 50 })
    void all.kill()
    const seen = []
    for await (const process of all.results()) seen.push(String(process.host))
    expect(seen).toEqual(['node1'])
  })

  it('begins a new stream of results when it is reset', async () => {
    const all = await new Remote('true', 'node[1-2]', local()).run()
    await all.reset()
    void all.start()
    let count = 0
    for await (const _ of all.results()) count += 1
    expect(count).toBe(2)
  })

  it('gives the place of a host back when its own time has ended', async () => {
    const began = performance.now()
    const all = await new Remote('{{how}}', 'node[1-3]', {
      concurrency: 1,
      values: { how: [raw('sleep 60'), raw('sleep 60'), raw('echo here')] },
      // The last one is to run, however long it takes.
      process: (_host, index) => ({ backend: here, ...(index < 2 ? { timeout: 200 } : {}), nolog: ['timeout'] }),
    }).run()
    expect(performance.now() - began).toBeLessThan(20_000)
    expect(all.processes.map(({ timedOut, stdout }) => [timedOut, stdout])).toEqual([
      [true, ''],
      [true, ''],
      [false, 'here\n'],
    ])
    expect(all.worstExitCode).toBe(124)
  })

  it('has results of the hosts that are there when others are not', async () => {
    const all = await new Remote('echo {{host}}', ['dead1', 'node1', 'dead2', 'node2'], { process }).run()
    expect(all.processes.map(({ unreachable, stdout }) => [unreachable, stdout])).toEqual([
      [true, ''],
      [false, 'node1\n'],
      [true, ''],
      [false, 'node2\n'],
    ])
    expect(all).toMatchObject({ ok: false, worstExitCode: 255 })
    expect(all.stats()).toMatchObject({ hosts: ['dead1', 'node1', 'dead2', 'node2'], unreachable: 2, errors: 2, ok: 2, processes: 4 })
    expect(filterBadHosts(all, 'dead[1-2],node[1-3]').join(' ')).toBe('node1 node2 node3')
    expect(all.byOutput({ byExitCode: true }).map(({ hosts, error }) => [hosts, error?.code])).toEqual([
      ['dead[1-2]', 'E_HOST_TIMEOUT'],
      ['node1', undefined],
      ['node2', undefined],
    ])
  })

  it('reports hosts, and those that were not reached, in columns of their own', async () => {
    const all = await new Remote('true', ['dead1', 'node1', 'node1'], { process }).run()
    const report = new Report([all])
    const [head = '', ...lines] = report.toString().split('\n')
    expect(head).toMatch(/ hosts +started +ended +errors +unreachable /)
    const rows = lines.flatMap((line) => /^ +(\S+: true) /.exec(line)?.[1] ?? [])
    expect(rows.sort()).toEqual(['dead1: true', 'node1: true', 'node1: true'])
    expect(lines.at(-1)).toMatch(/ s +2 +3 +3 +1 +1 +0 /)
    expect(JSON.parse(JSON.stringify(report))).toMatchObject({ hosts: ['dead1', 'node1'], unreachable: 1, processes: 3 })
  })

  it('writes to all hosts and waits for what they say', async () => {
    const all = new Remote('read x; echo got $x; sleep 60', 'node[1-3]', { process: { backend: here, stdin: 'pipe' } }).start()
    await all.write('text\n')
    const found = await all.expect(/got (\w+)/, { timeout: '20s' })
    expect(found.map(({ process, match }) => [String(process.host), match?.[1]])).toEqual([
      ['node1', 'text'],
      ['node2', 'text'],
      ['node3', 'text'],
    ])
    await all.kill().wait()
    expect(all.ok).toBe(true)
  })

  it('writes to and waits for hosts that have no place yet', async () => {
    const command = 'read x; echo got $x; read y; echo then $y'
    const all = new Remote(command, 'node[1-5]', { concurrency: 2, process: { backend: here, stdin: 'pipe' } }).start()
    await all.write('one\n')
    await all.write('two\n')
    const found = await all.expect(/then (\w+)/, { timeout: '20s' })
    expect(found.map(({ match }) => match?.[1])).toEqual(['two', 'two', 'two', 'two', 'two'])
    await all.wait()
    expect(all.finishedOk).toBe(true)
  })

  it('does not wait for output of hosts that never got a place', async () => {
    const all = new Remote('sleep 60', 'node[1-3]', { ...local(), concurrency: 1 }).start()
    const found = all.expect('never')
    await all.write('nobody reads this')
    await all.kill().wait()
    expect((await found).map((outcome) => 'why' in outcome && outcome.why)).toEqual(['ended', 'ended', 'ended'])
    expect(all.processes.map(({ expectFailed }) => expectFailed)).toEqual([true, false, false])
  })

  it('stands in groups of actions like any other', async () => {
    const order: string[] = []
    const note = { end: (action: { name: string }) => void order.push(action.name) }
    const part = (name: string, command: string) => new Remote(command, 'node[1-2]', { ...local(), name, lifecycleHandlers: [note] })
    const both = new ParallelActions([part('p1', 'sleep 0.01'), part('p2', 'exit 1')])
    const all = await new SequentialActions([part('a', 'true'), both, part('b', 'true')], { stopOnFailure: true }).run()
    expect(order[0]).toBe('a')
    expect([...order].sort()).toEqual(['a', 'p1', 'p2'])
    expect(all).toMatchObject({ ok: false })
    expect(all.stats()).toMatchObject({ hosts: ['node1', 'node2'], nonZeroExits: 2, processes: 8 })
  })

  it('has a limit for all hosts together', async () => {
    const all = await new Remote('sleep 60', 'node[1-2]', { ...local(), timeout: 100 }).run()
    expect(all).toMatchObject({ timedOut: true, ok: false, worstExitCode: 124 })
  })

  it('costs no timer and little memory while it waits', () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const timers = (): number => globalThis.process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const list = hosts(Array.from({ length: 10_000 }, (_, i) => `node${i}`))
    collect()
    const [before, timersBefore] = [globalThis.process.memoryUsage().heapUsed, timers()]
    const all = new Remote('true', list)
    collect()
    const each = (globalThis.process.memoryUsage().heapUsed - before) / all.processes.length
    expect(timers()).toBe(timersBefore)
    expect(each).toBeLessThan(4_000)
  })
})

describe('gatherOutputs', () => {
  const text = (value: string, truncated = false) => ({ text: value, bytes: value.length, truncated })
  const said = (host: string, stdout: string, more: { stderr?: string; exitCode?: number; cut?: boolean; code?: string } = {}) => {
    const exitCode = more.code === undefined ? (more.exitCode ?? 0) : undefined
    return {
      host: host === '' ? undefined : hosts(host)[0],
      stdout,
      stderr: more.stderr ?? '',
      exitCode,
      signal: undefined,
      result: {
        outcome: more.code === undefined ? 'exited' : 'unreachable',
        exitCode,
        signal: undefined,
        stdout: text(stdout, more.cut),
        stderr: text(more.stderr ?? ''),
        startedAt: 0,
        endedAt: 0,
        durationMs: 0,
        host,
        forced: false,
        survivors: [],
        ...(more.code === undefined ? {} : { error: { code: more.code, message: `${host}: ${more.code}` } }),
      } as const,
    }
  }
  const show = (groups: ReturnType<typeof gatherOutputs>) => groups.map(({ hosts, text, exitCode }) => `${hosts}:${exitCode ?? ''}:${text}`)

  it('puts the largest group first, then by name', () => {
    const all = [said('n10', 'b'), said('n9', 'c'), said('n1', 'a'), said('n3', 'a'), said('n2', 'a')]
    expect(show(gatherOutputs(all))).toEqual(['n[1-3]:0:a', 'n9:0:c', 'n10:0:b'])
    expect(gatherOutputs(all)[0]?.processes.map(({ host }) => host?.address)).toEqual(['n1', 'n3', 'n2'])
  })

  it('compares the streams that are asked for', () => {
    const all = [said('a', 'x', { stderr: '1' }), said('b', 'x', { stderr: '2' }), said('c', 'y', { stderr: '2' })]
    expect(show(gatherOutputs(all, { stream: 'stdout' }))).toEqual(['a,b:0:x', 'c:0:y'])
    expect(show(gatherOutputs(all, { stream: 'stderr' }))).toEqual(['b,c:0:2', 'a:0:1'])
    expect(show(gatherOutputs(all))).toEqual(['a:0:x\n1', 'b:0:x\n2', 'c:0:y\n2'])
  })

  it('tells ends apart unless it is asked not to', () => {
    const all = [said('a', 'x'), said('b', 'x', { exitCode: 1 }), said('c', '', { code: 'E_X' }), said('d', '', { code: 'E_Y' })]
    expect(gatherOutputs(all)).toHaveLength(4)
    expect(show(gatherOutputs(all, { byExitCode: false }))).toEqual(['a,b::x', 'c,d::'])
  })

  it('does not take what was cut for equal', () => {
    expect(gatherOutputs([said('a', 'x', { cut: true }), said('b', 'x', { cut: true })])).toHaveLength(2)
  })

  it('names users, ports, addresses and this machine', () => {
    const all = [said('u@n1:22', 'x'), said('u@n2:22', 'x'), said('[::1]:22', 'x'), said('', 'x')]
    expect(gatherOutputs(all)[0]?.hosts).toBe('localhost,u@n[1-2]:22,[::1]:22')
  })
})
