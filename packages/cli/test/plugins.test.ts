import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findOwnCore, relinkCore, seedPlugins } from '../src/plugin-directory.js'
import { cahier, cleanEnvironment, makeFolder } from './cahier.js'

const ADAPTER = {
  'package.json': JSON.stringify({
    name: '@lab/cahier-adapter-pbs',
    version: '1.0.0',
    type: 'module',
    exports: './index.js',
    files: ['index.js'],
    oclif: {},
    cahier: { adapterApi: 1, provides: ['scheduler/pbs'] },
    peerDependencies: { '@cahier/core': '*' },
  }),
  'index.js': `
    import { ADAPTER_API } from '@cahier/core/spi'
    const options = { shape: {}, safeParse: (data) => ({ success: true, data }) }
    export default { api: ADAPTER_API, name: 'pbs', kind: 'scheduler', supports: {}, options, create: () => ({}) }`,
}

describe('cahier plugins', () => {
  it('installs an adapter that shares the core of this program, so that a campaign can name it', async () => {
    const cwd = makeFolder(ADAPTER)
    const packed = execFileSync('npm', ['pack', '--silent'], { cwd, env: cleanEnvironment(cwd), encoding: 'utf8' }).trim()
    expect(await cahier(['plugins', 'install', `file:${join(cwd, packed)}`], { cwd })).toMatchObject({ code: 0 })
    const data = join(cwd, '.home/.local/share/cahier')
    expect(realpathSync(join(data, 'node_modules/@cahier/core'))).toBe(await findOwnCore())
    // Not the adapter's own folder, where its package.json would be the campaign's.
    const elsewhere = makeFolder()
    const { stdout } = await cahier(['adapters', 'list', '--json'], { cwd: elsewhere, env: { HOME: join(cwd, '.home') } })
    expect(JSON.parse(stdout)).toContainEqual(
      expect.objectContaining({ name: 'pbs', origin: 'plugins', package: '@lab/cahier-adapter-pbs', version: '1.0.0', used: true }),
    )
    const doctor = await cahier(['adapters', 'doctor'], { cwd: elsewhere, env: { HOME: join(cwd, '.home') } })
    expect(doctor).toMatchObject({ code: 0, stdout: expect.stringContaining('ok      scheduler/pbs  (@lab/cahier-adapter-pbs 1.0.0)') })
    expect(await cahier(['plugins', 'uninstall', '@lab/cahier-adapter-pbs'], { cwd })).toMatchObject({ code: 0 })
    expect(existsSync(join(data, 'node_modules/@lab/cahier-adapter-pbs'))).toBe(false)
  })

  it('shows every broken adapter at once, while the others work', async () => {
    const cwd = makeFolder({
      'package.json': '{"dependencies": {"boom": "*", "newer": "*", "fine": "*"}}',
      'node_modules/boom/package.json':
        '{"name":"boom","type":"module","exports":"./i.js","cahier":{"adapterApi":1,"provides":["scheduler/boom"]}}',
      'node_modules/boom/i.js': 'throw new Error("no licence")',
      'node_modules/newer/package.json': '{"name":"newer","exports":"./i.js","cahier":{"adapterApi":7,"provides":["scheduler/new"]}}',
      'node_modules/fine/package.json': ADAPTER['package.json'].replace('@lab/cahier-adapter-pbs', 'fine'),
      'node_modules/fine/index.js': ADAPTER['index.js'].replace(/import .*/, 'const ADAPTER_API = 1'),
    })
    const { code, stdout } = await cahier(['adapters', 'doctor'], { cwd })
    expect(code).toBe(1)
    expect(stdout).toContain('ok      scheduler/local  (part of Cahier)')
    expect(stdout).toContain('ok      scheduler/pbs  (fine 1.0.0)')
    expect(stdout).toMatch(
      /BROKEN {2}scheduler\/boom .*\n {2}E_ADAPTER_LOAD: boom failed while it was imported: no licence\n {2}Cause: Error: no licence/,
    )
    expect(stdout).toMatch(/BROKEN {2}scheduler\/new .*\n {2}E_ADAPTER_API/)
  })
})

describe('cahier adapters doctor', () => {
  it('names the sites whose scheduler nothing provides', async () => {
    const cwd = makeFolder({ 'cahier.config.yaml': 'sites: { here: { scheduler: local }, big: { scheduler: pbs } }' })
    const { code, stdout } = await cahier(['adapters', 'doctor'], { cwd })
    expect(code).toBe(1)
    expect(stdout).toMatch(/BROKEN {2}site\/big {2}\(cahier.config\)\n {2}E_ADAPTER_MISSING/)
    expect(stdout).not.toContain('site/here')
  })

  it('says what is wrong with a description of sites', async () => {
    const cwd = makeFolder({ 'cahier.config.yaml': 'site: {}' })
    const { code, stdout } = await cahier(['adapters', 'doctor'], { cwd })
    expect(code).toBe(1)
    expect(stdout).toMatch(
      /ok {6}scheduler\/local.*\nok {6}scheduler\/slurm.*\nok {6}transfer\/taktuk.*\nBROKEN {2}sites .*\n {2}E_SITE_INVALID/,
    )
  })
})

describe('seedPlugins', () => {
  it('keeps what is in the package.json', async () => {
    const folder = makeFolder({ 'package.json': '{"oclif":{"plugins":["a"]},"dependencies":{"a":"1.0.0"}}' })
    await seedPlugins(folder, '/opt/core')
    expect(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))).toEqual({
      private: true,
      oclif: { plugins: ['a'] },
      dependencies: { a: '1.0.0', '@cahier/core': 'file:/opt/core' },
    })
  })

  it('refuses to overwrite a package.json that it cannot read', async () => {
    const folder = makeFolder({ 'package.json': '{ torn' })
    await expect(seedPlugins(folder, '/opt/core')).rejects.toThrow('JSON')
    expect(readFileSync(join(folder, 'package.json'), 'utf8')).toBe('{ torn')
  })
})

describe('relinkCore', () => {
  it('points a link of an older program at this one', async () => {
    const folder = makeFolder({ 'old/package.json': '{}', 'new/package.json': '{}' })
    mkdirSync(join(folder, 'node_modules/@cahier'), { recursive: true })
    const link = join(folder, 'node_modules/@cahier/core')
    symlinkSync(join(folder, 'old'), link)
    rmSync(join(folder, 'old'), { recursive: true })
    expect(await relinkCore(folder, join(folder, 'new'))).toBe(true)
    expect(realpathSync(link)).toBe(realpathSync(join(folder, 'new')))
    expect(await relinkCore(folder, join(folder, 'new'))).toBe(false)
  })

  it('leaves a copy alone, and a folder without plugins', async () => {
    const folder = makeFolder({ 'node_modules/@cahier/core/package.json': '{}' })
    expect(await relinkCore(folder, '/opt/core')).toBe(false)
    expect(await relinkCore(makeFolder(), '/opt/core')).toBe(false)
  })
})
