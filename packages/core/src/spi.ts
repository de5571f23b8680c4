/** What an adapter package may import: interfaces, errors, units. No state, nothing compared by identity. */

/** For the schema of the options: a package that takes it from here has core as its one peer and installs without a network. */
export { z } from 'zod'
export type { ErrorCode } from './error-codes.js'
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
export { type BatchOptions, batchOptionFields } from './model/batch-options.js'
export type { Connection, ConnectionOptions } from './model/connection.js'
export type { HostSpec } from './model/host.js'
export { formatHost } from './model/host.js'
export type {
  DependencyKind,
  ExitRecord,
  JobDependency,
  JobHandle,
  JobObservation,
  JobOutcome,
  JobPlace,
  JobResources,
  JobResult,
  JobSpec,
  JobState,
  SubmitOutcome,
} from './model/job.js'
export type { CapturedText, Command, ProcessOutcome, ProcessResult, ProcessSpec } from './model/process.js'
export type { ListedJob, PlannedSubmission, QueueFacts, SchedulerFacts, SiteFinding, SiteReport } from './model/site-report.js'
export type { CopyPolicy, FileFailure, LeftOut, TransferOutcome, TransferResult, Verification } from './model/transfer.js'
export type { AdapterHost, AdapterModule } from './ports/adapter.js'
export { ADAPTER_API } from './ports/adapter.js'
export type { Clock } from './ports/clock.js'
export type {
  CommandChannel,
  CommandEnd,
  CommonChannel,
  Fleet,
  FleetKit,
  FleetMember,
  FleetTool,
  HostWay,
  SshClient,
} from './ports/fleet.js'
export type { Logger } from './ports/logger.js'
export type { ProcessBackend, RunningProcess, StartOptions, StopOptions } from './ports/process-backend.js'
export type { AdoptedJob, CallOptions, CancelOutcome, Scheduler, SchedulerSupports, SchedulerTiming } from './ports/scheduler.js'
export type {
  CommandAnswer,
  JobRow,
  OrderAnswer,
  RowsAnswer,
  SchedulerDialect,
  SiteCommand,
  Submission,
  SubmitAnswer,
  UserDirectives,
} from './ports/scheduler-dialect.js'
export type { FileWatch, SiteFiles, SmallFile } from './ports/site-files.js'
export type {
  FilePath,
  Transfer,
  TransferCall,
  TransferEnd,
  TransferPhase,
  TransferProgress,
  TransferRequest,
  TransferSupports,
} from './ports/transfer.js'
export { formatDuration, formatSize, parseDuration, parseSizeMiB } from './units.js'
export { nearestName } from './util/nearest.js'
export { shellQuote } from './util/shell-quote.js'
