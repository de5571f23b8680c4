import type { SweepChange } from '@cahier/core'
import { Flags } from '@oclif/core'
import { adapterSources } from '../../adapter-sources.js'
import { CahierCommand } from '../../base-command.js'
import { runArgument } from '../../common.js'
import { campaignFileOf, findRunDirectory } from '../../run-directory.js'
import { formatChange } from '../../run-text.js'

export default class SweepSet extends CahierCommand {
  static override summary = 'Give an edited campaign to a run: show the difference, or apply it.'
  static override description =
    'Done work that the campaign still asks for stays done; what it no longer asks for is set aside, and counts again when it is asked for again.'
  static override examples = [
    { description: 'Show what the edit of the campaign file would change', command: '<%= config.bin %> sweep set' },
    { description: 'Change it', command: '<%= config.bin %> sweep set --apply' },
  ]
  static override args = { directory: runArgument }
  static override flags = {
    campaign: Flags.string({ description: 'Campaign file. Default: the one that the run was begun with.' }),
    apply: Flags.boolean({ description: 'Change the sweep; without it the difference is only shown.' }),
  }

  async run(): Promise<SweepChange> {
    const { args, flags } = await this.parse(SweepSet)
    const directory = await findRunDirectory(args.directory)
    const campaign = flags.campaign ?? (await campaignFileOf(directory))
    const core = await this.core()
    const change = await core.setSweep(directory, { campaign, apply: flags.apply, adapters: await adapterSources(this.config) })
    this.log(formatChange(change))
    return change
  }
}
