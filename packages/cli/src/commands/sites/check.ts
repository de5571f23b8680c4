import type { SiteReport } from '@cahier/core'
import { Args, Flags } from '@oclif/core'
import { adapterSources } from '../../adapter-sources.js'
import { CahierCommand } from '../../base-command.js'
import { EXIT_CODES } from '../../exit-codes.js'
import { readDuration } from '../../job-flags.js'
import { formatReport } from '../../sites-text.js'
import { listenForStop } from '../../stop-signals.js'
import { terminalWidth } from '../../table.js'

export default class SitesCheck extends CahierCommand {
  static override summary = 'Try all that a campaign needs of sites, and say what is wrong.'
  static override description =
    `The way to the host and the login, the scheduler with its version, limits and queues, the queue and the account of the site,
the work directory, the clock. Everything that can be tried is tried, with one login for each host.
Exit code 1 when something failed; 0 when all is well or only worth a warning.`
  static override usage = 'sites check [SITE...] [flags]'
  static override examples = [
    { description: 'All sites of cahier.config', command: '<%= config.bin %> sites check' },
    { description: 'One of them, with a job that really runs', command: '<%= config.bin %> sites check local --job' },
  ]
  static override strict = false
  static override args = { site: Args.string({ description: 'Sites of cahier.config. Default: all of them.' }) }
  static override flags = {
    job: Flags.boolean({ description: 'Submit the smallest job, too, and wait until its record is seen.' }),
    'job-timeout': Flags.string({ description: 'How long that job may wait in the queue.', default: '5min', helpValue: 'DURATION' }),
    dir: Flags.string({ description: 'Folder with cahier.config.', default: '.' }),
  }

  async run(): Promise<readonly SiteReport[]> {
    const { argv, flags } = await this.parse(SitesCheck)
    const core = await this.core()
    const jobTimeoutMs = readDuration(core, 'job-timeout', flags['job-timeout'])
    using stop = listenForStop(
      (text) => this.logToStderr(text),
      () => process.exit(EXIT_CODES.detached.code),
      'Giving up. Ctrl-C again leaves at once.',
    )
    const reports = await core.checkSites(argv as string[], {
      directory: flags.dir,
      job: flags.job,
      jobTimeoutMs,
      adapters: await adapterSources(this.config),
      signal: stop.signal,
    })
    for (const [index, report] of reports.entries()) {
      this.log(`${index === 0 ? '' : '\n'}${formatReport(report, core, terminalWidth())}`)
    }
    if (reports.some(({ ok }) => !ok)) this.endWith(EXIT_CODES.error.code)
    await core.closeConnections()
    return reports
  }
}
