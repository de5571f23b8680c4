import type { z } from 'zod'
import type { BatchOptions } from '../model/batch-options.js'
import type { Clock } from './clock.js'
import type { FleetKit } from './fleet.js'
import type { Logger } from './logger.js'
import type { ProcessBackend } from './process-backend.js'
import type { Scheduler, SchedulerSupports } from './scheduler.js'
import type { SchedulerDialect } from './scheduler-dialect.js'
import type { SiteFiles } from './site-files.js'
import type { Transfer, TransferSupports } from './transfer.js'

/** The version of this interface; `package.json` says it too: `"cahier": {"adapterApi": 1}`. */
export const ADAPTER_API = 1

/** What core lends to an adapter. */
export interface AdapterHost {
  /** Starts processes on the site: on this machine, or on the machine through which the site is used. */
  readonly processes: ProcessBackend
  /** The files of the site as its jobs see them. */
  readonly files: SiteFiles
  readonly clock: Clock
  readonly log: Logger
  /** A whole scheduler from the language that one speaks: submission, status, proof, limits, arrays. */
  batchScheduler(dialect: SchedulerDialect, options: BatchOptions): Scheduler
  /** Transfers and processes from a tool that reaches many hosts by its own means. */
  readonly fleet: FleetKit
}

/**
 * A plain descriptor, the default export of an adapter package (or an array of them).
 *
 * @remarks For adapters: `create` is synchronous, does no I/O and may be called twice; opening is `open({signal})`.
 */
export interface AdapterModule<Options extends z.ZodType = z.ZodType> {
  readonly api: number
  readonly name: string
  readonly kind: 'scheduler' | 'transfer'
  readonly supports: Partial<SchedulerSupports> | Partial<TransferSupports>
  /** A strict zod schema with defaults inside. */
  readonly options: Options
  create(options: z.output<Options>, host: AdapterHost): Scheduler | Transfer
}
