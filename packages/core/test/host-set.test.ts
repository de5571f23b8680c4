import { describe, expect, it } from 'vitest'
import { foldHosts, parseHostSet } from '../src/host-set.js'

describe('parseHostSet', () => {
  it.each([
    ['node1', 'node1'],
    ['node[1-3]', 'node1 node2 node3'],
    ['node[08-10,12]', 'node08 node09 node10 node12'],
    ['node[098-101]', 'node098 node099 node100 node101'],
    ['n[1-2]-ib[0-1]', 'n1-ib0 n1-ib1 n2-ib0 n2-ib1'],
    ['gros-[1-2].nancy.grid5000.fr', 'gros-1.nancy.grid5000.fr gros-2.nancy.grid5000.fr'],
    ['n[0-10/5]', 'n0 n5 n10'],
    ['n[5]', 'n5'],
    ['a,b', 'a b'],
    ['b a\n c\t', 'b a c'],
    ['a , b', 'a b'],
    ['n[1-3],n[2-4]', 'n1 n2 n3 n4'],
    ['n[1-5]!n[2-4]', 'n1 n5'],
    ['n[1-5]&n[4-9]', 'n4 n5'],
    ['n[1-3]^n[3-4]', 'n1 n2 n4'],
    ['n[1-9]!n[2-8],n5', 'n1 n9 n5'],
    ['[1-2]', '1 2'],
    ['10.0.0.[1-2]', '10.0.0.1 10.0.0.2'],
    ['root@n[1-2]', 'root@n1 root@n2'],
    ['', ''],
    [' \n', ''],
  ])('unfolds %j', (text, hosts) => {
    expect(parseHostSet(text).join(' ')).toBe(hosts)
  })

  it('asks for groups', () => {
    const group = (name: string) => (name === 'compute' ? ['n1', 'n2'] : undefined)
    expect(parseHostSet('@compute!n1,m1', { group })).toEqual(['n2', 'm1'])
    expect(() => parseHostSet('@comptue', { group, groupNames: ['compute'] })).toThrow(
      expect.objectContaining({ code: 'E_HOST_SET', suggestions: ['Did you mean @compute?'] }),
    )
    expect(() => parseHostSet('@x', { group: () => ['-oProxyCommand=x'] })).toThrow(expect.objectContaining({ code: 'E_HOST_SET' }))
  })

  it.each([
    ['n[1-3', 1, 'never closed'],
    ['n[', 1, 'never closed'],
    ['n[1-', 4, 'a number is missing'],
    ['n[]', 2, 'a number is missing'],
    ['n[1,]', 4, 'a number is missing'],
    ['n[a]', 2, 'a number is missing'],
    ['n[1;2]', 3, '";" does not belong'],
    ['n[3-1]', 2, 'backwards'],
    ['n[1-3/0]', 2, 'step of 0'],
    ['n[1-3/]', 6, 'a number is missing'],
    ['n[1-010]', 2, 'padded differently'],
    ['n[1-1234567890123456]', 2, 'more than 15 digits'],
    ['n]', 1, 'closes nothing'],
    ['a,,b', 2, 'no host before it'],
    [',a', 0, 'no host before it'],
    ['a, ', 1, 'no host after it'],
    ['!a', 0, 'no host before it'],
    ['a -b', 2, 'does not begin with "-"'],
    ['n*', 1, 'patterns'],
    ['a;reboot', 1, '";" is not part'],
    ['$(reboot)', 0, 'not part'],
    ['n[1-1000001]', 2, 'more than 1000000 hosts'],
    ['n[1-1000]x[0-1000]', 11, 'more than 1000000 hosts'],
    ['n[1-600000],m[1-600000]', 12, 'more than 1000000 hosts'],
  ])('refuses %j, naming the place', (text, position, why) => {
    expect(() => parseHostSet(text)).toThrow(
      expect.objectContaining({
        code: 'E_HOST_SET',
        message: expect.stringContaining(why),
        data: expect.objectContaining({ position }),
      }),
    )
  })
})

describe('foldHosts', () => {
  it.each([
    ['node3 node1 node2', 'node[1-3]'],
    ['node1', 'node1'],
    ['', ''],
    ['a b a', 'a,b'],
    ['node08 node09 node10', 'node[08-10]'],
    ['n1 n3 n4', 'n[1,3-4]'],
    ['n1-ib0 n1-ib1 n2-ib0 n2-ib1', 'n[1-2]-ib[0-1]'],
    ['gros-1.nancy.grid5000.fr gros-2.nancy.grid5000.fr', 'gros-[1-2].nancy.grid5000.fr'],
    ['a1 b1', 'a1,b1'],
    ['n9 n10', 'n[9-10]'],
    ['n1a n12345678901234567890b n2a', 'n[1-2]a,n12345678901234567890b'],
  ])('folds %j', (hosts, text) => {
    expect(foldHosts(hosts.split(' ').filter((host) => host !== ''))).toBe(text)
  })

  it('keeps hosts apart that differ in padding only', () => {
    const hosts = ['n01', 'n1', 'n02', 'n2', 'n10', 'n100', 'n001']
    expect(new Set(parseHostSet(foldHosts(hosts)))).toEqual(new Set(hosts))
  })

  it.each(['', ' ', 'a b', 'n[1]', '-x', 'a,b', '@g', 'a\n'])('refuses the host %j', (host) => {
    expect(() => foldHosts([host])).toThrow(expect.objectContaining({ code: 'E_HOST_SET' }))
  })
})
