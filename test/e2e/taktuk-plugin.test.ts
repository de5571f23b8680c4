import { execFileSync } from 'node:child_process'
import { readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BIN, type Ended, makeFolder, start } from '../../packages/cli/test/cahier.js'
import { taktukUnavailable } from '../../packages/transfer-taktuk/test/taktuk-bed.js'
import { type SshHosts, startSshHosts } from '../testbed/ssh-hosts.mjs'
import { HOOKS, leanProgram, OFFLINE, pack } from './plugin-packages.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const core = realpathSync(join(root, 'packages/core'))
const NAME = '@cahier/transfer-taktuk'
const reason = taktukUnavailable()

describe('the adapter for TakTuk as a plugin', { timeout: 120_000 }, () => {
  const folders: string[] = []
  const folder = (files: Readonly<Record<string, string>> = {}): string => {
    const made = makeFolder(files)
    folders.push(made)
    return made
  }
  let at: { cwd: string; home: string }
  let tarball: string
  /** The program without the adapter that it ships. */
  let lean: string
  const run = async (args: readonly string[], env: NodeJS.ProcessEnv = {}, bin = lean): Promise<Ended> =>
    await start(args, { cwd: at.cwd, env: { HOME: at.home, ...OFFLINE, ...env }, bin }).ended
  const put = (more: readonly string[] = []): string[] => ['put', 'a', '-w', 'h[1-2]', '--to', 'in', '--create', '--via', 'taktuk', ...more]

  beforeAll(() => {
    at = { cwd: folder({ a: 'content\n' }), home: folder() }
    const cwd = folder()
    tarball = join(cwd, pack(join(root, 'packages/transfer-taktuk'), cwd))
    lean = join(leanProgram(folder(), NAME), 'bin/run.js')
  })
  afterAll(() => {
    for (const made of folders) rmSync(made, { recursive: true, force: true })
  })

  it('is a package that brings no core of its own', () => {
    const listed = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).split('\n')
    expect(listed).toContain('package/dist/index.js')
    expect(listed.filter((file) => /node_modules|\.test\.|transcripts/.test(file))).toEqual([])
    const manifest = JSON.parse(readFileSync(join(root, 'packages/transfer-taktuk/package.json'), 'utf8')) as Record<string, object>
    expect(manifest).toMatchObject({ cahier: { adapterApi: 1, provides: ['transfer/taktuk'] }, oclif: {} })
    expect(manifest['dependencies']).toBeUndefined()
    expect(Object.keys(manifest['peerDependencies']!)).toEqual(['@cahier/core'])
  })

  it('is missed with the command that installs it', async () => {
    const { code, stdout, stderr } = await run(put())
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('Error E_ADAPTER_MISSING: no installed package provides the transfer "taktuk"')
    expect(stderr).toContain(`  Try: Install it: cahier plugins install ${NAME}`)
  })

  describe(`on hosts (${reason ?? 'needs sshd, taktuk'})`, () => {
    let bed: SshHosts & AsyncDisposable
    beforeAll(async () => {
      if (reason === undefined) bed = await startSshHosts(2)
    })
    afterAll(async () => await bed?.stop())
    const outcomes = ({ stdout }: Ended): unknown[] =>
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ host }) => host !== undefined)
        .map(({ host, outcome, via, verified }) => [host, outcome, via, verified])
        .sort()

    it.skipIf(reason !== undefined)('moves files once it is installed from its tarball, with the one core of the program', async () => {
      const installed = await run(['plugins', 'install', `file:${tarball}`])
      expect(installed, installed.stderr).toMatchObject({ code: 0 })
      const watched = folder(HOOKS)
      const loaded = join(watched, 'loaded')
      const hook = `--import ${pathToFileURL(join(watched, 'register.mjs')).href}`
      const ended = await run(put(['-F', bed.sshConfig, '--json']), { NODE_OPTIONS: hook, LOADED: loaded })
      expect(ended, ended.stderr).toMatchObject({ code: 0 })
      expect(outcomes(ended)).toEqual(['h1', 'h2'].map((host) => [host, 'done', 'taktuk', 'sha256']))
      for (const { home } of bed.hosts) expect(readFileSync(join(home, 'in/a'), 'utf8')).toBe('content\n')

      const data = join(at.home, '.local/share/cahier')
      const modules = readFileSync(loaded, 'utf8').split('\n')
      const ours = modules.filter((url) => url.includes('transfer-taktuk'))
      expect(ours.length).toBeGreaterThan(0)
      expect(ours.every((url) => url.startsWith(pathToFileURL(data).href))).toBe(true)
      const cores = modules.filter((url) => url.endsWith('/spi.js') || /\/core\/dist\/index\.js$/.test(url))
      expect(new Set(cores.map((url) => dirname(url)))).toEqual(new Set([pathToFileURL(join(core, 'dist')).href]))
    })

    it.skipIf(reason !== undefined)('comes with the program, and brings files home', async () => {
      const own = { cwd: folder(), home: folder() }
      for (const { home, name } of bed.hosts) writeFileSync(join(home, 'out.txt'), `of ${name}\n`)
      const args = ['get', 'out.txt', '-w', 'h[1-2]', '--via', 'taktuk', '-F', bed.sshConfig, '--json']
      const ended = await start(args, { cwd: own.cwd, env: { HOME: own.home, ...OFFLINE }, bin: BIN }).ended
      expect(ended, ended.stderr).toMatchObject({ code: 0 })
      expect(outcomes(ended)).toEqual(['h1', 'h2'].map((host) => [host, 'done', 'taktuk', 'sha256']))
      for (const name of ['h1', 'h2']) expect(readFileSync(join(own.cwd, name, 'out.txt'), 'utf8')).toBe(`of ${name}\n`)
    })
  })
})
