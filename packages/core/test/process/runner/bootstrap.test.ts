import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { bootstrapRelay, bootstrapRunner, makeToken, stripComments } from '../../../src/process/runner/bootstrap.js'
import { HelloReader } from '../../../src/process/runner/hello.js'

const asset = (name: string): string => readFileSync(new URL(`../../../assets/${name}`, import.meta.url), 'utf8')

describe('the programs that are sent', () => {
  it('compile under strict and with warnings, also the parts that are compiled later', () => {
    const text = asset('runner.pl')
    const later = [...text.matchAll(/^push @RARE, <<'RARE';\n(.*?)^RARE$/gms)].map((found) => found[1])
    expect(later.length).toBeGreaterThan(4)
    const names = text.slice(0, text.indexOf('push @RARE')).match(/^our .*$/gm)
    const whole = `use strict; use warnings FATAL => 'all'; no warnings 'once';\n${names?.join('\n')}\n${later.join('\n')}`
    expect(spawnSync('perl', ['-c'], { input: whole, encoding: 'utf8' }).stderr).toBe('- syntax OK\n')
    const said = spawnSync('perl', ['-Mwarnings=FATAL,all', '-c', new URL('../../../assets/runner.pl', import.meta.url).pathname])
    expect(said.stderr.toString()).toMatch(/runner\.pl syntax OK/)
  })

  it('load no module before they are asked for something rare', () => {
    const { command, input } = bootstrapRunner('perl', makeToken(), 0, 1)
    const { stderr } = spawnSync('/bin/sh', ['-c', command.replace("perl -e '", "perl -e 'END{print STDERR join q( ),keys%INC}")], {
      input,
    })
    expect(stderr.toString()).toBe('')
  })

  it('have lines that every login shell reads alike', () => {
    for (const kind of ['perl', 'sh'] as const) {
      for (const line of [bootstrapRunner(kind, makeToken(), 60, 5).command, bootstrapRelay(kind, 4711, '/tmp/cahier-x')]) {
        // A login shell that is given a command knows no history, so `$!` stays what it is.
        expect(line).not.toMatch(/[\n\\]|(?<!\$)!/)
        expect(line.split("'")).toHaveLength(3)
        expect(line.length).toBeLessThan(2_000)
      }
    }
  })

  it('lose their comments and indentation, and nothing else', () => {
    expect(stripComments('# a\n  b # c\n\n\tuse strict;\n  #d\n"#e"\n')).toBe('b # c\n"#e"\n')
  })
})

describe('HelloReader', () => {
  const token = 'abcdefghij0123456'
  const hello = `\nH 0 18 ${token}\n2 perl 42 7 /tmp/x`
  const expected = { version: 2, kind: 'perl', pid: 42, received: 7, directory: '/tmp/x' }

  it('finds the hello however it is cut, and gives back what follows', () => {
    const bytes = Buffer.from(`motd\nH 0 3 nobody\n${hello}rest`)
    for (let size = 1; size <= bytes.length; size += 1) {
      const reader = new HelloReader(token)
      let found: ReturnType<HelloReader['push']>
      let at = 0
      for (; found === undefined && at < bytes.length; at += size) found = reader.push(bytes.subarray(at, at + size))
      expect(found?.hello).toEqual(expected)
      expect(Buffer.concat([found?.rest ?? Buffer.alloc(0), bytes.subarray(at)]).toString()).toBe('rest')
    }
  })

  it.each([
    ['the token of another', hello.replace(token, 'abcdefghij0123457')],
    ['a hello inside a line', hello.slice(1).replace('H', 'xH')],
    ['no end', hello.slice(0, -1)],
  ])('refuses %s', (_, text) => {
    expect(new HelloReader(token).push(Buffer.from(text))).toBeUndefined()
  })

  it('keeps the beginning of the noise, and gives up after 1 MiB of it', () => {
    const reader = new HelloReader(token)
    reader.push(Buffer.from('this account is closed\n'))
    expect(() => {
      for (let sent = 0; sent <= 1 << 20; sent += 65_536) reader.push(Buffer.alloc(65_536, 'x'))
    }).toThrow(/1 MiB/)
    expect(reader.noise).toMatch(/^this account is closed\nx+$/)
    expect(reader.noise).toHaveLength(4_096)
  })
})
