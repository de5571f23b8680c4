import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sshHostsUnavailable } from '../../../../../test/testbed/ssh-hosts.mjs'
import { ChainTransfer } from '../../../src/transfer/chain/chain-transfer.js'
import { HostLab, noise, writeTree } from '../host-lab.js'
import { broadcast, type ChainTrial, leftovers, listeningPorts } from './chain-lab.js'

const reason = sshHostsUnavailable()
const needs = (why: string | undefined): string => (why === undefined ? '' : ` (${why})`)
const outcomes = (results: readonly { outcome: string; error?: { code: string } | undefined }[]): string[] =>
  results.map(({ outcome, error }) => (error === undefined ? outcome : `${outcome} ${error.code}`))

describe.skipIf(reason !== undefined)(`ChainTransfer${needs(reason)}`, () => {
  let lab: HostLab
  beforeAll(async () => {
    lab = await HostLab.start(4)
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  it('brings directories, empty files, links and odd names to every host, with modes and times; nothing a second time', async () => {
    const tree = join(lab.newFolder(), 'tree')
    writeTree(tree, { 'a/b/large': noise(700_000), 'a/small': 'x', 'empty file': '', '-n': 'dash', 'new\nline': 'n' })
    mkdirSync(join(tree, 'nothing in it'))
    symlinkSync('a/small', join(tree, 'link'))
    utimesSync(join(tree, 'a/small'), 1e9, 1e9)
    const { results, directories } = await broadcast(lab, { files: [tree], policy: { limit: undefined } })
    expect(outcomes(results)).toEqual(['done', 'done', 'done', 'done'])
    for (const [index, directory] of directories.entries()) {
      const there = join(directory, 'tree')
      expect(readFileSync(join(there, 'a/b/large')).equals(readFileSync(join(tree, 'a/b/large')))).toBe(true)
      expect(readFileSync(join(there, 'new\nline'), 'utf8')).toBe('n')
      expect(statSync(join(there, 'empty file')).size).toBe(0)
      expect(existsSync(join(there, 'nothing in it'))).toBe(true)
      expect(readlinkSync(join(there, 'link'))).toBe('a/small')
      expect(statSync(join(there, 'a/small')).mtimeMs).toBe(1e12)
      expect(leftovers(directory)).toEqual([])
      expect(results[index]).toMatchObject({ files: 5, verified: 'sha256', via: 'chain' })
    }
    const again = await broadcast(lab, { files: [tree], directories })
    expect(outcomes(again.results)).toEqual(Array(4).fill('skipped-same'))
  })

  it('brings what is only empty', async () => {
    const tree = join(lab.newFolder(), 'tree')
    writeTree(tree, { one: '', 'two/three': '' })
    const { results, directories } = await broadcast(lab, { files: [tree] })
    expect(outcomes(results)).toEqual(Array(4).fill('done'))
    for (const directory of directories) expect(statSync(join(directory, 'tree/two/three')).size).toBe(0)
  })

  it('serves hosts that need different files each with theirs', async () => {
    const folder = lab.newFolder()
    writeTree(folder, { 'tree/one': noise(300_000, 1), 'tree/two': noise(300_000, 2) })
    const first = await broadcast(lab, { files: [join(folder, 'tree')] })
    writeFileSync(join(first.directories[1] as string, 'tree/one'), 'old')
    const { results } = await broadcast(lab, { files: [join(folder, 'tree')], directories: first.directories })
    expect(outcomes(results)).toEqual(['skipped-same', 'done', 'skipped-same', 'skipped-same'])
    expect(results[1]).toMatchObject({ bytes: 300_000, files: 1, same: 1 })
  })

  it.each([
    ['a relay', [1]],
    ['the first', [0]],
    ['one after its neighbour', [1, 2]],
    ['the first, and with it the last,', [0, 3]],
    ['every host but the last', [0, 1, 2]],
  ])('the others have everything when %s dies in the middle', async (_who, dead) => {
    const kill = (): void => {
      for (const index of dead) lab.bed.killProcesses(`h${index + 1}`)
    }
    const { results, content, directories } = await broadcast(lab, { when: [dead, 0.1 + 0.3 * Math.random(), kill] })
    for (const [index, result] of results.entries()) {
      expect(outcomes([result])).toEqual([dead.includes(index) ? 'failed E_COPY_LOST' : 'done'])
      expect(content[index]).toBe(dead.includes(index) ? undefined : 'right')
      if (!dead.includes(index)) expect(leftovers(directories[index] as string)).toEqual([])
    }
    // Undisturbed it takes three; whoever waited for the patience would take half a minute.
    expect(Math.max(...results.map(({ seconds }) => seconds))).toBeLessThan(20)
  })

  it('fails all, and ends, when all die', async () => {
    const kill = (): void => {
      for (const name of ['h1', 'h2', 'h3', 'h4']) lab.bed.killProcesses(name)
    }
    const { results, content } = await broadcast(lab, { when: [[0, 1, 2, 3], 0.3, kill] })
    expect(outcomes(results)).toEqual(Array(4).fill('failed E_COPY_LOST'))
    expect(content).toEqual(Array(4).fill(undefined))
  })

  it('fails the last host when it dies before it has confirmed, and no other', async () => {
    const { results, content } = await broadcast(lab, { when: [[3], 1, () => lab.bed.killProcesses('h4')] })
    expect(outcomes(results)).toEqual(['done', 'done', 'done', 'failed E_COPY_LOST'])
    expect(content).toEqual(['right', 'right', 'right', undefined])
  })

  it('takes a host up again whose connection is cut, from what it has', async () => {
    const { results, content } = await broadcast(lab, { when: [[1], 0.4, () => lab.bed.dropSessions('h2')] })
    expect(outcomes(results)).toEqual(Array(4).fill('done'))
    expect(content).toEqual(Array(4).fill('right'))
  })

  it('lets nobody in who was not invited, whatever they say, and does not mind them', async () => {
    const visitors: { readonly socket: Socket; answer: Buffer }[] = []
    // Of our agents alone: servers of other tests may listen at the same addresses, and let only few in at a time.
    const visit = (): void => {
      for (const { name, address } of lab.bed.hosts) {
        for (const port of listeningPorts(lab, name)) {
          for (const text of ['', 'GET / HTTP/1.0\r\n\r\n', 'x'.repeat(52), 'y'.repeat(100_000)]) {
            const socket = connect(port, address, () => socket.write(text))
            const visitor = { socket, answer: Buffer.alloc(0) }
            visitors.push(visitor)
            socket.on('error', () => undefined)
            socket.on('data', (data) => {
              visitor.answer = Buffer.concat([visitor.answer, data])
            })
          }
        }
      }
    }
    const { results, content } = await broadcast(lab, { when: [[0], 0.2, visit] })
    for (const { socket } of visitors) socket.destroy()
    expect(outcomes(results)).toEqual(Array(4).fill('done'))
    expect(content).toEqual(Array(4).fill('right'))
    expect(visitors.length).toBe(4 * 4)
    // The greeting, and never more; a visitor whose words were not read is sent away without one.
    const greeted = visitors.filter(({ answer }) => answer.length > 0)
    expect(greeted.length).toBeGreaterThan(3)
    for (const { answer } of greeted) expect([answer.subarray(0, 4).toString(), answer.length]).toEqual(['CC1\n', 20])
  })

  /** When the last host has a quarter; slow, so that the first one has not everything by then, whoever stands still meanwhile. */
  const abortedBy = (controller: AbortController): ChainTrial => ({
    signal: controller.signal,
    policy: { limit: 1e6 },
    when: [[3], 0.25, () => controller.abort()],
  })

  it('goes on after an abort from what is there, and has left nothing under final names', async () => {
    const controller = new AbortController()
    const first = await broadcast(lab, abortedBy(controller))
    expect(outcomes(first.results)).toEqual(Array(4).fill('failed E_ABORTED'))
    expect(first.content).toEqual(Array(4).fill(undefined))
    const second = await broadcast(lab, { files: [first.file], directories: first.directories })
    expect(second.content).toEqual(Array(4).fill('right'))
    for (const { bytes } of second.results) expect(bytes).toBeLessThan(0.8 * 6_000_000)
  })

  it('links hosts that have something of an earlier time with hosts that have nothing', async () => {
    const controller = new AbortController()
    const first = await broadcast(lab, abortedBy(controller))
    const directories = first.directories.map((directory, index) => (index % 2 === 0 ? directory : lab.newFolder()))
    const second = await broadcast(lab, { files: [first.file], directories })
    expect(second.content).toEqual(Array(4).fill('right'))
  })

  it('places no file that changed on its way, on no host, and all the others', async () => {
    const folder = lab.newFolder()
    writeTree(folder, { 'tree/a': noise(3_000_000, 1), 'tree/b': noise(3_000_000, 2) })
    const b = join(folder, 'tree/b')
    const { results, directories } = await broadcast(lab, {
      files: [join(folder, 'tree')],
      when: [[0, 1, 2, 3], 0.2, () => appendFileSync(b, 'more')],
    })
    expect(outcomes(results)).toEqual(Array(4).fill('failed E_SOURCE_CHANGED'))
    for (const directory of directories) {
      expect(readFileSync(join(directory, 'tree/a')).equals(readFileSync(join(folder, 'tree/a')))).toBe(true)
      expect(existsSync(join(directory, 'tree/b'))).toBe(false)
      // Nobody could use what came of it.
      expect(readdirSync(directory)).toEqual(['tree'])
    }
  })

  it('says at once which host cannot be reached, and copies here for an end without a host', async () => {
    const folder = lab.newFolder()
    writeTree(folder, { data: noise(100_000) })
    const here = lab.newFolder()
    const there = lab.newFolder()
    lab.bed.stopHost('h2')
    try {
      await lab.newPool()
      await using transfer = new ChainTransfer(lab.context)
      const ends = [lab.end('h1', there), lab.end('h2', there), { ...lab.end('h1', here), host: undefined }]
      const { copyOptionsSchema } = await import('../../../src/model/transfer.js')
      const results = await transfer.put({ files: [join(folder, 'data')], ends, policy: copyOptionsSchema.parse({}) })
      expect(outcomes(results)).toEqual(['done', 'unreachable E_HOST_REFUSED', 'done'])
      expect(readFileSync(join(here, 'data')).equals(readFileSync(join(there, 'data')))).toBe(true)
    } finally {
      await lab.bed.startHost('h2')
    }
  })

  it.each([['pl'], ['sh']] as const)('serves hosts that have only %s', async (kind) => {
    const { results, content } = await broadcast(lab, { bytes: 3_000_000, options: { kinds: [kind] }, policy: { limit: undefined } })
    expect(outcomes(results)).toEqual(Array(4).fill('done'))
    expect(content).toEqual(Array(4).fill('right'))
  })

  it('refuses to fetch', async () => {
    await expect(new ChainTransfer(lab.context).get()).rejects.toMatchObject({ code: 'E_NOT_SUPPORTED' })
  })

  describe('over ssh', () => {
    /** A client of ssh for hops; what it sends can be changed on its way. */
    const hops = (flips: number, at: number): readonly string[] => {
      const program = join(lab.newFolder(), 'hop.mjs')
      const counter = `${program}.count`
      writeFileSync(counter, '')
      writeFileSync(
        program,
        `import { spawn } from 'node:child_process'
import { appendFileSync, statSync } from 'node:fs'
const ssh = spawn('ssh', process.argv.slice(2), { stdio: ['pipe', 'inherit', 'inherit'] })
let left = ${at}
process.stdin.on('data', (data) => {
  if (left >= 0 && data.length > left && statSync(${JSON.stringify(counter)}).size < ${flips}) {
    appendFileSync(${JSON.stringify(counter)}, 'x')
    data[left] ^= 1
  }
  left -= data.length
  ssh.stdin.write(data)
})
process.stdin.on('end', () => ssh.stdin.end())
ssh.stdin.on('error', () => process.exit(1))
ssh.on('exit', (code) => process.exit(code ?? 1))
`,
      )
      return [process.execPath, program, '-F', lab.bed.plainConfig]
    }

    it('passes everything from host to host', async () => {
      const { results, content } = await broadcast(lab, { options: { over: 'ssh', hopCommand: ['ssh', '-F', lab.bed.plainConfig] } })
      expect(outcomes(results)).toEqual(Array(4).fill('done'))
      expect(content).toEqual(Array(4).fill('right'))
    })

    it('finds a byte that was flipped on its way, and gets it again', async () => {
      const hopCommand = hops(2, 1_000_000)
      const { results, content } = await broadcast(lab, { options: { over: 'ssh', hopCommand } })
      // Hops that look at the same time may both flip one.
      expect(readFileSync(`${hopCommand[1]}.count`, 'utf8')).toMatch(/^xxx?x?$/)
      expect(outcomes(results)).toEqual(Array(4).fill('done'))
      expect(content).toEqual(Array(4).fill('right'))
    })

    it('takes another way when a way always flips bytes', async () => {
      const hopCommand = hops(Number.POSITIVE_INFINITY, 500)
      const { results, content } = await broadcast(lab, { bytes: 2_000_000, options: { over: 'ssh', hopCommand } })
      expect(outcomes(results)).toEqual(Array(4).fill('done'))
      expect(content).toEqual(Array(4).fill('right'))
    })

    it('serves every host from here when hosts cannot reach each other', async () => {
      const { results, content } = await broadcast(lab, { options: { over: 'ssh', hopCommand: ['false'] } })
      expect(outcomes(results)).toEqual(Array(4).fill('done'))
      expect(content).toEqual(Array(4).fill('right'))
    })
  })
})

const netnsReason = sshHostsUnavailable({ netns: true })
describe.skipIf(netnsReason !== undefined)(`ChainTransfer in a network of its own${needs(netnsReason)}`, () => {
  const run = (lab: HostLab, host: string, command: string): void => {
    const [program = '', ...words] = [...lab.bed.enter(host), ...command.split(' ')]
    const { status, stderr } = spawnSync(program, words, { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
  }

  /** What these hosts send to any other is thrown away; this machine is still reached. `prohibit` says so to the one who calls. */
  const separate = (lab: HostLab, how: 'prohibit' | 'blackhole', hosts: readonly string[]): void => {
    for (const host of hosts) {
      for (const { address } of lab.bed.hosts.filter(({ name }) => name !== host)) run(lab, host, `ip route add ${how} ${address}/32`)
    }
  }

  it('serves hosts that may not reach each other', async () => {
    await using lab = await HostLab.start(4, { netns: true, rate: '100mbit' })
    separate(lab, 'prohibit', ['h1', 'h2', 'h3', 'h4'])
    const { results, content } = await broadcast(lab, { bytes: 4_000_000, policy: { limit: undefined } })
    expect(outcomes(results)).toEqual(Array(4).fill('done'))
    expect(content).toEqual(Array(4).fill('right'))
  })

  /** No TCP leaves a host but that of its ssh server, as behind a firewall. @source ip-rule(8) */
  const onlySsh = (lab: HostLab): void => {
    for (const { name, port } of lab.bed.hosts) {
      run(lab, name, `ip rule add pref 100 ipproto tcp sport ${port} lookup main`)
      run(lab, name, 'ip rule add pref 101 ipproto tcp blackhole')
    }
  }

  it('serves hosts of which nothing but ssh can be reached, not even from here', async () => {
    await using lab = await HostLab.start(4, { netns: true, rate: '100mbit' })
    onlySsh(lab)
    const { results, content } = await broadcast(lab, { bytes: 4_000_000, policy: { limit: undefined } })
    expect(outcomes(results)).toEqual(Array(4).fill('done'))
    expect(content).toEqual(Array(4).fill('right'))
  })

  it('goes on when hosts cannot reach each other any more in the middle', async () => {
    await using lab = await HostLab.start(4, { netns: true, rate: '100mbit' })
    const { results, content } = await broadcast(lab, {
      bytes: 10_000_000,
      policy: { limit: undefined },
      when: [[2], 0.2, () => separate(lab, 'blackhole', ['h2', 'h3'])],
    })
    expect(outcomes(results)).toEqual(Array(4).fill('done'))
    expect(content).toEqual(Array(4).fill('right'))
  })

  it('passes by a host whose cable is pulled, and one that is slow; both delay nobody', async () => {
    await using lab = await HostLab.start(5, { netns: true, rate: '16mbit', overrides: { h2: { rate: '800kbit' } } })
    const controller = new AbortController()
    const ended = new Set<number>()
    const { results, content } = await broadcast(lab, {
      bytes: 6_000_000,
      policy: { limit: undefined },
      options: { patienceMs: 6000 },
      signal: controller.signal,
      when: [[2, 3], 0.3, () => lab.bed.cutHost('h4')],
      // Alone the slow one needs a minute.
      onProgress: ({ index, phase }) => {
        if (phase === 'ended' && ended.add(index).size === 4) controller.abort()
      },
    })
    lab.bed.thawHost('h4')
    expect(content).toEqual(['right', undefined, 'right', undefined, 'right'])
    expect(outcomes(results)).toEqual(['done', 'failed E_ABORTED', 'done', 'failed E_COPY_STALLED', 'done'])
  })
})
