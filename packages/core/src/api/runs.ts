/** Runs of campaigns: what the CLI and programs call. */
export { loadCampaign } from './campaign.js'
export {
  addNote,
  type RetriedItems,
  type RetryItemsOptions,
  resetSweep,
  retryItems,
  type SetSweepOptions,
  type ShownSweep,
  type SweepChange,
  setSweep,
  showSweep,
} from './run/change-run.js'
export type { CollectedAgain } from './run/collect-again.js'
export { type ExportOptions, exportResults, type RunResults, readResults, writeReport } from './run/export-run.js'
export { type PlanRunOptions, planRun } from './run/plan-run.js'
export { type AttachOptions, attachRun, type ExplainedItem, readItems, readStatus, whyItem } from './run/read-run.js'
export type { WrittenReport } from './run/report.js'
export { type RunCampaignOptions, type RunTiming, runCampaign } from './run/run-campaign.js'
export { type StoppedRun, type StopRunOptions, stopRun } from './run/stop-run.js'
export type { ServiceOptions, Services } from './services.js'
