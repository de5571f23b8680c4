import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EXIT_CODES } from '../src/exit-codes.js'
import { BIN, cahier, cleanEnvironment, makeFolder } from './cahier.js'

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
const commands = 'attach export note plan report retry run status stop why adapters jobs sites sweep plugins autocomplete'.split(' ')

describe('cahier', () => {
  it('says its version', async () => {
    const { code, stdout } = await cahier(['--version'], { cwd: makeFolder() })
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^@cahier/cli/${manifest.version} \\S+ node-v`))
  })

  it('lists what it can do when it is told nothing', async () => {
    const { code, stdout } = await cahier([], { cwd: makeFolder() })
    expect(code).toBe(0)
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'))
  })

  it.each(['run', 'plan', 'status', 'attach', 'stop', 'retry', 'why', 'report', 'export', 'note'])(
    'explains %s with an example',
    async (command) => {
      const { code, stdout } = await cahier([command, '--help'], { cwd: makeFolder() })
      expect(code).toBe(0)
      expect(stdout).toContain('EXAMPLES')
      expect(stdout).toContain(`$ cahier ${command}`)
      expect(stdout).toContain('--json')
    },
  )

  it('refuses a command that does not exist', async () => {
    const { code, stdout, stderr } = await cahier(['frobnicate'], { cwd: makeFolder() })
    expect(code).toBe(EXIT_CODES.unknownCommand.code)
    expect(stdout).toBe('')
    expect(stderr).toContain('frobnicate is not a cahier command')
    expect(stderr).not.toContain('Did you mean')
  })

  it.each([
    [['exce', '-w', 'node1'], 'exec'],
    [['sweep', 'shwo'], 'sweep show'],
  ])('suggests the nearest command for %j', async (args, nearest) => {
    const { code, stderr } = await cahier(args, { cwd: makeFolder() })
    expect(code).toBe(EXIT_CODES.unknownCommand.code)
    expect(stderr).toContain(`Did you mean cahier ${nearest}?`)
  })

  it('refuses a flag that does not exist with the nearest one', async () => {
    const { code, stderr } = await cahier(['run', '--max-in-fligth', '3'], { cwd: makeFolder() })
    expect(code).toBe(EXIT_CODES.usage.code)
    expect(stderr).toContain('--max-in-fligth')
    expect(stderr).toContain('Try: Write "--max-in-flight" instead of "--max-in-fligth"')
  })

  it('answers an error with code, message and what to try', async () => {
    const cwd = makeFolder()
    const { code, stdout, stderr } = await cahier(['status'], { cwd })
    expect(code).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toBe(
      `Error E_NOT_FOUND: there is no run in ${cwd}\n  Try: Name the run directory, or start a run: cahier run CAMPAIGN\n`,
    )
  })

  it.each([
    [['status', '--json'], 'E_NOT_FOUND', 1],
    [['run', '--json'], 'E_CAMPAIGN_NOT_FOUND', 1],
    [['plan', 'nowhere.yaml', '--json'], 'E_CAMPAIGN_NOT_FOUND', 1],
    [['run', '--max-in-flight', '0', '--json'], undefined, 2],
  ])('answers %j with nothing but JSON', async (args, code, exit) => {
    const { code: ended, stdout, stderr } = await cahier(args, { cwd: makeFolder() })
    expect(ended).toBe(exit)
    expect(stderr).toBe('')
    expect(JSON.parse(stdout).error).toMatchObject({ message: expect.any(String), suggestions: expect.any(Array), ...(code && { code }) })
  })

  it('does not complain when nobody reads its output to the end', () => {
    const cwd = makeFolder()
    const shell = `"$1" "$2" --help 2>err | true; "$1" "$2" run --help 2>>err | head -n 1; cat err`
    const said = execFileSync('/bin/sh', ['-c', shell, 'sh', process.execPath, BIN], { cwd, env: cleanEnvironment(cwd), encoding: 'utf8' })
    expect(said).toBe('Run a campaign, or resume it.\n')
  })

  it('brings a script for completion', async () => {
    const cwd = makeFolder()
    const { code, stdout } = await cahier(['autocomplete', 'script', 'bash'], { cwd, env: { SHELL: '/bin/bash' } })
    expect(code).toBe(0)
    expect(stdout).toContain('CAHIER')
    expect(await cahier(['autocomplete', 'bash', '--refresh-cache'], { cwd, env: { SHELL: '/bin/bash' } })).toMatchObject({ code: 0 })
    const script = readFileSync(join(cwd, '.home/.cache/cahier/autocomplete/functions/bash/cahier.bash'), 'utf8')
    expect(script).toContain('sweep:show')
  })
})
