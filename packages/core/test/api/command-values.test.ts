import { execFileSync } from 'node:child_process'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyText } from '../../../../test/any-text.js'
import { type CommandValues, fillCommand, parseCommand, raw } from '../../src/api/command-values.js'
import { Host, hosts } from '../../src/index.js'

const HOSTS = hosts(['h1', 'h2', 'h1', 'h3', 'h4'])
const fill = (command: string | string[], values: CommandValues = {}, list: readonly Host[] = HOSTS): (string | readonly string[])[] => {
  const places = parseCommand(command, values)
  return list.map((host, index) => fillCommand(places, values, host, index))
}
const one = (command: string | string[], values: CommandValues = {}): string | readonly string[] => fill(command, values, [HOSTS[0]!])[0]!

describe('values of a command', () => {
  it('are taken from lists by the position of the host, and again from the front', () => {
    expect(fill('echo {{x}}', { x: ['a', 'b', 'c'] })).toEqual(['echo a', 'echo b', 'echo c', 'echo a', 'echo b'])
    expect(fill('sleep {{ delays }}', { delays: [1, 2.5] })).toEqual(['sleep 1', 'sleep 2.5', 'sleep 1', 'sleep 2.5', 'sleep 1'])
  })

  it('are made by functions of host and position', () => {
    expect(fill('echo {{x}}', { x: (host, index) => `${host.address}-${index}` })).toEqual([
      'echo h1-0',
      'echo h2-1',
      'echo h1-2',
      'echo h3-3',
      'echo h4-4',
    ])
  })

  it('may be one for all hosts', () => {
    expect(fill('echo {{x}} {{n}}', { x: 'it is', n: 7 }).at(-1)).toBe("echo 'it is' 7")
  })

  it('hold the address of the host under its name, in two forms', () => {
    const list = [new Host('alice@node1:2222')]
    expect(fill('ping {{host}}; echo {{{host}}} {{{ host }}}', {}, list)).toEqual(['ping node1; echo node1 node1'])
    expect(fill('echo {{target}}', { target: hosts(['u@a:1', 'b']) })).toEqual(['echo a', 'echo b', 'echo a', 'echo b', 'echo a'])
  })

  it.each([
    ['echo {{x}}', 'a b', "echo 'a b'"],
    ['echo {{x}}', '$(reboot)', "echo '$(reboot)'"],
    ['echo {{x}}', "it's", "echo 'it'\\''s'"],
    ['echo {{x}}', '', "echo ''"],
    ['echo "{{x}}"', '$(reboot)', 'echo "\\$(reboot)"'],
    ["echo '{{x}}'", "a'b", "echo 'a'\\''b'"],
    ['cd /data/{{x}}/in', 'a b', "cd /data/'a b'/in"],
    ['x={{x}}; echo "$x"', 'a; b', 'x=\'a; b\'; echo "$x"'],
  ])('are quoted for the shell: %s with %j', (command, x, expected) => {
    expect(one(command, { x: [x] })).toBe(expected)
  })

  it('are put into the words of a list as they are', () => {
    expect(one(['echo', '{{x}}', '-{{x}}-{{host}}', '$HOME'], { x: ["it's $5"] })).toEqual(['echo', "it's $5", "-it's $5-h1", '$HOME'])
    expect(one(['echo', '{{x}}'], { x: [raw('a b')] })).toEqual(['echo', 'a b'])
  })

  it('are pasted when they are marked as raw text', () => {
    expect(fill('{{what}} | head', { what: [raw('uname -a'), raw('df {{n}}')], n: 1 }).slice(0, 2)).toEqual([
      'uname -a | head',
      'df {{n}} | head',
    ])
  })

  it.each([
    ["docker ps --format '{{{{.Names}}'", "docker ps --format '{{.Names}}'"],
    ['echo ${{{n}}}', 'echo ${3}'],
    ['echo {{{{x}}', 'echo {{x}}'],
    ['echo {a,b} }} { }', 'echo {a,b} }} { }'],
  ])('leave the braces of %s alone', (command, expected) => {
    expect(one(command, { n: [raw('3')] })).toBe(expected)
  })

  it('reach the program as they are, whatever they hold', () => {
    const places = fc.constantFrom('printf %s {{x}}', 'printf %s "{{x}}"', "printf %s '{{x}}'", 'y={{x}}; printf %s "$y"')
    const text = anyText({ minLength: 1, maxLength: 12 }).filter((value) => !/\0|\p{Surrogate}/u.test(value))
    const odd = fc.string({ unit: fc.constantFrom("'", '"', '$', '`', '\\', ' ', '\n', ';', '!', '*', '-', 'a', '{', '}'), maxLength: 8 })
    fc.assert(
      fc.property(places, fc.oneof(text, odd), (command, value) => {
        const line = one(command, { x: [value] }) as string
        expect(execFileSync('/bin/sh', ['-c', line], { encoding: 'utf8' })).toBe(value)
      }),
      { numRuns: 200 },
    )
  })

  it.each([
    [{ x: 'a b' } as CommandValues, 'sh -c "echo {{x}}"'],
    [{ x: 'uname -a' } as CommandValues, '{{x}}'],
    [{ x: '`a`' } as CommandValues, 'echo `echo {{x}}`'],
    [{ x: 'a b' } as CommandValues, 'eval {{x}}'],
  ])('that cannot be written safely are refused: %j in %s', (values, command) => {
    expect(() => one(command, values)).toThrow(
      expect.objectContaining({
        code: 'E_TEMPLATE_UNSAFE',
        message: expect.stringContaining('for h1'),
        suggestions: expect.arrayContaining([expect.stringContaining('raw(')]),
      }),
    )
  })

  it('must be plain words where no POSIX shell reads', () => {
    const values = { x: ['a-b', 'a b'] }
    const places = parseCommand('show {{x}}', values)
    expect(fillCommand(places, values, HOSTS[0]!, 0, { posix: false })).toBe('show a-b')
    expect(() => fillCommand(places, values, HOSTS[1]!, 1, { posix: false })).toThrow(
      expect.objectContaining({ code: 'E_TEMPLATE_UNSAFE', message: expect.stringContaining('not a POSIX shell') }),
    )
  })

  it.each([
    ['echo {{delay}}', { delays: [1] }, 'Did you mean {{delays}}?'],
    ['echo {{hots}}', {}, 'Did you mean {{host}}?'],
    ['echo {{constructor}}', { x: [1] }, 'known here'],
    ['echo {{i*2}}', { i: [1] }, 'function'],
    ['echo {{.Names}}', {}, '{{{{'],
    ['echo {{x', { x: [1] }, '{{{{'],
  ])('a place without values is refused: %s', (command, values, suggestion) => {
    expect(() => parseCommand(command, values)).toThrow(
      expect.objectContaining({ code: 'E_ARGUMENT', suggestions: expect.arrayContaining([expect.stringContaining(suggestion)]) }),
    )
  })

  it.each([{ x: [] }, { x: null }, { x: undefined }, { x: {} }, { x: new Map() }, { host: ['a'] }])(
    'that are no list, function or plain value are refused: %j',
    (values) => {
      expect(() => parseCommand('echo', values as never)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
    },
  )

  it('that are missing for a host are refused with its name', () => {
    expect(() => fill('echo {{x}}', { x: (_, index) => (index === 3 ? undefined : 'a') })).toThrow(/no value of \{\{x\}\} for h3/)
    expect(() => fill('echo {{x}}', { x: ['a', undefined] })).toThrow(/for h2/)
  })

  it('hold no NUL character', () => {
    expect(() => one('echo {{x}}', { x: ['a\0b'] })).toThrow(expect.objectContaining({ code: 'E_TEMPLATE_UNSAFE' }))
  })
})
