import type { RunSummary } from '@cahier/core'
import { Args, Flags } from '@oclif/core'
import { adapterSources } from '../adapter-sources.js'
import { CahierCommand } from '../base-command.js'
import { findCampaignFile } from '../campaign-file.js'
import { openDisplay } from '../display.js'
import { EXIT_CODES, exitCodeOfRun } from '../exit-codes.js'
import { formatResults } from '../results-text.js'
import { findRunOf } from '../run-directory.js'
import { formatSummary } from '../run-text.js'
import { listenForStop } from '../stop-signals.js'

export default class Run extends CahierCommand {
  static override summary = 'Run a campaign, or resume it.'
  static override description = `Plans the campaign, gives its jobs to the site's scheduler, collects the results and writes the report.
In a folder where this campaign was run before, it goes on where that run stopped: nothing that is done is done again.
Ctrl-C once: nothing more is claimed, jobs go on. Twice: leave now.`
  static override examples = [
    { description: 'Run the campaign of this folder, or resume it', command: '<%= config.bin %> run' },
    {
      description: 'Begin a new run with at most 4 jobs at a time',
      command: '<%= config.bin %> run campaign.yaml --new --max-in-flight 4',
    },
  ]
  static override args = {
    campaign: Args.string({ description: 'Campaign file, or a folder with one. Default: the campaign of this folder.' }),
  }
  static override flags = {
    dir: Flags.string({ description: 'Run directory to begin or to resume.', exclusive: ['new'] }),
    site: Flags.string({ description: 'Site of cahier.config to run on.' }),
    new: Flags.boolean({ description: 'Begin a new run even when there is one to resume.' }),
    'accept-changes': Flags.boolean({ description: 'Go on although the campaign file was changed; done work is kept.' }),
    'max-in-flight': Flags.integer({ description: 'Jobs given to the scheduler at a time.', min: 1 }),
  }

  async run(): Promise<RunSummary> {
    const { args, flags } = await this.parse(Run)
    const file = await findCampaignFile(args.campaign)
    const core = await this.core()
    const campaign = await core.loadCampaign(file)
    const directory = flags.dir ?? (flags.new ? undefined : await findRunOf(campaign.file))
    const display = await openDisplay({ lines: this.jsonEnabled() ? process.stderr : process.stdout, bar: process.stderr, core })
    try {
      using stop = listenForStop(display.say, () => {
        display.close()
        process.exit(EXIT_CODES.detached.code)
      })
      const summary = await core.runCampaign({
        campaign,
        directory,
        fresh: flags.new,
        site: flags.site,
        acceptChanges: flags['accept-changes'],
        maxInFlight: flags['max-in-flight'],
        adapters: await adapterSources(this.config),
        signal: stop.signal,
        onEvent: display.show,
      })
      display.close()
      this.log(formatSummary(summary, args.campaign, core))
      if (!this.jsonEnabled()) this.logResults(formatResults(await core.readResults(summary.directory), summary.directory, core))
      this.endWith(exitCodeOfRun(summary))
      return summary
    } finally {
      display.close()
    }
  }
}
