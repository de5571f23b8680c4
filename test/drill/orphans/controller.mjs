/**
 * A controller of the orphans drill: one JSON line on stdin says what to start where, one letter later says what to do with it.
 * What happens is said in JSON lines on stdout.
 */
import { createInterface } from 'node:readline'
import { connectionSchema } from '../../../packages/core/dist/model/connection.js'
import { RemoteBackend } from '../../../packages/core/dist/process/remote-backend.js'
import { ConnectionPool } from '../../../packages/core/dist/ssh/connection-pool.js'

const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const { host, connection, specs } = JSON.parse((await lines.next()).value)

const pool = new ConnectionPool()
const backend = new RemoteBackend(pool, host, connectionSchema.parse(connection))
const control = new AbortController()
const processes = await Promise.all(specs.map((spec) => backend.start(spec, { signal: control.signal })))
for (const [index, running] of processes.entries()) {
  say({ event: 'started', index, pid: running.pid })
  void running.result.then(({ outcome, exitCode, signal, survivors, error }) =>
    say({ event: 'ended', index, outcome, exitCode, signal, survivors, error }),
  )
}
for (;;) {
  const { value, done } = await lines.next()
  if (done === true || value === 'leave') break
  if (value === 'kill') processes[0].kill({ graceMs: specs[0].graceMs })
  else if (value === 'abort') control.abort()
}
await backend[Symbol.asyncDispose]()
await pool[Symbol.asyncDispose]()
// Nothing else may keep it alive: the drill watches that it ends by itself.
process.stdin.destroy()
