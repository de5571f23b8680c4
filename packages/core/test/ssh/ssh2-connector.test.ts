import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import type { ProcessError } from '../../src/errors.js'
import { explainBroken } from '../../src/ssh/connect-errors.js'
import type { SshConnection, SshPrompts, SshTarget } from '../../src/ssh/connection.js'
import { fingerprintOf } from '../../src/ssh/known-hosts.js'
import { Ssh2Connector } from '../../src/ssh/ssh2-connector.js'
import {
  defaultHostKey,
  defaultUserKey,
  type FakeServer,
  type FakeServerOptions,
  makeKey,
  makeTarget,
  startFakeServer,
} from './fake-server.js'

const directory = mkdtempSync(join(tmpdir(), 'cahier-ssh2-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let files = 0
function file(content: string, mode = 0o600): string {
  files += 1
  const path = join(directory, `file${files}`)
  writeFileSync(path, content, { mode })
  chmodSync(path, mode)
  return path
}

const userKey = file(defaultUserKey().private)

function targetOf(server: FakeServer, changes: Partial<SshTarget> = {}): SshTarget {
  return makeTarget(server, { knownHostsFiles: [file(server.knownHosts())], keyFiles: [userKey] }, changes)
}

async function refusal(promise: Promise<SshConnection>): Promise<ProcessError> {
  try {
    await (await promise)[Symbol.asyncDispose]()
  } catch (error) {
    return error as ProcessError
  }
  throw new Error('the connection was made')
}

/** Answers one after the other; then nobody is there. */
function person(...answers: (string | undefined)[]): SshPrompts & { readonly asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    ask: ({ text, secret }) => {
      asked.push(`${secret ? 'secret' : 'plain'}: ${text}`)
      return Promise.resolve(answers.shift())
    },
  }
}

/** Limits end only when the test moves the time on: a machine that stands still for a moment does not end them. */
async function withoutTime<T>(action: () => Promise<T>): Promise<T> {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  try {
    return await action()
  } finally {
    vi.useRealTimers()
  }
}

/** What does not become a connection within its limit: when it is as far as it can come, the limit is over. */
function afterItsLimit(target: SshTarget, isAsFarAsItComes: () => boolean): Promise<ProcessError> {
  return withoutTime(async () => {
    let isOver = false
    const refused = refusal(new Ssh2Connector().connect(target)).finally(() => (isOver = true))
    // What the other side has said by then is read in the turns after that.
    for (let turns = 0; turns < 20 && !isOver; turns += isAsFarAsItComes() ? 1 : 0) await new Promise((resolve) => setImmediate(resolve))
    vi.advanceTimersByTime(target.connectTimeoutMs)
    return refused
  })
}

async function run(connection: SshConnection, command: string, input?: string | Uint8Array) {
  const channel = await connection.exec(command)
  const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  channel.listen((stream, chunk) => output[stream].push(chunk))
  if (input !== undefined) await channel.write(Buffer.from(input))
  channel.end()
  const end = await channel.closed
  return { ...end, stdout: Buffer.concat(output.stdout), stderr: Buffer.concat(output.stderr) }
}

describe('a login', () => {
  it('goes through with a key file, and runs a command', async () => {
    await using server = await startFakeServer({ keys: [defaultUserKey()] })
    await using connection = await new Ssh2Connector().connect(targetOf(server))
    const result = await run(connection, 'printf "a\\377b"; echo err >&2; cat; exit 3', 'in')
    expect(result.stdout).toEqual(Buffer.from('a\xffbin', 'latin1'))
    expect(result.stderr.toString()).toBe('err\n')
    expect(result).toMatchObject({ exitCode: 3, signal: undefined, lost: undefined })
    expect(server.attempts).not.toContain('none')
  })
})

describe('a slow server', () => {
  it('may write its greeting and banner byte by byte', async () => {
    await using server = await startFakeServer({ answer: 'slow' })
    await using connection = await new Ssh2Connector().connect(targetOf(server))
    expect((await run(connection, 'echo ok')).stdout.toString()).toBe('ok\n')
  })
})

describe('host keys', () => {
  const otherKey = makeKey()

  it('refuses a host whose key is not known, and says how to take it down', async () => {
    await using server = await startFakeServer()
    const error = await refusal(new Ssh2Connector().connect(targetOf(server, { knownHostsFiles: [file('')] })))
    expect(error.code).toBe('E_HOST_KEY_UNKNOWN')
    expect(error.message).toContain(`node1 (127.0.0.1:${server.port})`)
    expect(error.message).toContain(fingerprintOf(Buffer.from(defaultHostKey().public.split(' ')[1]!, 'base64')))
    expect(error.suggestions.join('\n')).toContain(`ssh-keyscan -p ${server.port} 127.0.0.1`)
    expect(error.suggestions.join('\n')).toContain('--accept-new')
    expect(server.attempts).toEqual([])
  })

  it('refuses a changed key, with both fingerprints and the place of the known one', async () => {
    await using server = await startFakeServer()
    const known = file(`# known\n[127.0.0.1]:${server.port} ${otherKey.public}\n`)
    const error = await refusal(new Ssh2Connector().connect(targetOf(server, { knownHostsFiles: [known] })))
    expect(error.code).toBe('E_HOST_KEY_CHANGED')
    for (const key of [otherKey, defaultHostKey()]) {
      expect(error.message).toContain(fingerprintOf(Buffer.from(key.public.split(' ')[1]!, 'base64')))
    }
    expect(error.message).toContain(`${known} line 2`)
    expect(server.attempts).toEqual([])
  })

  it('refuses a changed key also when new keys are accepted', async () => {
    await using server = await startFakeServer()
    const known = file(`[127.0.0.1]:${server.port} ${otherKey.public}\n`)
    const target = targetOf(server, { knownHostsFiles: [known], hostKeys: 'accept-new' })
    expect(await refusal(new Ssh2Connector().connect(target))).toMatchObject({ code: 'E_HOST_KEY_CHANGED' })
    expect(readFileSync(known, 'utf8').split('\n')).toHaveLength(2)
  })

  it('refuses a revoked key although it is known', async () => {
    await using server = await startFakeServer()
    const known = file(`${server.knownHosts()}@revoked * ${defaultHostKey().public}\n`)
    const error = await refusal(new Ssh2Connector().connect(targetOf(server, { knownHostsFiles: [known] })))
    expect(error).toMatchObject({ code: 'E_HOST_KEY_REVOKED' })
    expect(error.message).toContain(`${known} line 2`)
  })

  it('leaves a host whose key an authority signs to the system client', async () => {
    await using server = await startFakeServer()
    const known = file(`@cert-authority * ${otherKey.public}\n`)
    const target = targetOf(server, { knownHostsFiles: [known], hostKeys: 'accept-new' })
    const error = await refusal(new Ssh2Connector().connect(target))
    expect(error).toMatchObject({ code: 'E_HOST_KEY_UNKNOWN', suggestions: ['Use the connector openssh'] })
  })

  it('takes a new key down once when 64 connections are made at the same moment', async () => {
    await using server = await startFakeServer()
    const known = join(directory, 'new', 'deep', 'known_hosts')
    const target = targetOf(server, { knownHostsFiles: [known], hostKeys: 'accept-new' })
    const connector = new Ssh2Connector()
    const connections = await Promise.all(Array.from({ length: 64 }, () => connector.connect(target)))
    await Promise.all(connections.map((connection) => connection[Symbol.asyncDispose]()))
    expect(readFileSync(known, 'utf8')).toBe(`[127.0.0.1]:${server.port} ${defaultHostKey().public}\n`)
    expect(statSync(known).mode & 0o777).toBe(0o600)
    expect(statSync(join(directory, 'new')).mode & 0o777).toBe(0o700)
    await using again = await new Ssh2Connector().connect({ ...target, hostKeys: 'strict' })
    expect(again.connector).toBe('ssh2')
  })

  it('accepts one key of a new host, not another that somebody shows at the same moment', async () => {
    const keys = [makeKey(), makeKey()]
    await using one = await startFakeServer({ hostKeys: [keys[0]!], loginDelayMs: 50 })
    await using other = await startFakeServer({ hostKeys: [keys[1]!], loginDelayMs: 50 })
    const known = file('')
    const connector = new Ssh2Connector()
    // the same name: two users at the same moment, one of whom is answered by another machine
    const shown = [one, other].map((server) =>
      connector.connect(targetOf(server, { hostKeyAlias: 'new', knownHostsFiles: [known], hostKeys: 'accept-new' })),
    )
    const ends = await Promise.allSettled(shown)
    for (const end of ends) if (end.status === 'fulfilled') await end.value[Symbol.asyncDispose]()
    const refused = ends.filter((end) => end.status === 'rejected')
    expect(refused).toMatchObject([{ reason: { code: 'E_HOST_KEY_CHANGED' } }])
    expect(readFileSync(known, 'utf8').trim().split('\n')).toHaveLength(1)
  })

  it('asks a host with several keys for the one that is known', async () => {
    const [ecdsa, rsa] = [makeKey('ecdsa'), makeKey('rsa')]
    await using server = await startFakeServer({ hostKeys: [defaultHostKey(), ecdsa, rsa] })
    for (const key of [ecdsa, rsa]) {
      const known = file(`[127.0.0.1]:${server.port} ${key.public}\n`)
      await using connection = await new Ssh2Connector().connect(targetOf(server, { knownHostsFiles: [known] }))
      expect((await run(connection, 'echo ok')).stdout.toString()).toBe('ok\n')
    }
  })

  it('looks the key up under the alias when there is one', async () => {
    await using server = await startFakeServer()
    const known = file(`cluster ${defaultHostKey().public}\n`)
    const target = targetOf(server, { knownHostsFiles: [known], hostKeyAlias: 'cluster' })
    await using connection = await new Ssh2Connector().connect(target)
    expect(connection.target.hostKeyAlias).toBe('cluster')
  })

  it('says that a file of known hosts cannot be written', async () => {
    await using server = await startFakeServer()
    const target = targetOf(server, { knownHostsFiles: [join(userKey, 'known_hosts')], hostKeys: 'accept-new' })
    const error = await refusal(new Ssh2Connector().connect(target))
    expect(error).toMatchObject({
      code: 'E_HOST_KEY_UNKNOWN',
      message: expect.stringMatching(/could not be written to .*: (ENOTDIR|EEXIST)/),
    })
  })
})

describe('keys that log in', () => {
  it('tries the files in their order, and names those that were refused with what the server would accept', async () => {
    const [first, second] = [makeKey(), makeKey('ecdsa')]
    await using server = await startFakeServer({ keys: [] })
    const target = targetOf(server, { keyFiles: [file(first.private), join(directory, 'absent'), file(second.private)] })
    const error = await refusal(new Ssh2Connector().connect(target))
    expect(error.code).toBe('E_LOGIN_REFUSED')
    for (const [index, key] of [first, second].entries()) {
      expect((error.data['tried'] as string[])[index]).toContain(fingerprintOf(Buffer.from(key.public.split(' ')[1]!, 'base64')))
    }
    expect(error.data['accepts']).toEqual(['publickey'])
    expect(error.data['retry']).toBeUndefined()
    expect(server.attempts).toEqual(['publickey?', 'publickey?'])
  })

  it.each(['ed25519', 'ecdsa', 'rsa'] as const)('signs with a key of type %s', async (type) => {
    const key = makeKey(type)
    await using server = await startFakeServer({ keys: [key] })
    await using connection = await new Ssh2Connector().connect(targetOf(server, { keyFiles: [file(key.private)] }))
    expect((await run(connection, 'exit 4')).exitCode).toBe(4)
  })

  it('asks once for the passphrase of a key that 64 connections want at the same moment', async () => {
    const key = makeKey('ed25519', 'open sesame')
    await using server = await startFakeServer({ keys: [key] })
    const prompts = person('wrong', 'open sesame')
    const connector = new Ssh2Connector({ prompts })
    const target = targetOf(server, { keyFiles: [file(key.private)] })
    const connections = await Promise.all(Array.from({ length: 64 }, () => connector.connect(target)))
    expect(prompts.asked).toEqual([
      `secret: Passphrase of ${target.keyFiles[0]}: `,
      `secret: That was not it. Passphrase of ${target.keyFiles[0]}: `,
    ])
    await Promise.all(connections.map((connection) => connection[Symbol.asyncDispose]()))
  })

  it('asks for no passphrase when the server does not want that key', async () => {
    const locked = makeKey('ed25519', 'secret')
    await using server = await startFakeServer({ keys: [defaultUserKey()] })
    const prompts = person()
    const target = targetOf(server, { keyFiles: [file(locked.private), userKey] })
    await using connection = await new Ssh2Connector({ prompts }).connect(target)
    expect(connection.target.name).toBe('node1')
    const error = await refusal(new Ssh2Connector({ prompts }).connect({ ...target, keyFiles: [target.keyFiles[0]!] }))
    expect(error.code).toBe('E_LOGIN_REFUSED')
    expect(prompts.asked).toEqual([])
  })

  it('says that a person is needed for a passphrase when nobody can be asked', async () => {
    const key = makeKey('ed25519', 'secret')
    await using server = await startFakeServer({ keys: [key] })
    const error = await refusal(new Ssh2Connector().connect(targetOf(server, { keyFiles: [file(key.private)] })))
    expect(error).toMatchObject({ code: 'E_LOGIN_NEEDED', message: expect.stringContaining('the passphrase of file') })
  })

  it('goes on without an agent that does not answer', async () => {
    const agent = join(directory, 'agent')
    const mute = createServer((socket) => socket.on('error', () => {}).resume()).listen(agent)
    await once(mute, 'listening')
    await using server = await startFakeServer()
    await using connection = await new Ssh2Connector().connect(targetOf(server, { agent, connectTimeoutMs: 60_000 }))
    expect(connection.target.agent).toBe(agent)
    mute.close()
  })

  it('passes over a private key that others can read, and says so', async () => {
    await using server = await startFakeServer()
    const readable = file(defaultUserKey().private, 0o644)
    const error = await refusal(new Ssh2Connector().connect(targetOf(server, { keyFiles: [readable] })))
    expect(error).toMatchObject({ code: 'E_LOGIN_REFUSED', message: expect.stringContaining(`${readable} (its permissions 0644`) })
    expect(server.logins).toBe(0)
  })
})

describe('a person who is asked', () => {
  it('answers several questions in a row, and each connection asks once', async () => {
    await using server = await startFakeServer({
      keys: [],
      keyboard: [
        { title: 'Site login', prompts: [{ prompt: 'Badge: ', echo: true }], accept: ([badge]) => badge === '4711' },
        {
          prompts: [
            { prompt: 'Password: ', echo: false },
            { prompt: 'Code: ', echo: false },
          ],
          accept: (answers) => answers.join() === 'pw,123456',
        },
      ],
    })
    const prompts = person('4711', 'pw', '123456')
    await using connection = await new Ssh2Connector({ prompts }).connect(targetOf(server))
    expect((await run(connection, 'echo in')).stdout.toString()).toBe('in\n')
    expect(prompts.asked).toEqual([
      'plain: (tester@node1) Site login\nBadge: ',
      'secret: (tester@node1) Password: ',
      'secret: (tester@node1) Code: ',
    ])
  })

  it('is asked for the code after the key was accepted', async () => {
    await using server = await startFakeServer({
      methods: ['publickey', 'keyboard-interactive'],
      keyboard: [{ prompts: [{ prompt: 'One-time password: ', echo: false }], accept: ([code]) => code === '42' }],
    })
    const prompts = person('42')
    await using connection = await new Ssh2Connector({ prompts }).connect(targetOf(server))
    expect(connection.target.name).toBe('node1')
    expect(prompts.asked).toEqual(['secret: (tester@node1) One-time password: '])
  })

  it('is asked for a password', async () => {
    await using server = await startFakeServer({ keys: [], password: 'pw' })
    const prompts = person('pw')
    await using connection = await new Ssh2Connector({ prompts }).connect(targetOf(server, { keyFiles: [] }))
    expect(connection.target.name).toBe('node1')
    expect(prompts.asked).toEqual(['secret: Password of tester@node1: '])
  })

  it('is told that a password has expired', async () => {
    await using server = await startFakeServer({ keys: [], password: 'pw', expired: true })
    const error = await refusal(new Ssh2Connector({ prompts: person('pw') }).connect(targetOf(server, { keyFiles: [] })))
    expect(error).toMatchObject({ code: 'E_LOGIN_REFUSED', message: expect.stringContaining('the old one has expired') })
  })

  it('who cannot be asked at all is nobody', async () => {
    await using server = await startFakeServer({
      keys: [],
      password: 'pw',
      keyboard: [{ prompts: [{ prompt: 'x', echo: true }], accept: () => true }],
    })
    const prompts: SshPrompts = { ask: () => Promise.reject(new Error('no terminal')) }
    expect(await refusal(new Ssh2Connector({ prompts }).connect(targetOf(server)))).toMatchObject({ code: 'E_LOGIN_NEEDED' })
  })

  it('is not asked again after a wrong answer', async () => {
    await using server = await startFakeServer({ keys: [], password: 'pw', methods: ['password'] })
    const prompts = person('wrong', 'pw')
    const error = await refusal(new Ssh2Connector({ prompts }).connect(targetOf(server, { keyFiles: [] })))
    expect(error).toMatchObject({ code: 'E_LOGIN_REFUSED', message: expect.stringContaining('the answer was wrong') })
    expect(prompts.asked).toHaveLength(1)
  })

  it.each([
    ['is not there', undefined],
    ['does not answer', person(undefined)],
  ])('%s: then the login needs one', async (_, prompts) => {
    await using server = await startFakeServer({
      keys: [],
      methods: ['keyboard-interactive'],
      keyboard: [{ prompts: [{ prompt: 'Code: ', echo: false }], accept: () => true }],
    })
    const error = await refusal(new Ssh2Connector({ prompts }).connect(targetOf(server)))
    expect(error.code).toBe('E_LOGIN_NEEDED')
    expect(error.message).toContain('nobody can be asked')
  })

  it('may take longer than the time limit', async () => {
    await using server = await startFakeServer({ keys: [], password: 'pw' })
    const prompts: SshPrompts = {
      ask: async () => {
        vi.advanceTimersByTime(3_600_000)
        return 'pw'
      },
    }
    const target = targetOf(server, { keyFiles: [], connectTimeoutMs: 500 })
    await using connection = await withoutTime(() => new Ssh2Connector({ prompts }).connect(target))
    expect(connection.target.name).toBe('node1')
  })
})

describe('what does not become a connection', () => {
  const hasBanner = ({ heard }: FakeServer): boolean => heard.startsWith('SSH-2.0-')

  it.each<[string, FakeServerOptions, string, RegExp, boolean, ((server: FakeServer) => boolean)?]>([
    ['accepts and never answers', { answer: 'silent' }, 'E_HOST_TIMEOUT', /said nothing within 0.3 s/, false, hasBanner],
    ['answers with binary rubbish', { answer: 'garbage' }, 'E_HOST_PROTOCOL', /does not speak ssh: it said "/, false],
    ['greets and waits', { answer: 'mail' }, 'E_HOST_PROTOCOL', /does not speak ssh: it said "220 mail ESMTP"/, false, hasBanner],
    ['speaks another protocol', { answer: 'http' }, 'E_HOST_PROTOCOL', /does not speak ssh: it said "HTTP\/1.1 400/, false],
    ['closes before its banner', { answer: 'close' }, 'E_HOST_DROPPED', /closed the connection before it said anything/, true],
    ['resets before its banner', { answer: 'reset' }, 'E_HOST_DROPPED', /closed the connection before it said anything/, true],
    [
      'hangs in the login',
      { loginDelayMs: 60_000 },
      'E_HOST_TIMEOUT',
      /did not finish the login/,
      false,
      ({ attempts }) => attempts.length > 0,
    ],
    [
      'shares no key exchange',
      { algorithms: { kex: ['diffie-hellman-group1-sha1'] } },
      'E_HOST_PROTOCOL',
      /shares no key exchange algorithm with us/,
      false,
    ],
  ])('a server that %s', async (_, options, code, message, retry, isAsFarAsItComes) => {
    await using server = await startFakeServer(options)
    const error =
      isAsFarAsItComes === undefined
        ? await refusal(new Ssh2Connector().connect(targetOf(server)))
        : await afterItsLimit(targetOf(server, { connectTimeoutMs: 300 }), () => isAsFarAsItComes(server))
    expect(error.code).toBe(code)
    expect(error.message).toMatch(message)
    expect(error.message).toContain(`node1 (127.0.0.1:${server.port})`)
    expect(error.message).not.toContain('\n')
    expect(error.data['retry'] ?? false).toBe(retry)
    expect(error.suggestions).not.toEqual([])
    await expect.poll(() => (options.answer === 'silent' ? server.open : 0)).toBe(0)
  })

  it('a server whose last words are meant for the terminal', () => {
    const target = makeTarget({ address: '::1', port: 22 }, { knownHostsFiles: [], keyFiles: [] })
    const cause = new Error('Too many authentication failures\x1b]0;x\x07\n')
    expect(explainBroken(target, { stage: 'login', cause, received: Buffer.alloc(0) })).toMatchObject({
      code: 'E_LOGIN_REFUSED',
      message: 'node1 ([::1]:22) ended the login: Too many authentication failures.]0;x.',
      suggestions: [expect.stringContaining('keyFiles')],
    })
  })

  it.each(['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EMFILE', 'EPERM'])('%s: says what to try', (code) => {
    const target = makeTarget({ address: '::1', port: 22 }, { knownHostsFiles: [], keyFiles: [] })
    const cause = Object.assign(new Error(code), { code })
    expect(explainBroken(target, { stage: 'dial', cause, received: Buffer.alloc(0) }).suggestions).toHaveLength(1)
  })

  it('a server that says no more after its banner', async () => {
    await using server = await startFakeServer()
    let heard = 0
    const mute = createServer((socket) => {
      socket.on('data', (chunk) => (heard += chunk.length)).write('SSH-2.0-OpenSSH_9.2\r\n')
    }).listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { port } = mute.address() as { port: number }
    const target = targetOf(server, { port, connectTimeoutMs: 300 })
    const error = await afterItsLimit(target, () => heard > 0)
    expect(error).toMatchObject({
      code: 'E_HOST_TIMEOUT',
      message: expect.stringContaining('did not finish the key exchange within 0.3 s'),
    })
    mute.close()
  })

  it.skipIf(process.platform === 'win32')('a name whose lookup does not come to an end', async () => {
    await using server = await startFakeServer()
    // all threads that could look a name up wait for somebody who writes
    const pipes = Array.from({ length: 4 }, (_, index) => join(directory, `pipe${index}`))
    execFileSync('mkfifo', pipes)
    const opened = pipes.map((path) => open(path, 'r'))
    const error = await refusal(new Ssh2Connector().connect(targetOf(server, { address: 'localhost', connectTimeoutMs: 300 })))
    for (const path of pipes) closeSync(openSync(path, constants.O_RDWR))
    for (const pipe of await Promise.all(opened)) await pipe.close()
    expect(error).toMatchObject({ code: 'E_HOST_NAME', message: expect.stringContaining('could not be looked up within 0.3 s') })
  })

  it('a port where nothing listens', async () => {
    const server = await startFakeServer()
    await server[Symbol.asyncDispose]()
    const error = await refusal(new Ssh2Connector().connect(targetOf(server)))
    expect(error.code).toBe('E_HOST_REFUSED')
    expect(error.message).toBe(`node1 (127.0.0.1:${server.port}) refused the connection: nothing listens there`)
  })

  it('a name that nobody knows', async () => {
    await using server = await startFakeServer()
    const error = await refusal(new Ssh2Connector().connect(targetOf(server, { address: 'no-such-host.invalid' })))
    expect(error.code).toBe('E_HOST_NAME')
  })

  it('an address without a way to it', async () => {
    await using server = await startFakeServer()
    const error = await refusal(new Ssh2Connector().connect(targetOf(server, { address: '255.255.255.255' })))
    expect(error.code).toBe('E_HOST_UNREACHABLE')
  })

  it('is given up when its signal is aborted, and leaves nothing open', async () => {
    await using server = await startFakeServer({ answer: 'silent' })
    const connecting = refusal(new Ssh2Connector().connect(targetOf(server), { signal: AbortSignal.timeout(100) }))
    expect(await connecting).toMatchObject({ code: 'E_ABORTED' })
    await expect.poll(() => server.open).toBe(0)
    expect(await refusal(new Ssh2Connector().connect(targetOf(server), { signal: AbortSignal.abort() }))).toMatchObject({
      code: 'E_ABORTED',
    })
  })
})

describe('hosts behind others', () => {
  it('are reached through a connection that is there, or through one of their own', async () => {
    await using inner = await startFakeServer()
    await using outer = await startFakeServer()
    const connector = new Ssh2Connector()
    const jump = targetOf(outer, { name: 'gateway' })
    const target = targetOf(inner, { jumps: [jump] })
    {
      await using via = await connector.connect(jump)
      await using connection = await connector.connect(target, { via })
      expect((await run(connection, 'echo $HOME')).stdout.toString()).toBe(`${inner.home}\n`)
      expect([outer.logins, inner.logins]).toEqual([1, 1])
    }
    {
      await using connection = await connector.connect(target)
      expect((await run(connection, 'echo $HOME')).stdout.toString()).toBe(`${inner.home}\n`)
    }
    await expect.poll(() => outer.open).toBe(0)
    expect([outer.logins, inner.logins]).toEqual([2, 2])
  })

  it('are let go although the gateway says nothing any more', async () => {
    await using inner = await startFakeServer()
    await using outer = await startFakeServer()
    const connector = new Ssh2Connector()
    const quiet = { keepAliveMs: 0 }
    const via = await connector.connect(targetOf(outer, { name: 'gateway', ...quiet }))
    const connection = await connector.connect(targetOf(inner, { ...quiet, jumps: [targetOf(outer)] }), { via })
    outer.freeze()
    await connection[Symbol.asyncDispose]()
    await via[Symbol.asyncDispose]()
    outer.thaw()
    // Nobody there would ever answer: whoever waits for that waits longer.
  }, 30_000)

  it('are told apart from their gateway in messages', async () => {
    const inner = await startFakeServer()
    await inner[Symbol.asyncDispose]()
    await using outer = await startFakeServer()
    const target = targetOf(inner, { name: 'inside', jumps: [targetOf(outer, { name: 'gateway' })] })
    const error = await refusal(new Ssh2Connector().connect(target))
    expect(error.code).toMatch(/^E_HOST_(REFUSED|UNREACHABLE)$/)
    expect(error.message).toContain('inside (')
    expect(error.message).toContain('as seen from gateway')
    await expect.poll(() => outer.open).toBe(0)
  })
})

describe('an idle connection', () => {
  it('lets the program end when it is not held, and holds it when it is', async () => {
    await using server = await startFakeServer()
    const connector = new Ssh2Connector()
    await using connection = await connector.connect(targetOf(server))
    const resources = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap' || name === 'TCPWrap').length
    const before = resources()
    connection.unref()
    expect(resources()).toBe(before - 1)
    connection.ref()
    expect(resources()).toBe(before)
  })
})
