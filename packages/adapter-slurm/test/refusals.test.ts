import { describe, expect, it } from 'vitest'
import { readSubmit } from '../src/parse.js'
import { readReason } from '../src/reasons.js'
import { readRefusal } from '../src/refusals.js'
import { readTranscript, recorded } from './transcripts.js'

const said = (text: string) => `sbatch: error: Batch job submission failed: ${text}\n`

describe('readRefusal', () => {
  const refused = [...readTranscript('sbatch-refused'), ...readTranscript('sbatch-refused-limits')].filter(({ exitCode }) => exitCode !== 0)

  it.each(refused.map((each) => [each.command, each] as const))('knows what %j means, and says what to try', (command, each) => {
    const answer = readSubmit(each)
    const passes = /-q tiny|-p closed/.test(command)
    expect(answer).toMatchObject({ outcome: passes ? 'rejected' : 'invalid', message: expect.stringMatching(/^(?!sbatch).+/) })
    expect('suggestions' in answer && answer.suggestions?.length).toBeGreaterThan(0)
    expect('message' in answer && answer.message).not.toContain('\n')
  })

  it('names the limit that was hit', () => {
    const text = (limit: string) =>
      `sbatch: error: ${limit}\n${said("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)")}`
    expect(readRefusal(text('QOSMaxSubmitJobPerUserLimit'), 'exit code 1')).toMatchObject({
      outcome: 'rejected',
      limit: 'QOSMaxSubmitJobPerUserLimit',
    })
    expect(readRefusal(text('AssocMaxSubmitJobLimit'), 'exit code 1')).toMatchObject({
      outcome: 'rejected',
      limit: 'AssocMaxSubmitJobLimit',
    })
    expect(readRefusal(text('AssocGrpSubmitJobsLimit'), 'exit code 1')).toMatchObject({
      outcome: 'rejected',
      limit: 'AssocGrpSubmitJobsLimit',
    })
  })

  it('knows that nothing was queued where nothing was sent', () => {
    expect(readSubmit(recorded('controller-down', 'sbatch'))).toMatchObject({
      outcome: 'rejected',
      message: expect.stringContaining('connect failure'),
    })
    expect(readSubmit(recorded('munge-down', 'sbatch'))).toMatchObject({ outcome: 'rejected', message: expect.stringContaining('Munge') })
    expect(readSubmit(recorded('accounting-disabled', 'sbatch'))).toMatchObject({ outcome: 'rejected' })
  })

  it('is uncertain where a request was sent and not answered', () => {
    expect(readSubmit(recorded('controller-frozen', 'sbatch'))).toMatchObject({
      outcome: 'uncertain',
      message: expect.stringContaining('Socket timed out'),
    })
  })

  it.each([
    said('Protocol authentication error'),
    said('Unspecified error'),
    said('Zero Bytes were transmitted or received'),
    said('Something that no version has said before'),
    'Segmentation fault\n',
    '',
  ])('is uncertain about %j', (stderr) => {
    expect(readRefusal(stderr, 'exit code 1')).toMatchObject({ outcome: 'uncertain', message: expect.stringMatching(/./) })
  })

  it('is uncertain, and names the limit, where sbatch was stopped while it tried again and again', () => {
    const stderr = 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n'
    expect(readSubmit({ exitCode: undefined, timedOut: true, stdout: '', stderr })).toMatchObject({
      outcome: 'uncertain',
      limit: 'MaxJobCount',
    })
  })

  it('is not misled by what a site prints around it', () => {
    const stderr = `*** Maintenance and invalid partition cleanup on Monday ***\n${said('Socket timed out on send/recv operation')}`
    expect(readRefusal(stderr, 'exit code 1')).toMatchObject({
      outcome: 'uncertain',
      message: 'Batch job submission failed: Socket timed out on send/recv operation',
    })
  })
})

describe('readReason', () => {
  it.each(['DependencyNeverSatisfied', '(DependencyNeverSatisfied)'])('knows that %s is the fault of another job', (reason) => {
    expect(readReason(reason)).toMatchObject({ kind: 'never', end: 'upstream-failed' })
  })

  it.each([
    'PartitionTimeLimit',
    'PartitionNodeLimit',
    'PartitionConfig',
    'BadConstraints',
    'InvalidAccount',
    'InvalidQOS',
    'AccountNotAllowed',
    'QOSMaxWallDurationPerJobLimit',
    'AssocMaxCpuPerJobLimit',
    'QOSMaxNodePerJobLimit',
    'QOSMinGRES',
    "Job's account not permitted to use this partition (others allows nobody not root)",
  ])('knows that a job never starts: %s', (reason) => {
    expect(readReason(reason)).toMatchObject({ kind: 'never', end: 'refused', explanation: expect.any(String) })
  })

  it.each([
    'JobHeldUser',
    'JobHeldAdmin',
    'launch_failed_requeued_held',
    'launch failed requeued held',
    'job_requeued_in_held_state',
    'JobHoldMaxRequeue',
    'JobArrayTaskLimit,JobHeldAdmin',
    'PartitionDown,JobHeldAdmin',
  ])('knows that somebody has to release it: %s', (reason) => {
    expect(readReason(reason)).toMatchObject({ kind: 'held', advice: expect.any(String) })
  })

  it.each([
    ['PartitionDown', /partition is down/],
    ['PartitionInactive', /starts no jobs/],
    ['NodeDown', /down or drained/],
    ['ReqNodeNotAvail, UnavailableNodes:n[1-4]', /down or drained/],
    ['AssocGrpCPUMinutesLimit', /used up/],
    ['AssocGrpBillingMinutes', /used up/],
    ['QOSGrpWallLimit', /used up/],
    ['Priority,PartitionDown', /partition is down/],
  ])('knows that it waits for somebody, not for its turn: %s', (reason, advice) => {
    expect(readReason(reason)).toEqual({ kind: 'waits', advice: expect.stringMatching(advice) })
  })

  it('says the same of the same trouble, whichever nodes it is about', () => {
    const [one, other] = ['n1', 'n[2-4],m7'].map((nodes) => readReason(`ReqNodeNotAvail, UnavailableNodes:${nodes}`))
    expect(one).toEqual(other)
  })

  it.each([
    'Resources',
    'Priority',
    'Dependency',
    'BeginTime',
    'QOSMaxJobsPerUserLimit',
    'QOSMaxCpuPerUserLimit',
    'AssocGrpCpuLimit',
    'AssocMaxJobsLimit',
    'QOSGrpNodeLimit',
    'Licenses',
    'Reservation',
    'AssocGrpCPURunMinutesLimit',
    'ReqNodeNotAvail, UnavailableNodes:',
    'ReqNodeNotAvail, Reserved for maintenance',
    'Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions',
    'Dependency,DependencyNeverSatisfied',
    'SomethingNew',
    '',
  ])('waits: %s', (reason) => {
    expect(readReason(reason)).toEqual({ kind: 'waits' })
  })
})
