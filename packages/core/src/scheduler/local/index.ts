import type { AdapterModule } from '../../ports/adapter.js'
import { LOCAL_SUPPORTS, LocalScheduler } from './local-scheduler.js'
import { localSchedulerOptions } from './options.js'

/** The scheduler that needs nothing installed. */
export const localAdapter = {
  api: 1,
  name: 'local',
  kind: 'scheduler',
  supports: LOCAL_SUPPORTS,
  options: localSchedulerOptions,
  create: (options) => new LocalScheduler(options),
} satisfies AdapterModule<typeof localSchedulerOptions>
