import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Process, setLogger } from '../../src/index.js'
import type { Logger } from '../../src/ports/logger.js'

type Line = { level: string; fields: Record<string, unknown>; message: string }

/** A logger that keeps what it is told. */
function keepingLogger(): { logger: Logger; lines: Line[] } {
  const lines: Line[] = []
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, fields: fields as Line['fields'], message })
  const logger: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => logger }
  return { logger, lines }
}

const ALIVE = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

let folder: string
let lines: Line[]
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-process-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const listen = (): void => {
  const kept = keepingLogger()
  lines = kept.lines
  setLogger(kept.logger)
}
afterEach(() => setLogger(undefined))
const warnings = (): Line[] => lines.filter((line) => line.level === 'warn')

describe('Process', () => {
  it('runs a string with a shell, and returns itself', async () => {
    const made = new Process('echo "$((1 + 2))" | tr 3 4; echo err >&2; exit 0')
    const process = await made.run()
    expect(process).toBe(made)
    expect(process).toMatchObject({
      ok: true,
      finishedOk: true,
      exitCode: 0,
      stdout: '4\n',
      stderr: 'err\n',
      signal: undefined,
      error: false,
    })
    expect(process.startDate).toBeInstanceOf(Date)
    expect(process.endDate).toBeInstanceOf(Date)
  })

  it('gives the bytes of its output to a handler that asks for bytes', async () => {
    const pieces: Uint8Array[] = []
    const handler = { bytes: (chunk: Uint8Array) => void pieces.push(chunk) }
    await new Process(String.raw`printf 'a\377\000b'`, { stdoutHandlers: [handler] }).run()
    expect([...Buffer.concat(pieces)]).toEqual([0x61, 0xff, 0, 0x62])
  })

  it('runs a list without a shell', async () => {
    expect((await new Process(['echo', '$HOME', ';', '|', "it's"]).run()).stdout).toBe("$HOME ; | it's\n")
  })

  it('has real exit codes', async () => {
    expect((await new Process('exit 3').run()).exitCode).toBe(3)
  })

  it('takes the signal of a process that nobody killed for a failure', async () => {
    const process = await new Process('kill -TERM $$').run()
    expect(process).toMatchObject({ ok: false, exitCode: undefined, signal: 'SIGTERM', killed: false })
  })

  it('is neither started, ended nor finishedOk before it is started, and is ok', async () => {
    const process = new Process('true')
    expect(process).toMatchObject({
      started: false,
      ended: false,
      running: false,
      ok: true,
      finishedOk: false,
      exitCode: undefined,
      stdout: '',
    })
    await expect(process.wait()).rejects.toMatchObject({ code: 'E_PROCESS_STATE' })
    await expect(process.write('x')).rejects.toMatchObject({ code: 'E_PROCESS_STATE' })
    await expect(process.expect('x')).rejects.toMatchObject({ code: 'E_PROCESS_STATE' })
    expect(process.kill()).toBe(process)
  })

  it('starts once however often it is asked', async () => {
    const file = join(folder, 'once')
    const process = new Process(`echo x >> ${file}`)
    await process.start().start().run()
    expect(readFileSync(file, 'utf8')).toBe('x\n')
  })

  it('waits no longer than asked, and kills nothing by that', async () => {
    const process = new Process('sleep 60').start()
    await process.wait({ timeout: '50ms' })
    expect(process).toMatchObject({ started: true, ended: false, running: true, ok: true, finishedOk: false })
    await process.kill().wait()
    expect(process.ended).toBe(true)
  })

  it('is killed on purpose, hence ok, also by SIGKILL and before it is there', async () => {
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGINT'] as const) {
      const process = new Process(['sleep', '60']).start()
      await process.kill(signal).wait()
      expect(process).toMatchObject({ ok: true, killed: true, timedOut: false })
    }
  })

  it('is not killed by a signal that does not ask for the end', async () => {
    const process = new Process('trap "echo usr" USR1; echo ready; read x; exit 9', { stdin: 'pipe' }).start()
    await process.expect('ready')
    process.kill('SIGUSR1')
    await process.expect('usr')
    await process.write('\n')
    await process.wait()
    expect(process).toMatchObject({ killed: false, ok: false, exitCode: 9 })
  })

  it('ends at its timeout, which is a failure of its own kind', async () => {
    // Time enough for a shell to have set its trap.
    const process = await new Process('trap "exit 0" TERM; while :; do sleep 0.02; done', { timeout: 4_000 }).run()
    expect(process).toMatchObject({ timedOut: true, killed: false, ok: false, exitCode: 0, forcedKill: false })
    expect(await new Process('sleep 60', { timeout: '0.1s', ignore: ['timeout'] }).run()).toMatchObject({ ok: true, timedOut: true })
  })

  it('says when SIGKILL had to follow', async () => {
    const process = new Process('trap "" TERM; echo ready; while :; do sleep 0.05; done').start()
    await process.expect('ready')
    await process.kill('SIGTERM', { graceMs: 100 }).wait()
    expect(process).toMatchObject({ forcedKill: true, signal: 'SIGKILL', ok: true })
  })

  it('has a start error as data, and ignoring it takes one word', async () => {
    const missing = await new Process(['cahier-no-such-program']).run()
    expect(missing).toMatchObject({
      started: true,
      ended: true,
      error: true,
      ok: false,
      finishedOk: false,
      exitCode: undefined,
      pid: undefined,
    })
    expect(missing.errorReason).toMatchObject({ code: 'E_PROGRAM_NOT_FOUND' })
    expect(await new Process(['cahier-no-such-program'], { ignore: ['error'] }).run()).toMatchObject({ ok: true, error: true })
  })

  it('refuses a wrong unit and an empty list when it is made', () => {
    expect(() => new Process('true', { timeout: '10 parsecs' })).toThrow(expect.objectContaining({ code: 'E_UNIT' }))
    expect(() => new Process([])).toThrow(expect.objectContaining({ code: 'E_PROCESS_STATE' }))
  })

  it('ends with the signal of its maker', async () => {
    const controller = new AbortController()
    const process = new Process('sleep 60', { signal: controller.signal }).start()
    await process.wait({ timeout: 20 })
    controller.abort()
    expect(await process.wait()).toMatchObject({ killed: true, ok: true })
  })

  it('is killed and waited for when its scope is left', async () => {
    let pid: number
    {
      await using process = new Process('echo ready; exec sleep 60').start()
      await process.expect('ready')
      pid = process.pid as number
      expect(ALIVE(pid)).toBe(true)
    }
    expect(ALIVE(pid)).toBe(false)
  })

  it('can be started again after a reset', async () => {
    const seen: string[] = []
    const process = new Process('echo x; exit 3', {
      ignore: ['exit-code'],
      lifecycleHandlers: [{ end: () => seen.push('end'), reset: () => seen.push('reset') }],
    })
    await process.run()
    await process.reset()
    expect(process).toMatchObject({ started: false, ended: false, stdout: '', exitCode: undefined })
    expect(await process.run()).toMatchObject({ stdout: 'x\n', exitCode: 3, ok: true })
    expect(seen).toEqual(['end', 'reset', 'end'])
  })

  it.each([
    ['  ls   -l\n /tmp ', 'ls -l /tmp'],
    [`${'a'.repeat(50)} ${'b'.repeat(50)} the-end`, `${'a'.repeat(38)}...${'b'.repeat(11)} the-end`],
  ])('derives a name from %j', (command, name) => {
    expect(new Process(command).name).toBe(name)
  })
})

describe('stdin', () => {
  it('is written to and closed', async () => {
    const process = new Process(['cat'], { stdin: 'pipe' }).start()
    await process.write('one\n')
    await process.write(Buffer.from('two\n'))
    expect(await process.closeStdin().wait()).toMatchObject({ stdout: 'one\ntwo\n', ok: true })
  })

  it('that nobody reads is a failure, logged once', async () => {
    listen()
    const process = new Process('exec <&-; echo closed; sleep 60', { stdin: 'pipe' }).start()
    await process.expect('closed')
    for (let count = 0; count < 5; count += 1) await process.write('x'.repeat(300_000))
    expect(process).toMatchObject({ writeError: true, ok: false })
    expect(warnings()).toHaveLength(1)
    await process.kill().wait()
  })
})

describe('expect', () => {
  it('finds what was received before it was called, again and again', async () => {
    const process = await new Process('echo foo bar; echo baz').run()
    expect(await process.expect(['nothing', /b(.)r/])).toMatchObject({ index: 1, match: { 1: 'a' } })
    expect(await process.expect(/ba(.)/)).toMatchObject({ index: 0, match: { 1: 'z' } })
    expect(process.ok).toBe(true)
    expect(await process.expect('foo')).toMatchObject({ index: -1, why: 'ended' })
    expect(process).toMatchObject({ expectFailed: true, ok: false })
  })

  it('waits for output that comes, also when a match spans two reads', async () => {
    const process = new Process('printf "hel"; read x; printf "lo\\n"; read x', { stdin: 'pipe' }).start()
    const found = process.expect(/hello$/m)
    await process.expect('hel')
    await process.write('\n')
    expect(await found).toMatchObject({ index: 0 })
    await process.kill().wait()
  })

  it('may be called several times at once', async () => {
    const process = new Process('read x; echo one two three >&2', { stdin: 'pipe' }).start()
    const all = ['three', 'one', 'two'].map((word) => process.expect(word, { stream: 'stderr' }))
    await process.write('\n')
    expect((await Promise.all(all)).map(({ index }) => index)).toEqual([0, 0, 0])
    await process.wait()
  })

  it('ends at its timeout, with one warning that shows the process', async () => {
    listen()
    const process = new Process('echo abc; sleep 60').start()
    await process.expect('abc')
    expect(await process.expect('xyz', { timeout: 50 })).toMatchObject({ index: -1, why: 'timeout' })
    expect(warnings()).toEqual([
      expect.objectContaining({ fields: expect.objectContaining({ stdout: 'abc\n', expected: ['xyz'], why: 'timeout' }) }),
    ])
    await process.kill().wait()
    expect(process.ok).toBe(false)
  })

  it('searches after a flood of output, in bounded memory', async () => {
    const process = new Process('seq 1 200000; echo needle; read x', { stdin: 'pipe' }).start()
    expect(await process.expect(/^needle$/m)).toMatchObject({ index: 0 })
    expect(process.stdout.length).toBeLessThan(300_000)
    await process.kill().wait()
  })
})

describe('output handlers', () => {
  it('get text, lines and bytes in order, whatever kind they are', async () => {
    const texts: string[] = []
    const got: string[] = []
    const written: string[] = []
    const name = join(folder, 'by-name')
    const descriptor = openSync(join(folder, 'by-descriptor'), 'w')
    await new Process("printf 'a\\r\\nb\\013c\\n\\303'; sleep 0.05; printf '\\251'", {
      stdoutHandlers: [
        (text) => texts.push(text),
        { line: (line, stream) => got.push(`${stream}:${line}`) },
        { write: (text: string) => written.push(text) },
        descriptor,
        name,
      ],
    }).run()
    closeSync(descriptor)
    expect(texts.join('')).toBe('a\r\nb\vc\né')
    expect(got).toEqual(['stdout:a', 'stdout:b\vc', 'stdout:é'])
    expect(written.join('')).toBe('a\r\nb\vc\né')
    for (const file of [name, join(folder, 'by-descriptor')]) expect(readFileSync(file, 'utf8')).toBe('a\r\nb\vc\né')
  })

  it('do not wait for a stream that was destroyed while it was full', async () => {
    const broken = new Writable({
      highWaterMark: 1,
      write: () => {
        setTimeout(() => broken.destroy(), 50)
      },
    })
    const one = await new Process('head -c 1000000 /dev/zero', { stdoutHandlers: [broken], spillTo: false }).run({ timeout: '25s' })
    expect({ ended: one.ended, bytes: one.result?.stdout.bytes }).toEqual({ ended: true, bytes: 1_000_000 })
    // It is full for ever now.
    const other = await new Process('echo x', { stdoutHandlers: [broken] }).run({ timeout: '25s' })
    expect(other.stdout).toBe('x\n')
  })

  it('get no more while the promise of a handler of bytes is pending, and everything in the end', async () => {
    let pending = false
    let overruns = 0
    let bytes = 0
    const handler = {
      bytes: async (chunk: Uint8Array) => {
        if (pending) overruns += 1
        pending = true
        bytes += chunk.length
        await new Promise((resolve) => setImmediate(resolve))
        pending = false
        if (bytes < 100_000) throw new Error('a handler that fails holds nothing back')
      },
    }
    listen()
    await new Process('head -c 3000000 /dev/zero', { stdoutHandlers: [handler], spillTo: false }).run()
    expect({ overruns, bytes }).toEqual({ overruns: 0, bytes: 3_000_000 })
  })

  it('make a process wait for a writable that is full', async () => {
    let most = 0
    const slow = new Writable({
      highWaterMark: 65_536,
      write: (_chunk, _encoding, done) => {
        most = Math.max(most, slow.writableLength)
        setImmediate(done)
      },
    })
    await new Process('head -c 3000000 /dev/zero', { stdoutHandlers: [slow], spillTo: false }).run()
    expect(most).toBeLessThan(500_000)
  })

  it('get a line as soon as it is whole', async () => {
    const got: string[] = []
    const process = new Process('echo now; sleep 60', { stdoutHandlers: [{ line: (line: string) => got.push(line) }] }).start()
    await process.expect('now\n')
    expect(got).toEqual(['now'])
    await process.kill().wait()
  })

  it('share a file between both streams and several processes', async () => {
    const name = join(folder, 'shared')
    const options = { stdoutHandlers: [name], stderrHandlers: [name] }
    await Promise.all(['a', 'b'].map((word) => new Process(`echo ${word}1; echo ${word}2 >&2; sleep 0.2`, options).run()))
    expect(readFileSync(name, 'utf8').trim().split('\n').sort()).toEqual(['a1', 'a2', 'b1', 'b2'])
    await new Process('echo more', { stdoutHandlers: [{ file: name, append: true }] }).run()
    expect(readFileSync(name, 'utf8')).toContain('more')
    await new Process('true', { stdoutHandlers: [name] }).run()
    expect(readFileSync(name, 'utf8')).toBe('')
  })

  it('that throw are logged and disturb nobody', async () => {
    listen()
    const got: string[] = []
    const fail = (): never => {
      throw new Error('oops')
    }
    const process = await new Process('echo x', {
      stdoutHandlers: [fail, { line: fail }, '/no/such/directory/file', (text) => got.push(text)],
      lifecycleHandlers: [{ start: fail, end: fail }, { end: () => got.push('end') }],
    }).run()
    expect(got).toEqual(['x\n', 'end'])
    expect(process.ok).toBe(true)
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(5)
  })
})

describe('lifecycle handlers', () => {
  it('see the process started and ended', async () => {
    const seen: unknown[] = []
    const handler = {
      start: (process: Process) => seen.push('start', process.started, process.ended, typeof process.pid),
      end: (process: Process) => seen.push('end', process.ended, process.exitCode),
    }
    await new Process('exit 4', { lifecycleHandlers: [handler] }).run()
    expect(seen).toEqual(['start', true, false, 'number', 'end', true, 4])
    seen.length = 0
    await new Process(['cahier-no-such-program'], { lifecycleHandlers: [handler] }).run()
    expect(seen).toEqual(['start', true, false, 'undefined', 'end', true, undefined])
  })
})

describe('the log', () => {
  it('has one warning for a failure, with everything in it, and nothing but debug for a success', async () => {
    listen()
    await new Process('echo fine').run()
    expect(lines.map(({ level }) => level)).toEqual(['debug'])
    await new Process('echo out; echo err >&2; exit 3').run()
    expect(warnings()).toEqual([
      {
        level: 'warn',
        message: 'process failed',
        fields: expect.objectContaining({ outcome: 'exited', exitCode: 3, stdout: 'out\n', stderr: 'err\n', failures: ['exit-code'] }),
      },
    ])
  })

  it.each<[string, ConstructorParameters<typeof Process>[1]]>([
    ['nolog', { nolog: ['exit-code'] }],
    ['ignore, which implies nolog', { ignore: ['exit-code'] }],
  ])('is silent about a failure with %s', async (_title, options) => {
    listen()
    const process = await new Process('exit 3', options).run()
    expect(warnings()).toEqual([])
    expect(process.ok).toBe(options?.ignore !== undefined)
  })

  it('shortens long output', async () => {
    listen()
    const process = await new Process('seq 1 20000; exit 1').run()
    expect(String(warnings()[0]?.fields['stdout']).length).toBeLessThan(4200)
    expect(process.dump()).toMatch(/failed \(exit-code\)[\s\S]*\n1\n2\n[\s\S]*\n\[...\]\n[\s\S]*20000\n/)
  })
})
