import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../../../test/testbed/bed.mjs'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import type { ProcessError } from '../../src/errors.js'
import type { SshConnection, SshTarget } from '../../src/ssh/connection.js'
import { Ssh2Connector } from '../../src/ssh/ssh2-connector.js'
import { makeTarget } from './fake-server.js'

const reason = sshHostsUnavailable()
const why = reason === undefined ? '' : ` (${reason})`

describe.skipIf(reason !== undefined)(`ssh2 and a real sshd${why}`, () => {
  let bed: SshHosts
  let directory: string

  beforeAll(async () => {
    bed = await startSshHosts(3, {
      overrides: {
        // keys are exchanged anew all the time
        h2: { sshdLines: ['RekeyLimit 1M'] },
        h3: { maxStartups: '2:100:2', maxSessions: 2 },
      },
    })
    directory = mkdtempSync(join(tmpdir(), 'cahier-sshd-'))
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, 'stranger')])
  })
  afterAll(async () => {
    await bed?.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  const targetOf = (name: string, changes: Partial<SshTarget> = {}): SshTarget => {
    const host = bed.hosts.find((other) => other.name === name)!
    const files = { knownHostsFiles: [bed.knownHosts], keyFiles: [bed.identity] }
    return makeTarget(host, files, { name, user: bed.user, hostKeyAlias: name, ...changes })
  }
  const open = (name: string, changes: Partial<SshTarget> = {}): Promise<SshConnection> =>
    new Ssh2Connector().connect(targetOf(name, changes))

  async function run(connection: SshConnection, command: string, options: { pty?: boolean; stdin?: 'open' } = {}) {
    const channel = await connection.exec(command, options)
    const output = { stdout: '', stderr: '' }
    channel.listen((stream, chunk) => {
      output[stream] += chunk.toString('latin1')
    })
    if (options.stdin !== 'open') channel.end()
    return { ...(await channel.closed), ...output }
  }

  it('knows the end of a command that closes its outputs long before', async () => {
    await using connection = await open('h1')
    for (const stdin of ['open', undefined] as const) {
      const options = stdin === undefined ? {} : { stdin }
      expect(await run(connection, 'exec 0<&- 1>&- 2>&-; sleep 0.1; exit 3', options)).toMatchObject({ exitCode: 3, lost: undefined })
    }
  })

  it('gives a terminal when one is asked for', async () => {
    await using connection = await open('h1')
    const result = await run(connection, 'test -t 0 && test -t 1 && echo terminal', { pty: true, stdin: 'open' })
    expect(result).toMatchObject({ exitCode: 0, stdout: 'terminal\r\n' })
    expect(await run(connection, 'test -t 1')).toMatchObject({ exitCode: 1 })
  })

  it('names the signal that ended a command', async () => {
    await using connection = await open('h1')
    expect(await run(connection, 'kill -KILL $$')).toMatchObject({ exitCode: undefined, signal: 'SIGKILL', lost: undefined })
  })

  it('keeps every byte in both directions while keys are exchanged anew', async () => {
    await using connection = await open('h2')
    const data = Buffer.alloc(20_000_003)
    for (let index = 0; index < data.length; index += 1) data[index] = (index * 2_654_435_761) >>> 24
    const channel = await connection.exec('cat')
    const hash = createHash('sha256')
    let bytes = 0
    channel.listen((_, chunk) => {
      hash.update(chunk)
      bytes += chunk.length
    })
    for (let at = 0; at < data.length; at += 100_000) await channel.write(data.subarray(at, at + 100_000))
    channel.end()
    expect(await channel.closed).toMatchObject({ exitCode: 0, lost: undefined })
    expect(bytes).toBe(data.length)
    expect(hash.digest('hex')).toBe(createHash('sha256').update(data).digest('hex'))
    const several = Array.from({ length: 8 }, () => run(connection, 'head -c 2000000 /dev/zero | tr "\\0" x; exit 4'))
    for (const result of await Promise.all(several)) {
      expect(result).toMatchObject({ exitCode: 4, lost: undefined })
      expect(result.stdout.length).toBe(2_000_000)
    }
  })

  it('holds little of 100 MB whose listener pauses, now and then or for long', async () => {
    await using connection = await open('h1')
    const channel = await connection.exec('head -c 70000000 /dev/zero; head -c 30000000 /dev/zero >&2')
    let bytes = 0
    let most = 0
    channel.listen((_, chunk) => {
      bytes += chunk.length
      if (bytes % 50 === 0) {
        channel.pause()
        setImmediate(() => channel.resume())
      }
    })
    channel.pause()
    const before = process.memoryUsage().external
    for (let turn = 0; turn < 5; turn += 1) {
      await run(connection, 'true')
      most = Math.max(most, process.memoryUsage().external - before)
    }
    expect(bytes).toBe(0)
    expect(most).toBeLessThan(16_000_000)
    channel.resume()
    expect(await channel.closed).toMatchObject({ exitCode: 0, lost: undefined })
    expect(bytes).toBe(100_000_000)
  })

  it('tells a refused session and a dropped login apart, and which may go well later', async () => {
    await using connection = await open('h3')
    const sleepers = await Promise.all([connection.exec('sleep 60'), connection.exec('sleep 60')])
    await expect(connection.exec('true')).rejects.toMatchObject({ code: 'E_HOST_DROPPED' })
    for (const sleeper of sleepers) sleeper.close()
    const attempts = await Promise.allSettled(Array.from({ length: 12 }, () => open('h3')))
    const errors: ProcessError[] = []
    for (const attempt of attempts) {
      if (attempt.status === 'fulfilled') await attempt.value[Symbol.asyncDispose]()
      else errors.push(attempt.reason as ProcessError)
    }
    expect(errors.length).toBeGreaterThan(0)
    for (const error of errors) expect(error).toMatchObject({ code: 'E_HOST_DROPPED', data: { retry: true, host: 'h3' } })
  })

  it('says who refused which keys', async () => {
    await expect(open('h1', { keyFiles: [join(directory, 'stranger')] })).rejects.toMatchObject({
      code: 'E_LOGIN_REFUSED',
      message: expect.stringMatching(
        /^h1 \(127\..*\) does not let .* in: it refused the key .*stranger \(SHA256:.*it accepts keys only, and none of ours$/,
      ),
    })
  })

  it('signs with the keys of an agent, of which it offers the named ones first', async () => {
    const socket = join(directory, 'agent')
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' })
    try {
      const ask = (...options: string[]) =>
        execFileSync('ssh-add', options, { env: { ...process.env, SSH_AUTH_SOCK: socket }, stdio: 'pipe' })
      const isTaken = (): boolean => {
        try {
          ask(bed.identity)
          return true
        } catch {
          return false
        }
      }
      await waitUntil(isTaken, { what: 'the agent takes a key', timeoutMs: 40_000 })
      {
        await using connection = await open('h1', { agent: socket, keyFiles: [], identitiesOnly: false })
        expect(await run(connection, 'exit 5')).toMatchObject({ exitCode: 5 })
      }
      // with an unreadable file of its private half, the public one says which key of the agent is meant
      const publicKey = join(directory, 'chosen.pub')
      writeFileSync(publicKey, execFileSync('ssh-keygen', ['-y', '-f', bed.identity]))
      {
        await using connection = await open('h1', { agent: socket, keyFiles: [publicKey], identitiesOnly: true })
        expect(await run(connection, 'exit 6')).toMatchObject({ exitCode: 6 })
      }
      await expect(open('h1', { agent: socket, keyFiles: [], identitiesOnly: true })).rejects.toMatchObject({
        code: 'E_LOGIN_REFUSED',
        message: expect.stringContaining('we have no key to show'),
      })
      // a certificate beside the key does not disturb
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, 'certified')])
      execFileSync('ssh-keygen', ['-q', '-s', join(directory, 'stranger'), '-I', 'me', join(directory, 'certified.pub')])
      ask('-D')
      ask(join(directory, 'certified'))
      ask(bed.identity)
      {
        await using connection = await open('h1', { agent: socket, keyFiles: [], identitiesOnly: false })
        expect(await run(connection, 'exit 7')).toMatchObject({ exitCode: 7 })
      }
    } finally {
      agent.kill()
      await once(agent, 'exit')
    }
  })

  it('goes through a jump host', async () => {
    await using connection = await open('h2', { jumps: [targetOf('h1')] })
    expect((await run(connection, 'echo there')).stdout).toBe('there\n')
    expect(bed.logins('h1')).toBeGreaterThan(0)
  })

  it('loses what runs when the connection is cut, and says so', async () => {
    await using connection = await open('h1')
    const channel = await connection.exec('echo started; sleep 60')
    await new Promise<void>((resolve) => channel.listen(() => resolve()))
    bed.dropSessions('h1')
    const lost = await connection.lost
    expect(lost).toMatchObject({ code: 'E_CONNECTION_LOST' })
    expect(await channel.closed).toMatchObject({ exitCode: undefined, lost })
  })
})
