import type { JobRow, RowsAnswer } from '@cahier/core/spi'
import { describe, expect, it } from 'vitest'
import { readAccounting, readCancel, readDetails, readOrder, readQueue, readSubmit, readTag, SEPARATOR } from '../src/parse.js'
import { answer, readTranscript, recorded } from './transcripts.js'

const rowsOf = (read: RowsAnswer): readonly JobRow[] => ('rows' in read ? read.rows : expect.unreachable(JSON.stringify(read)))
const byTag = (read: RowsAnswer, tag: string): JobRow =>
  rowsOf(read).find((row) => row.tag === tag) ?? expect.unreachable(`no row with tag ${tag}`)
const line = (...fields: readonly string[]) => `${fields.join(SEPARATOR)}\n`

describe('readSubmit', () => {
  it.each(readTranscript('sbatch').map((each) => [each.command, each, each.stdout.replace(/\D/g, '')] as const))(
    'reads the id that %j printed',
    (_, said, id) => {
      expect(readSubmit(said)).toEqual({ outcome: 'submitted', nativeId: id })
    },
  )

  it.each([
    ['4242\n', '4242'],
    ['4242;cluster-2.a\n', '4242'],
    ['Welcome, you have 17 jobs\n4242\n', '4242'],
    ['100\n4242;main\n12\n', '4242'],
    ['Submitted batch job 4242 on cluster nautilus\n', '4242'],
    ['sbatch: Submitted batch job 4242\nPlease cite us.\n', '4242'],
    ['4242\r\n', '4242'],
  ])('finds the id in %j', (stdout, id) => {
    expect(readSubmit(answer({ stdout }))).toEqual({ outcome: 'submitted', nativeId: id })
  })

  it('takes an id with exit code 0 for a job, whatever stands on stderr', () => {
    const stderr = 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n'
    expect(readSubmit(answer({ stdout: '47\n', stderr }))).toEqual({ outcome: 'submitted', nativeId: '47' })
  })

  it.each(['', '\n', '0\n', '00;x\n', 'on cluster nautilus\n', '42 43\n', 'job 17 was not taken\n', '-5\n'])(
    'is uncertain about %j',
    (stdout) => {
      expect(readSubmit(answer({ stdout }))).toMatchObject({ outcome: 'uncertain', message: expect.stringContaining('not with a job id') })
    },
  )

  it('is uncertain about an id that came with another end, and names it', () => {
    expect(readSubmit(answer({ stdout: '47\n', exitCode: 1, stderr: 'sbatch: error: x\n' }))).toMatchObject({
      outcome: 'uncertain',
      message: 'sbatch printed the id 47 and ended with exit code 1: x',
    })
    expect(readSubmit(answer({ stdout: '47\n', exitCode: undefined, timedOut: true }))).toMatchObject({
      outcome: 'uncertain',
      message: expect.stringContaining('47'),
    })
  })

  it('is uncertain about a submission that was stopped, also after words that would say that nothing was queued', () => {
    const stderr = 'sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n'
    expect(readSubmit(answer({ exitCode: undefined, timedOut: true, stderr }))).toMatchObject({ outcome: 'uncertain' })
  })

  it('knows that nothing was queued where there is no sbatch', () => {
    expect(readSubmit(answer({ exitCode: 127, stderr: 'env: ‘sbatch’: No such file or directory\n' }))).toMatchObject({
      outcome: 'rejected',
    })
  })
})

describe('readQueue', () => {
  const queue = readQueue(recorded('squeue'))

  it('reads a job that has ended well', () => {
    expect(byTag(queue, 'job_ok')).toEqual({
      nativeId: '12',
      tag: 'job_ok',
      state: 'ended',
      rawState: 'COMPLETED',
      end: 'completed',
      exitCode: 0,
      submittedAt: 1795371040_000,
      startedAt: 1795371041_000,
      endedAt: 1795371041_000,
      host: 'n1',
      name: 'job_ok',
      queue: 'main',
    })
  })

  it('reads the elements of an array that wait, and those that run', () => {
    const array = rowsOf(queue).filter((row) => row.tag === 'job_array')
    expect(array.map(({ nativeId, elements, state }) => ({ nativeId, elements, state }))).toEqual([
      { nativeId: '19', elements: [[2, 40]], state: 'pending' },
      { nativeId: '19_0', elements: undefined, state: 'running' },
      { nativeId: '19_1', elements: undefined, state: 'running' },
    ])
    expect(byTag(queue, 'job_steps')).toMatchObject({
      nativeId: '20',
      elements: [
        [3, 3],
        [5, 5],
        [7, 7],
        [9, 9],
      ],
    })
  })

  it('says no exit code of a job that failed, no start of one that waits and no end of one that runs', () => {
    expect(byTag(queue, 'job_f3')).toMatchObject({ end: 'failed', reason: 'NonZeroExitCode' })
    expect(byTag(queue, 'job_f3').exitCode).toBeUndefined()
    expect(byTag(queue, 'job_again')).toMatchObject({ state: 'pending', reason: 'BeginTime' })
    expect(byTag(queue, 'job_again').startedAt).toBeUndefined()
    expect(byTag(queue, 'job_sleeper')).toMatchObject({ state: 'running', rawState: 'SUSPENDED', host: 'n2' })
    expect(byTag(queue, 'job_sleeper').endedAt).toBeUndefined()
  })

  it('takes what SLURM refused at once for refused, though it calls it failed', () => {
    expect(
      rowsOf(queue)
        .filter(({ nativeId }) => ['7', '8', '9', '10'].includes(nativeId))
        .map(({ end }) => end),
    ).toEqual(Array(4).fill('refused'))
  })

  it('finds the tag in the comment where the name is the user’s', () => {
    expect(byTag(queue, 'job_one')).toMatchObject({ name: 'bench' })
    expect(readTag('bench', 'cahier:a-1')).toBe('a-1')
    expect(readTag('a-1', 'for the paper')).toBe('a-1')
    expect(readTag('a b', 'a-1')).toBe('a-1')
    expect(readTag('a b', 'c d')).toBeUndefined()
  })

  it('is not harmed by names and comments of others, nor by jobs of several parts', () => {
    expect(rowsOf(queue)).toHaveLength(23)
    expect(rowsOf(queue).every(({ nativeId }) => /^\d+(_\d+)?$/.test(nativeId))).toBe(true)
  })

  it('says which jobs wait for ever, why, and what to try', () => {
    const never = Object.fromEntries(
      rowsOf(readQueue(recorded('squeue-reasons'))).flatMap(({ nativeId, never }) => (never === undefined ? [] : [[nativeId, never]])),
    )
    expect(never).toEqual({
      33: { end: 'upstream-failed', message: expect.stringContaining('DependencyNeverSatisfied') },
      34: { end: 'refused', message: expect.stringContaining('walltime is longer') },
      35: { end: 'refused', message: expect.stringContaining('PartitionNodeLimit') },
      36: { end: 'refused', message: expect.stringContaining('no node of the partition') },
      37: { end: 'refused', message: expect.stringContaining('QOSMaxWallDurationPerJobLimit') },
      38: { end: 'refused', message: expect.stringContaining('may not use this partition') },
    })
  })

  it('shows what is held as held, and what waits for a node as waiting', () => {
    const states = new Map(rowsOf(readQueue(recorded('squeue-reasons'))).map(({ nativeId, state }) => [nativeId, state]))
    expect([states.get('39'), states.get('40'), states.get('41')]).toEqual(['held', 'pending', 'pending'])
  })

  it('keeps what to do about a job apart from the words of SLURM', () => {
    const advice = new Map(rowsOf(readQueue(recorded('squeue-reasons'))).map((row) => [row.reason, row.advice]))
    expect(advice.get('JobHeldUser')).toContain('cahier jobs release')
    expect(advice.get('Resources')).toBeUndefined()
  })

  it('passes over headers and lines that are cut', () => {
    const stdout = `CLUSTER: bed\n${line('7', 'RUNNING')}${line('8', 'RUNNING', '1', '1', '1', 'main', 'n1', 'n1', 'None', '(null)', 'x')}`
    expect(rowsOf(readQueue(answer({ stdout }))).map(({ nativeId }) => nativeId)).toEqual(['8'])
  })

  it('keeps an unknown word', () => {
    const stdout = line('8', 'HIBERNATING', '1', '1', '1', 'main', 'n1', 'n1', 'None', '(null)', 'x')
    expect(rowsOf(readQueue(answer({ stdout })))).toMatchObject([{ state: 'unknown', rawState: 'HIBERNATING' }])
  })

  it('is empty when no job is shown', () => {
    expect(readQueue(answer({}))).toEqual({ rows: [] })
  })

  it.each(['controller-down', 'controller-frozen', 'munge-down'])('takes no answer for no answer: %s', (name) => {
    expect(readQueue(recorded(name, 'squeue'))).toEqual({ silent: expect.stringMatching(/^squeue: /), suggestions: [expect.any(String)] })
  })

  it('does not believe exit code 0 with an error and no line', () => {
    expect(readQueue(answer({ stderr: 'squeue: error: Invalid user: nobody2\n' }))).toMatchObject({
      silent: expect.stringContaining('Invalid user'),
    })
  })

  it('is silent when the time was over, whatever was printed', () => {
    const stdout = line('8', 'RUNNING', '1', '1', '1', 'main', 'n1', 'n1', 'None', '(null)', 'x')
    expect(readQueue(answer({ stdout, exitCode: undefined, timedOut: true }))).toMatchObject({
      silent: 'squeue: no answer within our time limit',
    })
  })

  it('reads 10,000 jobs in a blink', () => {
    const stdout = Array.from({ length: 10_000 }, (_, at) =>
      line(String(at + 1), 'RUNNING', '1795371041', '1795371041', '1795374641', 'main', 'n2', 'n2', 'None', `t-${at}`, `t-${at}`),
    ).join('')
    const before = process.cpuUsage()
    const rows = rowsOf(readQueue(answer({ stdout })))
    const spentMs = process.cpuUsage(before).user / 1000
    expect(rows).toHaveLength(10_000)
    expect(spentMs).toBeLessThan(1000)
  })
})

describe('readAccounting', () => {
  const accounting = readAccounting(recorded('sacct'))

  it('reads how jobs ended', () => {
    expect(byTag(accounting, 'job_ok')).toMatchObject({ nativeId: '12', end: 'completed', exitCode: 0, host: 'n1' })
    expect(byTag(accounting, 'job_k9')).toMatchObject({ end: 'failed', signal: 'SIGKILL' })
    expect(byTag(accounting, 'job_gone')).toMatchObject({ end: 'canceled', rawState: 'CANCELLED' })
    expect(byTag(accounting, 'job_lost')).toMatchObject({ end: 'failed', reason: expect.stringContaining('0:53') })
    expect(byTag(accounting, 'job_again')).toMatchObject({ state: 'pending', rawState: 'REQUEUED' })
  })

  it('does not give the exit code of a job that failed, as sacct may have taken 128 away', () => {
    expect(byTag(accounting, 'job_f200')).toMatchObject({ end: 'failed', reason: 'exit code 72 or 200: sacct does not tell them apart' })
    expect(byTag(accounting, 'job_f200').exitCode).toBeUndefined()
    expect(byTag(accounting, 'job_f3').exitCode).toBeUndefined()
  })

  it('takes the last start of a job that was started again, and counts the others', () => {
    const record = (state: string, submitted: string, ended: string) =>
      line('23', state, '0:0', submitted, submitted, ended, 'main', 'n4', 'None', '', 'job_again')
    const stdout = record('REQUEUED', '100', '110') + record('NODE_FAIL', '110', '130') + record('COMPLETED', '130', '150')
    expect(rowsOf(readAccounting(answer({ stdout })))).toMatchObject([
      { nativeId: '23', end: 'completed', submittedAt: 130_000, restarts: 2 },
    ])
  })

  it('keeps jobs with one id and two tags apart: ids were reset', () => {
    const record = (tag: string) => line('23', 'COMPLETED', '0:0', '100', '100', '110', 'main', 'n4', 'None', '', tag)
    expect(rowsOf(readAccounting(answer({ stdout: record('old') + record('new') }))).map(({ tag }) => tag)).toEqual(['old', 'new'])
  })

  it('tells accounting that is switched off from accounting that does not answer', () => {
    expect(readAccounting(recorded('accounting-disabled', 'sacct'))).toEqual({ absent: 'Slurm accounting storage is disabled' })
    expect(readAccounting(recorded('accounting-down', 'sacct'))).toMatchObject({
      silent: expect.stringContaining('Problem talking to the database'),
    })
    expect(readAccounting(recorded('munge-down', 'sacct'))).toMatchObject({ silent: expect.stringContaining('Munge') })
    expect(readAccounting(answer({ exitCode: undefined, timedOut: true }))).toMatchObject({ silent: expect.any(String) })
  })
})

describe('readDetails', () => {
  const details = readDetails(recorded('scontrol-show-job'))

  it('reads exact exit codes, signals and restarts, though one job of them is not known', () => {
    expect(byTag(details, 'job_f3')).toMatchObject({ nativeId: '13', end: 'failed', exitCode: 3 })
    expect(byTag(details, 'job_f200')).toMatchObject({ end: 'failed', exitCode: 200 })
    expect(byTag(details, 'job_k9')).toMatchObject({ end: 'failed', signal: 'SIGKILL' })
    expect(byTag(details, 'job_again')).toMatchObject({ state: 'pending', restarts: 1 })
    expect(byTag(details, 'job_array')).toMatchObject({ nativeId: '19_0', state: 'running' })
  })

  it('explains a job that could not be started', () => {
    expect(byTag(details, 'job_lost')).toMatchObject({
      end: 'failed',
      reason: expect.stringMatching(/^JobLaunchFailure: .*does not exist/),
    })
  })

  it('has nothing to say of jobs that are forgotten', () => {
    expect(readDetails(answer({ exitCode: 1, stderr: 'slurm_load_jobs error: Invalid job id specified\n' }))).toEqual({ rows: [] })
  })

  it.each(['controller-down', 'controller-frozen', 'munge-down'])('is silent: %s', (name) => {
    expect(readDetails(recorded(name, 'scontrol -o show job'))).toMatchObject({ silent: expect.any(String) })
  })
})

describe('orders', () => {
  const orders = readTranscript('orders')

  it.each(orders.filter(({ command }) => command.startsWith('scancel')).map((each) => [each.command, each] as const))(
    'reads what %j answered',
    (command, said) => {
      expect(readCancel(said)).toEqual(command === 'scancel abc' ? { refused: 'scancel: Invalid job id abc' } : { ok: true })
    },
  )

  it('takes jobs that are gone for canceled', () => {
    const stderr = 'scancel: error: Kill job error on job id 56: Invalid job id specified\n'
    expect(readCancel(answer({ exitCode: 1, stderr }))).toEqual({ ok: true })
    expect(
      readCancel(answer({ exitCode: 1, stderr: `${stderr}scancel: error: Kill job error on job id 57: Access/permission denied\n` })),
    ).toMatchObject({
      refused: expect.stringContaining('permission denied'),
    })
  })

  it.each(['controller-down', 'controller-frozen', 'munge-down'])('is silent: %s', (name) => {
    expect(readCancel(recorded(name, 'scancel'))).toMatchObject({ silent: expect.stringMatching(/^scancel: /) })
    expect(readOrder(recorded(name, 'scontrol hold'))).toMatchObject({ silent: expect.stringMatching(/^scontrol: /) })
  })

  it('reads what scontrol answered', () => {
    const answers = orders.filter(({ command }) => command.startsWith('scontrol')).map(readOrder)
    expect(answers).toEqual([
      { ok: true },
      { ok: true },
      { refused: expect.stringContaining('Invalid job id specified') },
      { refused: expect.stringContaining('Job has already finished') },
      { refused: expect.stringContaining('Invalid job id specified') },
      { refused: expect.stringContaining('Job is pending execution') },
    ])
  })
})
