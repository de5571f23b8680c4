import { ConfigError } from '../errors.js'
import type { Transfer } from '../ports/transfer.js'
import { AutoTransfer, type DriverChoice } from './auto-transfer.js'
import type { TransferContext } from './context.js'
import type { StarSettings } from './star/star.js'

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
  if (via === 'local') return new (await import('./local/local.js')).LocalTransfer()
  if (via === 'chain') return new (await import('./chain/chain-transfer.js')).ChainTransfer(context, { over: options.over })
  const { StarTransfer } = await import('./star/star.js')
  return new StarTransfer(context, { ...(await makeMover(via)), name: via, concurrency: options.concurrency })
}

async function makeMover(via: string): Promise<Pick<StarSettings, 'mover' | 'resume'>> {
  switch (via) {
    case 'scp':
      return { mover: new (await import('./scp/scp.js')).ScpMover(), resume: false }
    case 'sftp':
      return { mover: new (await import('./sftp/sftp.js')).SftpMover() }
    case 'rsync':
      return { mover: new (await import('./rsync/rsync.js')).RsyncMover() }
    case 'cat':
      return { mover: new (await import('./shell/cat.js')).CatMover() }
    default:
      throw new ConfigError('E_NOT_SUPPORTED', `there is no transfer ${via}`)
  }
}
