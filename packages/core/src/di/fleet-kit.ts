import { connectionSchema } from '../model/connection.js'
import { formatHost } from '../model/host.js'
import type { FleetKit, FleetMember, FleetTool, HostWay, SshClient } from '../ports/fleet.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import type { Transfer } from '../ports/transfer.js'
import { WayBackend } from '../process/way-backend.js'
import { clientWords } from '../ssh/client-words.js'
import { explainLost } from '../ssh/connect-errors.js'
import { explainFailure } from '../ssh/openssh-messages.js'
import { resolveTarget } from '../ssh/resolve-target.js'
import { pooledWay } from '../ssh/way-connection.js'
import type { TransferContext } from '../transfer/context.js'
import { FleetTransfer } from '../transfer/fleet/fleet-transfer.js'

/** Brings together what tools need that reach hosts by their own means. */
export function makeFleetKit(context: Omit<TransferContext, 'pool'>): FleetKit {
  return {
    connection: (options = {}) => connectionSchema.parse(options),
    async sshClient({ host, connection }: FleetMember): Promise<SshClient> {
      const { target } = await resolveTarget(host, connection)
      return {
        words: clientWords(target, host.jump ?? connection.jump),
        destination: target.openssh.destination,
        explain: (said) => explainFailure(target, said),
        lost: (why) => explainLost(target, why),
      }
    },
    processes(way: Promise<HostWay>, { host, connection }: FleetMember): ProcessBackend {
      const pooled = way.then(async (reached) => pooledWay(reached, (await resolveTarget(host, connection)).target))
      return new WayBackend(pooled, formatHost(host), connection.connectTimeout)
    },
    transfer: (tool: FleetTool): Transfer => new FleetTransfer(context, tool),
  }
}
