import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readGitState } from '../../src/system/git.js'
import { describeMachine } from '../../src/system/machine.js'

const environment = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' }

function makeFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-git-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function repository() {
  const folder = makeFolder()
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], { cwd: folder, env: environment, encoding: 'utf8' })
  git('init', '-q', '-b', 'main')
  return { folder, git }
}

describe('readGitState', () => {
  it('reads commit, branch and the uncommitted patch, which rebuilds the sources', async () => {
    const { folder, git } = repository()
    writeFileSync(join(folder, 'solver.py'), 'print(1)\n')
    git('add', '.')
    git('commit', '-q', '-m', 'first')
    writeFileSync(join(folder, 'solver.py'), 'print(2)\n')
    writeFileSync(join(folder, 'new.txt'), '')
    const state = await readGitState(folder)
    expect(state).toMatchObject({ commit: git('rev-parse', 'HEAD').trim(), branch: 'main', diffCut: false })
    expect(state?.changes).toEqual([' M solver.py', '?? new.txt'])
    git('checkout', '-q', '.')
    writeFileSync(join(folder, 'patch'), state?.diff ?? '')
    git('apply', 'patch')
    expect(readFileSync(join(folder, 'solver.py'), 'utf8')).toBe('print(2)\n')
  })

  it('reads a repository without a commit', async () => {
    await expect(readGitState(repository().folder)).resolves.toEqual({
      commit: undefined,
      branch: 'main',
      changes: [],
      diff: '',
      diffCut: false,
    })
  })

  it('runs no program that the configuration of the repository names', async () => {
    const { folder, git } = repository()
    writeFileSync(join(folder, 'a'), '1\n')
    git('add', '.')
    git('commit', '-q', '-m', 'first')
    writeFileSync(join(folder, 'a'), '2\n')
    const trace = join(folder, 'trace')
    git('config', 'diff.external', `touch ${trace} #`)
    git('config', 'core.fsmonitor', `touch ${trace} #`)
    expect((await readGitState(folder))?.diff).toContain('+2')
    expect(() => readFileSync(trace)).toThrow('ENOENT')
  })

  it('says undefined outside a repository and in a folder that is not there', async () => {
    const folder = makeFolder()
    mkdirSync(join(folder, 'below'))
    await expect(readGitState(join(folder, 'below'))).resolves.toBeUndefined()
    await expect(readGitState(join(folder, 'nowhere'))).resolves.toBeUndefined()
  })
})

describe('describeMachine', () => {
  it('says what is needed to judge a timing', () => {
    expect(describeMachine()).toMatchObject({
      host: expect.any(String),
      system: expect.any(String),
      cores: expect.any(Number),
      node: process.version,
    })
  })
})
