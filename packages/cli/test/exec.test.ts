import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../test/testbed/ssh-hosts.mjs'
import { BIN, cleanEnvironment, makeFolder, start } from './cahier.js'

const reason = sshHostsUnavailable()

describe.skipIf(reason !== undefined)(`cahier exec${reason === undefined ? ' (needs sshd)' : ` (${reason})`}`, () => {
  let bed: SshHosts & AsyncDisposable
  let folder: string

  beforeAll(async () => {
    bed = await startSshHosts(4)
    folder = makeFolder({ 'cahier.config.yaml': `connection: { sshConfig: ${bed.sshConfig} }\ngroups: { all: 'h[1-4]' }\n` })
    mkdirSync(join(folder, '.home'), { recursive: true })
  })
  afterAll(async () => {
    await bed?.stop()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  const exec = (...args: string[]) => start(['exec', ...args], { cwd: folder }).ended
  const sorted = (text: string): string[] => text.split('\n').slice(0, -1).sort()
  const home = (name: string): string => bed.hosts.find((host) => host.name === name)?.home ?? ''

  it('shows every line behind the name of its host, stderr on stderr', async () => {
    const { code, stdout, stderr } = await exec('-w', 'h[1-3]', '--', 'hostname >/dev/null; echo one; echo two; echo bad >&2')
    expect(code).toBe(0)
    expect(sorted(stdout)).toEqual(['h1: one', 'h1: two', 'h2: one', 'h2: two', 'h3: one', 'h3: two'])
    expect(sorted(stderr)).toEqual(['h1: bad', 'h2: bad', 'h3: bad'])
  })

  it('gives one word to a shell, and several words to the program as they are', async () => {
    expect((await exec('-w', 'h1', '--', 'echo a b | tr a-z A-Z')).stdout).toBe('h1: A B\n')
    writeFileSync(join(home('h1'), 'file'), 'a\na b\nb\n')
    expect((await exec('-w', 'h1', '--', 'grep', 'a b', 'file')).stdout).toBe('h1: a b\n')
    expect((await exec('-w', 'h1', '--', 'printf', '%s.', "it's", '$HOME', '*', '', '-x')).stdout).toBe("h1: it's.$HOME.*..-x.\n")
  })

  it('understands groups and exclusions', async () => {
    const { stdout } = await exec('-w', '@all', '-x', 'h[2-3]', '--', 'echo here')
    expect(sorted(stdout)).toEqual(['h1: here', 'h4: here'])
    const nobody = await exec('-w', 'h1', '-x', '@all', '--', 'true')
    expect([nobody.code, nobody.stderr]).toEqual([2, expect.stringContaining('no host is left of h1')])
  })

  it('shows the same output once with -b', async () => {
    writeFileSync(join(home('h2'), 'mark'), '')
    const { code, stdout, stderr } = await exec(
      '-b',
      '-w',
      '@all',
      '--',
      'if [ -e mark ]; then echo other; else printf same; fi; echo bad >&2',
    )
    expect(code).toBe(0)
    const rule = '---------------'
    expect(stdout).toBe(`${rule}\nh[1,3-4] (3)\n${rule}\nsame\n${rule}\nh2\n${rule}\nother\n`)
    expect(stderr).toBe(`${rule}\nh[1-4] (4)\n${rule}\nbad\n`)
  })

  it('keeps bytes that are not UTF-8, and completes a last line', async () => {
    const bytes = await new Promise<Buffer>((resolve) => {
      const child = spawn(process.execPath, [BIN, 'exec', '-w', 'h1', '--', `printf 'a\\377\\000b'`], {
        cwd: folder,
        env: cleanEnvironment(join(folder, '.home')),
      })
      const chunks: Buffer[] = []
      child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
      child.on('close', () => resolve(Buffer.concat(chunks)))
    })
    expect([...bytes]).toEqual([...Buffer.from('h1: a'), 0xff, 0, ...Buffer.from('b\n')])
  })

  it('shows lines while the command goes on', async () => {
    const running = start(['exec', '-w', 'h1', '--', 'echo first; until [ -e go ]; do sleep 0.05; done; echo last'], { cwd: folder })
    await running.shows('h1: first\n')
    writeFileSync(join(home('h1'), 'go'), '')
    expect((await running.ended).stdout).toBe('h1: first\nh1: last\n')
  })

  it('ends with the largest exit code, and names the hosts', async () => {
    const { code, stderr } = await exec('-w', '@all', '--', 'exit $(hostname | tr -dc 12 | tail -c 1 | grep . || echo 0)')
    expect([code, stderr]).toEqual([2, 'h1: exit code 1\nh2: exit code 2\n4 hosts: 2 ok, 2 failed\n'])
    expect((await exec('-w', 'h1', '--', 'exit 200')).code).toBe(200)
    expect((await exec('-w', 'h1', '--', 'kill -9 $$')).code).toBe(137)
    expect(await exec('-w', 'h1', '-t', '6s', '--', 'sleep 60')).toMatchObject({ code: 124, stderr: 'h1: ended at its time limit\n' })
    expect(await exec('-w', 'h1', '--', 'no-such-program', 'x')).toMatchObject({
      code: 255,
      stderr: expect.stringMatching(/^h1: not started, E_PROGRAM_NOT_FOUND: .*no-such-program/),
    })
  })

  it('lists the hosts that were not reached with their causes, and the others are complete', async () => {
    bed.stopHost('h3')
    const { code, stdout, stderr } = await exec('-w', '@all', '-w', 'nowhere[1-2].invalid', '--', 'echo here')
    await bed.startHost('h3')
    expect(code).toBe(255)
    expect(sorted(stdout)).toEqual(['h1: here', 'h2: here', 'h4: here'])
    const all = stderr.split('\n')
    expect(all.filter((line) => line.startsWith('  Try: Look whether'))).toHaveLength(2)
    const lines = all.filter((line) => !line.startsWith('  Try: '))
    expect(lines.slice(0, 2).sort()).toEqual([
      expect.stringMatching(/^h3: not reached, E_HOST_REFUSED: .*h3/),
      expect.stringMatching(/^nowhere\[1-2\]\.invalid: not reached, E_HOST_NAME: /),
    ])
    expect(lines.slice(2)).toEqual(['6 hosts: 3 ok, 3 not reached', ''])
  })

  it('runs a script with arguments, by the interpreter that its first line names', async () => {
    const script = join(folder, 'check.sh')
    writeFileSync(script, '# hello\nfor word; do printf "<%s>" "$word"; done\ncat\nexit 3\n')
    expect(await exec('-w', 'h1', '--script', script, '--', 'a b', '-x')).toMatchObject({ code: 3, stdout: 'h1: <a b><-x>\n' })
    writeFileSync(script, '#!/usr/bin/env perl\nprint "perl @ARGV\\n";\n')
    expect((await exec('-w', 'h1', '--script', script, '--', '1')).stdout).toBe('h1: perl 1\n')
    expect(await exec('-w', 'h1', '--script', join(folder, 'none'))).toMatchObject({ code: 2, stderr: expect.stringContaining('none') })
  })

  it('gives standard input to every host when asked to, and none otherwise', async () => {
    const withInput = (...args: string[]) =>
      new Promise<string>((resolve) => {
        const child = spawn(process.execPath, [BIN, 'exec', ...args], { cwd: folder, env: cleanEnvironment(join(folder, '.home')) })
        let text = ''
        child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
        child.on('close', () => resolve(text))
        child.stdin.on('error', () => undefined)
        child.stdin.end('from here\n')
      })
    expect(sorted(await withInput('-w', 'h[1-2]', '--stdin', '--', 'cat'))).toEqual(['h1: from here', 'h2: from here'])
    expect(await withInput('-w', 'h1', '--', 'cat; echo end')).toBe('h1: end\n')
  })

  it('writes JSON lines, one for each host as it ends, and a summary', async () => {
    const { code, stdout, stderr } = await exec('--json', '-w', 'h[1-2],nowhere.invalid', '--', 'echo out; echo err >&2; exit 4')
    expect([code, stderr]).toEqual([255, ''])
    const objects = stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(objects).toHaveLength(4)
    expect(objects.find(({ host }) => host === 'h1')).toEqual({
      host: 'h1',
      outcome: 'exited',
      exitCode: 4,
      signal: null,
      stdout: 'out\n',
      stderr: 'err\n',
      durationMs: expect.any(Number),
    })
    expect(objects.find(({ host }) => host === 'nowhere.invalid')).toMatchObject({
      outcome: 'unreachable',
      exitCode: null,
      error: { code: 'E_HOST_NAME', message: expect.stringContaining('nowhere.invalid'), suggestions: [expect.stringContaining('ssh -G')] },
    })
    expect(objects.at(-1)).toEqual({ hosts: 3, ok: 0, failed: 2, unreachable: 1, exitCode: 255 })
  })

  it('writes an error as one line of JSON', async () => {
    const { code, stdout } = await exec('--json', '-w', 'h[1-', '--', 'true')
    expect([code, JSON.parse(stdout)]).toEqual([2, { error: expect.objectContaining({ code: 'E_HOST_SET' }) }])
  })

  it.each<[string, string[], number, string]>([
    ['no command', ['-w', 'h1'], 2, 'there is no command to run'],
    ['no hosts', ['--', 'true'], 2, 'hosts'],
    ['a terminal for several hosts', ['-w', 'h[1-2]', '--pty', '--', 'true'], 2, '--pty is for one host'],
    ['a time without unit', ['-w', 'h1', '-t', '3x', '--', 'true'], 2, '3x'],
    ['a group that is not there', ['-w', '@nobody', '--', 'true'], 2, 'nobody'],
    ['a key file that is not there', ['-w', 'h1', '-i', '/no/key', '--', 'true'], 2, '/no/key'],
    ['an ssh configuration that is not there', ['-w', 'h1', '-F', '/no/config', '--', 'true'], 2, '/no/config'],
    ['a fanout of none', ['-w', 'h1', '-f', '0', '--', 'true'], 2, 'fanout'],
  ])('refuses %s', async (_title, args, code, text) => {
    const ended = await exec(...args)
    expect([ended.code, ended.stderr]).toEqual([code, expect.stringContaining(text)])
  })

  it('runs on a terminal there with --pty, without names', async () => {
    const { code, stdout } = await exec('-w', 'h1', '--pty', '--', 'test -t 1 && echo terminal; exit 5')
    expect([code, stdout.replaceAll('\r', '')]).toEqual([5, 'terminal\n'])
  })

  it('ends the commands on Ctrl-C, and says so', async () => {
    const files = ['h1', 'h2'].map((name) => join(home(name), 'ended'))
    const script = `trap 'echo ended >ended; exit 9' TERM; echo up; n=0; while [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done`
    const running = start(['exec', '-w', 'h[1-2]', '--', script], { cwd: folder })
    await running.shows('h1: up')
    await running.shows('h2: up')
    running.child.kill('SIGINT')
    const { code, stderr } = await running.ended
    expect(code).toBe(130)
    expect(stderr).toContain('Ending the commands on all hosts')
    expect(stderr).toContain('h[1-2]: ended as asked')
    expect(files.map((file) => existsSync(file) && readFileSync(file, 'utf8'))).toEqual(['ended\n', 'ended\n'])
  })

  it('leaves at once on a second Ctrl-C', async () => {
    const running = start(['exec', '-w', 'h1', '--', 'trap "" TERM; echo up; n=0; while [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done'], {
      cwd: folder,
    })
    await running.shows('up')
    running.child.kill('SIGINT')
    await running.shows('Ctrl-C again')
    running.child.kill('SIGINT')
    const { code, stderr } = await running.ended
    expect(code).toBe(130)
    // Not a word of how the command ended: that was not waited for.
    expect(stderr).toBe('Ending the commands on all hosts. Ctrl-C again leaves at once; the hosts then end them by themselves.\n')
  })

  it('ends when nobody reads any more', async () => {
    const line = `"${process.execPath}" "${BIN}" exec -w h1 -- 'while :; do echo line; sleep 0.01; done' | head -n 2`
    const child = spawn('/bin/sh', ['-c', line], { cwd: folder, env: cleanEnvironment(join(folder, '.home')) })
    let [text, said] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    await new Promise((resolve) => child.on('close', resolve))
    expect([text, said]).toEqual(['h1: line\nh1: line\n', ''])
  })

  it.skipIf(!existsSync('/dev/full'))('says when its output cannot be written', async () => {
    const line = `"${process.execPath}" "${BIN}" exec --json -w h1 -- 'echo line' > /dev/full`
    const child = spawn('/bin/sh', ['-c', line], { cwd: folder, env: cleanEnvironment(join(folder, '.home')) })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect([code, said]).toEqual([1, expect.stringMatching(/^Error: standard output cannot be written: ENOSPC[^\n]*\n$/)])
  })

  it('leaves the output of one host as it is with --no-prefix', async () => {
    expect((await exec('-N', '-w', 'h1', '--', 'printf "a\nb"')).stdout).toBe('a\nb')
    expect((await exec('-N', '-w', 'h[1-2]', '--', 'printf a')).stdout).toBe('a\na\n')
  })
})
