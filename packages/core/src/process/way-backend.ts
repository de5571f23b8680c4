import type { ProcessOutcome, ProcessResult, ProcessSpec } from '../model/process.js'
import type { ProcessBackend, RunningProcess, StartOptions } from '../ports/process-backend.js'
import type { PooledConnection } from '../ssh/pooled-connection.js'
import { isAborted, makeDeferred } from '../util/async.js'
import { checkSpec, type StartError, startErrorOf } from './command.js'
import { startOnChannel } from './plain-channel.js'
import { endedProcess } from './supervised-process.js'

/** Starts processes on a host that a tool reaches by its own means: each command has a channel of its own. */
export class WayBackend implements ProcessBackend {
  readonly #pooled: Promise<PooledConnection>
  readonly #name: string
  readonly #patienceMs: number
  readonly #processes = new Set<Promise<RunningProcess>>()
  readonly #closing = makeDeferred<void>()
  #closed = false

  /** @param pooled - rejects when the host cannot be reached @param patienceMs - how long a command may take to begin */
  constructor(pooled: Promise<PooledConnection>, name: string, patienceMs: number) {
    this.#pooled = pooled
    this.#name = name
    this.#patienceMs = patienceMs
    // Told to each that starts something.
    pooled.catch(() => {})
  }

  start(spec: ProcessSpec, options: StartOptions = {}): Promise<RunningProcess> {
    const started = this.#start(spec, options)
    this.#processes.add(started)
    void started.then(async ({ result }) => {
      if (spec.detach !== true) await result
      this.#processes.delete(started)
    })
    return started
  }

  async #start(spec: ProcessSpec, options: StartOptions): Promise<RunningProcess> {
    const asked = performance.now()
    const ended = (outcome: ProcessOutcome, error?: StartError): RunningProcess => {
      const running = endedProcess(outcome, error, performance.now() - asked)
      return { ...running, result: running.result.then((result): ProcessResult => ({ ...result, host: this.#name })) }
    }
    const wrong = checkSpec(spec) ?? (spec.pty === true ? NO_TERMINAL : undefined)
    if (wrong !== undefined) return ended('not-started', wrong)
    if (isAborted(options.signal) || this.#closed) return ended('canceled')
    const given = makeDeferred<undefined>()
    const onAbort = (): void => given.resolve(undefined)
    options.signal?.addEventListener('abort', onAbort, { once: true })
    try {
      const closed = this.#closing.promise.then(() => undefined)
      const pooled = await Promise.race([this.#pooled, given.promise, closed])
      if (pooled === undefined) return ended('canceled')
      const running = await startOnChannel({ pooled, spec, options, host: this.#name, patienceMs: this.#patienceMs, sharedSession: true })
      return running.pid === undefined ? ended(...(await endOf(running))) : running
    } catch (error) {
      return ended('unreachable', startErrorOf(error, 'E_CONNECTION_LOST'))
    } finally {
      options.signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Ends what runs there through this backend and was not detached. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#closing.resolve()
    await Promise.all([...this.#processes].map(async (started) => (await started)[Symbol.asyncDispose]()))
  }
}

const NO_TERMINAL: StartError = {
  code: 'E_NOT_SUPPORTED',
  message: 'There is no pseudo terminal on this way to the host',
  suggestions: ['Leave pty out, or start it over ssh'],
}

async function endOf({ result }: RunningProcess): Promise<[ProcessOutcome, StartError | undefined]> {
  const { outcome, error } = await result
  return [outcome, error]
}
