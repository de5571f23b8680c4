import { existsSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { isCampaignError, messageOf, SchedulerError } from '../../errors.js'
import type { ExitRecord, JobHandle, JobObservation, JobPlace, JobSpec, SubmitOutcome } from '../../model/job.js'
import type { ListedJob } from '../../model/site-report.js'
import type { CallOptions, CancelOutcome, Scheduler, SchedulerSupports } from '../../ports/scheduler.js'
import { asStoreError } from '../../util/file-errors.js'
import { GIVEN_UP_FILE } from '../../util/job-files.js'
import { EXIT_RECORD_FILE, readExitRecord } from '../exit-record.js'
import { RUNNING_FILE } from '../job-wrapper.js'
import { aborted, ConnectionLost, type DaemonConnection, silent } from './connection.js'
import { connectDaemon, ownEnvironment } from './daemon-process.js'
import { type LocalSchedulerOptions, localSchedulerOptions } from './options.js'
import { defaultDirectory } from './places.js'
import { type Answer, type Ask, type ObservedJob, type Operation, PROTOCOL } from './protocol.js'

export const LOCAL_SUPPORTS: SchedulerSupports = { arrays: true, dependencies: true, accounting: true, push: true, thisMachineOnly: true }

const NOTHING_SEEN = -1

/**
 * Runs jobs on this machine, within its cores and memory.
 *
 * The queue lives in a daemon of this user, started when it is first needed: jobs go on when the program that submitted them
 * ends, and when the daemon itself is killed; the next one finds them again. Memory is counted, not enforced.
 */
export class LocalScheduler implements Scheduler {
  readonly name = 'local'
  readonly supports = LOCAL_SUPPORTS
  readonly #options: LocalSchedulerOptions
  readonly #directory: string
  readonly #host = hostname()
  #connection: Promise<DaemonConnection> | undefined
  #epoch = ''
  /** Number of the last change that {@link #seen} knows. */
  #seq = NOTHING_SEEN
  /** What is known of the jobs that were asked for last; only what changed travels. */
  #seen = new Map<string, ObservedJob>()
  #observing: Promise<unknown> = Promise.resolve()

  /** @param options - as {@link localSchedulerOptions}; what a running daemon has otherwise is changed */
  constructor(options: Partial<LocalSchedulerOptions> = {}) {
    this.#options = localSchedulerOptions.parse(options)
    this.#directory = resolve(this.#options.directory ?? defaultDirectory())
  }

  async open({ signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    await this.#connected(performance.now() + this.#options.answerTimeoutMs, signal)
  }

  async submit(jobs: readonly JobSpec[], { signal }: CallOptions = {}): Promise<readonly SubmitOutcome[]> {
    signal?.throwIfAborted()
    if (jobs.length === 0) return []
    let sent = false
    try {
      // Asked again after a hang-up: a tag names one job, so a second question cannot make a second one.
      const answer = await this.#ask(
        'submit',
        {
          signal,
          onSent: () => {
            sent = true
          },
        },
        () => ({ jobs }),
      )
      return jobs.map(({ tag }, index): SubmitOutcome => {
        const one = answer.jobs[index]
        if (one === undefined)
          return { outcome: 'uncertain', tag, code: 'E_SUBMIT_UNCERTAIN', message: 'the daemon did not speak of this job' }
        return 'id' in one ? { outcome: 'submitted', handle: this.#handle(one.id, tag) } : { ...one, tag }
      })
    } catch (error) {
      if (!sent) throw error
      return jobs.map(({ tag }) => ({ outcome: 'uncertain', tag, code: 'E_SUBMIT_UNCERTAIN', message: messageOf(error) }))
    }
  }

  async find(jobs: readonly JobPlace[], { signal }: CallOptions = {}): Promise<ReadonlyMap<string, JobHandle>> {
    signal?.throwIfAborted()
    if (jobs.length === 0) return new Map()
    const { found } = await this.#ask('find', { signal }, () => ({ tags: jobs.map(({ tag }) => tag) }))
    return new Map(Object.entries(found).map(([tag, id]) => [tag, this.#handle(id, tag)]))
  }

  /** The submission of a program that stood still may come when another one has taken its run over. */
  async giveUp(jobs: readonly JobPlace[], { signal }: CallOptions = {}): Promise<ReadonlySet<string>> {
    signal?.throwIfAborted()
    const begun = jobs.filter(({ directory }) => {
      // Without its directory nothing can be begun.
      if (!existsSync(directory)) return false
      try {
        writeFileSync(join(directory, GIVEN_UP_FILE), '')
      } catch (error) {
        throw asStoreError(error, directory)
      }
      return [RUNNING_FILE, EXIT_RECORD_FILE].some((name) => existsSync(join(directory, name)))
    })
    return new Set(begun.map(({ tag }) => tag))
  }

  observe(handles: readonly JobHandle[], { signal }: CallOptions = {}): Promise<readonly JobObservation[]> {
    signal?.throwIfAborted()
    const answer = this.#observing.then(() => this.#observe(handles, signal))
    this.#observing = answer.catch(() => undefined)
    return answer
  }

  async cancel(handles: readonly JobHandle[], { signal }: CallOptions = {}): Promise<readonly CancelOutcome[]> {
    signal?.throwIfAborted()
    if (handles.length === 0) return []
    const { outcomes } = await this.#ask('cancel', { signal }, () => ({
      jobs: handles.map(({ nativeId, tag }) => ({ id: nativeId, tag })),
    }))
    return handles.map((handle, index) => ({ handle, outcome: outcomes[index] ?? 'not-known' }))
  }

  async list({ signal }: CallOptions = {}): Promise<readonly ListedJob[]> {
    signal?.throwIfAborted()
    const { jobs } = await this.#ask('list', { signal }, () => ({}))
    return jobs.map(({ i: nativeId, t: tag, s: state, name, end, reason, startedAt, endedAt }) => ({
      nativeId,
      name,
      tag,
      state,
      rawState: (end ?? state).toUpperCase(),
      elements: 1,
      ...(reason === undefined ? {} : { reason }),
      ...(startedAt === undefined ? {} : { startedAt, host: this.#host }),
      ...(endedAt === undefined ? {} : { endedAt }),
    }))
  }

  async changed({ signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    const epoch = this.#epoch
    const connection = await this.#connected(performance.now() + this.#options.answerTimeoutMs, signal)
    if (this.#epoch !== epoch && epoch !== '') return
    try {
      await connection.request('changed', { since: this.#seq }, { signal })
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
      await this.#connected(performance.now() + this.#options.answerTimeoutMs, signal)
    }
  }

  exitRecord(job: JobPlace, { signal }: CallOptions = {}): Promise<ExitRecord | undefined> {
    signal?.throwIfAborted()
    return readExitRecord(job)
  }

  /** Ends every job of this queue at once, then its daemon. For tests and for those who throw a queue away. */
  async shutDown(): Promise<void> {
    await this.#ask('shutdown', {}, () => ({}))
    await this[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.then(
      (open) => open.close(),
      () => undefined,
    )
  }

  async #observe(handles: readonly JobHandle[], signal: AbortSignal | undefined): Promise<readonly JobObservation[]> {
    for (;;) {
      let since = NOTHING_SEEN
      const { seq, whole, jobs } = await this.#ask('observe', { signal }, () => {
        since = this.#seq
        return { ids: handles.flatMap(({ nativeId }) => (this.#seen.has(nativeId) ? [] : [nativeId])), since }
      })
      if (!whole && since !== NOTHING_SEEN) {
        this.#forget()
        continue
      }
      for (const job of jobs) this.#seen.set(job.i, job)
      this.#seq = seq
      break
    }
    const seen = new Map<string, ObservedJob>()
    const observations = handles.map((handle) => {
      const job = this.#seen.get(handle.nativeId) ?? { i: handle.nativeId, s: 'not-visible' }
      seen.set(handle.nativeId, job)
      return this.#observation(handle, job)
    })
    this.#seen = seen
    return observations
  }

  /** Asks until there is an answer or no time left. Every question may be asked twice. */
  async #ask<O extends Operation>(
    op: O,
    { signal, onSent }: { signal?: AbortSignal | undefined; onSent?: () => void },
    ask: () => Ask<O>,
  ): Promise<Answer<O>> {
    const deadline = performance.now() + this.#options.answerTimeoutMs
    for (;;) {
      const connection = await this.#connected(deadline, signal)
      onSent?.()
      try {
        return await connection.request(op, ask(), { signal, timeoutMs: Math.max(1, Math.round(deadline - performance.now())) })
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error
        if (performance.now() >= deadline) throw silent(error.message, error)
      }
    }
  }

  async #connected(deadline: number, signal: AbortSignal | undefined): Promise<DaemonConnection> {
    const present = this.#connection
    if (present !== undefined) {
      const connection = await present
      if (!connection.isLost) return connection
      if (this.#connection === present) this.#connection = undefined
    }
    if (this.#connection === undefined) {
      const fresh = this.#connect(deadline, signal)
      this.#connection = fresh
      fresh.catch(() => {
        if (this.#connection === fresh) this.#connection = undefined
      })
    }
    return this.#connection
  }

  async #connect(deadline: number, signal: AbortSignal | undefined): Promise<DaemonConnection> {
    try {
      for (;;) {
        const connection = await connectDaemon(this.#directory, deadline, signal)
        try {
          if (await this.#greet(connection, deadline, signal)) return connection
        } catch (error) {
          connection.close()
          // It ended itself between our two steps: another one will be started.
          if (!(error instanceof ConnectionLost) || performance.now() >= deadline) throw error
        }
      }
    } catch (error) {
      if (isCampaignError(error)) throw error
      if (signal?.aborted === true) throw aborted('hello', signal.reason)
      throw silent(messageOf(error), error)
    }
  }

  /** @returns false when the daemon was of an older version and made place for a new one */
  async #greet(connection: DaemonConnection, deadline: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { cores, memoryMiB, idleMs, retentionMs } = this.#options
    const limits = { signal, timeoutMs: Math.max(1, Math.round(deadline - performance.now())) }
    const hello = await connection.request(
      'hello',
      { protocol: PROTOCOL, settings: { cores, memoryMiB, idleMs, retentionMs }, environment: ownEnvironment() },
      limits,
    )
    if (hello.protocol < PROTOCOL) {
      await connection.request('retire', {}, limits).catch((error: unknown) => {
        if (!(error instanceof ConnectionLost)) throw error
      })
      connection.close()
      return false
    }
    if (hello.protocol > PROTOCOL) {
      throw new SchedulerError(
        'E_SCHEDULER_SILENT',
        `the local scheduler's daemon (process ${hello.pid}) is of a newer Cahier than this program`,
        {
          suggestions: ['Use the newer Cahier', 'Name another queue with the option "directory"'],
          data: { pid: hello.pid, protocol: hello.protocol, ours: PROTOCOL },
        },
      )
    }
    if (hello.epoch !== this.#epoch) {
      this.#epoch = hello.epoch
      this.#forget()
    }
    return true
  }

  #forget(): void {
    this.#seq = NOTHING_SEEN
    this.#seen = new Map()
  }

  #handle(nativeId: string, tag: string): JobHandle {
    return { scheduler: this.name, nativeId, tag }
  }

  #observation(handle: JobHandle, job: ObservedJob): JobObservation {
    if (job.s === 'not-visible' || (job.t !== undefined && job.t !== handle.tag)) {
      return { handle, state: 'not-visible', rawState: '' }
    }
    const { i: _id, t: _tag, s: state, ...facts } = job
    return { handle, state, rawState: state.toUpperCase(), ...facts, ...(job.startedAt === undefined ? {} : { host: this.#host }) }
  }
}
