import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { ProcessResult, ProcessSpec } from '../../src/model/process.js'
import type { ProcessBackend, StartOptions } from '../../src/ports/process-backend.js'
import { HelperBackend } from '../../src/process/helper-backend.js'
import { LocalBackend } from '../../src/process/local-backend.js'
import { findRunner } from '../../src/process/runner/runner-program.js'

const has = (program: string): boolean => {
  try {
    execFileSync('/bin/sh', ['-c', `command -v ${program}`])
    return true
  } catch {
    return false
  }
}

interface Subject {
  readonly name: string
  readonly make: () => ProcessBackend
  /** Output as it comes, stdin pipes, exact signals: all but the runner in sh. */
  readonly full: boolean
  readonly present: boolean
}

const SUBJECTS: Subject[] = [
  { name: 'LocalBackend', make: () => new LocalBackend(), full: true, present: true },
  { name: 'HelperBackend (perl)', make: () => new HelperBackend({ runner: findRunner('perl') }), full: true, present: has('perl') },
  {
    name: 'HelperBackend (dash)',
    make: () => new HelperBackend({ runner: findRunner('sh', ['dash']) }),
    full: false,
    present: has('dash'),
  },
  {
    name: 'HelperBackend (busybox sh)',
    make: () => new HelperBackend({ runner: findRunner('sh', ['busybox', 'sh']) }),
    full: false,
    present: has('busybox'),
  },
]

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

/** Prints its arguments and some variables, each followed by a NUL. */
const ECHO = 'for (@ARGV) { print "$_\\0" } print "$ENV{HOSTILE}\\0"'
const HOSTILE = [
  '',
  ' ',
  "it's",
  '"',
  '$(touch /tmp/never)',
  '`id`',
  '${HOME}',
  '\\',
  '-n',
  '--',
  '../..',
  'a\nb\n',
  '\n',
  '\r\n',
  '\t*?[]~#!',
  'é 日本 🎲 \u0081\u0088',
  'x'.repeat(5000),
  '=',
  'A=b',
  '%s%n',
]

it('kills what is left of a tree also when this program stood still until long after the grace', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  await using backend = new LocalBackend()
  const file = join(folder, 'left')
  const script = `setsid sh -c 'trap "" TERM; echo $$ >${file}; while :; do sleep 0.05; done' & sleep 60`
  const running = await backend.start({ command: { script } })
  await until(() => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'))
  const left = Number(readFileSync(file, 'utf8'))
  running.kill({ graceMs: 1_000 })
  await until(() => !isAlive(running.pid as number))
  // Its end is heard of, and what it has left is being asked to end.
  await pause(100)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4_500)
  expect(await running.result).toMatchObject({ signal: 'SIGTERM', forced: true, survivors: [] })
  expect(isAlive(left)).toBe(false)
})

for (const subject of SUBJECTS) {
  describe.skipIf(!subject.present)(`${subject.name}${subject.present ? '' : ' (needs this shell)'}`, () => {
    /** What only a full runner promises; the others refuse it, see below. */
    const fully: typeof it = subject.full ? it : ((() => undefined) as unknown as typeof it)
    let backend: ProcessBackend
    let folder: string
    const run = async (spec: ProcessSpec, options: StartOptions = {}): Promise<ProcessResult> => (await backend.start(spec, options)).result

    /** Runs a command into its time limit. One that its limit met before it said that it was up says nothing, and gets a longer one. */
    const runToLimit = async (spec: ProcessSpec): Promise<ProcessResult> => {
      for (let timeoutMs = 100; ; timeoutMs *= 4) {
        const result = await run({ ...spec, timeoutMs })
        if (result.stdout.text === 'up\n' || timeoutMs > 10_000) return result
      }
    }

    beforeAll(() => {
      backend = subject.make()
      folder = mkdtempSync(join(tmpdir(), 'cahier-test-'))
    })
    afterAll(async () => {
      await backend[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    })

    describe('results', () => {
      it.each<[string, ProcessSpec, Partial<ProcessResult>]>([
        ['success', { command: ['true'] }, { outcome: 'exited', exitCode: 0, signal: undefined, forced: false, survivors: [] }],
        ['an exit code as it is', { command: { script: 'exit 3' } }, { outcome: 'exited', exitCode: 3 }],
        ['exit code 127 of a program that exists', { command: { script: 'exit 127' } }, { outcome: 'exited', exitCode: 127 }],
        ['a signal', { command: { script: 'kill -9 $$' } }, { outcome: 'signaled', exitCode: undefined, signal: 'SIGKILL' }],
        ['a command whose shell is named', { command: { script: 'exit 4', shell: '/bin/sh' } }, { outcome: 'exited', exitCode: 4 }],
      ])('tell %s', async (_title, spec, expected) => {
        expect(await run(spec)).toMatchObject(expected)
      })

      it.each<[string, () => ProcessSpec, string]>([
        ['a program that does not exist', () => ({ command: ['cahier-no-such-program'] }), 'E_PROGRAM_NOT_FOUND'],
        ['a path that does not exist', () => ({ command: ['/no/such/program'] }), 'E_PROGRAM_NOT_FOUND'],
        ['a file that may not be executed', () => ({ command: ['/etc/passwd'] }), 'E_PROGRAM_NOT_FOUND'],
        ['a working directory that does not exist', () => ({ command: ['true'], cwd: '/no/such/directory' }), 'E_DIRECTORY'],
        ['an empty command', () => ({ command: [''] }), 'E_ARGUMENT'],
        ['a NUL character in an argument', () => ({ command: ['echo', 'a\0b'] }), 'E_ARGUMENT'],
        ['an environment name with =', () => ({ command: ['true'], env: { 'A=B': 'c' } }), 'E_ARGUMENT'],
        ['a detached process without files', () => ({ command: ['true'], detach: true }), 'E_ARGUMENT'],
      ])('refuse %s', async (_title, spec, code) => {
        const result = await run(spec())
        expect(result).toMatchObject({ outcome: 'not-started', exitCode: undefined, error: { code } })
      })

      fully('refuse arguments that are too long for the system', async () => {
        expect(await run({ command: ['echo', 'x'.repeat(3_000_000)] })).toMatchObject({ outcome: 'not-started', error: { code: 'E2BIG' } })
        expect(await run({ command: ['echo', 'after'] })).toMatchObject({ outcome: 'exited', stdout: { text: 'after\n' } })
      })

      it('hold dates and a duration', async () => {
        const before = Date.now()
        const running = await backend.start({ command: { script: 'until [ -e over ]; do sleep 0.02; done' }, cwd: folder })
        // Between what is told of its start and of its end there is at least this.
        await pause(100)
        writeFileSync(join(folder, 'over'), '')
        const result = await running.result
        expect(result.startedAt).toBeGreaterThanOrEqual(before)
        expect(result.durationMs).toBeGreaterThan(98)
        expect(result.endedAt).toBeGreaterThanOrEqual(result.startedAt as number)
      })
    })

    describe('what the program receives', () => {
      it('is identical to hostile arguments and environment values', async () => {
        const value = HOSTILE.join('|')
        const result = await run({ command: ['perl', '-e', ECHO, '--', ...HOSTILE], env: { HOSTILE: value } })
        expect(result.stdout.text.split('\0')).toEqual([...HOSTILE, value, ''])
        expect(existsSync('/tmp/never')).toBe(false)
      })

      it('is its environment: inherited, set and unset', async () => {
        process.env['CAHIER_TEST_LATE'] = 'late\nvalue'
        process.env['CAHIER_TEST_GONE'] = 'x'
        try {
          const result = await run({
            command: { script: 'printf %s "$CAHIER_TEST_LATE/${CAHIER_TEST_GONE-unset}/$NEW/${HOME:+home}"' },
            env: { CAHIER_TEST_GONE: undefined, NEW: 'n' },
          })
          expect(result.stdout.text).toBe('late\nvalue/unset/n/home')
        } finally {
          delete process.env['CAHIER_TEST_LATE']
          delete process.env['CAHIER_TEST_GONE']
        }
      })

      it('is its working directory', async () => {
        expect((await run({ command: ['pwd'], cwd: folder })).stdout.text).toBe(`${folder}\n`)
      })

      it('is an empty stdin, or the text given', async () => {
        expect((await run({ command: ['cat'] })).stdout.text).toBe('')
        const text = `é\n'"$x\n${'line\n'.repeat(20)}`
        expect((await run({ command: ['cat'], stdin: { text } })).stdout.text).toBe(text)
      })

      it('is a long text on stdin, also when it does not read it', async () => {
        const text = 'x'.repeat(subject.full ? 2_000_000 : 20_000)
        expect((await run({ command: ['wc', '-c'], stdin: { text } })).stdout.text.trim()).toBe(String(text.length))
        expect(await run({ command: ['true'], stdin: { text } })).toMatchObject({ outcome: 'exited', exitCode: 0 })
      })

      it('is a session of its own', async () => {
        const result = await run({ command: { script: 'exec ps -o pid=,sid= -p $$' } })
        const [pid, session] = result.stdout.text.trim().split(/\s+/)
        expect(session).toBe(pid)
      })
    })

    describe('output', () => {
      it('is kept apart', async () => {
        expect(await run({ command: { script: 'echo out; echo err >&2' } })).toMatchObject({
          stdout: { text: 'out\n' },
          stderr: { text: 'err\n' },
        })
      })

      it('is text with replacement when it is not UTF-8, and a character cut between two reads is whole', async () => {
        const bad = await run({ command: ['printf', 'a\\377b\\n'] })
        expect(bad.stdout).toMatchObject({ text: 'a\ufffdb\n', bytes: 4 })
        const cut = await run({ command: { script: "printf '\\303'; sleep 0.05; printf '\\251\\n'" } })
        expect(cut.stdout.text).toBe('é\n')
      })

      it('is bounded in memory and whole in a file', async () => {
        const spillTo = join(folder, 'spill')
        const result = await run({ command: { script: 'seq 1 300000' }, keepBytes: 1000, spillTo })
        expect(result.stdout.truncated).toBe(true)
        expect(result.stdout.text.length).toBeLessThan(1100)
        expect(result.stdout.text).toMatch(/^1\n2\n[\s\S]*\n\[\.\.\. \d+ bytes left out \.\.\.\]\n[\s\S]*\n300000\n$/)
        const whole = readFileSync(result.stdout.file as string, 'utf8')
        expect(whole.length).toBe(result.stdout.bytes)
        expect(whole.split('\n')).toHaveLength(300_001)
      })

      it('is dropped beyond the bound when spilling is off', async () => {
        const result = await run({ command: { script: 'seq 1 300000' }, keepBytes: 0, spillTo: false })
        expect(result.stdout).toMatchObject({ truncated: true, bytes: 1_988_895 })
        expect(result.stdout.file).toBeUndefined()
      })

      fully('of 100 MB takes bounded memory', async () => {
        const before = process.memoryUsage().rss
        let most = 0
        const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 5)
        const result = await run({ command: ['head', '-c', '100000000', '/dev/zero'], spillTo: join(folder, 'zeros') })
        clearInterval(watch)
        expect(result.stdout.bytes).toBe(100_000_000)
        expect(most - before).toBeLessThan(90 << 20)
      })

      it('goes to files without passing here, fresh or appended', async () => {
        const file = join(folder, 'out file')
        const both = { stdout: file, stderr: file }
        const result = await run({ command: { script: 'echo one; echo two >&2; echo three' }, outputFiles: both })
        expect(result).toMatchObject({ outcome: 'exited', exitCode: 0, stdout: { bytes: 0 } })
        expect(readFileSync(file, 'utf8')).toBe('one\ntwo\nthree\n')
        await run({ command: ['echo', 'four'], outputFiles: { ...both, append: true } })
        expect(readFileSync(file, 'utf8')).toBe('one\ntwo\nthree\nfour\n')
        await run({ command: ['echo', 'five'], outputFiles: both })
        expect(readFileSync(file, 'utf8')).toBe('five\n')
      })

      fully('is shown as it arrives', async () => {
        const seen: string[] = []
        const running = await backend.start(
          { command: ['cat'], stdin: 'pipe' },
          { onOutput: (stream, chunk) => seen.push(`${stream}:${Buffer.from(chunk)}`) },
        )
        await running.write('a')
        await until(() => seen.length === 1)
        await running.write('b')
        await until(() => seen.length === 2)
        running.closeStdin()
        expect((await running.result).stdout.text).toBe('ab')
        expect(seen).toEqual(['stdout:a', 'stdout:b'])
      })
    })

    if (subject.full)
      describe('stdin', () => {
        it('takes megabytes in order, with back-pressure', async () => {
          const running = await backend.start({ command: { script: 'sleep 0.2; exec cksum' }, stdin: 'pipe' })
          const block = Buffer.alloc(1 << 20, 'abcdefghij')
          for (let count = 0; count < 8; count += 1) await running.write(block)
          running.closeStdin()
          const expected = execFileSync('cksum', { input: Buffer.concat(Array.from({ length: 8 }, () => block)), encoding: 'utf8' })
          expect((await running.result).stdout.text).toBe(expected)
        })

        it('refuses when nobody reads any more', async () => {
          const running = await backend.start({ command: { script: 'exec <&-; echo closed; sleep 20' }, stdin: 'pipe' })
          await expect(
            (async () => {
              for (let count = 0; count < 50; count += 1) await running.write('x'.repeat(100_000))
            })(),
          ).rejects.toMatchObject({ code: 'E_STDIN' })
          await running[Symbol.asyncDispose]()
          await expect(running.write('x')).rejects.toMatchObject({ code: 'E_STDIN' })
        })

        it('refuses when it was not asked for', async () => {
          const running = await backend.start({ command: ['sleep', '20'] })
          await expect(running.write('x')).rejects.toMatchObject({ code: 'E_STDIN' })
          await running[Symbol.asyncDispose]()
        })
      })

    describe('stopping', () => {
      it('ends at the time limit and says so', async () => {
        const result = await run({ command: ['sleep', '60'], timeoutMs: 100 })
        expect(result).toMatchObject({ outcome: 'timed-out', signal: 'SIGTERM', forced: false, survivors: [] })
        expect(result.durationMs).toBeGreaterThan(90)
      })

      it('keeps the exit code of a program that ends itself at the time limit', async () => {
        const result = await runToLimit({ command: { script: 'trap "exit 7" TERM; echo up; while :; do sleep 0.02; done' } })
        expect(result).toMatchObject({ outcome: 'timed-out', exitCode: 7 })
      })

      it('kills what ignores SIGTERM, after the grace', async () => {
        const result = await runToLimit({ command: { script: 'trap "" TERM; echo up; while :; do sleep 0.05; done' }, graceMs: 200 })
        expect(result).toMatchObject({ outcome: 'timed-out', signal: 'SIGKILL', forced: true, survivors: [] })
      })

      it('has no time limit when it is 0', async () => {
        expect(await run({ command: ['sleep', '0.1'], timeoutMs: 0 })).toMatchObject({ outcome: 'exited' })
      })

      it('gives the signal of the end when it was killed', async () => {
        const running = await backend.start({ command: ['sleep', '60'] })
        running.kill({ signal: 'SIGTERM' })
        expect(await running.result).toMatchObject({ outcome: 'signaled', signal: 'SIGTERM' })
        running.kill()
      })

      it('ends with the signal of its starter', async () => {
        const controller = new AbortController()
        const running = await backend.start({ command: ['sleep', '60'] }, { signal: controller.signal })
        controller.abort()
        expect(await running.result).toMatchObject({ outcome: 'canceled', signal: 'SIGTERM' })
        expect(await run({ command: ['true'] }, { signal: controller.signal })).toMatchObject({ outcome: 'canceled', startedAt: undefined })
      })

      fully('passes other signals on and goes on', async () => {
        let seen = ''
        const script = 'trap "echo usr" USR1; echo ready; while [ ! -e done ]; do sleep 0.02; done; exit 5'
        const running = await backend.start(
          { command: { script }, cwd: folder },
          { onOutput: (_stream, chunk) => (seen += Buffer.from(chunk)) },
        )
        await until(() => seen.includes('ready'))
        process.kill(running.pid as number, 'SIGSTOP')
        running.kill({ signal: 'SIGCONT' })
        process.kill(running.pid as number, 'SIGUSR1')
        await until(() => seen.includes('usr'))
        writeFileSync(join(folder, 'done'), '')
        expect(await running.result).toMatchObject({ outcome: 'exited', exitCode: 5 })
      })

      it('ends children, grandchildren and what forked twice into a session of its own', async () => {
        const file = join(folder, `pids-${Math.random()}`)
        const script = `sleep 61 & echo $! >>${file}; setsid sh -c 'sleep 62 & echo $! >>${file}; trap "" TERM; echo $$ >>${file}; while :; do sleep 0.05; done' & sh -c 'setsid sleep 63 & echo $! >>${file}'; echo end >>${file}; sleep 64`
        const running = await backend.start({ command: { script } })
        await until(() => existsSync(file) && readFileSync(file, 'utf8').trim().split('\n').length === 5)
        const pids = readFileSync(file, 'utf8').split('\n').map(Number).filter(Boolean)
        expect(pids).toHaveLength(4)
        running.kill({ graceMs: 200 })
        expect(await running.result).toMatchObject({ signal: 'SIGTERM', forced: true, survivors: [] })
        await until(() => !pids.some(isAlive))
      })

      it('leaving the scope ends the process and waits for it', async () => {
        let pid: number
        {
          await using running = await backend.start({ command: ['sleep', '60'] })
          pid = running.pid as number
          expect(isAlive(pid)).toBe(true)
        }
        expect(isAlive(pid)).toBe(false)
      })
    })

    fully('ends with the process, not with the grandchild that holds its output', async () => {
      const result = await run({ command: { script: 'sleep 60 & echo $!; exit 2' } })
      expect(result).toMatchObject({ outcome: 'exited', exitCode: 2 })
      expect(result.durationMs).toBeLessThan(30_000)
      const left = Number(result.stdout.text)
      expect(isAlive(left)).toBe(true)
      process.kill(left)
    })

    it.skipIf(!has('script'))('runs on a pseudo terminal (needs script)', async () => {
      const result = await run({
        command: ['sh', '-c', 'test -t 1 && echo "$1" "$SHELL"; echo err >&2; exit 6', 'x', "it's a\ttty"],
        pty: true,
        env: { SHELL: '/my/sh' },
      })
      expect(result).toMatchObject({ outcome: 'exited', exitCode: 6, stdout: { text: "it's a\ttty /my/sh\nerr\n" } })
    })

    it('runs two hundred at once, each with its own output', async () => {
      const results = await Promise.all(Array.from({ length: 200 }, (_, index) => run({ command: ['echo', String(index)] })))
      expect(results.map((result) => result.stdout.text.trim())).toEqual(Array.from({ length: 200 }, (_, index) => String(index)))
    })
  })
}
