import type { FilePath } from '../ports/transfer.js'
import type { HostInput } from './hosts.js'
import { TransferAction } from './transfer-action.js'
import type { PutOptions } from './transfer-options.js'

/**
 * Copies files and directories of this machine into a directory of each host. A file appears under its name when it is whole and
 * verified; what was there before stays until then.
 *
 * ```ts
 * const put = await new Put(['input.dat', 'conf'], 'node[1-8]', { to: '/scratch', create: true }).run()
 * for (const { host, outcome, error } of put.results) console.log(host, outcome, error?.message ?? '')
 * ```
 */
export class Put extends TransferAction {
  /**
   * @param files - each appears in the target directory under its base name; `{{host}}` and `{{name}}` as in `to`
   * @param hosts - as the function `hosts` takes them; a host that is listed twice with the same files is served once
   * @throws ConfigError `E_ARGUMENT`, `E_HOST_SET`, `E_NOT_SUPPORTED`, before anything is asked or read
   */
  constructor(files: FilePath | readonly FilePath[], hosts: HostInput, options: PutOptions) {
    super('put', files, hosts, options ?? {})
  }
}
