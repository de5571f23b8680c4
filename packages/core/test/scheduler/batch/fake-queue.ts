import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { SchedulerLab } from '../../../src/conformance/types.js'
import { type BatchOptions, batchOptionsSchema } from '../../../src/model/batch-options.js'
import type { Clock } from '../../../src/ports/clock.js'
import type { ProcessBackend } from '../../../src/ports/process-backend.js'
import type { CommandAnswer, JobRow, RowsAnswer, SchedulerDialect, SiteCommand } from '../../../src/ports/scheduler-dialect.js'
import type { SiteFiles } from '../../../src/ports/site-files.js'
import { LocalBackend } from '../../../src/process/local-backend.js'
import { BatchScheduler } from '../../../src/scheduler/batch/batch-scheduler.js'
import { LocalFiles } from '../../../src/staging/local-files.js'
import { systemClock } from '../../../src/system/clock.js'
import { silentLogger } from '../../../src/system/log.js'

const BIN = fileURLToPath(new URL('../../../../../test/fakes/bin/', import.meta.url))

const STATES: Readonly<Record<string, Pick<JobRow, 'state' | 'end'>>> = {
  Q: { state: 'pending' },
  R: { state: 'running' },
  E: { state: 'ended' },
  C: { state: 'ended', end: 'canceled' },
  T: { state: 'ended', end: 'timed-out' },
}

function parseRows({ stdout }: CommandAnswer): JobRow[] {
  return stdout.split('\n').flatMap((line): JobRow[] => {
    const [nativeId, word, code = '', , tag, reason = ''] = line.split('|')
    if (nativeId === undefined || word === undefined || tag === undefined) return []
    const known = STATES[word] ?? { state: 'unknown' }
    const exitCode = word === 'E' ? Number(code) : undefined
    return [
      {
        nativeId,
        tag,
        rawState: word,
        ...known,
        ...(exitCode === undefined ? {} : { exitCode, end: exitCode === 0 ? 'completed' : 'failed' }),
        ...(reason === '' ? {} : { reason }),
        ...(reason === 'NeverSatisfied'
          ? { never: { end: 'upstream-failed', message: 'a job that it waits for has failed (NeverSatisfied)' } }
          : {}),
        name: tag,
        queue: 'open',
      },
    ]
  })
}

function parseAnswer(answer: CommandAnswer): RowsAnswer {
  if (answer.timedOut) return { silent: 'no answer in time' }
  if (answer.stderr.includes('switched off')) return { absent: answer.stderr.trim() }
  // An answer that breaks off says nothing.
  if (answer.exitCode !== 0 || !/(^|\n)end\n$/.test(answer.stdout)) return { silent: answer.stderr.trim() || 'half an answer' }
  return { rows: parseRows(answer) }
}

/** The language of the programs `fq-…` of test/fakes/bin. */
export function fakeDialect(queue: string): SchedulerDialect {
  const command = (program: string, ...words: readonly string[]): SiteCommand => ({
    argv: [join(BIN, program), ...words],
    env: { FQ: queue },
  })
  return {
    name: 'fake',
    supports: { arrays: true, dependencies: true, accounting: true, hold: true },
    startNumber: '${FQ_START:-1}',
    arrayIndex: '$FQ_INDEX',
    probe: {
      commands: [command('fq-stat')],
      parse: ([answer]) => {
        if (answer === undefined || answer.exitCode !== 0) return { silent: answer?.stderr.trim() || 'no answer' }
        return { facts: { ...ASSUMED, notes: [] } }
      },
    },
    assumed: ASSUMED,
    readDirectives(script) {
      const lines = script.split('\n').filter((line) => line.startsWith('#FQ '))
      const name = /^#FQ -o (.*)$/m.exec(script)?.[1]
      const bad = lines.find((line) => line.includes('-Z'))
      return {
        lines: lines.filter((line) => !line.startsWith('#FQ -o')),
        resources: {},
        ignored: [],
        ...(name === undefined ? {} : { stdout: name }),
        ...(bad === undefined ? {} : { fault: `the directive line ${bad} cannot be obeyed` }),
      }
    },
    jobOptions(options) {
      const wrong = Object.keys(options).find((key) => key !== 'color')
      return wrong === undefined ? { options } : { fault: `there is no option ${wrong}`, suggestions: ['Did you mean color?'] }
    },
    check: ({ resources }) =>
      (resources.nodes ?? 1) > 9
        ? { message: `${resources.nodes} nodes are asked for, the site has 9`, suggestions: ['Ask for 9 nodes'] }
        : undefined,
    head: ({ userLines }) => userLines,
    submit({ tag, directory, logFile, scriptFile, array, dependencies, queue: target, resources }) {
      const after = dependencies.flatMap(({ kind, ids }) => ids.flatMap((id) => ['-w', `${kind}:${id}`]))
      const seconds = resources.walltimeMs === undefined ? [] : ['-t', String(Math.ceil(resources.walltimeMs / 1000))]
      const elements = array === undefined ? [] : ['-a', String(array.size)]
      const where = target === undefined ? [] : ['-q', target]
      return command('fq-sub', '-N', tag, '-d', directory, '-o', logFile, ...elements, ...seconds, ...after, ...where, scriptFile)
    },
    parseSubmit({ exitCode, stdout, stderr }) {
      const nativeId = /^accepted (\d+)$/m.exec(stdout)?.[1]
      if (nativeId !== undefined) return { outcome: 'submitted', nativeId }
      const message = stderr.trim()
      if (exitCode === 2) return { outcome: 'rejected', message, limit: 'MAXJOBS' }
      if (exitCode === 3) return { outcome: 'invalid', message }
      if (exitCode === 7) return { outcome: 'rejected', message }
      return { outcome: 'uncertain', message }
    },
    elementId: (nativeId, index) => `${nativeId}_${index}`,
    queue: () => command('fq-stat'),
    parseQueue: parseAnswer,
    accounting: (ids) => command('fq-acct', ...ids),
    accountingByTag: (tags) => command('fq-acct', ...tags.map((tag) => `@${tag}`)),
    parseAccounting: parseAnswer,
    cancel: (ids) => command('fq-del', ...ids),
    parseCancel: ({ exitCode, stderr }) => (exitCode === 0 ? { ok: true } : { silent: stderr.trim() || 'no answer in time' }),
    order: (order, ids) => command('fq-order', order, ...ids),
    parseOrder: ({ exitCode, stderr }) =>
      exitCode === 0 ? { ok: true } : exitCode === 3 ? { refused: stderr.trim() } : { silent: stderr.trim() || 'no answer in time' },
  }
}

const ASSUMED = {
  version: 'fake 1',
  maxArraySize: 300,
  accounting: true,
  keepsEndedMs: 60_000,
  queues: [{ name: 'open', isDefault: true, isUp: true, nodes: 9, coresPerNode: 4, nodesUp: 9, maxWalltimeMs: 3_600_000 }],
  notes: [],
} as const

export type Fault =
  | 'down'
  | 'mute'
  | 'accept-hang'
  | 'accept-fail'
  | 'noise'
  | 'limit'
  | 'refuse'
  | 'cut'
  | 'closed'
  | 'script-lost'
  | 'no-accounting'
  | 'accounting-down'

export interface FakeQueue extends SchedulerLab, AsyncDisposable {
  readonly directory: string
  readonly base: string
  readonly dialect: SchedulerDialect
  connect(parts?: Partial<FakeParts>): BatchScheduler
  /** Makes something go wrong until what it returns is called. */
  fault(name: Fault, text?: string): () => void
  /** The programs that were called, with their arguments, oldest first. */
  calls(program?: string): readonly string[]
  /** Jobs that the queue has, by tag of submission. */
  jobsOf(tag: string): readonly string[]
  purge(): Promise<void>
  freeze(): Promise<() => Promise<void>>
  /** Ids begin anew, and everything is forgotten. */
  reset(): void
}

export interface FakeParts {
  readonly options: Partial<BatchOptions>
  readonly clock: Clock
  readonly files: SiteFiles
  readonly processes: ProcessBackend
  readonly dialect: SchedulerDialect
}

const QUICK: Partial<BatchOptions> = {
  pollInterval: 100,
  pollIntervalMax: 1_000,
  commandTimeout: 60_000,
  lostAfter: 3_000,
  settleAfter: 2_000,
}

/** A batch system of its own: programs and files below a new folder. */
export function makeFakeQueue(defaults: Partial<BatchOptions> = {}): FakeQueue {
  const base = mkdtempSync(join(tmpdir(), 'cahier-fq-'))
  const directory = join(base, 'queue')
  for (const folder of ['jobs', 'acct', 'ids', 'fault']) mkdirSync(join(directory, folder), { recursive: true })
  writeFileSync(join(directory, 'calls'), '')
  const dialect = fakeDialect(directory)
  const backends: LocalBackend[] = []
  const connect = (parts: Partial<FakeParts> = {}): BatchScheduler => {
    const clock = parts.clock ?? systemClock
    const processes = parts.processes ?? new LocalBackend()
    if (parts.processes === undefined) backends.push(processes as LocalBackend)
    return new BatchScheduler({
      dialect: parts.dialect ?? dialect,
      options: { ...batchOptionsSchema.parse({}), ...QUICK, ...defaults, ...parts.options },
      processes,
      files: parts.files ?? new LocalFiles({ clock }),
      clock,
      log: silentLogger,
    })
  }
  const fault = (name: Fault, text = ''): (() => void) => {
    const file = join(directory, 'fault', name)
    writeFileSync(file, text)
    return () => rmSync(file, { force: true })
  }
  const ids = (): string[] => readdirSync(join(directory, 'jobs')).filter((name) => !name.endsWith('.new'))
  const read = (id: string, file: string): string => {
    const path = join(directory, 'jobs', id, file)
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
  }
  return {
    base,
    directory,
    dialect,
    connect,
    fault,
    calls: (program) =>
      readFileSync(join(directory, 'calls'), 'utf8')
        .split('\n')
        .filter((line) => line !== '' && (program === undefined || line.startsWith(`${program} `) || line === program)),
    jobsOf: (tag) => ids().filter((id) => read(id, 'tag') === tag),
    async makeDirectory() {
      const made = join(base, 'work', `it's ${randomBytes(6).toString('hex')}`)
      await mkdir(made, { recursive: true })
      return made
    },
    readFile: (path) => readFile(path, 'utf8').catch(() => undefined),
    async purge() {
      for (const id of ids()) if (/^[ECT]/.test(read(id, 'state'))) rmSync(join(directory, 'jobs', id), { recursive: true, force: true })
    },
    async freeze() {
      const end = fault('mute')
      return async () => end()
    },
    reset() {
      const gone = mkdtempSync(join(base, 'gone-'))
      for (const folder of ['jobs', 'acct', 'ids']) {
        // The program of a job may be about to write there: under this name it finds nothing any more.
        renameSync(join(directory, folder), join(gone, folder))
        mkdirSync(join(directory, folder))
      }
      rmSync(gone, { recursive: true })
      rmSync(join(directory, 'last'), { force: true })
    },
    async acceptUnsaid() {
      const end = fault('accept-fail')
      return async () => end()
    },
    async chatter() {
      const end = fault('noise')
      return async () => end()
    },
    async disguise({ nativeId }, word) {
      writeFileSync(join(directory, 'jobs', nativeId, 'state'), `${word}\n`)
      return async () => writeFileSync(join(directory, 'jobs', nativeId, 'state'), 'R\n')
    },
    async killJob({ nativeId }) {
      // A job may write before its number is noted.
      const deadline = performance.now() + 30_000
      while (read(nativeId, 'pid') === '') {
        if (performance.now() > deadline) throw new Error(`job ${nativeId} has no number`)
        await pause(5)
      }
      killGroup(Number(read(nativeId, 'pid')))
    },
    async reconnect() {
      const scheduler = connect()
      await scheduler.open()
      return scheduler
    },
    async [Symbol.asyncDispose]() {
      for (const id of ids()) {
        writeFileSync(join(directory, 'jobs', id, 'delete'), '')
        killGroup(Number(read(id, 'pid')))
      }
      for (const backend of backends) await backend[Symbol.asyncDispose]()
      await rm(base, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    },
  }
}

function killGroup(pid: number): void {
  // The group 0 is our own.
  if (!(pid > 1)) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
