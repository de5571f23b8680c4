/** Ours, as a program uses it: one pool, a backend for each host. */
import { connectionSchema } from '../../../packages/core/dist/model/connection.js'
import { RemoteBackend } from '../../../packages/core/dist/process/remote-backend.js'
import { ConnectionPool } from '../../../packages/core/dist/ssh/connection-pool.js'

/**
 * @param {readonly string[]} addresses
 * @param {Record<string, unknown>} options of the connection
 */
export function openRemotes(addresses, options) {
  const pool = new ConnectionPool()
  const connection = connectionSchema.parse(options)
  const backends = addresses.map((address) => new RemoteBackend(pool, typeof address === 'string' ? { address } : address, connection))
  return {
    backends,
    async close() {
      await Promise.all(backends.map((backend) => backend[Symbol.asyncDispose]()))
      await pool[Symbol.asyncDispose]()
    },
  }
}

/** Runs it and wants exit code 0. */
export async function runOn(backend, spec, options) {
  const result = await (await backend.start(spec, options)).result
  if (result.outcome !== 'exited' || result.exitCode !== 0) throw new Error(`it did not go well: ${JSON.stringify(result)}`)
  return result
}

/** Calls it so many times, some at a time. */
export async function repeatAtOnce(times, atOnce, action) {
  let next = 0
  await Promise.all(
    Array.from({ length: Math.min(times, atOnce) }, async () => {
      while (next < times) await action(next++)
    }),
  )
}
