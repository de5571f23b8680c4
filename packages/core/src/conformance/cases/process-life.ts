import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import { allGone, hasFields, isRefusal, linesOf, run, shell, soon, textOf, track } from '../process-steps.js'
import type { ProcessCase } from '../process-types.js'

const MANY = 100

export const lifeCases: readonly ProcessCase[] = [
  {
    id: 'process-many',
    title: 'a hundred processes at once have each their own input, output and end',
    why: 'Output that goes to the wrong process is a wrong result that nobody notices.',
    async run(world) {
      const numbers = Array.from({ length: MANY }, (_, index) => index)
      const script = 'read line; echo "$line $NUMBER"; echo "err $NUMBER" >&2; exit $((NUMBER % 100))'
      const results = await Promise.all(
        numbers.map((number) => run(world, shell(script, { env: { NUMBER: String(number) }, stdin: { text: `line ${number}\n` } }))),
      )
      for (const [number, result] of results.entries()) {
        hasFields(result, { outcome: 'exited', exitCode: number % 100 })
        deepStrictEqual([result.stdout.text, result.stderr.text], [`line ${number} ${number}\n`, `err ${number}\n`])
      }
    },
  },
  {
    id: 'process-short-and-long',
    title: 'a short process ends before a long one that was started earlier',
    why: 'A backend that waits in order makes the slowest the speed of all.',
    async run(world) {
      await using long = await world.backend.start({ command: ['sleep', '60'] })
      let over = false
      void long.result.then(() => {
        over = true
      })
      strictEqual((await run(world, shell('echo short'))).stdout.text, 'short\n')
      ok(!over, 'the long one has ended, too')
    },
  },
  {
    id: 'process-detached',
    title: 'a detached process goes on when the backend ends, and its output is complete',
    declared: 'outputFiles',
    needs: ['makeFile'],
    why: 'Jobs outlive the controller that started them.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const outputFiles = { stdout: join(directory, 'out'), stderr: join(directory, 'err') }
      const script = `echo begin; n=0; until [ -e go ] || [ $n -gt 300 ]; do n=$((n+1)); sleep 0.1 2>/dev/null || sleep 1; done; echo end; echo late >&2`
      const running = await world.backend.start(shell(script, { cwd: directory, detach: true, outputFiles }))
      strictEqual((await linesOf(world, outputFiles.stdout, 1))[0], 'begin')
      await soon(world, world.backend[Symbol.asyncDispose](), 'the end of the backend')
      strictEqual(await textOf(world, outputFiles.stdout), 'begin\n', 'it had ended before the backend did')
      await world.lab.makeFile?.(join(directory, 'go'))
      deepStrictEqual(await linesOf(world, outputFiles.stdout, 2), ['begin', 'end'])
      deepStrictEqual(await linesOf(world, outputFiles.stderr, 1), ['late'])
      void running
    },
  },
  {
    id: 'process-detached-result',
    title: 'a detached process that is watched to its end has its exit code',
    declared: 'outputFiles',
    why: 'Detached says what happens without us, not that we do not look.',
    async run(world) {
      const outputFiles = { stdout: '/dev/null', stderr: '/dev/null' }
      hasFields(await run(world, shell('exit 11', { detach: true, outputFiles })), { outcome: 'exited', exitCode: 11 })
    },
  },
  {
    id: 'process-dispose',
    title: 'the end of the backend ends what still runs, and every result resolves',
    needs: ['findProcesses'],
    why: 'A result that never comes is a program that never ends.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const { env, living } = track(world)
      const started = await Promise.all([
        world.backend.start({ command: ['sleep', '60'], env }),
        world.backend.start(shell('echo up >up; sleep 60', { env, cwd: directory })),
      ])
      await linesOf(world, join(directory, 'up'), 1)
      await soon(world, world.backend[Symbol.asyncDispose](), 'the end of the backend')
      const results = await soon(world, Promise.all(started.map(({ result }) => result)), 'all results')
      for (const result of results) ok(result.outcome !== 'exited' || result.exitCode !== 0, `ended well: ${JSON.stringify(result)}`)
      await allGone(world, living)
    },
  },
  {
    id: 'process-pty',
    title: 'on a pseudo terminal a program sees a terminal, and stderr is part of stdout',
    declared: 'pty',
    why: 'Some tools refuse to work without one.',
    async run(world) {
      const command: readonly [string, ...string[]] = [
        '/bin/sh',
        '-c',
        'test -t 1 && test -t 2 && echo "$1"; echo err >&2; exit 6',
        'sh',
        "it's a tty",
      ]
      const result = await run(world, { command, pty: true })
      hasFields(result, { outcome: 'exited', exitCode: 6 })
      strictEqual(result.stdout.text.replaceAll('\r', ''), "it's a tty\nerr\n")
      strictEqual(result.stderr.bytes, 0)
    },
  },
  {
    id: 'process-pty-stop',
    title: 'a process on a pseudo terminal ends at its time limit, too',
    declared: 'pty',
    needs: ['findProcesses'],
    why: 'A terminal in between must not hide what has to be ended.',
    async run(world) {
      const { env, living } = track(world)
      const result = await run(world, { command: ['sleep', '60'], pty: true, env, timeoutMs: 500, graceMs: 1_000 })
      hasFields(result, { outcome: 'timed-out' })
      await allGone(world, living)
    },
  },
  {
    id: 'process-pty-undeclared',
    title: 'where there are no pseudo terminals, asking for one is refused',
    undeclared: 'pty',
    why: 'A program that asks for a password without a terminal hangs.',
    async run(world) {
      isRefusal(await run(world, { command: ['true'], pty: true }), 'E_NOT_SUPPORTED')
    },
  },
]
