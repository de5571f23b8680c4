import { spawn } from 'node:child_process'
import { messageOf } from '../../errors.js'
import type { JobSpec } from '../../model/job.js'

/** How a wrapper process ended, as far as its parent can know. */
export interface WrapperEnd {
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
}

export interface StartRequest {
  readonly job: JobSpec
  /**
   * Program and arguments of the wrapper script, for starters that do not wrap the job themselves.
   *
   * @throws when it cannot be written
   */
  readonly command: () => readonly [string, ...string[]]
  /** The environment: nothing is inherited. The same object for many starts. */
  readonly base: Readonly<Record<string, string>>
  /** Added to it. */
  readonly extra: Readonly<Record<string, string>>
}

export interface StartListener {
  /** The process exists. */
  started(pid: number): void
  /** It ended. Not called when the starter lost sight of it: then `lost` is. */
  ended(end: WrapperEnd): void
  /** It could not be started; nothing ran. */
  failed(message: string): void
  /** It may run on, but its end will not be told. */
  lost(): void
}

/**
 * Starts job wrappers: each in a session of its own, with no standard input and output, able to outlive its starter.
 *
 * @remarks For implementers: exactly one of `failed`, or `started` and then one of `ended` and `lost`; `lost` may also come
 * instead of `started` when it is not known whether the process exists.
 */
export interface JobStarter extends AsyncDisposable {
  start(request: StartRequest, listener: StartListener): void
}

/** Starts wrappers directly from this program. Slower than a small helper, and needs nothing. */
export class SpawnStarter implements JobStarter {
  start({ command, base, extra }: StartRequest, listener: StartListener): void {
    try {
      const [program, ...args] = command()
      const child = spawn(program, args, { cwd: '/', env: { ...base, ...extra }, stdio: 'ignore', detached: true })
      child.once('error', (error) => {
        if (child.pid === undefined) listener.failed(error.message)
      })
      if (child.pid === undefined) return
      listener.started(child.pid)
      child.once('exit', (exitCode, signal) => listener.ended({ exitCode: exitCode ?? undefined, signal: signal ?? undefined }))
    } catch (error) {
      listener.failed(messageOf(error))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
