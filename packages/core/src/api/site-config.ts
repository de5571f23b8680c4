import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { describeIssues, formatPath } from '../engine/campaign-issues.js'
import { ConfigError } from '../errors.js'
import { type Site, type SiteConfig, siteConfigSchema, siteSchema } from '../model/site.js'
import { nearestName } from '../util/nearest.js'
import { LOADABLE, loadFile } from './load-module.js'

/** A site by its name. */
export interface NamedSite extends Site {
  readonly name: string
}

/** The folder of a user's own configuration. */
export function userConfigDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  return join(environment['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'cahier')
}

/**
 * Reads the sites that a campaign can use: `cahier.config.{ts,js,yaml}` beside the campaign, then that of the user's
 * configuration folder. `local`, this machine, is always there.
 *
 * @throws ConfigError `E_SITE_INVALID`, `E_CAMPAIGN_UNREADABLE`
 */
export async function readSites(directory: string): Promise<SiteConfig> {
  const configs: SiteConfig[] = []
  for (const folder of [directory, userConfigDirectory()]) {
    const file = LOADABLE.map((extension) => join(folder, `cahier.config${extension}`)).find((path) => existsSync(path))
    if (file !== undefined) configs.push(await readSiteConfig(file))
  }
  const [near, far] = configs
  return {
    sites: { local: siteSchema.parse({}), ...far?.sites, ...near?.sites },
    defaultSite: near?.defaultSite ?? far?.defaultSite ?? 'local',
  }
}

async function readSiteConfig(file: string): Promise<SiteConfig> {
  const { value, lineOf } = await loadFile(file)
  const checked = siteConfigSchema.safeParse(value ?? {})
  if (checked.success) return checked.data
  const issues = describeIssues(checked.error, siteConfigSchema)
  const tell = issues.map(
    ({ path, message }) => `${lineOf(path) === undefined ? '' : `line ${lineOf(path)}: `}${formatPath(path)}: ${message}`,
  )
  throw new ConfigError('E_SITE_INVALID', `${file} does not fit the schema: ${tell.join('; ')}`, {
    suggestions: issues.flatMap((issue) => issue.suggestion ?? []),
  })
}

/** @throws ConfigError `E_NOT_FOUND` with the nearest known site */
export function siteOf(config: SiteConfig, name: string | undefined): NamedSite {
  const wanted = name ?? config.defaultSite
  const site = config.sites[wanted]
  if (site !== undefined) return { name: wanted, ...site }
  const known = Object.keys(config.sites)
  const nearest = nearestName(wanted, known)
  throw new ConfigError('E_NOT_FOUND', `there is no site ${wanted}`, {
    suggestions: [nearest === undefined ? `Known sites: ${known.join(', ')}` : `Did you mean ${nearest}?`],
    data: { known },
  })
}
