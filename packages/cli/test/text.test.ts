import { join } from 'node:path'
import type { ItemReport, PlannedJob, RunCounts, RunEvent, RunPlan, RunStatus, RunSummary, SiteReport } from '@cahier/core'
import { formatDate, formatDuration, formatSpread, formatSubmission, groupRows, shellQuote, statisticsOf } from '@cahier/core'
import { describe, expect, it } from 'vitest'
import { formatError, readError } from '../src/error-text.js'
import { EXIT_CODES, exitCodeOf, exitCodeOfRun } from '../src/exit-codes.js'
import { gatherUnrun } from '../src/gather-unrun.js'
import { formatJobs, formatSubmitted } from '../src/jobs-text.js'
import { toJson } from '../src/json.js'
import { formatResults } from '../src/results-text.js'
import { formatCounts, formatItem, formatPlan, formatStatus, formatSummary, notebookText } from '../src/run-text.js'
import { formatReport } from '../src/sites-text.js'
import { formatFilledTable, formatTable, wrapText } from '../src/table.js'
import { adviceFor, formatAsked, formatWords } from '../src/why-text.js'

const core = { formatDate, formatDuration, formatSubmission }
const at = new Date(2026, 10, 22, 10, 35, 28).getTime()
const none: RunCounts = { total: 0, todo: 0, submitted: 0, running: 0, done: 0, failed: 0, invalid: 0, orphaned: 0 }
const counts: RunCounts = { ...none, total: 300, todo: 168, running: 8, done: 122, failed: 2 }

describe('formatCounts', () => {
  it('names what is not zero', () => {
    expect(formatCounts(counts)).toBe('122 of 300 done, 8 running, 168 to do, 2 failed')
    expect(formatCounts({ ...none, total: 3, done: 3 })).toBe('3 of 3 done')
  })
})

describe('notebookText', () => {
  const submitted: RunEvent = { type: 'submitted', item: '1f3a9c/r1', label: 'cores=8 r1', nativeId: '134753', dependsOn: ['134752'] }

  it('writes each job of a small run, with what it depends on', () => {
    expect(notebookText(submitted, 5, core)).toBe('Job submitted: 134753 dependent on 134752 (cores=8 r1)')
  })

  it('says of jobs that wait for somebody which they are and why, however many there are', () => {
    const stuck = { words: 'HELD', jobs: 1, nativeIds: ['7'], item: '1f3a9c/r1', since: at }
    expect(notebookText({ type: 'stuck', stuck }, 5000, core)).toBe('Stuck (1 job: 7): HELD')
    expect(notebookText({ type: 'stuck', stuck: { ...stuck, jobs: 2, advice: 'let it go' } }, 5, core)).toBe(
      'Stuck (2 jobs: 7, …): HELD: let it go',
    )
  })

  it('does not write thousands of lines for thousands of jobs', () => {
    expect(notebookText(submitted, 5000, core)).toBeUndefined()
    expect(notebookText({ ...submitted, item: 'prepare:compile', label: 'compile', dependsOn: [] }, 5000, core)).toBe(
      'Job submitted: 134753 (compile)',
    )
    expect(notebookText({ type: 'item', item: 'a', label: 'a', state: 'done', detail: '' }, 5000, core)).toBeUndefined()
  })

  it('writes every failure', () => {
    const event: RunEvent = { type: 'item', item: 'a', label: 'cores=8 r1', state: 'failed', detail: 'exit code 1' }
    expect(notebookText(event, 5000, core)).toBe('Job failed: cores=8 r1: exit code 1')
  })

  it('tells begin, pause, report and end', () => {
    expect(notebookText({ type: 'started', directory: '/r', counts, resumed: false }, 0, core)).toBe('Run started: /r (300 work items)')
    expect(notebookText({ type: 'started', directory: '/r', counts, resumed: true }, 0, core)).toMatch(
      /^Run resumed: \/r \(122 of 300 done/,
    )
    expect(notebookText({ type: 'paused', pause: { reason: 'breaker', since: at, detail: '10 alike' } }, 0, core)).toBe(
      'Paused (breaker): 10 alike',
    )
    expect(notebookText({ type: 'report', file: '/r/report.html' }, 0, core)).toBe('Report written: /r/report.html')
    expect(notebookText({ type: 'finished', counts: { ...none, total: 3, done: 3 }, outcome: 'complete' }, 0, core)).toBe(
      'Run complete: 3 of 3 done',
    )
  })
})

const item: ItemReport = {
  id: '1f3a9c/r2',
  combination: { cores: 8, solver: { kind: 'cg' } },
  repetition: 2,
  state: 'failed',
  detail: 'exit code 1',
  tail: 'diverged\nat step 3\n',
  attempts: [
    {
      attempt: 1,
      tag: 'c-1f3a9c-r2-a1',
      directory: '/r/x',
      outcome: 'failed',
      detail: 'ended with exit code 1',
      nativeId: '7',
      exitCode: 1,
      submittedAt: at,
      startedAt: at,
      endedAt: undefined,
    },
  ],
}

describe('formatStatus and formatItem', () => {
  it('say who drives the run, what failed and how to learn more', () => {
    const status: RunStatus = {
      campaign: 'scaling',
      directory: '/r',
      counts,
      startedAt: at,
      endedAt: undefined,
      state: 'running',
      holder: { host: 'login1', pid: 42, since: at },
      pause: undefined,
      stuck: [],
      failures: [item],
    }
    expect(formatStatus(status, core)).toBe(`scaling: running
  122 of 300 done, 8 running, 168 to do, 2 failed
  /r
  started 2026-11-22 10:35:28
  driven by process 42 on login1 since 2026-11-22 10:35:28
newest failures (cahier why ITEM tells more):
  1f3a9c/r2  cores=8 solver={"kind":"cg"}  failed: exit code 1`)
  })

  it('tell all attempts of an item and the last output', () => {
    const text = formatItem(item, core)
    expect(text).toContain('attempt 1: failed, exit code 1')
    expect(text).toContain('ended not yet')
    expect(text).toContain('last output:\n  | diverged\n  | at step 3')
  })
})

describe('formatStatus', () => {
  const idle: RunStatus = {
    campaign: 'scaling',
    directory: '/r',
    counts: { ...none, total: 3, done: 1, submitted: 2 },
    startedAt: at,
    endedAt: at,
    state: 'idle',
    holder: undefined,
    pause: undefined,
    stuck: [],
    failures: [],
  }

  it('does not say of a run that was left that it has ended', () => {
    expect(formatStatus(idle, core)).toBe(`scaling: idle
  1 of 3 done, 2 submitted
  /r
  started 2026-11-22 10:35:28
  left 2026-11-22 10:35:28
  nobody drives it now; "cahier run" goes on with it`)
    expect(formatStatus({ ...idle, state: 'finished' }, core)).toContain('\n  ended 2026-11-22 10:35:28')
  })

  it('names the jobs that will not start by themselves, and what to do about them', () => {
    const stuck = {
      site: 'near',
      words: 'PENDING JobHeldUser',
      advice: 'let it go',
      jobs: 5,
      nativeIds: ['7_0', '7_1', '7_2'],
      item: 'x/r1',
      since: at,
    }
    const lines = formatStatus({ ...idle, stuck: [stuck] }, core).split('\n')
    expect(lines).toContain('  Stuck (5 jobs on near: 7_0, 7_1, 7_2, …): PENDING JobHeldUser: let it go (since 2026-11-22 10:35:28)')
  })
})

describe('formatSummary', () => {
  const directory = join(process.cwd(), 'my runs')
  const summary: RunSummary = {
    directory,
    outcome: 'complete',
    counts: { ...none, total: 3, done: 3 },
    pause: undefined,
    reportFile: join(directory, 'report.html'),
    findings: [],
  }

  it('names table and report', () => {
    expect(formatSummary(summary, undefined, { shellQuote })).toBe(
      `complete: 3 of 3 done\nrun     ${directory}\ntable   ${directory}/results.csv\nreport  ${directory}/report.html`,
    )
  })

  it('names no table when everything failed', () => {
    const text = formatSummary({ ...summary, outcome: 'incomplete', counts: { ...none, total: 3, failed: 3 } }, undefined, { shellQuote })
    expect(text).toContain(`run     ${directory}\nreport  ${directory}/report.html\n`)
  })

  it('gives commands that are about this run, wherever it is', () => {
    const left = formatSummary({ ...summary, outcome: 'detached' }, 'a.yaml', { shellQuote })
    expect(left).toContain("cahier run a.yaml --dir 'my runs'\n")
    expect(left).toContain("cahier stop 'my runs' --cancel-jobs")
    const failed = formatSummary({ ...summary, directory: '/r', counts: { ...counts, failed: 1 } }, undefined, { shellQuote })
    expect(failed).toContain('cahier why /r ITEM')
    expect(failed).toContain('cahier retry /r, then cahier run --dir /r')
  })
})

describe('formatPlan', () => {
  it('prints counts, the bound, the difference and a job exactly', () => {
    const plan: RunPlan = {
      campaign: 'scaling',
      directory: '/r',
      site: 'local',
      scheduler: 'local',
      sites: [{ name: 'local', scheduler: 'local' }],
      combinations: 10,
      repetitions: 5,
      items: 50,
      alreadyDone: 20,
      toDo: 30,
      difference: { added: 5, kept: 45, removed: 1 },
      coreHours: 12.341,
      factors: [
        { name: 'cores', levels: 5 },
        { name: 'python', levels: 2 },
      ],
      samples: [
        {
          id: '1f3a9c/r1',
          combination: { cores: 8 },
          repetition: 1,
          directory: '/r/c/x/r1-a1',
          script: '#!/bin/sh\necho  "a"\n',
          resources: { cores: 8, walltimeMs: 3_600_000 },
        },
      ],
      submissions: [],
      jobsPerSubmission: undefined,
      limits: [],
      warnings: ['only 2 cores here'],
    }
    expect(formatPlan(plan, core)).toBe(`scaling on local (scheduler local)
  factors       cores (5) × python (2)
  work items    10 combinations × 5 repetitions = 50
  to do         30 (20 done already)
  core-hours    at most 12.35
  directory     /r
  difference    +5 =45 -1 against what this run did before
  warning       only 2 cores here

job 1f3a9c/r1  cores=8  (8 cores, ${formatDuration(3_600_000)})
  in /r/c/x/r1-a1
--- script ---
#!/bin/sh
echo  "a"
--- end ------`)
    const asking = (resources: PlannedJob['resources']) =>
      formatPlan({ ...plan, samples: plan.samples.map((sample) => ({ ...sample, resources })) }, core)
    expect(asking({})).toContain('\njob 1f3a9c/r1  cores=8\n  in ')
    expect(asking({ nodes: 2, tasks: 1, gpus: 4, memoryMiB: 100 })).toContain('cores=8  (2 nodes, 1 task, 4 GPUs, 100 MiB)\n')
  })
})

describe('formatPlan on a batch system', () => {
  const plan: RunPlan = {
    campaign: 'scaling',
    directory: undefined,
    site: 'near',
    scheduler: 'slurm',
    sites: [
      { name: 'near', scheduler: 'slurm' },
      { name: 'far', scheduler: 'slurm', host: 'alice@login' },
    ],
    combinations: 25,
    repetitions: 1,
    items: 25,
    alreadyDone: 0,
    toDo: 25,
    difference: undefined,
    coreHours: 100.2,
    factors: [{ name: 'n', levels: 25 }],
    samples: [],
    submissions: [{ script: '#!/bin/sh\ntrue\n', command: 'sbatch a.sh', jobs: 10, tag: 'scaling-1', faults: ['no'], warnings: ['odd'] }],
    jobsPerSubmission: 10,
    limits: ['near would never run 1 job: too long'],
    warnings: [],
  }

  it('names all sites, counts submissions, and shows the first exactly', () => {
    expect(formatPlan(plan, core)).toBe(`scaling on near (scheduler slurm) and far (scheduler slurm on alice@login)
  factors       n (25)
  work items    25 combinations × 1 repetition = 25
  to do         25 (0 done already)
  submissions   3 of up to 10 jobs
  core-hours    at most 101
  limit         near would never run 1 job: too long

submission of 10 jobs, the first is scaling-1
  fault         no
  warning       odd
  sbatch a.sh
--- submitted ---
#!/bin/sh
true
--- end ---------`)
  })

  it.each([
    [1, '25 of one job each'],
    [25, '1 of all 25 jobs'],
  ])('counts submissions of %d jobs', (jobsPerSubmission, text) => {
    expect(formatPlan({ ...plan, jobsPerSubmission }, core)).toContain(`  submissions   ${text}\n`)
  })

  it('does not fill the terminal with the lines of a large array', () => {
    const [first] = plan.submissions
    const script = `${Array.from({ length: 1000 }, (_, n) => `line ${n}`).join('\n')}\n`
    const text = formatPlan({ ...plan, submissions: [{ ...first!, script }] }, core)
    expect(text).toContain('line 39\n… 950 lines more; --json has them all …\nline 990\n')
  })
})

describe('adviceFor', () => {
  const attempt = { ...item.attempts[0]!, outcome: 'timed-out' as const }

  it('says what a person would do next', () => {
    expect(adviceFor({ ...item, state: 'failed', attempts: [attempt] }, false)).toEqual([
      'Ask for more time (job.resources.walltime), then cahier retry 1f3a9c/r2, then cahier run',
    ])
    expect(adviceFor({ ...item, state: 'submitted' }, false)).toEqual(['cahier why 1f3a9c/r2 --ask'])
  })

  it('names the stage that kept an item from running, and tries a stage again with all that wait for it', () => {
    const detail = 'not run: prepare:compile failed'
    const unrun = { ...item, state: 'failed' as const, detail, attempts: [{ ...attempt, outcome: 'upstream-failed' as const, detail }] }
    expect(adviceFor(unrun, false)).toEqual([
      'Mend what it waited for first: cahier why prepare:compile tells more; then cahier retry 1f3a9c/r2, then cahier run',
    ])
    const stage = { ...item, id: 'prepare:compile', isStage: true as const, state: 'failed' as const }
    expect(adviceFor({ ...stage, attempts: [{ ...attempt, outcome: 'failed' }] }, false)).toEqual([
      'Mend it, then cahier retry, then cahier run',
    ])
  })

  it('is silent about what is well or was asked already', () => {
    expect([adviceFor({ ...item, state: 'done' }, false), adviceFor({ ...item, state: 'submitted' }, true)]).toEqual([[], []])
  })
})

describe('formatAsked', () => {
  it('gives the words of the queue', () => {
    const line = {
      nativeId: '12',
      name: 'x',
      state: 'pending' as const,
      rawState: 'PENDING',
      reason: 'Priority',
      queue: 'main',
      elements: 5,
    }
    expect(formatAsked({ nativeId: '12_3', site: 'near', line }, core)).toBe(
      'the queue of near says now of 12: PENDING (Priority), queue main, with 4 others',
    )
    expect(formatAsked({ nativeId: '12_3', site: 'near', line: undefined }, core)).toBe(
      'the queue of near does not show the job 12_3 (any more)',
    )
    expect(formatAsked({ nativeId: '12_3', site: 'near', line: { ...line, advice: 'ask the site' } }, core)).toMatch(
      /others\n {2}ask the site$/,
    )
    expect(formatAsked(undefined, core)).toBe('the queue was not asked: there is no job')
  })
})

describe('formatSubmitted', () => {
  const job = {
    nativeId: '7',
    tag: 't',
    name: 'n',
    site: 'far',
    scheduler: 'slurm',
    directory: '/here/x',
    siteDirectory: '/here/x',
    found: false,
  }

  it('says how the files come home that are not to be seen from here, and nothing of it where they are', () => {
    expect(formatSubmitted(job, { shellQuote })).not.toContain('cahier get')
    const away = { ...job, siteDirectory: '/there/x', host: 'a@h1' }
    expect(formatSubmitted(away, { shellQuote })).toContain("\n  files      cahier get '/there/x/*' -w a@h1 --site far --to /here/x\n")
  })
})

describe('formatJobs', () => {
  it('says below the list what to do about jobs that wait for somebody, once for each trouble', () => {
    const held = {
      nativeId: '7',
      name: 'n',
      state: 'held' as const,
      rawState: 'PENDING',
      reason: 'JobHeldUser',
      advice: 'let it go',
      elements: 1,
    }
    const { advice: _advice, ...waits } = { ...held, nativeId: '9', state: 'pending' as const, reason: 'Priority' }
    const jobs = [held, { ...held, nativeId: '8' }, waits]
    const text = formatJobs([{ site: 'near', scheduler: 'slurm', jobs }], core, { all: true })
    expect(text.split('\n').slice(-3)).toEqual([
      expect.stringMatching(/^8 .*JobHeldUser/),
      expect.stringMatching(/^9 .*Priority/),
      'JobHeldUser: let it go',
    ])
  })
})

describe('formatWords', () => {
  it('marks the words of the scheduler, and says where the rest is and of whom they are', () => {
    const words = { text: 'one\ntwo', file: '/r/x.log', isOfGroup: false }
    expect(formatWords(words)).toBe('the scheduler wrote (/r/x.log):\n  | one\n  | two')
    expect(formatWords({ ...words, isOfGroup: true })).toMatch(/^the scheduler wrote, of all jobs that were submitted together \(/)
  })
})

describe('wide tables', () => {
  const rows = [['1', 'a-very-long-name-of-a-job', 'the reason is long, too']]

  it('are cut to the terminal where that does least harm', () => {
    expect(formatTable(['id', 'name', 'reason'], rows, { width: 40, shrink: [1, 2] })).toBe(
      'id  name               reason\n1   a-very-long-name…  the reason is lo…',
    )
    expect(formatTable(['id', 'name', 'reason'], rows, { width: 10, shrink: [1, 2] })).toBe('id  name      reason\n1   a-very-…  the rea…')
  })

  it('are whole without a terminal', () => {
    expect(formatTable(['id', 'name', 'reason'], rows, { shrink: [1, 2] })).toContain('a-very-long-name-of-a-job  the reason is long, too')
  })

  it('leave out what is empty', () => {
    expect(formatFilledTable(['id', 'queue', 'name'], [['1', '', 'x']])).toBe('id  name\n1   x')
  })
})

describe('wrapText', () => {
  it('breaks at blanks, beside what stands before', () => {
    expect(wrapText('one two three four five six', 4, 24)).toBe('one two three four\n    five six')
  })

  it('leaves a text alone without a terminal, and on one that is too narrow', () => {
    expect([wrapText('one two', 4, undefined), wrapText('one two three', 4, 12)]).toEqual(['one two', 'one two three'])
  })
})

describe('formatReport', () => {
  const report: SiteReport = {
    site: 'near',
    scheduler: 'slurm',
    host: 'login',
    ok: false,
    findings: [
      { topic: 'login', verdict: 'ok', text: 'alice on login' },
      { topic: 'queues', verdict: 'failed', text: 'there is no queue x', suggestions: ['Did you mean y?'] },
      { topic: 'clock', verdict: 'warning', text: '26h ahead' },
    ],
    facts: {
      version: 'slurm 22.05.8',
      maxArraySize: 1001,
      accounting: true,
      notes: [],
      queues: [{ name: 'y', isDefault: true, isUp: true, nodes: 2, nodesUp: 1, coresPerNode: 8, maxWalltimeMs: 3_600_000 }],
    },
  }

  it('has a line for each finding, its cure below, and the queues', () => {
    expect(formatReport(report, core)).toBe(`near: scheduler slurm on login
  ✓ login   alice on login
  ✗ queues  there is no queue x
            Try: Did you mean y?
  ! clock   26h ahead

  queue  state  nodes up  cores  walltime
  y *    up     1 of 2    8      1h`)
  })
})

describe('formatResults', () => {
  const statistical = { formatSpread, groupRows, statisticsOf }
  const rows = [10, 11, 12, null].flatMap((seconds, i) =>
    ['cg', 'lu'].map((solver) => ({ solver, cores: 8, repetition: i + 1, seconds, verdict: i === 0 ? 'slow' : 'fast' })),
  )
  const results = { factors: ['solver', 'cores'], results: ['seconds', 'verdict'], rows }

  it('gives a line to each combination, with the mean and half the 95 % interval', () => {
    expect(formatResults(results, '/r', statistical)).toBe(`solver  cores  n  seconds             verdict
cg      8      4  11.0 ± 2.5 (n = 3)  slow × 1, fast × 3
lu      8      4  11.0 ± 2.5 (n = 3)  slow × 1, fast × 3`)
  })

  it('gives a line to each result when there are many combinations', () => {
    const many = Array.from({ length: 25 }, (_, n) => ({ n, square: n * n, verdict: 'fine' }))
    const text = (count: number) =>
      formatResults({ factors: ['n'], results: ['square', 'verdict'], rows: many.slice(0, count) }, '/r', statistical)
    expect(text(24)?.split('\n')).toHaveLength(25)
    expect(text(25)).toBe(`result   n   min  median  max
square   25  0    144     576
verdict  25
25 combinations; every result: /r/results.csv`)
  })

  it('says nothing without a result', () => {
    expect(formatResults({ ...results, rows: [] }, '/r', statistical)).toBeUndefined()
    expect(formatResults({ ...results, results: [] }, '/r', statistical)).toBeUndefined()
  })
})

describe('errors', () => {
  const inner = new Error('socket closed')
  const error = Object.assign(new Error('squeue timed out', { cause: inner }), {
    code: 'E_SCHEDULER_SILENT',
    suggestions: ['Wait'],
    data: { site: 'a' },
  })

  it('show code, message, suggestions; causes only when asked for', () => {
    expect(formatError(error)).toBe('Error E_SCHEDULER_SILENT: squeue timed out\n  Try: Wait\n  See the cause with --debug')
    expect(formatError(error, { debug: true })).toContain('  Cause: Error: socket closed\n')
  })

  it('are taken for our fault when they are not known', () => {
    expect(formatError(new TypeError('x is not a function'))).toContain('Try: This is probably a fault of Cahier')
    expect(formatError('thrown text')).toContain('Error: thrown text')
    expect(formatError(undefined)).toContain('Error: undefined')
  })

  it('stop at a cause that is its own cause', () => {
    const loop = new Error('loop')
    loop.cause = loop
    expect(readError(loop).causes).toHaveLength(10)
  })
})

describe('exit codes', () => {
  it.each([
    [{ code: 'E_RUN_HELD' }, EXIT_CODES.held.code],
    [{ code: 'E_ARGUMENT' }, EXIT_CODES.usage.code],
    [{ code: 'E_ABORTED' }, EXIT_CODES.detached.code],
    [{ code: 'E_JOURNAL_DAMAGED' }, EXIT_CODES.error.code],
    [{ oclif: { exit: 2 } }, EXIT_CODES.usage.code],
    [undefined, EXIT_CODES.error.code],
  ])('of the error %j is %i', (error, code) => {
    expect(exitCodeOf(error)).toBe(code)
  })

  it.each([
    ['complete', none, EXIT_CODES.done.code],
    ['complete', { ...none, failed: 1 }, EXIT_CODES.incomplete.code],
    ['complete', { ...none, invalid: 1 }, EXIT_CODES.incomplete.code],
    ['incomplete', none, EXIT_CODES.incomplete.code],
    ['paused', none, EXIT_CODES.incomplete.code],
    ['detached', none, EXIT_CODES.detached.code],
  ] as const)('of a run that ended %s', (outcome, ended, code) => {
    expect(exitCodeOfRun({ outcome, counts: ended })).toBe(code)
  })
})

describe('toJson', () => {
  it('writes levels that JSON has no number for as text', () => {
    expect(JSON.parse(toJson({ a: 2n ** 70n, b: Number.NaN, c: -Infinity, d: 1.5 }))).toEqual({
      a: '1180591620717411303424',
      b: 'NaN',
      c: '-Infinity',
      d: 1.5,
    })
  })
})

describe('formatTable', () => {
  it('aligns columns and leaves no space at the end of a line', () => {
    expect(
      formatTable(
        ['kind', 'name'],
        [
          ['scheduler', 'pbs'],
          ['x', ''],
        ],
      ),
    ).toBe('kind       name\nscheduler  pbs\nx')
  })
})

describe('jobs that a failed stage kept from running', () => {
  const unrun = (label: string, detail = 'not run: prepare:compile failed'): RunEvent => ({
    type: 'item',
    item: label,
    label,
    state: 'failed',
    detail,
  })
  const shown = (events: readonly RunEvent[]): string[] => {
    const lines: string[] = []
    const display = gatherUnrun({
      show: (event) => void lines.push(notebookText(event, 5, core) ?? event.type),
      say: (text) => void lines.push(text),
      close: () => void lines.push('closed'),
    })
    for (const event of events) display.show(event)
    display.close()
    return lines
  }

  it('are told of in one line, before what comes after them', () => {
    expect(shown([unrun('a'), unrun('b'), unrun('c', 'not run: prepare:mesh failed'), { type: 'counts', counts }, unrun('d')])).toEqual([
      'Jobs failed: 2, not run: prepare:compile failed (see: cahier why prepare:compile)',
      'Job failed: c: not run: prepare:mesh failed',
      'counts',
      'Job failed: d: not run: prepare:compile failed',
      'closed',
    ])
  })

  it('are not mixed up with jobs that ran and failed', () => {
    expect(shown([unrun('a', 'exit code 1'), unrun('b', 'exit code 1')])).toEqual([
      'Job failed: a: exit code 1',
      'Job failed: b: exit code 1',
      'closed',
    ])
  })
})
