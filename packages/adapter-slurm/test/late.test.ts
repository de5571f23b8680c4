import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { JobSpec } from '@cahier/core/spi'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { slurmUnavailable } from '../../../test/testbed/slurm.mjs'
import { type SlurmLab, startSlurmLab, until } from './slurm-lab.js'

const TIMEOUT_MS = 240_000
const reason = slurmUnavailable({ accounting: 'none' })

describe.skipIf(reason !== undefined)(`a controller of SLURM that stood still${reason === undefined ? '' : ` (${reason})`}`, () => {
  let lab: SlurmLab
  beforeAll(async () => {
    lab = await startSlurmLab({ accounting: 'none' })
  }, TIMEOUT_MS)
  afterAll(() => lab?.[Symbol.asyncDispose]())

  it(
    'runs nothing of what lay in its socket and was given up',
    async () => {
      await using scheduler = lab.connect()
      await scheduler.open()
      const jobs = [0, 1, 2].map((n): JobSpec => {
        const runDirectory = join(lab.base, 'the run')
        const directory = join(runDirectory, `job ${n}`)
        mkdirSync(directory, { recursive: true })
        const script = '#!/bin/sh\necho ran >>ledger\n'
        return { tag: `late-${process.pid}-${n}`, name: 'late', script, directory, runDirectory, resources: { cores: n < 2 ? 1 : 2 } }
      })
      const thaw = lab.bed.freezeController()
      try {
        const outcomes = await scheduler.submit(jobs)
        expect(outcomes.map(({ outcome }) => outcome)).toContain('uncertain')
        await scheduler.giveUp?.(jobs)
      } finally {
        thaw()
      }
      const shown = async (): Promise<string> => (await lab.bed.run(['squeue', '-h', '-t', 'all', '-o', '%j %T'])).stdout
      await until(async () => (await shown()).includes('FAILED'), 'what was asked for before has come and ended')
      await until(async () => !/PENDING|RUNNING|COMPLETING/.test(await shown()), 'nothing is left in the queue')
      expect(jobs.map(({ directory }) => existsSync(join(directory, 'ledger')))).toEqual([false, false, false])
    },
    TIMEOUT_MS,
  )
})
