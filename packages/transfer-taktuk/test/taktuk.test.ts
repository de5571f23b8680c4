import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adapterHost, type Logger, type Process, Remote } from '@cahier/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type SshHosts, startSshHosts } from '../../../test/testbed/ssh-hosts.mjs'
import { copyOptionsSchema } from '../../core/src/model/transfer.js'
import taktuk, { taktukBackends } from '../src/index.js'
import { taktukTool } from '../src/taktuk.js'
import { taktukUnavailable } from './taktuk-bed.js'

const reason = taktukUnavailable()
/** How many hosts were reached from here because others could not reach them. */
const fromHere: unknown[] = []
const nothing = (): void => {}
const log: Logger = { debug: nothing, info: (fields) => fromHere.push(fields), warn: nothing, error: nothing, child: () => log }
const core = adapterHost({ log })

describe.skipIf(reason !== undefined)(`taktuk on real hosts (${reason ?? 'needs sshd, taktuk'})`, { timeout: 180_000 }, () => {
  let bed: SshHosts & AsyncDisposable
  const folder = mkdtempSync(join(tmpdir(), 'cahier-taktuk-'))
  const names = ['h1', 'h2', 'h3', 'h4', 'h5']
  const hosts = names.map((address) => ({ address }))
  const answering = ['h1', 'h3', 'h5'].map((address) => ({ address }))
  /** Soon over for a host that never answers, and enough for those that are only slow. */
  const SOON = '6s'
  const connection = (connectTimeout = '15s') => core.fleet.connection({ sshConfig: bed.sshConfig, connectTimeout })
  beforeAll(async () => {
    bed = await startSshHosts(5)
    // Where a shell that sshd starts reads it, it must not be taken for the program.
    writeFileSync(join(bed.hosts[0]?.home ?? '', '.bashrc'), 'echo noise; echo more noise >&2\n')
    bed.stopHost('h2')
    bed.freezeHost('h4')
  })
  afterAll(async () => {
    await bed?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it('runs a command of Remote on those that answer, and says of the others why not', async () => {
    await using tree = taktukBackends({ core, hosts, connection: { sshConfig: bed.sshConfig, connectTimeout: SOON } })
    const options = { backend: tree.backendOf, values: { code: [0, 1, 2, 3, 4] }, process: { nolog: ['exit-code', 'error'] as const } }
    const all = await new Remote('echo {{host}}; exit {{code}}', names, options).run()
    expect(all.processes.map((one: Process) => [one.stdout.trim(), one.exitCode, one.errorReason?.code])).toEqual([
      ['h1', 0, undefined],
      ['', undefined, 'E_HOST_REFUSED'],
      ['h3', 2, undefined],
      ['', undefined, 'E_HOST_TIMEOUT'],
      ['h5', 4, undefined],
    ])
  })

  it.each(['flat', 'chain', 2])('brings one file to those that answer, over the topology %s', async (topology) => {
    const content = randomBytes(3_000_000)
    writeFileSync(join(folder, 'data'), content)
    const target = join(folder, `to ${topology}`)
    mkdirSync(target)
    fromHere.length = 0
    await using transfer = taktuk.create(taktuk.options.parse({ topology }), core)
    const results = await transfer.put({
      files: [join(folder, 'data')],
      ends: hosts.map((host) => ({ host, connection: connection(SOON), directory: join(target, host.address) })),
      policy: copyOptionsSchema.parse({ create: true }),
    })
    expect(results.map(({ host, outcome, verified, error }) => [host, outcome, verified, error?.code])).toEqual([
      ['h1', 'done', 'sha256', undefined],
      ['h2', 'unreachable', 'none', 'E_HOST_REFUSED'],
      ['h3', 'done', 'sha256', undefined],
      ['h4', 'unreachable', 'none', 'E_HOST_TIMEOUT'],
      ['h5', 'done', 'sha256', undefined],
    ])
    for (const name of ['h1', 'h3', 'h5']) expect(readFileSync(join(target, name, 'data')).equals(content)).toBe(true)
    expect(existsSync(join(target, 'h2'))).toBe(false)
    // None of those that answer.
    for (const told of fromHere) expect((told as { hosts: number }).hosts).toBeLessThanOrEqual(2)
    if (topology === 'flat') expect(fromHere).toEqual([])
  })

  it('reaches hosts from here that other hosts cannot reach', async () => {
    const own = bed.hosts.map(({ directory }) => join(directory, 'bin'))
    for (const folderOfHost of own) {
      mkdirSync(folderOfHost, { recursive: true })
      writeFileSync(join(folderOfHost, 'ssh'), '#!/bin/sh\necho "h: Permission denied (publickey)." >&2\nexit 255\n', { mode: 0o755 })
    }
    fromHere.length = 0
    try {
      const content = randomBytes(300_000)
      writeFileSync(join(folder, 'data'), content)
      await using transfer = taktuk.create(taktuk.options.parse({ topology: 'chain' }), core)
      const results = await transfer.put({
        files: [join(folder, 'data')],
        ends: hosts.map((host) => ({ host, connection: connection(SOON), directory: join(folder, 'alone', host.address) })),
        policy: copyOptionsSchema.parse({ create: true }),
      })
      expect(results.map(({ outcome, error }) => [outcome, error?.code])).toEqual([
        ['done', undefined],
        ['unreachable', 'E_HOST_REFUSED'],
        ['done', undefined],
        ['unreachable', 'E_HOST_TIMEOUT'],
        ['done', undefined],
      ])
      for (const name of ['h1', 'h3', 'h5']) expect(readFileSync(join(folder, 'alone', name, 'data')).equals(content)).toBe(true)
      expect(fromHere).toEqual([{ hosts: 4 }])
      const options = { topology: 'chain' } as const
      await using tree = taktukBackends({ core, hosts: answering, connection: { sshConfig: bed.sshConfig }, options })
      const all = await new Remote('echo {{host}}', ['h1', 'h3', 'h5'], { backend: tree.backendOf }).run()
      expect(all.processes.map((one: Process) => one.stdout.trim())).toEqual(['h1', 'h3', 'h5'])
    } finally {
      for (const folderOfHost of own) rmSync(join(folderOfHost, 'ssh'), { force: true })
    }
  })

  it('says how to install taktuk where it is missing, and throws that once for all', async () => {
    const path = process.env['PATH']
    process.env['PATH'] = folder
    try {
      const transfer = taktuk.create(taktuk.options.parse({}), core)
      const policy = copyOptionsSchema.parse({})
      const ends = [{ host: { address: 'h1' }, connection: core.fleet.connection({ sshConfig: false }), directory: folder }]
      writeFileSync(join(folder, 'data'), 'x')
      const put = transfer.put({ files: [join(folder, 'data')], ends, policy })
      await expect(put).rejects.toMatchObject({
        code: 'E_PROGRAM_NOT_FOUND',
        suggestions: expect.arrayContaining(['Install it: apt-get install taktuk']),
      })
    } finally {
      process.env['PATH'] = path
    }
  })

  it('tells processes of a host that is lost, and leaves the others alone', async () => {
    const options = { topology: 'flat' } as const
    await using tree = taktukBackends({ core, hosts: answering, connection: { sshConfig: bed.sshConfig }, options })
    let begun = 0
    const start = (address: string) =>
      tree
        .backendOf({ address })
        .start({ command: { script: 'echo up; read line; exit 7' }, stdin: 'pipe' }, { onOutput: () => (begun += 1) })
    const [one, other] = await Promise.all([start('h3'), start('h5')])
    await expect.poll(() => begun, { timeout: 20_000 }).toBe(2)
    bed.dropSessions('h3')
    expect(await one?.result).toMatchObject({ outcome: 'unreachable', error: { code: 'E_CONNECTION_LOST' } })
    await other?.write('go on\n')
    expect(await other?.result).toMatchObject({ outcome: 'exited', exitCode: 7 })
  })

  it('runs a common command on the others when one was lost before it begins', async () => {
    const members = answering.map((host) => ({ host, connection: connection() }))
    await using fleet = await taktukTool(taktuk.options.parse({ topology: 'flat' }), core).launch(members)
    const ways = await Promise.all(fleet.ways)
    bed.dropSessions('h3')
    expect(await ways[1]?.lost).toMatchObject({ code: 'E_CONNECTION_LOST' })
    const common = await fleet.together(new Map([0, 1, 2].map((member) => [member, 'cat'])))
    const said = ['', '', '']
    for (const [member, channel] of common.channels) channel.listen((_stream, chunk) => (said[member] += String(chunk)))
    await common.write(Buffer.from('to all'))
    common.end()
    const ends = await Promise.all([...common.channels.values()].map(({ closed }) => closed))
    expect(ends.map(({ exitCode, lost }) => exitCode ?? lost?.code)).toEqual([0, 'E_CONNECTION_LOST', 0])
    expect(said).toEqual(['to all', '', 'to all'])
  })

  it.each([
    ['more than was asked for', 'echo "B $(head -c 3000 /dev/zero | base64 -w 0)"'],
    ['a line without end', 'head -c 3000000 /dev/zero'],
    ['other files', 'echo F 7'],
  ])('fails one host that sends %s, and no other', async (_what, words) => {
    const perl = execFileSync('sh', ['-c', 'command -v perl'], { encoding: 'utf8' }).trim()
    const own = join(bed.hosts[0]?.directory ?? '', 'bin')
    mkdirSync(own, { recursive: true })
    const lying = `#!/bin/sh\ncase "$*" in *MIME::Base64*) ${words} ;; *) exec ${perl} "$@" ;; esac\n`
    writeFileSync(join(own, 'perl'), lying, { mode: 0o755 })
    try {
      for (const name of ['h1', 'h3'])
        writeFileSync(join(bed.hosts.find((host) => host.name === name)?.home ?? '', 'result'), 'ten bytes\n')
      const home = mkdtempSync(join(folder, 'home-'))
      await using transfer = taktuk.create(taktuk.options.parse({ topology: 'flat' }), core)
      const results = await transfer.get({
        files: ['result'],
        ends: answering.slice(0, 2).map((host) => ({ host, connection: connection(), directory: join(home, host.address) })),
        policy: copyOptionsSchema.parse({ create: true, resume: false }),
      })
      expect(results.map(({ outcome, error }) => [outcome, error?.code])).toEqual([
        ['failed', 'E_HOST_PROTOCOL'],
        ['done', undefined],
      ])
      expect(existsSync(join(home, 'h1/result'))).toBe(false)
    } finally {
      rmSync(join(own, 'perl'), { force: true })
    }
  })

  it('refuses a pseudo terminal, and a host that it was not made for', async () => {
    await using tree = taktukBackends({ core, hosts: [{ address: 'h1' }], connection: { sshConfig: bed.sshConfig } })
    const running = await tree.backendOf({ address: 'h1' }).start({ command: ['true'], pty: true })
    expect(await running.result).toMatchObject({ outcome: 'not-started', error: { code: 'E_NOT_SUPPORTED' } })
    expect(() => tree.backendOf({ address: 'h9' })).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})
