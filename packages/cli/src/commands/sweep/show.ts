import { CahierCommand } from '../../base-command.js'
import { runArgument } from '../../common.js'
import { findRunDirectory } from '../../run-directory.js'

export default class SweepShow extends CahierCommand {
  static override summary = 'Show the sweep of a run: factors, levels and counts.'
  static override description = 'Reads the journal and the manifest of the run; nothing is changed.'
  static override examples = [{ description: 'Of the newest run of this folder', command: '<%= config.bin %> sweep show' }]
  static override args = { directory: runArgument }

  async run(): Promise<unknown> {
    const { args } = await this.parse(SweepShow)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const sweep = await core.showSweep(directory)
    return sweep
  }
}
