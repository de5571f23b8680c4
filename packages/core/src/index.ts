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
