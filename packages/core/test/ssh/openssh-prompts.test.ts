import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { connectionSchema } from '../../src/model/connection.js'
import type { SshConnection, SshPrompts } from '../../src/ssh/connection.js'
import { OpensshConnector } from '../../src/ssh/openssh-connector.js'
import { resolveTarget } from '../../src/ssh/resolve-target.js'
import { defaultUserKey, type FakeServer, type FakeServerOptions, startFakeServer } from './fake-server.js'

const hasSsh = spawnSync('ssh', ['-V']).status === 0

/** What servers ask, with a server in this process: no account of this machine has a password that a test may know. */
describe.skipIf(!hasSsh)(`questions of ssh${hasSsh ? '' : ' (needs ssh)'}`, () => {
  let directory: string
  let server: FakeServer | undefined
  let connector: OpensshConnector | undefined
  const questions: string[] = []

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'cahier-prompts-'))
    writeFileSync(join(directory, 'id'), defaultUserKey().private, { mode: 0o600 })
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  afterEach(async () => {
    await connector?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
    questions.length = 0
  })

  /** @param answers - in turn; undefined: nobody answers */
  const open = async (options: FakeServerOptions, answers?: (string | undefined)[]): Promise<SshConnection> => {
    server = await startFakeServer(options)
    const known = join(directory, 'known')
    writeFileSync(known, server.knownHosts())
    const prompts: SshPrompts = {
      ask: async ({ target, text, secret }) => {
        questions.push(`${target}: ${text} ${secret}`)
        return answers?.shift()
      },
    }
    connector = new OpensshConnector(answers === undefined ? {} : { prompts })
    const host = { address: server.address, port: server.port, user: 'alice', keyFile: join(directory, 'id') }
    const connection = connectionSchema.parse({
      sshConfig: false,
      agent: false,
      knownHostsFiles: [known],
      connector: 'openssh',
      connectTimeout: '20s',
    })
    return connector.connect((await resolveTarget(host, connection)).target)
  }
  const say = async (connection: SshConnection, text: string): Promise<string> => {
    const channel = await connection.exec(`echo ${text}`)
    let out = ''
    channel.listen((_, chunk) => {
      out += chunk.toString()
    })
    expect((await channel.closed).exitCode).toBe(0)
    return out.trim()
  }
  const code = { prompts: [{ prompt: 'Verification code: ', echo: false }], accept: ([answer]: readonly string[]) => answer === '123456' }

  it('asks for a one-time code after the key, once for all commands', async () => {
    const connection = await open({ methods: ['publickey', 'keyboard-interactive'], keyboard: [code] }, ['123456'])
    expect(await Promise.all(['a', 'b', 'c'].map((text) => say(connection, text)))).toEqual(['a', 'b', 'c'])
    expect(questions).toEqual([expect.stringContaining('Verification code:')])
    expect(server?.logins).toBe(1)
  })

  it('asks for a password', async () => {
    const connection = await open({ keys: [], password: 'sesame' }, ['sesame'])
    expect(await say(connection, 'in')).toBe('in')
    expect(questions).toEqual([expect.stringMatching(/alice@.*'s password: true/)])
  })

  it('says that a person is needed when nobody answers, and sends no empty password', async () => {
    await expect(open({ keys: [], password: '' }, [undefined])).rejects.toMatchObject({
      code: 'E_LOGIN_NEEDED',
      message: expect.stringContaining('the password of alice'),
    })
    expect(questions).toHaveLength(1)
    // The empty password would have let us in.
    expect(server?.logins).toBe(0)
  })

  it('says so too when there is nobody', async () => {
    await expect(open({ methods: ['publickey', 'keyboard-interactive'], keyboard: [code] })).rejects.toMatchObject({
      code: 'E_LOGIN_NEEDED',
    })
  })

  it('a gateway that does not let us in is asked once, however many are behind it, and again on purpose', async () => {
    server = await startFakeServer({ keys: [] })
    const known = join(directory, 'known')
    writeFileSync(known, server.knownHosts())
    connector = new OpensshConnector()
    const connection = connectionSchema.parse({
      sshConfig: false,
      agent: false,
      keyFiles: [join(directory, 'id')],
      knownHostsFiles: [known],
      connector: 'openssh',
      jump: `alice@${server.address}:${server.port}`,
      connectTimeout: '20s',
    })
    const connect = async (address: string, anew = false) =>
      connector!.connect((await resolveTarget({ address }, connection)).target, { anew }).catch((error: unknown) => error)
    for (const address of ['inner1', 'inner2', 'inner3']) {
      const said = { code: 'E_LOGIN_REFUSED', message: expect.stringMatching(`^No way to ${address}: ${server.address} .*alice`) }
      expect(await connect(address)).toMatchObject(said)
    }
    expect(server.connections).toBe(1)
    await connect('inner4', true)
    expect(server.connections).toBe(2)
  })

  it('gives no server a passphrase that was typed before, in whatever words it asks', async () => {
    // a client that says who it talks to, and asks: clients before 8.5 hand on the words of a server as they are
    const program = join(directory, 'ssh-8.4')
    const log = 'for word; do test "$last" = -E && log=$word; last=$word; done'
    const ask = `$SSH_ASKPASS "Enter passphrase for key '/home/alice/.ssh/id': "`
    const method = 'case $last in evil) m=keyboard-interactive;; *) m=publickey;; esac'
    const tell = 'echo "debug1: Next authentication method: $m" >> "$log"'
    const answer = `echo "$last $(${ask})" >> ${join(directory, 'answers')}`
    writeFileSync(program, `#!/bin/sh\n${[log, method, tell, answer, 'exit 255'].join('\n')}\n`, { mode: 0o700 })
    const asked: string[] = []
    connector = new OpensshConnector({
      program,
      prompts: { ask: async ({ target }) => (asked.push(target) === 1 ? 'secret' : undefined) },
    })
    for (const address of ['good', 'better', 'evil']) {
      const found = await resolveTarget({ address }, connectionSchema.parse({ sshConfig: false, connector: 'openssh' }))
      await expect(connector.connect(found.target)).rejects.toThrow()
    }
    expect(asked).toEqual(['good', 'evil'])
    expect(readFileSync(join(directory, 'answers'), 'utf8')).toBe('good secret\nbetter secret\n')
  })

  it('says that the answer was wrong', async () => {
    await expect(open({ keys: [], password: 'sesame' }, ['wrong', 'wronger', 'wrong again', 'still'])).rejects.toMatchObject({
      code: 'E_LOGIN_REFUSED',
      message: expect.stringContaining('the answer was wrong'),
    })
  })

  it('does not count the time that a person takes', async () => {
    server = await startFakeServer({ keys: [], password: 'sesame' })
    const known = join(directory, 'known')
    writeFileSync(known, server.knownHosts())
    connector = new OpensshConnector({ prompts: { ask: () => new Promise((resolve) => setTimeout(resolve, 9000, 'sesame')) } })
    const host = { address: server.address, port: server.port, user: 'alice', keyFile: join(directory, 'id') }
    const connection = connectionSchema.parse({
      sshConfig: false,
      agent: false,
      knownHostsFiles: [known],
      connector: 'openssh',
      // Without the question there is time enough, also for a loaded machine.
      connectTimeout: '8s',
    })
    await connector.connect((await resolveTarget(host, connection)).target)
  })

  it.each([
    ['garbage', /E_HOST_(PROTOCOL|DROPPED)/],
    ['http', /E_HOST_PROTOCOL/],
    ['close', /E_HOST_DROPPED/],
    ['reset', /E_HOST_DROPPED/],
  ] as const)('names what answers with %s', async (answer, expected) => {
    await expect(open({ answer })).rejects.toMatchObject({ code: expect.stringMatching(expected) })
  })

  it('lets a dropped handshake be tried again', async () => {
    await expect(open({ drop: () => true })).rejects.toMatchObject({ code: 'E_HOST_DROPPED', data: { retry: true } })
  })
})
