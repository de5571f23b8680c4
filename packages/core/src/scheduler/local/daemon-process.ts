import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { messageOf, systemCodeOf } from '../../errors.js'
import { DaemonConnection, silent } from './connection.js'
import { makePrivateDirectory, socketPath } from './places.js'

const LOG_FILE = 'log'
const LARGEST_LOG_BYTES = 1 << 20
const ATTEMPT_MS = 20
/** A daemon that was started and does not listen after this time is given a successor. */
const START_MS = 5_000

/** Nobody listens, nobody listens any more, or too many want to be heard at once. */
const PASSING = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EAGAIN'])

/** The entry program: beside this file when built, in `dist` when the sources are run. */
function daemonProgram(): string {
  const own = fileURLToPath(new URL('../../daemon/local-scheduler.js', import.meta.url))
  return existsSync(own) ? own : own.replace('/core/src/', '/core/dist/')
}

/**
 * Connects to the daemon of a queue, and starts it when there is none.
 *
 * @throws SchedulerError `E_SCHEDULER_SILENT` when it could not be had until `deadline` (on the monotonic clock)
 */
export async function connectDaemon(directory: string, deadline: number, signal?: AbortSignal): Promise<DaemonConnection> {
  makePrivateDirectory(directory)
  const path = socketPath(directory)
  let started: { readonly at: number; failure: string | undefined } | undefined
  for (;;) {
    signal?.throwIfAborted()
    try {
      return await DaemonConnection.open(path)
    } catch (error) {
      if (!PASSING.has(systemCodeOf(error) ?? '')) throw silent(messageOf(error), error)
    }
    const now = performance.now()
    if (started?.failure !== undefined) throw silent(started.failure)
    if (now >= deadline) throw silent(`nobody listens on ${path}`)
    if (started === undefined || now - started.at > START_MS) started = startDaemon(directory)
    await new Promise((done) => setTimeout(done, ATTEMPT_MS))
  }
}

/** Marks by which a process of Cahier's or a job is found when all that belongs to it is ended: what a queue runs is neither's. */
const MARKS = new Set(['CAHIER_PROC', 'CAHIER_TAG', 'CAHIER_START', 'CAHIER_STARTED_AT', 'CAHIER_HOST'])

/** The environment that jobs get: that of the program which submits them. */
export function ownEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined && !MARKS.has(entry[0])),
  )
}

function startDaemon(directory: string): { readonly at: number; failure: string | undefined } {
  const state = { at: performance.now(), failure: undefined as string | undefined }
  const log = join(directory, LOG_FILE)
  try {
    if (statSync(log).size > LARGEST_LOG_BYTES) rmSync(log)
  } catch {
    // No log yet.
  }
  const fd = openSync(log, 'a', 0o600)
  try {
    const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...env } = ownEnvironment()
    const child = spawn(process.execPath, [daemonProgram(), resolve(directory)], {
      cwd: '/',
      env,
      stdio: ['ignore', fd, fd],
      detached: true,
    })
    child.on('error', (error) => {
      state.failure = `its daemon could not be started: ${error.message}`
    })
    // 0: another one has the queue, and will listen in a moment.
    child.on('exit', (code) => {
      if (code !== 0 && code !== null) state.failure = `its daemon ended with ${code}: ${lastLine(log)}`
    })
    child.unref()
  } finally {
    closeSync(fd)
  }
  return state
}

function lastLine(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? ''
  } catch {
    return `see ${file}`
  }
}
