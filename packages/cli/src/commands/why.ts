import type { ItemReport } from '@cahier/core'
import { Args, Flags } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { findRunDirectory } from '../run-directory.js'
import { formatItem } from '../run-text.js'

export default class Why extends CahierCommand {
  static override summary = 'Tell everything that is known about one work item.'
  static override description = 'Its state and why, every attempt with times and directory, and the last lines of its output.'
  static override examples = [{ description: 'By the id that status shows', command: '<%= config.bin %> why 1f3a9c/r2' }]
  static override args = { item: Args.string({ description: 'Work item: its id, or the beginning of it.', required: true }) }
  static override flags = {
    dir: Flags.string({ description: 'Run directory, or a folder with runs in it (then the newest). Default: the present folder.' }),
  }

  async run(): Promise<ItemReport> {
    const { args, flags } = await this.parse(Why)
    const directory = await findRunDirectory(flags.dir)
    const core = await this.core()
    const item = await core.whyItem(directory, args.item)
    this.log(formatItem(item, core))
    return item
  }
}
