import { ConfigError } from '../errors.js'
import type { Transfer } from '../ports/transfer.js'
import { AutoTransfer, type DriverChoice } from './auto-transfer.js'
import type { TransferContext } from './context.js'

export interface DriverOptions {
  /** Hosts at a time, of a driver that serves each by itself; default 16. */
  readonly concurrency?: number | undefined
  /** Of a chain: how hosts reach each other. */
  readonly over?: 'tcp' | 'ssh' | undefined
  /** Of `auto`: hosts are to pass files on. */
  readonly broadcast?: boolean | undefined
  /** Of `auto`: told what it takes, and why. */
  readonly onChoice?: ((choice: DriverChoice) => void) | undefined
}

/**
 * A driver of core by its name. Only what that driver needs is loaded.
 *
 * @throws ConfigError `E_NOT_SUPPORTED`
 */
export async function makeTransfer(via: string, context: TransferContext, options: DriverOptions = {}): Promise<Transfer> {
  if (via === 'auto') return new AutoTransfer({ ...options, make: (name) => makeTransfer(name, context, options) })
  if (via === 'local') return new (await import('./local.js')).LocalTransfer()
  throw new ConfigError('E_NOT_SUPPORTED', `there is no transfer ${via}`)
}
