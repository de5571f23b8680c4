/** What beds of real daemons share: programs, daemons with a log, ends without a trace. Linux only. */
import { spawn } from 'node:child_process'
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { basename, delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { searchPath } from './network.mjs'
import { childrenOf, descendantsOf, isAlive } from './proc.mjs'

export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where a program is, also one for administrators. @param {string} name @returns {string | undefined} */
export const findProgram = (name) =>
  searchPath
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(isExecutable)

/**
 * @param {() => boolean | Promise<boolean>} holds
 * @param {{ what: string, timeoutMs: number, everyMs?: number, log?: () => string }} options log: what the error quotes
 */
export async function waitUntil(holds, { what, timeoutMs, everyMs = 20, log }) {
  for (const end = performance.now() + timeoutMs; !(await holds()); ) {
    if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs / 1000} s${log === undefined ? '' : `\n${log()}`}`)
    await sleep(everyMs)
  }
}

/** The last lines of a file; nothing when it is not there. @param {string} file */
export function lastLines(file, count = 15) {
  try {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count)
    return `--- ${basename(file)}\n${lines.join('\n')}`
  } catch {
    return ''
  }
}

/** @param {number} port @param {string} [address] every address when it is left out */
export function isPortFree(port, address) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, ...(address === undefined ? {} : { host: address }), exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** Random ones below the range of outgoing connections, so that beds beside each other seldom meet. @param {string} address */
export async function freePorts(address, count = 1) {
  const ports = /** @type {Set<number>} */ (new Set())
  for (let attempt = 0; ports.size < count && attempt < 100 * count; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (await isPortFree(port, address)) ports.add(port)
  }
  if (ports.size < count) throw new Error(`no free ports at ${address} for the test hosts`)
  return [...ports]
}

/** Ends processes for good: asks again which there are until there are none. @param {() => readonly number[]} find */
export async function killAll(find, timeoutMs = 30_000) {
  for (const end = performance.now() + timeoutMs; ; await sleep(20)) {
    const found = find()
    const victims = new Set(found.flatMap((pid) => [pid, ...descendantsOf(pid)]))
    if (victims.size === 0) return
    if (performance.now() > end) throw new Error(`these processes do not end: ${[...victims].join(', ')}`)
    for (const pid of victims) signal(pid, 'SIGKILL')
  }
}

/** @param {number} pid @param {NodeJS.Signals} name what is gone does not mind */
export function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch {
    // It was gone.
  }
}

/**
 * Runs `node <script> down <directory>` when this program is gone, however it went: then the end of a pipe comes.
 *
 * @param {string} script
 * @param {string} directory
 * @returns {() => Promise<void>} that this is not needed any more
 */
export function downWithStarter(script, directory) {
  const watcher = spawn('sh', ['-c', 'read line || exec "$0" "$1" down "$2"', process.execPath, script, directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
    env: { PATH: searchPath },
  })
  watcher.stdin.on('error', () => {})
  watcher.unref()
  watcher.stdin.unref?.()
  return async () => {
    if (watcher.exitCode !== null || watcher.signalCode !== null) return
    const gone = new Promise((resolve) => watcher.once('exit', resolve))
    watcher.ref()
    watcher.stdin.end('done\n')
    await gone
  }
}

/** One daemon that stays in the foreground; what it says goes to its log. */
export class Daemon {
  #command
  #env
  #enter
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child
  /** Why it could not be started at all. @type {Error | undefined} */
  #error

  /**
   * @param {string} name
   * @param {readonly string[]} command
   * @param {{ log: string, env: Record<string, string>, enter?: readonly string[] }} options enter: a program before the command that
   * starts it as its child, such as nsenter
   */
  constructor(name, command, { log, env, enter = [] }) {
    this.name = name
    this.log = log
    this.#command = command
    this.#env = env
    this.#enter = enter
  }

  start() {
    if (this.isAlive) return
    const log = openSync(this.log, 'a')
    const [program, ...args] = [...this.#enter, ...this.#command]
    const child = spawn(program, args, { stdio: ['ignore', log, log], detached: true, cwd: '/', env: this.#env })
    closeSync(log)
    this.#error = undefined
    child.on('error', (error) => (this.#error = error))
    child.unref()
    this.#child = child
  }

  /** The process of the daemon itself. */
  get pid() {
    const started = this.#child?.pid
    if (started === undefined || this.#enter.length === 0) return started
    return childrenOf(started)[0]
  }

  get isAlive() {
    const started = this.#child?.pid
    return started !== undefined && isAlive(started)
  }

  /** Waits for what shows that it is ready. @param {() => boolean | Promise<boolean>} holds */
  async ready(holds, timeoutMs = 60_000) {
    const holdsOrDied = async () => {
      if (!this.isAlive)
        throw new Error(
          `${this.name} ended while it started${this.#error === undefined ? '' : ` (${this.#error.message})`}\n${lastLines(this.log)}`,
        )
      return holds()
    }
    await waitUntil(holdsOrDied, { what: `${this.name} is ready`, timeoutMs, log: () => lastLines(this.log) })
  }

  /** @param {'SIGTERM' | 'SIGKILL'} how it is gone when this resolves */
  async end(how, timeoutMs = 40_000) {
    const { pid } = this
    if (pid !== undefined) signal(pid, how)
    // Whoever started it in a namespace stands still when it does, and ends after it.
    const started = this.#child?.pid
    if (started !== undefined && started !== pid) signal(started, 'SIGCONT')
    await waitUntil(() => !this.isAlive && (pid === undefined || !isAlive(pid)), {
      what: `${this.name} ends`,
      timeoutMs,
      log: () => lastLines(this.log),
    })
  }

  /** Stops it without ending it. @returns {() => void} lets it go on */
  freeze() {
    const { pid } = this
    if (pid === undefined || !isAlive(pid)) throw new Error(`${this.name} does not run`)
    process.kill(pid, 'SIGSTOP')
    return () => signal(pid, 'SIGCONT')
  }
}
