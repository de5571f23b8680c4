import { adapterHost } from '../../core/src/di/wiring.js'
import { conformsOverSsh } from '../../core/test/transfer/ssh-conformance.js'
import taktuk from '../src/index.js'
import { taktukUnavailable } from './taktuk-bed.js'

conformsOverSsh({
  name: 'taktuk',
  make: ({ processes, log }) => taktuk.create(taktuk.options.parse({}), adapterHost({ processes, log })),
  supports: taktuk.supports,
  missing: taktukUnavailable(),
})
