import type { OrderedJob } from '@cahier/core'
import { jobArgs, jobFlags, ORDER_EXIT_CODE } from '../../job-flags.js'
import { OrderCommand } from '../../order-command.js'

export default class JobsRelease extends OrderCommand {
  static override summary = 'Let held jobs go.'
  static override description = `They start when their turn comes.
${ORDER_EXIT_CODE}`
  static override usage = 'jobs release JOB... [flags]'
  static override examples = [
    { description: 'One job by its id', command: '<%= config.bin %> jobs release 1234' },
    {
      description: 'By the directory that submit made',
      command: '<%= config.bin %> jobs release cahier-jobs/bench_20261122-101500_1f3a9c',
    },
  ]
  static override strict = false
  static override args = jobArgs
  static override flags = jobFlags

  async run(): Promise<readonly OrderedJob[]> {
    const { argv, flags } = await this.parse(JobsRelease)
    return await this.order('release', argv as string[], flags)
  }
}
