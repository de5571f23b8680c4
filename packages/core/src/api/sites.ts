import type { SiteReport } from '../model/site-report.js'
import { folderOf, usedSites } from './jobs/site-access.js'
import { type CheckSiteOptions, checkSite } from './sites/check-site.js'
import { type ListedSite, listSites as listSitesOf } from './sites/list-sites.js'

export type { CheckSiteOptions, ListedSite }

/**
 * The sites that a campaign of a folder can name, from the configuration beside it and from the user's own. Asks none of them.
 *
 * @param directory - default: the current folder
 * @throws ConfigError `E_SITE_INVALID`
 */
export async function listSites(directory?: string): Promise<readonly ListedSite[]> {
  return await listSitesOf(folderOf({ directory }))
}

/**
 * Tries everything that a campaign would need of sites: the way there, the scheduler with its limits and queues, the files, the clock; with
 * `job` the whole way of a job. Sites are tried at the same time, and each report says all that was found.
 *
 * @param sites - default: those that the configuration names
 * @throws ConfigError `E_NOT_FOUND`, `E_SITE_INVALID`
 */
export async function checkSites(sites?: readonly string[], options: CheckSiteOptions = {}): Promise<readonly SiteReport[]> {
  const used = await usedSites(folderOf(options), sites)
  return await Promise.all(used.map((site) => checkSite(site, options)))
}
