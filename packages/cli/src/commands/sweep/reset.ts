import type { ItemState } from '@cahier/core'
import { Flags } from '@oclif/core'
import { CahierCommand } from '../../base-command.js'
import { runArgument } from '../../common.js'
import { findRunDirectory } from '../../run-directory.js'

export default class SweepReset extends CahierCommand {
  static override summary = 'Put all work items in some states back on the list.'
  static override description =
    'What was tried before is kept; the next "cahier run" does it again as a new attempt. "done" has to be named: it repeats work.'
  static override examples = [
    { description: 'Do again what gave an invalid result', command: '<%= config.bin %> sweep reset --state invalid' },
  ]
  static override args = { directory: runArgument }
  static override flags = {
    state: Flags.string({
      description: 'State to take back; may be repeated.',
      options: ['failed', 'invalid', 'done'] as const satisfies readonly ItemState[],
      multiple: true,
      multipleNonGreedy: true,
      required: true,
    }),
  }

  async run(): Promise<{ readonly count: number }> {
    const { args, flags } = await this.parse(SweepReset)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const reset = await core.resetSweep(directory, { states: flags.state as ItemState[] })
    this.log(`${reset.count} work ${reset.count === 1 ? 'item' : 'items'} to do again`)
    return reset
  }
}
