import type { ShownSweep } from '@cahier/core'
import { CahierCommand } from '../../base-command.js'
import { runArgument } from '../../common.js'
import { toJson } from '../../json.js'
import { findRunDirectory } from '../../run-directory.js'
import { formatCounts } from '../../run-text.js'

export default class SweepShow extends CahierCommand {
  static override summary = 'Show the sweep of a run: what it asks for, and how much of it is done.'
  static override description = 'Reads the journal of the run; nothing is changed.'
  static override examples = [{ description: 'Of the newest run of this folder', command: '<%= config.bin %> sweep show' }]
  static override args = { directory: runArgument }

  async run(): Promise<ShownSweep> {
    const { args } = await this.parse(SweepShow)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const sweep = await core.showSweep(directory)
    this.log(
      `${sweep.campaign}, revision ${sweep.revision}: ${formatCounts(sweep.counts)}\n  ${sweep.directory}\n${toJson(sweep.definition)}`,
    )
    return sweep
  }
}
