import { adapterHost as hostOfThisMachine } from '../di/wiring.js'
import type { AdapterHost } from '../ports/adapter.js'
import type { Logger } from '../ports/logger.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import { connectionOf } from './connections.js'

export interface AdapterHostOptions {
  /** A library says nothing by itself: silent by default. */
  readonly log?: Logger | undefined
  /** Starts processes on this machine. Who made it also ends it. */
  readonly processes?: ProcessBackend | undefined
}

/** What core lends to an adapter, for a program that uses one by itself: everything is of this machine. */
export function adapterHost({ log, processes }: AdapterHostOptions = {}): AdapterHost {
  const host = hostOfThisMachine({ log, processes })
  return { ...host, fleet: { ...host.fleet, connection: connectionOf } }
}
