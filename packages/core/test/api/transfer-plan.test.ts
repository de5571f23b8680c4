import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { connectionOf } from '../../src/api/connections.js'
import { hosts } from '../../src/api/hosts.js'
import { type PlanInput, planTransfer } from '../../src/api/transfer-plan.js'
import { copyOptionsSchema } from '../../src/model/transfer.js'

const connection = connectionOf()

type Given = Partial<Omit<PlanInput, 'hosts' | 'policy'>> & { readonly hosts?: Parameters<typeof hosts>[0]; readonly as?: string }

function plan({ hosts: given = 'n[1-3]', as, ...input }: Given) {
  const policy = copyOptionsSchema.parse(as === undefined ? {} : { as })
  return planTransfer({
    direction: 'put',
    files: 'a',
    to: '/t',
    values: undefined,
    connection,
    isLocal: false,
    ...input,
    hosts: hosts(given),
    policy,
  })
}

/** Files, `host:directory` of each end, positions. */
function shown(input: Given) {
  return plan(input).map(({ request, positions }) => [
    request.files.map(String),
    request.ends.map(({ host, directory }) => `${host?.address ?? ''}:${directory}`),
    positions,
  ])
}

describe('planTransfer', () => {
  it('makes one request of hosts with the same files', () => {
    expect(shown({ files: ['a', 'dir/b'] })).toEqual([
      [
        ['a', 'dir/b'],
        ['n1:/t', 'n2:/t', 'n3:/t'],
        [[0], [1], [2]],
      ],
    ])
  })

  it('fills places of files and of the directory, by position', () => {
    expect(shown({ files: ['in-{{part}}.dat'], to: '/t/{{host}}/{{{{x', values: { part: [1, 2] } })).toEqual([
      [['in-1.dat'], ['n1:/t/n1/{{x', 'n3:/t/n3/{{x'], [[0], [2]]],
      [['in-2.dat'], ['n2:/t/n2/{{x'], [[1]]],
    ])
    expect(shown({ to: ['/a', '/b/{{host}}'] })).toEqual([[['a'], ['n1:/a', 'n2:/b/n2', 'n3:/a'], [[0], [1], [2]]]])
    expect(shown({ to: (host, index) => `/${host.address}{{${index}` })).toEqual([
      [['a'], ['n1:/n1{{0', 'n2:/n2{{1', 'n3:/n3{{2'], [[0], [1], [2]]],
    ])
    expect(shown({ files: '{{a}}', to: '{{b', values: false, hosts: 'n1' })).toEqual([[['{{a}}'], ['n1:{{b'], [[0]]]])
  })

  it('quotes nothing: no shell reads a name', () => {
    expect(shown({ hosts: 'n1', to: '{{d}}', values: { d: "$(x) it's" } })).toEqual([[['a'], ["n1:$(x) it's"], [[0]]]])
  })

  it('serves a host that is listed twice once, unless the directories differ', () => {
    expect(shown({ hosts: ['n1', 'n2', 'n1'] })).toEqual([[['a'], ['n1:/t', 'n2:/t'], [[0, 2], [1]]]])
    expect(shown({ hosts: ['n1', 'n1', 'n1'], to: ['x', './x/', 'y'] })).toEqual([[['a'], ['n1:x', 'n1:y'], [[0, 1], [2]]]])
  })

  it('gives the default directories of a get', () => {
    const here = process.cwd()
    expect(shown({ direction: 'get', to: undefined, hosts: 'n1' })).toEqual([[['a'], [`n1:${here}`], [[0]]]])
    expect(shown({ direction: 'get', to: undefined, hosts: ['n1', 'n1'] })).toEqual([[['a'], [`n1:${here}`], [[0, 1]]]])
    expect(shown({ direction: 'get', to: undefined, hosts: 'n[1-2]' })).toEqual([[['a'], [`n1:${here}/n1`, `n2:${here}/n2`], [[0], [1]]]])
  })

  it('lets hosts share a directory when their files have other names', () => {
    expect(shown({ direction: 'get', files: 'out-{{host}}', to: '/d', hosts: 'n[1-2]' })).toEqual([
      [['out-n1'], ['n1:/d'], [[0]]],
      [['out-n2'], ['n2:/d'], [[1]]],
    ])
  })

  it('knows the home directory of this machine, and leaves that of hosts to them', () => {
    expect(shown({ files: '~/a', to: '~/t', hosts: 'n1' })).toEqual([[[join(homedir(), 'a')], ['n1:~/t'], [[0]]]])
    expect(shown({ direction: 'get', files: '~/a', to: '~/t', hosts: 'n1' })).toEqual([[['~/a'], [`n1:${join(homedir(), 't')}`], [[0]]]])
    expect(shown({ files: '~lock', to: './~jo', hosts: 'n1' })).toEqual([[['~lock'], ['n1:./~jo'], [[0]]]])
  })

  it.each<[string, string]>([
    ['d', "Write to: 'd/{{host}}' (--to 'd/{{host}}') for a directory of each host"],
    ['/d/', "Write to: '/d/{{host}}' (--to '/d/{{host}}') for a directory of each host"],
    ['.', "Write to: '{{host}}' (--to '{{host}}') for a directory of each host"],
  ])('says what to write instead of %s for files of several hosts', (to, tip) => {
    expect(() => plan({ direction: 'get', to })).toThrow(expect.objectContaining({ suggestions: [tip] }))
  })

  it('keeps names that are no UTF-8', () => {
    const name = Uint8Array.of(0x61, 0xff)
    expect(plan({ files: [name], hosts: 'n1' })[0]?.request.files).toEqual([name])
    expect(plan({ files: name, hosts: 'n1' })[0]?.request.files).toEqual([name])
  })

  it('knows one machine when all directories are here', () => {
    expect(shown({ isLocal: true, to: '/t/{{host}}', hosts: 'n[1-2]' })).toEqual([[['a'], [':/t/n1', ':/t/n2'], [[0], [1]]]])
    expect(shown({ isLocal: true, hosts: 'n[1-2]' })).toEqual([[['a'], [':/t'], [[0, 1]]]])
  })

  it.each<[string, Given, RegExp]>([
    ['no host', { hosts: [] }, /no host/],
    ['the home of another user', { to: '~jo/x' }, /^~jo\/x: only ~ by itself stands for a home directory, not ~jo$/],
    ['files at the home of another user', { direction: 'get', files: '~jo/x', to: 'd' }, /not ~jo$/],
    ['no file', { files: [] }, /no file/],
    ['an empty file name', { files: ['a', ''] }, /file name is empty/],
    ['a name with NUL', { files: 'a\0b' }, /NUL/],
    ['a number for a name', { files: [7 as never] }, /7, not a text/],
    ['no directory for a put', { to: undefined }, /\(to\) is missing/],
    ['an empty directory', { to: '' }, /directory is empty/],
    ['an empty list of directories', { to: [] }, /neither a text/],
    ['a directory that a value makes empty', { to: '{{d}}', values: { d: ['/x', ''] } }, /directory is empty/],
    ['a place without values', { to: '/{{hots}}' }, /place \{\{hots\}\}/],
    ['a file with a place without values', { files: '{{x}}' }, /file name "\{\{x\}\}" has a place/],
    ['one name for two files', { files: ['a', 'b'], as: 'c' }, /cannot all be named "c"/],
    ['one file twice', { files: ['a/x', 'a/x'] }, /^a\/x is to be copied twice into n1:\/t$/],
    ['two files of one name', { files: ['a/x', 'b/x/'] }, /a\/x and b\/x\/ would both become x in n1:\/t/],
    ['the same host with two files of one name', { hosts: ['n1', 'n1'], files: '{{d}}/x', values: { d: ['a', 'b'] } }, /both become x/],
    ['several hosts and one directory', { direction: 'get', to: 'd' }, /^n1:a and n2:a would both become a in d$/],
    ['several hosts and one pattern', { direction: 'get', to: 'd', files: '*.log' }, /n1:\*\.log and n2:\*\.log would/],
    ['several hosts, and one name', { direction: 'get', to: 'd', files: 'x-{{host}}', as: 'y' }, /would both become y/],
    ['several hosts, and no places', { direction: 'get', to: undefined, values: false }, /\(to\) is missing/],
    ['hosts that share this machine', { isLocal: true, files: 'a-{{host}}/x' }, /would both become x in \/t/],
  ])('refuses %s', (_title, input, message) => {
    expect(() => plan(input)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT', message: expect.stringMatching(message) }))
  })
})
