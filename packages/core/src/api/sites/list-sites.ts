import { readSiteFiles, readSites } from '../site-config.js'

/** One site of the configuration. */
export interface ListedSite {
  readonly name: string
  readonly host: string | null
  readonly scheduler: string
  readonly queue: string | null
  readonly account: string | null
  readonly workDirectory: string | null
  /** Its jobs see the files of this machine under the same names. */
  readonly sharedFiles: boolean
  readonly isDefault: boolean
  /** Where it is described; `null`: it is always there. */
  readonly file: string | null
}

/** The sites that a campaign of this folder can name. Asks none of them. */
export async function listSites(directory: string): Promise<readonly ListedSite[]> {
  const [{ sites, defaultSite }, files] = await Promise.all([readSites(directory), readSiteFiles(directory)])
  return Object.entries(sites).map(([name, site]): ListedSite => {
    const sharedFiles = site.sharedFiles ?? site.host === undefined
    return {
      name,
      host: site.host ?? null,
      scheduler: site.scheduler,
      queue: site.queue ?? null,
      account: site.account ?? null,
      workDirectory: sharedFiles ? null : (site.workDirectory ?? null),
      sharedFiles,
      isDefault: name === defaultSite,
      file: files.find(({ config }) => name in config.sites)?.file ?? null,
    }
  })
}
