import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasFields, isRefusal, linesOf, listen, run, shell, textOf, until } from '../process-steps.js'
import type { ProcessCase } from '../process-types.js'

export const outputCases: readonly ProcessCase[] = [
  {
    id: 'process-output-apart',
    title: 'stdout and stderr are kept apart',
    why: 'A warning in the middle of a number is not a number.',
    async run(world) {
      const heard = listen()
      const result = await run(world, shell('echo out; echo err >&2; echo more'), heard)
      deepStrictEqual([result.stdout.text, result.stderr.text], ['out\nmore\n', 'err\n'])
      deepStrictEqual([heard.bytes('stdout').toString(), heard.bytes('stderr').toString()], ['out\nmore\n', 'err\n'])
    },
  },
  {
    id: 'process-output-bytes',
    title: 'every byte comes through: NUL, what is not UTF-8, all that a protocol could mistake',
    why: 'Output of programs is bytes; a backend that mends them breaks checksums.',
    async run(world) {
      const all = Array.from({ length: 256 }, (_, index) => index)
      const octal = all.map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
      for (const to of ['', ' >&2']) {
        const heard = listen()
        const result = await run(world, shell(`printf '${octal}'${to}`), heard)
        const stream = to === '' ? 'stdout' : 'stderr'
        ok(heard.bytes(stream).equals(Buffer.from(all)), `bytes of ${stream} were changed`)
        strictEqual(result[stream].bytes, 256)
        strictEqual(result[stream].text, Buffer.from(all).toString('utf8'))
      }
    },
  },
  {
    id: 'process-output-ends',
    title: 'output without a line end stays without, empty lines stay, no output is empty',
    why: 'Tools that add a line end change what others compare.',
    async run(world) {
      for (const text of ['no end', '\n', '\n\n\n', 'a\n\nb', '', 'x\r\n']) {
        const result = await run(world, { command: ['printf', '%s', text] })
        deepStrictEqual([result.stdout.text, result.stdout.bytes, result.stdout.truncated], [text, text.length, false])
        strictEqual(result.stderr.bytes, 0)
      }
    },
  },
  {
    id: 'process-output-character',
    title: 'a character that is cut between two reads is whole',
    why: 'é must not become two question marks because of a buffer.',
    async run(world) {
      const result = await run(world, shell(`printf 'caf\\303'; sleep 0.1 2>/dev/null || sleep 1; printf '\\251\\n'`))
      strictEqual(result.stdout.text, 'café\n')
    },
  },
  {
    id: 'process-output-noise',
    title: 'output that looks like a message of the backend is output',
    why: 'A host whose programs print frames must not be able to end somebody else’s command.',
    async run(world) {
      const text = 'X 1 5 0123456789abcdef\n0 0 0\nH 0 9 0\nEND 0\n\x1b[6n'
      strictEqual((await run(world, { command: ['printf', '%s', text] })).stdout.text, text)
      strictEqual((await run(world, shell('echo after'))).stdout.text, 'after\n')
    },
  },
  {
    id: 'process-output-long',
    title: 'long output is bounded in memory, whole in a file, and every byte is shown',
    why: 'One talkative command must not take the memory of the controller, nor lose its output.',
    async run(world) {
      const directory = await mkdtemp(join(tmpdir(), 'cahier-conformance-'))
      try {
        const heard = listen()
        // Five megabytes of lines that tell where they stand.
        const script = `i=0; while [ $i -lt 50 ]; do i=$((i+1)); printf '%s\\n' "begin $i"; head -c 104857 /dev/zero | tr '\\0' x; echo; done`
        const spec = shell(script, { keepBytes: 2_000, spillTo: join(directory, 'whole') })
        const result = await run(world, spec, heard)
        const whole = heard.bytes('stdout')
        hasFields(result, { outcome: 'exited', exitCode: 0 })
        const places = Array.from({ length: 50 }, (_, index) => whole.indexOf(`begin ${index + 1}\n`))
        ok(
          places.every((place, index) => place >= 0 && (index === 0 || place > (places[index - 1] as number))),
          'lines are missing or out of order',
        )
        strictEqual(whole.length, 50 * 104_858 + Array.from({ length: 50 }, (_, index) => `begin ${index + 1}\n`).join('').length)
        deepStrictEqual([result.stdout.bytes, result.stdout.truncated], [whole.length, true])
        ok(result.stdout.text.length < 2_200, `${result.stdout.text.length} characters were kept`)
        ok(result.stdout.text.startsWith('begin 1\n') && result.stdout.text.endsWith('x\n'), 'the beginning or the end was not kept')
        ok(result.stdout.file !== undefined, 'there is no file with everything')
        ok((await readFile(result.stdout.file)).equals(whole), 'the file does not hold everything')
      } finally {
        await rm(directory, { recursive: true, force: true })
      }
    },
  },
  {
    id: 'process-output-drop',
    title: 'with spilling off, what does not fit is dropped and counted',
    why: 'Whoever says that no file may be made means it.',
    async run(world) {
      const result = await run(world, shell(`head -c 300000 /dev/zero | tr '\\0' y`, { keepBytes: 100, spillTo: false }))
      deepStrictEqual([result.stdout.bytes, result.stdout.truncated, result.stdout.file], [300_000, true, undefined])
      strictEqual((await run(world, shell('echo out', { keepBytes: 0, spillTo: false }))).stdout.bytes, 4)
    },
  },
  {
    id: 'process-output-order',
    title: 'chunks of each stream come in the order in which they were written',
    why: 'A log in the wrong order tells another story.',
    async run(world) {
      const heard = listen()
      const script = 'i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo "out $i"; echo "err $i" >&2; done'
      await run(world, shell(script), heard)
      const lines = (word: string): string => Array.from({ length: 300 }, (_, index) => `${word} ${index + 1}\n`).join('')
      strictEqual(heard.bytes('stdout').toString(), lines('out'))
      strictEqual(heard.bytes('stderr').toString(), lines('err'))
    },
  },
  {
    id: 'process-output-live',
    title: 'output is shown while the process runs, before its line has ended',
    declared: 'liveOutput',
    why: 'A prompt without a line end is what one has to answer.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const heard = listen()
      const script = `printf 'name? '; until [ -e go ]; do sleep 0.05 2>/dev/null || sleep 1; done; echo done`
      await using running = await world.backend.start(shell(script, { cwd: directory }), heard)
      await until(world, 'the first words', () => heard.bytes('stdout').toString() === 'name? ')
      await run(world, shell(': >go', { cwd: directory }))
      strictEqual((await running.result).stdout.text, 'name? done\n')
    },
  },
  {
    id: 'process-output-files',
    title: 'outputFiles receive the streams, fresh or appended, and nothing passes here',
    declared: 'outputFiles',
    why: 'Jobs write for hours; their output belongs into their directory.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const [stdout, stderr] = [join(directory, 'out file'), join(directory, "err'file")]
      const heard = listen()
      const first = await run(world, shell('echo one; echo bad >&2', { outputFiles: { stdout, stderr } }), heard)
      hasFields(first, { outcome: 'exited', exitCode: 0 })
      deepStrictEqual([first.stdout.bytes, first.stderr.bytes, heard.chunks.length], [0, 0, 0])
      deepStrictEqual([await textOf(world, stdout), await textOf(world, stderr)], ['one\n', 'bad\n'])
      await run(world, shell('echo two', { outputFiles: { stdout, stderr, append: true } }))
      deepStrictEqual([await textOf(world, stdout), await textOf(world, stderr)], ['one\ntwo\n', 'bad\n'])
      await run(world, shell('echo 3; echo 4 >&2; echo 5', { outputFiles: { stdout, stderr: stdout } }))
      strictEqual(await textOf(world, stdout), '3\n4\n5\n')
    },
  },
  {
    id: 'process-output-files-refused',
    title: 'an output file that cannot be opened is a process that was not started',
    declared: 'outputFiles',
    why: 'A job whose output goes nowhere has to be run again.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const outputFiles = { stdout: join(directory, 'none/out'), stderr: join(directory, 'err') }
      const result = await run(world, shell('echo ran >ran', { outputFiles, cwd: directory }))
      strictEqual(result.outcome, 'not-started')
      ok(result.error !== undefined, 'it does not say why')
      strictEqual(await textOf(world, join(directory, 'ran')), '')
    },
  },
  {
    id: 'process-output-files-undeclared',
    title: 'where outputFiles and detach cannot be had, asking for them is refused',
    undeclared: 'outputFiles',
    why: 'Output that silently goes elsewhere is looked for in vain.',
    async run(world) {
      const outputFiles = { stdout: '/dev/null', stderr: '/dev/null' }
      isRefusal(await run(world, { command: ['true'], outputFiles }), 'E_NOT_SUPPORTED')
      isRefusal(await run(world, { command: ['true'], outputFiles, detach: true }), 'E_NOT_SUPPORTED')
    },
  },
  {
    id: 'process-output-held',
    title: 'a grandchild that holds the output open does not delay the end',
    declared: 'heldOutput',
    why: 'A command that starts a daemon would never end.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const script = `(until [ -e stop ]; do sleep 0.1 2>/dev/null || sleep 1; done; echo gone >gone) & echo started; exit 3`
      try {
        const result = await run(world, shell(script, { cwd: directory }))
        hasFields(result, { outcome: 'exited', exitCode: 3 })
        strictEqual(result.stdout.text, 'started\n')
        // It is not ours to end: it was not stopped, it was left.
        strictEqual(await textOf(world, join(directory, 'gone')), '')
      } finally {
        await run(world, shell(': >stop', { cwd: directory }))
      }
      await linesOf(world, join(directory, 'gone'), 1)
    },
  },
  {
    id: 'process-output-no-litter',
    title: 'commands leave no files behind in the directory where they ran',
    why: 'A home directory full of fifos is how one learns which tool was used.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      await Promise.all([1, 2, 3].map((code) => run(world, shell(`exit ${code}`, { cwd: directory, stdin: { text: 'x' } }))))
      const listed = await run(world, shell('ls -a', { cwd: directory }))
      strictEqual(listed.stdout.text, '.\n..\n')
    },
  },
]
