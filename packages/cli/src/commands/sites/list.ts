import { homedir } from 'node:os'
import type { ListedSite } from '@cahier/core'
import { Flags } from '@oclif/core'
import { CahierCommand } from '../../base-command.js'
import { formatSites } from '../../sites-text.js'
import { terminalWidth } from '../../table.js'

export default class SitesList extends CahierCommand {
  static override summary = 'List the sites that a campaign can name.'
  static override description = `From cahier.config in this folder, then from that of your configuration folder. Asks none of them.`
  static override examples = [
    { description: 'Seen from the campaign of this folder', command: '<%= config.bin %> sites list' },
    { description: 'For a program', command: '<%= config.bin %> sites list --json' },
  ]
  static override flags = { dir: Flags.string({ description: 'Folder with cahier.config.', default: '.' }) }

  async run(): Promise<readonly ListedSite[]> {
    const { flags } = await this.parse(SitesList)
    const core = await this.core()
    const sites = await core.listSites(flags.dir)
    this.log(formatSites(sites, homedir(), terminalWidth()))
    return sites
  }
}
