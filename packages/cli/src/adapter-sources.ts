import type { AdapterSources } from '@cahier/core'
import type { Config } from '@oclif/core'
import { relinkCore } from './plugin-directory.js'

/** Where this program looks for adapters beside the campaign's folder: what it was given to install, then what it brings itself. */
export async function adapterSources(config: Pick<Config, 'dataDir' | 'root'>): Promise<AdapterSources> {
  await relinkCore(config.dataDir)
  return {
    roots: [
      { origin: 'plugins', directory: config.dataDir },
      { origin: 'official', directory: config.root },
    ],
  }
}
