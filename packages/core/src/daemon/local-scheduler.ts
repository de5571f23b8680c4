/** The daemon of the local scheduler: `node local-scheduler.js <directory>`. {@link LocalScheduler} starts it. */
import { existsSync } from 'node:fs'
import { messageOf } from '../errors.js'
import type { Logger } from '../ports/logger.js'
import { LocalDaemon } from '../scheduler/local/daemon.js'
import { makePrivateDirectory, socketPath } from '../scheduler/local/places.js'
import { holdsQueueLock, takeQueueLock } from '../scheduler/local/queue-lock.js'
import { DaemonServer } from '../scheduler/local/server.js'
import { HelperStarter } from './helper-starter.js'

/** One line of JSON each on standard error, which is the queue's log file. */
const log: Logger = {
  debug: () => undefined,
  info: (fields, message) => write('info', fields, message),
  warn: (fields, message) => write('warn', fields, message),
  error: (fields, message) => write('error', fields, message),
  child: () => log,
}

function write(level: string, fields: object, message: string): void {
  process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), pid: process.pid, level, message, ...fields })}\n`)
}

async function main(directory: string | undefined): Promise<void> {
  if (directory === undefined) throw new Error('usage: local-scheduler.js <directory>')
  // Whoever started it had made the directory. One that is gone was removed meanwhile, and nobody waits there.
  if (!existsSync(directory)) return
  makePrivateDirectory(directory)
  const lock = takeQueueLock(directory)
  if (lock === undefined) return
  process.title = 'cahier-local-scheduler'
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort())
  process.on('SIGHUP', () => undefined)
  await using starter = new HelperStarter()
  const daemon = new LocalDaemon({ directory, starter, log })
  await daemon.open()
  const server = new DaemonServer({ socket: socketPath(directory), daemon, log, isOwner: () => holdsQueueLock(directory, lock) })
  await server.serve(stop.signal)
}

try {
  await main(process.argv[2])
  process.exit(0)
} catch (error) {
  log.error({ stack: error instanceof Error ? error.stack : undefined }, messageOf(error))
  process.exit(1)
}
