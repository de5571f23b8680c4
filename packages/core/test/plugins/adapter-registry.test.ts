import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { AdapterRegistry } from '../../src/plugins/adapter-registry.js'
import type { AdapterHost, AdapterModule } from '../../src/ports/adapter.js'
import { silentLogger } from '../../src/system/log.js'
import { adapterSource, installPackage, makeFolder, PBS, writeFiles } from './fixtures.js'

const host = { log: silentLogger } as AdapterHost

const local: AdapterModule = {
  api: 1,
  name: 'local',
  kind: 'scheduler',
  supports: {},
  options: z.strictObject({ cores: z.int().optional() }),
  create: (options) => ({ name: 'local', options }) as never,
}

/** A campaign folder whose package.json lists `names`. */
function campaign(...names: string[]): string {
  const folder = makeFolder()
  writeFiles(folder, { 'package.json': { dependencies: Object.fromEntries(names.map((name) => [name, '*'])) } })
  return folder
}

const inCampaign = (directory: string) => new AdapterRegistry({ builtIn: [local], roots: [{ origin: 'campaign', directory }] })

describe('AdapterRegistry', () => {
  it('makes the scheduler that a package listed beside the campaign provides', async () => {
    const folder = campaign('@lab/adapter-pbs')
    installPackage(folder, '@lab/adapter-pbs', { manifest: PBS })
    const made = await inCampaign(folder).createScheduler('pbs', { project: 'thermal' }, host)
    expect(made).toMatchObject({ name: 'pbs', given: { queue: 'default', project: 'thermal' }, host })
  })

  it('finds the package of a campaign in a folder below its package.json', async () => {
    const folder = campaign('pbs-for-cahier')
    installPackage(folder, 'pbs-for-cahier', { manifest: PBS })
    writeFiles(folder, { 'runs/deep/campaign.yaml': '' })
    await expect(inCampaign(join(folder, 'runs/deep')).load('scheduler', 'pbs')).resolves.toMatchObject({ name: 'pbs' })
  })

  it('finds no package that is installed and not listed', async () => {
    const folder = campaign()
    installPackage(folder, 'pbs-for-cahier', { manifest: PBS })
    await expect(inCampaign(folder).load('scheduler', 'pbs')).rejects.toMatchObject({ code: 'E_ADAPTER_MISSING' })
  })

  it('looks in the program, core, the campaign, the plugins and the CLI, in this order', async () => {
    const roots = (['campaign', 'plugins', 'official'] as const).map((origin) => {
      const directory = campaign(`from-${origin}`)
      installPackage(directory, `from-${origin}`, {
        manifest: { cahier: { adapterApi: 1, provides: ['scheduler/pbs', 'scheduler/local'] } },
      })
      return { origin, directory }
    })
    const given = { ...local, name: 'pbs' }
    const all = new AdapterRegistry({ given: [given], builtIn: [local], roots })
    expect(await all.load('scheduler', 'pbs')).toBe(given)
    expect(await all.load('scheduler', 'local')).toBe(local)
    expect((await all.list()).filter(({ name }) => name === 'pbs').map(({ origin, used }) => [origin, used])).toEqual([
      ['program', true],
      ['campaign', false],
      ['plugins', false],
      ['official', false],
    ])
    const packages = new AdapterRegistry({ roots })
    expect((await packages.list()).find(({ used }) => used)).toMatchObject({ name: 'pbs', package: 'from-campaign', version: '1.2.3' })
  })

  it('takes a package that the plugins of the CLI link to', async () => {
    const elsewhere = makeFolder()
    installPackage(elsewhere, 'linked', { manifest: PBS })
    const directory = makeFolder()
    writeFiles(directory, {
      'package.json': { oclif: { plugins: [{ type: 'link', name: 'linked', root: join(elsewhere, 'node_modules/linked') }] } },
    })
    const registry = new AdapterRegistry({ roots: [{ origin: 'plugins', directory }] })
    await expect(registry.load('scheduler', 'pbs')).resolves.toMatchObject({ name: 'pbs' })
  })

  it('takes several adapters from one package, and one without "exports"', async () => {
    const folder = campaign('two', 'old')
    installPackage(folder, 'two', {
      manifest: { cahier: { adapterApi: 1, provides: ['scheduler/pbs', 'transfer/rsync'] } },
      files: {
        'pbs.js': adapterSource(),
        'rsync.js': adapterSource({ name: 'rsync', kind: 'transfer' }),
        'index.js': `import pbs from './pbs.js'\nimport rsync from './rsync.js'\nexport default [pbs, rsync]`,
      },
    })
    installPackage(folder, 'old', {
      manifest: { exports: undefined, main: 'lib/main.js', cahier: { adapterApi: 1, provides: ['scheduler/lsf'] } },
      files: { 'lib/main.js': adapterSource({ name: 'lsf' }) },
    })
    const registry = inCampaign(folder)
    await expect(registry.createTransfer('rsync', {}, host)).resolves.toMatchObject({ name: 'rsync' })
    await expect(registry.load('scheduler', 'lsf')).resolves.toMatchObject({ name: 'lsf' })
  })

  it('imports nothing to list, and nothing but what is asked for', async () => {
    const folder = campaign('pbs-for-cahier', 'explosive')
    installPackage(folder, 'pbs-for-cahier', { manifest: PBS })
    installPackage(folder, 'explosive', {
      manifest: { cahier: { adapterApi: 1, provides: ['scheduler/boom'] } },
      files: { 'index.js': 'globalThis.cahierTestImported = true; throw new Error("boom")' },
    })
    const registry = inCampaign(folder)
    await registry.list()
    await registry.load('scheduler', 'pbs')
    expect(globalThis).not.toHaveProperty('cahierTestImported')
  })

  it('understands an adapter that brings a second copy of core', async () => {
    const folder = campaign('pbs-for-cahier')
    installPackage(folder, 'pbs-for-cahier', {
      manifest: PBS,
      files: {
        'node_modules/@cahier/core/package.json': { name: '@cahier/core', type: 'module', exports: { './spi': './spi.js' } },
        'node_modules/@cahier/core/spi.js': `
          export class SchedulerError extends Error {
            constructor(code, message) { super(message); this.code = code; this.suggestions = ['ask its owner']; this.data = {}
              Object.defineProperty(this, Symbol.for('@cahier/core:CampaignError'), { value: true }) }
          }`,
        'adapter.js': adapterSource(),
        'index.js': `
          import { SchedulerError } from '@cahier/core/spi'
          import adapter from './adapter.js'
          export default { ...adapter, create: () => { throw new SchedulerError('E_NOT_SUPPORTED', 'no such queue') } }`,
      },
    })
    await expect(inCampaign(folder).createScheduler('pbs', {}, host)).rejects.toMatchObject({
      code: 'E_NOT_SUPPORTED',
      suggestions: ['ask its owner'],
    })
  })

  it.each([
    ['slurm', 'Install it: cahier plugins install @cahier/adapter-slurm'],
    [
      'loadleveler',
      '@cahier/adapter-loadleveler is its place and holds no code yet in this version; once it is published: cahier plugins install @cahier/adapter-loadleveler',
    ],
  ])('says what to install for the adapter %s of the project, or that it is not written yet', async (name, suggestion) => {
    const error = await inCampaign(campaign())
      .load('scheduler', name)
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'E_ADAPTER_MISSING',
      message: `no installed package provides the scheduler "${name}" (there is: local)`,
      suggestions: [suggestion],
    })
  })

  it('answers a misspelt name with the nearest one', async () => {
    const error = await inCampaign(campaign())
      .load('scheduler', 'lcoal')
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'E_ADAPTER_MISSING',
      suggestions: expect.arrayContaining(['Write "local" if that is what you mean']),
    })
  })

  it('says that a listed package is not installed', async () => {
    const folder = campaign('@lab/adapter-pbs')
    const error = await inCampaign(folder)
      .load('scheduler', 'pbs')
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      suggestions: expect.arrayContaining([`@lab/adapter-pbs is listed in ${folder} and not installed: run npm install there`]),
    })
  })

  it.each([
    ['E_ADAPTER_API', 'a manifest of another version', { cahier: { adapterApi: 2, provides: ['scheduler/pbs'] } }, adapterSource()],
    ['E_ADAPTER_API', 'a descriptor of another version', PBS, adapterSource({ api: 0 })],
    ['E_ADAPTER_LOAD', 'an import that throws', PBS, 'throw new Error("no licence")'],
    ['E_ADAPTER_LOAD', 'an import of something that is not there', PBS, 'import "not-there-at-all"'],
    ['E_ADAPTER_LOAD', 'a file that is not JavaScript', PBS, 'export default {'],
    ['E_ADAPTER_INVALID', 'no default export', PBS, 'export const adapter = 1'],
    ['E_ADAPTER_INVALID', 'another adapter than promised', PBS, adapterSource({ name: 'lsf' })],
    ['E_ADAPTER_INVALID', 'another kind than promised', PBS, adapterSource({ kind: 'transfer' })],
    [
      'E_ADAPTER_INVALID',
      'a descriptor without create',
      PBS,
      'export default { api: 1, name: "pbs", kind: "scheduler", supports: {}, options: { safeParse() {} } }',
    ],
    [
      'E_ADAPTER_INVALID',
      'a descriptor without schema',
      PBS,
      'export default { api: 1, name: "pbs", kind: "scheduler", supports: {}, create() {} }',
    ],
    ['E_ADAPTER_INVALID', 'an empty list', PBS, 'export default []'],
  ])('refuses with %s %s, and names the package', async (code, _what, manifest, source) => {
    const folder = campaign('@lab/adapter-pbs')
    installPackage(folder, '@lab/adapter-pbs', { manifest, files: { 'index.js': source } })
    await expect(inCampaign(folder).load('scheduler', 'pbs')).rejects.toMatchObject({
      code,
      message: expect.stringContaining('@lab/adapter-pbs'),
      data: expect.objectContaining({ package: '@lab/adapter-pbs' }),
    })
  })

  it('refuses unknown options with the nearest name', async () => {
    const folder = campaign('pbs-for-cahier')
    installPackage(folder, 'pbs-for-cahier', { manifest: PBS })
    await expect(inCampaign(folder).createScheduler('pbs', { projet: 'thermal' }, host)).rejects.toMatchObject({
      code: 'E_ADAPTER_OPTIONS',
      message: 'the options of the scheduler "pbs" are wrong: projet is not an option',
      suggestions: ['Write "project" instead of "projet"', 'Its options are: queue, project'],
    })
    await expect(inCampaign(folder).createScheduler('local', { cores: 'many' }, host)).rejects.toMatchObject({
      code: 'E_ADAPTER_OPTIONS',
      message: expect.stringContaining('cores: '),
    })
  })

  it('says in one go what is wrong with each, while the others work', async () => {
    const folder = campaign('fine', 'explosive', 'newer', 'torn', 'wordless')
    installPackage(folder, 'fine', { manifest: PBS })
    installPackage(folder, 'explosive', {
      manifest: { cahier: { adapterApi: 1, provides: ['scheduler/boom'] } },
      files: { 'index.js': 'throw new Error("boom")' },
    })
    installPackage(folder, 'newer', { manifest: { cahier: { adapterApi: 9, provides: ['scheduler/new'] } } })
    installPackage(folder, 'torn', { files: { 'package.json': '{ "name": "torn", ' } })
    installPackage(folder, 'wordless', { manifest: { cahier: { adapterApi: 1, provides: ['pbs'] } } })
    const registry = inCampaign(folder)
    const said = (await registry.doctor()).map(({ subject, package: name, problem }) => [subject, name, problem?.code])
    expect(said).toEqual([
      ['scheduler/local', undefined, undefined],
      ['scheduler/pbs', 'fine', undefined],
      ['scheduler/boom', 'explosive', 'E_ADAPTER_LOAD'],
      ['scheduler/new', 'newer', 'E_ADAPTER_API'],
      ['torn', 'torn', 'E_ADAPTER_INVALID'],
      ['wordless', 'wordless', 'E_ADAPTER_INVALID'],
    ])
    await expect(registry.load('scheduler', 'pbs')).resolves.toMatchObject({ name: 'pbs' })
  })

  it('finds nothing, and says so without failing, where there is no package.json or a broken one', async () => {
    const broken = makeFolder()
    writeFiles(broken, { 'package.json': '{' })
    const registry = new AdapterRegistry({
      builtIn: [local],
      roots: [
        { origin: 'plugins', directory: join(makeFolder(), 'never-made') },
        { origin: 'official', directory: broken },
      ],
    })
    expect(await registry.list()).toHaveLength(1)
    expect((await registry.doctor()).map(({ problem }) => problem?.code)).toEqual([undefined, 'E_ADAPTER_INVALID'])
  })

  it('follows a package that npm links', async () => {
    const workshop = makeFolder()
    installPackage(workshop, 'pbs-for-cahier', { manifest: PBS })
    const folder = campaign('pbs-for-cahier')
    writeFiles(folder, { 'node_modules/.keep': '' })
    symlinkSync(join(workshop, 'node_modules/pbs-for-cahier'), join(folder, 'node_modules/pbs-for-cahier'))
    await expect(inCampaign(folder).load('scheduler', 'pbs')).resolves.toMatchObject({ name: 'pbs' })
  })
})
