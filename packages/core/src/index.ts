export { Action, type ActionOptions } from './api/action.js'
export {
  type GroupOptions,
  Local,
  type LocalOptions,
  ParallelActions,
  SequentialActions,
  type SequentialOptions,
  type Waitable,
  wait,
  waitAll,
  waitAny,
} from './api/actions.js'
export { type AdapterHostOptions, adapterHost } from './api/adapter-host.js'
export { Broadcast } from './api/broadcast.js'
export {
  type CampaignDefinition,
  type CampaignOptions,
  defineCampaign,
  isCampaignDefinition,
  loadCampaign,
  plot,
} from './api/campaign.js'
export { type CommandValue, type CommandValues, RawText, raw } from './api/command-values.js'
export { closeConnections, setConnectionDefaults, setPrompts } from './api/connections.js'
export { Engine, type EngineEnd, type EngineOption, type EngineStartOptions } from './api/engine.js'
export type { EngineJob, SubmitJobOptions, SubmittedJob } from './api/engine-jobs.js'
export { filterBadHosts, type Gatherable, type GatherOptions, gatherOutputs, type OutputGroup, worstExitCode } from './api/gather.js'
export { Get } from './api/get.js'
export { Host, type HostOptions, uniqueHosts } from './api/host.js'
export { type HostGroups, type HostInput, type HostsOptions, hosts, setHostGroups } from './api/hosts.js'
export {
  type AskedItem,
  askItem,
  cancelJobs,
  continueJob,
  type JobOrder,
  type JobOutputEnd,
  type JobOutputOptions,
  type JobRequest,
  listJobs,
  type OrderedJob,
  orderJobs,
  readBatchScript,
  readJobOutput,
  readSchedulerWords,
  type SchedulerWords,
  type ShownJob,
  type SiteAccessOptions,
  type SiteJobs,
  type SubmitSiteJobOptions,
  type SubmittedSiteJob,
  scriptOfCommand,
  submitJob,
} from './api/jobs.js'
export type { ByteHandler, LineHandler, OutputHandler } from './api/output-handlers.js'
export { type GetNextOptions, type LevelStats, ParamSweeper, type ParamSweeperOptions, type Sweeps } from './api/param-sweeper.js'
export { type ForwardingPool, PortForwarder, type PortForwarderOptions } from './api/port-forwarder.js'
export { type ExpectOptions, type KillOptions, Process, type WaitOptions } from './api/process.js'
export { setLogger } from './api/process-log.js'
export type { Duration, FailureKind, LifecycleHandler, ProcessOptions } from './api/process-options.js'
export { Put } from './api/put.js'
export { Remote, type RemoteOptions } from './api/remote.js'
export { Report, type Reportable } from './api/report.js'
export {
  type AttachOptions,
  addNote,
  attachRun,
  type CollectedAgain,
  type ExplainedItem,
  type ExportOptions,
  exportResults,
  type PlanRunOptions,
  planRun,
  type RetriedItems,
  type RetryItemsOptions,
  type RunCampaignOptions,
  type RunResults,
  type RunTiming,
  readItems,
  readResults,
  readStatus,
  resetSweep,
  retryItems,
  runCampaign,
  type ServiceOptions,
  type SetSweepOptions,
  type ShownSweep,
  type StoppedRun,
  type StopRunOptions,
  type SweepChange,
  setSweep,
  showSweep,
  stopRun,
  type WrittenReport,
  whyItem,
  writeReport,
} from './api/runs.js'
export { Serial, type SerialOptions } from './api/serial.js'
export {
  type NamedSite,
  readSites,
  siteOf,
  type UseConfigurationOptions,
  useConfiguration,
  userConfigDirectory,
} from './api/site-config.js'
export { type CheckSiteOptions, checkSites, type ListedSite, listSites } from './api/sites.js'
export { SshProcess, type SshProcessOptions } from './api/ssh-process.js'
export type { ExecutionStatistics } from './api/statistics.js'
export type { ExpectOutcome } from './api/stream-text.js'
export { TransferAction } from './api/transfer-action.js'
export {
  type GetOptions,
  type HostProgress,
  type PutOptions,
  setTransferDefaults,
  TRANSFER_NAMES,
  type TransferName,
  type TransferOptions,
  transferDefaults,
} from './api/transfer-options.js'
export { canonicalJson, parseCanonicalJson } from './canonical-json.js'
export { openAdapters } from './di/wiring.js'
export { ERROR_CODES, type ErrorCode } from './error-codes.js'
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
export { foldHosts, type HostSetOptions, parseHostSet } from './host-set.js'
export { combinationId, makeTag, shortId, slugOf, type TagParts } from './ids.js'
export type { CampaignInput, CampaignSpec, CollectedFiles, FactorsSpec, FigureSpec, Finding, ResultRow } from './model/campaign.js'
export type { Combination, Level, WorkItem } from './model/combination.js'
export type { Connection, ConnectionOptions } from './model/connection.js'
export { formatHost, type HostSpec, parseHost } from './model/host.js'
export type { CapturedText, ProcessOutcome, ProcessResult } from './model/process.js'
export type {
  AttemptReport,
  ItemReport,
  ItemState,
  LoadedCampaign,
  PlannedJob,
  RunCounts,
  RunEvent,
  RunHolder,
  RunOutcome,
  RunPause,
  RunPlan,
  RunStatus,
  RunSummary,
  SiteStatus,
  StuckJobs,
} from './model/run.js'
export type { ListedJob, PlannedSubmission, QueueFacts, SchedulerFacts, SiteFinding, SiteReport } from './model/site-report.js'
export type { Space } from './model/space.js'
export type { CopyOptions, FileFailure, LeftOut, TransferOutcome, TransferResult, Verification } from './model/transfer.js'
export type { AdapterDiagnosis, AdapterKind, AdapterListing, AdapterSources } from './plugins/adapter-registry.js'
export { AdapterRegistry } from './plugins/adapter-registry.js'
export type { AdapterOrigin, PackageRoot } from './plugins/packages.js'
export type { AdapterHost, AdapterModule } from './ports/adapter.js'
export type { Clock } from './ports/clock.js'
export type { Logger } from './ports/logger.js'
export type { ProcessBackend } from './ports/process-backend.js'
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
export { HelperBackend, type HelperBackendOptions } from './process/helper-backend.js'
export { LocalBackend } from './process/local-backend.js'
export { renderLineFigure } from './report/figure/line-figure.js'
export { renderRegimeFigure } from './report/figure/regime-figure.js'
export { formatSpread } from './report/html-tables.js'
export { groupRows, type RowGroup, type Statistics, type Summary, statisticsOf, summarise } from './report/statistics.js'
export { columnsOf, tableRows, tableToCsv, tableToJsonl } from './report/table.js'
export type { FigureMark, FigureMeta } from './report/types.js'
export { readExitRecord } from './scheduler/exit-record.js'
export { renderWrapper, type WrapperOptions } from './scheduler/job-wrapper.js'
export { localAdapter } from './scheduler/local/index.js'
export { LocalScheduler } from './scheduler/local/local-scheduler.js'
export type { LocalSchedulerOptions } from './scheduler/local/options.js'
export type { SshPrompts } from './ssh/connection.js'
export { JournalStore, type JournalStoreOptions } from './store/journal-store.js'
export { type DroppedPart, type RepairReport, repairJournal } from './store/repair.js'
export { filterSpace, type RepetitionOptions, shuffleSpace, withRepetitions } from './sweep/derived-spaces.js'
export {
  JournalSweeper,
  type JournalSweeperOptions,
  type SpaceDifference,
  type SweepItem,
  type SweepItemState,
} from './sweep/journal-sweeper.js'
export { latinHypercube, type SampledFactor, type SampleOf } from './sweep/latin-hypercube.js'
export { listSpace } from './sweep/list-space.js'
export { geom, igeom, linear, range } from './sweep/ranges.js'
export { spaceFromDefinition } from './sweep/space-json.js'
export { type CombinationOf, type SweepOptions, sweep } from './sweep/sweep.js'
export { systemClock } from './system/clock.js'
export type { LoggerOptions, LogLevel, OpenLogger } from './system/log.js'
export { makeLogger, silentLogger } from './system/log.js'
export { formatDate, formatSubmission } from './system/notebook.js'
export { LiquidRenderer } from './template/liquid-renderer.js'
export type { DriverChoice } from './transfer/auto-transfer.js'
export { formatBytes, formatClockTime, formatDuration, formatSize, parseDuration, parseSize, parseSizeMiB } from './units.js'
export { DisposeStack } from './util/dispose-stack.js'
export { nearestName } from './util/nearest.js'
export { shellQuote } from './util/shell-quote.js'
