import type { RunPlan } from '@cahier/core'
import { Args, Flags } from '@oclif/core'
import { adapterSources } from '../adapter-sources.js'
import { CahierCommand } from '../base-command.js'
import { findCampaignFile } from '../campaign-file.js'
import { findRunOf } from '../run-directory.js'
import { formatPlan } from '../run-text.js'

export default class Plan extends CahierCommand {
  static override summary = 'Show what a run would do. Touches nothing.'
  static override description =
    `Counts the work, bounds the core-hours, shows the difference to what is already done, and prints the first jobs exactly as they would be submitted.
On a batch system also the first submissions with their commands, how many jobs share one, and the limits that will be hit.`
  static override examples = [
    { description: 'See the first job of the campaign of this folder', command: '<%= config.bin %> plan' },
    { description: 'Count only, for a program', command: '<%= config.bin %> plan campaign.yaml --samples 0 --json' },
    { description: 'Against the limits that the site has now', command: '<%= config.bin %> plan --check --samples 0' },
  ]
  static override args = {
    campaign: Args.string({ description: 'Campaign file, or a folder with one. Default: the campaign of this folder.' }),
  }
  static override flags = {
    dir: Flags.string({ description: 'Run directory to compare with. Default: the newest run of this campaign in the present folder.' }),
    site: Flags.string({ description: 'Site of cahier.config to plan for.' }),
    samples: Flags.integer({ description: 'Jobs and submissions to print in full.', default: 1, min: 0 }),
    check: Flags.boolean({ description: 'Ask the sites for their limits. Without it what such schedulers usually have is taken.' }),
  }

  async run(): Promise<RunPlan> {
    const { args, flags } = await this.parse(Plan)
    const file = await findCampaignFile(args.campaign)
    const core = await this.core()
    const campaign = await core.loadCampaign(file)
    const plan = await core.planRun({
      campaign,
      samples: flags.samples,
      directory: flags.dir ?? (await findRunOf(campaign.file)),
      site: flags.site,
      check: flags.check,
      adapters: await adapterSources(this.config),
    })
    this.log(formatPlan(plan, core))
    await core.closeConnections()
    return plan
  }
}
