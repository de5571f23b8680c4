import type { WrittenReport } from '@cahier/core'
import { CahierCommand } from '../base-command.js'
import { runArgument } from '../common.js'
import { findRunDirectory } from '../run-directory.js'

export default class Report extends CahierCommand {
  static override summary = 'Write the report of a run again.'
  static override description = 'One HTML file with tables and figures that opens without a network, from what is done so far.'
  static override examples = [{ description: 'For the newest run of this folder', command: '<%= config.bin %> report' }]
  static override args = { directory: runArgument }

  async run(): Promise<WrittenReport> {
    const { args } = await this.parse(Report)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const written = await core.writeReport(directory)
    this.log(written.file ?? 'There is nothing to report yet: no result and no failure.')
    return written
  }
}
