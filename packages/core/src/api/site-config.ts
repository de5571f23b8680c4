import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { z } from 'zod'
import { describeIssues, formatPath } from '../engine/campaign-issues.js'
import { ConfigError, isCampaignError } from '../errors.js'
import type { ConnectionOptions } from '../model/connection.js'
import { type Site, type SiteConfig, siteConfigSchema, siteSchema } from '../model/site.js'
import { nearestName } from '../util/nearest.js'
import { mergeConnections, setConnectionDefaults } from './connections.js'
import { setHostGroups } from './hosts.js'
import { LOADABLE, type LoadedFile, loadFile } from './load-module.js'
import { setTransferDefaults } from './transfer-options.js'

/** A site by its name. */
export type NamedSite = Site & { readonly name: string }

/** The folder of a user's own configuration. */
export function userConfigDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  return join(environment['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'cahier')
}

/**
 * Reads the sites that a campaign can use: `cahier.config.{ts,js,yaml}` beside the campaign, then that of the user's
 * configuration folder. `local`, this machine, is always there.
 *
 * @throws ConfigError `E_SITE_INVALID`
 */
export async function readSites(directory: string): Promise<SiteConfig> {
  const [near, far] = await readSiteFiles(directory)
  const connection = mergeConnections(far?.config.connection, near?.config.connection)
  const transfer = near?.config.transfer ?? far?.config.transfer
  return {
    sites: { local: siteSchema.parse({}), ...far?.config.sites, ...near?.config.sites },
    defaultSite: near?.defaultSite ?? far?.defaultSite ?? 'local',
    groups: { ...far?.config.groups, ...near?.config.groups },
    ...(Object.keys(connection).length > 0 ? { connection } : {}),
    ...(transfer === undefined ? {} : { transfer }),
  }
}

/** One configuration file. */
export interface SiteFile {
  /** Absolute. */
  readonly file: string
  readonly config: SiteConfig
  /** As it was written: a file that says nothing of it leaves the word to the next one. */
  readonly defaultSite: string | undefined
}

/**
 * The configuration files that count for a folder, the nearest first: what stands in the first one wins.
 *
 * @throws ConfigError `E_SITE_INVALID`
 */
export async function readSiteFiles(directory: string): Promise<readonly SiteFile[]> {
  const files: SiteFile[] = []
  for (const folder of new Set([resolve(directory), userConfigDirectory()])) {
    const file = configIn(folder)
    if (file !== undefined) files.push(await readSiteConfig(file))
  }
  return files
}

function configIn(folder: string): string | undefined {
  return LOADABLE.map((extension) => join(folder, `cahier.config${extension}`)).find((path) => existsSync(path))
}

/** Where a group was looked for, for somebody who is in another folder than they think. */
function placesOf(directory: string): string {
  const folders = [resolve(directory), userConfigDirectory()]
  const places = folders.map((folder) => configIn(folder) ?? `${join(folder, 'cahier.config')} (${LOADABLE.join(' ')}), which is not there`)
  return `looked for in ${places.join(' and in ')}; not in the folders above`
}

export interface UseConfigurationOptions {
  /** Beside what the configuration is looked for; default: the current folder. */
  readonly directory?: string
  /** The site whose connection and transfer options count, over those of the whole file. Default: those of the whole file alone. */
  readonly site?: string
}

/**
 * Takes what `cahier.config` says about hosts for this program: its groups, how hosts are reached, and what moves files.
 *
 * ```ts
 * await useConfiguration()
 * await new Remote('uptime', '@compute').run()
 * ```
 *
 * @throws ConfigError `E_SITE_INVALID`, `E_NOT_FOUND`
 */
export async function useConfiguration(options: UseConfigurationOptions = {}): Promise<SiteConfig> {
  const directory = options.directory ?? process.cwd()
  const config = await readSites(directory)
  const site = options.site === undefined ? undefined : siteOf(config, options.site)
  setConnectionDefaults(mergeConnections(config.connection, site?.connection))
  setTransferDefaults(site?.transfer ?? config.transfer ?? {})
  setHostGroups(config.groups, placesOf(directory))
  return config
}

async function readSiteConfig(file: string): Promise<SiteFile> {
  const { value, lineOf } = await loadConfig(file)
  const checked = siteConfigSchema.safeParse(value ?? {})
  if (checked.success) {
    const written = value as (ConnectionsWritten & { readonly defaultSite?: string }) | undefined
    return { file, config: asWritten(checked.data, written), defaultSite: written?.defaultSite }
  }
  const issues = describeIssues(checked.error, siteConfigSchema)
  const tell = issues.map(
    ({ path, message }) => `${lineOf(path) === undefined ? '' : `line ${lineOf(path)}: `}${formatPath(path)}: ${message}`,
  )
  throw new ConfigError('E_SITE_INVALID', `${file} does not fit the schema: ${tell.join('; ')}`, {
    suggestions: issues.flatMap((issue) => issue.suggestion ?? []),
  })
}

async function loadConfig(file: string): Promise<LoadedFile> {
  try {
    return await loadFile(file)
  } catch (error) {
    // It is no campaign that cannot be read.
    if (!isCampaignError(error) || !error.code.startsWith('E_CAMPAIGN_')) throw error
    const { message, suggestions, data, cause } = error
    throw new ConfigError('E_SITE_INVALID', message, { suggestions, data, cause })
  }
}

interface ConnectionsWritten {
  readonly connection?: ConnectionOptions
  readonly sites?: Readonly<Record<string, { readonly connection?: ConnectionOptions }>>
}

/** Connection options without the defaults that the schema put in: those would win over what is written further out. */
function asWritten(config: z.output<typeof siteConfigSchema>, written: ConnectionsWritten | undefined): SiteConfig {
  const sites = Object.entries(config.sites).map(([name, site]): [string, Site] => {
    const connection = written?.sites?.[name]?.connection
    return [name, connection === undefined ? site : { ...site, connection }]
  })
  return { ...config, sites: Object.fromEntries(sites), connection: written?.connection }
}

/** @throws ConfigError `E_NOT_FOUND` with the nearest known site */
export function siteOf(config: SiteConfig, name: string | undefined): NamedSite {
  const wanted = name ?? config.defaultSite
  const site = config.sites[wanted]
  if (site !== undefined) return { name: wanted, ...site }
  const known = Object.keys(config.sites)
  const nearest = nearestName(wanted, known)
  throw new ConfigError('E_NOT_FOUND', `there is no site ${wanted}`, {
    suggestions: [
      nearest === undefined ? `Known sites: ${known.join(', ')}` : `Did you mean ${nearest}?`,
      'Sites are described beside the campaign, or in ~/.config/cahier: go to the folder of cahier.config.yaml, or name it with --dir',
    ],
    data: { known },
  })
}
