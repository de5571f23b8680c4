import type { FilePath } from '../ports/transfer.js'
import type { HostInput } from './hosts.js'
import { TransferAction } from './transfer-action.js'
import type { PutOptions } from './transfer-options.js'

/**
 * Copies the same files to all hosts, as {@link Put} does; hosts pass them on to each other unless there is next to nothing to pass, so that
 * the time hardly depends on their number.
 *
 * ```ts
 * const all = await new Broadcast('image.tar', 'node[1-64]', { to: '/scratch' }).run()
 * console.log(all.ok, all.choices.map(({ via, why }) => `${via}: ${why}`))
 * ```
 */
export class Broadcast extends TransferAction {
  /** Parameters and errors are those of {@link Put}. */
  constructor(files: FilePath | readonly FilePath[], hosts: HostInput, options: PutOptions) {
    super('broadcast', files, hosts, options ?? {})
  }
}
