import type { AdapterModule } from '@cahier/core/spi'
import { taktukOptions } from './options.js'
import { taktukTool } from './taktuk.js'

export { type TaktukBackends, type TaktukBackendsOptions, taktukBackends } from './backends.js'

export default {
  api: 1,
  name: 'taktuk',
  kind: 'transfer',
  supports: { put: true, get: true, resume: true, limit: true },
  options: taktukOptions,
  create: (options, host) => host.fleet.transfer(taktukTool(options, host)),
} satisfies AdapterModule<typeof taktukOptions>
