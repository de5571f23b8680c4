#!/usr/bin/env node
/**
 * A computation that is too long for one job: five jobs, each waiting for the one before and going on from the state that it left.
 *
 *   node examples/chained-jobs/chained.mjs            a new run directory in the current folder
 *   node examples/chained-jobs/chained.mjs -c DIR     the run in DIR: begun, or continued
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Engine } from '@cahier/core'

const here = (file) => fileURLToPath(new URL(file, import.meta.url))

class Chained extends Engine {
  static description = 'An example engine: a cooling rod, computed by chained jobs'
  static options = {
    jobs: { type: 'number', default: 5, description: 'number of jobs in the chain' },
    until: { type: 'number', default: 0.1, description: 'end of the computation, in diffusion times of the rod' },
  }

  async init() {
    this.template = readFileSync(here('chained.sh'), 'utf8')
    this.log.info({}, 'using chained.sh as batch script template')
  }

  async run() {
    const { jobs: count, until } = this.options
    this.log.info({}, 'creating jobs')
    const jobs = []
    for (let n = 1; n <= count; n++) {
      const before = jobs.at(-1)
      const job = await this.submit(
        {
          name: `part-${n}`,
          script: this.template,
          values: { program: here('rod.mjs'), from: before?.siteDirectory ?? '', until: (until * n) / count },
          resources: { cores: 1, walltime: '1min' },
        },
        before === undefined ? {} : { after: before },
      )
      jobs.push(job)
    }
    const ends = await this.waitJobs(jobs)
    const failed = ends.findIndex((end) => end.outcome !== 'succeeded')
    if (failed >= 0) throw new Error(`${jobs[failed].name} ${ends[failed].outcome}: ${ends[failed].detail}; see ${jobs[failed].directory}`)

    const { time, amplitude } = JSON.parse(readFileSync(join(jobs.at(-1).directory, 'state.json'), 'utf8'))
    const exact = Math.exp(-(Math.PI ** 2) * time)
    const sentence = `after ${time.toFixed(3)} diffusion times the rod has ${amplitude.toFixed(5)} of its temperature left, theory says ${exact.toFixed(5)}`
    writeFileSync(join(this.resultDir, 'result.txt'), `${sentence}\n`)
    this.log.info({}, sentence)
  }
}

await new Chained().main()
