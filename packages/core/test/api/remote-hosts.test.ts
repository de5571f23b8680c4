import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { sshHostsUnavailable, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import {
  closeConnections,
  filterBadHosts,
  ParallelActions,
  PortForwarder,
  Process,
  Remote,
  Report,
  SequentialActions,
  Serial,
  SshProcess,
  setConnectionDefaults,
  setPrompts,
} from '../../src/index.js'

const reason = sshHostsUnavailable()
const COUNT = 4
const core = new URL('../../', import.meta.url)
const all = `h[1-${COUNT}]`
let bed: Awaited<ReturnType<typeof startSshHosts>>
let folder: string

describe.skipIf(reason !== undefined)(`on real hosts (${reason ?? 'needs sshd'})`, () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'cahier-remote-'))
    bed = await startSshHosts(COUNT)
    setPrompts(undefined)
    setConnectionDefaults({ sshConfig: bed.sshConfig })
  })
  afterEach(async () => {
    for (const { name } of bed.hosts) {
      bed.thawHost(name)
      await bed.startHost(name)
    }
  })
  afterAll(async () => {
    await closeConnections()
    setConnectionDefaults({})
    await bed?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it('a process is like one of this machine, on its host', async () => {
    const one = await new SshProcess('echo "out $WHO"; echo err >&2; cat; exit 3', 'h1', {
      stdin: { text: 'text\n' },
      env: { WHO: "it's me" },
      cwd: folder,
      ignore: ['exit-code'],
    }).run()
    expect(one).toMatchObject({ stdout: "out it's me\ntext\n", stderr: 'err\n', exitCode: 3, unreachable: false, error: false })
    expect(one.result).toMatchObject({ outcome: 'exited', host: 'h1' })
    expect((await new SshProcess(['echo', '$HOME', "it's"], 'h1').run()).stdout).toBe("$HOME it's\n")
    expect((await new SshProcess('no-such-command', 'h1', { nolog: ['exit-code'] }).run()).exitCode).toBe(127)
  })

  it('a command runs on all hosts, its values by position, with one login for each host', async () => {
    const first = await new Remote('echo {{host}} {{x}}; test -d "$HOME"', all, { values: { x: ['a b', '$(reboot)', "it's"] } }).run()
    expect(first.processes.map(({ stdout, stderr }) => stdout + stderr)).toEqual(['h1 a b\n', 'h2 $(reboot)\n', "h3 it's\n", 'h4 a b\n'])
    const before = bed.logins()
    const again = await new Remote('exit {{n}}', [all, all], { values: { n: [0, 3] }, process: { nolog: ['exit-code'] } }).run()
    expect(again.worstExitCode).toBe(3)
    expect(again.byOutput().map(({ hosts, exitCode, processes }) => [hosts, exitCode, processes.length])).toEqual([
      ['h[1,3]', 0, 4],
      ['h[2,4]', 3, 4],
    ])
    expect(bed.logins()).toBe(before)
  })

  it('output comes while it runs, text goes there, and killing it ends what runs there', async () => {
    const token = `cahier-test-${process.pid}-${Date.now()}`
    const command = 'while read x; do (sleep 1000 &) ; echo {{host}} got "$x"; done; sleep 1001'
    const shells = new Remote(command, all, { process: { stdin: 'pipe', env: { TOKEN: token } } }).start()
    await shells.write('one\n')
    const found = await shells.expect(/(h\d) got one/, { timeout: '30s' })
    expect(found.map(({ match }) => match?.[1])).toEqual(['h1', 'h2', 'h3', 'h4'])
    // One that is just becoming `sleep` has no environment for a moment.
    await expect.poll(() => withToken(token).length, { timeout: 20_000 }).toBeGreaterThanOrEqual(2 * COUNT)
    await shells.kill().wait({ timeout: '30s' })
    expect(shells).toMatchObject({ ended: true, ok: true })
    expect(withToken(token)).toEqual([])
  })

  it('the end of stdin ends who reads it', async () => {
    const sort = new SshProcess(['sort'], 'h2', { stdin: 'pipe' }).start()
    await sort.write('b\n')
    await sort.write('a\n')
    await sort.closeStdin().wait({ timeout: '30s' })
    expect(sort).toMatchObject({ stdout: 'a\nb\n', ok: true })
  })

  it('on a terminal, stderr is part of stdout', async () => {
    const one = await new SshProcess('tty >/dev/null && echo terminal; echo err >&2', 'h1', { pty: true }).run()
    expect(one.stdout.replaceAll('\r', '')).toBe('terminal\nerr\n')
  })

  it('a host where nobody listens is an error of its own, and the others are done', async () => {
    await closeConnections()
    bed.stopHost('h2')
    const some = await new Remote('echo {{host}}', all, { process: { nolog: ['error'] } }).run()
    expect(some.processes.map(({ stdout, unreachable }) => [stdout, unreachable])).toEqual([
      ['h1\n', false],
      ['', true],
      ['h3\n', false],
      ['h4\n', false],
    ])
    expect(some.processes[1]?.errorReason).toMatchObject({ code: 'E_HOST_REFUSED', message: expect.stringContaining('h2') })
    expect(some.worstExitCode).toBe(255)
    expect(filterBadHosts(some, all).join(' ')).toBe('h1 h3 h4')
    expect(some.stats()).toMatchObject({ hosts: ['h1', 'h2', 'h3', 'h4'], unreachable: 1, ok: 3 })
    expect(new Report([some]).toString()).toMatch(/unreachable/)
  })

  it('a host that never answers gives its place back at the time limit of its process', async () => {
    await closeConnections()
    bed.freezeHost('h1')
    const began = performance.now()
    const order: string[] = []
    const some = new Remote('echo {{host}}', all, {
      concurrency: 1,
      connection: { connectTimeout: '50s' },
      process: ({ address }) => ({ timeout: address === 'h1' ? '1s' : '40s', nolog: ['error'] }),
    }).start()
    for await (const one of some.results()) order.push(String(one.host))
    expect(performance.now() - began).toBeLessThan(30_000)
    expect(order).toEqual(['h1', 'h2', 'h3', 'h4'])
    expect(some.processes[0]).toMatchObject({ unreachable: true, timedOut: false })
    expect(some.processes[0]?.errorReason).toMatchObject({ code: 'E_HOST_TIMEOUT', message: expect.stringMatching(/h1 .*1 ?s/) })
    expect(some.processes.slice(1).map(({ stdout }) => stdout)).toEqual(['h2\n', 'h3\n', 'h4\n'])
  })

  it('a slow host keeps nobody from the results of the others', async () => {
    const some = new Remote('test {{host}} != h1 || sleep 1000; echo {{host}}', all).start()
    const seen: string[] = []
    for await (const one of some.results()) if (seen.push(one.stdout.trim()) === COUNT - 1) break
    expect([...seen].sort()).toEqual(['h2', 'h3', 'h4'])
    expect(some.running).toBe(true)
    await some.kill().wait({ timeout: '30s' })
  })

  it('a time limit ends the command there', async () => {
    const token = `cahier-test-${process.pid}-${Date.now()}`
    // The time of the login counts, too.
    await new Remote('true', 'h[1-2]').run()
    const some = await new Remote(`TOKEN=${token} sleep 1000`, 'h[1-2]', { process: { timeout: '4s', nolog: ['timeout'] } }).run()
    expect(some.processes.map(({ timedOut, unreachable }) => [timedOut, unreachable])).toEqual([
      [true, false],
      [true, false],
    ])
    expect(some.worstExitCode).toBe(124)
    expect(withToken(token)).toEqual([])
  })

  it('remotes stand in sequences and beside each other', async () => {
    const file = join(folder, 'order')
    const write = (text: string, where: string) => new Remote(`echo ${text} >> {{file}}`, where, { values: { file } })
    const whole = await new SequentialActions([
      write('a', 'h1'),
      new ParallelActions([write('b', 'h2'), write('b', 'h[3-4]')]),
      write('c', 'h1'),
    ]).run()
    expect(whole.finishedOk).toBe(true)
    expect(readFileSync(file, 'utf8')).toBe('a\nb\nb\nb\nc\n')
  })

  it('a port of this machine leads to one behind a host', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.pipe(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    {
      await using forwarder = await new PortForwarder('h1', '127.0.0.1', port).start()
      const data = Buffer.alloc(1_000_000, 'abcdefg')
      expect((await talk(forwarder.localPort ?? 0, data)).equals(data)).toBe(true)
      expect((await talk(forwarder.localPort ?? 0, Buffer.from('x'))).toString()).toBe('x')
      expect(forwarder).toMatchObject({ accepted: 2, refused: 0 })
      // Left in the middle, with output that nobody reads.
      const left = connect(forwarder.localPort ?? 0, '127.0.0.1')
      left.on('error', () => undefined)
      left.write(data)
      await new Promise((resolve) => left.once('data', resolve))
    }
    // The far side has been let go of, too: nothing keeps the server open.
    await new Promise<void>((resolve) => void server.close(() => resolve()))
    await expect(new PortForwarder('h1', '127.0.0.1', port).start()).rejects.toThrow(expect.objectContaining({ code: 'E_FORWARD' }))
  })

  it('a serial line is used where it is', async () => {
    const line = new Process(['script', '-q', '-f', '-E', 'never', '-c', 'echo "line:$(tty):"; exec sleep 1000', '/dev/null'], {
      stdin: 'pipe',
    }).start()
    const { match } = await line.expect(/line:(.*):/, { timeout: '20s' })
    const console = new Serial(match?.[1] ?? '/dev/null', { speed: 9_600, host: 'h1' }).start()
    await console.write('hello\r')
    await line.expect('hello\r', { timeout: '20s' })
    await line.write('login: ')
    await console.expect('login: ', { timeout: '20s' })
    await console.kill().wait({ timeout: '20s' })
    expect(console).toMatchObject({ ok: true, ended: true })
    await line.kill().wait()
  })

  it.each(['ssh2', 'openssh'] as const)('a program that is done ends, whatever it had to do with hosts by %s', async (connector) => {
    const program = runProgram(
      `import { createServer } from 'node:net'
       setConnectionDefaults({ sshConfig: ${JSON.stringify(bed.sshConfig)}, connector: '${connector}' })
       const server = createServer((socket) => socket.end('x'.repeat(100_000))).listen(0, '127.0.0.1')
       await new Promise((resolve) => server.once('listening', resolve))
       await new Remote('true', 'h[1-2]').run()
       const forwarder = await new PortForwarder('h1', '127.0.0.1', server.address().port).start()
       await forwarder.close()
       server.close()
       console.log('done')`,
    )
    expect(await Promise.race([program.ended, pause(40_000, 'still there', { ref: false })])).toBe(0)
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('a program that %s ends takes its commands with it', async (signal) => {
    const token = `cahier-test-${process.pid}-${Date.now()}-${signal}`
    const program = runProgram(
      `const all = new Remote('echo ready; TOKEN=${token} sleep 1000', 'h[1-2]').start()
       await all.expect('ready')
       console.log('all ready')
       await all.wait()`,
    )
    await Promise.race([new Promise((resolve) => program.child.stdout.once('data', resolve)), program.ended])
    program.child.kill(signal)
    expect(await program.ended).toBe(signal)
    // Long before the lease has passed.
    for (let tries = 0; withToken(token).length > 0 && tries < 100; tries += 1) await pause(100)
    expect(withToken(token)).toEqual([])
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('an idle program that %s ends leaves no login and no file behind', async (signal) => {
    const temporary = mkdtempSync('/tmp/cahier-end-')
    const program = runProgram(
      `setConnectionDefaults({ sshConfig: ${JSON.stringify(bed.sshConfig)}, connector: 'openssh' })
       await new Remote('true', 'h[1-2]').run()
       console.log('idle')
       setInterval(() => {}, 1000)`,
      { TMPDIR: temporary, XDG_RUNTIME_DIR: '' },
    )
    await Promise.race([new Promise((resolve) => program.child.stdout.once('data', resolve)), program.ended])
    expect(readdirSync(temporary)).toHaveLength(1)
    program.child.kill(signal)
    expect(await program.ended).toBe(signal)
    expect(readdirSync(temporary)).toEqual([])
    rmSync(temporary, { recursive: true })
  })

  /** A program of its own, with the built package. */
  function runProgram(text: string, env: NodeJS.ProcessEnv = {}) {
    const index = new URL('dist/index.js', core)
    if (!existsSync(index)) execFileSync('npx', ['tsc', '-b'], { cwd: core })
    const file = join(folder, 'program.mjs')
    writeFileSync(
      file,
      `import { PortForwarder, Remote, setConnectionDefaults } from ${JSON.stringify(index.href)}
       setConnectionDefaults({ sshConfig: ${JSON.stringify(bed.sshConfig)} })
       ${text}`,
    )
    const child = spawn(process.execPath, [file], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)))
    return { child, ended }
  }
})

/** Numbers of processes of this machine that have this text in their environment: the hosts share its processes. */
function withToken(token: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`TOKEN=${token}`)
      } catch {
        return false
      }
    })
    .map(Number)
}

function talk(port: number, data: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true }, () => socket.end(data))
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', () => resolve(Buffer.concat(chunks)))
    socket.on('error', reject)
  })
}
