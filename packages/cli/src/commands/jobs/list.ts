import type { SiteJobs } from '@cahier/core'
import { Flags } from '@oclif/core'
import { adapterSources } from '../../adapter-sources.js'
import { CahierCommand } from '../../base-command.js'
import { readError, type ShownError } from '../../error-text.js'
import { EXIT_CODES } from '../../exit-codes.js'
import { formatJobs } from '../../jobs-text.js'
import { terminalWidth } from '../../table.js'

type ListedSiteJobs = Omit<SiteJobs, 'error'> & { readonly error?: ShownError }

export default class JobsList extends CahierCommand {
  static override summary = 'List your jobs in the queues of sites.'
  static override description =
    `All jobs of yours that the queue shows, whoever submitted them. The last column says which were submitted from this folder, and which belong to a campaign.
Exit code 1 when a site did not answer; the jobs of the others are listed all the same.`
  static override examples = [
    { description: 'On all sites of cahier.config', command: '<%= config.bin %> jobs list' },
    { description: 'On one site, also those that ended a moment ago', command: '<%= config.bin %> jobs list --site local --all' },
  ]
  static override flags = {
    site: Flags.string({
      description: 'Site of cahier.config. May be given again. Default: all of them.',
      multiple: true,
      multipleNonGreedy: true,
    }),
    all: Flags.boolean({ char: 'a', description: 'Also jobs that have ended and are still shown.' }),
    dir: Flags.string({ description: 'Folder with cahier.config and cahier-jobs.', default: '.' }),
  }

  async run(): Promise<readonly ListedSiteJobs[]> {
    const { flags } = await this.parse(JobsList)
    const core = await this.core()
    const sites = await core.listJobs(flags.site, { directory: flags.dir, adapters: await adapterSources(this.config) })
    this.log(formatJobs(sites, core, { all: flags.all, width: terminalWidth() }))
    if (sites.some(({ error }) => error !== undefined)) this.endWith(EXIT_CODES.error.code)
    await core.closeConnections()
    return sites.map(({ error, jobs, ...site }) => ({
      ...site,
      jobs: flags.all ? jobs : jobs.filter(({ state }) => state !== 'ended'),
      ...(error === undefined ? {} : { error: readError(error) }),
    }))
  }
}
