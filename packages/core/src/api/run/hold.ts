import type { RunHolder } from '../../model/run.js'
import { Lease, readLease } from '../../store/lease.js'

/** The right to drive a run. */
export interface Hold extends AsyncDisposable {
  /** Throws StoreError `E_RUN_HELD` when it went to another controller. */
  check(): void
}

/** @throws StoreError `E_RUN_HELD` naming the holder */
export async function takeHold(directory: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Hold> {
  return await Lease.acquire(directory, options)
}

/** Who drives a run now. */
export function readHolder(directory: string): RunHolder | undefined {
  const holder = readLease(directory)
  return holder?.isAlive === true ? { host: holder.host, pid: holder.pid, since: holder.since } : undefined
}
