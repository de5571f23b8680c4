import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
    expect([0, 1].map((n) => existsSync(file(n, 'exit.json')))).toEqual([false, true])
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
