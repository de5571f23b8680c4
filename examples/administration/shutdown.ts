/**
 * Switches a room off in an emergency (no cooling, no power): all nodes at once, then the servers that the nodes need.
 *
 *   npx jiti shutdown.ts             # tells what would be done, and who answers
 *   npx jiti shutdown.ts --really
 *
 * Nobody is waited for who does not answer: at the end stands what has to be switched off by hand.
 */
import { foldHosts, Remote, type SshProcess, useConfiguration } from '@cahier/core'

const really = process.argv.includes('--really')
await useConfiguration()
const connection = { connectTimeout: '5s' }
const options = { connection, concurrency: 256, process: { timeout: '20s' } }

const command = really ? ['shutdown', '-h', 'now', 'emergency: the room is switched off'] : ['true']
const byHand: string[] = []
for (const group of ['@room', '@last']) {
  const stage = await new Remote(command, group, options).run()
  const down = stage.processes.filter(goesDown).map(({ host }) => host.address)
  if (down.length > 0) console.log(`${group}: ${foldHosts(down)} ${really ? 'go down' : 'would go down'}`)
  for (const process of stage.processes.filter((one) => !goesDown(one))) {
    byHand.push(process.host.address)
    console.log(
      `${group}: ${process.host} DOES NOT: ${process.errorReason?.message ?? (process.stderr.trim() || `exit code ${process.exitCode}`)}`,
    )
  }
}
if (byHand.length > 0) console.log(`Switch off by hand: ${foldHosts(byHand)}`)
process.exitCode = byHand.length === 0 ? 0 : 1

/** A machine that goes down may cut the connection before it has answered. */
function goesDown(process: SshProcess): boolean {
  return process.ok || (really && process.errorReason?.code === 'E_CONNECTION_LOST')
}
