import { afterEach, describe, expect, it } from 'vitest'
import { Host, hosts, setHostGroups, uniqueHosts } from '../../src/index.js'

afterEach(() => setHostGroups({}))
const names = (list: readonly Host[]): string => list.join(' ')

describe('Host', () => {
  it.each([
    ['node1', { address: 'node1' }],
    ['alice@node1', { address: 'node1', user: 'alice' }],
    ['node1:2222', { address: 'node1', port: 2222 }],
    ['alice@node1:2222', { address: 'node1', user: 'alice', port: 2222 }],
    ['[2001:db8::1]:22', { address: '2001:db8::1', port: 22 }],
    ['fe80::1', { address: 'fe80::1' }],
  ])('reads %s', (text, parts) => {
    const host = new Host(text)
    expect(host).toMatchObject(parts)
    expect(String(host)).toBe(text)
    expect(JSON.parse(JSON.stringify(host))).toEqual(parts)
  })

  it('takes what the options say over what it is made from', () => {
    const first = new Host('alice@node1:22', { keyFile: '/keys/a', jump: 'bob@gate:2222,inner' })
    const host = new Host(first, { user: 'carol', port: 23 })
    expect(host).toMatchObject({ address: 'node1', user: 'carol', port: 23, keyFile: '/keys/a', jump: 'bob@gate:2222,inner' })
    expect(first).toMatchObject({ user: 'alice', port: 22 })
  })

  it('is immutable', () => {
    expect(Object.isFrozen(new Host('node1'))).toBe(true)
  })

  it('is equal to a host of the same values only', () => {
    expect(new Host('a@n:22').equals({ address: 'n', user: 'a', port: 22 })).toBe(true)
    expect(new Host('n').equals(new Host('n:22'))).toBe(false)
    expect(new Host('n').equals(new Host('n', { jump: 'gate' }))).toBe(false)
    expect(names(uniqueHosts(hosts(['b', 'a', 'b', 'a:22'])))).toBe('b a a:22')
  })

  it.each(['', 'two words', '-oProxyCommand=x', '-l@node1', 'node1:0', 'node1:65536', 'node1:ssh', 'node[1-2]', 'a@b@c', 'node1\n'])(
    'refuses %j',
    (text) => {
      expect(() => new Host(text)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
    },
  )

  it.each([
    { port: 0 },
    { port: 1.5 },
    { user: '-x' },
    { user: 'a b' },
    { user: 'a@b' },
    { keyFile: '' },
    { keyFile: 'a\0b' },
    { jump: '' },
    { jump: 'gate,-oX' },
    { jump: 'a b' },
  ])('refuses the options %j', (options) => {
    expect(() => new Host('node1', options)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })

  it('refuses an address that holds a user or a port', () => {
    expect(() => new Host({ address: 'alice@node1' })).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
    expect(() => new Host({ address: 'node1:22' })).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})

describe('hosts', () => {
  it.each([
    ['node[1-3]', 'node1 node2 node3'],
    ['alice@node[1-2]:2222', 'alice@node1:2222 alice@node2:2222'],
    ['b,a', 'b a'],
    ['b,a,b', 'b a'],
    ['node[1-4]!node3', 'node1 node2 node4'],
    ['[2001:db8::1]:22', '[2001:db8::1]:22'],
    ['', ''],
  ])('unfolds %j', (text, expected) => {
    expect(names(hosts(text))).toBe(expected)
  })

  it('keeps order and repetitions of a list', () => {
    const own = new Host('z', { keyFile: '/k' })
    const list = hosts(['node[2-3]', own, ['node3', { address: 'y', user: 'bob' }], 'node2'])
    expect(names(list)).toBe('node2 node3 z node3 bob@y node2')
    expect(list[2]).toBe(own)
  })

  it('knows groups, groups of groups and the group of all', () => {
    const groups = { compute: ['node[1-4]', 'big1'], login: 'login1', all: '@compute,@login', 'gpu:a100': 'alice@gpu[1-2]:22' }
    expect(names(hosts('@compute!node3', { groups }))).toBe('node1 node2 node4 big1')
    expect(names(hosts('@all', { groups }))).toBe('node1 node2 node3 node4 big1 login1')
    expect(names(hosts('@gpu:a100', { groups }))).toBe('alice@gpu1:22 alice@gpu2:22')
    expect(names(hosts('@*', { groups: { a: 'x', b: ['y', 'x'] } }))).toBe('x y')
    setHostGroups(groups)
    expect(names(hosts(['@login', '@login']))).toBe('login1 login1')
    expect(names(hosts('@login', { groups: { login: 'other' } }))).toBe('other')
  })

  it.each([
    ['@comptue', 'E_HOST_SET', 'Did you mean @compute?'],
    ['node[1-', 'E_HOST_SET', undefined],
    ['a b]', 'E_HOST_SET', undefined],
    ['-w', 'E_HOST_SET', undefined],
    ['node[1-2]:99999', 'E_ARGUMENT', undefined],
    ['@constructor', 'E_HOST_SET', undefined],
  ])('refuses %j', (text, code, suggestion) => {
    const refusal = expect.objectContaining({
      code,
      ...(suggestion === undefined ? {} : { suggestions: expect.arrayContaining([suggestion]) }),
    })
    expect(() => hosts(text, { groups: { compute: 'node[1-4]' } })).toThrow(refusal)
  })

  it('refuses a group that contains itself, and one that cannot be read, by name', () => {
    expect(() => hosts('@a', { groups: { a: '@b', b: 'x,@a' } })).toThrow(/the group a cannot be read.*contains itself: @a > @b > @a/)
    expect(() => hosts('@a', { groups: { a: 'node[3-1]' } })).toThrow(/the group a cannot be read.*backwards/)
  })

  it.each([[42], [null], [{}], [['node1', undefined]]])('refuses %j', (input) => {
    expect(() => hosts(input as never)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})
