import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SchedulerLab } from '../../../src/conformance/types.js'
import { LocalScheduler } from '../../../src/scheduler/local/local-scheduler.js'
import type { LocalSchedulerOptions } from '../../../src/scheduler/local/options.js'

export interface LocalLab extends SchedulerLab, AsyncDisposable {
  /** The queue's directory. */
  readonly spool: string
  readonly base: string
  connect(options?: Partial<LocalSchedulerOptions>): Promise<LocalScheduler>
  daemonPid(): number
  killScheduler(): Promise<void>
  freeze(): Promise<() => Promise<void>>
  purge(): Promise<void>
}

/** A queue of its own, with its own daemon, and what a test can do to it. */
export function makeLocalLab(defaults: Partial<LocalSchedulerOptions> = {}): LocalLab {
  const base = mkdtempSync(join(tmpdir(), 'cahier-lab-'))
  const spool = join(base, 'queue')
  const cores = defaults.cores ?? 4
  const options = { directory: spool, idleMs: 20_000, answerTimeoutMs: 40_000, ...defaults, cores }
  const connect = async (more: Partial<LocalSchedulerOptions> = {}): Promise<LocalScheduler> => {
    const scheduler = new LocalScheduler({ ...options, ...more })
    await scheduler.open()
    return scheduler
  }
  const daemonPid = (): number => {
    const numbers = readdirSync(spool).flatMap((name) => (/^lock\.\d+$/.test(name) ? [Number(name.slice(5))] : []))
    return (JSON.parse(readFileSync(join(spool, `lock.${Math.max(...numbers)}`), 'utf8')) as { pid: number }).pid
  }
  return {
    base,
    spool,
    connect,
    daemonPid,
    allCores: cores,
    shortestWalltimeMs: 1_000,
    async makeDirectory() {
      const directory = join(base, 'jobs', `it's ${randomBytes(6).toString('hex')}`)
      await mkdir(directory, { recursive: true })
      return directory
    },
    readFile: (path) => readFile(path, 'utf8').catch(() => undefined),
    async killScheduler() {
      process.kill(daemonPid(), 'SIGKILL')
    },
    async freeze() {
      const pid = daemonPid()
      process.kill(pid, 'SIGSTOP')
      return async () => void process.kill(pid, 'SIGCONT')
    },
    async purge() {
      await (await connect({ retentionMs: 0 }))[Symbol.asyncDispose]()
      await (await connect({ retentionMs: 600_000 }))[Symbol.asyncDispose]()
    },
    reconnect: () => connect(),
    async [Symbol.asyncDispose]() {
      const scheduler = await connect()
      await scheduler.shutDown()
      // What it has killed may be making a file in this moment.
      await rm(base, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
    },
  }
}
