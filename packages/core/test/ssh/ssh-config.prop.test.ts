import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAnswer, SshConfig } from '../../src/ssh/ssh-config.js'

const hasSsh = spawnSync('ssh', ['-V']).status === 0

/** What ssh says of one host, asked for it alone. */
function askSsh(file: string, host: string, words: readonly string[] = []): Record<string, string[]> {
  const text = execFileSync('ssh', ['-G', '-F', file, ...words, '--', host], {
    input: '',
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...process.env, LC_ALL: 'C' },
  })
  return Object.fromEntries([...parseAnswer(text.toString())].map(([key, values]) => [key, [...values]]))
}

const names = ['node1', 'node2', 'node12', 'NODE1', 'login', 'login.site.org', 'a', '10.0.0.7', 'gpu-3.site.org', 'x%y']
const pattern = fc.constantFrom('*', 'node*', 'node?', '*.site.org', 'login', 'node1', '10.0.0.?', 'gpu-*', 'NODE*', 'a', '*1*', 'nothing')
const patterns = fc
  .array(fc.tuple(fc.boolean(), pattern), { minLength: 1, maxLength: 3 })
  .map((list) => list.map(([negated, text]) => (negated ? `!${text}` : text)))
const value = fc.constantFrom(
  'HostName %h.cluster.example',
  'HostName=login.site.org',
  'HostName pre-%h',
  'HostName 100%%-%h',
  '  hostname   "%h"  # a comment',
  'User alice',
  'User "bob"',
  'Port 2222',
  'Port = 23',
  'IdentityFile ~/.ssh/one',
  'IdentityFile ~/.ssh/%h-%r-%n',
  'IdentitiesOnly yes',
  'ControlPath ~/cm-%C',
  'ControlPath /tmp/cm-%r@%h:%p-%n-%L',
  'ControlPath none',
  'ControlPath /tmp/100%%-%h',
  'UserKnownHostsFile ~/.ssh/known_%h ~/.ssh/known',
  'UserKnownHostsFile /dev/null',
  'ProxyCommand nc %h %p',
  'ProxyJump me@gate:22,inner',
  'StrictHostKeyChecking accept-new',
  'HostKeyAlias %h',
  'LocalForward 8080 %h:80',
  'SetEnv A=b "C=d e"',
  'SendEnv LANG',
  'IdentityAgent ~/agent-%r',
  'CertificateFile %d/c-%h',
  'RemoteCommand echo %h',
  'ForwardAgent yes',
  '# nothing',
  '',
)
const block = fc.record({
  head: fc.oneof(
    { weight: 6, arbitrary: patterns.map((list) => `Host ${list.join(' ')}`) },
    { weight: 1, arbitrary: patterns.map((list) => `Host "${list[0]}" ${list.slice(1).join('\t')}`) },
    { weight: 1, arbitrary: fc.constant('Match all') },
    { weight: 2, arbitrary: patterns.map((list) => `Match host ${list.join(',')}`) },
    { weight: 1, arbitrary: patterns.map((list) => `match originalhost ${list.join(',')}`) },
    { weight: 1, arbitrary: pattern.map((text) => `Match !host ${text}`) },
  ),
  values: fc.array(value, { maxLength: 4 }),
})
const blocks = fc.array(block, { maxLength: 5 }).map((list) => list.map(({ head, values }) => [head, ...values].join('\n')).join('\n'))
const configuration = fc.record({
  top: fc.array(value, { maxLength: 2 }).map((list) => list.join('\n')),
  before: blocks,
  include: fc.option(
    fc.record({
      where: fc.constantFrom('Include D/part-*.conf', 'Include "D/part-1.conf" D/absent', 'Include D/part-[12].conf'),
      one: blocks,
      two: blocks,
    }),
  ),
  after: blocks,
})

describe.skipIf(!hasSsh)(`shared answers of ssh${hasSsh ? '' : ' (needs ssh)'}`, () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'cahier-config-'))
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it('are what ssh says of each host by itself', async () => {
    let run = 0
    let asked = 0
    let hosts = 0
    await fc.assert(
      fc.asyncProperty(configuration, fc.shuffledSubarray(names, { minLength: 3, maxLength: 6 }), async (parts, some) => {
        const folder = join(directory, String(++run))
        mkdirSync(folder)
        const file = join(folder, 'config')
        const include = parts.include === null ? '' : parts.include.where.replaceAll('D/', `${folder}/`)
        writeFileSync(file, [parts.top, parts.before, include, parts.after, ''].join('\n'))
        if (parts.include !== null) {
          writeFileSync(join(folder, 'part-1.conf'), parts.include.one)
          writeFileSync(join(folder, 'part-2.conf'), parts.include.two)
        }
        const config = new SshConfig({ file })
        for (const host of some) {
          const said = await config.ask(host)
          expect({ host, ...Object.fromEntries([...said].map(([key, values]) => [key, [...values]])) }).toEqual({
            host,
            ...askSsh(file, host),
          })
        }
        asked += config.asked
        hosts += some.length
      }),
      { numRuns: 25 },
    )
    // Otherwise nothing was shared, and nothing shown.
    expect(asked).toBeLessThan(hosts * 0.95)
  }, 120_000)

  it('hold with a user and a port that are said elsewhere', async () => {
    const file = join(directory, 'given')
    writeFileSync(file, 'Host *\n  User alice\n  Port 2222\n  ControlPath /tmp/cm-%r@%h:%p-%C\n  HostName %h.example\n')
    const config = new SshConfig({ file })
    await config.ask('node0')
    const said = await config.ask('node1', { user: 'bob', port: 77 })
    expect(Object.fromEntries([...said].map(([key, values]) => [key, [...values]]))).toEqual(
      askSsh(file, 'node1', ['-l', 'bob', '-p', '77']),
    )
    expect(config.asked).toBe(1)
  })
})
