import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { processesWith } from '../../../../test/testbed/proc.mjs'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { type ConnectionOptions, connectionSchema } from '../../src/model/connection.js'
import type { HostSpec } from '../../src/model/host.js'
import type { SshChannel, SshConnection, SshTarget } from '../../src/ssh/connection.js'
import { MuxControl } from '../../src/ssh/mux-control.js'
import { OpensshConnector, type OpensshOptions } from '../../src/ssh/openssh-connector.js'
import { resolveTarget } from '../../src/ssh/resolve-target.js'

/** Of what sshd and the client of ssh do, which may be kept waiting. */
const soon = { timeout: 20_000 }

const reason = sshHostsUnavailable()
const why = reason === undefined ? '' : ` (${reason})`

/** What a channel said until its end. */
async function collect(
  channel: SshChannel,
): Promise<{ stdout: string; stderr: string; exitCode: number | undefined; lost: string | undefined }> {
  let stdout = ''
  let stderr = ''
  channel.listen((stream, chunk) => {
    if (stream === 'stdout') stdout += chunk.toString()
    else stderr += chunk.toString()
  })
  const end = await channel.closed
  return { stdout, stderr, exitCode: end.exitCode, lost: end.lost?.code }
}

describe.skipIf(reason !== undefined)(`the openssh connector${why}`, () => {
  let bed: SshHosts
  let connector: OpensshConnector | undefined
  let directory: string

  beforeAll(async () => {
    bed = await startSshHosts(4, { maxSessions: 3 })
    directory = mkdtempSync(join(tmpdir(), 'cahier-openssh-'))
  })
  afterAll(async () => {
    await bed?.stop()
    rmSync(directory, { recursive: true, force: true })
  })
  afterEach(async () => {
    await connector?.[Symbol.asyncDispose]()
    connector = undefined
  })

  const make = (options: OpensshOptions = {}): OpensshConnector => {
    connector = new OpensshConnector(options)
    return connector
  }
  const targetOf = async (host: HostSpec | string, options: ConnectionOptions = {}): Promise<SshTarget> => {
    const connection = connectionSchema.parse({ sshConfig: bed.sshConfig, connector: 'openssh', connectTimeout: '60s', ...options })
    return (await resolveTarget(typeof host === 'string' ? { address: host } : host, connection)).target
  }
  const open = async (host: HostSpec | string, options: ConnectionOptions = {}): Promise<SshConnection> =>
    (connector ?? make()).connect(await targetOf(host, options))
  /** A configuration of its own for one test. */
  const config = (name: string, text: string): string => {
    const path = join(directory, name)
    writeFileSync(path, text)
    return path
  }
  const key = (name: string, ...words: string[]): string => {
    const path = join(directory, name)
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', path, ...words], { stdio: 'ignore' })
    return path
  }
  const places = (): string[] =>
    [...new Set([process.env['XDG_RUNTIME_DIR'] ?? '/tmp', tmpdir(), '/tmp'])].filter((path) => existsSync(path))
  const leftOvers = (): string[] =>
    places().flatMap((path) => readdirSync(path).filter((name) => name.startsWith(`cahier-ssh-${process.pid}-`)))

  it('keeps the streams of a command apart and tells its exit code', async () => {
    const connection = await open('h1')
    const result = await collect(await connection.exec('echo out; echo err >&2; exit 3'))
    expect(result).toEqual({ stdout: 'out\n', stderr: 'err\n', exitCode: 3, lost: undefined })
  })

  it('logs in once for many commands at a time', async () => {
    const before = bed.logins('h1')
    const connection = await open('h1')
    for (let round = 0; round < 3; round++) {
      const results = await Promise.all([1, 2, 3].map(async (n) => collect(await connection.exec(`echo ${n}`))))
      expect(results.map((result) => result.stdout)).toEqual(['1\n', '2\n', '3\n'])
    }
    expect(bed.logins('h1') - before).toBe(1)
  })

  it.each([0, 1, 126, 127, 254, 255])('tells exit code %i from a lost connection', async (code) => {
    const connection = await open('h1')
    expect(await collect(await connection.exec(`exit ${code}`))).toMatchObject({ exitCode: code, lost: undefined })
  })

  it('carries bytes both ways, with the end of stdin', async () => {
    const connection = await open('h1')
    const channel = await connection.exec('cat')
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 256))
    const chunks: Buffer[] = []
    channel.listen((_, chunk) => chunks.push(chunk))
    await channel.write(bytes)
    channel.end()
    expect((await channel.closed).exitCode).toBe(0)
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true)
  })

  it('makes the other side wait while it is paused', async () => {
    const connection = await open('h1')
    const channel = await connection.exec('head -c 50000000 /dev/zero')
    let got = 0
    channel.listen((_, chunk) => {
      got += chunk.length
    })
    channel.pause()
    await pause(300)
    const held = got
    expect(held).toBeLessThan(8_000_000)
    channel.resume()
    expect((await channel.closed).exitCode).toBe(0)
    expect(got).toBe(50_000_000)
  })

  it('throws away output that nobody listens to', async () => {
    const connection = await open('h1')
    const channel = await connection.exec('head -c 20000000 /dev/zero')
    expect((await channel.closed).exitCode).toBe(0)
  })

  it('says that nobody reads stdin any more', async () => {
    const connection = await open('h1')
    const channel = await connection.exec('exec <&-; sleep 0.1')
    await channel.closed
    await expect(channel.write(Buffer.alloc(10))).rejects.toMatchObject({ code: 'E_STDIN' })
  })

  it('gives a terminal when one is asked for', async () => {
    const connection = await open('h1')
    const result = await collect(await connection.exec('test -t 0 && echo terminal', { pty: true }))
    expect(result.stdout).toContain('terminal')
  })

  it('runs nothing for an empty command, instead of a login shell', async () => {
    const connection = await open('h1')
    expect(await collect(await connection.exec(''))).toMatchObject({ exitCode: 0, stdout: '' })
  })

  it('refuses a command that no argument can hold', async () => {
    const connection = await open('h1')
    await expect(connection.exec(`: ${'x'.repeat(200_000)}`)).rejects.toMatchObject({ code: 'E_NOT_SUPPORTED' })
    expect(await collect(await connection.exec('echo still'))).toMatchObject({ stdout: 'still\n' })
  })

  it('refuses a session beyond what the server gives, and never logs in again for it', async () => {
    const before = bed.logins('h2')
    const connection = await open('h2')
    const channels = await Promise.all([1, 2, 3].map(() => connection.exec('sleep 30')))
    await expect(connection.exec('true')).rejects.toMatchObject({ code: 'E_HOST_DROPPED' })
    expect(bed.logins('h2') - before).toBe(1)
    for (const channel of channels) channel.close()
    await Promise.all(channels.map((channel) => channel.closed))
  })

  it('forwards a stream to a port that the host sees', async () => {
    const connection = await open('h1')
    const other = bed.hosts[1]!
    const stream = await connection.forwardOut(other.address, other.port)
    const [first] = (await once(stream, 'data')) as [Buffer]
    expect(first.toString()).toMatch(/^SSH-2\.0-/)
    stream.destroy()
  })

  it('names the reason for a port that cannot be forwarded', async () => {
    const connection = await open('h1')
    await expect(connection.forwardOut('127.0.0.1', 1)).rejects.toMatchObject({
      code: 'E_FORWARD',
      message: expect.stringContaining('Connection refused'),
      suggestions: ['Look whether a program listens at 127.0.0.1:1, as seen from there'],
    })
  })

  it('tells of a connection that is cut while a command runs', async () => {
    const connection = await open('h3')
    const channel = await connection.exec('echo begun; sleep 60')
    const begun = new Promise<void>((resolve) => channel.listen(() => resolve()))
    await begun
    bed.dropSessions('h3')
    const lost = await connection.lost
    expect(lost).toMatchObject({ code: 'E_CONNECTION_LOST', message: expect.stringContaining('h3') })
    expect(await channel.closed).toMatchObject({ exitCode: undefined, lost: { code: 'E_CONNECTION_LOST' } })
    await expect(connection.exec('true')).rejects.toMatchObject({ code: 'E_CONNECTION_LOST' })
  })

  it('notices a host that falls silent', async () => {
    const connection = await open('h4', { keepAlive: '1s' })
    bed.cutHost('h4')
    try {
      expect(await connection.lost).toMatchObject({ code: 'E_CONNECTION_LOST', message: expect.stringContaining('no sign of life') })
    } finally {
      bed.thawHost('h4')
    }
  })

  it('lets go of a channel at once', async () => {
    const connection = await open('h1')
    const channel = await connection.exec('sleep 60')
    channel.close()
    expect(await channel.closed).toEqual({ exitCode: undefined, signal: undefined, lost: undefined })
  })

  it('ends its masters and leaves nothing behind', async () => {
    const made = make()
    const connection = await open('h1')
    expect(leftOvers()).toHaveLength(1)
    // The server may still be about to end those of the tests before.
    await expect.poll(() => bed.sessions('h1'), soon).toBe(1)
    await connection[Symbol.asyncDispose]()
    await expect.poll(() => bed.sessions('h1'), soon).toBe(0)
    await open('h1')
    await made[Symbol.asyncDispose]()
    await expect.poll(() => bed.sessions('h1'), soon).toBe(0)
    expect(leftOvers()).toEqual([])
  })

  it('uses a master that the user has open, and leaves it open', async () => {
    const path = join(directory, 'own-%C')
    const file = config('own', `${readFileSync(bed.sshConfig, 'utf8')}\nHost *\n  ControlPath ${path}\n`)
    const before = bed.logins('h1')
    spawnSync('ssh', ['-F', file, '-M', '-N', '-f', '-o', 'ControlPersist=60', 'h1'], { stdio: 'ignore' })
    const { target, connector: chosen, why: because } = await resolveTarget({ address: 'h1' }, connectionSchema.parse({ sshConfig: file }))
    expect([chosen, because]).toEqual(['openssh', expect.stringContaining('a master of yours')])
    const connection = await make().connect(target)
    expect(await collect(await connection.exec('echo through'))).toMatchObject({ stdout: 'through\n' })
    // That of the user's master: sshd may write it down a moment after that is there.
    expect(bed.logins('h1') - before).toBe(1)
    await connection[Symbol.asyncDispose]()
    const socket = target.openssh.options.find((option) => option.startsWith('ControlPath='))!.slice('ControlPath='.length)
    const control = await MuxControl.open(socket, 30_000)
    expect(control).toBeDefined()
    control!.terminate()
    await control!.closed
  })

  describe('when the program that made it is killed', () => {
    const program = `
      import { OpensshConnector } from ${JSON.stringify(new URL('../../dist/ssh/openssh-connector.js', import.meta.url).href)}
      const connection = await new OpensshConnector().connect(JSON.parse(process.argv[1]))
      const channel = await connection.exec('trap "" HUP PIPE; while :; do sleep 1; done')
      console.log(connection.target.name)
      setInterval(() => {}, 1000)`
    /** Starts a command that does not end, kills its controller, and says what of it is left here: the ids of its processes. */
    const killController = async (target: SshTarget): Promise<() => number[]> => {
      const mark = `cahier-killed-${process.pid}-${Math.random()}`
      const env = { ...process.env, CAHIER_KILLED: mark }
      const words = ['--input-type=module', '-e', program, JSON.stringify(target)]
      const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'], env })
      try {
        await once(child.stdout, 'data')
      } finally {
        child.kill('SIGKILL')
      }
      return () => processesWith(mark)
    }

    it('ends its masters and clients, whatever still runs on the host', async () => {
      const left = await killController(await targetOf('h1'))
      await expect.poll(left, soon).toEqual([])
      await expect.poll(() => bed.sessions('h1'), soon).toBe(0)
    })

    it('ends its clients over a master of the user, and leaves that open', async () => {
      const path = join(directory, 'kept-%C')
      const file = config('kept', `${readFileSync(bed.sshConfig, 'utf8')}\nHost *\n  ControlPath ${path}\n`)
      spawnSync('ssh', ['-F', file, '-M', '-N', '-f', '-o', 'ControlPersist=60', 'h1'], { stdio: 'ignore' })
      const target = await targetOf('h1', { sshConfig: file })
      const left = await killController(target)
      await expect.poll(left, soon).toEqual([])
      const control = await MuxControl.open(
        target.openssh.options.find((each) => each.startsWith('ControlPath='))!.slice('ControlPath='.length),
        30_000,
      )
      expect(control).toBeDefined()
      control!.terminate()
      await control!.closed
    })
  })

  describe('on the way', () => {
    it('goes through two gateways, each logged into once for all hosts behind them', async () => {
      const before = [bed.logins('h1'), bed.logins('h2')]
      const connections = await Promise.all([open({ address: 'h3', jump: 'h1,h2' }), open({ address: 'h4', jump: 'h1,h2' })])
      const results = await Promise.all(connections.map(async (connection) => collect(await connection.exec('echo $SSH_CONNECTION'))))
      expect(results.map((result) => result.exitCode)).toEqual([0, 0])
      expect([bed.logins('h1'), bed.logins('h2')]).toEqual(before.map((count) => count + 1))
      await Promise.all(connections.map((connection) => connection[Symbol.asyncDispose]()))
      await expect.poll(() => bed.sessions('h1') + bed.sessions('h2'), soon).toBe(0)
    })

    it('names the host behind the gateway that refuses, and who saw it', async () => {
      bed.stopHost('h4')
      try {
        await expect(open({ address: 'h4', jump: 'h1' })).rejects.toMatchObject({
          code: 'E_HOST_REFUSED',
          message: expect.stringMatching(/^h4 .*refused the connection.*as seen from h1/),
        })
      } finally {
        await bed.startHost('h4')
      }
    })

    it('names the gateway when it is the gateway that refuses', async () => {
      bed.stopHost('h4')
      try {
        await expect(open({ address: 'h3', jump: 'h4' })).rejects.toMatchObject({
          code: 'E_HOST_REFUSED',
          message: expect.stringContaining('h4 ('),
        })
      } finally {
        await bed.startHost('h4')
      }
    })

    it('takes a ProxyCommand of the configuration', async () => {
      const first = bed.hosts[0]!
      const file = config(
        'proxy',
        `Host h1\n  ProxyCommand ssh -F ${bed.sshConfig} -W ${first.address}:${first.port} h2\n${readFileSync(bed.sshConfig, 'utf8')}`,
      )
      const found = await resolveTarget({ address: 'h1' }, connectionSchema.parse({ sshConfig: file }))
      expect([found.connector, found.why]).toEqual(['openssh', 'openssh because the configuration asks for ProxyCommand'])
      const connection = await make().connect(found.target)
      expect(await collect(await connection.exec('echo through'))).toMatchObject({ stdout: 'through\n' })
    })

    it('says that it was the ProxyCommand that failed', async () => {
      const file = config('noproxy', `Host h1\n  ProxyCommand exit 1\n${readFileSync(bed.sshConfig, 'utf8')}`)
      await expect(open('h1', { sshConfig: file })).rejects.toMatchObject({ message: expect.stringContaining('ProxyCommand') })
    })
  })

  describe('host keys', () => {
    const knownLine = (host: { address: string; port: number }, publicKey: string): string =>
      `[${host.address}]:${host.port} ${publicKey.split(' ').slice(0, 2).join(' ')}\n`
    const plain = (text = ''): string => {
      const { identity } = bed
      return `Host *\n  IdentityFile ${identity}\n  IdentitiesOnly yes\n  IdentityAgent none\n  GlobalKnownHostsFile /dev/null\n${text}`
    }
    const known = (name: string, text: string): string => {
      const path = join(directory, name)
      writeFileSync(path, text)
      return path
    }
    const here = (): HostSpec => ({ address: bed.hosts[0]!.address, port: bed.hosts[0]!.port })
    const shown = (): string => readFileSync(join(bed.hosts[0]!.directory, 'hostkey.pub'), 'utf8').split(' ').slice(0, 2).join(' ')

    it('knows hosts whose names are hashed', async () => {
      const file = known('hashed', knownLine(bed.hosts[0]!, shown()))
      execFileSync('ssh-keygen', ['-H', '-f', file], { stdio: 'ignore' })
      expect(readFileSync(file, 'utf8')).toMatch(/^\|1\|/)
      const sshConfig = config('plain', plain())
      await open(here(), { sshConfig, knownHostsFiles: [file] })
    })

    it('refuses a host that is not known, with its fingerprint', async () => {
      const sshConfig = config('plain', plain())
      await expect(open(here(), { sshConfig, knownHostsFiles: [known('empty', '')] })).rejects.toMatchObject({
        code: 'E_HOST_KEY_UNKNOWN',
        message: expect.stringMatching(/shows the ssh-ed25519 key SHA256:\S{43}, and no key is known/),
      })
    })

    it('takes a new key down only when that is asked for, and refuses it when it has changed', async () => {
      const sshConfig = config('plain', plain())
      const file = known('new', '')
      await open(here(), { sshConfig, knownHostsFiles: [file], hostKeys: 'accept-new' })
      expect(readFileSync(file, 'utf8')).toContain('ssh-ed25519')
      const other = key('otherhost')
      writeFileSync(file, knownLine(bed.hosts[0]!, readFileSync(`${other}.pub`, 'utf8')))
      await expect(open(here(), { sshConfig, knownHostsFiles: [file], hostKeys: 'accept-new' })).rejects.toMatchObject({
        code: 'E_HOST_KEY_CHANGED',
        message: expect.stringMatching(
          /shows the ssh-ed25519 key SHA256:\S{43}, but the one known for it is the ssh-ed25519 key SHA256:\S{43} in /,
        ),
      })
    })

    it('refuses a key that is revoked', async () => {
      const sshConfig = config('plain', plain())
      const file = known('revoked', `${knownLine(bed.hosts[0]!, shown())}@revoked * ${shown()}\n`)
      await expect(open(here(), { sshConfig, knownHostsFiles: [file] })).rejects.toMatchObject({ code: 'E_HOST_KEY_REVOKED' })
    })

    it('trusts a host whose key an authority has signed, and refuses it when the authority is another', async () => {
      const authority = key('authority')
      const hostKey = key('certified')
      execFileSync('ssh-keygen', ['-q', '-s', authority, '-I', 'host', '-h', '-n', 'certified.example', `${hostKey}.pub`], {
        stdio: 'ignore',
      })
      await using own = await startSshHosts(1, { sshdLines: [`HostKey ${hostKey}`, `HostCertificate ${hostKey}-cert.pub`] })
      const host = own.hosts[0]!
      const sshConfig = config(
        'certified.conf',
        `Host certified.example\n  HostName ${host.address}\n  Port ${host.port}\n  HostKeyAlias certified.example\n  IdentityFile ${own.identity}\n  IdentitiesOnly yes\n  GlobalKnownHostsFile /dev/null\n`,
      )
      const trusted = known('trusted', `@cert-authority *.example ${readFileSync(`${authority}.pub`, 'utf8')}`)
      const found = await resolveTarget({ address: 'certified.example' }, connectionSchema.parse({ sshConfig, knownHostsFiles: [trusted] }))
      expect([found.connector, found.why]).toEqual(['openssh', expect.stringContaining('@cert-authority')])
      const connection = await make().connect(found.target)
      expect(await collect(await connection.exec('echo ok'))).toMatchObject({ stdout: 'ok\n' })
      await connection[Symbol.asyncDispose]()

      const wrong = known('wrong', `@cert-authority *.example ${readFileSync(`${key('impostor')}.pub`, 'utf8')}`)
      await expect(open('certified.example', { sshConfig, knownHostsFiles: [wrong] })).rejects.toMatchObject({ code: 'E_HOST_KEY_UNKNOWN' })
    })
  })

  describe('logins', () => {
    const withKey = (name: string, identity: string, text = ''): string => {
      const names = readFileSync(bed.sshConfig, 'utf8').split('Host *')[0]!
      const { port } = bed.hosts[0]!
      return config(
        name,
        `${names}Host *\n  User ${bed.user}\n  Port ${port}\n  IdentityFile ${identity}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile ${bed.knownHosts}\n  GlobalKnownHostsFile /dev/null\n${text}`,
      )
    }

    it('says which key was refused', async () => {
      const stranger = key('stranger')
      await expect(open('h1', { sshConfig: withKey('stranger.conf', stranger) })).rejects.toMatchObject({
        code: 'E_LOGIN_REFUSED',
        message: expect.stringContaining(stranger),
      })
    })

    it('shows a certificate of the user', async () => {
      const authority = key('users')
      const identity = key('certuser')
      execFileSync('ssh-keygen', ['-q', '-s', authority, '-I', 'user', '-n', bed.user, `${identity}.pub`], { stdio: 'ignore' })
      await using own = await startSshHosts(1, { sshdLines: [`TrustedUserCAKeys ${authority}.pub`] })
      const host = own.hosts[0]!
      const sshConfig = config(
        'certuser.conf',
        `Host h1\n  HostName ${host.address}\n  Port ${host.port}\n  HostKeyAlias h1\n  IdentityFile ${identity}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile ${own.knownHosts}\n  GlobalKnownHostsFile /dev/null\n`,
      )
      const found = await resolveTarget({ address: 'h1' }, connectionSchema.parse({ sshConfig }))
      expect([found.connector, found.why]).toEqual(['openssh', expect.stringContaining('certificate')])
      const connection = await make().connect(found.target)
      expect(await collect(await connection.exec('echo in'))).toMatchObject({ stdout: 'in\n' })
      await connection[Symbol.asyncDispose]()
    })

    describe('with a passphrase', () => {
      let locked: string
      let own: SshHosts
      beforeAll(async () => {
        locked = join(directory, 'locked')
        execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'open sesame', '-f', locked], { stdio: 'ignore' })
        const file = join(directory, 'authorized')
        writeFileSync(file, readFileSync(`${locked}.pub`, 'utf8'))
        own = await startSshHosts(6, { sshdLines: [`AuthorizedKeysFile ${file}`] })
      })
      afterAll(() => own?.stop())
      const lockedConfig = (): string => {
        const names = readFileSync(own.sshConfig, 'utf8').split('Host *')[0]!
        return config(
          'locked.conf',
          `${names}Host *\n  Port ${own.hosts[0]!.port}\n  IdentityFile ${locked}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile ${own.knownHosts}\n  GlobalKnownHostsFile /dev/null\n`,
        )
      }

      it('asks once for many hosts', async () => {
        const questions: string[] = []
        make({
          prompts: {
            ask: async ({ text, secret }) => {
              questions.push(`${text} ${secret}`)
              return 'open sesame'
            },
          },
        })
        const sshConfig = lockedConfig()
        const connections = await Promise.all(own.hosts.map((host) => open(host.name, { sshConfig })))
        expect(connections).toHaveLength(6)
        expect(questions).toEqual([`Enter passphrase for key '${locked}': true`])
      })

      it('asks again after a wrong answer', async () => {
        const answers = ['wrong', 'open sesame']
        make({ prompts: { ask: async () => answers.shift() } })
        await open('h1', { sshConfig: lockedConfig() })
        expect(answers).toEqual([])
      })

      it('says that a passphrase is needed when nobody answers', async () => {
        make({ prompts: { ask: async () => undefined } })
        await expect(open('h1', { sshConfig: lockedConfig() })).rejects.toMatchObject({
          code: 'E_LOGIN_NEEDED',
          message: expect.stringContaining(`the passphrase of ${locked}`),
        })
      })

      it('says so too when nobody can be asked', async () => {
        await expect(open('h1', { sshConfig: lockedConfig() })).rejects.toMatchObject({
          code: 'E_LOGIN_NEEDED',
          message: expect.stringContaining(`the passphrase of ${locked}`),
        })
      })
    })

    it('asks for a security key that is not there', async () => {
      const file = join(directory, 'fido')
      const publicKey = writeSecurityKey(file)
      const authorized = join(directory, 'fido-authorized')
      writeFileSync(authorized, publicKey)
      await using own = await startSshHosts(1, { sshdLines: [`AuthorizedKeysFile ${authorized}`] })
      const host = own.hosts[0]!
      const sshConfig = config(
        'fido.conf',
        `Host h1\n  HostName ${host.address}\n  Port ${host.port}\n  HostKeyAlias h1\n  IdentityFile ${file}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile ${own.knownHosts}\n  GlobalKnownHostsFile /dev/null\n`,
      )
      const found = await resolveTarget({ address: 'h1' }, connectionSchema.parse({ sshConfig }))
      expect([found.connector, found.why]).toEqual(['openssh', expect.stringContaining('security key')])
      await expect(make().connect(found.target)).rejects.toMatchObject({
        code: 'E_LOGIN_REFUSED',
        suggestions: expect.arrayContaining([expect.stringContaining('Plug in the security key')]),
      })
    })
  })

  describe('hosts that cannot be reached', () => {
    it('refused', async () => {
      bed.stopHost('h4')
      try {
        const { address, port } = bed.hosts[3]!
        await expect(open('h4')).rejects.toMatchObject({
          code: 'E_HOST_REFUSED',
          message: `h4 (${address}:${port}) refused the connection: nothing listens there`,
        })
      } finally {
        await bed.startHost('h4')
      }
    })

    it('silent after the connection', async () => {
      bed.freezeHost('h4')
      try {
        // Long enough to come to a connection first.
        await expect(open('h4', { connectTimeout: '6s' })).rejects.toMatchObject({
          code: 'E_HOST_TIMEOUT',
          message: expect.stringContaining('said nothing within 6 s'),
        })
      } finally {
        bed.thawHost('h4')
      }
    })

    it('unknown', async () => {
      await expect(open('no-such-host.invalid')).rejects.toMatchObject({ code: 'E_HOST_NAME' })
    })

    it('given up', async () => {
      bed.freezeHost('h4')
      try {
        const target = await targetOf('h4')
        const giveUp = new AbortController()
        const connecting = make().connect(target, { signal: giveUp.signal })
        setTimeout(() => giveUp.abort(), 100)
        await expect(connecting).rejects.toMatchObject({ code: 'E_ABORTED' })
      } finally {
        bed.thawHost('h4')
      }
    })

    it('no client on this machine', async () => {
      const target = await targetOf('h1')
      await expect(make({ program: '/nonexistent/ssh' }).connect(target)).rejects.toMatchObject({ code: 'E_PROGRAM_NOT_FOUND' })
    })
  })
})

/** A key of a token that nobody has: only its public half can be right. @source openssh-portable PROTOCOL.u2f */
function writeSecurityKey(path: string): string {
  const field = (value: string | Buffer): Buffer => {
    const bytes = Buffer.from(value as string)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  }
  const type = 'sk-ssh-ed25519@openssh.com'
  const point = Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex')
  const blob = Buffer.concat([field(type), field(point), field('ssh:')])
  const check = Buffer.from('01020304', 'hex')
  let secret = Buffer.concat([check, check, blob, Buffer.from([1]), field(Buffer.alloc(64, 7)), field(''), field('fido')])
  secret = Buffer.concat([secret, Buffer.from(Array.from({ length: (8 - (secret.length % 8)) % 8 }, (_, i) => i + 1))])
  const whole = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field('none'),
    field('none'),
    field(''),
    Buffer.from([0, 0, 0, 1]),
    field(blob),
    field(secret),
  ])
  const lines = whole
    .toString('base64')
    .match(/.{1,70}/g)!
    .join('\n')
  writeFileSync(path, `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`, { mode: 0o600 })
  const publicKey = `${type} ${blob.toString('base64')} fido\n`
  writeFileSync(`${path}.pub`, publicKey)
  return publicKey
}
