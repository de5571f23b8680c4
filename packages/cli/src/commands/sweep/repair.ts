import { resolve } from 'node:path'
import type { RepairReport } from '@cahier/core'
import { CahierCommand } from '../../base-command.js'
import { runArgument } from '../../common.js'
import { findRunDirectory } from '../../run-directory.js'
import { formatRepair } from '../../run-text.js'

export default class SweepRepair extends CahierCommand {
  static override summary = 'Make a damaged journal usable again.'
  static override description =
    'Keeps a copy of the journal as it was found, then every event before the damage and those after it that are whole. What cannot be saved is named.'
  static override examples = [{ description: 'The journal of a run', command: '<%= config.bin %> sweep repair .' }]
  static override args = { directory: runArgument }

  async run(): Promise<RepairReport> {
    const { args } = await this.parse(SweepRepair)
    // A sweep that programs share has a journal and nothing else that would make its folder known as a run.
    const directory = args.directory === undefined ? await findRunDirectory(undefined) : resolve(args.directory)
    const core = await this.core()
    const report = await core.repairJournal(directory)
    this.log(formatRepair(report))
    return report
  }
}
