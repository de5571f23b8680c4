import type { JobSpec } from '../../../src/model/job.js'
import type { ReadyJob } from '../../../src/scheduler/batch/group-jobs.js'

let made = 0

/** A job that was checked, as a test needs it. */
export function readyJob(fields: Partial<JobSpec> = {}, rest: Partial<Omit<ReadyJob, 'job'>> = {}): ReadyJob {
  made += 1
  const job: JobSpec = {
    tag: `t${made}`,
    name: 'test',
    script: '#!/bin/sh\ntrue\n',
    directory: `/run/jobs/${made}`,
    runDirectory: '/run',
    resources: {},
    ...fields,
  }
  return { job, user: { lines: [], resources: {}, ignored: [] }, options: {}, dependencies: [], ...rest }
}
