import { execFileSync } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { fingerprintOf, type HostNames, KnownHosts, keyTypeOf } from '../../src/ssh/known-hosts.js'

const directory = mkdtempSync(join(tmpdir(), 'cahier-known-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let files = 0
function file(content: string): string {
  files += 1
  const path = join(directory, `known${files}`)
  writeFileSync(path, content)
  return path
}

/** A well-formed key; nobody has its other half. */
function makeKey(type = 'ssh-ed25519', content: Buffer = randomBytes(36)): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(type.length)
  return Buffer.concat([length, Buffer.from(type), content])
}
const line = (hosts: string, key: Buffer) => `${hosts} ${keyTypeOf(key)} ${key.toString('base64')}\n`

function hashed(name: string): string {
  const salt = randomBytes(20)
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`
}

const [a, b, rsa] = [makeKey(), makeKey(), makeKey('ssh-rsa')]
const host = (address: string, port = 22, alias?: string): HostNames => ({ address, port, alias })
const judge = (content: string, names: HostNames, key: Buffer) => new KnownHosts().lookup([file(content)], names).judge(key).state

describe('known hosts', () => {
  it.each<[string, string, HostNames]>([
    ['a plain name', line('node1', a), host('node1')],
    ['a name in other letters', line('Node1', a), host('nODE1')],
    ['one of several names', line('x,node1,10.0.0.1', a), host('10.0.0.1')],
    ['a name with port', line('[node1]:2222', a), host('node1', 2222)],
    ['a name without port, for a host at another port', line('node1', a), host('node1', 2222)],
    ['an address of version 6', line('[2001:db8::1]:2222', a), host('2001:db8::1', 2222)],
    ['a wildcard', line('*.site,!x.site', a), host('node1.site')],
    ['a question mark', line('node?', a), host('node1')],
    ['a hashed name', line(hashed('node1'), a), host('node1')],
    ['a hashed name with port', line(hashed('[node1]:2222'), a), host('node1', 2222)],
    ['an alias, whatever the port', line('cluster', a), host('10.0.0.1', 2222, 'cluster')],
    ['a line with carriage return', line('node1', a).replace('\n', '\r\n'), host('node1')],
    [
      'a line with a comment, tabs and leading blanks',
      `# x\n\n \tnode1\t${line('', a).trim().replace(' ', '\t')} me@here\n`,
      host('node1'),
    ],
    ['a last line without end', line('node1', a).trimEnd(), host('node1')],
    [
      'a line after damaged ones',
      `node1\nnode1 ssh-ed25519\nnode1 ssh-ed25519 !!\n|1|x|y ssh-ed25519 AAAA\n${line('node1', a)}`,
      host('node1'),
    ],
  ])('knows a key under %s', (_, content, names) => {
    expect(judge(content, names, a)).toBe('known')
  })

  it.each<[string, string, HostNames]>([
    ['another name', line('node10,anode1', a), host('node1')],
    ['another port', line('[node1]:2222', a), host('node1', 2223)],
    ['the usual port only', line('[node1]:2222', a), host('node1')],
    ['a pattern that rules it out', line('*.site,!node1.site', a), host('node1.site')],
    ['a comment', `#${line('node1', a)}`, host('node1')],
    ['a marker that nobody knows', `@trusted ${line('node1', a)}`, host('node1')],
    ['a key whose type is not the one written', `node1 ssh-rsa ${a.toString('base64')}\n`, host('node1')],
    ['its address when there is an alias', line('10.0.0.1', a), host('10.0.0.1', 22, 'cluster')],
    ['an authority', `@cert-authority ${line('*', a)}`, host('node1')],
  ])('does not know a key under %s', (_, content, names) => {
    expect(judge(content, names, a)).toBe('unknown')
  })

  it('tells a changed key from an unknown one, also of another type', () => {
    expect(judge(line('node1', a), host('node1'), b)).toBe('changed')
    expect(judge(line('node1', a), host('node1'), rsa)).toBe('changed')
    expect(judge(line('node1', a) + line('node1', b), host('node1'), b)).toBe('known')
    // what is known without port says nothing against what answers at another one
    expect(judge(line('node1', a), host('node1', 2222), b)).toBe('unknown')
  })

  it('names the line that a changed key contradicts', () => {
    const path = file(`\n${line('node1', rsa)}${line('node1', a)}`)
    expect(new KnownHosts().lookup([path], host('node1')).judge(b)).toMatchObject({ state: 'changed', known: { file: path, line: 3 } })
  })

  it('puts revoked keys above known ones, in whatever file', () => {
    const paths = [file(line('node1', a)), file(`@revoked ${line('*', a)}`)]
    const keys = new KnownHosts().lookup(paths, host('node1'))
    expect(keys.judge(a)).toMatchObject({ state: 'revoked', known: { file: paths[1] } })
  })

  it('tells of authorities, and of algorithms to ask for', () => {
    const path = file([line('node1', rsa), line(hashed('node1'), a), `@cert-authority ${line('node*', b)}`].join(''))
    const keys = new KnownHosts().lookup([path], host('node1'))
    expect(keys.authorities.map((key) => key.key)).toEqual([b])
    expect(keys.algorithms).toEqual(['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa', 'ssh-ed25519'])
  })

  it('passes over files that are not there, and names those that cannot be read', () => {
    const keys = new KnownHosts().lookup([join(directory, 'absent'), directory, file(line('node1', a))], host('node1'))
    expect(keys.judge(a).state).toBe('known')
    expect(keys.unreadable).toEqual([`${directory}: EISDIR`])
  })

  it('sees a change of the file', () => {
    const known = new KnownHosts()
    const path = file(line('node1', a))
    expect(known.lookup([path], host('node1')).judge(b).state).toBe('changed')
    appendFileSync(path, line('node1', b))
    expect(known.lookup([path], host('node1')).judge(b).state).toBe('known')
  })
})

describe('a key taken down', () => {
  it('is known from then on, and stands there once', () => {
    const known = new KnownHosts()
    const path = join(directory, 'made', 'here', 'known_hosts')
    for (let time = 0; time < 3; time += 1) known.add(path, host('Node1', 2222), a)
    expect(readFileSync(path, 'utf8')).toBe(line('[node1]:2222', a))
    expect([statSync(path).mode & 0o777, statSync(join(directory, 'made')).mode & 0o777]).toEqual([0o600, 0o700])
    expect(known.lookup([path], host('node1', 2222)).judge(a).state).toBe('known')
  })

  it('stands there under a hashed name when that is wanted, and once', () => {
    const known = new KnownHosts()
    const path = file('')
    const key = makeKey('ssh-ed25519', Buffer.concat([Buffer.from([0, 0, 0, 32]), randomBytes(32)]))
    for (let time = 0; time < 3; time += 1) known.add(path, host('Node1', 2222), key, { hashed: true })
    expect(readFileSync(path, 'utf8')).toMatch(/^\|1\|[^ ]+ ssh-ed25519 [^ ]+\n$/)
    for (const reader of [known, new KnownHosts()]) expect(reader.lookup([path], host('node1', 2222)).judge(key).state).toBe('known')
    if (hasSshKeygen) expect(execFileSync('ssh-keygen', ['-F', '[node1]:2222', '-f', path], { encoding: 'utf8' })).toContain('line 1')
  })

  it('begins a line of its own after one without end', () => {
    const path = file(line('x', b).trimEnd())
    new KnownHosts().add(path, host('node1'), a)
    expect(readFileSync(path, 'utf8')).toBe(line('x', b) + line('node1', a))
  })

  it('does not hide what another program wrote meanwhile', () => {
    const known = new KnownHosts()
    const path = file('')
    for (let index = 0; index < 20; index += 1) {
      known.add(path, host(`ours${index}`), a)
      appendFileSync(path, line(`theirs${index}`, b))
      expect(known.lookup([path], host(`theirs${index}`)).judge(b).state).toBe('known')
      expect(known.lookup([path], host(`ours${index}`)).judge(a).state).toBe('known')
    }
  })

  it.each(['a b', 'a,b', '*', '!x', '#x', '@x', '|1|x'])('is refused under the name %j', (name) => {
    const path = join(directory, 'never')
    expect(() => new KnownHosts().add(path, host(name), a)).toThrow(expect.objectContaining({ code: 'E_HOST_KEY_UNKNOWN' }))
    expect(existsSync(path)).toBe(false)
  })

  it('is refused when the file cannot be written', () => {
    const path = join(file('x'), 'known_hosts')
    expect(() => new KnownHosts().add(path, host('node1'), a)).toThrow(expect.objectContaining({ code: 'E_HOST_KEY_UNKNOWN' }))
  })
})

describe('large files', () => {
  it('of 100,000 lines answer for 1,000 hosts within a second or two, and read nothing twice', () => {
    const text = Array.from({ length: 100_000 }, (_, index) =>
      line(`node${index},10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, a),
    ).join('')
    const path = file(text)
    const known = new KnownHosts()
    const before = process.cpuUsage()
    for (let index = 0; index < 1000; index += 1) {
      expect(known.lookup([path], host(`node${index * 97}`)).known).toHaveLength(1)
    }
    const used = process.cpuUsage(before)
    expect((used.user + used.system) / 1e6).toBeLessThan(8)
  })

  it('of 3,000 hashed lines answer for 300 hosts', () => {
    const path = file(Array.from({ length: 3000 }, (_, index) => line(hashed(`node${index}`), a)).join(''))
    const known = new KnownHosts()
    for (let index = 0; index < 300; index += 1) expect(known.lookup([path], host(`node${index}`)).known).toHaveLength(1)
  })
})

describe('properties', () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,12}$/)

  it('every host finds its own key again, whatever stands around', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(name, fc.constantFrom(22, 2222), fc.boolean()), {
          minLength: 1,
          maxLength: 8,
          selector: ([n, p]) => `${n}:${p}`,
        }),
        fc.array(fc.string({ maxLength: 60 }).filter((text) => !text.includes('\n'))),
        (hosts, noise) => {
          const keys = hosts.map(() => makeKey())
          const lines = hosts.map(([n, port, hide], index) => {
            const label = port === 22 ? n : `[${n}]:${port}`
            return line(hide ? hashed(label) : label, keys[index]!)
          })
          const path = file([...noise.map((text) => `#${text}\n`), ...lines].join(''))
          const known = new KnownHosts()
          for (const [index, [n, port]] of hosts.entries()) {
            expect(known.lookup([path], host(n, port)).judge(keys[index]!).state).toBe('known')
            expect(known.lookup([path], host(n, port)).judge(makeKey()).state).toBe('changed')
          }
          rmSync(path)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('no content makes the reader fail', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('\n', ' ', 'node1', '|1|', '@revoked', ',', '!', '*', 'ssh-ed25519', 'AAAA'))),
        (parts) => {
          const path = file(parts.join(''))
          expect(['known', 'unknown', 'changed', 'revoked']).toContain(new KnownHosts().lookup([path], host('node1')).judge(a).state)
          rmSync(path)
        },
      ),
    )
  })

  it('a pattern of many stars takes no exponential time', () => {
    expect(judge(line(`${'*a'.repeat(40)}b`, a), host('a'.repeat(200)), a)).toBe('unknown')
  })
})

const hasSshKeygen = (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, 'ssh-keygen')))
describe.skipIf(!hasSshKeygen)('compared with ssh-keygen (needs ssh-keygen)', () => {
  const ask = (path: string, label: string) => {
    try {
      const output = execFileSync('ssh-keygen', ['-F', label, '-f', path], { encoding: 'utf8' })
      return output
        .split('\n')
        .flatMap((text) => /found: line (\d+)/.exec(text)?.[1] ?? [])
        .map(Number)
    } catch {
      return []
    }
  }

  it('finds the same lines, before and after ssh-keygen has hashed the names', () => {
    // keys that ssh-keygen accepts: 32 bytes behind a length
    const key = () => makeKey('ssh-ed25519', Buffer.concat([Buffer.from([0, 0, 0, 32]), randomBytes(32)]))
    const path = file(
      [
        line('node1', key()),
        line('node2,10.0.0.2', key()),
        '# comment\n',
        line('[node1]:2222', key()),
        line('node1', key()),
        line('*.site,!x.site', key()),
        'node1 damaged\n',
        `@revoked ${line('node3', key())}`,
        `@cert-authority ${line('*.site', key())}`,
        line('[10.0.0.2]:2222', key()),
      ].join(''),
    )
    const labels: [string, HostNames][] = [
      ['node1', host('node1')],
      ['node2', host('node2')],
      ['10.0.0.2', host('10.0.0.2')],
      ['[node1]:2222', host('node1', 2222)],
      ['a.site', host('a.site')],
      ['x.site', host('x.site')],
      ['node3', host('node3')],
      ['[10.0.0.2]:2222', host('10.0.0.2', 2222)],
      ['nobody', host('nobody')],
    ]
    const compare = () => {
      const known = new KnownHosts()
      const isRevoked = (number: number) => readFileSync(path, 'utf8').split('\n')[number - 1]?.startsWith('@revoked') === true
      for (const [label, names] of labels) {
        const keys = known.lookup([path], { ...names, port: 22, alias: label })
        const lines = [...keys.known, ...keys.authorities].map((found) => found.line)
        expect([label, lines.sort((x, y) => x - y)]).toEqual([label, ask(path, label).filter((number) => !isRevoked(number))])
      }
    }
    compare()
    // ssh-keygen does not touch a file with a damaged line
    writeFileSync(path, readFileSync(path, 'utf8').replace('node1 damaged', '# no more'))
    execFileSync('ssh-keygen', ['-H', '-f', path], { stdio: 'ignore' })
    expect(readFileSync(path, 'utf8')).toContain('|1|')
    compare()
  })

  it('prints the same fingerprint', () => {
    const key = join(directory, 'fingerprint')
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    const shown = execFileSync('ssh-keygen', ['-l', '-f', key], { encoding: 'utf8' }).split(' ')[1]
    expect(fingerprintOf(Buffer.from(readFileSync(`${key}.pub`, 'utf8').split(' ')[1]!, 'base64'))).toBe(shown)
  })
})
