import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listGlob } from '../../src/ssh/glob.js'
import { matchesPattern, matchesPatterns } from '../../src/ssh/patterns.js'
import { defaultConfig, parseAnswer, SshConfig } from '../../src/ssh/ssh-config.js'
import { matchBlocks, parseLine, readConfigText } from '../../src/ssh/ssh-config-file.js'
import { expandTilde, expandTokens } from '../../src/ssh/ssh-tokens.js'

const hasSsh = spawnSync('ssh', ['-V']).status === 0
const why = hasSsh ? '' : ' (needs ssh)'
let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'cahier-config-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const write = (name: string, text: string): string => {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

describe('parseAnswer', () => {
  const recorded = (): string =>
    readFileSync(new URL('../transcripts/openssh-9.2/ssh-G.txt', import.meta.url), 'utf8')
      .split('\n')
      .slice(1)
      .join('\n')

  it('reads what ssh -G printed', () => {
    const config = parseAnswer(recorded())
    expect(config.get('hostname')).toEqual(['node1.cluster.example'])
    expect(config.get('port')).toEqual(['2222'])
    expect(config.get('identityfile')).toEqual(['~/.ssh/one', '~/.ssh/%h-%r'])
    expect(config.get('setenv')).toEqual(['A=b', 'C=d e'])
  })

  it.each(['', 'usage: ssh [-46AaCfGgKkMNnqsTtVvXxYy]\n', 'hostname x\n'])('refuses %j', (text) => {
    expect(() => parseAnswer(text)).toThrow(expect.objectContaining({ code: 'E_SSH_CONFIG' }))
  })
})

describe('parseLine', () => {
  it.each([
    ['Host a b', { keyword: 'host', words: ['a', 'b'] }],
    ['\tHostName=x.org ', { keyword: 'hostname', words: ['x.org'] }],
    ['Port = 22 # ours', { keyword: 'port', words: ['22'] }],
    ['IdentityFile "a b" c\\ d \'e"f\'', { keyword: 'identityfile', words: ['a b', 'c d', 'e"f'] }],
    ['Include', { keyword: 'include', words: [] }],
    ['   # comment', undefined],
    ['', undefined],
  ])('reads %j', (line, expected) => {
    expect(parseLine(line)).toEqual(expected)
  })

  it.each(['"Host" a', 'Host "a', '= x'])('does not pretend to understand %j', (line) => {
    expect(parseLine(line)).toBe('odd')
  })
})

describe('patterns', () => {
  it.each([
    ['node1', 'node*', true],
    ['node1', 'node?', true],
    ['node12', 'node?', false],
    ['a.b.c', '*.c', true],
    ['', '*', true],
    ['a', '', false],
    ['abab', '*ab', true],
    ['a[1]', 'a[1]', true],
  ])('%j and %j: %j', (name, pattern, expected) => {
    expect(matchesPattern(name, pattern)).toBe(expected)
  })

  it.each([
    ['a', 'a,b', true],
    ['a', '!a,*', false],
    ['b', '!a,*', true],
    ['a', '!b', false],
  ])('%j in the list %j: %j', (name, list, expected) => {
    expect(matchesPatterns(name, list.split(','))).toBe(expected)
  })

  it('files are found by shell patterns, sorted', async () => {
    mkdirSync(join(directory, 'd/sub'), { recursive: true })
    for (const name of ['b.conf', 'a.conf', '.hidden.conf', 'c.txt', 'sub/z.conf']) writeFileSync(join(directory, 'd', name), '')
    const short = async (pattern: string): Promise<string[]> =>
      (await listGlob(join(directory, pattern))).map((path) => path.slice(directory.length + 1))
    expect(await short('d/*.conf')).toEqual(['d/a.conf', 'd/b.conf'])
    expect(await short('d/[a-b].conf')).toEqual(['d/a.conf', 'd/b.conf'])
    expect(await short('d/[!a].conf')).toEqual(['d/b.conf'])
    expect(await short('d/?.txt')).toEqual(['d/c.txt'])
    expect(await short('*/*/z.conf')).toEqual(['d/sub/z.conf'])
    expect(await short('d/none*')).toEqual([])
    expect(await short('absent/a')).toEqual([])
  })
})

describe('matchBlocks', () => {
  const matching = async (text: string, host: string): Promise<ReturnType<typeof matchBlocks>> =>
    matchBlocks(await readConfigText(write('m', text)), host)

  it('gives the same signature to hosts that the same blocks concern', async () => {
    const text = 'Host node*\n User a\nHost *.org\n User b\nMatch host node?\n Port 3\n'
    const signature = async (host: string): Promise<string | undefined> => (await matching(text, host))?.signature
    expect(await signature('node1')).toBe(await signature('node2'))
    expect(await signature('node1')).not.toBe(await signature('node10'))
    expect(await signature('x.org')).not.toBe(await signature('x'))
  })

  it.each([
    'Match exec true\n User a\n',
    'Match user root\n User a\n',
    'Match final all\n User a\n',
    'Match localuser root host a\n User a\n',
    'Include %d/x\n',
    'Include ${HOME}/x\n',
    'CanonicalizeHostname yes\n',
    '"Host" a\n',
    'Include M\n',
  ])('gives up where hosts cannot be compared from outside: %j', async (text) => {
    const path = join(directory, 'm')
    expect(await matching(text.replace('Include M', `Include ${path}`), 'a')).toBeUndefined()
  })
})

describe('tokens', () => {
  const values = { name: 'node1', address: 'node1.org', port: '22', user: 'alice' }

  it.each([
    ['%h-%n-%p-%r', 'node1.org-node1-22-alice'],
    ['100%%', '100%'],
    ['%u@%d', `${userInfo().username}@${userInfo().homedir}`],
    ['%k', 'node1'],
  ])('%j becomes %j', (text, expected) => {
    expect(expandTokens(text, values)).toBe(expected)
  })

  it.each(['%Z', 'x%'])('%j is not known', (text) => {
    expect(expandTokens(text, values)).toBeUndefined()
  })

  it('~ is the home of the user database', () => {
    expect(expandTilde('~/x')).toBe(join(userInfo().homedir, 'x'))
    expect(expandTilde('~other/x')).toBe('~other/x')
  })
})

describe('SshConfig', () => {
  it.skipIf(!hasSsh)(`asks once for two hundred hosts of one pattern${why}`, async () => {
    const file = write('many', 'Host node*\n  User alice\n  HostName %h.cluster\n  ControlPath ~/.ssh/cm-%r@%h:%p\nHost *\n  Port 2222\n')
    const config = new SshConfig({ file })
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => config.ask(`node${i}`)))
    expect(answers.map((answer) => answer.get('hostname')?.[0])).toEqual(Array.from({ length: 200 }, (_, i) => `node${i}.cluster`))
    expect(answers[7]?.get('controlpath')).toEqual([expandTilde('~/.ssh/cm-alice@node7.cluster:2222')])
    expect(config.asked).toBe(1)
  })

  it.skipIf(!hasSsh)(`asks for each host where Match runs a program${why}`, async () => {
    const file = write('exec', 'Match exec "test %n = node1"\n  User special\nHost *\n  User usual\n')
    const config = new SshConfig({ file })
    expect((await config.ask('node1')).get('user')).toEqual(['special'])
    expect((await config.ask('node2')).get('user')).toEqual(['usual'])
    expect(config.asked).toBe(2)
  })

  it.skipIf(!hasSsh)(`lets Match see the user that was said elsewhere${why}`, async () => {
    const file = write('user', 'Match user root\n  Port 99\n')
    expect((await new SshConfig({ file }).ask('a', { user: 'root' })).get('port')).toEqual(['99'])
    expect((await new SshConfig({ file }).ask('a', { user: 'other' })).get('port')).toEqual(['22'])
  })

  it.skipIf(!hasSsh)(`repeats what ssh says of a file that it refuses${why}`, async () => {
    const file = write('bad', 'Host a\n  NoSuchOption yes\n')
    await expect(new SshConfig({ file }).ask('a')).rejects.toMatchObject({
      code: 'E_SSH_CONFIG',
      message: expect.stringContaining('Bad configuration option: nosuchoption'),
    })
  })

  it.skipIf(!hasSsh)(`refuses a file that does not exist${why}`, async () => {
    await expect(new SshConfig({ file: join(directory, 'absent') }).ask('a')).rejects.toMatchObject({ code: 'E_SSH_CONFIG' })
  })

  it('falls back to the documented defaults where there is no ssh', async () => {
    const config = new SshConfig({ file: false, program: '/nonexistent/ssh' })
    const said = await config.ask('Node1', { port: 23 })
    expect(said).toEqual(defaultConfig('Node1', { port: 23 }))
    expect([said.get('hostname'), said.get('port'), said.get('user')]).toEqual([['node1'], ['23'], [userInfo().username]])
  })

  it.skipIf(!hasSsh)(`has the defaults that ssh has${why}`, async () => {
    const said = await new SshConfig({ file: false }).ask('node1')
    for (const [key, values] of defaultConfig('node1')) {
      if (key === 'identityfile') for (const value of values) expect(said.get(key)).toContain(value)
      else expect([key, said.get(key)]).toEqual([key, values])
    }
  })

  it('does not ask when it is given up before', async () => {
    const config = new SshConfig({ file: false })
    await expect(config.ask('a', {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'E_ABORTED' })
    expect(config.asked).toBe(0)
  })
})
