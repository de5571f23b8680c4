import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { ProcessSpec } from '../../src/model/process.js'
import {
  type ChannelLeader,
  channelCommand,
  channelInput,
  channelScript,
  INPUT_END,
  inputPieces,
  treeScript,
} from '../../src/process/channel-script.js'
import { makeMarker } from '../../src/process/command.js'
import { MarkedOutput } from '../../src/process/marked-output.js'

const directory = mkdtempSync(join(tmpdir(), 'cahier channel '))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const children = new Set<ChildProcessWithoutNullStreams>()
afterEach(() => {
  for (const child of children) {
    child.stdin.destroy()
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL')
  }
  children.clear()
})

/** What a login shell does with the line, in a session of its own as under sshd. */
function login(line: string, shell: readonly [string, ...string[]] = ['/bin/sh', '-c'], env: Record<string, string> = {}) {
  const child = spawn(shell[0], [...shell.slice(1), line], { detached: true, env: { ...process.env, ...env } })
  children.add(child)
  child.stdin.on('error', () => {})
  return child
}

interface Ran {
  readonly first: string
  readonly stdout: string
  readonly stderr: string
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

interface Started {
  readonly child: ChildProcessWithoutNullStreams
  readonly marker: string
  readonly leader: Promise<ChannelLeader>
  /** Until now. */
  readonly stdout: () => string
  readonly ended: Promise<Ran>
}

const TOKEN = 'abcDEF0123456789'

function start(spec: ProcessSpec, shell?: readonly [string, ...string[]], env?: Record<string, string>): Started {
  const marker = makeMarker()
  const child = login(channelCommand(TOKEN, false), shell, env)
  child.stdin.write(channelScript({ spec, token: TOKEN, marker, graceSeconds: 1 }))
  const input = channelInput(spec)
  if (input !== undefined) child.stdin.write(input)
  let first = ''
  let stdout = ''
  let stderr = ''
  const leader = new Promise<ChannelLeader>((resolve) => {
    const output = new MarkedOutput(
      TOKEN,
      (line) => {
        first = line
        const [pid = 0, session = 0, guard = 0] = line.split(' ').slice(1).map(Number)
        resolve({ pid, session, guard })
      },
      (chunk) => (stdout += chunk.toString('latin1')),
    )
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    const errors = new MarkedOutput(
      TOKEN,
      () => {},
      (chunk) => (stderr += chunk.toString('latin1')),
    )
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
  })
  const ended = once(child, 'close').then(([code, signal]) => ({ first, stdout, stderr, code, signal }))
  // As sshd does when the command has ended.
  child.once('exit', () => child.stdin.destroy())
  return { child, marker, leader, stdout: () => stdout, ended }
}

const run = (spec: ProcessSpec, shell?: readonly [string, ...string[]], env?: Record<string, string>): Promise<Ran> =>
  start(spec, shell, env).ended

async function tree({ marker, leader }: Started, signal?: NodeJS.Signals, ended = false): Promise<number[]> {
  const child = login(channelCommand('look', false))
  child.stdin.end(treeScript('look', await leader, marker, signal, ended))
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await once(child, 'close')
  return (/^look T(.*)$/m.exec(said)?.[1] ?? 'nothing').split(' ').filter(Boolean).map(Number)
}

const alive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

const has = (program: string): boolean => {
  try {
    execFileSync('/bin/sh', ['-c', `command -v ${program}`])
    return true
  } catch {
    return false
  }
}

const LOGIN_SHELLS: readonly (readonly [string, ...string[]])[] = [
  ['/bin/sh', '-c'],
  ['bash', '-c'],
  ['zsh', '-c'],
  ['csh', '-c'],
  ['tcsh', '-c'],
  ['fish', '-c'],
  ['busybox', 'sh', '-c'],
]

for (const shell of LOGIN_SHELLS) {
  const missing = !has(shell[0])
  it.skipIf(missing)(`the line means the same to ${shell.join(' ')}${missing ? ` (needs ${shell[0]})` : ''}`, async () => {
    const words = ['printf', '%s|', "it's", '$HOME', '!!', 'back\\slash', 'two\nlines', '', '*', '-n'] as [string, ...string[]]
    expect(await run({ command: words }, shell)).toMatchObject({ stdout: `${words.slice(2).join('|')}|`, stderr: '', code: 0 })
  })
}

describe('a command on a channel of its own', () => {
  it('has its exit code, its signal and both streams', async () => {
    expect(await run({ command: { script: 'echo out; echo err >&2; exit 255' } })).toMatchObject({
      stdout: 'out\n',
      stderr: 'err\n',
      code: 255,
    })
    expect(await run({ command: { script: 'kill -9 $$' } })).toMatchObject({ code: null, signal: 'SIGKILL' })
  })

  it('says what the shell says before it is not its output', async () => {
    const rc = join(directory, 'rc')
    writeFileSync(rc, 'echo motd; printf "no line end" >&2; printf "\\377\\0"')
    const result = await run({ command: { script: 'printf out; printf err >&2' } }, ['bash', '-c'], { BASH_ENV: rc })
    expect(result).toMatchObject({ stdout: 'out', stderr: 'err', code: 0 })
  })

  it('has its directory and its variables, and none of ours', async () => {
    const spec: ProcessSpec = {
      command: { script: 'pwd; printf "%s|" "$A" "${B-none}"; env | grep "^cahier_" | wc -l' },
      cwd: directory,
      env: { A: "it's\n$x", B: undefined },
    }
    expect(await run(spec, undefined, { B: 'there' })).toMatchObject({ stdout: `${directory}\nit's\n$x|none|0\n` })
    expect((await run({ command: ['env'], env: { 'odd-name': '1' } })).stdout).toContain('\nodd-name=1\n')
  })

  it.each<[string, ProcessSpec]>([
    ['F exec ENOENT', { command: ['no-such-program'] }],
    ['F exec ENOENT', { command: ['/no/such/program'] }],
    ['F exec EACCES', { command: ['/etc'] }],
    ['F cwd ENOENT', { command: ['true'], cwd: '/no/such/directory' }],
    ['F stdout ENOENT', { command: ['true'], outputFiles: { stdout: '/no/such/out', stderr: '/dev/null' } }],
    ['F stderr EACCES', { command: ['true'], outputFiles: { stdout: '/dev/null', stderr: '/proc/self/no-such' } }],
  ])('says %s', async (first, spec) => {
    expect((await run(spec)).first).toBe(first)
  })

  it('reads text of any bytes, and the end of file after it', async () => {
    const text = Buffer.from(Array.from({ length: 100_000 }, (_, n) => (n * 7) % 256))
    const result = await run({ command: ['cat'], stdin: { text } })
    expect(Buffer.from(result.stdout, 'latin1').equals(text)).toBe(true)
    expect(await run({ command: ['cat'], stdin: { text: '' } })).toMatchObject({ stdout: '', code: 0 })
    expect(await run({ command: ['cat'] })).toMatchObject({ stdout: '', code: 0 })
  })

  it('does not start with half of its text', async () => {
    const begun = start({ command: ['cat'], stdin: { text: '' } })
    await begun.ended
    const marker = makeMarker()
    const child = login(channelCommand(TOKEN, false))
    child.stdin.end(`${channelScript({ spec: { command: ['cat'], stdin: { text: 'whole' } }, token: TOKEN, marker, graceSeconds: 1 })}wh`)
    let stdout = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    await once(child, 'close')
    expect(stdout).toBe(`\n${TOKEN} F pipe EIO\n`)
  })

  it('reads a pipe of any bytes until it is closed', async () => {
    const text = Buffer.from(Array.from({ length: 30_000 }, (_, n) => (n * 11) % 256))
    const begun = start({ command: ['cat'], stdin: 'pipe' })
    for (const data of [text, Buffer.from('.\n'), Buffer.from('-n %s\\0101\\c\n:')]) begun.child.stdin.write(inputPieces(data))
    begun.child.stdin.write(INPUT_END)
    const { stdout, code } = await begun.ended
    expect(code).toBe(0)
    expect(stdout).toBe(`${text.toString('latin1')}.\n-n %s\\0101\\c\n:`)
  })

  it('writes to files, fresh or appended', async () => {
    const out = join(directory, 'a file')
    const spec: ProcessSpec = { command: ['echo', 'text'], outputFiles: { stdout: out, stderr: out } }
    expect(await run(spec)).toMatchObject({ stdout: '', stderr: '', code: 0 })
    await run({ ...spec, outputFiles: { stdout: out, stderr: out, append: true } })
    expect(readFileSync(out, 'utf8')).toBe('text\ntext\n')
  })

  it('leaves nothing in the temporary folder', async () => {
    await run({ command: ['cat'], stdin: { text: 'x' } })
    const piped = start({ command: ['cat'], stdin: 'pipe' })
    piped.child.stdin.write(INPUT_END)
    await piped.ended
    expect(existsSync(join(tmpdir(), `cahier-${TOKEN}`))).toBe(false)
  })
})

describe.skipIf(process.platform !== 'linux')('the guard', () => {
  const family = `trap "" TERM; sleep 1000 & setsid sleep 1001 & (setsid sh -c 'trap "" TERM; sleep 1002; :' &); echo there; wait; wait`

  it.each<[string, ProcessSpec['stdin']]>([
    ['without stdin', 'ignore'],
    ['with text', { text: 'x' }],
    ['with a pipe', 'pipe'],
  ])('ends the whole tree when the channel ends while the command %s runs', async (_title, stdin) => {
    const begun = start({ command: { script: family }, ...(stdin === undefined ? {} : { stdin }) })
    await begun.leader
    await expect.poll(async () => (await tree(begun)).length, { timeout: 30_000 }).toBeGreaterThanOrEqual(5)
    const pids = await tree(begun)
    begun.child.stdin.destroy()
    await expect.poll(() => pids.filter(alive), { timeout: 30_000 }).toEqual([])
    const { guard } = await begun.leader
    await expect.poll(() => alive(guard), { timeout: 30_000 }).toBe(false)
  })

  it('spares what a finished command left behind, and goes itself', async () => {
    const begun = start({ command: { script: 'sleep 1003 >/dev/null 2>&1 & echo $!' } })
    const { stdout, code } = await begun.ended
    expect(code).toBe(0)
    const { guard } = await begun.leader
    await expect.poll(() => alive(guard), { timeout: 30_000 }).toBe(false)
    const left = Number(stdout)
    expect(alive(left)).toBe(true)
    process.kill(left, 'SIGKILL')
  })

  it('does not keep the channel open', async () => {
    const begun = start({ command: ['true'] })
    await begun.ended
    expect((await begun.leader).guard).toBeGreaterThan(0)
  })

  it('is not there for a detached command', async () => {
    const out = join(directory, 'detached')
    const begun = start({ command: { script: 'sleep 0.3; echo done' }, detach: true, outputFiles: { stdout: out, stderr: out } })
    expect((await begun.leader).guard).toBe(0)
    begun.child.stdin.destroy()
    expect(await begun.ended).toMatchObject({ code: 0 })
    expect(readFileSync(out, 'utf8')).toBe('done\n')
  })
})

describe.skipIf(process.platform !== 'linux')('treeScript', () => {
  it('finds children, what left the session, what forked twice, and neither the guard nor strangers', async () => {
    const begun = start({ command: { script: 'sleep 1010 & setsid sleep 1011 & (setsid sleep 1012 &); echo there; wait; wait' } })
    const other = start({ command: ['sleep', '1013'] })
    const { pid, guard } = await begun.leader
    await other.leader
    // All that comes is there, and what is only passing is gone.
    await expect.poll(() => begun.stdout(), { timeout: 30_000 }).toBe('there\n')
    const found = await tree(begun)
    expect(found).toContain(pid)
    expect(found).not.toContain(guard)
    expect(found).not.toContain((await other.leader).pid)
    expect(await tree(begun, 'SIGKILL')).toHaveLength(4)
    await expect.poll(async () => tree(begun, undefined, true), { timeout: 30_000 }).toEqual([])
  })

  it('takes the number of one command for no part of another', async () => {
    const begun = await Promise.all(Array.from({ length: 12 }, () => start({ command: ['sleep', '1020'] })))
    const leaders = await Promise.all(begun.map(({ leader }) => leader))
    for (const [index, one] of begun.entries()) {
      expect(await tree(one)).toEqual([leaders[index]?.pid])
    }
  })

  it('sends signals that the command takes', async () => {
    const begun = start({ command: { script: 'trap "echo usr; exit 3" USR1; echo ready; while :; do sleep 0.05; done' } })
    await expect.poll(() => begun.stdout(), { timeout: 30_000 }).toBe('ready\n')
    await tree(begun, 'SIGUSR1')
    expect(await begun.ended).toMatchObject({ code: 3 })
  })
})
