import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { anyText } from '../../../../test/any-text.js'
import type { JobSpec } from '../../src/model/job.js'
import { makeToken } from '../../src/process/runner/bootstrap.js'
import { LocalTransport } from '../../src/process/runner/local-transport.js'
import { RunnerLink } from '../../src/process/runner/runner-link.js'
import { findRunner } from '../../src/process/runner/runner-program.js'
import { parseExitRecord } from '../../src/scheduler/exit-record.js'
import { REFUSED_EXIT_CODE, renderWrapper, type WrapperOptions, wrapperSeconds } from '../../src/scheduler/job-wrapper.js'

/** Something that plays the job wrapper. */
interface Subject {
  /** Why it cannot be tested here. */
  readonly missing?: string | undefined
  start(spec: JobSpec, options?: WrapperOptions, env?: NodeJS.ProcessEnv): { readonly pid: Promise<number>; readonly ended: Promise<Ended> }
  close?(): Promise<void>
}
/** `status` is `null` when a signal ended it. */
type Ended = { readonly status: number | null; readonly stdout: string; readonly stderr: string }

function shell(program: string, ...flags: string[]): Subject {
  return {
    missing: spawnSync(program, [...flags, '-c', 'true']).error === undefined ? undefined : `needs ${program}`,
    start(spec, options, env = {}) {
      const child = spawn(program, [...flags, '-c', renderWrapper(spec, options)], {
        cwd: '/',
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      })
      let [stdout, stderr] = ['', '']
      child.stdout.on('data', (chunk) => (stdout += chunk))
      child.stderr.on('data', (chunk) => (stderr += chunk))
      const ended = new Promise<Ended>((resolve) => child.on('exit', (status) => setImmediate(() => resolve({ status, stdout, stderr }))))
      return { pid: Promise.resolve(child.pid as number), ended }
    },
  }
}

/** The helper, whose child does the same without a shell. */
function native(): Subject {
  const runner = findRunner()
  const waiting = new Map<number, { readonly pid: (pid: number) => void; readonly end: (end: Ended) => void }>()
  let link: RunnerLink | undefined
  let last = 0
  return {
    missing: runner.kind === 'perl' ? undefined : 'needs perl',
    start(spec, { startNumber = '1' } = {}, env = {}) {
      const token = makeToken()
      link ??= new RunnerLink(
        { transport: new LocalTransport(runner, token), kind: runner.kind, token, leaseMs: 0 },
        {
          onFrame: ({ type, id, payload }) => {
            const text = payload.toString('latin1')
            if (type === 'S') waiting.get(id)?.pid(Number(text))
            const [code, signal] = text.split(' ').map(Number)
            if (type === 'X') waiting.get(id)?.end({ status: signal ? null : (code ?? null), stdout: '', stderr: '' })
            if (type === 'F') waiting.get(id)?.end({ status: null, stdout: '', stderr: text })
          },
          onLost: ({ reason }) => {
            for (const { end } of waiting.values()) end({ status: null, stdout: '', stderr: reason })
          },
        },
      )
      const { requests } = link
      const { walltime, grace } = wrapperSeconds(spec)
      last += 1
      const id = last
      const pid = new Promise<number>((resolve) => waiting.set(id, { pid: resolve, end: () => {} }))
      const ended = new Promise<Ended>((resolve) => waiting.set(id, { pid: waiting.get(id)?.pid ?? (() => {}), end: resolve }))
      const request = {
        id,
        tag: spec.tag,
        directory: spec.directory,
        startNumber: startNumber.startsWith('$') ? Number(env['RESTARTS']) + 1 : Number(startNumber),
        walltimeSeconds: walltime,
        graceSeconds: grace,
        environment: Object.entries(env),
        variables: spec.environment ?? {},
      }
      link.ref()
      void link.ready.then(() => link?.send((out) => requests.job?.(out, request)))
      return { pid, ended }
    },
    close: async () => await link?.close({ patient: true }),
  }
}

const SUBJECTS: readonly (readonly [string, Subject])[] = [
  ['sh', shell('/bin/sh')],
  ['dash', shell('dash')],
  ['bash --posix', shell('bash', '--posix')],
  ['busybox sh', shell('busybox', 'sh')],
  ['the helper, natively', native()],
]

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "cahier it's "))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

function job(lines: string, fields: Partial<JobSpec> = {}): JobSpec {
  const script = lines.startsWith('#!') ? lines : `#!/bin/sh\n${lines}\n`
  writeFileSync(join(directory, 'job.sh'), script, { mode: 0o755 })
  return { tag: 'tag-1', name: 'test', script, directory, resources: {}, ...fields }
}

const inDirectory = (name: string): string => readFileSync(join(directory, name), 'utf8')
const record = (tag = 'tag-1') => parseExitRecord(inDirectory('exit.json'), tag)

for (const [name, subject] of SUBJECTS) {
  const skipped = subject.missing === undefined ? '' : ` (${subject.missing})`
  describe.skipIf(subject.missing !== undefined)(`the job wrapper under ${name}${skipped}`, () => {
    afterAll(async () => await subject.close?.())

    const run = (spec: JobSpec, options?: WrapperOptions, env?: NodeJS.ProcessEnv) => subject.start(spec, options, env).ended

    async function signaled(spec: JobSpec, signal: NodeJS.Signals): Promise<number | null> {
      const started = subject.start(spec)
      const pid = await started.pid
      while (!existsSync(join(directory, 'up'))) await pause(5)
      process.kill(pid, signal)
      const { status } = await started.ended
      try {
        process.kill(-pid, 'SIGKILL')
      } catch {
        // Nothing was left.
      }
      return status
    }

    it('runs the script in its directory and leaves an exit record', async () => {
      const { status, stdout, stderr } = await run(job('pwd; echo err >&2; cat; exit 7'), {}, { CAHIER_HOST: 'here' })
      expect({ status, stdout, stderr }).toEqual({ status: 7, stdout: '', stderr: '' })
      expect(inDirectory('stdout')).toBe(`${directory}\n`)
      expect(inDirectory('stderr')).toBe('err\n')
      expect(record()).toMatchObject({ version: 1, tag: 'tag-1', exitCode: 7, reason: 'exited', host: 'here', start: 1 })
      expect(readdirSync(directory).sort()).toEqual(['exit.json', 'job.sh', 'stderr', 'stdout'])
    })

    it.each([
      ['1795348411.9', 1795348411.9],
      ['1795348411', 1795348411],
      ['1795348411.08', 1795348411.08],
      ['1795348411.0899', 1795348411.08],
    ])('takes the time of its start from the environment: %s', async (text, startedAt) => {
      await run(job('true'), {}, { CAHIER_STARTED_AT: text })
      expect(record()?.startedAt).toBe(startedAt)
      expect(record()?.endedAt).toBeGreaterThanOrEqual(startedAt)
      expect(record()?.endedAt).toBeLessThan(startedAt + 20)
    })

    it.each(['', 'yesterday', '1.2.3', '-5', '$(touch x)'])('asks the clock when the environment says %j', async (text) => {
      await run(job('true'), {}, { CAHIER_STARTED_AT: text, CAHIER_HOST: 'a"b' })
      expect(Math.abs((record()?.startedAt ?? 0) - Date.now() / 1000)).toBeLessThan(60)
      expect(record()?.host).toBe('unknown')
    })

    it.each([
      ['kill -KILL $$', 137],
      ['kill -TERM $$', 143],
      ['exit 255', 255],
      ['exit 111', 111],
    ])('keeps the exit code of %j', async (lines, code) => {
      expect((await run(job(lines))).status).toBe(code)
      expect(record()).toMatchObject({ exitCode: code, reason: 'exited' })
    })

    it('does nothing when there is an exit record', async () => {
      const spec = job('echo ran >>ledger')
      expect((await run(spec)).status).toBe(0)
      const before = inDirectory('exit.json')
      expect((await run(spec)).status).toBe(0)
      expect((await run(spec, { startNumber: '2' })).status).toBe(0)
      expect(inDirectory('ledger')).toBe('ran\n')
      expect(inDirectory('exit.json')).toBe(before)
    })

    it('refuses a second start as long as the first has not ended', async () => {
      const spec = job('echo ran >>ledger')
      writeFileSync(join(directory, 'running'), '1 1795348411 elsewhere\n')
      expect((await run(spec)).status).toBe(REFUSED_EXIT_CODE)
      expect(existsSync(join(directory, 'ledger'))).toBe(false)
      expect(existsSync(join(directory, 'exit.json'))).toBe(false)
    })

    it.each(['1', '2'])('does nothing in a directory that was given up, at start %s', async (startNumber) => {
      const spec = job('echo ran >>ledger')
      writeFileSync(join(directory, 'given-up'), '')
      expect((await run(spec, { startNumber })).status).toBe(REFUSED_EXIT_CODE)
      expect(readdirSync(directory).filter((name) => /ledger|running|exit|stdout/.test(name))).toEqual([])
    })

    it('runs again when the scheduler counts another start, and keeps the earlier output aside', async () => {
      const spec = job('echo "start $CAHIER_START"')
      writeFileSync(join(directory, 'running'), '1 1795348411 elsewhere\n')
      writeFileSync(join(directory, 'stdout'), 'half of the f')
      writeFileSync(join(directory, 'stderr'), '')
      const again = { startNumber: '$((${RESTARTS:-0} + 1))' }
      expect((await run(spec, again, { RESTARTS: '0' })).status).toBe(REFUSED_EXIT_CODE)
      expect((await run(spec, again, { RESTARTS: '1' })).status).toBe(0)
      expect(inDirectory('stdout')).toBe('start 2\n')
      expect(inDirectory('stdout.1')).toBe('half of the f')
      expect(record()?.start).toBe(2)
    })

    const earlier = (fields: object): string =>
      `${JSON.stringify({ version: 1, tag: 'tag-1', exitCode: 143, reason: 'canceled', startedAt: 1, endedAt: 2, host: 'h', start: 1, ...fields })}\n`

    it.each(['canceled', 'timeout'])('runs again after a start that was told to end (%s), and keeps its record', async (reason) => {
      const spec = job('echo "start $CAHIER_START"')
      writeFileSync(join(directory, 'exit.json'), earlier({ reason }))
      writeFileSync(join(directory, 'stdout'), 'half of the f')
      expect((await run(spec, { startNumber: '2' })).status).toBe(0)
      expect(record()).toMatchObject({ exitCode: 0, reason: 'exited', start: 2 })
      expect(inDirectory('exit.1.json')).toBe(earlier({ reason }))
      expect(inDirectory('stdout')).toBe('start 2\n')
      expect(inDirectory('stdout.1')).toBe('half of the f')
    })

    it.each([
      ['ended by itself', '2', { reason: 'exited' }],
      ['never started', '2', { reason: 'not-started' }],
      ['is the same start', '2', { start: 2 }],
      ['is no earlier start', '1', {}],
    ])('does nothing when what was told to end %s', async (_what, startNumber, fields) => {
      const spec = job('echo ran >>ledger')
      writeFileSync(join(directory, 'exit.json'), earlier(fields))
      expect((await run(spec, { startNumber })).status).toBe(0)
      expect(readdirSync(directory).sort()).toEqual(['exit.json', 'job.sh'])
      expect(inDirectory('exit.json')).toBe(earlier(fields))
    })

    it('lets one of two that start at the same time run', async () => {
      const spec = job('echo ran >>ledger; until [ -e go ]; do sleep 0.05 2>/dev/null || sleep 1; done')
      const codes = Array.from({ length: 8 }, async () => (await run(spec)).status)
      try {
        // The one that has the job waits, so the first to end is another.
        expect(await Promise.race(codes)).toBe(REFUSED_EXIT_CODE)
      } finally {
        writeFileSync(join(directory, 'go'), '')
        await Promise.all(codes)
      }
      expect(inDirectory('ledger')).toBe('ran\n')
      expect(record()?.exitCode).toBe(0)
    })

    it('says that a script did not start when it cannot be executed', async () => {
      const spec = job('true')
      rmSync(join(directory, 'job.sh'))
      expect((await run(spec)).status).toBe(127)
      expect(record()).toMatchObject({ exitCode: 127, reason: 'not-started' })
    })

    it('says nothing when its directory is not there', async () => {
      const spec = job('true')
      expect((await run({ ...spec, directory: join(directory, 'no such') })).status).toBe(125)
    })

    it.each([
      ['SIGTERM', 'canceled'],
      ['SIGINT', 'canceled'],
      ['SIGUSR1', 'timeout'],
    ] as const)('passes %s on and records %s', async (signal, reason) => {
      const spec = job(`trap 'echo asked >asked; exit 5' TERM\ntouch up; while :; do sleep 1 & wait $!; done`)
      expect(await signaled(spec, signal)).toBe(5)
      expect(record()).toMatchObject({ exitCode: 5, reason })
      expect(inDirectory('asked')).toBe('asked\n')
    })

    it('records a TERM that comes after the walltime as a timeout', async () => {
      const spec = job('touch up; exec sleep 60', { resources: { walltimeMs: 1 } })
      expect(await signaled(spec, 'SIGTERM')).toBe(143)
      expect(record()).toMatchObject({ exitCode: 143, reason: 'timeout' })
    })

    it('kills a script that does not listen, and still leaves the record', async () => {
      const spec = job(`trap '' TERM\ntouch up; while :; do sleep 1; done`, { graceMs: 100 })
      expect(await signaled(spec, 'SIGTERM')).toBe(137)
      expect(record()).toMatchObject({ exitCode: 137, reason: 'canceled' })
    })

    it('gives the script every value byte for byte, and keeps them to itself', async () => {
      const environment = {
        PATH: '/nowhere',
        IFS: ':/0123456789',
        PPID: 'x y',
        OPTIND: 'no number',
        LINENO: '$(touch pwned)',
        cahier_tag: 'other',
        QUOTES: `it's "q" \`touch pwned\` $(touch pwned) \\`,
        LINES: '\na\n\nb\n',
        EMPTY: '',
        DASH: '-n',
      }
      const node = `#!${process.execPath}\nrequire('fs').writeFileSync('seen', JSON.stringify(process.env))\n`
      expect((await run(job(node, { environment }))).status).toBe(0)
      expect(JSON.parse(inDirectory('seen'))).toMatchObject(environment)
      expect(record()).toMatchObject({ tag: 'tag-1', exitCode: 0 })
      expect(existsSync(join(directory, 'pwned'))).toBe(false)
    })

    it('starts the script in the session of the wrapper, with no signal blocked', async () => {
      const node = `#!${process.execPath}
const fs = require('fs')
const [state, parent, group, session] = fs.readFileSync('/proc/self/stat', 'latin1').replace(/.*\\) /s, '').split(' ')
const blocked = /SigBlk:\\s*(\\S+)/.exec(fs.readFileSync('/proc/self/status', 'latin1'))[1]
const wd = [process.env.PWD, process.cwd()]
fs.writeFileSync('seen', JSON.stringify({ leads: parent === group && parent === session, blocked, wd }))
`
      expect((await run(job(node))).status).toBe(0)
      expect(JSON.parse(inDirectory('seen'))).toEqual({ leads: true, blocked: '0000000000000000', wd: [directory, directory] })
    })

    it('gives the script no file but its input and its output', async () => {
      expect((await run(job('exec ls /proc/self/fd'))).status).toBe(0)
      // What this program leaks is not the wrapper's doing.
      expect(inDirectory('stdout')).toBe(
        spawnSync('ls', ['/proc/self/fd'], { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' }).stdout,
      )
    })

    it('hides from the script what was meant for the wrapper', async () => {
      await run(job('env'), {}, { CAHIER_STARTED_AT: '1795348411.9', CAHIER_HOST: 'here' })
      const lines = inDirectory('stdout').split('\n')
      expect(lines.filter((line) => /^CAHIER_(?!PROC)/.test(line)).sort()).toEqual(['CAHIER_START=1', 'CAHIER_TAG=tag-1'])
    })

    it.each([
      ['an interpreter that is not there', '#!/no/such/interpreter\n'],
      ['an interpreter that is a folder', '#!/tmp\n'],
    ])('leaves a record of a script with %s', async (_what, script) => {
      const { status } = await run(job(script))
      expect([126, 127]).toContain(status)
      expect(record()).toMatchObject({ exitCode: status, reason: 'exited' })
      expect(inDirectory('stderr')).toContain('job.sh')
    })

    it('says that a script did not start when its output cannot be written', async () => {
      const spec = job('echo ran >>ledger')
      mkdirSync(join(directory, 'stderr'))
      expect((await run(spec)).status).toBe(126)
      expect(record()).toMatchObject({ exitCode: 126, reason: 'not-started' })
      expect(existsSync(join(directory, 'ledger'))).toBe(false)
    })

    it('puts its record into a folder that has the name of the record', async () => {
      const spec = job('echo ran >>ledger')
      mkdirSync(join(directory, 'exit.json'))
      expect((await run(spec)).status).toBe(0)
      expect(readdirSync(join(directory, 'exit.json'))).toEqual(['running'])
    })

    it('sends one TERM to the whole group', async () => {
      const spec = job(`trap 'wait; exit 6' TERM
(trap 'echo asked >>asked; exit' TERM; touch up; while :; do sleep 0.05 2>/dev/null || sleep 1; done) &
wait; wait; exit 6`)
      expect(await signaled(spec, 'SIGTERM')).toBe(6)
      expect(inDirectory('asked')).toBe('asked\n')
    })
  })
}

for (const [name, subject] of SUBJECTS.slice(0, -1)) {
  const skipped = subject.missing === undefined ? '' : ` (${subject.missing})`
  describe.skipIf(subject.missing !== undefined)(`the job wrapper of batch systems under ${name}${skipped}`, () => {
    const run = (spec: JobSpec, options?: WrapperOptions, env?: NodeJS.ProcessEnv) => subject.start(spec, options, env).ended

    // The programs of busybox are part of its shell.
    const ownSleep = name === 'busybox sh' ? ' (needs programs of their own)' : ''
    /** A `sleep` for the wrapper that notes how long it was to take, and lasts: on a busy machine a second is no time. */
    const longSleep = (): NodeJS.ProcessEnv => {
      mkdirSync(join(directory, 'bin'))
      writeFileSync(join(directory, 'bin/sleep'), '#!/bin/sh\necho "$1" >"${0%/*}/asked"\nexec /bin/sleep 20\n', { mode: 0o755 })
      return { PATH: `${join(directory, 'bin')}:${process.env['PATH']}` }
    }
    /** Sends the signal to the wrapper once it waits for one; where that is not seen, once it has seen the script's end. */
    const whenItWaits = (signal: string): string =>
      `(${ownSleep === '' ? 'until [ -s bin/asked ]' : 'while kill -0 $$ 2>/dev/null'}; do /bin/sleep 0.01; done; kill -${signal} "$PPID") &`

    it('waits for its own TERM when the script has got one first', async () => {
      await run(job(`${whenItWaits('TERM')} kill -TERM $$`), {}, longSleep())
      expect(record()).toMatchObject({ exitCode: 143, reason: 'canceled' })
    })

    it('calls a TERM that nobody else got the end of the script', async () => {
      await run(job('kill -TERM $$'))
      expect(record()).toMatchObject({ exitCode: 143, reason: 'exited' })
    })

    it('leaves no record of a kill that was meant for all processes of the job', async () => {
      await run(job(`${whenItWaits('KILL')} kill -KILL $$`), { tellsAll: true }, longSleep())
      expect(existsSync(join(directory, 'exit.json'))).toBe(false)
    })

    it('calls a kill that only the script got its end', async () => {
      await run(job('kill -KILL $$'), { tellsAll: true })
      expect(record()).toMatchObject({ exitCode: 137, reason: 'exited' })
    })

    it.skipIf(ownSleep !== '')(`does not wait long for a request when the script had a code of its own${ownSleep}`, async () => {
      const env = longSleep()
      writeFileSync(join(directory, 'bin/sleep'), '#!/bin/sh\necho "$1" >>"${0%/*}/asked"\n', { mode: 0o755 })
      await run(job('exit 200'), { tellsAll: true }, env)
      expect(record()).toMatchObject({ exitCode: 200, reason: 'exited' })
      expect(inDirectory('bin/asked')).toBe('0.2\n')
    })

    it.each([
      ['1', ['running.2']],
      ['1', ['running.10']],
      ['2', ['running', 'running.3']],
    ])('refuses start %s where a later one has begun: %s', async (startNumber, files) => {
      const spec = job('echo ran >>ledger')
      for (const file of files) writeFileSync(join(directory, file), '1 1795348411 elsewhere\n')
      expect((await run(spec, { startNumber: `$((${startNumber}))` })).status).toBe(REFUSED_EXIT_CODE)
      expect(readdirSync(directory).sort()).toEqual(['job.sh', ...files])
    })

    it('begins start 3 beside what earlier ones have left, and files that only look like it', async () => {
      for (const file of ['running', 'running.2', 'running.old', 'running.9.bak', 'running.']) {
        writeFileSync(join(directory, file), '1 1795348411 elsewhere\n')
      }
      expect((await run(job('exit 3'), { startNumber: '$((3))' })).status).toBe(3)
      expect(record()).toMatchObject({ exitCode: 3, start: 3 })
    })

    it('announces the end of the job with the line of its record', async () => {
      const announce = join(directory, 'ended', 'tag-1.json')
      mkdirSync(join(directory, 'ended'))
      await run(job('exit 3'), { announce })
      expect(readFileSync(announce, 'utf8')).toBe(inDirectory('exit.json'))
    })

    it('announces also what did not start', async () => {
      const announce = join(directory, 'tag-1.news')
      const spec = job('true')
      rmSync(join(directory, 'job.sh'))
      expect((await run(spec, { announce })).status).toBe(127)
      expect(readFileSync(announce, 'utf8')).toBe(inDirectory('exit.json'))
    })

    it('leaves its record when the folder for announcements is missing', async () => {
      const announce = join(directory, 'no such', 'tag-1.json')
      expect(await run(job('exit 3'), { announce })).toEqual({ status: 3, stdout: '', stderr: '' })
      expect(record()?.exitCode).toBe(3)
      expect(existsSync(join(directory, 'no such'))).toBe(false)
    })

    it('gives the output files the names that the user wants, from the start', async () => {
      const spec = job('echo out; echo err >&2; cat logs/job_7.out >seen')
      const outputNames = { stdout: 'logs/job_${ID}.out', stderr: 'job ${ID}.err' }
      expect((await run(spec, { outputNames }, { ID: '7' })).status).toBe(0)
      expect(inDirectory('seen')).toBe('out\n')
      expect(inDirectory('logs/job_7.out')).toBe('out\n')
      expect(inDirectory('job 7.err')).toBe('err\n')
      expect(inDirectory('stdout')).toBe('out\n')
    })

    it.each(['stdout', 'job.sh', './exit.json', 'running', '', 'logs/', '..', 'running.3'])(
      'keeps its own files when the output is to have the name %j',
      async (stdout) => {
        expect((await run(job('echo out'), { outputNames: { stdout } })).status).toBe(0)
        expect(inDirectory('stdout')).toBe('out\n')
        expect(readdirSync(directory).sort()).toEqual(['exit.json', 'job.sh', 'stderr', 'stdout'])
      },
    )

    it('keeps the error output when both are to have one name', async () => {
      expect((await run(job('echo out; echo err >&2'), { outputNames: { stdout: 'log', stderr: 'log' } })).status).toBe(0)
      expect([inDirectory('log'), inDirectory('stdout'), inDirectory('stderr')]).toEqual(['out\n', 'out\n', 'err\n'])
    })

    it('keeps the output of an earlier start under the name that the user wants', async () => {
      const options = { outputNames: { stdout: 'job.out' }, startNumber: '$((${RESTARTS:-0} + 1))' }
      await run(job('echo one; kill -KILL $PPID'), options)
      expect((await run(job('echo two'), options, { RESTARTS: '1' })).status).toBe(0)
      expect([inDirectory('job.out'), inDirectory('stdout')]).toEqual(['two\n', 'two\n'])
      expect([inDirectory('job.out.1'), inDirectory('stdout.1')]).toEqual(['one\n', 'one\n'])
    })
  })
}

describe('renderWrapper', () => {
  it('puts the lines for the scheduler right after the first one', () => {
    const lines = renderWrapper(job('true'), { directives: ['#SBATCH --mem=1G', '#SBATCH --time=10'] }).split('\n')
    expect(lines.slice(0, 3)).toEqual(['#!/bin/sh', '#SBATCH --mem=1G', '#SBATCH --time=10'])
  })

  it('writes any environment so that a shell reads it back', () => {
    const value = anyText({ maxLength: 60 }).filter((text) => !text.includes('\0') && !/\p{Surrogate}/u.test(text))
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 5 }), (values) => {
        const environment = Object.fromEntries(values.map((text, index) => [`V${index}`, text]))
        const wrapper = renderWrapper(job('true', { environment }))
        const exports = wrapper.slice(wrapper.indexOf('\n{\n') + 3, wrapper.indexOf('\n  exec ./job.sh'))
        const { stdout } = spawnSync('/bin/sh', ['-c', `${exports}\nexec /usr/bin/env -0`], { env: {}, encoding: 'utf8' })
        const seen = stdout.split('\0')
        for (const [name, text] of Object.entries(environment)) expect(seen).toContain(`${name}=${text}`)
      }),
      { numRuns: 60 },
    )
  })

  it.each<[string, Partial<JobSpec>]>([
    ['a tag with a space', { tag: 'a b' }],
    ['an empty tag', { tag: '' }],
    ['a relative directory', { directory: 'here' }],
    ['a script without a shebang', { script: 'true\n' }],
    ['a script with Windows line ends', { script: '#!/bin/sh\r\ntrue\r\n' }],
    ['a NUL byte in the script', { script: '#!/bin/sh\n\0' }],
    ['a name that is no variable', { environment: { 'A-B': '1' } }],
    ['a name that holds a command', { environment: { 'A=1; touch pwned; B': '1' } }],
    ['a NUL byte in a value', { environment: { A: 'a\0b' } }],
    ['a value that no process can be given', { environment: { A: 'x'.repeat(200_000) } }],
    ['half a core', { resources: { cores: 0.5 } }],
    ['no core', { resources: { cores: 0 } }],
    ['a walltime of nothing', { resources: { walltimeMs: 0 } }],
    ['negative memory', { resources: { memoryMiB: -1 } }],
    ['a walltime that is no number', { resources: { walltimeMs: Number.NaN } }],
  ])('refuses %s', (_what, fields) => {
    expect(() => renderWrapper(job('true', fields))).toThrow(expect.objectContaining({ code: 'E_JOB_INVALID' }))
  })
})
