import type { Config } from '@oclif/core'
import { relinkCore } from './plugin-directory.js'

/** Where adapters are looked for beside the campaign's own folder. */
export interface PluginPlaces {
  /** What `cahier plugins install` brought. */
  readonly pluginDirectory: string
  /** What this CLI depends on itself. */
  readonly officialDirectory: string
}

/** The places of this CLI, with the plugins' core pointing at its own. */
export async function openPluginPlaces(config: Pick<Config, 'dataDir' | 'root'>): Promise<PluginPlaces> {
  await relinkCore(config.dataDir)
  return { pluginDirectory: config.dataDir, officialDirectory: config.root }
}
