import { Flags } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { runArgument } from '../common.js'
import { findRunDirectory } from '../run-directory.js'

export default class Stop extends CahierCommand {
  static override summary = 'Stop a run from another terminal.'
  static override description =
    'Asks the process that drives the run to claim nothing more and to leave. Jobs that were submitted go on unless --cancel-jobs is given.'
  static override examples = [
    { description: 'Let the submitted jobs end, start no others', command: '<%= config.bin %> stop' },
    { description: 'End the jobs too', command: '<%= config.bin %> stop --cancel-jobs' },
  ]
  static override args = { directory: runArgument }
  static override flags = { 'cancel-jobs': Flags.boolean({ description: 'Cancel the jobs that were submitted and have not ended.' }) }

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Stop)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const stopped = await core.stopRun(directory, { cancelJobs: flags['cancel-jobs'] })
    this.log(formatStop(stopped))
    return stopped
  }
}
