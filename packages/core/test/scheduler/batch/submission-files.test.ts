import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { groupJobs, submissionOf } from '../../../src/scheduler/batch/group-jobs.js'
import { parseSubmissionFile, renderSubmissionScript, submissionFiles } from '../../../src/scheduler/batch/submission-files.js'
import { fakeDialect } from './fake-queue.js'
import { readyJob } from './ready-jobs.js'

const dialect = fakeDialect('/nowhere')
const SHELLS = [['/bin/sh'], ['bash', '--posix'], ['busybox', 'sh']].filter(
  ([program = '', ...flags]) => spawnSync(program, [...flags, '-c', 'true']).error === undefined,
)
/** Those that take `date` from the PATH: busybox has one of its own. */
const PLAIN = SHELLS.filter(([program]) => program !== 'busybox' && !realpathSync('/bin/sh').endsWith('busybox'))
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** Jobs with these lines as one submission, with all its files below a new folder. */
function written(scripts: readonly string[], pack?: number) {
  const base = mkdtempSync(join(tmpdir(), "cahier it's "))
  folders.push(base)
  const jobs = scripts.map((lines, n) =>
    readyJob({
      tag: `j${n}`,
      script: `#!/bin/sh\n${lines}\n`,
      directory: join(base, `job ${n}`),
      runDirectory: base,
      ...(pack === undefined ? {} : { pack }),
    }),
  )
  const [group] = groupJobs(jobs, { maxArraySize: () => 1_000, longestWalltimeMs: () => undefined })
  if (group === undefined) throw new Error('no group')
  const submission = submissionOf(group, 0)
  for (const { path, data, mode } of submissionFiles(group, submission, dialect, new Map())) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, data, { mode: mode ?? 0o644 })
  }
  mkdirSync(join(base, 'ended'))
  return { base, group, submission, file: (n: number, name: string) => join(base, `job ${n}`, name) }
}

function exitCodeOf(script: string, index: string): number {
  try {
    execFileSync('/bin/sh', [script], { env: { ...process.env, FQ_INDEX: index }, stdio: 'pipe' })
    return 0
  } catch (error) {
    return (error as { status: number }).status
  }
}

describe('the files of a submission', () => {
  it('are a wrapper with the lines for the scheduler for a job that is alone', () => {
    const job = readyJob({}, { user: { lines: ['#FQ -x 1'], resources: {}, ignored: [] } })
    const [group] = groupJobs([job], { maxArraySize: () => 9, longestWalltimeMs: () => undefined })
    if (group === undefined) throw new Error('no group')
    const files = submissionFiles(group, submissionOf(group, 0), dialect, new Map())
    const { directory } = job.job
    expect(files.map(({ path, mode }) => [path, mode])).toEqual([
      [`${directory}/job.sh`, 0o755],
      [`${directory}/wrapper.sh`, 0o755],
    ])
    expect(String(files[1]?.data).split('\n').slice(0, 2)).toEqual(['#!/bin/sh', '#FQ -x 1'])
  })

  it('choose the wrapper of an element, which leaves its record and its announcement', () => {
    const { base, submission, file } = written(['echo one', 'echo two; exit 4'])
    expect(readFileSync(file(1, 'submission'), 'utf8')).toBe(`${submission.tag} 1\n`)
    expect(exitCodeOf(submission.scriptFile, '1')).toBe(4)
    expect(readFileSync(file(1, 'stdout'), 'utf8')).toBe('two\n')
    expect(existsSync(file(0, 'exit.json'))).toBe(false)
    expect(readFileSync(join(base, 'ended/j1.json'), 'utf8')).toBe(readFileSync(file(1, 'exit.json'), 'utf8'))
    expect(exitCodeOf(submission.scriptFile, '7')).toBe(125)
  })

  it.each(SHELLS)("run an element in the process of the scheduler's script: %s", (...shell) => {
    const { submission, file } = written(['exit 0', 'echo $PPID'])
    const script = ['echo $$', `. '${submission.scriptFile.replaceAll("'", `'\\''`)}'`].join('\n')
    const [program, ...flags] = shell as [string, ...string[]]
    const pid = execFileSync(program, [...flags, '-c', script], { encoding: 'utf8', env: { ...process.env, FQ_INDEX: '1' } })
    expect(readFileSync(file(1, 'stdout'), 'utf8')).toBe(pid)
    expect(JSON.parse(readFileSync(file(1, 'exit.json'), 'utf8'))).toMatchObject({ tag: 'j1', exitCode: 0, reason: 'exited' })
  })

  describe('reckon the time from what the first job on a host left', () => {
    const uptime = (): number => Math.round(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 100)
    const boot = existsSync('/proc/uptime') ? readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() : ''

    /** Runs the elements one after the other where the clock stands still; `clock`: what lies there before. */
    function timed(shell: readonly string[], count: number, clock?: string) {
      const { base, submission, file } = written(Array.from({ length: count }, () => 'true'))
      const programs = join(base, 'programs')
      mkdirSync(programs)
      writeFileSync(join(programs, 'date'), `#!/bin/sh\necho asked >>'${base.replaceAll("'", `'\\''`)}/asked'\necho 1700000000\n`, {
        mode: 0o755,
      })
      if (clock !== undefined) writeFileSync(join(base, 'ended/.clock-n1'), clock)
      const [program, ...flags] = shell as [string, ...string[]]
      for (let n = 0; n < count; n += 1) {
        const env = { ...process.env, PATH: `${programs}:${process.env['PATH']}`, CAHIER_HOST: 'n1', FQ_INDEX: String(n) }
        execFileSync(program, [...flags, submission.scriptFile], { env, stdio: 'pipe' })
      }
      return {
        asked: existsSync(join(base, 'asked')) ? readFileSync(join(base, 'asked'), 'utf8').split('\n').length - 1 : 0,
        startedAt: (n: number): number => JSON.parse(readFileSync(file(n, 'exit.json'), 'utf8')).startedAt,
        clock: readFileSync(join(base, 'ended/.clock-n1'), 'utf8'),
      }
    }

    it.each(PLAIN)('so that one of them asks for it: %s', (...shell) => {
      const { asked, startedAt, clock } = timed(shell, 3)
      expect(asked).toBe(1)
      expect(clock).toMatch(new RegExp(`^${boot} \\d+ 1700000000 \\.\\n$`))
      expect([0, 1, 2].map(startedAt).every((at) => at >= 1_700_000_000 && at < 1_700_000_100)).toBe(true)
    })

    it.each(SHELLS)('with the time that has passed since: %s', (...shell) => {
      const { asked, startedAt } = timed(shell, 1, `${boot} ${uptime() - 20_000} 1600000000 .\n`)
      expect(asked).toBe(0)
      expect(startedAt(0)).toBeGreaterThanOrEqual(1_600_000_200)
      expect(startedAt(0)).toBeLessThan(1_600_000_300)
    })

    it.each([
      ['nothing', () => ''],
      ['half a line', () => `${boot} ${uptime()} 16000`],
      ['a line without its end', () => `${boot} ${uptime()} 1600000000\n`],
      ['another boot', () => `0-${boot} ${uptime()} 1600000000 .\n`],
      ['an old time', () => `${boot} ${uptime() - 70_000} 1600000000 .\n`],
      ['a time to come', () => `${boot} ${uptime() + 100_000} 1600000000 .\n`],
      ['no numbers', () => `${boot} a$(x) 16 .\n`],
    ])('and refuse %s', (_what, clock) => {
      for (const shell of PLAIN) {
        const { asked, startedAt, clock: left } = timed(shell, 1, clock())
        expect([asked, startedAt(0)]).toEqual([1, 1_700_000_000])
        expect(left).toMatch(/ 1700000000 \.\n$/)
      }
    })
  })

  it('give the scheduler a script that does not grow with the number of its jobs', () => {
    const sizeOf = (count: number): number => {
      const { submission } = written(Array.from({ length: count }, () => 'true'))
      return readFileSync(submission.scriptFile).length
    }
    expect(sizeOf(40)).toBeLessThan(sizeOf(2) + 50)
  })

  it('run the jobs of a pack one after the other and end with the worst code', () => {
    const { submission, file } = written(['exit 3', 'test -e "../job 0/exit.json"', 'exit 7'], 3)
    expect(exitCodeOf(submission.scriptFile, '')).toBe(7)
    const codes = [0, 1, 2].map((n) => JSON.parse(readFileSync(file(n, 'exit.json'), 'utf8')).exitCode)
    expect(codes).toEqual([3, 0, 7])
    expect(readFileSync(file(2, 'submission'), 'utf8')).toBe(`${submission.tag} 0/2\n`)
  })

  it('begin no job of a pack after the request to end, and tell it to the one that runs', async () => {
    const { submission, file } = written(['echo up >up; while :; do sleep 0.05; done', 'echo ran >ran'], 2)
    const child = spawn('/bin/sh', [submission.scriptFile], { stdio: 'ignore', detached: true })
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
    while (!existsSync(file(0, 'up'))) await new Promise((done) => setTimeout(done, 10))
    child.kill('SIGTERM')
    expect(await ended).toBe(143)
    expect(JSON.parse(readFileSync(file(0, 'exit.json'), 'utf8'))).toMatchObject({ reason: 'canceled', exitCode: 143 })
    expect(existsSync(file(1, 'ran'))).toBe(false)
    expect(existsSync(file(1, 'exit.json'))).toBe(false)
  })

  it('pass over a job of a pack that was canceled before its turn', () => {
    const { submission, file } = written(['true', 'true'], 2)
    writeFileSync(file(0, 'cancel'), '')
    expect(exitCodeOf(submission.scriptFile, '')).toBe(0)
    const ends = [0, 1].map((n) => JSON.parse(readFileSync(file(n, 'exit.json'), 'utf8')) as { reason: string })
    expect(ends.map(({ reason }) => reason)).toEqual(['canceled', 'exited'])
    expect(existsSync(file(0, 'stdout')) && readFileSync(file(0, 'stdout'), 'utf8')).toBe('')
  })

  it('keep the lines of earlier submissions of a job', () => {
    const lines = new Map([['j0', ['before 5']]])
    const jobs = [readyJob({ tag: 'j0' }), readyJob({ tag: 'j1' })]
    const [group] = groupJobs(jobs, { maxArraySize: () => 9, longestWalltimeMs: () => undefined })
    if (group === undefined) throw new Error('no group')
    const submission = submissionOf(group, 1)
    const files = submissionFiles(group, submission, dialect, lines)
    expect(files.find(({ path }) => path === `${jobs[0]?.job.directory}/submission`)?.data).toBe(`before 5\n${submission.tag} 0\n`)
    expect(renderSubmissionScript(group, submission, dialect)).toBe(files.at(-1)?.data)
  })

  it.each([
    ['g-1 0\n', [{ tag: 'g-1', element: 0, member: undefined }]],
    [
      'g 12/3\nh 0\n',
      [
        { tag: 'g', element: 12, member: 3 },
        { tag: 'h', element: 0, member: undefined },
      ],
    ],
  ])('read %j', (text, places) => {
    expect(parseSubmissionFile(text)).toEqual(places)
  })

  it.each(['', '\n', 'g\n', 'g x\n', 'a b 1\n', 'g 1/\n', 'ü 1\n', 'g -1\n'])('refuse %j', (text) => {
    expect(parseSubmissionFile(text)).toEqual([])
  })
})
