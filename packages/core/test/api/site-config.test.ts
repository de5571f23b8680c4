import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectionOf } from '../../src/api/connections.js'
import {
  hosts,
  readSites,
  setConnectionDefaults,
  setHostGroups,
  setTransferDefaults,
  siteOf,
  transferDefaults,
  useConfiguration,
} from '../../src/index.js'

let folder: string
let before: string | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-sites-'))
  before = process.env['XDG_CONFIG_HOME']
  process.env['XDG_CONFIG_HOME'] = join(folder, 'config')
  mkdirSync(join(folder, 'config/cahier'), { recursive: true })
})
afterEach(() => {
  if (before === undefined) delete process.env['XDG_CONFIG_HOME']
  else process.env['XDG_CONFIG_HOME'] = before
  rmSync(folder, { recursive: true, force: true })
  setConnectionDefaults({})
  setTransferDefaults({})
  setHostGroups({})
})
const near = (text: string): void => writeFileSync(join(folder, 'cahier.config.yaml'), text)
const far = (text: string): void => writeFileSync(join(folder, 'config/cahier/cahier.config.yaml'), text)

describe('the configuration', () => {
  it('names groups, and those beside the campaign win', async () => {
    far('groups: { compute: "node[1-9]", login: [login1, "@compute"] }')
    near('groups: { compute: "node[1-2]" }')
    await useConfiguration({ directory: folder })
    expect(hosts('@login').join(' ')).toBe('login1 node1 node2')
  })

  it('says how hosts are reached: for a site, for the file, for the user, in this order', async () => {
    far('connection: { user: carol, port: 2222, connectTimeout: 3s, sessions: 4 }')
    near(
      [
        'connection: { user: bob, connectTimeout: 5s }',
        'sites:',
        '  cluster: { host: "alice@login", connection: { connectTimeout: 7s } }',
        '  other: { host: "x" }',
      ].join('\n'),
    )
    const config = await useConfiguration({ directory: folder, site: 'cluster' })
    expect(siteOf(config, 'cluster')).toMatchObject({ name: 'cluster', host: 'alice@login', connection: { connectTimeout: '7s' } })
    expect(connectionOf()).toMatchObject({ user: 'bob', port: 2222, connectTimeout: 7_000, sessions: 4, keepAlive: 10_000 })
    expect(connectionOf({ user: 'dora', port: undefined })).toMatchObject({ user: 'dora', port: 2222, connectTimeout: 7_000 })
    await useConfiguration({ directory: folder, site: 'other' })
    expect(connectionOf()).toMatchObject({ user: 'bob', connectTimeout: 5_000 })
    await useConfiguration({ directory: folder })
    expect(connectionOf()).toMatchObject({ user: 'bob', connectTimeout: 5_000 })
  })

  it('says what moves files: for a site, for the file, for the user, the nearest as a whole', async () => {
    far('transfer: { via: rsync, over: ssh }')
    near(
      [
        'transfer: { via: taktuk, options: { topology: flat } }',
        'sites:',
        '  cluster: { host: login, transfer: { via: chain, over: ssh } }',
        '  other: { host: x }',
      ].join('\n'),
    )
    await useConfiguration({ directory: folder, site: 'cluster' })
    expect(transferDefaults()).toEqual({ via: 'chain', over: 'ssh' })
    await useConfiguration({ directory: folder, site: 'other' })
    expect(transferDefaults()).toEqual({ via: 'taktuk', options: { topology: 'flat' } })
    near('')
    await useConfiguration({ directory: folder })
    expect(transferDefaults()).toEqual({ via: 'rsync', over: 'ssh' })
    near('transfer: { vai: chain }')
    await expect(useConfiguration({ directory: folder })).rejects.toMatchObject({
      code: 'E_SITE_INVALID',
      suggestions: [expect.stringContaining('via')],
    })
    // Else each copy would fail, and talk of flags that nobody gave.
    near('transfer: { options: { topology: flat } }')
    await expect(useConfiguration({ directory: folder })).rejects.toMatchObject({
      code: 'E_SITE_INVALID',
      message: expect.stringMatching(/cahier\.config\.yaml.*transfer\.options.*via/s),
    })
  })

  it('may hold functions when it is code', async () => {
    writeFileSync(join(folder, 'cahier.config.js'), 'export default { connection: { hostRewrite: (name) => `${name}.inside` } }')
    await useConfiguration({ directory: folder })
    expect((connectionOf().hostRewrite as (name: string) => string)('a')).toBe('a.inside')
  })

  it('is not needed', async () => {
    expect(await readSites(folder)).toMatchObject({ defaultSite: 'local', groups: {}, sites: { local: { scheduler: 'local' } } })
  })

  it('says of a group that is not there where it was looked for', async () => {
    mkdirSync(join(folder, 'below'))
    near('groups: { compute: "node[1-2]" }')
    far('groups: { login: a }')
    await useConfiguration({ directory: join(folder, 'below') })
    expect(() => hosts('@compute')).toThrow(
      expect.objectContaining({
        code: 'E_HOST_SET',
        message: expect.stringMatching(
          /no group "compute" \(looked for in \/.*\/below\/cahier\.config \(\.ts .*\.json\), which is not there and in \/.*\/cahier\/cahier\.config\.yaml; not in the folders above\)/,
        ),
      }),
    )
    expect(() => hosts('@compute', { groups: {} })).toThrow(expect.objectContaining({ message: expect.not.stringContaining('looked for') }))
  })

  it.each([
    ['cahier.config.yaml', 'groups: [1\nsites: {}\n', /cahier\.config\.yaml, line \d/],
    ['cahier.config.mjs', 'const a = 1\nthrow new Error("no such table")\n', /cahier\.config\.mjs cannot be loaded: no such table/],
  ])('refuses %s that cannot be loaded', async (name, text, message) => {
    writeFileSync(join(folder, name), text)
    await expect(readSites(folder)).rejects.toMatchObject({ code: 'E_SITE_INVALID', message: expect.stringMatching(message) })
  })

  it.each([
    ['connection: { usr: bob }', 'usr', 'Did you mean user?'],
    ['sites: { a: { connection: { connectTimeout: soon } } }', 'connectTimeout', undefined],
    ['sites: { a: { hots: b } }', 'hots', 'Did you mean host?'],
    ['sites: { a: { host: "two words" } }', 'sites.a.host: "two words" is not a host', undefined],
    ['groups: { "a b": c }', 'groups', undefined],
    ['groups: { a: 3 }', 'groups', undefined],
    ['group: { a: b }', 'group', 'Did you mean groups?'],
  ])('refuses %s', async (text, place, suggestion) => {
    near(text)
    await expect(useConfiguration({ directory: folder })).rejects.toThrow(
      expect.objectContaining({
        code: 'E_SITE_INVALID',
        message: expect.stringContaining(place),
        ...(suggestion === undefined ? {} : { suggestions: expect.arrayContaining([suggestion]) }),
      }),
    )
  })

  it('refuses a site that is not there', async () => {
    near('sites: { cluster: {} }')
    await expect(useConfiguration({ directory: folder, site: 'clutser' })).rejects.toThrow(
      expect.objectContaining({ code: 'E_NOT_FOUND', suggestions: expect.arrayContaining(['Did you mean cluster?']) }),
    )
  })
})
