import type { OrderedJob } from '@cahier/core'
import { jobArgs, jobFlags, ORDER_EXIT_CODE } from '../../job-flags.js'
import { OrderCommand } from '../../order-command.js'

export default class JobsCancel extends OrderCommand {
  static override summary = 'End jobs.'
  static override description =
    `Asks for their end, then looks at the queue for up to 10 s and says what it saw: jobs get some seconds to end by themselves.
${ORDER_EXIT_CODE}`
  static override usage = 'jobs cancel JOB... [flags]'
  static override examples = [
    { description: 'Two jobs by their ids', command: '<%= config.bin %> jobs cancel 1234 1235' },
    { description: 'By the directory that submit made', command: '<%= config.bin %> jobs cancel cahier-jobs/bench_20261122-101500_1f3a9c' },
  ]
  static override strict = false
  static override args = jobArgs
  static override flags = jobFlags

  async run(): Promise<readonly OrderedJob[]> {
    const { argv, flags } = await this.parse(JobsCancel)
    return await this.order('cancel', argv as string[], flags)
  }
}
