import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type ConnectionOptions, connectionSchema } from '../../src/model/connection.js'
import type { HostSpec } from '../../src/model/host.js'
import { type Resolved, resolveTarget } from '../../src/ssh/resolve-target.js'
import { parseAnswer } from '../../src/ssh/ssh-config.js'
import { needOfOptions, typesOfIdentities } from '../../src/ssh/ssh-needs.js'

const hasSsh = spawnSync('ssh', ['-V']).status === 0
let directory: string
let files = 0
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'cahier-resolve-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const write = (text: string): string => {
  const path = join(directory, `config${++files}`)
  writeFileSync(path, text)
  return path
}
const resolve = (host: HostSpec | string, config: string, options: ConnectionOptions = {}): Promise<Resolved> =>
  resolveTarget(
    typeof host === 'string' ? { address: host } : host,
    connectionSchema.parse({ sshConfig: write(config), agent: false, ...options }),
  )

describe.skipIf(!hasSsh)(`resolveTarget${hasSsh ? '' : ' (needs ssh)'}`, () => {
  it('takes what the host says before the connection, that before the configuration, that before the defaults', async () => {
    const config = 'Host node1\n  User carol\n  Port 1003\n  IdentityFile /keys/config\n  HostName node1.example\n'
    const all = { user: 'bob', port: 1002, keyFiles: ['/keys/connection'] }
    const first = await resolve({ address: 'node1', user: 'alice', port: 1001, keyFile: '/keys/host' }, config, all)
    expect(first.target).toMatchObject({
      name: 'node1',
      address: 'node1.example',
      user: 'alice',
      port: 1001,
      keyFiles: ['/keys/host'],
      identitiesOnly: true,
    })
    const second = await resolve('node1', config, all)
    expect(second.target).toMatchObject({ user: 'bob', port: 1002, keyFiles: ['/keys/connection'] })
    const third = await resolve('node1', config)
    expect(third.target).toMatchObject({ user: 'carol', port: 1003, keyFiles: ['/keys/config'], identitiesOnly: false })
    const fourth = await resolve('node2', config)
    expect(fourth.target).toMatchObject({ address: 'node2', user: userInfo().username, port: 22, hostKeys: 'strict' })
    expect(fourth.target.keyFiles).toContain(join(userInfo().homedir, '.ssh/id_ed25519'))
    expect(fourth.target.knownHostsFiles[0]).toBe(join(userInfo().homedir, '.ssh/known_hosts'))
  })

  it('tells the client of ssh what the configuration does not say', async () => {
    const { target } = await resolve({ address: 'node1', user: 'alice', port: 99 }, '', {
      keyFiles: ['~/a key'],
      knownHostsFiles: ['/k/100%'],
      connector: 'openssh',
    })
    expect(target.openssh.destination).toBe('node1')
    expect(target.openssh.options).toEqual([
      'User=alice',
      'Port=99',
      `IdentityFile="${userInfo().homedir}/a key"`,
      'IdentitiesOnly=yes',
      'IdentityAgent=none',
      'UserKnownHostsFile="/k/100%%"',
      'GlobalKnownHostsFile=/dev/null',
    ])
  })

  it('puts values for tokens that ssh leaves to us', async () => {
    const { target } = await resolve('node1', 'Host *\n  User alice\n  IdentityFile %d/%u-%r-%h-%%\n  HostKeyAlias key-%h\n')
    expect(target.keyFiles).toEqual([`${userInfo().homedir}/${userInfo().username}-alice-node1-%`])
    expect(target.hostKeyAlias).toBe('key-node1')
  })

  it('knows whether the names of new hosts are to be hashed', async () => {
    expect((await resolve('node1', 'HashKnownHosts yes\n')).target.hashKnownHosts).toBe(true)
    expect((await resolve('node1', 'HashKnownHosts no\n')).target.hashKnownHosts).toBe(false)
  })

  it('rewrites addresses just before', async () => {
    const config = 'Host *.kavlan\n  User deployed\n'
    const rule = { pattern: '^(.*)-(\\d+)$', replacement: '$1-$2.kavlan' }
    expect((await resolve('gros-7', config, { hostRewrite: rule })).target).toMatchObject({
      name: 'gros-7',
      address: 'gros-7.kavlan',
      user: 'deployed',
    })
    expect((await resolve('gros-7', config, { hostRewrite: (address) => `${address}.kavlan` })).target.openssh.destination).toBe(
      'gros-7.kavlan',
    )
  })

  it.each([
    ['yes', 'strict'],
    ['ask', 'strict'],
    ['accept-new', 'accept-new'],
    ['no', 'accept-new'],
    ['off', 'accept-new'],
  ])('StrictHostKeyChecking %s is %s', async (word, expected) => {
    expect((await resolve('a', `Host *\n  StrictHostKeyChecking ${word}\n`)).target.hostKeys).toBe(expected)
    expect((await resolve('a', `Host *\n  StrictHostKeyChecking ${word}\n`, { hostKeys: 'strict' })).target.hostKeys).toBe('strict')
  })

  describe('jumps', () => {
    const names = async (host: HostSpec | string, config: string, options: ConnectionOptions = {}): Promise<string[]> =>
      (await resolve(host, config, options)).target.jumps.map((jump) => `${jump.user}@${jump.address}:${jump.port}`)

    it('come from the host, the connection, or the configuration, each resolved by itself', async () => {
      const config =
        'Host gate\n  HostName gate.example\n  User guard\nHost inner\n  Port 24\n  User keeper\nHost node*\n  ProxyJump gate\n'
      expect(await names('node1', config)).toEqual(['guard@gate.example:22'])
      expect(await names('node1', config, { jump: 'inner' })).toEqual(['keeper@inner:24'])
      expect(await names({ address: 'node1', jump: 'me@gate:23,inner' }, config, { jump: 'x', user: 'nobody', port: 1 })).toEqual([
        'me@gate.example:23',
        'keeper@inner:24',
      ])
      expect(await names({ address: 'node1', jump: 'none' }, config)).toEqual([])
    })

    it('follow the way of the first, as ssh does', async () => {
      const config = 'Host *\n  User u\nHost one\n  ProxyJump zero\nHost two\n  ProxyJump other\n'
      expect(await names({ address: 'node', jump: 'one,two' }, config)).toEqual(['u@zero:22', 'u@one:22', 'u@two:22'])
      const { target } = await resolve({ address: 'node', jump: 'one,two' }, config)
      expect(target.jumps.map((jump) => jump.jumps.map((before) => before.name))).toEqual([[], ['zero'], ['zero', 'one']])
    })

    it('share keys, agent and known hosts of the connection, not its user and port', async () => {
      const { target } = await resolve({ address: 'node', jump: 'gate' }, '', {
        keyFiles: ['/k'],
        user: 'u',
        port: 9,
        hostKeys: 'accept-new',
      })
      expect(target.jumps[0]).toMatchObject({ keyFiles: ['/k'], user: userInfo().username, port: 22, hostKeys: 'accept-new' })
    })

    it.each([
      ['Host *\n  ProxyJump gate\n', 'gate'],
      ['Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n', 'a'],
      ['Host a\n  ProxyJump b,b\n', 'a'],
    ])('that lead in a circle are refused: %j', async (config, host) => {
      await expect(resolve(host, config)).rejects.toMatchObject({ code: 'E_SSH_CONFIG' })
    })

    it('that are no hosts are refused', async () => {
      await expect(resolve({ address: 'a', jump: 'b,-oProxyCommand=x' }, '')).rejects.toMatchObject({ code: 'E_SSH_CONFIG' })
    })
  })

  it.each(['-oProxyCommand=x', 'a;b', '$(id)', 'a b', '', 'x`y`', 'a@b'])('refuses %j as a name', async (address) => {
    await expect(resolve({ address }, '')).rejects.toMatchObject({ code: 'E_ARGUMENT' })
  })

  it.each(['-l', 'a;b', "o'brien", 'x\ny'])('refuses %j as a user', async (user) => {
    await expect(resolve({ address: 'a', user }, '')).rejects.toMatchObject({ code: 'E_ARGUMENT' })
    await expect(resolve('a', '', { user })).rejects.toMatchObject({ code: 'E_ARGUMENT' })
  })

  it('takes ~ in the name of a configuration for the home folder', async () => {
    await expect(resolve('a', '', { sshConfig: '~/no/such/file' })).rejects.toMatchObject({
      code: 'E_SSH_CONFIG',
      message: expect.stringContaining(`${userInfo().homedir}/no/such/file`),
    })
  })

  it('refuses a rule for addresses that is no regular expression', async () => {
    await expect(resolve('a', '', { hostRewrite: { pattern: '(', replacement: '' } })).rejects.toMatchObject({ code: 'E_ARGUMENT' })
  })

  describe('the connector', () => {
    it('is ssh2 where that can do everything', async () => {
      const found = await resolve('a', 'Host *\n  User x\n  ServerAliveInterval 5\n')
      expect([found.connector, found.why]).toEqual(['ssh2', 'ssh2 because it can do all that the configuration asks for'])
    })

    it.each([
      ['ProxyCommand', 'ProxyCommand nc %h %p'],
      ['CertificateFile', 'CertificateFile ~/.ssh/cert.pub'],
      ['PKCS11Provider', 'PKCS11Provider /lib/x.so'],
      ['SecurityKeyProvider', 'SecurityKeyProvider /lib/x.so'],
      ['KnownHostsCommand', 'KnownHostsCommand /bin/keys %H'],
      ['HostbasedAuthentication', 'HostbasedAuthentication yes'],
      ['VerifyHostKeyDNS', 'VerifyHostKeyDNS yes'],
      ['BindAddress', 'BindAddress 127.0.0.1'],
    ])('is openssh for %s, and asking for ssh2 is refused', async (option, line) => {
      const config = `Host *\n  ${line}\n`
      const found = await resolve('a', config)
      expect([found.connector, found.why]).toEqual(['openssh', `openssh because the configuration asks for ${option}`])
      await expect(resolve('a', config, { connector: 'ssh2' })).rejects.toMatchObject({
        code: 'E_SSH_CONFIG',
        message: expect.stringContaining(option),
      })
    })

    it('is openssh when a host on the way needs it, and says which', async () => {
      const found = await resolve({ address: 'a', jump: 'gate' }, 'Host gate\n  ProxyCommand nc %h %p\n')
      expect([found.connector, found.why]).toEqual(['openssh', 'openssh because the configuration asks for ProxyCommand (gate)'])
    })

    it('is what was asked for', async () => {
      expect(await resolve('a', '', { connector: 'openssh' })).toMatchObject({
        connector: 'openssh',
        why: expect.stringContaining('the connection options say so'),
      })
      expect(await resolve('a', '', { connector: 'ssh2' })).toMatchObject({
        connector: 'ssh2',
        why: expect.stringContaining('the connection options say so'),
      })
    })

    it('is openssh where an authority signs host keys, and only there', async () => {
      const key = join(directory, 'ca')
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
      const known = join(directory, 'known')
      writeFileSync(known, `@cert-authority *.site.org ${readFileSync(`${key}.pub`, 'utf8')}`)
      expect(await resolve('a.site.org', '', { knownHostsFiles: [known] })).toMatchObject({
        connector: 'openssh',
        why: expect.stringContaining('@cert-authority'),
      })
      expect(await resolve('a.other.org', '', { knownHostsFiles: [known] })).toMatchObject({ connector: 'ssh2' })
    })

    it('is openssh for a key with a certificate beside it', async () => {
      const key = join(directory, 'plain')
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
      expect(await resolve({ address: 'a', keyFile: key }, '')).toMatchObject({ connector: 'ssh2' })
      const other = join(directory, 'certified')
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', other])
      execFileSync('ssh-keygen', ['-q', '-s', key, '-I', 'x', '-n', 'u', `${other}.pub`], { stdio: 'ignore' })
      expect(await resolve({ address: 'a', keyFile: other }, '')).toMatchObject({
        connector: 'openssh',
        why: expect.stringContaining('certificate'),
      })
    })

    describe('with GSSAPI in the configuration', () => {
      const cache = process.env['KRB5CCNAME']
      afterEach(() => {
        if (cache === undefined) delete process.env['KRB5CCNAME']
        else process.env['KRB5CCNAME'] = cache
      })

      // Debian's own configuration asks for GSSAPI everywhere.
      it('stays ssh2 as long as there is no ticket', async () => {
        process.env['KRB5CCNAME'] = join(directory, 'no-ticket')
        expect(await resolve('a', 'Host *\n  GSSAPIAuthentication yes\n')).toMatchObject({ connector: 'ssh2' })
      })
    })

    it('is openssh when the agent holds a certificate', async () => {
      const socket = join(directory, 'agent')
      const field = (text: string): Buffer => {
        const bytes = Buffer.from(text)
        const length = Buffer.alloc(4)
        length.writeUInt32BE(bytes.length)
        return Buffer.concat([length, bytes])
      }
      const blob = field('ssh-ed25519-cert-v01@openssh.com')
      const length = Buffer.alloc(4)
      length.writeUInt32BE(blob.length)
      const body = Buffer.concat([Buffer.from([12, 0, 0, 0, 1]), length, blob, field('comment')])
      const size = Buffer.alloc(4)
      size.writeUInt32BE(body.length)
      const server = createServer((connection) => connection.once('data', () => connection.write(Buffer.concat([size, body]))))
      await new Promise<void>((done) => server.listen(socket, done))
      try {
        expect(await resolve('a', '', { agent: socket })).toMatchObject({ connector: 'openssh', why: expect.stringContaining('agent') })
        // An agent that is not used does not count.
        expect(await resolve('a', 'Host *\n  IdentitiesOnly yes\n', { agent: socket })).toMatchObject({ connector: 'ssh2' })
      } finally {
        server.close()
      }
    })
  })
})

describe('needOfOptions', () => {
  const answer = (text: string): ReturnType<typeof parseAnswer> => parseAnswer(`hostname a\nport 22\n${text}`)
  it.each([
    'proxycommand none',
    'securitykeyprovider internal',
    'pkcs11provider none',
    'verifyhostkeydns false',
    'gssapiauthentication yes',
    'hostbasedauthentication no',
  ])('sees nothing in %j', (line) => {
    expect(needOfOptions(answer(line))).toBeUndefined()
  })
})

describe('typesOfIdentities', () => {
  it.each(['', '0000000105', '000000090c00000001ffffffff'])('reads nothing from %j', (hex) => {
    expect(typesOfIdentities(Buffer.from(hex, 'hex'))).toEqual([])
  })
})
