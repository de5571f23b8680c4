import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { hasFields, isRefusal, listen, ODD_WORDS, run, shell, soon } from '../process-steps.js'
import type { ProcessCase } from '../process-types.js'

/** Every byte there is, and a long stretch of them. */
const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
const PRINT_ALL = `for word; do printf '%s\\0' "$word"; done`

function isStdinError(error: { code?: string }): boolean {
  strictEqual(error.code, 'E_STDIN')
  return true
}

export const inputCases: readonly ProcessCase[] = [
  {
    id: 'process-words',
    title: 'the words of an argument list arrive as they are: no shell has read them',
    why: 'A word that a shell reads on its way is a hole for whoever may choose a file name.',
    async run(world) {
      const result = await run(world, { command: ['/bin/sh', '-c', PRINT_ALL, 'sh', ...ODD_WORDS] })
      deepStrictEqual(result.stdout.text.split('\0'), [...ODD_WORDS, ''])
    },
  },
  {
    id: 'process-words-program',
    title: 'a program is found along PATH, and a word that begins with a dash is not an option of ours',
    why: '`env -- name` and `exec -a` have surprised others.',
    async run(world) {
      strictEqual((await run(world, { command: ['printf', '%s|', '-c', '--', '-e'] })).stdout.text, '-c|--|-e|')
      strictEqual((await run(world, { command: ['expr', '1', '+', '1'] })).stdout.text, '2\n')
    },
  },
  {
    id: 'process-script',
    title: 'the text of a script reaches the shell as it is, quotes and line ends included',
    why: 'Text that is quoted once too little or too often does something else than what was written.',
    async run(world) {
      const script = `# a comment with 'quotes" and $(no)\nfor i in 1 2; do\n\tprintf '%s\\n' "it's $i"\ndone\ncat <<'END' | tr a-z A-Z\n\\ $HOME "x" \`y\`\nEND\necho 'é!' \\\n  done`
      strictEqual((await run(world, shell(script))).stdout.text, `it's 1\nit's 2\n\\ $HOME "X" \`Y\`\né! done\n`)
    },
  },
  {
    id: 'process-shell',
    title: 'another shell gets the script when one is named',
    why: 'Scripts are written for one shell.',
    async run(world) {
      // A program that tells its arguments apart from what a shell would make of them.
      strictEqual((await run(world, { command: { script: 'echo "$0"', shell: '/bin/sh' } })).stdout.text, '/bin/sh\n')
      const missing = await run(world, { command: { script: 'true', shell: '/no/such/shell' } })
      if (world.supports.startFailures === true) isRefusal(missing, 'E_PROGRAM_NOT_FOUND')
      else ok(missing.exitCode === 126 || missing.exitCode === 127, JSON.stringify(missing))
    },
  },
  {
    id: 'process-cwd',
    title: 'a process runs in the directory asked for, whatever its name',
    why: 'Files that land elsewhere are lost or overwrite others.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      strictEqual((await run(world, shell('pwd -P', { cwd: directory }))).stdout.text, `${directory}\n`)
      await run(world, shell('echo here >mark', { cwd: directory }))
      strictEqual(Buffer.from((await world.lab.readFile(`${directory}/mark`)) ?? []).toString(), 'here\n')
    },
  },
  {
    id: 'process-env',
    title: 'variables arrive as they are, are added to what is inherited, and can be taken away',
    why: 'Values reach commands through the environment because nothing reads them on the way.',
    async run(world) {
      const env = Object.fromEntries(ODD_WORDS.map((word, index) => [`CONFORMANCE_${index}`, word]))
      const names = Object.keys(env).map((name) => `"$${name}"`)
      const script = `printf '%s\\0' ${names.join(' ')} "\${PATH:+path}" "\${HOME-none}" "\${USER_OF_NOBODY-none}"`
      const result = await run(world, shell(script, { env: { ...env, HOME: undefined, USER_OF_NOBODY: undefined } }))
      deepStrictEqual(result.stdout.text.split('\0'), [...ODD_WORDS, 'path', 'none', 'none', ''])
    },
  },
  {
    id: 'process-env-apart',
    title: 'the variables of one process are not those of the next',
    why: 'A runner that keeps them gives one job the seed of another.',
    async run(world) {
      const script = 'printf %s "${CONFORMANCE_ONE-none}"'
      strictEqual((await run(world, shell(script, { env: { CONFORMANCE_ONE: '1' } }))).stdout.text, '1')
      strictEqual((await run(world, shell(script))).stdout.text, 'none')
    },
  },
  {
    id: 'process-stdin-none',
    title: 'without stdin a process reads the end of file at once',
    why: 'A program that waits for a terminal nobody sits at waits for ever.',
    async run(world) {
      hasFields(await run(world, { command: ['cat'] }), {
        outcome: 'exited',
        exitCode: 0,
        stdout: { text: '', bytes: 0, truncated: false },
      })
      strictEqual((await run(world, { command: ['cat'], stdin: { text: '' } })).stdout.bytes, 0)
    },
  },
  {
    id: 'process-stdin-text',
    title: 'text and bytes for stdin arrive whole, followed by the end of file',
    why: 'A script sent through stdin must end where it ends.',
    async run(world) {
      const text = `é\n'"$x \\0 %s\n${'line\n'.repeat(2_000)}no line end`
      strictEqual((await run(world, { command: ['cat'], stdin: { text } })).stdout.text, text)
      const heard = listen()
      const bytes = Buffer.concat(Array.from({ length: 40 }, () => ALL_BYTES))
      await run(world, { command: ['cat'], stdin: { text: bytes } }, heard)
      ok(heard.bytes('stdout').equals(bytes), 'bytes were changed on their way through stdin')
    },
  },
  {
    id: 'process-stdin-unread',
    title: 'a process that does not read its stdin ends as it would',
    why: 'head and true leave before the end of what they are given.',
    async run(world) {
      hasFields(await run(world, { command: ['true'], stdin: { text: 'x'.repeat(200_000) } }), { outcome: 'exited', exitCode: 0 })
    },
  },
  {
    id: 'process-stdin-pipe',
    title: 'what is written to a pipe arrives in order, until it is closed',
    declared: 'stdinPipe',
    why: 'Conversation with a program is made of writes.',
    async run(world) {
      const heard = listen()
      const running = await world.backend.start({ command: ['cat'], stdin: 'pipe' }, heard)
      await soon(world, running.write('first\n'), 'a write')
      if (world.supports.liveOutput === true) {
        for (const end = performance.now() + 20_000; heard.bytes('stdout').toString() !== 'first\n'; ) {
          ok(performance.now() < end, 'what cat answered did not come while it ran')
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      }
      const writes = Array.from({ length: 20 }, (_, index) => Buffer.concat([Buffer.from(`${index}:`), ALL_BYTES]))
      await soon(world, Promise.all(writes.map((bytes) => running.write(bytes))), 'twenty writes')
      running.closeStdin()
      hasFields(await soon(world, running.result, 'the end of cat'), { outcome: 'exited', exitCode: 0 })
      ok(heard.bytes('stdout').equals(Buffer.concat([Buffer.from('first\n'), ...writes])), 'bytes were lost, doubled or changed')
    },
  },
  {
    id: 'process-stdin-after-end',
    title: 'writing to a process that has ended, or without a pipe, is refused',
    why: 'Text that goes nowhere without a word is lost text.',
    async run(world) {
      const running = await world.backend.start(shell('exit 0', world.supports.stdinPipe === true ? { stdin: 'pipe' } : {}))
      await soon(world, running.result, 'the end of exit')
      await rejects(soon(world, running.write('late'), 'a late write'), isStdinError)
      running.closeStdin()
      await using sleeper = await world.backend.start({ command: ['sleep', '30'] })
      await rejects(soon(world, sleeper.write('x'), 'a write without a pipe'), isStdinError)
    },
  },
  {
    id: 'process-stdin-pipe-undeclared',
    title: 'where stdin cannot be a pipe, asking for one is refused',
    undeclared: 'stdinPipe',
    why: 'A program that waits for what never comes waits for ever.',
    async run(world) {
      isRefusal(await run(world, { command: ['cat'], stdin: 'pipe' }), 'E_NOT_SUPPORTED')
    },
  },
]
