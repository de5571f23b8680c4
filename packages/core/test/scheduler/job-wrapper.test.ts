import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { JobSpec } from '../../src/model/job.js'
import { parseExitRecord } from '../../src/scheduler/exit-record.js'
import { REFUSED_EXIT_CODE, renderWrapper, type WrapperOptions } from '../../src/scheduler/job-wrapper.js'

const SHELLS: readonly (readonly [string, readonly [string, ...string[]]])[] = [
  ['sh', ['/bin/sh']],
  ['dash', ['dash']],
  ['bash --posix', ['bash', '--posix']],
  ['busybox sh', ['busybox', 'sh']],
]
const isThere = (program: string): boolean => spawnSync(program, ['-c', 'true']).error === undefined

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

for (const [name, [program, ...flags]] of SHELLS) {
  const skipped = program === 'busybox' && spawnSync('busybox', ['true']).error !== undefined ? ' (needs busybox)' : ''
  describe.skipIf(skipped !== '' || !(program === 'busybox' || isThere(program)))(`the job wrapper under ${name}${skipped}`, () => {
    function run(spec: JobSpec, options?: WrapperOptions, env: NodeJS.ProcessEnv = {}) {
      return spawnSync(program, [...flags, '-c', renderWrapper(spec, options)], { env: { ...process.env, ...env }, encoding: 'utf8' })
    }

    async function signaled(spec: JobSpec, signal: NodeJS.Signals): Promise<number | null> {
      const child = spawn(program, [...flags, '-c', renderWrapper(spec)], { detached: true, stdio: 'ignore' })
      const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
      while (!existsSync(join(directory, 'up'))) await pause(5)
      child.kill(signal)
      const code = await ended
      try {
        process.kill(-(child.pid as number), 'SIGKILL')
      } catch {
        // Nothing was left.
      }
      return code
    }

    it('runs the script in its directory and leaves an exit record', () => {
      const { status, stdout, stderr } = run(job('pwd; echo err >&2; cat; exit 7'), {}, { CAHIER_HOST: 'here' })
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
    ])('takes the time of its start from the environment: %s', (text, startedAt) => {
      run(job('true'), {}, { CAHIER_STARTED_AT: text })
      expect(record()?.startedAt).toBe(startedAt)
      expect(record()?.endedAt).toBeGreaterThanOrEqual(startedAt)
      expect(record()?.endedAt).toBeLessThan(startedAt + 20)
    })

    it.each(['', 'yesterday', '1.2.3', '-5', '$(touch x)'])('asks the clock when the environment says %j', (text) => {
      run(job('true'), {}, { CAHIER_STARTED_AT: text, CAHIER_HOST: 'a"b' })
      expect(Math.abs((record()?.startedAt ?? 0) - Date.now() / 1000)).toBeLessThan(60)
      expect(record()?.host).toBe('unknown')
    })

    it.each([
      ['kill -KILL $$', 137],
      ['kill -TERM $$', 143],
      ['exit 255', 255],
      ['exit 111', 111],
    ])('keeps the exit code of %j', (lines, code) => {
      expect(run(job(lines)).status).toBe(code)
      expect(record()).toMatchObject({ exitCode: code, reason: 'exited' })
    })

    it('does nothing when there is an exit record', () => {
      const spec = job('echo ran >>ledger')
      expect(run(spec).status).toBe(0)
      const before = inDirectory('exit.json')
      expect(run(spec).status).toBe(0)
      expect(run(spec, { startNumber: '2' }).status).toBe(0)
      expect(inDirectory('ledger')).toBe('ran\n')
      expect(inDirectory('exit.json')).toBe(before)
    })

    it('refuses a second start as long as the first has not ended', () => {
      const spec = job('echo ran >>ledger')
      writeFileSync(join(directory, 'running'), '1 1795348411 elsewhere\n')
      expect(run(spec).status).toBe(REFUSED_EXIT_CODE)
      expect(existsSync(join(directory, 'ledger'))).toBe(false)
      expect(existsSync(join(directory, 'exit.json'))).toBe(false)
    })

    it('runs again when the scheduler counts another start, and keeps the earlier output aside', () => {
      const spec = job('echo "start $CAHIER_START"')
      writeFileSync(join(directory, 'running'), '1 1795348411 elsewhere\n')
      writeFileSync(join(directory, 'stdout'), 'half of the f')
      writeFileSync(join(directory, 'stderr'), '')
      const again = { startNumber: '$((${RESTARTS:-0} + 1))' }
      expect(run(spec, again, { RESTARTS: '0' }).status).toBe(REFUSED_EXIT_CODE)
      expect(run(spec, again, { RESTARTS: '1' }).status).toBe(0)
      expect(inDirectory('stdout')).toBe('start 2\n')
      expect(inDirectory('stdout.1')).toBe('half of the f')
      expect(record()?.start).toBe(2)
    })

    it('lets one of two that start at the same time run', async () => {
      const spec = job('echo ran >>ledger; sleep 0.2 2>/dev/null || sleep 1')
      const codes = await Promise.all(
        Array.from({ length: 8 }, () => {
          const child = spawn(program, [...flags, '-c', renderWrapper(spec)], { stdio: 'ignore' })
          return new Promise<number | null>((resolve) => child.on('exit', resolve))
        }),
      )
      expect(inDirectory('ledger')).toBe('ran\n')
      expect(codes.filter((code) => code === REFUSED_EXIT_CODE).length).toBeGreaterThanOrEqual(1)
      expect(record()?.exitCode).toBe(0)
    })

    it('says that a script did not start when it cannot be executed', () => {
      const spec = job('true')
      rmSync(join(directory, 'job.sh'))
      expect(run(spec).status).toBe(127)
      expect(record()).toMatchObject({ exitCode: 127, reason: 'not-started' })
    })

    it('says nothing when its directory is not there', () => {
      const spec = job('true')
      expect(run({ ...spec, directory: join(directory, 'no such') }).status).toBe(125)
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

    it('gives the script every value byte for byte, and keeps them to itself', () => {
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
      expect(run(job(node, { environment })).status).toBe(0)
      expect(JSON.parse(inDirectory('seen'))).toMatchObject(environment)
      expect(record()).toMatchObject({ tag: 'tag-1', exitCode: 0 })
      expect(existsSync(join(directory, 'pwned'))).toBe(false)
    })
  })
}

describe('renderWrapper', () => {
  it('puts the lines for the scheduler right after the first one', () => {
    const lines = renderWrapper(job('true'), { directives: ['#SBATCH --mem=1G', '#SBATCH --time=10'] }).split('\n')
    expect(lines.slice(0, 3)).toEqual(['#!/bin/sh', '#SBATCH --mem=1G', '#SBATCH --time=10'])
  })

  it('writes any environment so that a shell reads it back', () => {
    const value = fc.string({ unit: 'binary', maxLength: 60 }).filter((text) => !text.includes('\0') && !/\p{Surrogate}/u.test(text))
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
