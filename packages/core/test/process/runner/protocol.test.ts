import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, test as base, beforeAll, describe, expect } from 'vitest'
import { bootstrapRunner } from '../../../src/process/runner/bootstrap.js'
import { carriersOf, commandOf, inPath, isAlive, type Program, RawRunner, until } from './protocol-client.js'

// One table for all runners: what docs/reference/runner.md says of requests and answers.

const folder = mkdtempSync(join(tmpdir(), 'cahier-protocol-'))
const big = join(folder, 'big')
const bigBytes = randomBytes(20_000_000)
// A host with nothing but busybox.
const applets = join(folder, 'applets')

interface Tested extends Program {
  readonly missing: boolean
  /** Else only the cases in which shells differ. */
  readonly whole: boolean
  readonly commands: number
  /** Bytes on each stream, through a pipe, and beyond what is kept. */
  readonly much: readonly [stream: number, pipe: number, beyond: number]
  readonly cuts: readonly number[]
}

// Just after the hello, within a header, within a frame, between frames, within what was kept and acknowledged.
const CUTS = [0, 1, 9, 30, 1_000, 65_600, 150_000, 219_000]
// A shell forks for every chunk.
const inShell = { kind: 'sh', commands: 60, much: [3_000_000, 1_000_000, 6_000_000] } as const
const few = { ...inShell, whole: false, commands: 20, cuts: [0, 9, 65_600] } as const
const programs: Tested[] = [
  {
    name: 'runner.pl',
    kind: 'perl',
    command: ['perl'],
    missing: !inPath('perl'),
    whole: true,
    commands: 200,
    much: [20_000_000, 5_000_000, 20_000_000],
    cuts: CUTS,
  },
  { ...inShell, name: 'runner.sh in dash', command: ['dash'], missing: !inPath('dash'), whole: true, cuts: CUTS },
  { ...few, name: 'runner.sh in busybox', command: [join(applets, 'sh')], path: applets, missing: !inPath('busybox') },
  { ...few, name: 'runner.sh in bash', command: ['bash'], missing: !inPath('bash') },
]

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const shell = (text: string, ...words: (string | Buffer)[]) => ['sh', '-c', text, 'sh', ...words]

beforeAll(() => {
  writeFileSync(big, bigBytes)
  mkdirSync(applets)
  if (inPath('busybox')) execFileSync('busybox', ['--install', '-s', applets])
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Of a runner that is ending, nothing is there any more but what it may leave behind. */
async function expectNothingLeft(runner: RawRunner): Promise<void> {
  await runner.gone()
  await until('its processes have ended', () => runner.left().length === 0, 50).catch(() => {})
  expect(runner.left().map(commandOf)).toEqual([])
  expect([runner.temporary, '/tmp'].flatMap((place) => readdirSync(place)).filter((name) => name.includes(runner.token))).toEqual([])
}

type Options = ConstructorParameters<typeof RawRunner>[2]

interface Fixtures {
  /** Starts a runner. After the test it is ended in one way or another, and must leave nothing. */
  readonly run: (program: Program, options?: Options) => Promise<RawRunner>
  /** Somebody who has nothing to do with us. */
  readonly canary: (environment?: Readonly<Record<string, string>>) => ChildProcess
}

let count = 0
const it = base.extend<Fixtures>({
  run: async ({ task }, use) => {
    const runners: RawRunner[] = []
    await use((program, options) => {
      count += 1
      const place = join(folder, `place-${count}`)
      mkdirSync(place)
      const runner = new RawRunner(program, place, options)
      runners.push(runner)
      return runner.greeted()
    })
    try {
      for (const runner of task.result?.state === 'fail' ? [] : runners) {
        if (!runner.exited) {
          const way = count % 3
          if (way === 0 || (runner.isCut && runner.lease > 0)) runner.root.kill('SIGTERM')
          else if (way === 1 && runner.lease === 0) runner.hangUp()
          else runner.request('q', 0)
        }
        await expectNothingLeft(runner)
      }
    } finally {
      for (const runner of runners) await runner.destroy()
    }
  },
  canary: async ({ task: _task }, use) => {
    const canaries: ChildProcess[] = []
    await use((environment = {}) => {
      const canary = spawn('sleep', ['100'], { env: { ...process.env, ...environment } })
      canaries.push(canary)
      return canary
    })
    for (const canary of canaries) canary.kill('SIGKILL')
  },
})

const skipped = (missing: boolean): string => (missing ? ' (not on this machine)' : '')
for (const program of programs) {
  describe.skipIf(program.missing).concurrent(`${program.name}${skipped(program.missing)}`, { timeout: 180_000 }, () => {
    it('says hello, whatever the shell has said before', async ({ run }) => {
      const runner = await run(program, { before: 'echo Welcome to H 0 5; printf "\\377\\000\\nH 0 3 abc\\nabc motd without an end"' })
      expect(runner.hello).toMatchObject({ version: 2, kind: program.kind, pid: runner.root.pid, received: 0 })
      await runner.ping()
    })

    it('passes on both streams as they are', async ({ run }) => {
      const runner = await run(program)
      const cases: [string, string, string][] = [
        ['echo one; echo two >&2', 'one\n', 'two\n'],
        [':', '', ''],
        ['printf abc; printf def >&2', 'abc', 'def'],
        // A NUL, and bytes that are not UTF-8.
        [`printf '\\000\\377\\n\\376'; printf '\\n\\000\\200' >&2`, '\0\xff\n\xfe', '\n\0\x80'],
      ]
      for (const [id, [text]] of cases.entries()) runner.start(id + 1, { words: shell(text) })
      for (const [id, [, out, err]] of cases.entries()) {
        expect(await runner.ended(id + 1)).toEqual({ code: 0, signal: 0, open: 0 })
        expect(runner.output(id + 1).toString('latin1')).toBe(out)
        expect(runner.output(id + 1, 'E').toString('latin1')).toBe(err)
      }
    })

    it('passes on output while the command runs', async ({ run }) => {
      const runner = await run(program)
      runner.start(1, { words: shell('echo first; read x; echo "second $x" >&2; read x'), pipe: true })
      await runner.printed(1, 'first')
      runner.write(1, Buffer.from('line\n'))
      await runner.printed(1, 'second line', 'E')
      expect(runner.of('X', 1)).toEqual([])
      runner.request('c', 1)
      expect(await runner.ended(1)).toMatchObject({ code: 1, signal: 0 })
    })

    it('runs many commands at a time and says of each how it ended', async ({ run }) => {
      const runner = await run(program)
      const fifo = join(runner.temporary, 'fifo')
      execFileSync('mkfifo', [fifo])
      const gate = openSync(fifo, 'r+')
      for (let id = 1; id <= program.commands; id += 1) {
        runner.start(id, { words: shell('read x <"$1"; echo "$2"; echo "$2" >&2; exit "$2"', fifo, String(id % 129)) })
      }
      for (let id = 1; id <= program.commands; id += 1) await runner.said('S', id)
      expect(runner.frames.filter((frame) => frame.type === 'X')).toEqual([])
      writeSync(gate, '\n'.repeat(program.commands))
      for (let id = 1; id <= program.commands; id += 1) {
        expect(await runner.ended(id)).toMatchObject({ code: id % 129, signal: 0 })
        expect(runner.output(id).toString()).toBe(`${id % 129}\n`)
        expect(runner.output(id, 'E').toString()).toBe(`${id % 129}\n`)
      }
      closeSync(gate)
    })

    it('tells the signal that ended a command from any exit code', async ({ run }) => {
      const runner = await run(program)
      const signals = [9, 11, 10, 1, 15]
      // bash itself does not tell 143 from SIGTERM.
      const codes = [129, 137, 139, 255, ...(program.name.endsWith('bash') ? [] : [130, 141, 143])]
      for (const signal of signals) runner.start(signal, { words: shell(`kill -${signal} $$`) })
      for (const code of codes) runner.start(code, { words: shell(`exit ${code}`) })
      for (const signal of signals) expect(await runner.ended(signal)).toMatchObject({ code: 0, signal })
      for (const code of codes) expect(await runner.ended(code)).toMatchObject({ code, signal: 0 })
    })

    it('passes arguments and environment on as they are', async ({ run }) => {
      const runner = await run(program)
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

    it('takes a request that comes in two parts while a command ends', async ({ run }) => {
      const runner = await run(program)
      const request = runner.encode('t', 77)
      runner.start(1, { words: shell('read x; exit 3'), pipe: true })
      await runner.said('S', 1)
      runner.write(1, Buffer.from('go\n'))
      runner.sendPart(request.subarray(0, 3))
      await runner.ended(1)
      runner.sendPart(request.subarray(3))
      expect(await runner.said('T', 77)).toBe('')
    })

    it('gives text to stdin, and nothing when there is none', async ({ run }) => {
      const runner = await run(program)
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

    it('carries much text through a pipe and says how many were accepted', async ({ run }) => {
      const runner = await run(program)
      const text = bigBytes.subarray(0, program.much[1])
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

    it('streams millions of bytes on each stream at once', async ({ run }) => {
      const runner = await run(program)
      runner.start(1, { words: shell('head -c "$2" "$1" >&2 & head -c "$2" "$1"; wait', big, String(program.much[0])) })
      expect(await runner.ended(1)).toMatchObject({ code: 0, signal: 0 })
      for (const stream of ['O', 'E'] as const) expect(digest(runner.output(1, stream))).toBe(digest(bigBytes.subarray(0, program.much[0])))
    })

    it('signals the group, and nobody after the end', async ({ run }) => {
      const runner = await run(program)
      runner.start(1, {
        words: shell('trap "echo told; exit 5" USR1; setsid sh -c "echo away; exec sleep 100" & sleep 100 & echo up; wait; wait'),
      })
      await runner.printed(1, 'up')
      await runner.printed(1, 'away')
      await until('all four have become what they are to be', () => carriersOf(`proc-${runner.token}-1`).filter(isAlive).length === 3, 50)
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

    it('finds and ends a tree whose members ignore SIGTERM, left the session or lost their parent', async ({ run, canary }) => {
      const runner = await run(program)
      const stranger = canary({ CAHIER_PROC: `proc-${runner.token}-11` })
      // The grandchild of the bare one has no mark and no parent of ours: only its group tells.
      const text =
        'trap "" TERM; setsid sleep 100 & (setsid sh -c "sleep 100 & :" &) ; sh -c "sleep 100" & env -i sleep 100 & echo up; while :; do sleep 100; done'
      runner.start(1, { words: shell(text) })
      await runner.printed(1, 'up')
      await until('the tree has grown', () => carriersOf(`proc-${runner.token}-1\0`).filter(isAlive).length >= 5, 50)
      const pid = Number(await runner.said('S', 1))
      const tree = await runner.tree(1)
      expect(tree).toContain(pid)
      expect(tree.length).toBeGreaterThanOrEqual(6)
      expect(tree).not.toContain(stranger.pid)
      runner.request('K', 1, 'KILL')
      expect(await runner.ended(1)).toMatchObject({ code: 0, signal: 9 })
      expect(await runner.tree(1)).toEqual([])
      expect(tree.filter(isAlive)).toEqual([])
      expect(isAlive(stranger.pid as number)).toBe(true)
    })

    const endings: [string, number, (runner: RawRunner) => void][] = [
      ['q', 0, (runner) => runner.request('q', 0)],
      ['the end of standard input', 0, (runner) => runner.hangUp()],
      ['the end of standard input and the rest of the lease', 5, (runner) => runner.hangUp()],
      ['silence for the length of the lease', 5, () => {}],
      ['SIGTERM', 60, (runner) => runner.root.kill('SIGTERM')],
    ]
    it.for(program.whole ? endings : endings.filter(([what]) => /^q|rest/.test(what)))(
      'ends everything after %s, and leaves nothing',
      async ([_what, lease, act], { run, canary }) => {
        const runner = await run(program, { lease, grace: 1 })
        const still = runner.beat()
        const stranger = canary()
        const text = 'trap "" TERM; setsid sleep 100 & (setsid sh -c "sleep 100 & :" &) ; echo up; while :; do sleep 100; done'
        runner.start(1, { words: shell(text) })
        runner.start(2, { words: ['sleep', '100'], pipe: true })
        runner.start(3, { words: ['sleep', '100'], detach: true, files: { out: '/dev/null', err: '/dev/null' } })
        runner.start(4, { words: shell('setsid sleep 100 & exit 0') })
        await runner.printed(1, 'up')
        for (const id of [2, 3]) await runner.said('S', id)
        await runner.said('X', 4)
        const detached = Number(await runner.said('S', 3))
        runner.spared.push(detached)
        still()
        act(runner)
        await expectNothingLeft(runner)
        expect(isAlive(detached)).toBe(true)
        expect(isAlive(stranger.pid as number)).toBe(true)
      },
    )

    it('keeps what was not acknowledged, also of a command that was forgotten', async ({ run }) => {
      const runner = await run(program, { lease: 60 })
      runner.start(1, { words: shell('read x; echo "$x"'), pipe: true })
      await runner.said('S', 1)
      await runner.ping()
      const { have } = runner
      runner.write(1, Buffer.from('the last words\n'))
      await runner.ended(1)
      runner.request('f', 1)
      await runner.ping()
      runner.cut()
      await runner.missesLink()
      runner.lose(have)
      await runner.resume()
      await runner.printed(1, 'the last words\n')
      expect(await runner.ended(1)).toMatchObject({ code: 0, signal: 0 })
    })

    it('goes on over a new link wherever the old one was cut', async ({ run }) => {
      const runner = await run(program, { lease: 60 })
      const ledger = join(runner.temporary, 'ledger')
      const text = 'echo "$1" >>"$2"; head -c 150000 "$3"; head -c 70000 "$3" >&2; read x; echo "$x"'
      // Without a command, a runner that has lost its link would end.
      runner.start(99, { words: ['sleep', '100'] })
      await runner.said('S', 99)
      let id = 0
      for (const more of program.cuts) {
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
      expect(readFileSync(ledger, 'utf8')).toBe(program.cuts.map((_, at) => `${at + 1}\n`).join(''))
      rmSync(ledger)
      runner.request('q', 0)
      await expectNothingLeft(runner)
    })

    it('can be taken up while the old link hangs', async ({ run }) => {
      const runner = await run(program, { lease: 60 })
      runner.start(1, { words: shell('head -c 3000000 "$1"; sleep 100', big) })
      await runner.said('S', 1)
      runner.freeze()
      await runner.resume()
      await until('all was said', () => runner.outputBytes(1) === 3_000_000)
      expect(digest(runner.output(1))).toBe(digest(bigBytes.subarray(0, 3_000_000)))
      runner.request('K', 1, 'KILL')
      await runner.ended(1)
    })

    if (!program.whole) return

    it('says why something could not be started', async ({ run }) => {
      const runner = await run(program)
      const cases: [Parameters<RawRunner['start']>[1], string][] = [
        [{ words: ['no-such-program'] }, 'exec ENOENT'],
        [{ words: ['_command'] }, 'exec ENOENT'],
        [{ words: ['/no/such/program'] }, 'exec ENOENT'],
        [{ words: ['/etc/passwd'] }, 'exec EACCES'],
        [{ words: ['/etc'] }, 'exec EACCES'],
        [{ words: ['ls'], set: { PATH: '/no/such' } }, 'exec ENOENT'],
        [{ words: ['ls'], cwd: '/no/such' }, 'cwd ENOENT'],
        [{ words: ['ls'], cwd: '/etc/passwd' }, 'cwd ENOTDIR'],
        [{ words: ['ls'], files: { out: '/no/such/file', err: '/dev/null' } }, 'stdout ENOENT'],
        [{ words: ['ls'], files: { out: '/dev/null', err: '/etc' } }, 'stderr EISDIR'],
      ]
      for (const [id, [start]] of cases.entries()) runner.start(id + 1, start)
      const said: string[] = []
      for (const id of cases.keys()) {
        const [stage, code] = (await runner.said('F', id + 1)).split(' ')
        said.push(`${stage} ${code}`)
        expect(await runner.tree(id + 1)).toEqual([])
      }
      expect(said).toEqual(cases.map(([, expected]) => expected))
      expect(runner.frames.filter((frame) => frame.type === 'X')).toEqual([])
    })

    it('passes over requests about commands that it does not know', async ({ run }) => {
      const runner = await run(program)
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

    it('says when nobody reads stdin any more', async ({ run }) => {
      const runner = await run(program)
      runner.start(1, { words: shell('exec <&-; echo closed; sleep 100'), pipe: true })
      await runner.printed(1, 'closed')
      runner.write(1, Buffer.from('x'))
      await runner.said('B', 1)
      runner.start(2, { words: ['sleep', '100'] })
      await runner.said('S', 2)
      runner.write(2, Buffer.from('x'))
      await runner.said('B', 2)
    })

    it('writes output into files, and goes on in them when asked', async ({ run }) => {
      const runner = await run(program)
      const files = { out: join(runner.temporary, 'out'), err: join(runner.temporary, 'err') }
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

    it.skipIf(!inPath('ps'))('does without /proc, by what ps says (needs ps)', async ({ run }) => {
      const file = program.kind === 'perl' ? 'runner.pl' : 'runner.sh'
      const text = readFileSync(new URL(`../../../assets/${file}`, import.meta.url), 'utf8').replaceAll('/proc', '/no-proc')
      const runner = await run(program, { text })
      runner.start(1, { words: shell('setsid sleep 100 & sleep 100 & echo up; wait') })
      await runner.printed(1, 'up')
      await until('all are there', () => carriersOf(`proc-${runner.token}-1`).filter(isAlive).length === 3, 50)
      expect(await runner.tree(1)).toHaveLength(3)
      runner.request('K', 1, 'KILL')
      expect(await runner.ended(1)).toMatchObject({ signal: 9 })
    })

    it('tells how many streams somebody else holds open, and when each of them ends', async ({ run }) => {
      const runner = await run(program)
      runner.start(1, { words: shell('echo last; exec 2>/dev/null; sleep 100 & exit 3') })
      expect(await runner.said('X', 1)).toBe('3 0 1')
      expect(runner.output(1).toString()).toBe('last\n')
      expect(runner.of('z', 1)).toEqual([])
      runner.request('K', 1, 'TERM')
      await runner.said('z', 1)
    })

    it('closes the pipes of a command when asked', async ({ run }) => {
      const runner = await run(program)
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

    it('knows nothing of a command that was forgotten', async ({ run }) => {
      const runner = await run(program)
      runner.start(1, { words: shell('sleep 100 >/dev/null 2>&1 & exit 0') })
      await runner.ended(1)
      const tree = await runner.tree(1)
      expect(tree).toHaveLength(1)
      runner.spared.push(...tree)
      runner.request('f', 1)
      expect(await runner.tree(1)).toEqual([])
    })

    it('does not wait for the lease when there is nothing to wait for', async ({ run }) => {
      const runner = await run(program, { lease: 3600 })
      runner.start(1, { words: ['true'] })
      await runner.ended(1)
      runner.request('f', 1)
      await runner.ping()
      runner.acknowledge()
      runner.hangUp()
      await expectNothingLeft(runner)
    })

    it('lives as long as it hears from us', async ({ run }) => {
      const runner = await run(program, { lease: 5 })
      for (const end = performance.now() + 6_000; performance.now() < end; ) {
        await runner.ping()
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
      runner.request('q', 0)
      await expectNothingLeft(runner)
    })

    it('takes a request that the cut has divided once', async ({ run }) => {
      const runner = await run(program, { lease: 60 })
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

    it('keeps at most four million bytes and lets commands wait with the rest', async ({ run }) => {
      const runner = await run(program, { lease: 60 })
      runner.acknowledges = false
      runner.start(1, { words: ['head', '-c', String(program.much[2]), big] })
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
      expect(digest(runner.output(1))).toBe(digest(bigBytes.subarray(0, program.much[2])))
    })
  })
}

describe.concurrent('the line for the login shell', () => {
  const shells = ['sh', 'dash', 'bash', 'zsh', 'tcsh', 'csh', 'fish', 'mksh', 'ksh']
  for (const name of shells) {
    for (const kind of ['perl', 'sh'] as const) {
      const missing = !inPath(name)
      it.skipIf(missing)(`starts the ${kind} runner from ${name}${skipped(missing)}`, async ({ onTestFinished }) => {
        const token = randomBytes(8).toString('hex')
        const { command, input } = bootstrapRunner(kind, token, 0, 1)
        expect(command).not.toMatch(/[\n\\!]/)
        const child = spawn(name, ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
        onTestFinished(() => void child.kill('SIGKILL'))
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
        expect(existsSync(join(tmpdir(), `cahier-${token}`))).toBe(false)
      })
    }
  }

  it('starts nothing when the program of sh comes only in part', async () => {
    const { command, input } = bootstrapRunner('sh', randomBytes(8).toString('hex'), 0, 1)
    // All but the line that says that this was all.
    const child = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')))
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.stdin.end(input.subarray(0, -17))
    await ended
    expect(said).toBe('')
  })
})
