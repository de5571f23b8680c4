import type { OrderedJob } from '@cahier/core'
import { jobArgs, jobFlags, ORDER_EXIT_CODE } from '../../job-flags.js'
import { OrderCommand } from '../../order-command.js'

export default class JobsRequeue extends OrderCommand {
  static override summary = 'Put jobs back into the queue.'
  static override description = `A job that runs is ended and waits again, with the same id and the same directory.
${ORDER_EXIT_CODE}`
  static override usage = 'jobs requeue JOB... [flags]'
  static override examples = [
    { description: 'One job by its id', command: '<%= config.bin %> jobs requeue 1234' },
    {
      description: 'By the directory that submit made',
      command: '<%= config.bin %> jobs requeue cahier-jobs/bench_20261122-101500_1f3a9c',
    },
  ]
  static override strict = false
  static override args = jobArgs
  static override flags = jobFlags

  async run(): Promise<readonly OrderedJob[]> {
    const { argv, flags } = await this.parse(JobsRequeue)
    return await this.order('requeue', argv as string[], flags)
  }
}
