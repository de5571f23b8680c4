import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import type { ConnectionPool } from '../ssh/connection-pool.js'

/** What drivers of transfers work with. */
export interface TransferContext {
  /** The connections of this program; nothing is loaded before somebody asks. */
  pool(): Promise<ConnectionPool>
  /** Starts programs on this machine. */
  readonly processes: ProcessBackend
  readonly log: Logger
  readonly clock: Clock
}
