/**
 * Processes and files on hosts, without what campaigns need: the same exports as in `@cahier/core`, in a part of the time that it takes to load.
 * For programs that are started often.
 */
export { Broadcast } from './api/broadcast.js'
export { closeConnections, setConnectionDefaults, setPrompts } from './api/connections.js'
export { filterBadHosts, type GatherOptions, gatherOutputs, type OutputGroup, worstExitCode } from './api/gather.js'
export { Get } from './api/get.js'
export { Host, type HostOptions, uniqueHosts } from './api/host.js'
export { type HostGroups, type HostInput, type HostsOptions, hosts, setHostGroups } from './api/hosts.js'
export { Process, type WaitOptions } from './api/process.js'
export { setLogger } from './api/process-log.js'
export type { Duration, ProcessOptions } from './api/process-options.js'
export { Put } from './api/put.js'
export { Remote, type RemoteOptions } from './api/remote.js'
export { type UseConfigurationOptions, useConfiguration } from './api/site-config.js'
export { SshProcess, type SshProcessOptions } from './api/ssh-process.js'
export type { TransferAction } from './api/transfer-action.js'
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
export { ERROR_CODES } from './error-codes.js'
export { ConfigError, isCampaignError, ProcessError } from './errors.js'
export { foldHosts } from './host-set.js'
export type { ConnectionOptions } from './model/connection.js'
export type { HostSpec } from './model/host.js'
export type { ProcessOutcome, ProcessResult } from './model/process.js'
export type { CopyOptions, TransferOutcome, TransferResult } from './model/transfer.js'
export type { DriverChoice } from './transfer/auto-transfer.js'
export { formatBytes } from './units.js'
