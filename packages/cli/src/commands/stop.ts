import type { StoppedRun } from '@cahier/core'
import { Flags } from '@oclif/core'
import { adapterSources } from '../adapter-sources.js'
import { CahierCommand } from '../base-command.js'
import { runArgument } from '../common.js'
import { EXIT_CODES } from '../exit-codes.js'
import { findRunDirectory } from '../run-directory.js'
import { formatStop } from '../run-text.js'

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

  async run(): Promise<StoppedRun> {
    const { args, flags } = await this.parse(Stop)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const left = new AbortController()
    process.once('SIGINT', () => left.abort())
    const stopped = await core.stopRun(directory, {
      cancelJobs: flags['cancel-jobs'],
      adapters: await adapterSources(this.config),
      signal: left.signal,
    })
    this.log(formatStop(stopped, flags['cancel-jobs']))
    if (left.signal.aborted) this.endWith(EXIT_CODES.detached.code)
    return stopped
  }
}
