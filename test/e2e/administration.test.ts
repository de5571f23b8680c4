import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type NamedHosts, startNamedHosts } from '../testbed/named-hosts.js'
import { sshHostsUnavailable } from '../testbed/ssh-hosts.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const reason = sshHostsUnavailable()

/** What the programs of a real server would do, as far as the scripts can see: they keep their state in the home of the test host. */
const PROGRAMS: Readonly<Record<string, string>> = {
  id: 'grep -q "^$2:" passwd 2>/dev/null && echo 1000',
  useradd: 'echo "useradd $*" >>ledger; eval "login=\\${$#}"; echo "$login:$3:$HOME/$login" >>passwd; mkdir -p "$login"',
  getent: 'sed -n "s/^\\($2\\):\\(.*\\):\\(.*\\)/\\1:x:0:0:\\2:\\3:\\/bin\\/sh/p" passwd',
  setquota: 'grep -q "^$2:" passwd 2>/dev/null || { echo "setquota: user $2 does not exist" >&2; exit 1; }; echo "setquota $*" >>ledger',
  sacctmgr: 'case $* in *" show "*) cat users 2>/dev/null;; *) echo "sacctmgr $*" >>ledger; echo "$4" >>users;; esac; exit 0',
  su: 'echo "su $*" >>ledger; grep -q "^$2:" passwd',
  chown: ':',
  racadm:
    'case $2 in powerstatus) echo "Server power status: $(cat power 2>/dev/null || echo ON)";; powerup) echo ON >power; echo "Server power operation initiated successfully";; esac',
  shutdown: 'echo "shutdown $*" >>ledger; [ ! -e stuck ] || { echo "shutdown: a process cannot be stopped" >&2; exit 1; }',
}
const NODES = ['node1', 'node2', 'node3']
const NAMES = ['login', 'files', 'slurm', ...NODES]
const CONFIG = (sshConfig: string): string => `connection: { sshConfig: ${sshConfig} }
groups: { servers: 'login,files,slurm', files: files, slurm: slurm, build: login, bmc: 'node[1-3]', room: 'node[1-3]', last: 'files,login' }
`

describe.skipIf(reason !== undefined)(`examples/administration${reason === undefined ? '' : ` (${reason})`}`, () => {
  let named: NamedHosts
  let folder: string

  beforeAll(async () => {
    named = await startNamedHosts(NAMES)
    for (const { directory } of named.bed.hosts) {
      mkdirSync(join(directory, 'bin'), { recursive: true })
      for (const [name, text] of Object.entries(PROGRAMS)) {
        writeFileSync(join(directory, 'bin', name), `#!/bin/sh\ncd "${directory}/home"\n${text}\n`, { mode: 0o755 })
      }
    }
    mkdirSync(join(root, '.cahier'), { recursive: true })
    folder = mkdtempSync(join(root, '.cahier', 'administration-'))
    writeFileSync(join(folder, 'cahier.config.yaml'), CONFIG(named.sshConfig))
  })
  afterAll(async () => {
    await named?.[Symbol.asyncDispose]()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })
  beforeEach(() => {
    for (const name of NAMES)
      for (const file of ['ledger', 'passwd', 'users', 'power', 'stuck']) rmSync(fileOf(name, file), { force: true })
  })

  const fileOf = (host: string, file: string): string => join(named.host(host).home, file)
  const read = (host: string, file: string): string => {
    try {
      return readFileSync(fileOf(host, file), 'utf8')
    } catch {
      return ''
    }
  }
  const stop = (name: string) => named.bed.stopHost(named.host(name).name)
  const startAgain = (name: string) => named.bed.startHost(named.host(name).name)

  /** As its README says. */
  function run(script: string, ...args: string[]): Promise<{ code: number | null; lines: string[] }> {
    const program = [join(root, 'node_modules/jiti/lib/jiti-cli.mjs'), join(root, 'examples/administration', script), ...args]
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, program, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
      let text = ''
      child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
      child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, lines: text.split('\n').slice(0, -1) }))
    })
  }

  it('creates an account on every server, whatever the name is, and does nothing twice', async () => {
    writeFileSync(join(folder, 'ada.pub'), 'ssh-ed25519 AAAA ada@desk\n')
    const args = ['accounts.ts', 'ada', "Ada O'Hara; $(rm -rf /)", '--quota', '200', '--key', 'ada.pub'] as const
    const first = await run(...args)
    expect(first, first.lines.join('\n')).toEqual({
      code: 0,
      lines: [
        'done      user on login',
        'done      user on files',
        'done      user on slurm',
        'done      quota on files',
        'done      scheduler on slurm',
        'done      ssh key on login',
        'done      try on login',
        'ada can work.',
      ],
    })
    expect(read('files', 'ledger')).toBe(
      "useradd --create-home --comment Ada O'Hara; $(rm -rf /) ada\nsetquota -u ada 209715200 209715200 0 0 /home\n",
    )
    expect(read('slurm', 'ledger')).toContain('sacctmgr -i add user ada account=lab\n')
    expect(read('login', 'ada/.ssh/authorized_keys')).toBe('ssh-ed25519 AAAA ada@desk\n')
    expect((await run(...args)).code).toBe(0)
    for (const name of ['login', 'files', 'slurm']) expect(read(name, 'ledger').match(/useradd/g)).toHaveLength(1)
    expect(read('slurm', 'ledger').match(/sacctmgr -i/g)).toHaveLength(1)
    expect(read('login', 'ada/.ssh/authorized_keys')).toBe('ssh-ed25519 AAAA ada@desk\n')
  })

  it('does what can be done while a server is down, names the rest, and ends it later', async () => {
    stop('files')
    const first = await run('accounts.ts', 'bob', 'Bob')
    await startAgain('files')
    expect(first.code).toBe(1)
    expect(first.lines).toEqual([
      'done      user on login',
      expect.stringMatching(/^NOT DONE {2}user on files: .*files.*refused/i),
      'done      user on slurm',
      expect.stringMatching(/^NOT DONE {2}quota on files: /),
      'done      scheduler on slurm',
      'done      try on login',
      '2 steps are open. Run the same command again when the cause is gone: what is done is not done twice.',
    ])
    const second = await run('accounts.ts', 'bob', 'Bob')
    expect(second.lines.at(-1)).toBe('bob can work.')
    expect(read('login', 'ledger').match(/useradd/g)).toHaveLength(1)
    expect(read('files', 'ledger').match(/useradd/g)).toHaveLength(1)
  })

  it('refuses a login that is no login', async () => {
    expect(await run('accounts.ts', 'Ada Lovelace')).toMatchObject({ code: 2, lines: [expect.stringMatching(/^usage:/)] })
  })

  it('shows the power state of a room, and switches on what is off', async () => {
    writeFileSync(fileOf('node2', 'power'), 'OFF\n')
    expect(await run('power.ts')).toEqual({ code: 0, lines: ['node[1,3]: Server power status: ON', 'node2: Server power status: OFF'] })
    const switched = await run('power.ts', 'on', '@bmc')
    expect(switched.lines.at(-1)).toBe('node2: switched on')
    expect(await run('power.ts')).toEqual({ code: 0, lines: ['node[1-3]: Server power status: ON'] })
    stop('node3')
    const broken = await run('power.ts')
    await startAgain('node3')
    expect(broken).toEqual({ code: 1, lines: ['node[1-2]: Server power status: ON', 'node3: not reached, E_HOST_REFUSED'] })
  })

  it('rehearses the shutdown of a room without switching anything off', async () => {
    expect(await run('shutdown.ts')).toEqual({ code: 0, lines: ['@room: node[1-3] would go down', '@last: files,login would go down'] })
    for (const name of NAMES) expect(read(name, 'ledger')).toBe('')
  })

  it('switches a room off, and says what has to be done by hand', async () => {
    writeFileSync(fileOf('node2', 'stuck'), '')
    stop('node3')
    const { code, lines } = await run('shutdown.ts', '--really')
    await startAgain('node3')
    expect(code).toBe(1)
    expect(lines).toEqual([
      '@room: node1 go down',
      '@room: node2 DOES NOT: shutdown: a process cannot be stopped',
      expect.stringMatching(/^@room: node3 DOES NOT: .*refused/i),
      '@last: files,login go down',
      'Switch off by hand: node[2-3]',
    ])
    for (const name of ['node1', 'files', 'login']) expect(read(name, 'ledger')).toMatch(/^shutdown -h now emergency/)
  })
})
