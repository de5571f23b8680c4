export {
  AdapterError,
  CampaignError,
  ConfigError,
  isCampaignError,
  ProcessError,
  SchedulerError,
  StoreError,
  TransferError,
} from './errors.js'
export type {
  AttemptReport,
  ItemReport,
  ItemState,
  PlannedJob,
  RunCounts,
  RunEvent,
  RunHolder,
  RunOutcome,
  RunPause,
  RunPlan,
  RunStatus,
  RunSummary,
} from './model/run.js'
export type { AdapterDiagnosis, AdapterKind, AdapterListing, AdapterSources } from './plugins/adapter-registry.js'
export { AdapterRegistry } from './plugins/adapter-registry.js'
export type { AdapterOrigin, PackageRoot } from './plugins/packages.js'
export type { AdapterModule } from './ports/adapter.js'
export type { Clock } from './ports/clock.js'
export type { Logger } from './ports/logger.js'
export { systemClock } from './system/clock.js'
export type { LoggerOptions, LogLevel, OpenLogger } from './system/log.js'
export { makeLogger, silentLogger } from './system/log.js'
export { formatDate, formatSubmission } from './system/notebook.js'
export { formatDuration } from './units.js'
