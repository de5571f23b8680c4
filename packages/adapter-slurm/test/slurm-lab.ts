import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SchedulerLab } from '@cahier/core/conformance'
import type { ProcessBackend, ProcessSpec, RunningProcess, Scheduler, StartOptions } from '@cahier/core/spi'
import { findProcesses } from '../../../test/testbed/proc.mjs'
import { type SlurmBed, type SlurmOptions as SlurmBedOptions, startSlurm } from '../../../test/testbed/slurm.mjs'
import { adapterHost } from '../../core/src/di/wiring.js'
import { LocalBackend } from '../../core/src/process/local-backend.js'
import { BatchScheduler } from '../../core/src/scheduler/batch/batch-scheduler.js'
import { LocalFiles } from '../../core/src/staging/local-files.js'
import { systemClock } from '../../core/src/system/clock.js'
import { silentLogger } from '../../core/src/system/log.js'
import slurm from '../src/index.js'

/** Starts commands as on the login node of a bed. */
class BedBackend implements ProcessBackend {
  readonly #inner = new LocalBackend()
  readonly #env: Readonly<Record<string, string>>

  constructor(env: Readonly<Record<string, string>>) {
    this.#env = env
  }

  start(spec: ProcessSpec, options?: StartOptions): Promise<RunningProcess> {
    return this.#inner.start({ ...spec, env: { ...this.#env, ...spec.env } }, options)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#inner[Symbol.asyncDispose]()
  }
}

export interface SlurmLab extends SchedulerLab, AsyncDisposable {
  readonly bed: SlurmBed
  readonly base: string
  /** With these options of the site over quick ones. */
  connect(options?: Readonly<Record<string, unknown>>): Scheduler
}

/** Quick enough for tests; people have other options. */
const QUICK = { pollInterval: '200ms', pollIntervalMax: '1s', lostAfter: '4s', settleAfter: '2s', commandTimeout: '20s' }

/** Most sites track the processes of a job by control groups; without them those that lost their parents are found by their group only. */
const TRACKING = ['ProctrackType=proctrack/pgid']

/** Seconds that ended jobs are shown: whoever is kept waiting by a busy machine sees them all the same. */
const KEPT = 300

/** A real SLURM of its own, and what a test can do to it. */
export async function startSlurmLab(options: SlurmBedOptions = {}): Promise<SlurmLab> {
  const bed = await startSlurm({
    nodes: 1,
    cpus: 16,
    memoryMiB: 8_000,
    minJobAge: 2,
    messageTimeout: 5,
    ...options,
    config: [...TRACKING, ...(options.config ?? [])],
  })
  // It looks for jobs that are to be forgotten as often as it was told at its start.
  const keep = async (seconds: number): Promise<void> => {
    writeFileSync(bed.conf, readFileSync(bed.conf, 'utf8').replace(/^MinJobAge=.*$/m, `MinJobAge=${seconds}`))
    await bed.run(['scontrol', 'reconfigure'])
  }
  await keep(KEPT)
  const base = mkdtempSync(join(tmpdir(), 'cahier-slurm-lab-'))
  // Programs in front of those of SLURM, while something is to go wrong.
  const shadow = join(base, 'shadow')
  await mkdir(shadow)
  const backend = new BedBackend({ ...bed.env, PATH: `${shadow}:${bed.env.PATH}` })
  const connect = (more: Readonly<Record<string, unknown>> = {}): Scheduler =>
    slurm.create(slurm.options.parse({ ...QUICK, ...more }), {
      ...adapterHost({ processes: backend, log: silentLogger }),
      processes: backend,
      files: new LocalFiles({ clock: systemClock }),
      clock: systemClock,
      log: silentLogger,
      batchScheduler: (dialect, own) =>
        new BatchScheduler({
          dialect,
          options: own,
          processes: backend,
          files: new LocalFiles({ clock: systemClock }),
          clock: systemClock,
          log: silentLogger,
        }),
    }) as Scheduler
  const shadowed = async (program: string, lines: string): Promise<() => Promise<void>> => {
    const file = join(shadow, program)
    writeFileSync(file, `#!/bin/sh\nPATH=${bed.env.PATH}\n${lines}\n`, { mode: 0o755 })
    return async () => rmSync(file, { force: true })
  }
  return {
    bed,
    base,
    connect,
    patienceMs: 180_000,
    allCores: 16,
    async makeDirectory() {
      const directory = join(base, 'jobs', `it's ${randomBytes(6).toString('hex')}`)
      await mkdir(directory, { recursive: true })
      return directory
    },
    readFile: (path) => readFile(path, 'utf8').catch(() => undefined),
    async killScheduler() {
      // Without what it knows on its disk it would know nothing of the jobs: it is given the time to write that.
      const began = Date.now()
      const file = join(bed.directory, 'ctld/job_state')
      // It writes when something has changed, which may be long ago.
      const { stdout: held } = await bed.run(['sbatch', '--parsable', '--hold', '--output=/dev/null', '--wrap', 'true'])
      await until(() => existsSync(file) && statSync(file).mtimeMs > began, 'the state of the controller is saved')
      await bed.killController()
      await bed.startController()
      await bed.run(['scancel', held.trim()])
    },
    async freeze() {
      const thaw = bed.freezeController()
      return async () => thaw()
    },
    async purge() {
      const ended = ['BOOT_FAIL', 'CANCELLED', 'COMPLETED', 'FAILED', 'NODE_FAIL', 'OUT_OF_MEMORY', 'TIMEOUT'].join(',')
      const shown = async (): Promise<boolean> => (await bed.run(['squeue', '-h', '-t', ended])).stdout.trim() === ''
      await keep(2)
      await until(shown, 'ended jobs are forgotten')
      await keep(KEPT)
    },
    acceptUnsaid: () =>
      shadowed(
        'sbatch',
        'sbatch "$@" >/dev/null\necho "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2\nexit 1',
      ),
    chatter: () => shadowed('sbatch', 'echo "Welcome to the cluster of 1995"\necho "sbatch: lua: 42 credits left" >&2\nsbatch "$@"'),
    disguise: ({ nativeId }, word) => shadowed('squeue', `squeue "$@" | sed "s/^\\(${nativeId}[^A-Z]*\\)[A-Z_]*/\\1${word}/"`),
    async killJob({ nativeId }) {
      const own = (text: string): boolean => text.includes(`SLURM_CONF=${bed.directory}/`)
      const pids = (): number[] => [...findProcesses(`SLURM_JOB_ID=${nativeId}`)].filter(([, text]) => own(text)).map(([pid]) => pid)
      // All at once: the wrapper must not see the end of its script. Who was begun meanwhile is stopped in the next round.
      const stopped = new Set<number>()
      for (let fresh = pids(); fresh.length > 0; fresh = pids().filter((pid) => !stopped.has(pid))) {
        for (const pid of fresh) {
          stopped.add(pid)
          signal(pid, 'SIGSTOP')
        }
      }
      for (const pid of stopped) signal(pid, 'SIGKILL')
    },
    async reconnect() {
      const scheduler = connect()
      await scheduler.open()
      return scheduler
    },
    async [Symbol.asyncDispose]() {
      await backend[Symbol.asyncDispose]()
      await bed.stop()
      await rm(base, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    },
  }
}

/** Signals a process that may have ended by now. */
function signal(pid: number, name: 'SIGSTOP' | 'SIGKILL'): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Waits for something that the bed does by itself. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, timeoutMs = 120_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((done) => setTimeout(done, 100))
  }
}
