import { execFile, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { namesOfNetwork } from './network.mjs'
import { processesWith } from './proc.mjs'
import { type BedOptions, type HostSettings, sshHostsUnavailable, startSshHosts, stopSshHosts } from './ssh-hosts.mjs'
import { makeSshKey } from './ssh-keys.mjs'

const program = fileURLToPath(new URL('./ssh-hosts.mjs', import.meta.url))

interface Answer {
  readonly code: number | string | undefined
  readonly stdout: string
  readonly stderr: string
}

function ssh(...args: readonly string[]): Promise<Answer> {
  return new Promise((resolve) => {
    execFile('ssh', ['-F', ...args], { encoding: 'utf8' }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code ?? undefined), stdout, stderr }),
    )
  })
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (const end = performance.now() + 40_000; !holds(); ) {
    if (performance.now() > end) throw new Error(`it never came to pass that ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const kinds = [
  { kind: 'loopback addresses', options: {} as BedOptions & HostSettings },
  { kind: 'network namespaces', options: { netns: true } as BedOptions & HostSettings },
]

describe.each(kinds)('test hosts on $kind', ({ options }) => {
  const reason = sshHostsUnavailable(options)
  const title = (text: string) => (reason === undefined ? text : `${text} (${reason})`)
  const check = it.skipIf(reason !== undefined)

  check(title('answer a real ssh by name and by address, each with its own name and home'), async () => {
    await using bed = await startSshHosts(3, options)
    const answers = await Promise.all([
      ...bed.hosts.map(({ name }) => ssh(bed.sshConfig, name, 'hostname; pwd')),
      ...bed.hosts.map(({ address }) => ssh(bed.plainConfig, address, 'hostname; pwd')),
    ])
    const expected = bed.hosts.map(({ name, home }) => ({ code: 0, stdout: `${name}\n${home}\n`, stderr: '' }))
    expect(answers).toEqual([...expected, ...expected])
    expect([bed.logins(), bed.logins('h2')]).toEqual([6, 2])
    await until(() => bed.sessions() === 0, 'nobody is logged in any more')
  })

  check(title('leave nothing behind: processes, files, networks'), async () => {
    const bed = await startSshHosts(2, options)
    const net = JSON.parse(readFileSync(join(bed.directory, 'bed.json'), 'utf8')).net as number | undefined
    const detached = 'setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo started'
    expect(await ssh(bed.sshConfig, 'h1', detached)).toMatchObject({ stdout: 'started\n' })
    const open = ssh(bed.sshConfig, 'h2', 'echo up > up; exec sleep 1000')
    await until(() => existsSync(join(bed.hosts[1]!.home, 'up')), 'the second host has a session')
    expect(bed.sessions('h2')).toBe(1)
    expect(processesWith(bed.directory).length).toBeGreaterThan(2)
    await bed.stop()
    expect((await open).code).toBe(255)
    expect(processesWith(bed.directory)).toEqual([])
    expect(existsSync(bed.directory)).toBe(false)
    expect(net === undefined ? [] : namesOfNetwork(net)).toEqual([])
  })

  check(title('go when the program that started them is killed'), async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cahier-killed-'))
    const code = `import { startSshHosts } from ${JSON.stringify(program)}
      await startSshHosts(2, ${JSON.stringify({ ...options, directory })})
      process.stdout.write('up')
      setInterval(() => {}, 1000)`
    const starter = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => starter.stdout.once('data', resolve))
    expect(processesWith(directory).length).toBeGreaterThan(1)
    starter.kill('SIGKILL')
    await until(() => !existsSync(directory) && processesWith(directory).length === 0, 'the hosts are gone')
  })

  check(title('refuse after stopHost, keep what is connected, and listen again after startHost'), async () => {
    await using bed = await startSshHosts(1, options)
    const [host] = bed.hosts
    const open = ssh(bed.sshConfig, 'h1', 'touch up; until [ -e go ]; do sleep 0.05; done; echo done')
    await until(() => existsSync(join(host!.home, 'up')), 'there is a session')
    bed.stopHost('h1')
    expect(await ssh(bed.sshConfig, 'h1', 'true')).toMatchObject({ code: 255, stderr: expect.stringContaining('refused') })
    await bed.startHost('h1')
    expect(await ssh(bed.sshConfig, 'h1', 'touch go')).toMatchObject({ code: 0 })
    expect(await open).toMatchObject({ code: 0, stdout: 'done\n' })
  })

  check(title('never answer while they are frozen, and do afterwards'), async () => {
    await using bed = await startSshHosts(2, options)
    bed.freezeHost('h1')
    const [frozen, other] = await Promise.all([
      ssh(bed.sshConfig, '-o', 'ConnectTimeout=1', 'h1', 'true'),
      ssh(bed.sshConfig, 'h2', 'true'),
    ])
    expect([frozen.code, other.code]).toEqual([255, 0])
    expect(frozen.stderr).toContain('timed out')
    bed.thawHost('h1')
    expect(await ssh(bed.sshConfig, 'h1', 'true')).toMatchObject({ code: 0 })
  })

  check(title('fall silent in all connections while they are cut, and the commands go on'), async () => {
    await using bed = await startSshHosts(1, options)
    const [host] = bed.hosts
    const alive = ['-o', 'ServerAliveInterval=1', '-o', 'ServerAliveCountMax=4']
    const open = ssh(bed.sshConfig, ...alive, 'h1', 'touch up; until [ -e go ]; do sleep 0.05; done; touch done; sleep 100')
    await until(() => existsSync(join(host!.home, 'up')), 'there is a session')
    bed.cutHost('h1')
    expect(await open).toMatchObject({ code: 255 })
    expect(await ssh(bed.sshConfig, '-o', 'ConnectTimeout=1', 'h1', 'true')).toMatchObject({ code: 255 })
    spawnSync('touch', [join(host!.home, 'go')])
    await until(() => existsSync(join(host!.home, 'done')), 'the command goes on')
    bed.thawHost('h1')
    expect(await ssh(bed.sshConfig, 'h1', 'echo back')).toMatchObject({ code: 0, stdout: 'back\n' })
  })

  check(title('drop their connections when asked to'), async () => {
    await using bed = await startSshHosts(1, options)
    const open = ssh(bed.sshConfig, 'h1', 'touch up; sleep 1000')
    await until(() => existsSync(join(bed.hosts[0]!.home, 'up')), 'there is a session')
    bed.dropSessions('h1')
    expect(await open).toMatchObject({ code: 255 })
    expect(await ssh(bed.sshConfig, 'h1', 'true')).toMatchObject({ code: 0 })
  })
})

const reason = sshHostsUnavailable()
const check = it.skipIf(reason !== undefined)
const title = (text: string) => (reason === undefined ? text : `${text} (${reason})`)

describe('the settings of a host', () => {
  check(title('are those of all hosts where nothing else is said'), async () => {
    await using bed = await startSshHosts(2, {
      banner: 'keep out\n',
      overrides: { h2: { rcNoise: Buffer.from([0xff, 0, 0x0a]), banner: 'come in\n', sshdLines: ['SetEnv PLACE=there'] } },
    })
    const [first, second] = await Promise.all([ssh(bed.sshConfig, 'h1', 'echo $PLACE'), ssh(bed.sshConfig, 'h2', 'echo x')])
    expect(first).toEqual({ code: 0, stdout: '\n', stderr: 'keep out\n' })
    expect(second).toEqual({ code: 0, stdout: '\ufffd\0\nx\n', stderr: 'come in\n' })
  })

  check(title('bound the channels of a connection'), async () => {
    await using bed = await startSshHosts(1, { maxSessions: 1 })
    const master = ['-o', `ControlPath=${join(bed.directory, 'master')}`]
    const open = ssh(bed.sshConfig, ...master, '-o', 'ControlMaster=yes', 'h1', 'touch up; until [ -e go ]; do sleep 0.05; done')
    await until(() => existsSync(join(bed.hosts[0]!.home, 'up')), 'there is a session')
    expect((await ssh(bed.sshConfig, ...master, 'h1', 'touch go')).stderr).toContain('Session open refused by peer')
    expect(bed.logins()).toBe(2)
    await open
  })

  check(title('are refused for a directory that has hosts'), async () => {
    await using bed = await startSshHosts(1)
    await expect(startSshHosts(1, { directory: bed.directory })).rejects.toThrow('already')
    expect(await ssh(bed.sshConfig, 'h1', 'true')).toMatchObject({ code: 0 })
  })
})

describe('ssh-hosts.mjs as a program', () => {
  check(title('starts hosts that stay, and ends them'), async () => {
    const directory = join(mkdtempSync(join(tmpdir(), 'cahier-program-')), 'hosts')
    const up = spawnSync(process.execPath, [program, 'up', '2', '--dir', directory], { encoding: 'utf8' })
    expect(up).toMatchObject({ status: 0, stdout: expect.stringContaining(`ssh -F ${directory}/ssh_config h1 hostname`) })
    expect(await ssh(join(directory, 'ssh_config'), 'h2', 'hostname')).toMatchObject({ stdout: 'h2\n' })
    expect(spawnSync(process.execPath, [program, 'down', directory]).status).toBe(0)
    expect(existsSync(directory)).toBe(false)
    expect(processesWith(directory)).toEqual([])
    rmSync(join(directory, '..'), { recursive: true })
  })

  it('says how it is used', () => {
    const { status, stderr } = spawnSync(process.execPath, [program, 'up', 'many'], { encoding: 'utf8' })
    expect(status).toBe(2)
    expect(stderr).toContain('usage')
  })
})

describe('makeSshKey', () => {
  it.skipIf(spawnSync('ssh-keygen', ['-?']).error !== undefined)('writes files that ssh-keygen reads (needs ssh-keygen)', () => {
    const directory = mkdtempSync(join(tmpdir(), 'cahier-key-'))
    for (const comment of ['', 'a', 'a longer comment with blanks']) {
      const { privateKey, publicKey } = makeSshKey(comment)
      const file = join(directory, 'key')
      rmSync(file, { force: true })
      spawnSync('sh', ['-c', 'umask 077; cat > "$0"', file], { input: privateKey })
      const read = spawnSync('ssh-keygen', ['-y', '-f', file], { encoding: 'utf8' })
      expect(read.stdout.trim()).toBe(publicKey.trim())
    }
    rmSync(directory, { recursive: true })
  })

  it('never makes the same key twice', () => {
    expect(makeSshKey('x').publicKey).not.toBe(makeSshKey('x').publicKey)
  })
})

it('a directory without hosts has nothing to stop', async () => {
  await expect(stopSshHosts(tmpdir())).resolves.toBeUndefined()
})
