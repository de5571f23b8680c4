/** A process of its own that copies with our library; says how long that took, how much processor and memory, and what became of each host. */
import { Broadcast, Get, Put, Remote } from '../../../packages/core/dist/index.js'

const { files, hosts, to, via, sshConfig, isWarm = false, isBroadcast = false, verb = 'put' } = JSON.parse(process.argv[2])
const connection = { sshConfig }
const taktuk = via === 'taktuk' ? await import('../../../packages/transfer-taktuk/dist/index.js') : { default: [] }
if (isWarm) await new Remote('true', hosts, { connection }).run()
const Action = isBroadcast ? Broadcast : verb === 'get' ? Get : Put
const start = performance.now()
const before = process.cpuUsage()
const action = await new Action(files, hosts, { to, via, create: true, connection, adapters: { given: [taktuk.default].flat() } }).run()
const seconds = (performance.now() - start) / 1000
const { user, system } = process.cpuUsage(before)
const results = action.results.map(({ host, outcome, via: used, error, failures }) => ({ host, outcome, via: used, error, failures }))
process.stdout.write(
  `${JSON.stringify({
    seconds,
    cpuSeconds: (user + system) / 1e6,
    peakMiB: process.resourceUsage().maxRSS / 1024,
    results,
    why: String(action.errorReason ?? ''),
  })}\n`,
)
process.exit()
