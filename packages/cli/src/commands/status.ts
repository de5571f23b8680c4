import type { RunStatus } from '@cahier/core'
import { CahierCommand } from '../base-command.js'
import { runArgument } from '../common.js'
import { formatResults } from '../results-text.js'
import { findRunDirectory } from '../run-directory.js'
import { formatStatus } from '../run-text.js'

export default class Status extends CahierCommand {
  static override summary = 'Say where a run stands.'
  static override description =
    'Reads the journal of the run and nothing else: no scheduler is asked, and a run that is going on is not disturbed.\nOf a finished run it ends with the results.'
  static override examples = [
    { description: 'The newest run of this folder', command: '<%= config.bin %> status' },
    { description: 'For a program', command: '<%= config.bin %> status --json' },
  ]
  static override args = { directory: runArgument }

  async run(): Promise<RunStatus> {
    const { args } = await this.parse(Status)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const status = await core.readStatus(directory)
    this.log(formatStatus(status, core))
    if (status.state === 'finished' && !this.jsonEnabled())
      this.logResults(formatResults(await core.readResults(directory), directory, core))
    return status
  }
}
