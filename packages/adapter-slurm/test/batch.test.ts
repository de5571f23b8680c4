import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JobHandle, JobSpec, Scheduler } from '@cahier/core/spi'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { slurmUnavailable } from '../../../test/testbed/slurm.mjs'
import { type SlurmLab, startSlurmLab, until } from './slurm-lab.js'

const TIMEOUT_MS = 240_000
const MOST_JOBS = 6
const reason = slurmUnavailable({ accounting: 'dbd' })

describe.skipIf(reason !== undefined)(`submissions to a real SLURM with limits${reason === undefined ? '' : ` (${reason})`}`, () => {
  let lab: SlurmLab
  let made = 0
  beforeAll(async () => {
    lab = await startSlurmLab({
      accounting: 'dbd',
      maxArraySize: 5,
      enforce: 'limits,qos',
      limits: [['modify', 'qos', 'normal', 'set', `MaxSubmitJobsPerUser=${MOST_JOBS}`]],
    })
  }, TIMEOUT_MS)
  afterAll(() => lab?.[Symbol.asyncDispose]())

  function makeJob(lines: string, fields: Partial<JobSpec> = {}): JobSpec {
    made += 1
    const runDirectory = join(lab.base, 'the run')
    const directory = join(runDirectory, `job ${made}`)
    mkdirSync(directory, { recursive: true })
    return {
      tag: `limits-${process.pid}-${made}`,
      name: 'limits',
      script: `#!/bin/sh\n${lines}\n`,
      directory,
      runDirectory,
      resources: {},
      ...fields,
    }
  }

  async function allEnded(scheduler: Scheduler, handles: readonly JobHandle[]): Promise<void> {
    const signal = AbortSignal.timeout(120_000)
    while (!(await scheduler.observe(handles)).every(({ state }) => state === 'ended')) await scheduler.changed?.({ signal })
  }

  /** SLURM counts a job for a moment after its end. */
  const nothingLeft = (): Promise<void> =>
    until(async () => (await lab.bed.run(['squeue', '-h'])).stdout.trim() === '', 'nothing is in the queue')

  const ledgerOf = ({ directory }: JobSpec): Promise<string> => readFile(join(directory, 'ledger'), 'utf8').catch(() => '')

  it(
    'come back as rejected over a limit of the user, in SLURM’s words, and run once each when there is room again',
    async () => {
      await using scheduler = lab.connect()
      const jobs = Array.from({ length: 15 }, () => makeJob('echo ran >>ledger; sleep 1'))
      const waiting = new Set(jobs)
      const handles: JobHandle[] = []
      const said = new Set<string>()
      const began = Date.now()
      for (let round = 0; waiting.size > 0; round += 1) {
        expect(round).toBeLessThan(60)
        const batch = [...waiting]
        const outcomes = await scheduler.submit(batch)
        outcomes.forEach((outcome, position) => {
          if (outcome.outcome === 'submitted') {
            handles.push(outcome.handle)
            waiting.delete(batch[position] as JobSpec)
          } else {
            expect(outcome.outcome).toBe('rejected')
            said.add(outcome.message)
          }
        })
        if (waiting.size > 0) {
          await allEnded(scheduler, handles)
          await nothingLeft()
        }
      }
      await allEnded(scheduler, handles)
      expect([...said].join('\n')).toMatch(/QOSMaxSubmitJobPerUserLimit/)
      expect(new Set(handles.map(({ nativeId }) => nativeId)).size).toBe(15)
      expect(await Promise.all(jobs.map(ledgerOf))).toEqual(jobs.map(() => 'ran\n'))
      expect(lab.bed.calls(began).sbatch).toBeLessThan(40)
    },
    TIMEOUT_MS,
  )

  it(
    'fit into arrays that SLURM takes, and into packs',
    async () => {
      await using scheduler = lab.connect()
      await nothingLeft()
      const began = Date.now()
      const packed = [3, 0, 5, 0].map((code) => makeJob(`echo ran >>ledger; exit ${code}`, { pack: 3 }))
      const outcomes = await scheduler.submit(packed)
      const handles = outcomes.flatMap((one) => (one.outcome === 'submitted' ? [one.handle] : []))
      expect(handles.map(({ nativeId }) => nativeId.replace(/^\d+/, ''))).toEqual(['_0/0', '_0/1', '_0/2', '_1/0'])
      expect(lab.bed.calls(began).sbatch).toBe(1)
      await allEnded(scheduler, handles)
      const records = await Promise.all(packed.map((job) => scheduler.exitRecord(job)))
      expect(records.map((record) => record?.exitCode)).toEqual([3, 0, 5, 0])
      expect(await Promise.all(packed.map(ledgerOf))).toEqual(packed.map(() => 'ran\n'))
      await nothingLeft()
      const many = Array.from({ length: MOST_JOBS }, () => makeJob('true'))
      const taken = await scheduler.submit(many)
      expect(taken.map(({ outcome }) => outcome)).toEqual(many.map(() => 'submitted'))
      expect(lab.bed.calls(began).sbatch).toBe(3)
      await allEnded(
        scheduler,
        taken.flatMap((one) => (one.outcome === 'submitted' ? [one.handle] : [])),
      )
    },
    TIMEOUT_MS,
  )

  it(
    'end one member of a pack alone',
    async () => {
      await using scheduler = lab.connect()
      await nothingLeft()
      const jobs = ['echo up >up; exec sleep 600', 'echo ran >>ledger'].map((lines) => makeJob(lines, { pack: 2 }))
      const outcomes = await scheduler.submit(jobs)
      const handles = outcomes.flatMap((one) => (one.outcome === 'submitted' ? [one.handle] : []))
      expect(handles).toHaveLength(2)
      await until(async () => (await lab.readFile(join(jobs[0]?.directory ?? '', 'up'))) !== undefined, 'the first job runs')
      await scheduler.cancel(handles.slice(0, 1))
      await allEnded(scheduler, handles)
      const records = await Promise.all(jobs.map((job) => scheduler.exitRecord(job)))
      expect(records.map((record) => record?.reason)).toEqual(['canceled', 'exited'])
      expect(await ledgerOf(jobs[1] as JobSpec)).toBe('ran\n')
    },
    TIMEOUT_MS,
  )
})
