import type { AdapterHost, Fleet, FleetMember, FleetTool } from '@cahier/core/spi'
import type { TaktukOptions } from './options.js'
import { TwoTrees } from './two-trees.js'

/** TakTuk as a tool that reaches many hosts at once. */
export function taktukTool(options: TaktukOptions, { processes, fleet, log }: AdapterHost): FleetTool {
  return {
    name: 'taktuk',
    launch: (members: readonly FleetMember[], signal?: AbortSignal): Promise<Fleet> =>
      TwoTrees.launch(members, { processes, kit: fleet, log, options }, signal),
  }
}
