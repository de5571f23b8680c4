import type { FilePath } from '../ports/transfer.js'
import type { HostInput } from './hosts.js'
import { TransferAction } from './transfer-action.js'
import type { GetOptions } from './transfer-options.js'

/**
 * Copies files and directories of each host into a directory of this machine: by default that of the host's name for several hosts,
 * which is made, and the current one for a single host.
 *
 * ```ts
 * const get = await new Get(['results/*.csv'], 'node[1-8]', { to: 'results/{{host}}', create: true }).run()
 * console.log(get.ok, get.results.map(({ directory }) => directory))
 * ```
 */
export class Get extends TransferAction {
  /**
   * @param files - on the hosts, absolute or from the home directory; `*`, `?` and `[…]` are patterns unless a file has just that name
   * @param hosts - as the function `hosts` takes them
   * @throws ConfigError `E_ARGUMENT` also when files of two hosts would have the same name here; `E_HOST_SET`, `E_NOT_SUPPORTED`
   */
  constructor(files: FilePath | readonly FilePath[], hosts: HostInput, options: GetOptions = {}) {
    super('get', files, hosts, options)
  }
}
