/** A process of its own that takes in much output of one command on a host; says how long it took and how much memory. */
import { openRemotes, runOn } from './api.mjs'

const { address, sshConfig, bytes } = JSON.parse(process.argv[2])
const { backends, close } = openRemotes([address], { sshConfig })
await runOn(backends[0], { command: ['true'] })
let taken = 0
const start = performance.now()
await runOn(
  backends[0],
  { command: ['head', '-c', String(bytes), '/dev/zero'], spillTo: false },
  {
    onOutput: (_stream, chunk) => {
      taken += chunk.length
    },
  },
)
const seconds = (performance.now() - start) / 1000
await close()
process.stdout.write(`${JSON.stringify({ taken, seconds, peakMiB: process.resourceUsage().maxRSS / 1024 })}\n`)
