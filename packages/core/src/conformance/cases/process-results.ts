import { ok, strictEqual } from 'node:assert/strict'
import type { ProcessSpec } from '../../model/process.js'
import { hasFields, isRefusal, run, shell, soon } from '../process-steps.js'
import type { ProcessCase, ProcessWorld } from '../process-types.js'
import { pause } from '../steps.js'

const LEAST_MS = 300

async function codesAre(world: ProcessWorld, codes: readonly number[]): Promise<void> {
  const results = await Promise.all(codes.map((code) => run(world, shell(`exit ${code}`))))
  for (const [index, code] of codes.entries()) {
    hasFields(results[index] as (typeof results)[number], { outcome: 'exited', exitCode: code, signal: undefined, error: undefined })
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

const refused: readonly (readonly [string, string, ProcessSpec, string])[] = [
  ['nul-word', 'a NUL character in a word', { command: ['echo', 'a\0b'] }, 'E_ARGUMENT'],
  ['nul-script', 'a NUL character in a script', { command: { script: 'echo a\0b' } }, 'E_ARGUMENT'],
  ['nul-cwd', 'a NUL character in the directory', { command: ['true'], cwd: '/tmp\0/x' }, 'E_ARGUMENT'],
  ['nul-value', 'a NUL character in a variable', { command: ['true'], env: { A: 'b\0c' } }, 'E_ARGUMENT'],
  ['name', "'=' in the name of a variable", { command: ['true'], env: { 'A=B': 'c' } }, 'E_ARGUMENT'],
  ['no-name', 'a variable without a name', { command: ['true'], env: { '': 'c' } }, 'E_ARGUMENT'],
  ['empty', 'an empty program', { command: ['', 'a'] }, 'E_ARGUMENT'],
  ['detach', 'a detached process without outputFiles', { command: ['true'], detach: true }, 'E_ARGUMENT'],
  [
    'pty-files',
    'a pseudo terminal with outputFiles',
    { command: ['true'], pty: true, outputFiles: { stdout: '/dev/null', stderr: '/dev/null' } },
    'E_NOT_SUPPORTED',
  ],
]

export const resultCases: readonly ProcessCase[] = [
  {
    id: 'process-exit-codes',
    title: 'exit codes come back as they are, 127 and 255 among them',
    why: 'A backend that keeps codes for itself turns a failed command into a host that was not reached, or the reverse.',
    run: (world) => codesAre(world, [...range(0, 12), 42, 64, 77, 99, 100, ...range(124, 128), 255]),
  },
  {
    id: 'process-exit-codes-high',
    title: 'exit codes above 128 are not taken for signals',
    declared: 'exactSignals',
    why: 'Programs exit with 130, 143 or 200 on their own account.',
    run: (world) => codesAre(world, [...range(129, 144), 160, 192, 193, 200, 253, 254]),
  },
  {
    id: 'process-signals',
    title: 'a signal that ends the process is named',
    declared: 'namedSignals',
    why: 'Killed for its memory and ended by itself call for different remedies.',
    async run(world) {
      for (const signal of ['KILL', 'TERM', 'SEGV', 'USR2', 'HUP', 'ABRT'] as const) {
        const result = await run(world, shell(`ulimit -c 0; kill -${signal} $$; sleep 5`))
        hasFields(result, { outcome: 'signaled', exitCode: undefined, signal: `SIG${signal}` as NodeJS.Signals, forced: false })
      }
    },
  },
  {
    id: 'process-program-missing',
    title: 'a program that does not exist, or may not be executed, is not started',
    declared: 'startFailures',
    why: 'A misspelt program name must not look like a program that ran and failed.',
    async run(world) {
      for (const program of ['cahier-no-such-program', '/no/such/program', './no-such-program', '/etc/passwd', '/']) {
        isRefusal(await run(world, { command: [program, 'a'] }), 'E_PROGRAM_NOT_FOUND')
      }
    },
  },
  {
    id: 'process-program-missing-undeclared',
    title: 'where that cannot be told, a missing program exits with 126 or 127 and a word on stderr',
    undeclared: 'startFailures',
    why: 'It must at least not look like a success.',
    async run(world) {
      const result = await run(world, { command: ['cahier-no-such-program'] })
      ok(result.exitCode === 126 || result.exitCode === 127, JSON.stringify(result))
      ok(result.stderr.bytes > 0, 'nothing on stderr')
    },
  },
  {
    id: 'process-script-command-missing',
    title: 'a missing command inside a script is exit code 127, a result',
    why: '127 is what the shell says; the process ran.',
    async run(world) {
      const result = await run(world, shell('cahier-no-such-program'))
      hasFields(result, { outcome: 'exited', exitCode: 127, error: undefined })
      ok(result.stderr.text.includes('cahier-no-such-program'), 'stderr does not name the command')
    },
  },
  {
    id: 'process-directory-missing',
    title: 'a working directory that does not exist is told as such',
    declared: 'startFailures',
    why: 'Taken for a missing program, it sends its user to the wrong place.',
    async run(world) {
      isRefusal(await run(world, { command: ['true'], cwd: '/no/such/directory' }), 'E_DIRECTORY')
      isRefusal(await run(world, shell('true', { cwd: '/etc/passwd' })), 'E_DIRECTORY')
    },
  },
  {
    id: 'process-directory-missing-undeclared',
    title: 'where that cannot be told, nothing runs in another directory instead',
    undeclared: 'startFailures',
    why: 'A clean-up that runs in the home directory because its own is missing.',
    async run(world) {
      const result = await run(world, shell('echo ran', { cwd: '/no/such/directory' }))
      ok(result.exitCode !== 0, 'it says that all is well')
      strictEqual(result.stdout.text, '')
    },
  },
  ...refused.map(
    ([name, title, spec, code]): ProcessCase => ({
      id: `process-refuses-${name}`,
      title: `${title} is refused, and is a result`,
      why: 'What no system can execute must be said before anything is sent.',
      async run(world) {
        isRefusal(await run(world, spec), code)
      },
    }),
  ),
  {
    id: 'process-refused-process',
    title: 'a process that was not started can be written to, killed and left without harm',
    why: 'A caller treats all processes alike; only the result says what became of them.',
    async run(world) {
      const running = await world.backend.start({ command: [''], stdin: 'pipe' })
      const error: unknown = await running.write('x').catch((reason: unknown) => reason)
      strictEqual((error as { code?: string }).code, 'E_STDIN')
      running.closeStdin()
      running.kill()
      await running[Symbol.asyncDispose]()
      isRefusal(await running.result, 'E_ARGUMENT')
      strictEqual((await run(world, shell('echo after'))).stdout.text, 'after\n')
    },
  },
  {
    id: 'process-times',
    title: 'a result has dates, a duration and its host',
    why: 'Durations are data of a campaign.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const before = Date.now()
      const script = 'until [ -e go ]; do sleep 0.05 2>/dev/null || sleep 1; done'
      const running = await soon(world, world.backend.start(shell(script, { cwd: directory })), 'the start of a process')
      // It runs for at least so long on our own clock, however late a busy machine tells of its start and of its end.
      await pause(LEAST_MS)
      await run(world, shell(': >go', { cwd: directory }))
      const result = await soon(world, running.result, 'the end of a process')
      const after = Date.now()
      hasFields(result, { outcome: 'exited', exitCode: 0, forced: false, survivors: [], host: world.lab.host })
      const { startedAt, endedAt, durationMs } = result
      ok(startedAt !== undefined && endedAt !== undefined, 'no dates')
      ok(startedAt >= before - 1 && endedAt >= startedAt && endedAt <= after + 1, `dates out of order: ${before} ${startedAt} ${endedAt}`)
      ok(durationMs >= LEAST_MS - 1 && durationMs <= after - before + 1, `${durationMs} ms`)
    },
  },
]
