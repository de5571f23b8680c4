import type { OrderedJob } from '@cahier/core'
import { adapterSources } from './adapter-sources.js'
import { CahierCommand } from './base-command.js'
import { EXIT_CODES } from './exit-codes.js'
import { nearSelectors, requireJobs } from './job-flags.js'
import { formatOrdered } from './jobs-text.js'

/** What `cancel`, `hold`, `release` and `requeue` have in common: jobs are named, asked, and looked at. */
export abstract class OrderCommand extends CahierCommand {
  protected async order(
    order: 'cancel' | 'hold' | 'release' | 'requeue',
    words: readonly string[],
    flags: { readonly site?: string | undefined; readonly dir: string },
  ): Promise<readonly OrderedJob[]> {
    const selectors = nearSelectors(requireJobs(words, order))
    const core = await this.core()
    const options = { directory: flags.dir, site: flags.site, adapters: await adapterSources(this.config) }
    const jobs = await (order === 'cancel' ? core.cancelJobs(selectors, options) : core.orderJobs(order, selectors, options))
    const named = jobs.map((job, index) => ({ ...job, job: words[index] ?? job.job }))
    this.log(formatOrdered(order, named))
    if (jobs.some(({ outcome }) => outcome === 'not-known' || outcome === 'asked')) this.endWith(EXIT_CODES.error.code)
    await core.closeConnections()
    return named
  }
}
