import type { ItemState } from '@cahier/core'
import { Args, Flags } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { findRunDirectory } from '../run-directory.js'

const STATES = ['failed', 'invalid', 'skipped'] as const satisfies readonly ItemState[]

export default class Retry extends CahierCommand {
  static override summary = 'Put work items back on the list.'
  static override description =
    'The next "cahier run" does them again, as a new attempt; what was tried before is kept. Without ITEM: all that failed.'
  static override examples = [
    { description: 'All that failed or gave an invalid result', command: '<%= config.bin %> retry --state failed --state invalid' },
    { description: 'Everything that failed, of a named run', command: '<%= config.bin %> retry --dir .' },
  ]
  static override strict = false
  static override args = { items: Args.string({ description: 'Work items, as status and why name them.', required: false }) }
  static override flags = {
    dir: Flags.string({ description: 'Run directory, or a folder with runs in it (then the newest). Default: the present folder.' }),
    state: Flags.string({ description: 'Take back all items in this state.', options: STATES, multiple: true, multipleNonGreedy: true }),
  }

  async run(): Promise<{ readonly count: number }> {
    const { argv, flags } = await this.parse(Retry)
    const items = argv.map(String)
    const directory = await findRunDirectory(flags.dir)
    const core = await this.core()
    const states = (flags.state ?? (items.length === 0 ? ['failed'] : [])) as ItemState[]
    const retried = await core.retryItems(directory, {
      ...(items.length === 0 ? {} : { items }),
      ...(states.length === 0 ? {} : { states }),
    })
    this.log(`${retried.count} work ${retried.count === 1 ? 'item' : 'items'} to do again${retried.count === 0 ? '' : ': cahier run'}`)
    return retried
  }
}
