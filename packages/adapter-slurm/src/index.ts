import type { AdapterModule } from '@cahier/core/spi'
import { slurmDialect } from './dialect.js'
import { slurmOptions } from './options.js'

export default {
  api: 1,
  name: 'slurm',
  kind: 'scheduler',
  supports: { arrays: true, dependencies: true, accounting: true, push: true, hold: true },
  options: slurmOptions,
  create: (options, host) => host.batchScheduler(slurmDialect(options), options),
} satisfies AdapterModule<typeof slurmOptions>
