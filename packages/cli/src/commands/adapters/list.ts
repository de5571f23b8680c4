import type { AdapterListing } from '@cahier/core'
import { Flags } from '@oclif/core'
import { adapterSources } from '../../adapter-sources.js'
import { CahierCommand } from '../../base-command.js'
import { formatTable } from '../../table.js'

export default class AdaptersList extends CahierCommand {
  static override summary = 'List the adapters that a site can name.'
  static override description =
    'Reads the manifests of the packages and imports none of them. A name that stands twice is taken from its first line.'
  static override examples = [
    { description: 'Seen from the campaign of this folder', command: '<%= config.bin %> adapters list' },
    { description: 'For a program', command: '<%= config.bin %> adapters list --json' },
  ]
  static override flags = { dir: Flags.string({ description: 'Folder of the campaign.', default: '.' }) }

  async run(): Promise<readonly AdapterListing[]> {
    const { flags } = await this.parse(AdaptersList)
    const core = await this.core()
    const adapters = core.openAdapters(flags.dir, await adapterSources(this.config))
    const listed = await adapters.list()
    const rows = listed.map(({ kind, name, origin, package: from, version, used }) => [
      kind,
      name,
      from === undefined ? 'part of Cahier' : `${from} ${version ?? ''}`.trimEnd(),
      used ? origin : `${origin}, hidden by a line above`,
    ])
    this.log(formatTable(['kind', 'name', 'package', 'found in'], rows))
    return listed
  }
}
