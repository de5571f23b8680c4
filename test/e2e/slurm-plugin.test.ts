import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BIN, type Ended, makeFolder, start } from '../../packages/cli/test/cahier.js'
import { type SlurmBed, slurmUnavailable, startSlurm } from '../testbed/slurm.mjs'
import { HOOKS, leanProgram, OFFLINE, pack } from './plugin-packages.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const core = realpathSync(join(root, 'packages/core'))
const NAME = '@cahier/adapter-slurm'
const obstacle = slurmUnavailable()

const CAMPAIGN = `name: plugin
factors: { x: [1, 2] }
job:
  command: echo "y $(({{ x }} * 10)) in $SLURM_JOB_ID"
  resources: { walltime: 1min }
results: { y: { type: integer } }
collect: { y: { pattern: 'y (\\d+)' } }
`
const SITES = 'sites: { cluster: { scheduler: slurm, options: { pollInterval: 1s } } }\ndefaultSite: cluster\n'

describe('the adapter for SLURM as a plugin', { timeout: 240_000 }, () => {
  const folders: string[] = []
  const folder = (files: Readonly<Record<string, string>> = {}): string => {
    const made = makeFolder(files)
    folders.push(made)
    return made
  }
  /** A user who has installed nothing, with a campaign. */
  const user = () => ({ cwd: folder({ 'campaign.yaml': CAMPAIGN, 'cahier.config.yaml': SITES }), home: folder() })
  let tarball: string
  /** The program without the adapter that it ships. */
  let lean: string

  const run = async (args: readonly string[], at: { cwd: string; home: string }, env: NodeJS.ProcessEnv = {}, bin = lean): Promise<Ended> =>
    await start(args, { cwd: at.cwd, env: { HOME: at.home, ...OFFLINE, ...env }, bin }).ended

  beforeAll(() => {
    const cwd = folder()
    tarball = join(cwd, pack(join(root, 'packages/adapter-slurm'), cwd))
    lean = join(leanProgram(folder(), NAME), 'bin/run.js')
  })
  afterAll(() => {
    for (const made of folders) rmSync(made, { recursive: true, force: true })
  })

  it('is a package that brings no core of its own', () => {
    const listed = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).split('\n')
    expect(listed).toContain('package/dist/index.js')
    expect(listed.filter((file) => /node_modules|\.test\.|transcripts/.test(file))).toEqual([])
    const manifest = JSON.parse(readFileSync(join(root, 'packages/adapter-slurm/package.json'), 'utf8')) as Record<string, object>
    expect(manifest).toMatchObject({ cahier: { adapterApi: 1, provides: ['scheduler/slurm'] }, oclif: {} })
    // Whatever else it wanted could not be installed without a network.
    expect(manifest['dependencies']).toBeUndefined()
    expect(Object.keys(manifest['peerDependencies']!)).toEqual(['@cahier/core'])
  })

  it('is missed with the command that installs it', async () => {
    const at = user()
    const { code, stderr } = await run(['run'], at)
    expect(code).not.toBe(0)
    expect(stderr).toContain('Error E_ADAPTER_MISSING: no installed package provides the scheduler "slurm" (there is: local)')
    expect(stderr).toContain(`  Try: Install it: cahier plugins install ${NAME}`)
    expect((await run(['adapters', 'list'], at)).stdout).not.toContain('slurm')
  })

  it('comes with the program', async () => {
    const at = user()
    const { stdout } = await run(['adapters', 'list', '--json'], at, {}, BIN)
    expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ name: 'slurm', origin: 'official', package: NAME, used: true }))
    expect(await run(['adapters', 'doctor'], at, {}, BIN)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`ok      scheduler/slurm  (${NAME} `),
    })
  })

  it('is refused when it was made for another interface, with the cure', async () => {
    const at = user()
    const cwd = folder()
    execFileSync('tar', ['-xzf', tarball, '-C', cwd])
    const file = join(cwd, 'package/package.json')
    const manifest = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    writeFileSync(file, JSON.stringify({ ...manifest, cahier: { adapterApi: 2, provides: ['scheduler/slurm'] } }))
    const other = join(cwd, pack(join(cwd, 'package'), cwd))
    expect(await run(['plugins', 'install', `file:${other}`], at)).toMatchObject({ code: 0 })
    const { code, stderr } = await run(['run'], at)
    expect(code).not.toBe(0)
    expect(stderr).toContain(
      `Error E_ADAPTER_API: ${NAME} was made for version 2 of the adapter interface, and this is Cahier with version 1`,
    )
    expect(stderr).toContain('  Try: Install a newer version of Cahier')
    const doctor = await run(['adapters', 'doctor'], at)
    expect(doctor.code).toBe(1)
    expect(doctor.stdout).toMatch(/BROKEN {2}scheduler\/slurm .*\n {2}E_ADAPTER_API/)
  })

  describe('installed from its tarball', () => {
    let at: { cwd: string; home: string }
    let installed: Ended
    const data = (): string => join(at.home, '.local/share/cahier')

    beforeAll(async () => {
      at = user()
      expect(existsSync(data())).toBe(false)
      installed = await run(['plugins', 'install', `file:${tarball}`], at)
    })

    it('is found by its name', async () => {
      expect(installed, installed.stderr).toMatchObject({ code: 0 })
      const { stdout } = await run(['adapters', 'list', '--json'], at)
      expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ name: 'slurm', origin: 'plugins', package: NAME, used: true }))
      expect(await run(['adapters', 'doctor'], at)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining(`ok      scheduler/slurm  (${NAME} `),
      })
    })

    it('comes before the one of the program', async () => {
      const { stdout } = await run(['adapters', 'list', '--json'], at, {}, BIN)
      const found = (JSON.parse(stdout) as { name: string; origin: string; used: boolean }[]).filter(({ name }) => name === 'slurm')
      expect(found.map(({ origin, used }) => [origin, used])).toEqual([
        ['plugins', true],
        ['official', false],
      ])
    })

    describe(`on a cluster${obstacle === undefined ? '' : ` (${obstacle})`}`, () => {
      let bed: SlurmBed | undefined
      beforeAll(async () => {
        if (obstacle === undefined) bed = await startSlurm({ nodes: 1 })
      })
      afterAll(async () => await bed?.stop())

      it.skipIf(obstacle !== undefined)('runs a campaign with the one core of the program', async () => {
        const watched = folder(HOOKS)
        const loaded = join(watched, 'loaded')
        const hook = `--import ${pathToFileURL(join(watched, 'register.mjs')).href}`
        const { code, stdout, stderr } = await run(['run', '--json'], at, { ...bed!.env, NODE_OPTIONS: hook, LOADED: loaded })
        expect(code, `${stdout}${stderr}${bed!.logs()}`).toBe(0)
        expect(JSON.parse(stdout)).toMatchObject({ outcome: 'complete', counts: { total: 2, done: 2 } })

        const modules = readFileSync(loaded, 'utf8').split('\n')
        expect(modules.filter((url) => url.includes('adapter-slurm'))).not.toEqual([])
        expect(modules.filter((url) => url.includes('adapter-slurm')).every((url) => url.startsWith(pathToFileURL(data()).href))).toBe(true)
        const cores = modules.filter((url) => url.endsWith('/spi.js') || /\/core\/dist\/index\.js$/.test(url))
        expect(new Set(cores.map((url) => dirname(url)))).toEqual(new Set([pathToFileURL(join(core, 'dist')).href]))
        expect(realpathSync(join(data(), 'node_modules/@cahier/core'))).toBe(core)
      })
    })
  })
})
