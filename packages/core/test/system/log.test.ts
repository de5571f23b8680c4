import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { SchedulerError } from '../../src/errors.js'
import type { Clock } from '../../src/ports/clock.js'
import { makeLogger, silentLogger } from '../../src/system/log.js'

const at = new Date(2026, 10, 22, 10, 35, 28).getTime()
const clock: Clock = { now: () => at, monotonic: () => 0, sleep: async () => {} }

function makeFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-log-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function open(level?: 'debug' | 'info' | 'warn') {
  const file = join(makeFolder(), 'run', 'log.ndjson')
  const lines: string[] = []
  const log = makeLogger({ file, terminal: { write: (text) => lines.push(text) }, level, clock })
  return {
    file,
    lines,
    log,
    records: () =>
      readFileSync(file, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
  }
}

describe('makeLogger', () => {
  it('writes a submission on the terminal as a person would', () => {
    const { log, lines } = open()
    log.info({ job: '134753', dependsOn: ['134752'] }, 'job submitted')
    log.info({ job: '134752', dependsOn: [] }, 'job submitted')
    expect(lines).toEqual([
      '2026-11-22 10:35:28 Job submitted: 134753 dependent on 134752\n',
      '2026-11-22 10:35:28 Job submitted: 134752\n',
    ])
  })

  it('writes any other message with its facts, on one line', () => {
    const { log, lines } = open()
    log.child({ campaign: 'scaling' }).warn({ host: 'gros-1', stderr: 'no\nroom\u001b[2J' }, 'process failed')
    expect(lines).toEqual(['2026-11-22 10:35:28 WARNING Process failed: host gros-1, stderr no\\nroom\\x1b[2J\n'])
  })

  it('puts everything from debug up into the file, at once, and only info on the terminal', () => {
    const { log, lines, records } = open()
    log.debug({ pid: 12 }, 'process started')
    expect(lines).toEqual([])
    expect(records()).toEqual([{ level: 'debug', time: new Date(at).toISOString(), pid: 12, msg: 'process started' }])
  })

  it('keeps the bindings of a child in the file', () => {
    const { log, records } = open()
    log.child({ campaign: 'scaling' }).child({ job: '1f3a/r2' }).info({}, 'collected')
    expect(records()[0]).toMatchObject({ campaign: 'scaling', job: '1f3a/r2', msg: 'collected' })
  })

  it('takes secrets out, on the terminal too', () => {
    const { log, lines, file } = open()
    log.info({ password: 'hunter2', site: { apiKey: 'hunter2', login: { passphrase: 'hunter2' } } }, 'site opened')
    expect(readFileSync(file, 'utf8')).not.toContain('hunter2')
    expect(lines.join('')).not.toContain('hunter2')
    expect(lines.join('')).toContain('[secret]')
  })

  it('tells an error with its code, suggestions and causes', () => {
    const { log, records } = open()
    const cause = new Error('socket closed')
    log.error({ error: new SchedulerError('E_SCHEDULER_SILENT', 'squeue timed out', { suggestions: ['wait'], cause }) }, 'poll failed')
    expect(records()[0].error).toMatchObject({
      code: 'E_SCHEDULER_SILENT',
      message: 'squeue timed out',
      suggestions: ['wait'],
      cause: { message: 'socket closed' },
    })
  })

  it('makes no file before the first line', () => {
    const { file } = open()
    expect(() => readFileSync(file)).toThrow('ENOENT')
  })

  it('goes on when the file cannot be written, and counts', () => {
    const folder = makeFolder()
    writeFileSync(join(folder, 'file'), '')
    const log = makeLogger({ file: join(folder, 'file', 'log.ndjson') })
    log.info({}, 'started')
    log.info({}, 'ended')
    expect(log.dropped).toBe(2)
  })

  it('appends to what an earlier controller wrote', () => {
    const folder = makeFolder()
    const file = join(folder, 'log.ndjson')
    for (const message of ['first', 'second']) {
      using log = makeLogger({ file })
      log.info({}, message)
    }
    expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(2)
  })

  it('says nothing without a file and a terminal', () => {
    expect(() => makeLogger().info({}, 'started')).not.toThrow()
    expect(silentLogger.child({ a: 1 })).toBe(silentLogger)
  })
})
