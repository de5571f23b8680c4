import type { ProcessResult, ProcessSpec } from '../model/process.js'

export type OutputStream = 'stdout' | 'stderr'
/**
 * Shown each piece of output as it arrives. It must not block; a promise that it returns holds further output back until it settles,
 * so that a slow reader makes the process wait and not the memory grow. Other processes of the same host may wait with it.
 */
export type ChunkListener = (stream: OutputStream, chunk: Uint8Array) => unknown

export interface StopOptions {
  /** Default `SIGTERM`. */
  readonly signal?: NodeJS.Signals
  /** Time between the signal and `SIGKILL`, when the signal is one that asks for the end. */
  readonly graceMs?: number
}

/** A process that exists. Leaving its scope stops the whole tree and waits for its end. */
export interface RunningProcess extends AsyncDisposable {
  readonly pid: number | undefined
  /** Always resolves. */
  readonly result: Promise<ProcessResult>
  /** Resolves when the text is accepted; rejects with ProcessError `E_STDIN` when nobody reads any more. */
  write(data: string | Uint8Array): Promise<void>
  closeStdin(): void
  /** Sends a signal to the process group and what left it. `SIGTERM`, `SIGINT` and `SIGHUP` are followed by `SIGKILL` after the grace. */
  kill(options?: StopOptions): void
}

export interface StartOptions {
  readonly signal?: AbortSignal | undefined
  readonly onOutput?: ChunkListener
}

/**
 * Starts processes, here or elsewhere.
 *
 * @remarks For adapters: `start` resolves when the process exists or has failed to; a failure to start is a result
 * (`not-started`, `unreachable`), not an exception. Commands are argument lists or script text, never strings to split.
 * Stopping means the whole process group.
 */
export interface ProcessBackend extends AsyncDisposable {
  start(spec: ProcessSpec, options?: StartOptions): Promise<RunningProcess>
}
