/** A process of its own in which very many commands wait for their end; says what that costs it. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Process } from '../../../packages/core/dist/index.js'
import { openRemotes, runOn } from './api.mjs'

const { addresses, sshConfig, count } = JSON.parse(process.argv[2])
const threads = () => Number(/^Threads:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1])
const { backends, close } = openRemotes(addresses, { sshConfig })
await Promise.all(backends.map((backend) => runOn(backend, { command: ['true'] })))
const threadsBefore = threads()
const memoryBefore = process.memoryUsage().rss
const processes = Array.from(
  { length: count },
  (_, index) => new Process(['sleep', '1000'], { backend: backends[index % backends.length] }),
)
for (const each of processes) each.start()
for (const until = Date.now() + 180_000; processes.some((each) => !each.running && !each.ended) && Date.now() < until; ) await sleep(200)
const running = processes.filter((each) => each.running).length
for (const each of processes.filter((one) => one.ended).slice(0, 3)) process.stderr.write(`${each.dump()}\n`)
// What was left over from the starts is not the waiting.
await sleep(1000)
const before = process.cpuUsage()
await sleep(2000)
const { user, system } = process.cpuUsage(before)
const result = {
  running,
  threads: threads() - threadsBefore,
  cpuMs: (user + system) / 1000,
  kibEach: (process.memoryUsage().rss - memoryBefore) / 1024 / count,
}
for (const each of processes) each.kill('SIGKILL')
await Promise.all(processes.map((each) => each.wait()))
await close()
process.stdout.write(`${JSON.stringify(result)}\n`)
