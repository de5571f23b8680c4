import { formatHost } from '../model/host.js'
import type { TransferEnd } from '../ports/transfer.js'
import type { TransferContext } from './context.js'
import type { ReachedHost } from './mover.js'

/**
 * The connection to the host of an end: the one that the pool has, or a new login.
 *
 * @throws ProcessError `E_HOST_*`, `E_LOGIN_*`, `E_SSH_CONFIG`, `E_ABORTED`
 */
export async function reach(context: Pick<TransferContext, 'pool'>, end: TransferEnd, signal?: AbortSignal): Promise<ReachedHost> {
  const { host, connection } = end
  if (host === undefined) throw new Error('this machine is reached without a connection')
  const pool = await context.pool()
  return { host, connection, pooled: await pool.connect(host, connection, { signal }) }
}

/** For results and messages: the host as it was given; undefined for this machine. */
export function nameOfEnd(end: Pick<TransferEnd, 'host'>): string | undefined {
  return end.host === undefined ? undefined : formatHost(end.host)
}
