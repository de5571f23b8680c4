import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HelperBackend } from '../../src/process/helper-backend.js'
import { findRunner } from '../../src/process/runner/runner-program.js'

const root = new URL('../../', import.meta.url)
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-deaths-'))
  if (!existsSync(new URL('dist/process/local-backend.js', root))) execFileSync('npx', ['tsc', '-b'], { cwd: root })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}
const until = async (what: () => boolean, ms = 30_000): Promise<void> => {
  for (const end = Date.now() + ms; !what(); await pause(10)) if (Date.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`)
}
const numbersIn = (file: string): number[] => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').map(Number).filter(Boolean) : [])

/** A program of its own with both backends at hand. */
function program(code: string, prefix = ''): ChildProcess {
  const file = join(folder, `program-${Math.random()}.mjs`)
  writeFileSync(
    file,
    `import { LocalBackend } from '${new URL('dist/process/local-backend.js', root)}'
     import { HelperBackend } from '${new URL('dist/process/helper-backend.js', root)}'
     ${code}`,
  )
  return spawn('/bin/sh', ['-c', `${prefix} exec "$0" "$1"`, process.execPath, file], { stdio: ['ignore', 'pipe', 'inherit'] })
}
const outputOf = async (child: ChildProcess): Promise<string> => {
  let text = ''
  child.stdout?.on('data', (chunk) => (text += chunk))
  await new Promise((resolve) => child.once('close', resolve))
  return text
}

describe.each(['LocalBackend', 'HelperBackend'])('%s', (backend) => {
  it('runs 300 processes with 256 descriptors', async () => {
    const child = program(
      `const backend = new ${backend}()
       const results = await Promise.all(Array.from({ length: 300 }, async (_, i) => (await backend.start({ command: { script: 'sleep 0.1; echo ' + i } })).result))
       console.log(results.filter((r, i) => r.outcome === 'exited' && r.stdout.text === i + '\\n').length, JSON.stringify(results.find((r) => r.error)?.error))
       await backend[Symbol.asyncDispose]()`,
      'ulimit -n 256;',
    )
    expect(await outputOf(child)).toBe('300 undefined\n')
  })

  it.each([200, 60])('goes on when descriptors run out in spite of the window, of %i', async (limit) => {
    const child = program(
      `import { openSync, closeSync } from 'node:fs'
       import { SpawnWindow } from '${new URL('dist/process/spawn-window.js', root)}'
       const backend = new ${backend}({ window: new SpawnWindow(500) })
       const results = await Promise.all(Array.from({ length: 200 }, async () => (await backend.start({ command: { script: 'sleep 0.2; exit 3' } })).result))
       console.log(results.filter((r) => r.exitCode === 3).length, JSON.stringify(results.find((r) => r.error)?.error))
       await backend[Symbol.asyncDispose]()`,
      `ulimit -n ${limit};`,
    )
    expect(await outputOf(child)).toBe('200 undefined\n')
  })

  it.each([
    'process.exit(0)',
    "process.kill(process.pid, 'SIGTERM')",
    "process.kill(process.pid, 'SIGINT')",
    'throw new Error("expected by the test")',
  ])('leaves nothing behind when the program ends by %s', async (end) => {
    const pids = join(folder, `pids-${Math.random()}`)
    const child = program(
      `import { existsSync, readFileSync } from 'node:fs'
         const backend = new ${backend}()
         await backend.start({ command: { script: 'trap "" TERM; echo $$ >> ${pids}; sleep 60 & echo $! >> ${pids}; while :; do sleep 0.05; done' } })
         await backend.start({ command: { script: 'echo $$ >> ${pids}; exec sleep 60' } })
         const ready = () => existsSync('${pids}') && readFileSync('${pids}', 'utf8').trim().split('\\n').length === 3
         const timer = setInterval(() => { if (ready()) { clearInterval(timer); ${end} } }, 10)`,
      end.startsWith('throw') ? 'exec 2>/dev/null;' : '',
    )
    await outputOf(child)
    expect(numbersIn(pids)).toHaveLength(3)
    await until(() => !numbersIn(pids).some(isAlive))
  })

  it('lets the program end by itself when nothing runs', async () => {
    const child = program(
      `const backend = new ${backend}(); const r = await (await backend.start({ command: ['true'] })).result; console.log(r.outcome)`,
    )
    expect(await outputOf(child)).toBe('exited\n')
  })

  it('leaves a detached process running when the program ends, even by SIGKILL', async () => {
    const pids = join(folder, `pids-${Math.random()}`)
    const child = program(
      `const backend = new ${backend}()
       const outputFiles = { stdout: '${pids}', stderr: '/dev/null' }
       await backend.start({ command: { script: 'echo $$; exec sleep 60' }, outputFiles, detach: true })
       setInterval(() => {}, 1000)`,
    )
    await until(() => numbersIn(pids).length === 1)
    child.kill('SIGKILL')
    await outputOf(child)
    await pause(300)
    const [pid] = numbersIn(pids) as [number]
    expect(isAlive(pid)).toBe(true)
    process.kill(pid)
  })
})

describe('HelperBackend', () => {
  it('leaves nothing behind when the program is killed with SIGKILL, not even what forked twice', async () => {
    const pids = join(folder, 'killed')
    const child = program(
      `const backend = new HelperBackend()
       await backend.start({ command: { script: 'setsid sh -c "sleep 60 & echo \\\\$! >> ${pids}" ; echo $$ >> ${pids}; exec sleep 60' } })
       setInterval(() => {}, 1000)`,
    )
    await until(() => numbersIn(pids).length === 2)
    child.kill('SIGKILL')
    await until(() => !numbersIn(pids).some(isAlive))
  })

  it.each(['perl', 'sh'] as const)(
    'stops what ran, says that nobody saw the end, and starts a new helper when the one in %s is killed',
    async (kind) => {
      await using backend = new HelperBackend({ runner: findRunner(kind) })
      const running = await backend.start({ command: ['sleep', '60'] })
      const first = backend.helperPid as number
      process.kill(first, 'SIGKILL')
      expect(await running.result).toMatchObject({
        outcome: 'unreachable',
        exitCode: undefined,
        error: { code: 'E_HELPER' },
        survivors: [],
      })
      expect(isAlive(running.pid as number)).toBe(false)
      const next = await backend.start({ command: ['echo', 'again'] })
      expect(await next.result).toMatchObject({ outcome: 'exited', stdout: { text: 'again\n' } })
      expect(backend.helperPid).not.toBe(first)
    },
  )

  it('answers a helper that speaks nonsense, or cannot be started, with a result', async () => {
    for (const command of [['echo', 'hello there'], ['cahier-no-such-program']] as [string, ...string[]][]) {
      await using backend = new HelperBackend({ runner: { kind: 'perl', command } })
      const running = await backend.start({ command: ['true'] })
      expect(await running.result).toMatchObject({ outcome: 'not-started', error: { code: 'E_HELPER' } })
    }
  })
})
