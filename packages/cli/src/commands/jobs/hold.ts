import type { OrderedJob } from '@cahier/core'
import { jobArgs, jobFlags, ORDER_EXIT_CODE } from '../../job-flags.js'
import { OrderCommand } from '../../order-command.js'

export default class JobsHold extends OrderCommand {
  static override summary = 'Hold jobs back that wait.'
  static override description = `They do not start until they are released.
${ORDER_EXIT_CODE}`
  static override usage = 'jobs hold JOB... [flags]'
  static override examples = [
    { description: 'One job by its id', command: '<%= config.bin %> jobs hold 1234' },
    { description: 'By the directory that submit made', command: '<%= config.bin %> jobs hold cahier-jobs/bench_20261122-101500_1f3a9c' },
  ]
  static override strict = false
  static override args = jobArgs
  static override flags = jobFlags

  async run(): Promise<readonly OrderedJob[]> {
    const { argv, flags } = await this.parse(JobsHold)
    return await this.order('hold', argv as string[], flags)
  }
}
