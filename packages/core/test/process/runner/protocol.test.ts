import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { bootstrapRunner } from '../../../src/process/runner/bootstrap.js'
import { carriersOf, commandOf, inPath, isAlive, type Program, RawRunner, until } from './protocol-client.js'

// One table for all runners: what docs/reference/runner.md says of requests and answers.

const folder = mkdtempSync(join(tmpdir(), 'cahier-protocol-'))
const big = join(folder, 'big')
const bigBytes = randomBytes(20_000_000)
// A host with nothing but busybox.
const applets = join(folder, 'applets')

const programs: (Program & { readonly missing: boolean })[] = [
  { name: 'runner.pl', kind: 'perl', command: ['perl'], missing: !inPath('perl') },
  { name: 'runner.sh in dash', kind: 'sh', command: ['dash'], missing: !inPath('dash') },
  { name: 'runner.sh in busybox', kind: 'sh', command: [join(applets, 'sh')], path: applets, missing: !inPath('busybox') },
  { name: 'runner.sh in bash', kind: 'sh', command: ['bash'], missing: !inPath('bash') },
]

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const shell = (text: string, ...words: (string | Buffer)[]) => ['sh', '-c', text, 'sh', ...words]

beforeAll(() => {
  writeFileSync(big, bigBytes)
  mkdirSync(applets)
  if (inPath('busybox')) execFileSync('busybox', ['--install', '-s', applets])
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const skipped = (missing: boolean): string => (missing ? ' (not on this machine)' : '')
for (const program of programs) {
  describe.skipIf(program.missing)(`${program.name}${skipped(program.missing)}`, () => {
    const open: RawRunner[] = []
    const canaries: ChildProcess[] = []
    let count = 0
    afterEach(async () => {
      for (const canary of canaries.splice(0)) canary.kill('SIGKILL')
      for (const runner of open.splice(0)) await runner.destroy()
    })

    function place(): string {
      count += 1
      const own = join(folder, `${programs.indexOf(program)}-${count}`)
      mkdirSync(own)
      return own
    }

    async function run(options: ConstructorParameters<typeof RawRunner>[2] = {}): Promise<RawRunner> {
      const runner = new RawRunner(program, place(), options)
      open.push(runner)
      return runner.greeted()
    }

    /** Nothing of the runner is there any more, except who is named. */
    async function expectNothingLeft(runner: RawRunner, except: readonly number[] = []): Promise<void> {
      await runner.gone()
      const left = (): number[] => carriersOf(runner.trace).filter((pid) => !except.includes(pid) && isAlive(pid))
      await until('its processes have ended', () => left().length === 0).catch(() => {})
      expect(left().map(commandOf)).toEqual([])
      expect(readdirSync(runner.temporary)).toEqual([])
    }

    it('says hello, whatever the shell has said before', async () => {
      const runner = await run({ before: 'echo Welcome to H 0 5; printf "\\377\\000\\nH 0 3 abc\\nabc motd without an end"' })
      expect(runner.hello).toMatchObject({ version: 2, kind: program.kind, pid: runner.root.pid, received: 0 })
      await runner.ping()
    })

    it.each<[string, string, string, string]>([
      ['text', 'echo one; echo two >&2', 'one\n', 'two\n'],
      ['nothing', ':', '', ''],
      ['no line end', 'printf abc; printf def >&2', 'abc', 'def'],
      ['NUL and bytes that are not UTF-8', `printf '\\000\\377\\n\\376'; printf '\\n\\000\\200' >&2`, '\0\xff\n\xfe', '\n\0\x80'],
    ])('passes on %s of both streams', async (_what, text, out, err) => {
      const runner = await run()
      runner.start(1, { words: shell(text) })
      expect(await runner.ended(1)).toEqual({ code: 0, signal: 0, open: 0 })
      expect(runner.output(1).toString('latin1')).toBe(out)
      expect(runner.output(1, 'E').toString('latin1')).toBe(err)
    })

    it('passes on output while the command runs', async () => {
      const runner = await run()
      runner.start(1, { words: shell('echo first; read x; echo "second $x" >&2; read x'), pipe: true })
      await runner.printed(1, 'first')
      runner.write(1, Buffer.from('line\n'))
      await runner.printed(1, 'second line', 'E')
      expect(runner.of('X', 1)).toEqual([])
      runner.request('c', 1)
      expect(await runner.ended(1)).toMatchObject({ code: 1, signal: 0 })
    })

    it('runs two hundred commands at a time and says of each how it ended', async () => {
      const runner = await run()
      const fifo = join(runner.temporary, 'fifo')
      execFileSync('mkfifo', [fifo])
      const gate = openSync(fifo, 'r+')
      for (let id = 1; id <= 200; id += 1) {
        runner.start(id, { words: shell('read x <"$1"; echo "$2"; echo "$2" >&2; exit "$2"', fifo, String(id % 129)) })
      }
      for (let id = 1; id <= 200; id += 1) await runner.said('S', id)
      expect(runner.frames.filter((frame) => frame.type === 'X')).toEqual([])
      writeSync(gate, '\n'.repeat(200))
      for (let id = 1; id <= 200; id += 1) {
        expect(await runner.ended(id)).toMatchObject({ code: id % 129, signal: 0 })
        expect(runner.output(id).toString()).toBe(`${id % 129}\n`)
        expect(runner.output(id, 'E').toString()).toBe(`${id % 129}\n`)
      }
      closeSync(gate)
    })

    it.each([9, 11, 10, 1, 15])('says that signal %i ended a command', async (signal) => {
      const runner = await run()
      runner.start(1, { words: shell(`kill -${signal} $$`) })
      expect(await runner.ended(1)).toMatchObject({ code: 0, signal })
    })

    // bash itself does not tell 143 from SIGTERM.
    it.each([129, 137, 139, 255, ...(program.name.endsWith('bash') ? [] : [130, 141, 143])])(
      'takes no code for a signal: %i',
      async (code) => {
        const runner = await run()
        runner.start(1, { words: shell(`exit ${code}`) })
        expect(await runner.ended(1)).toMatchObject({ code, signal: 0 })
      },
    )

    it.each<[string, Parameters<RawRunner['start']>[1], string]>([
      ['a program that is not there', { words: ['no-such-program'] }, 'exec ENOENT'],
      ['the name of a function of the runner', { words: ['_command'] }, 'exec ENOENT'],
      ['a path that is not there', { words: ['/no/such/program'] }, 'exec ENOENT'],
      ['a file that is not a program', { words: ['/etc/passwd'] }, 'exec EACCES'],
      ['a directory', { words: ['/etc'] }, 'exec EACCES'],
      ['a program that PATH does not lead to', { words: ['ls'], set: { PATH: '/no/such' } }, 'exec ENOENT'],
      ['a working directory that is not there', { words: ['ls'], cwd: '/no/such' }, 'cwd ENOENT'],
      ['a working directory that is a file', { words: ['ls'], cwd: '/etc/passwd' }, 'cwd ENOTDIR'],
      ['an output file without a folder', { words: ['ls'], files: { out: '/no/such/file', err: '/dev/null' } }, 'stdout ENOENT'],
      ['an error file that is a folder', { words: ['ls'], files: { out: '/dev/null', err: '/etc' } }, 'stderr EISDIR'],
    ])('does not start %s', async (_what, start, begin) => {
      const runner = await run()
      runner.start(1, start)
      expect((await runner.said('F', 1)).startsWith(`${begin} `)).toBe(true)
      expect(await runner.tree(1)).toEqual([])
      await runner.ping()
      expect(runner.of('X', 1)).toEqual([])
    })

    it('passes over requests about commands that it does not know', async () => {
      const runner = await run()
      for (const [type, word] of [
        ['k', 'KILL'],
        ['K', 'KILL'],
        ['c', ''],
        ['d', ''],
        ['f', ''],
      ] as const)
        runner.request(type, 77, word)
      runner.write(77, Buffer.from('nobody reads this'))
      await runner.said('B', 77)
      expect(await runner.tree(77)).toEqual([])
      await runner.ping()
      expect(runner.frames.map((frame) => frame.type).sort()).toEqual(['B', 'P', 'T'])
    })

    it('passes arguments and environment on as they are', async () => {
      const runner = await run()
      const words = [
        '',
        ' a  b ',
        "it's",
        '"$HOME"',
        '`id`',
        '*',
        '-n',
        '--',
        'two\nlines\n',
        '\\n\\',
        '!x',
        Buffer.from([0xff, 0x01, 0x7f, 0xc3]),
      ]
      runner.start(1, { words: shell('for word do printf "%s\\0" "$word"; done', ...words) })
      runner.start(2, {
        words: ['env'],
        set: { A: "it's\ntwo lines", 'with.dot': 'x', _id: 'ours', LC_ALL: 'C.UTF-8', UID: '7', IFS: ':', dir: '/x', EMPTY: '' },
        unset: ['GONE'],
      })
      runner.start(3, { words: shell('pwd; echo "$GONE"'), cwd: '/usr' })
      await runner.ended(1)
      expect(runner.output(1)).toEqual(Buffer.concat(words.flatMap((word) => [Buffer.from(word as string), Buffer.from([0])])))
      await runner.ended(2)
      const environment = runner.output(2).toString().split('\n')
      expect(environment).toEqual(
        expect.arrayContaining(["A=it's", 'two lines', 'with.dot=x', '_id=ours', 'LC_ALL=C.UTF-8', 'UID=7', 'IFS=:', 'dir=/x', 'EMPTY=']),
      )
      expect(environment.filter((line) => line.startsWith('GONE='))).toEqual([])
      await runner.ended(3)
      expect(runner.output(3).toString()).toBe('/usr\nstill here\n')
    })

    it('gives text to stdin, and nothing when there is none', async () => {
      const runner = await run()
      const text = randomBytes(300_000)
      runner.start(1, { words: ['cat'], text })
      runner.start(2, { words: ['cat'] })
      runner.start(3, { words: ['cat'], text: Buffer.alloc(0) })
      // Text for one who does not read it harms nobody.
      runner.start(4, { words: ['true'], text })
      for (const id of [1, 2, 3, 4]) expect(await runner.ended(id)).toMatchObject({ code: 0, signal: 0 })
      expect(digest(runner.output(1))).toBe(digest(text))
      expect(runner.output(2).length + runner.output(3).length).toBe(0)
    })

    it('carries five million bytes through a pipe and says how many were accepted', async () => {
      const runner = await run()
      const text = bigBytes.subarray(0, 5_000_000)
      runner.start(1, { words: ['cat'], pipe: true })
      const accepted = () => runner.of('W', 1).reduce((sum, frame) => sum + Number(frame.payload.toString()), 0)
      for (let at = 0; at < text.length; at += 65_536) {
        await until('stdin was accepted', () => at - accepted() < 262_144)
        runner.write(1, text.subarray(at, at + 65_536))
      }
      runner.request('c', 1)
      expect(await runner.ended(1)).toMatchObject({ code: 0 })
      expect(accepted()).toBe(text.length)
      expect(digest(runner.output(1))).toBe(digest(text))
      runner.write(1, Buffer.from('too late'))
      await runner.said('B', 1)
    })

    it('says when nobody reads stdin any more', async () => {
      const runner = await run()
      runner.start(1, { words: shell('exec <&-; echo closed; sleep 100'), pipe: true })
      await runner.printed(1, 'closed')
      runner.write(1, Buffer.from('x'))
      await runner.said('B', 1)
      runner.start(2, { words: ['sleep', '100'] })
      await runner.said('S', 2)
      runner.write(2, Buffer.from('x'))
      await runner.said('B', 2)
    })

    it('writes output into files, and goes on in them when asked', async () => {
      const runner = await run()
      const files = { out: join(folder, `${count}-out`), err: join(folder, `${count}-err`) }
      writeFileSync(files.out, 'what was there before')
      const command = shell('echo out; echo err >&2')
      runner.start(1, { words: command, files })
      expect(await runner.ended(1)).toEqual({ code: 0, signal: 0, open: 0 })
      runner.start(2, { words: command, files: { ...files, append: true } })
      await runner.ended(2)
      expect(readFileSync(files.out, 'utf8')).toBe('out\nout\n')
      expect(readFileSync(files.err, 'utf8')).toBe('err\nerr\n')
      runner.start(3, { words: command, files: { out: files.out, err: files.out } })
      await runner.ended(3)
      expect(readFileSync(files.out, 'utf8')).toBe('out\nerr\n')
      expect(runner.output(1).length + runner.output(2).length + runner.output(3).length).toBe(0)
    })

    it('streams twenty million bytes on each stream at once', async () => {
      const runner = await run()
      runner.start(1, { words: shell('cat "$1" >&2 & cat "$1"; wait', big) })
      expect(await runner.ended(1)).toMatchObject({ code: 0, signal: 0 })
      for (const stream of ['O', 'E'] as const) expect(digest(runner.output(1, stream))).toBe(digest(bigBytes))
    })

    it('signals the group, and nobody after the end', async () => {
      const runner = await run()
      runner.start(1, { words: shell('trap "echo told; exit 5" USR1; setsid sleep 100 & sleep 100 & echo up; wait; wait') })
      await runner.printed(1, 'up')
      await until('all four have become what they are to be', () => carriersOf(`proc-${runner.token}-1`).filter(isAlive).length === 3)
      runner.request('k', 1, 'USR1')
      await runner.printed(1, 'told')
      expect(await runner.said('X', 1)).toMatch(/^5 0 2$/)
      // The one that left the group lives.
      const rest = await runner.tree(1)
      expect(rest).toHaveLength(1)
      runner.request('k', 1, 'KILL')
      await runner.ping()
      expect(rest.filter(isAlive)).toEqual(rest)
      runner.request('K', 1, 'KILL')
      await runner.said('z', 1, 2)
      expect(await runner.tree(1)).toEqual([])
    })

    it('finds and ends a tree whose members ignore SIGTERM, left the session or lost their parent', async () => {
      const runner = await run()
      const canary = spawn('sleep', ['100'], { env: { ...process.env, CAHIER_PROC: `proc-${runner.token}-11` } })
      canaries.push(canary)
      // The grandchild of the bare one has no mark and no parent of ours: only its group tells.
      const text =
        'trap "" TERM; setsid sleep 100 & (setsid sh -c "sleep 100 & :" &) ; sh -c "sleep 100" & env -i sleep 100 & echo up; while :; do sleep 100; done'
      runner.start(1, { words: shell(text) })
      await runner.printed(1, 'up')
      await until('the tree has grown', () => carriersOf(`proc-${runner.token}-1\0`).filter(isAlive).length >= 5)
      const pid = Number(await runner.said('S', 1))
      const tree = await runner.tree(1)
      expect(tree).toContain(pid)
      expect(tree.length).toBeGreaterThanOrEqual(6)
      expect(tree).not.toContain(canary.pid)
      runner.request('K', 1, 'KILL')
      expect(await runner.ended(1)).toMatchObject({ code: 0, signal: 9 })
      expect(await runner.tree(1)).toEqual([])
      expect(tree.filter(isAlive)).toEqual([])
      expect(isAlive(canary.pid as number)).toBe(true)
    })

    it('does without /proc, by what ps says', async () => {
      const file = program.kind === 'perl' ? 'runner.pl' : 'runner.sh'
      const text = readFileSync(new URL(`../../../assets/${file}`, import.meta.url), 'utf8').replaceAll('/proc', '/no-proc')
      // busybox has a ps of its own, for machines that have /proc.
      const full = program.path === undefined ? program : { ...program, path: `/usr/bin:/bin:${program.path}` }
      const options = program.kind === 'perl' ? { text: text.replace('#!/usr/bin/perl', '') } : { text }
      const runner = new RawRunner(full, place(), options)
      if (program.kind === 'perl') return
      open.push(runner)
      await runner.greeted()
      runner.start(1, { words: shell('setsid sleep 100 & sleep 100 & echo up; wait') })
      await runner.printed(1, 'up')
      await until('all are there', () => carriersOf(`proc-${runner.token}-1`).filter(isAlive).length === 3)
      expect(await runner.tree(1)).toHaveLength(3)
      runner.request('K', 1, 'KILL')
      expect(await runner.ended(1)).toMatchObject({ signal: 9 })
    })

    it('tells how many streams somebody else holds open, and when each of them ends', async () => {
      const runner = await run()
      runner.start(1, { words: shell('echo last; exec 2>/dev/null; sleep 100 & exit 3') })
      expect(await runner.said('X', 1)).toBe('3 0 1')
      expect(runner.output(1).toString()).toBe('last\n')
      expect(runner.of('z', 1)).toEqual([])
      runner.request('K', 1, 'TERM')
      await runner.said('z', 1)
    })

    it('closes the pipes of a command when asked', async () => {
      const runner = await run()
      runner.start(1, { words: shell('while :; do echo more; done; exit 0') })
      await runner.printed(1, 'more')
      runner.request('d', 1)
      expect(await runner.said('X', 1)).toMatch(/^(0 13|[1-9]\d* 0) 0$/)
      expect(runner.of('z', 1)).toEqual([])
      runner.start(2, { words: shell('sleep 100 & exit 4') })
      expect(await runner.said('X', 2)).toBe('4 0 2')
      runner.request('d', 2)
      await runner.said('z', 2, 2)
    })

    it('knows nothing of a command that was forgotten', async () => {
      const runner = await run()
      runner.start(1, { words: shell('sleep 100 >/dev/null 2>&1 & exit 0') })
      await runner.ended(1)
      expect(await runner.tree(1)).toHaveLength(1)
      runner.request('f', 1)
      expect(await runner.tree(1)).toEqual([])
    })

    const tree = 'trap "" TERM; setsid sleep 100 & (setsid sh -c "sleep 100 & :" &) ; echo up; while :; do sleep 100; done'

    it.each<[string, number, (runner: RawRunner) => void]>([
      ['q', 0, (runner) => runner.request('q', 0)],
      ['the end of standard input', 0, (runner) => runner.hangUp()],
      ['the end of standard input and the rest of the lease', 1, (runner) => runner.hangUp()],
      ['silence for the length of the lease', 1, () => {}],
      ['SIGTERM', 60, (runner) => runner.root.kill('SIGTERM')],
    ])('ends everything after %s, and leaves nothing', async (_what, lease, act) => {
      const runner = await run({ lease, grace: 1 })
      const canary = spawn('sleep', ['100'])
      canaries.push(canary)
      runner.start(1, { words: shell(tree) })
      runner.start(2, { words: ['sleep', '100'], pipe: true })
      runner.start(3, { words: ['sleep', '100'], detach: true, files: { out: '/dev/null', err: '/dev/null' } })
      runner.start(4, { words: shell('setsid sleep 100 & exit 0') })
      await runner.printed(1, 'up')
      for (const id of [2, 3]) await runner.said('S', id)
      await runner.said('X', 4)
      const detached = Number(await runner.said('S', 3))
      act(runner)
      await expectNothingLeft(runner, [detached])
      expect(isAlive(detached)).toBe(true)
      expect(isAlive(canary.pid as number)).toBe(true)
    })

    it('does not wait for the lease when there is nothing to wait for', async () => {
      const runner = await run({ lease: 3600 })
      runner.start(1, { words: ['true'] })
      await runner.ended(1)
      runner.request('f', 1)
      await runner.ping()
      runner.acknowledge()
      runner.hangUp()
      await expectNothingLeft(runner)
    })

    it('lives as long as it hears from us', async () => {
      const runner = await run({ lease: 1 })
      for (const end = performance.now() + 2_500; performance.now() < end; ) {
        await runner.ping()
        await until('a moment has passed', () => true)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      runner.request('q', 0)
      await expectNothingLeft(runner)
    })

    it('goes on over a new link wherever the old one was cut', async () => {
      const runner = await run({ lease: 60 })
      const ledger = join(runner.temporary, 'ledger')
      const text = 'echo "$1" >>"$2"; head -c 150000 "$3"; head -c 70000 "$3" >&2; read x; echo "$x"'
      // Without a command, a runner that has lost its link would end.
      runner.start(99, { words: ['sleep', '100'] })
      await runner.said('S', 99)
      let id = 0
      // Just after the hello, within a header, within a frame, between frames, within what was kept and acknowledged.
      for (const more of [0, 1, 9, 30, 1_000, 65_600, 150_000, 219_000]) {
        runner.cutAt = runner.have + more
        if (more === 0) runner.cut()
        id += 1
        runner.start(id, { words: shell(text, String(id), ledger, big), pipe: true })
        const line = Buffer.from('the end\n')
        if (!runner.isCut) await until('the link is cut', () => runner.isCut)
        runner.write(id, line)
        await runner.resume()
        await runner.printed(id, 'the end\n')
        expect(await runner.ended(id)).toMatchObject({ code: 0, signal: 0 })
        expect(digest(runner.output(id))).toBe(digest(Buffer.concat([bigBytes.subarray(0, 150_000), line])))
        expect(digest(runner.output(id, 'E'))).toBe(digest(bigBytes.subarray(0, 70_000)))
      }
      expect(readFileSync(ledger, 'utf8')).toBe('1\n2\n3\n4\n5\n6\n7\n8\n')
      rmSync(ledger)
      runner.request('q', 0)
      await expectNothingLeft(runner)
    })

    it('takes a request that the cut has divided once', async () => {
      const runner = await run({ lease: 60 })
      const ledger = join(runner.temporary, 'ledger')
      const text = randomBytes(100_000)
      runner.start(1, { words: ['cat'], pipe: true })
      await runner.said('S', 1)
      const bytes = program.kind === 'perl' ? runner.encode('w', 1, text) : Buffer.concat([Buffer.from(`w 1 ${text.length}\n`), text])
      runner.sendPart(bytes.subarray(0, 70_000))
      runner.cut()
      runner.write(1, text)
      runner.request('c', 1)
      runner.start(2, { words: shell('echo once >>"$1"', ledger) })
      await runner.resume()
      expect(await runner.ended(1)).toMatchObject({ code: 0 })
      expect(digest(runner.output(1))).toBe(digest(text))
      await runner.ended(2)
      expect(readFileSync(ledger, 'utf8')).toBe('once\n')
    })

    it('can be taken up while the old link hangs', async () => {
      const runner = await run({ lease: 60 })
      runner.start(1, { words: shell('head -c 3000000 "$1"; sleep 100', big) })
      await runner.said('S', 1)
      runner.freeze()
      await runner.resume()
      await until('all was said', () => runner.outputBytes(1) === 3_000_000)
      expect(digest(runner.output(1))).toBe(digest(bigBytes.subarray(0, 3_000_000)))
      runner.request('K', 1, 'KILL')
      expect(await runner.ended(1)).toMatchObject({ signal: 9 })
    })

    it('keeps at most four million bytes and lets commands wait with the rest', async () => {
      const runner = await run({ lease: 60 })
      runner.acknowledges = false
      runner.start(1, { words: ['cat', big] })
      await until('it has kept what it may', () => runner.have > 3_000_000)
      await runner.ping()
      // A whole command passes, and of the other one nothing more than what was on its way.
      runner.start(2, { words: ['true'], files: { out: '/dev/null', err: '/dev/null' } })
      await runner.ended(2)
      expect(runner.have).toBeLessThan(4_194_304 + 200_000)
      expect(runner.of('X', 1)).toEqual([])
      runner.acknowledges = true
      runner.acknowledge()
      expect(await runner.ended(1)).toMatchObject({ code: 0 })
      expect(digest(runner.output(1))).toBe(digest(bigBytes))
    })
  })
}

describe('the line for the login shell', () => {
  const shells = ['sh', 'dash', 'bash', 'zsh', 'tcsh', 'csh', 'fish', 'mksh', 'ksh']
  for (const name of shells) {
    for (const kind of ['perl', 'sh'] as const) {
      const missing = !inPath(name)
      it.skipIf(missing)(`starts the ${kind} runner from ${name}${skipped(missing)}`, async () => {
        const token = randomBytes(8).toString('hex')
        const { command, input } = bootstrapRunner(kind, token, 0, 1)
        expect(command).not.toMatch(/[\n\\!]/)
        const child = spawn(name, ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
        let said = ''
        child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')))
        const ended = new Promise((resolve) => child.once('close', resolve))
        child.stdin.write(input)
        child.stdin.write(kind === 'sh' ? 'p\n' : Buffer.from([0, 0, 0, 0, 0x70, 0, 0, 0, 0]))
        await until('it answers', () => said.includes(`P 0 0 ${token}\n`))
        expect(said).toContain(`\nH 0 `)
        // exec: the shell has become the runner.
        expect(said).toContain(`2 ${kind} ${child.pid} 0`)
        child.stdin.end()
        await ended
      })
    }
  }
})
