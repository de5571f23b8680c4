import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type AgentKind, bootstrapAgent, stripPerl, stripPython } from '../../src/transfer/agent/agent-program.js'
import { HostAgent } from '../../src/transfer/agent/host-agent.js'
import { AgentLab, kindUnavailable, type LocalHost, localChannel, localHost } from './agent-lab.js'

const kinds = (['py', 'pl'] as AgentKind[]).filter((kind) => kindUnavailable(kind) === undefined)
const isThere = (program: string): boolean => spawnSync('which', [program]).status === 0
const assets = new URL('../../assets/', import.meta.url)

describe('agents on a host', () => {
  let lab: AgentLab
  beforeEach(() => {
    lab = new AgentLab()
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  /** A host on which only these programs are found, by their names or by another's. */
  const hostWith = (programs: Record<string, string>, options: Parameters<typeof localHost>[1] = {}): LocalHost => {
    const bin = lab.newFolder()
    for (const [name, content] of Object.entries(programs)) {
      if (content.startsWith('/')) symlinkSync(content, join(bin, name))
      else writeFileSync(join(bin, name), content, { mode: 0o755 })
    }
    return localHost(lab.folder, { env: { PATH: bin }, ...options })
  }
  const pathOf = (name: string): string => spawnSync('which', [name], { encoding: 'utf8' }).stdout.trim()
  /** The same, with no python3 at its usual place either. */
  const withoutUsual = (host: LocalHost): LocalHost => {
    const { exec } = host.pooled
    const hidden = (command: string) => exec.call(host.pooled, command.replaceAll('/usr/bin/python3', '/usr/bin/no-such-python'))
    return { ...host, pooled: { exec: hidden } as typeof host.pooled }
  }

  for (const kind of kinds) {
    const shells = ['sh', 'bash', 'dash', 'ksh', 'zsh', 'tcsh', 'csh', 'fish', 'mksh'].filter(isThere)
    it.each(shells)(`start from the login shell %s (${kind})`, async (shell) => {
      const agent = await lab.start(kind, localHost(lab.folder, { shell: [shell, '-c'] }))
      expect(agent).toMatchObject({ kind, home: lab.folder })
      await agent.request('ping', [])
    })

    it(`start after whatever a profile prints (${kind})`, async () => {
      const host = localHost(lab.folder)
      const noisy = (command: string) => host.pooled.exec(`printf 'Welcome!\\n\\nno line end'; echo oops >&2; ${command}`)
      const agent = await lab.start(kind, { ...host, pooled: { exec: noisy } as typeof host.pooled })
      await agent.request('ping', [])
    })

    it(`say the home directory as it is (${kind})`, async () => {
      const home = join(lab.folder, 'my home%')
      mkdirSync(home)
      expect((await lab.start(kind, localHost(home))).home).toBe(home)
    })

    it(`answer requests in their order, also many at once (${kind})`, async () => {
      const agent = await lab.start(kind)
      const order: number[] = []
      const asked = Array.from({ length: 200 }, (_, index) => agent.request('ping', []).then(() => order.push(index)))
      await Promise.all(asked)
      expect(order).toEqual(Array.from({ length: 200 }, (_, index) => index))
    })

    it.each([
      ['an unknown verb', 'dance', [], ''],
      ['a commit before everything', 'commit', [], ''],
      ['a stream before everything', 'stream', [100, 0], ''],
      ['a wrong key', 'key', ['abc'], ''],
      ['a wrong list', 'open', ['abc', '-', '/tmp'], 'what is this?\n'],
    ] as const)(`refuse %s, and go on (${kind})`, async (_title, verb, words, payload) => {
      const agent = await lab.start(kind)
      await expect(agent.request(verb, words, payload)).rejects.toMatchObject({ name: 'TransferError' })
      await agent.request('ping', [])
    })

    it(`end with their channel and on request (${kind})`, async () => {
      const host = localHost(lab.folder)
      const first = await lab.start(kind, host)
      await first[Symbol.asyncDispose]()
      expect(await first.closed).toBeUndefined()
      await expect(first.request('ping', [])).rejects.toMatchObject({ code: 'E_COPY_LOST' })
      await lab.start(kind, host)
      host.channels[1]!.end()
      expect(await host.channels[1]!.closed).toMatchObject({ exitCode: 0 })
    })

    it(`reject what waits when they are killed (${kind})`, async () => {
      const agent = await lab.start(kind)
      process.kill(agent.pid, 'SIGSTOP')
      const waiting = agent.request('ping', [])
      process.kill(agent.pid, 'SIGKILL')
      await expect(waiting).rejects.toMatchObject({ code: 'E_COPY_LOST', message: expect.stringContaining('here') })
      expect(await agent.closed).toMatchObject({ code: 'E_COPY_LOST' })
      expect(agent.error).toMatchObject({ code: 'E_COPY_LOST' })
    })

    it(`are not waited for when a request is given up (${kind})`, async () => {
      const agent = await lab.start(kind)
      process.kill(agent.pid, 'SIGSTOP')
      const aborting = new AbortController()
      const waiting = agent.request('ping', [], undefined, aborting.signal)
      aborting.abort()
      await expect(waiting).rejects.toMatchObject({ code: 'E_ABORTED' })
      process.kill(agent.pid, 'SIGCONT')
      await agent.request('ping', [])
    })

    it(`end by themselves when nobody is heard of any more (${kind})`, async () => {
      const { command, input } = bootstrapAgent(kind, 'tok')
      const [from, to] = kind === 'py' ? ['LEASE_SECONDS = 60', 'LEASE_SECONDS = 01'.replace('01', '.3')] : ['$LEASE = 60', '$LEASE = .3']
      expect(input.includes(from)).toBe(true)
      const impatient = input.toString('latin1').replace(from, to.padEnd(from.length))
      const channel = localChannel(command, process.env)
      channel.listen(() => {})
      await channel.write(Buffer.from(impatient, 'latin1'))
      expect(await channel.closed).toMatchObject({ exitCode: 0 })
    })

    it(`run no part of a program that was cut off (${kind})`, async () => {
      const { command, input } = bootstrapAgent(kind, 'tok')
      const channel = localChannel(command, process.env)
      let said = ''
      channel.listen((stream, chunk) => {
        if (stream === 'stdout') said += chunk.toString()
      })
      await channel.write(input.subarray(0, input.length - 30))
      channel.end()
      expect((await channel.closed).exitCode).not.toBe(0)
      expect(said).not.toContain('agent')
    })
  }

  it.skipIf(!kinds.includes('pl'))('are of the next kind when the first is not there', async () => {
    const host = withoutUsual(hostWith({ perl: pathOf('perl') }))
    const agent = await HostAgent.start(host)
    expect(agent.kind).toBe('pl')
    await agent[Symbol.asyncDispose]()
  })

  it.skipIf(!kinds.includes('pl'))('are of the next kind when the first cannot work', async () => {
    const host = withoutUsual(hostWith({ perl: pathOf('perl'), python3: '#!/bin/sh\necho "No module named select" >&2\nexit 1\n' }))
    const agent = await HostAgent.start(host)
    expect(agent.kind).toBe('pl')
    await agent[Symbol.asyncDispose]()
  })

  it('cannot be had where there is neither, and each reason is said', async () => {
    const host = withoutUsual(hostWith({ python3: '#!/bin/sh\necho "broken python" >&2\nexit 9\n' }))
    await expect(HostAgent.start(host)).rejects.toMatchObject({
      name: 'TransferError',
      code: 'E_AGENT',
      message: expect.stringMatching(/here .*python3: exit code 9.*broken python.*perl: /s),
    })
  })

  it('cannot be had when nobody answers in time', async () => {
    const sleeping = '#!/bin/sh\necho starting; exec /bin/sleep 60\n'
    const host = withoutUsual(hostWith({ python3: sleeping, perl: sleeping }, { connectTimeout: 300 }))
    await expect(HostAgent.start(host)).rejects.toMatchObject({ code: 'E_AGENT', message: expect.stringContaining('no answer in 0.3 s') })
    expect(await Promise.all(host.channels.map(({ closed }) => closed))).toHaveLength(3)
  })

  it('are given up while they start', async () => {
    const host = withoutUsual(hostWith({ python3: '#!/bin/sh\nexec /bin/sleep 60\n' }))
    const aborting = new AbortController()
    const starting = HostAgent.start(host, { signal: aborting.signal })
    setTimeout(() => aborting.abort(), 20)
    await expect(starting).rejects.toMatchObject({ code: 'E_ABORTED' })
  })

  it('are ended when what they say makes no sense', async () => {
    const program = '#!/bin/sh\nfor token; do :; done\necho "$token agent 1 py 1 /"\nread line\necho nonsense\nexec /bin/sleep 60\n'
    const host = withoutUsual(hostWith({ python3: program }))
    const agent = await HostAgent.start(host, { kinds: ['py'] })
    await expect(agent.request('ping', [])).rejects.toMatchObject({ code: 'E_AGENT', message: expect.stringContaining('nonsense') })
  })
})

describe('programs of agents', () => {
  it('mean the same without what is there for people', () => {
    const python = readFileSync(new URL('agent.py', assets), 'utf8')
    expect(stripPython(python).length).toBeLessThan(python.length)
    expect(stripPython('# a\nx = 1\n\n    """One line."""\n        y = "#"\n')).toBe('x = 1\n  y = "#"\n')
    expect(stripPerl('use strict;\n# a\n  my $x = 1; # b\n')).toBe('my $x = 1; # b\n')
  })

  it('come in parts, of which each begins with a form feed', () => {
    expect(stripPython('x = 1\n\n\n# ---- part two\n\n\ny = 2\n')).toBe('x = 1\n\f# ---- part two\ny = 2\n')
    expect(stripPerl('$x = 1;\n# ---- a title\n# ---- part two\n  $y = 2;\n')).toBe('$x = 1;\n\f# ---- part two\n$y = 2;\n')
    for (const kind of ['py', 'pl'] as const) {
      const parts = bootstrapAgent(kind, 'tok').input.toString('latin1').split('\f')
      const names = parts.slice(1).map((part) => /^# ---- part (\w+)\n/.exec(part)?.[1])
      expect(names).toEqual(['place', 'commit', 'stream', 'socket', 'sink', 'listing', kind === 'py' ? 'agent' : 'loop'])
    }
  })

  // What is compiled costs processor time on every host at once, before the first byte comes.
  it.each(kinds)('compile only what greets before they are asked for anything (%s)', (kind) => {
    const { input } = bootstrapAgent(kind, 'tok')
    const parts = input.toString('latin1').split('\f')
    expect((parts[0] as string).length + (parts.at(-1) as string).length).toBeLessThan(0.45 * input.length)
  })

  it.each(kinds)('can be run as they are, too (%s)', (kind) => {
    const path = fileURLToPath(new URL(`agent.${kind}`, assets))
    const run = spawnSync(kind === 'py' ? 'python3' : 'perl', [path, 'tok'], { input: '1 ping\n2 bye\n', encoding: 'latin1' })
    expect(run).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\n?tok agent 1 .*\n1 ok\n2 ok\n$/) })
  })

  it.skipIf(!kinds.includes('py'))('need no module but those of a minimal Python', () => {
    const python = readFileSync(new URL('agent.py', assets), 'utf8')
    const modules = [...python.matchAll(/^\s*(?:import|from) (\w+)/gm)].map(([, name]) => name)
    const minimal = [
      'sys',
      'errno',
      'os',
      'select',
      '_signal',
      'signal',
      'stat',
      'time',
      '_bisect',
      '_socket',
      'socket',
      '_hashlib',
      '_sha256',
      '_sha2',
      'hashlib',
      '_operator',
    ]
    expect(new Set(modules)).toEqual(new Set([...minimal, 'hmac', 're']))
  })

  it('keep to what every login shell reads the same', () => {
    for (const kind of ['py', 'pl'] as const) {
      const { command } = bootstrapAgent(kind, 'tok')
      expect(command).not.toMatch(/[\n\\!]/)
      expect(command.length).toBeLessThan(400)
    }
  })
})
